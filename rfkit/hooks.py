"""What layers take and return, seen while a context manager is open."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from rfkit._checks import unknown_name

__all__ = ["capture", "find_layers", "follow", "observe", "recall", "replace", "replace_inputs", "separate"]


def find_layers(model: nn.Module, layers: str | nn.Module | Sequence[str | nn.Module]) -> dict[str, nn.Module]:
    """The modules of `model` that `layers` means, by their full names, in the order of the model.

    Args:
        model: any module.
        layers: full names as in `model.named_modules()`, patterns with `*` or `?` (`"stage3.*.region"`), modules of
            the model, or a list of these. `*` also matches dots.

    Raises:
        ValueError: a name or pattern matches nothing (the nearest names are listed), or a module is not part of the
            model.
    """
    wanted = [layers] if isinstance(layers, str | nn.Module) else list(layers)
    modules = dict(model.named_modules())
    found: set[str] = set()
    for layer in wanted:
        if isinstance(layer, nn.Module):
            names = [name for name, module in modules.items() if module is layer]
            if not names:
                raise ValueError(
                    f"layers: the {type(layer).__name__} given is not a module of this {type(model).__name__}."
                )
        else:
            names = [layer] if layer in modules else fnmatch.filter(modules, layer)
            if not names:
                raise unknown_name("layers", layer, [name for name in modules if name])
        found.update(names)
    return {name: module for name, module in modules.items() if name in found}


@contextmanager
def separate(model: nn.Module, layers: str | nn.Module | Sequence[str | nn.Module]) -> Iterator[None]:
    """While open, the layers read clones of their positional inputs, inside the autograd graph.

    The gradient of a clone is what comes through that layer alone, also where others read the same tensor. The hooks
    are gone when the context closes, also after an error.

    Args:
        model: any module.
        layers: names, patterns or modules, see `find_layers`.

    Raises:
        ValueError: a layer is not found.
    """
    with replace_inputs(model, layers, lambda _name, inputs: _clone(inputs)):
        yield


@contextmanager
def replace_inputs(
    model: nn.Module,
    layers: str | nn.Module | Sequence[str | nn.Module],
    function: Callable[[str, tuple[Any, ...]], Any],
) -> Iterator[None]:
    """While open, the layers read `function(name, inputs)` in place of their positional inputs.

    The hooks are gone when the context closes, also after an error.

    Args:
        model: any module.
        layers: names, patterns or modules, see `find_layers`.
        function: gets the layer's full name and its positional inputs, none of them cloned: what it changes in place
            changes for others that read it. It returns the inputs to read, a tuple, or a single one; None leaves them
            as they are.

    Raises:
        ValueError: a layer is not found.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.ReLU())
        >>> with replace_inputs(model, "0", lambda name, inputs: torch.zeros_like(inputs[0])):
        ...     model(torch.ones(1, 3, 2, 2)).sum().item()
        0.0
    """
    with ExitStack() as hooks:
        for name, module in find_layers(model, layers).items():
            hooks.enter_context(module.register_forward_pre_hook(_entering(function, name)))
        yield


@contextmanager
def capture(model: nn.Module, layers: str | nn.Module | Sequence[str | nn.Module]) -> Iterator[dict[str, Any]]:
    """Record the outputs of `layers` while the context is open.

    What a later in-place operation overwrites is cloned, so that a recorded output is what the layer returned. The
    clone stays in the autograd graph. A layer that runs several times keeps its last output. The hooks are gone when
    the context closes, also after an error; the records stay.

    Args:
        model: any module.
        layers: names, patterns or modules, see `find_layers`.

    Yields:
        A mapping, empty at first: full name -> output (a tensor, or what the layer returned, tensors cloned).

    Raises:
        ValueError: a layer is not found.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True))
        >>> with capture(model, "0") as outputs:
        ...     _ = model(torch.ones(1, 3, 2, 2))
        >>> outputs["0"].shape
        torch.Size([1, 4, 2, 2])
    """
    records: dict[str, Any] = {}

    def keep(name: str, _inputs: tuple[Any, ...], output: Any) -> None:
        records[name] = _clone(output)

    with observe(model, layers, keep):
        yield records


@contextmanager
def observe(
    model: nn.Module,
    layers: str | nn.Module | Sequence[str | nn.Module],
    function: Callable[[str, tuple[Any, ...], Any], None],
) -> Iterator[None]:
    """While open, call `function(name, inputs, output)` after each call of the layers; an error in it ends the call.

    The hooks are gone when the context closes, also after an error.

    Args:
        model: any module.
        layers: names, patterns or modules, see `find_layers`.
        function: gets the layer's full name, its positional inputs, and its output, none of them cloned.

    Raises:
        ValueError: a layer is not found.
    """

    def look(name: str, inputs: tuple[Any, ...], output: Any) -> None:
        function(name, inputs, output)

    with replace(model, layers, look):
        yield


@contextmanager
def replace(
    model: nn.Module,
    layers: str | nn.Module | Sequence[str | nn.Module],
    function: Callable[[str, tuple[Any, ...], Any], Any],
) -> Iterator[None]:
    """While open, the layers return `function(name, inputs, output)` in place of their output.

    The hooks are gone when the context closes, also after an error.

    Args:
        model: any module.
        layers: names, patterns or modules, see `find_layers`.
        function: gets the layer's full name, its positional inputs, and its output, none of them cloned. What it
            returns goes on through the network; None leaves the output as it is.

    Raises:
        ValueError: a layer is not found.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
        >>> with replace(model, "0", lambda name, inputs, output: torch.zeros_like(output)):
        ...     float(model(torch.ones(1, 3, 2, 2)).sum())
        0.0
    """
    with ExitStack() as hooks:
        for name, module in find_layers(model, layers).items():
            hooks.enter_context(module.register_forward_hook(_caller(function, name)))
        yield


@contextmanager
def recall(model: nn.Module, outputs: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """While open, the layers return clones of the tensors given, and neither they nor what they hold runs.

    What the layers would have computed is up to the caller to know. Their own hooks still run.

    Args:
        model: any module.
        outputs: full name of a layer -> what it returns.

    Raises:
        ValueError: a layer is not found.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
        >>> with recall(model, {"0": torch.ones(1, 1)}):
        ...     model(torch.zeros(1, 3, 2, 2))
        tensor([[1.]])
    """
    found = {name: module for name, module in find_layers(model, list(outputs)).items() if name in outputs}
    own = {name: vars(module).get("forward") for name, module in found.items()}
    try:
        for name, module in found.items():
            vars(module)["forward"] = _Recalled(outputs[name])
        yield
    finally:
        for name, module in found.items():
            vars(module).pop("forward", None)
            if own[name] is not None:
                vars(module)["forward"] = own[name]


class _Recalled:
    """A forward pass that has been done already."""

    def __init__(self, output: torch.Tensor) -> None:
        self._output = output

    def __call__(self, *_inputs: Any, **_options: Any) -> torch.Tensor:
        return self._output.clone()


@contextmanager
def follow(
    model: nn.Module, enter: Callable[[str, tuple[Any, ...]], None], leave: Callable[[str, Any], None]
) -> Iterator[None]:
    """While open, call `enter(name, inputs)` before and `leave(name, output)` after each call of each module.

    The hooks are gone when the context closes, also after an error. After an error in a module, `leave` is not called
    for it.

    Args:
        model: any module; it is followed too, under the name "".
        enter: gets the module's full name and its positional inputs.
        leave: gets the module's full name and its output.
    """
    with ExitStack() as hooks:
        for name, module in model.named_modules():
            hooks.enter_context(module.register_forward_pre_hook(_entering(enter, name)))
            left = _caller(lambda at, _inputs, output: leave(at, output), name)
            hooks.enter_context(module.register_forward_hook(left))
        yield


def _entering(function: Callable[[str, tuple[Any, ...]], Any], name: str) -> Callable[..., Any]:
    def hook(_module: nn.Module, inputs: tuple[Any, ...]) -> Any:
        return function(name, inputs)

    return hook


def _caller(function: Callable[[str, tuple[Any, ...], Any], Any], name: str) -> Callable[..., Any]:
    def hook(_module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        return function(name, inputs, output)

    return hook


def _clone(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: _clone(item) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_clone(item) for item in value))
    if isinstance(value, list | tuple):
        return type(value)(_clone(item) for item in value)
    return value
