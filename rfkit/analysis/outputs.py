"""One N C H W map out of whatever a network or a layer returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

__all__ = ["Output", "Reshape", "as_map", "pick_tensor"]

Output = str | int | Callable[[Any], Tensor] | None
Reshape = Callable[[Tensor], Tensor] | tuple[int, int] | str | None


def pick_tensor(value: Any, output: Output = None) -> Tensor:
    """The tensor that `output` picks out of `value`, by default the first one that can have a gradient.

    Args:
        value: what a module returned: a tensor, a dictionary, a tuple or list, a dataclass, or a nest of these.
        output: a key or attribute, an index, or a function of `value` that returns the tensor.

    Raises:
        ValueError: there is no such entry, or it holds no tensor; the message lists the entries.
    """
    if callable(output):
        value = output(value)
    elif output is not None:
        value = _entry(value, output)
    found = _first(value)
    if found is None:
        raise ValueError(
            f"output={output!r} gives a {type(value).__name__} without a tensor of a floating type; name one with a "
            "key, an index or a function."
        )
    return found


def as_map(tensor: Tensor, *, layer: str, reshape: Reshape = None) -> Tensor:
    """`tensor` as N C H W: class scores N C become one unit, tokens N L C take the form that `reshape` says.

    Args:
        tensor: a layer's output.
        layer: its name, for errors.
        reshape: (height, width) of tokens N L C in row-major order; "NHWC" where channels come last; or a function
            that returns N C H W.

    Raises:
        ValueError: the tensor is not such a map, or `reshape` does not fit it.
    """
    shape = tuple(tensor.shape)
    if callable(reshape):
        tensor = reshape(tensor)
        if not isinstance(tensor, Tensor) or tensor.dim() != 4:
            came = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
            raise ValueError(f"reshape returned {came} for layer {layer!r} of shape {shape}; it must be N C H W.")
        return tensor
    if isinstance(reshape, str):
        if reshape != "NHWC":
            raise ValueError(f"reshape={reshape!r} is not known; allowed: 'NHWC', (height, width), a function.")
        if tensor.dim() == 4:
            return tensor.movedim(-1, 1)
    elif reshape is not None and tensor.dim() == 3:
        return _from_tokens(tensor, reshape, layer)
    if tensor.dim() == 2:
        return tensor[:, :, None, None]
    if tensor.dim() == 3:
        raise ValueError(
            f"layer {layer!r} returns {shape}, which looks like tokens N L C: say how they make a map with "
            "reshape=(height, width), or a function that returns N C H W."
        )
    if tensor.dim() != 4:
        raise ValueError(f"layer {layer!r} returns {shape}; give reshape=, a function that makes it N C H W.")
    return tensor


def _from_tokens(tokens: Tensor, size: tuple[int, int], layer: str) -> Tensor:
    height, width = size
    if tokens.shape[1] != height * width:
        extra = tokens.shape[1] - height * width
        hint = (
            f" If {extra} class tokens come first, drop them: reshape=lambda tokens: "
            f"tokens[:, {extra}:].mT.unflatten(2, {size})."
            if 0 < extra < 8
            else ""
        )
        raise ValueError(
            f"reshape={size} makes {height * width} tokens, but layer {layer!r} returns {tuple(tokens.shape)}.{hint}"
        )
    return tokens.mT.unflatten(2, (height, width))


def _entry(value: Any, output: str | int) -> Any:
    if isinstance(output, int) and isinstance(value, tuple | list):
        if -len(value) <= output < len(value):
            return value[output]
        raise ValueError(f"output={output} is not an entry of a {type(value).__name__} of {len(value)}.")
    entries = _entries(value)
    if output in entries:
        return entries[output]
    if isinstance(output, str) and hasattr(value, output) and not isinstance(value, Tensor):
        return getattr(value, output)
    names = ", ".join(repr(name) for name in entries) or "none"
    raise ValueError(f"output={output!r} is not an entry of the {type(value).__name__} returned; it has {names}.")


def _entries(value: Any) -> dict[Any, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {entry.name: getattr(value, entry.name) for entry in dataclasses.fields(value)}
    if hasattr(value, "_asdict"):
        return dict(value._asdict())
    return dict(enumerate(value)) if isinstance(value, tuple | list) else {}


def _first(value: Any) -> Tensor | None:
    if isinstance(value, Tensor):
        return value if value.is_floating_point() else None
    return next((found for entry in _entries(value).values() if (found := _first(entry)) is not None), None)
