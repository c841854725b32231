"""The receptive fields of one tensor, whatever the order of its axes.

A tensor's axes are made of *factors*: parts of the rows, the columns and the channels of a feature map. N C H W has one
factor in each axis; tokens N L C have rows and columns in one axis; windows split rows in two. Views and permutations
move factors and touch no field, so that a transformer is followed like a convolutional network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from rfkit.analysis.tracing.fields import Field, Read
from rfkit.analysis.tracing.taps import IDENTITY, Taps, constant, explicit, window

__all__ = ["Dimension", "Factor", "Maps", "UnsupportedError", "gathered", "join", "mixed", "other"]

KINDS = ("row", "column")


class UnsupportedError(Exception):
    """What is done to a tensor has no rule; the message says what it is."""


@dataclass(frozen=True)
class Factor:
    """A part of one axis of a feature map.

    Attributes:
        kind: "row", "column", "channel", or "other" for what is not told apart (a batch, attention keys).
        size: its length.
        step: how far one step along it moves on the whole axis.
    """

    kind: str
    size: int
    step: int = 1


Dimension = tuple[Factor, ...]


def other(size: int, *, alike: bool = True) -> Dimension:
    """An axis whose positions are not told apart: each has the fields of all, too much unless they are alike."""
    return (Factor("other", size, 1 if alike else 0),) if size > 1 else ()


@dataclass(frozen=True, eq=False)
class Maps:
    """The fields of one tensor.

    Attributes:
        dims: the factors of each of its axes, outermost first; empty for an axis of length 1.
        classes: for each channel the index of its field.
        fields: the different fields of its channels, all of the same size.
        bound: why the fields may be too large; "" if they are exact.
    """

    dims: tuple[Dimension, ...]
    classes: np.ndarray
    fields: tuple[Field, ...]
    bound: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the tensor."""
        return tuple(_length(dim) for dim in self.dims)

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns) of its maps."""
        return self.fields[0].size

    def kinds(self, axis: int) -> set[str]:
        """The kinds of factors in an axis of the tensor."""
        return {factor.kind for factor in self.dims[axis]}

    # -- moving axes ---------------------------------------------------------------------------------------------------

    def permute(self, order: Sequence[int]) -> Maps:
        """The axes in another order."""
        return replace(self, dims=tuple(self.dims[axis] for axis in order))

    def view(self, shape: Sequence[int]) -> Maps:
        """The same elements in another shape.

        Raises:
            UnsupportedError: an axis would be cut in the middle of a factor.
        """
        queue = [factor for dim in self.dims for factor in dim]
        dims: list[Dimension] = []
        for length in shape:
            dim: list[Factor] = []
            while length > 1:
                if not queue:
                    raise UnsupportedError(f"view of {self.shape} as {tuple(shape)}")
                factor = queue.pop(0)
                if factor.size > length:
                    if factor.size % length:
                        raise UnsupportedError(f"view of {self.shape} as {tuple(shape)}: cuts an axis unevenly")
                    rest = factor.size // length
                    queue.insert(0, replace(factor, size=rest))
                    factor = replace(factor, size=length, step=factor.step * rest)
                if length % factor.size:
                    raise UnsupportedError(f"view of {self.shape} as {tuple(shape)}: cuts an axis unevenly")
                length //= factor.size
                dim.append(factor)
            dims.append(_joined(dim))
        return replace(self, dims=tuple(dims))._straightened()

    def _straightened(self) -> Maps:
        """With every axis that holds all of the rows (columns, channels) in another order put in order."""
        maps = self
        for axis, dim in enumerate(self.dims):
            if len(dim) > 1 and len({factor.kind for factor in dim}) == 1 and dim[0].kind != "other":
                kind, order = dim[0].kind, _places(dim)
                if len(order) == maps.length(kind):
                    maps = maps.reordered(kind, order).with_dim(axis, (Factor(kind, len(order)),))
        return maps

    def length(self, kind: str) -> int:
        """Number of rows, columns or channels."""
        return len(self.classes) if kind == "channel" else self.size[KINDS.index(kind)]

    def with_dim(self, axis: int, dim: Dimension) -> Maps:
        """With other factors in one axis."""
        dims = list(self.dims)
        dims[axis] = dim
        return replace(self, dims=tuple(dims))

    def reordered(self, kind: str, order: np.ndarray) -> Maps:
        """With the rows, columns or channels picked in a given order."""
        if kind == "channel":
            return self.with_classes(self.classes[order])
        taps = explicit([[int(place)] for place in order], self.length(kind))
        return gathered(self, {kind: (taps, len(order))})

    def with_classes(self, classes: np.ndarray) -> Maps:
        """With other channels, and without the fields that no channel has any more."""
        kept, classes = np.unique(classes, return_inverse=True)
        return replace(self, classes=classes.reshape(-1), fields=tuple(self.fields[index] for index in kept))

    # -- axes as operations see them -----------------------------------------------------------------------------------

    def as_images(self, axes: int = 2) -> tuple[Maps, tuple[str, ...]]:
        """With the last `axes` axes whole rows or columns and the axis before them channels.

        Returns:
            The maps, and the kind of each of these last axes.

        Raises:
            UnsupportedError: the axes hold something else.
        """
        maps = self._with_extracted_channels(len(self.dims) - axes - 1)
        kinds: list[str] = []
        for axis in range(len(maps.dims) - axes, len(maps.dims)):
            found = maps.kinds(axis) - {"other"}
            if len(found) > 1:
                found -= {"channel"}  # depth to space
            if len(found) > 1 or found == {"channel"}:
                raise UnsupportedError(f"axis {axis} holds {' and '.join(sorted(found))}")
            kind = found.pop() if found else ""
            kinds.append(kind)
        names = KINDS if axes == 2 else KINDS[::-1]
        for index, kind in enumerate(kinds):
            if not kind:
                free = [name for name in names if name not in kinds]
                kinds[index] = names[index] if names[index] in free else free[0]
        for index, kind in enumerate(kinds):
            axis = len(maps.dims) - axes + index
            maps = maps._whole(axis, kind)
        return maps, tuple(kinds)

    def _whole(self, axis: int, kind: str) -> Maps:
        """With an axis that is `kind` and nothing else; what is broadcast or comes from channels is written out."""
        dim, length = self.dims[axis], _length(self.dims[axis])
        if not dim or dim == (Factor(kind, self.length(kind)),):
            return self
        parts = [factor for factor in dim if factor.kind == kind]
        if not any(factor.kind == kind for own in self.dims for factor in own):
            # Not told apart any more: every position has the same field.
            return gathered(self, {kind: (constant(), length)}).with_dim(axis, (Factor(kind, length),))
        if _length(parts) != self.length(kind):
            raise UnsupportedError(f"axis {axis} holds a part of the {kind}s")
        rows, channels = (
            _places([replace(f, step=f.step if f.kind == wanted else 0) for f in dim]) for wanted in (kind, "channel")
        )
        if any(factor.kind == "channel" for factor in dim):
            return self._depth_to_space(axis, kind, rows, channels)
        taps = explicit([[int(row)] for row in rows], self.length(kind))
        if len(dim) == 2 and dim[1].kind == "other":
            taps = Taps(dim[1].size, 1, ((0,),) * dim[1].size)
        return gathered(self, {kind: (taps, length)}).with_dim(axis, (Factor(kind, length),))

    def _depth_to_space(self, axis: int, kind: str, rows: np.ndarray, channels: np.ndarray) -> Maps:
        """With the channels inside an axis as positions of it: p reads `rows[p]` of the channel `channels[p]`."""
        rest = [tuple(f for f in dim if f.kind == "channel") for at, dim in enumerate(self.dims) if at != axis]
        starts = _places(sorted((f for dim in rest for f in dim), key=lambda factor: -factor.step))
        before, length = self.length(kind), len(rows)
        fields: list[Field] = []
        found: dict[tuple[int, ...], int] = {}
        classes = []
        for start in starts:
            key = tuple(self.classes[start + channels].tolist())
            if key not in found:
                found[key] = len(fields)
                reads = []
                for index in dict.fromkeys(key):
                    places = [[int(row)] if own == index else [] for row, own in zip(rows, key, strict=True)]
                    pair = [explicit(places, before) if name == kind else IDENTITY for name in KINDS]
                    reads.append(Read(self.fields[index], (pair[0], pair[1])))
                size = tuple(length if name == kind else self.length(name) for name in KINDS)
                fields.append(Field((size[0], size[1]), reads, self.fields[key[0]].label))
            classes.append(found[key])
        dims = [_renumbered(dim, {"channel": rest}) for dim in self.dims]
        dims[axis] = (Factor(kind, length),)
        return Maps(tuple(dims), np.array(classes), tuple(fields), self.bound)

    def as_map(self) -> tuple[Maps, bool]:
        """The maps in the order of the tensor's own axes, and whether its rows are columns of the image.

        The last two axes of N C H W, or the two before the last of N H W C, become whole axes where they can.
        """
        last = len(self.dims) - 1
        orders = [list(range(last + 1)), [*range(last - 2), last, last - 2, last - 1]] if last >= 2 else []
        for order in orders:
            try:
                maps, kinds = self.permute(order).as_images(2)
            except UnsupportedError:
                continue
            return maps, kinds == KINDS[::-1]
        return self, False

    def _with_extracted_channels(self, axis: int) -> Maps:
        """With rows and columns inside the channel axis (space to depth) turned into channels of their own."""
        maps = self
        if axis < 0 or maps.kinds(axis) <= {"channel", "other"}:
            return maps
        fields: list[Field] = []
        classes: list[int] = []
        dim = maps.dims[axis]
        inner = {kind: [f for f in dim if f.kind == kind] for kind in KINDS}
        for kind, factors in inner.items():
            if len(factors) > 1 or any(factor.step != 1 for factor in factors):
                raise UnsupportedError(f"parts of the {kind}s among the channels")
        sizes = {kind: (factors[0].size if factors else 1) for kind, factors in inner.items()}
        found: dict[tuple[int, int, int], int] = {}
        for digits in np.ndindex(*(factor.size for factor in dim)):
            place = {kind: 0 for kind in (*KINDS, "channel")}
            for factor, digit in zip(dim, digits, strict=True):
                place[factor.kind] = place.get(factor.kind, 0) + digit * factor.step
            key = (int(maps.classes[place["channel"]]), place["row"], place["column"])
            if key not in found:
                found[key] = len(fields)
                field = maps.fields[key[0]]
                taps = tuple(Taps(1, sizes[kind], ((place[kind],),)) if sizes[kind] > 1 else IDENTITY for kind in KINDS)
                size = (field.size[0] // sizes["row"], field.size[1] // sizes["column"])
                fields.append(Field(size, [Read(field, (taps[0], taps[1]))], field.label))
            classes.append(found[key])
        dims = list(maps.dims)
        for index, outer in enumerate(dims):
            dims[index] = tuple(
                replace(f, step=f.step // sizes[f.kind]) if f.kind in KINDS and index != axis else f for f in outer
            )
        dims[axis] = (Factor("channel", len(classes)),) if len(classes) > 1 else ()
        return Maps(tuple(dims), np.array(classes), tuple(fields), maps.bound)


def _length(dim: Iterable[Factor]) -> int:
    return math.prod(factor.size for factor in dim)


def _joined(dim: Sequence[Factor]) -> Dimension:
    """Neighbouring factors that are one axis again, as one factor."""
    found: list[Factor] = []
    for factor in dim:
        last = found[-1] if found else None
        if last and last.kind == factor.kind and (
            factor.kind == "other" or last.step == factor.size * factor.step
        ):  # fmt: skip
            found[-1] = Factor(factor.kind, last.size * factor.size, min(last.step, factor.step))
        else:
            found.append(factor)
    return tuple(found)


def _places(dim: Sequence[Factor]) -> np.ndarray:
    """The position on the whole axis of every position of `dim`."""
    places = np.zeros(1, dtype=np.int64)
    for factor in dim:
        places = (places[:, None] + np.arange(factor.size) * factor.step).reshape(-1)
    return places


def gathered(
    maps: Maps, taps: dict[str, tuple[Taps, int]], *, is_global: bool = False, itself: bool = False, label: str = ""
) -> Maps:
    """Maps that read `maps` along rows, columns or both, channel by channel. The axes of the tensor are left alone.

    Args:
        maps: what is read.
        taps: kind -> what is read along it, and the new length.
        is_global: whether the reads are a global path.
        itself: whether each unit reads itself too (a normalisation).
        label: what the operation is called.
    """
    pair = tuple(taps[kind][0] if kind in taps else IDENTITY for kind in KINDS)
    size = tuple(taps[kind][1] if kind in taps else maps.length(kind) for kind in KINDS)
    fields = []
    for field in maps.fields:
        reads = [Read(field, (pair[0], pair[1]), is_global)]
        if itself:
            reads.insert(0, Read(field))
        fields.append(Field((size[0], size[1]), reads, label or field.label))
    return replace(maps, fields=tuple(fields))


def mixed(maps: Maps, axes: Sequence[int], *, keep: bool, itself: bool = False, label: str = "") -> Maps:
    """Maps in which every unit reads all positions along some axes of the tensor: sums, norms, contractions.

    Args:
        maps: what is read.
        axes: axes of the tensor.
        keep: whether the axes stay; else they get length 1.
        itself: whether a unit's own value goes in without the rest as well (a normalisation has it as a local path).
        label: what the operation is called.
    """
    factors = [factor for axis in axes for factor in maps.dims[axis]]
    taps: dict[str, tuple[Taps, int]] = {}
    # A global path takes in the whole map; a sum along rows alone does not.
    whole = True
    for kind in KINDS:
        summed = [factor for factor in factors if factor.kind == kind]
        if summed and maps.length(kind) > 1:
            kept = [f for dim in maps.dims for f in dim if f.kind == kind and f not in summed]
            taps[kind] = _mixing_taps(maps.length(kind), kept, summed, keep)
            whole = whole and not kept
        elif maps.length(kind) > 1:
            whole = False
    result = maps
    if any(factor.kind == "channel" for factor in factors):
        result = _with_mixed_channels(result, axes, keep)
    if taps:
        result = gathered(result, taps, is_global=whole, itself=itself, label=label)
    if keep:
        return result
    dims = list(result.dims)
    for axis in axes:
        dims[axis] = ()
    if taps:
        dims = [_renumbered(dim, {kind: dims for kind in taps}) for dim in dims]
    return replace(result, dims=tuple(dims))


def _mixing_taps(length: int, kept: Sequence[Factor], summed: Sequence[Factor], keep: bool) -> tuple[Taps, int]:
    inner = sorted(summed, key=lambda factor: factor.step)
    contiguous = inner[0].step == 1 and all(
        after.step == before.step * before.size for before, after in pairwise(inner)
    )
    span = _length(summed)
    if contiguous and span < length:
        reads = tuple(range(span))
        return (Taps(span, span, (reads,) * span), length) if keep else (window(span, stride=span), length // span)
    together = _places(sorted(summed, key=lambda factor: -factor.step))
    starts = _places(sorted(kept, key=lambda factor: -factor.step))
    if not keep:
        return explicit([(start + together).tolist() for start in starts], length), len(starts)
    reads_of = {int(place): (start + together).tolist() for start in starts for place in start + together}
    return explicit([reads_of[place] for place in range(length)], length), length


def _renumbered(dim: Dimension, kinds: dict[str, Sequence[Dimension]]) -> Dimension:
    """`dim` with the steps that its factors have once the summed factors of their kind are gone."""
    found = []
    for factor in dim:
        if factor.kind in kinds:
            finer = [f for d in kinds[factor.kind] for f in d if f.kind == factor.kind and f.step < factor.step]
            factor = replace(factor, step=_length(finer))
        found.append(factor)
    return tuple(found)


def _with_mixed_channels(maps: Maps, axes: Sequence[int], keep: bool) -> Maps:
    """Every channel reads all channels of the summed axes (those that agree in the other channel factors)."""
    summed = [factor for axis in axes for factor in maps.dims[axis] if factor.kind == "channel"]
    kept = [f for dim in maps.dims for f in dim if f.kind == "channel" and f not in summed]
    together = _places(sorted(summed, key=lambda factor: -factor.step))
    starts = _places(sorted(kept, key=lambda factor: -factor.step))
    groups = [tuple(np.unique(maps.classes[start + together]).tolist()) for start in starts]
    distinct = list(dict.fromkeys(groups))
    fields = tuple(_merged_field([maps.fields[index] for index in group]) for group in distinct)
    of_start = np.array([distinct.index(group) for group in groups])
    if keep:
        classes = np.zeros(len(maps.classes), dtype=np.int64)
        for start, index in zip(starts, of_start, strict=True):
            classes[start + together] = index
        return replace(maps, classes=classes, fields=fields)
    dims = [tuple(f for f in dim if not (f.kind == "channel" and f in summed)) for dim in maps.dims]
    dims = [_renumbered(dim, {"channel": dims}) for dim in dims]
    return replace(maps, classes=of_start, fields=fields, dims=tuple(dims))


def _merged_field(fields: Sequence[Field]) -> Field:
    if len(fields) == 1:
        return fields[0]
    return Field(fields[0].size, [Read(field) for field in fields], fields[0].label)


def join(parts: Sequence[Maps | None], shapes: Sequence[Sequence[int]], *, label: str = "") -> Maps:
    """Element-wise combination with broadcasting: each unit reads the units at its own place.

    Args:
        parts: the operands; None for a constant.
        shapes: their shapes.
        label: what the operation is called.

    Raises:
        UnsupportedError: an axis holds one thing in one operand and another thing in the other.
    """
    rank = max(len(shape) for shape in shapes)
    shape = np.broadcast_shapes(*(tuple(shape) for shape in shapes))
    present = [_padded(part, rank) for part in parts if part is not None]
    dims = tuple(_common_dim([part.dims[axis] for part in present], shape[axis], axis) for axis in range(rank))
    channels = max(len(part.classes) for part in present)
    bound = next((part.bound for part in present if part.bound), "")
    aligned = []
    for part in present:
        if len(part.classes) not in (1, channels):
            bound = bound or (f"{label} of maps with different channels" if len(part.fields) > 1 else "")
            part = replace(part, fields=(_merged_field(part.fields),), classes=np.zeros(1, dtype=np.int64))
        aligned.append(part)
    return _combined(aligned, dims, channels, lambda fields: _joined_field(fields, label), bound)


def _padded(maps: Maps, rank: int) -> Maps:
    return replace(maps, dims=((),) * (rank - len(maps.dims)) + maps.dims)


def _common_dim(dims: Sequence[Dimension], length: int, axis: int) -> Dimension:
    told = [dim for dim in dims if dim and any(factor.kind != "other" for factor in dim)]
    if not told:
        return other(length, alike=all(factor.step for dim in dims for factor in dim))
    if any(dim != told[0] for dim in told):
        raise UnsupportedError(f"axis {axis} holds different things in the operands")
    return told[0]


def _combined(
    parts: Sequence[Maps],
    dims: tuple[Dimension, ...],
    channels: int,
    make: Callable[[list[Field]], Field],
    bound: str,
) -> Maps:
    """One field for every combination of fields that occurs in a channel."""
    tuples = np.stack([np.broadcast_to(part.classes, (channels,)) for part in parts])
    distinct, classes = np.unique(tuples, axis=1, return_inverse=True)
    fields = tuple(
        make([part.fields[index] for part, index in zip(parts, column, strict=True)]) for column in distinct.T
    )
    return Maps(dims, np.asarray(classes).reshape(-1), fields, bound)


def _joined_field(fields: Sequence[Field], label: str) -> Field:
    if len(fields) == 1:
        return fields[0]
    size = (max(field.size[0] for field in fields), max(field.size[1] for field in fields))
    reads = []
    for field in fields:
        rows, columns = (IDENTITY if field.size[axis] == size[axis] else constant() for axis in (0, 1))
        reads.append(Read(field, (rows, columns)))
    return Field(size, reads, label)
