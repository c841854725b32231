"""The theoretical receptive field of every layer of any network.

`trace` runs a network once on the meta device, where nothing is computed, records every operation below autograd, and
follows which pixels each unit reads. It knows operators, not kinds of modules, so that functional calls, modules that
run several times and tensors of any layout are followed alike.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from rfkit._checks import check_choice, unknown_name
from rfkit.analysis.tracing.field_map import FieldMap
from rfkit.analysis.tracing.fields import AXES
from rfkit.analysis.tracing.path_counts import path_table
from rfkit.analysis.tracing.propagation import Propagation, propagate
from rfkit.analysis.tracing.recording import Node, Record, Value, record
from rfkit.analysis.untouched import untouched

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["GlobalPathError", "Graph", "TraceError", "trace"]

_MODES = ("ignore", "include", "raise")
# Operators that move elements without reading others: not worth a line in the table.
_SILENT = {"alias", "clone", "contiguous", "detach", "lift_fresh", "_to_copy", "view", "_unsafe_view", "reshape",
           "flatten", "_reshape_alias", "unsqueeze", "squeeze", "permute", "transpose", "t", "expand", "dropout",
           "native_dropout", "empty_like", "zeros_like", "copy"}  # fmt: skip

_CONVOLUTIONS = {"convolution", "_convolution", "convolution_overrideable", "mkldnn_convolution"}


class TraceError(RuntimeError):
    """The network failed while it ran.

    Attributes:
        graph: what was found up to there; its table ends with the operation before the failing one.
    """

    def __init__(self, message: str, graph: Graph) -> None:
        super().__init__(message)
        self.graph = graph


class GlobalPathError(ValueError):
    """A global path was met, and `global_paths="raise"` forbids it."""


def trace(
    model: nn.Module,
    input_size: Sequence[int] | Tensor,
    *,
    global_paths: str = "ignore",
    training: bool = False,
) -> Graph:
    """The receptive-field graph of a network at one size of input.

    The network runs once on the meta device: the cost depends neither on its width nor on its weights. A network whose
    Python code looks at values of tensors cannot run there; it then runs on real tensors, on the device where it is.
    Either way the model is left as it was found.

    Args:
        model: any module that takes one image.
        input_size: (channels, height, width), (height, width) for three channels, or an image C H W or N C H W that
            stands for its size and type.
        global_paths: what pooling to one unit, attention over the whole map, norms over the whole map and the like
            mean for boxes: "ignore" leaves such paths out where a unit also has local ones (published receptive fields
            do so), "include" makes the whole image the box of every unit behind them, "raise" refuses them. `is_global`
            tells in each case where they are.
        training: whether the network runs as in training: batch norm is a global path then.

    Returns:
        The graph: `table()`, `graph["layer"]`, `graph.output`.

    Raises:
        ValueError: `input_size` or `global_paths` is not allowed.
        GlobalPathError: `global_paths="raise"`, and there is one; the message names it.
        TraceError: the network cannot take such an input, or fails; the message names layer and operator, and the
            error's `graph` has the table up to there.

    Example:
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=2, dilation=2))
        >>> graph = trace(model, (3, 32, 32))
        >>> graph.output.measures(0)["size_max"], str(graph.output[0, 5])
        (7, 'rows 0 to 3, columns 2 to 8 (4 x 7)')

    Reference: the recursion along a chain is that of Araujo et al., "Computing receptive fields of convolutional neural
    networks", Distill, 2019; supports and positions after upsampling go beyond it.
    """
    check_choice("global_paths", global_paths, _MODES)
    model = getattr(model, "_orig_mod", model)
    image = _image(input_size, model)
    found, error = _recorded(model, image, training)
    graph = Graph(model, found, propagate(found), image, global_paths, training)
    if error is not None:
        size = f"{image.shape[1]} x {image.shape[2]} x {image.shape[3]}"
        raise TraceError(
            f"the network fails on an input of {size} (channels, height, width) in {found.last or 'its first lines'}: "
            f"{_first_line(error)}. The error's graph has the table up to there.",
            graph,
        ) from error
    if global_paths == "raise":
        graph._refuse_global_paths()
    return graph


class Graph:
    """The receptive fields of all layers of a network. `rfkit.trace` makes it.

    `graph["layer.name"]` is the map of a layer's output, `graph["layer.name", 2]` that of its third call, and
    `graph.output` that of the network's output.

    Attributes:
        image_size: (height, width) of the input in pixels.
        global_paths: "ignore", "include" or "raise", as asked for.
    """

    def __init__(
        self, model: nn.Module, found: Record, fields: Propagation, image: Tensor, global_paths: str, training: bool
    ) -> None:
        self.image_size = (int(image.shape[2]), int(image.shape[3]))
        self.global_paths = global_paths
        self._model, self._image, self._training = model, image, training
        self._record, self._fields = found, fields
        self._aliases = {}
        names = {id(module): name for name, module in model.named_modules()}
        for name, module in model.named_modules(remove_duplicate=False):
            self._aliases[name] = names[id(module)]

    def __repr__(self) -> str:
        return f"Graph of {type(self._model).__name__}, {len(self.layers)} layers, image {self.image_size}"

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the modules that ran and returned something that depends on the image, in the order of the model."""
        ran = {name for (name, _), results in self._record.results.items() if any(map(self._depends, results.values()))}
        return tuple(name for name in dict.fromkeys(self._aliases.values()) if name in ran and name)

    def __getitem__(self, layer: str | tuple[str, int]) -> FieldMap:
        """The map that a layer returned, the first if it returned several; of its last call, or of the call given.

        Raises:
            ValueError: there is no such layer, it did not run, or its output does not depend on the image.
            IndexError: it was not called so often.
        """
        name, call = layer if isinstance(layer, tuple) else (layer, -1)
        return next(iter(self.results(name, call).values()))

    def results(self, layer: str, call: int = -1) -> dict[str, FieldMap]:
        """All maps that one call of a layer returned: place in what it returned, such as "['out']" -> map.

        Raises:
            ValueError, IndexError: see `graph["layer"]`.
        """
        if layer not in self._aliases:
            raise unknown_name("layer", layer, [name for name in self._aliases if name])
        own = self._aliases[layer]
        calls = [number for name, number in self._record.results if name == own]
        if not calls:
            raise ValueError(f"layer {layer!r} did not run to its end in the forward pass.")
        if not -len(calls) <= call < len(calls):
            raise IndexError(f"layer {layer!r} ran {len(calls)} times; there is no call {call}.")
        results = self._record.results[own, sorted(calls)[call]]
        maps = {path: self._map(value, layer or "output") for path, value in results.items() if self._depends(value)}
        for path, found in maps.items():
            found.elsewhere = partial(self._at, layer=layer, call=call, path=path)
        if not maps:
            raise ValueError(f"layer {layer!r} returned nothing that depends on the image.")
        return maps

    @property
    def outputs(self) -> dict[str, FieldMap]:
        """All maps that the network returned: place in what it returned, such as "['out']" -> map."""
        return self.results("")

    @property
    def output(self) -> FieldMap:
        """The map that the network returned; the first if it returned several."""
        return self[""]

    def table(self) -> pd.DataFrame:
        """One row per operation and axis, in the order in which they ran.

        Operations that only move elements (views, permutations) have no row.

        Columns:
            layer, call, operator: innermost module, how often it had run before, operator as PyTorch names it.
            axis: "row" (vertical) or "column".
            units: length of the map along the axis.
            size_min, size_max: size of the receptive field in pixels, without clipping; they differ where it depends
                on the unit's position, after upsampling.
            path_min, path_max: the same over single paths and units, the narrowest and the widest.
            output_stride: pixels from one unit to the next.
            start, centre: first pixel and centre of the field of unit 0, which may lie outside the image.
            period: units after which the pattern of sizes and positions repeats.
            coverage: reached share of the pixels from first to last, along the axis; the least over units. Without a
                value, like largest_gap, where boxes are those of global paths.
            largest_gap: most neighbouring pixels between first and last that are not reached.
            aligned: whether all paths share centre and stride.
            covers_input: whether the field is at least as large as the image.
            is_global: whether a global path leads there.
            status: "exact", "bound" (an upper bound) or "unknown"; an unknown field has no numbers.
            reason: why it is not exact.
        """
        import pandas as pd

        rows: list[dict[str, Any]] = []
        seen: dict[tuple[int, ...], list[dict[str, object]]] = {}
        for node, value in self._lines():
            head = {"layer": node.layer, "call": node.call, "operator": node.operator}
            fields = self._map(value, node.layer)
            tail = {"status": fields.status, "reason": fields.reason}
            if fields.status == "unknown":
                rows += [{**head, "axis": axis, **tail} for axis in AXES]
                continue
            key = tuple(id(field) for field in fields.fields)
            if key not in seen:
                seen[key] = [{"axis": name, **fields.measures(axis)} for axis, name in enumerate(AXES)]
            rows += [{**head, **line, "is_global": fields.is_global, **tail} for line in seen[key]]
        return pd.DataFrame(rows, columns=_COLUMNS).astype(_TYPES)

    def paths(self, layer: str = "") -> pd.DataFrame:
        """The local paths from the image to a layer (default: the output), one row per receptive field that they have.

        Columns: paths (their number, a Python integer: it grows exponentially with depth); share; height, width (size
        in pixels without clipping, the largest over units); stride_y, stride_x (pixels); via (layers and operators of
        one such path that change its field).

        Raises:
            ValueError: there is no such layer, or no local path to it.
            UnknownFieldError: nothing is known of it.
        """
        return path_table([field for field in self[layer].fields if field.terms], layer or "output")

    def convolutions(self) -> Iterator[tuple[Node, FieldMap]]:
        """Every convolution that ran on what depends on the image, with the map that it reads, in order."""
        for node in self._record.nodes:
            if node.name in _CONVOLUTIONS:
                value = node.operands[0]
                if self._depends(value):
                    yield node, self._map(value, node.layer)

    def min_input(self) -> tuple[int, int]:
        """The smallest (height, width) that the network accepts, with the other side as traced.

        Found by bisection, which takes for granted that a network that accepts a size accepts larger ones.
        """
        sides = []
        for axis in (0, 1):
            low, high = 0, self.image_size[axis]
            while high - low > 1:
                middle = (low + high) // 2
                size = list(self.image_size)
                size[axis] = middle
                low, high = (low, middle) if self._accepts(size) else (middle, high)
            sides.append(high)
        return sides[0], sides[1]

    # -- inside --------------------------------------------------------------------------------------------------------

    @property
    def operations(self) -> tuple[Node, ...] | None:
        """The operations of the forward pass; None if it needed the values of an image, which others may change."""
        return tuple(self._record.nodes) if self._record.meta else None

    def _accepts(self, size: Sequence[int]) -> bool:
        image = torch.empty((1, self._image.shape[1], *size), dtype=self._image.dtype, device=self._image.device)
        return _recorded(self._model, image, self._training)[1] is None

    def _at(self, size: Sequence[int], layer: str, call: int, path: str) -> FieldMap:
        """The map of a layer in a trace of another image size."""
        shape = (int(self._image.shape[1]), *size)
        graph = trace(self._model, shape, global_paths=self.global_paths, training=self._training)
        return graph.results(layer, call)[path]

    def _depends(self, value: Value) -> bool:
        return value in self._fields.known or value in self._fields.unknown

    def _map(self, value: Value, name: str) -> FieldMap:
        include = self.global_paths == "include"
        if value in self._fields.unknown:
            return FieldMap(name, (), self.image_size, include_global=include, unknown=self._fields.unknown[value])
        maps, turned = self._fields.known[value].as_map()
        return FieldMap(name, maps.fields, self.image_size, include_global=include, turned=turned, bound=maps.bound)

    def _lines(self) -> Iterator[tuple[Node, Value]]:
        for node in self._record.nodes:
            if node.name not in _SILENT:
                value = next((value for value in node.results if self._depends(value)), None)
                if value is not None:
                    yield node, value

    def _refuse_global_paths(self) -> None:
        for node, value in self._lines():
            maps = self._fields.known.get(value)
            if maps is not None and any(field.is_global for field in maps.fields):
                where = f"{node.layer}: {node.operator}" if node.layer else node.operator
                raise GlobalPathError(
                    f"a global path, which global_paths='raise' forbids: {where} reads the whole map."
                )


