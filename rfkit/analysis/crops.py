"""The part of an image that is enough to compute a unit exactly, where there is one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from rfkit.analysis.tracing.field_map import FieldMap
from rfkit.analysis.tracing.recording import Node, Value
from rfkit.analysis.unit_fields import PREFIX, UnitFields, hull
from rfkit.results.box import Box

__all__ = ["Crop", "Cropper", "NoCropError"]

# Their arguments are sizes of maps.
_SIZED = {"view", "_unsafe_view", "reshape", "expand", "_reshape_alias"}
_FRESH = {"zeros", "ones", "empty", "full", "new_zeros", "new_ones", "new_empty", "new_full"}
_RESAMPLING = ("upsample_", "_upsample_", "adaptive_", "_adaptive_")


class NoCropError(ValueError):
    """The unit cannot be computed exactly on a part of the image; the message says why."""


@dataclass(frozen=True)
class Crop:
    """A part of the image, and how units of a layer are numbered on it.

    Attributes:
        box: the part; None for the whole image.
        shift: (rows, columns) by which units of the layer have lower indices on the part.
    """

    box: Box | None = None
    shift: tuple[int, int] = (0, 0)


class Cropper:
    """Finds crops for the units of a model, and proves each of them before it is used.

    A crop begins where all strides of the network begin a period, and reaches as far as the unit's unclipped field, so
    that paddings fall on the same places relative to the unit. The network is then traced on the crop: the fields must
    be the same, shifted; and every operation must run with the same settings as on the whole image, interpolations
    with the same scale.

    Args:
        fields: the theoretical fields of the model.
    """

    def __init__(self, fields: UnitFields) -> None:
        self._fields = fields
        self._alignment: int | None = None

    def crop(self, layer: str, units: Sequence[tuple[int, int]]) -> Crop:
        """The crop for `units` of `layer`; without a box if they need the whole image.

        Raises:
            NoCropError: the field is not exactly known, or the network does something else on a part of the image.
        """
        field = self._known(layer)
        box = hull(field, units)
        if box is None:
            raise NoCropError("the unit depends on no pixel.")
        try:
            return self._proven(layer, field, units, box, margin=0)
        except NoCropError as error:
            # A map that shrinks to a single unit loses its pattern: the next larger part may keep it.
            try:
                return self._proven(layer, field, units, box, margin=self._align())
            except NoCropError:
                raise error from None

    def _proven(self, layer: str, field: FieldMap, units: Sequence[tuple[int, int]], box: Box, *, margin: int) -> Crop:
        needed, alignment = box.unclipped or box, self._align()
        start, stop = [], []
        for first, last, length in zip((needed.y0, needed.x0), (needed.y1, needed.x1), field.image_size, strict=True):
            start.append(max(first - margin, 0) // alignment * alignment)
            stop.append(min(-(-(last + 1 + margin) // alignment) * alignment, length))
        if start == [0, 0] and tuple(stop) == tuple(field.image_size):
            if margin or (alignment >= min(field.image_size) and box.height * box.width < math.prod(field.image_size)):
                raise NoCropError("its maps begin anew nowhere inside the image.")
            return Crop()
        part = Box(start[0], start[1], stop[0] - 1, stop[1] - 1)
        shift = self._shift(field, start)
        self._check_fields(layer, field, part, units, shift)
        self._check_operations(part)
        return Crop(part, shift)

    def _known(self, layer: str) -> FieldMap:
        field = self._fields.field(layer)
        if field is None:
            why = self._fields.reason.rstrip(".") or "it returns no map that the trace follows"
            raise NoCropError(f"the theoretical field of layer {layer!r} is not known: {why}.")
        if field.is_global:
            raise NoCropError(f"layer {layer!r} sees every pixel through a global path.")
        if field.status != "exact":
            raise NoCropError(f"the theoretical field of layer {layer!r} is only a bound.")
        return field

    def _align(self) -> int:
        """Pixels after which every map of the network, and its pattern after upsampling, begins anew."""
        if self._alignment is None:
            graph = self._fields.graph()
            maps = [] if graph is None else [graph[name] for name in graph.layers]
            strides = [
                Fraction(stride).limit_denominator(4096)
                for found in maps
                if found.status != "unknown" and found.is_local
                for stride in found.output_stride
            ]
            self._alignment = math.lcm(*(stride.numerator for stride in strides if stride > 0))
        return self._alignment

    def _shift(self, field: FieldMap, start: Sequence[int]) -> tuple[int, int]:
        shifts = [Fraction(first) / Fraction(stride) for first, stride in zip(start, field.output_stride, strict=True)]
        if any(shift.denominator != 1 for shift in shifts):
            raise NoCropError("its stride does not divide the start of the crop.")
        return int(shifts[0]), int(shifts[1])

    def _check_fields(
        self, layer: str, field: FieldMap, part: Box, units: Sequence[tuple[int, int]], shift: tuple[int, int]
    ) -> None:
        on_part = self._fields.field(layer, size=(part.height, part.width))
        if on_part is None or on_part.is_global or on_part.status != "exact":
            raise NoCropError(f"the theoretical field of layer {layer!r} is not known on a part of the image.")
        for row, column in {(rows, columns) for rows, columns in (units[0], units[-1])}:
            whole = field[row, column].unclipped or field[row, column]
            try:
                found = on_part[row - shift[0], column - shift[1]]
            except IndexError:
                raise NoCropError(f"layer {layer!r} has no such unit on a part of the image.") from None
            found = found.unclipped or found
            moved = (found.y0 + part.y0, found.x0 + part.x0, found.y1 + part.y0, found.x1 + part.x0)
            if moved != (whole.y0, whole.x0, whole.y1, whole.x1):
                raise NoCropError(f"the field of layer {layer!r} changes with the size of the image.")

    def _check_operations(self, part: Box) -> None:
        whole, cut = self._operations(self._fields.image_size), self._operations((part.height, part.width))
        if whole is None or cut is None:
            raise NoCropError("the network does not run without data.")
        if len(whole) != len(cut):
            raise NoCropError("the network runs other operations on a part of the image.")
        for one, other in zip(whole, cut, strict=True):
            if not _same_everywhere(one, other):
                where = one.layer.removeprefix(PREFIX) if one.layer.startswith(PREFIX) else "the network"
                raise NoCropError(f"{where}: {one.operator} depends on the size of the image.")

    def _operations(self, size: tuple[int, int]) -> tuple[Node, ...] | None:
        """The operations on an image of `size`; None if they cannot be found without data."""
        graph = self._fields.graph(size=size)
        return None if graph is None else graph.operations


def _same_everywhere(one: Node, other: Node) -> bool:
    """Whether two runs of an operation, on maps of different size, do the same at every place."""
    if one.name != other.name:
        return False
    if one.name.startswith(_RESAMPLING):
        # With corners aligned the scale is (in - 1) / (out - 1), another one on a part of the map.
        same = _shapes(one) == _shapes(other)
        return same or (not one.arguments.get("align_corners") and _scales(one) == _scales(other))
    if one.name in _SIZED:
        return True
    return _settings(one) == _settings(other)


def _settings(node: Node) -> dict[str, Any]:
    """The arguments that are no tensors, without those that only tell the size of the result."""
    found = {name: _plain(value) for name, value in node.arguments.items()}
    if node.name in _FRESH:
        found.pop("size", None)
    if node.name == "slice" and node.operands[0].tensor is None:
        # Where it ends is counted from the end of the map. A table that is cut to the map's size is no map.
        length = node.operands[0].shape[node.arguments["dim"]]
        found["end"] = max(length - (length if node.arguments["end"] is None else node.arguments["end"]), 0)
    return found


def _plain(argument: Any) -> Any:
    return [None if isinstance(leaf, Value | Tensor) else leaf for leaf in tree_leaves(argument)]


def _shapes(node: Node) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return node.operands[0].shape, node.results[0].shape


def _scales(node: Node) -> list[Fraction]:
    read, written = _shapes(node)
    scales = [Fraction(one, other) for one, other in zip(read[2:], written[2:], strict=True)]
    # Pooling to a number of units that does not divide the map has windows of several sizes.
    uneven = "adaptive" in node.name and any(scale.denominator != 1 for scale in scales)
    return [] if uneven else scales