_COLUMNS = ["layer", "call", "operator", "axis", "units", "size_min", "size_max", "path_min", "path_max",
            "output_stride", "start", "centre", "period", "coverage", "largest_gap", "aligned", "covers_input",
            "is_global", "status", "reason"]  # fmt: skip
_WHOLE, _FLAG = "Int64", "boolean"
_TYPES: Mapping[str, Any] = {
    "units": _WHOLE, "size_min": _WHOLE, "size_max": _WHOLE, "path_min": _WHOLE, "path_max": _WHOLE, "start": _WHOLE,
    "period": _WHOLE, "largest_gap": _WHOLE, "output_stride": float, "centre": float, "coverage": float,
    "aligned": _FLAG, "covers_input": _FLAG, "is_global": _FLAG,
}  # fmt: skip


def _image(input_size: Sequence[int] | Tensor, model: nn.Module) -> Tensor:
    """One image that stands for the input, on the device and of the type of the model."""
    reference = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    got = tuple(input_size.shape) if isinstance(input_size, Tensor) else input_size
    shape: tuple[int, ...] = ()
    if isinstance(input_size, Tensor):
        shape = tuple(input_size.shape[-3:]) if input_size.dim() in (3, 4) else ()
    elif isinstance(input_size, Sequence) and all(isinstance(side, int) for side in input_size):
        shape = (3, *input_size) if len(input_size) == 2 else tuple(input_size)
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"input_size={got!r} must be (channels, height, width) or (height, width), all above 0.")
    return torch.empty((1, *shape), dtype=reference.dtype, device=reference.device)


def _recorded(model: nn.Module, image: Tensor, training: bool) -> tuple[Record, Exception | None]:
    """The record of a forward pass, and the error with which it ended; on meta tensors where that works."""
    with untouched(model), _plain_attention(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if training:
            model.train()
        found = Record()
        try:
            return record(model, image, meta=True, into=found), None
        except Exception:
            generator = torch.Generator().manual_seed(0)
            values = torch.rand(image.shape, generator=generator).to(image)
            found = Record()
            try:
                return record(model, values, into=found), None
            except Exception as error:
                return found, error


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Attention written out, without the fused kernel of whole encoder layers."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
