"""Rules of the operations that move elements: views, permutations, slices, concatenations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rfkit.analysis.tracing.fields import Field, Read
from rfkit.analysis.tracing.maps import KINDS, Dimension, Factor, Maps, UnsupportedError, gathered, join, mixed, other
from rfkit.analysis.tracing.recording import Value
from rfkit.analysis.tracing.rules import Operation, rule, whole
from rfkit.analysis.tracing.taps import IDENTITY, Taps, constant, explicit

__all__: list[str] = []


@rule("aten::alias", "aten::clone", "aten::contiguous", "aten::detach", "aten::lift_fresh", "aten::_to_copy",
      "aten::to", "aten::dropout", "aten::native_dropout", "aten::positive", "aten::resolve_conj", "aten::resolve_neg",
      "aten::_conj", "aten::view_as_real", "aten::lift")  # fmt: skip
def _same(operation: Operation) -> Maps:
    return operation.input


@rule("aten::copy")
def _copy(operation: Operation) -> Maps | None:
    source = operation.argument("src")
    maps = operation.maps(source)
    return None if maps is None else join([maps, None], [source.shape, operation.output_shape], label=operation.label)


@rule("aten::view", "aten::_unsafe_view", "aten::reshape", "aten::_reshape_alias", "aten::flatten", "aten::unsqueeze",
      "aten::squeeze", "aten::_reshape_copy")  # fmt: skip
def _view(operation: Operation) -> Maps:
    return operation.input.view(operation.output_shape)


@rule("aten::as_strided")
def _as_strided(operation: Operation) -> Maps:
    """A view with the same elements in the same order, as some libraries ask for it."""
    maps, shape = operation.input, operation.output_shape
    expected, strides = 1, list[int]()
    for side in reversed(shape):
        strides.insert(0, expected)
        expected *= side
    asked = operation.argument("stride")
    plain = all(own == stride or side == 1 for own, stride, side in zip(asked, strides, shape, strict=True))
    if not plain or operation.argument("storage_offset") or expected != int(np.prod(maps.shape)):
        raise UnsupportedError("memory read with strides of its own")
    return maps.view(shape)


@rule("aten::permute")
def _permute(operation: Operation) -> Maps:
    order = [axis % len(operation.input.dims) for axis in operation.argument("dims")]
    return operation.input.permute(order)


@rule("aten::transpose", "aten::swapaxes")
def _transpose(operation: Operation) -> Maps:
    rank = len(operation.input.dims)
    one, two = operation.argument("dim0") % rank, operation.argument("dim1") % rank
    order = list(range(rank))
    order[one], order[two] = two, one
    return operation.input.permute(order)


@rule("aten::t", "aten::numpy_T")
def _t(operation: Operation) -> Maps:
    return operation.input.permute(list(range(len(operation.input.dims)))[::-1])


@rule("aten::expand")
def _expand(operation: Operation) -> Maps:
    shape = operation.output_shape
    return join([operation.input, None], [operation.input.shape, shape], label=operation.label)


@rule("aten::repeat")
def _repeat(operation: Operation) -> Maps:
    maps, shape = operation.input, operation.output_shape
    maps = replace(maps, dims=((),) * (len(shape) - len(maps.dims)) + maps.dims)
    for axis, length in enumerate(shape):
        before = maps.shape[axis]
        if length == before:
            continue
        kind = kind_of(maps, axis)
        if kind == "other":
            maps = maps.with_dim(axis, other(length))
        elif kind == "channel":
            maps = maps.with_classes(np.tile(maps.classes, length // before)).with_dim(axis, whole(kind, length))
        else:
            taps = explicit([[place % before] for place in range(length)], before)
            maps = gathered(maps, {kind: (taps, length)}, label=operation.label).with_dim(axis, whole(kind, length))
    return maps


@rule("aten::slice")
def _slice(operation: Operation) -> Maps:
    maps = operation.input
    axis = operation.argument("dim", 0) % len(maps.dims)
    length = maps.shape[axis]
    start, end, step = slice(
        operation.argument("start"), operation.argument("end"), operation.argument("step", 1)
    ).indices(length)
    return taken(maps, axis, start, step, len(range(start, end, step)), operation.label)


@rule("aten::narrow")
def _narrow(operation: Operation) -> Maps:
    axis = operation.argument("dim") % len(operation.input.dims)
    return taken(operation.input, axis, operation.argument("start"), 1, operation.argument("length"), operation.label)


@rule("aten::select")
def _select(operation: Operation) -> Maps:
    maps = operation.input
    axis = operation.argument("dim") % len(maps.dims)
    index = operation.argument("index") % maps.shape[axis]
    result = taken(maps, axis, index, 1, 1, operation.label)
    return replace(result, dims=result.dims[:axis] + result.dims[axis + 1 :])


@rule("aten::split", "aten::split_with_sizes", "aten::unsafe_split", "aten::unsafe_split_with_sizes", "aten::chunk",
      "aten::tensor_split")  # fmt: skip
def _split(operation: Operation) -> Sequence[Maps]:
    maps = operation.input
    axis = operation.argument("dim", 0) % len(maps.dims)
    parts, start = [], 0
    for result in operation.node.results:
        parts.append(taken(maps, axis, start, 1, result.shape[axis], operation.label))
        start += result.shape[axis]
    return parts


@rule("aten::unbind")
def _unbind(operation: Operation) -> Sequence[Maps]:
    maps = operation.input
    axis = operation.argument("dim", 0) % len(maps.dims)
    parts = [taken(maps, axis, index, 1, 1, operation.label) for index in range(maps.shape[axis])]
    return [replace(part, dims=part.dims[:axis] + part.dims[axis + 1 :]) for part in parts]


def taken(maps: Maps, axis: int, start: int, step: int, count: int, label: str) -> Maps:
    """Positions start, start + step, ... of one axis of the tensor.

    Raises:
        UnsupportedError: the axis holds several things, and the slice cuts through them.
    """
    dim, length = maps.dims[axis], maps.shape[axis]
    if start == 0 and step == 1 and count == length:
        return maps
    kinds = {factor.kind for factor in dim}
    if not kinds - {"other"}:
        alike = all(factor.step for factor in dim)
        picked = maps.with_dim(axis, other(count, alike=alike))
        return picked if alike else replace(picked, bound="one of several maps that are not told apart is picked")
    if kinds == {"channel"}:
        return _taken_channels(maps, axis, start, step, count)
    kind = kind_of(maps, axis)
    taps = Taps(1, step, ((start,),))
    return gathered(maps, {kind: (taps, count)}, label=label).with_dim(axis, whole(kind, count))


def _taken_channels(maps: Maps, axis: int, start: int, step: int, count: int) -> Maps:
    """The same of a channel axis, which may be one of several, as heads and channels of a head are."""
    dim = maps.dims[axis]
    if len(dim) > 1:
        raise UnsupportedError("a slice through channels in an unusual order")
    factor = dim[0]
    places = np.arange(len(maps.classes))
    digit = places // factor.step % factor.size
    wanted = start + step * np.arange(count)
    kept = np.isin(digit, wanted)
    dims: list[Dimension] = []
    for index, other_dim in enumerate(maps.dims):
        if index == axis:
            dims.append((Factor("channel", count, factor.step),) if count > 1 else ())
        else:
            dims.append(
                tuple(
                    replace(f, step=f.step // factor.size * count)
                    if f.kind == "channel" and f.step > factor.step
                    else f
                    for f in other_dim
                )
            )
    return replace(maps, dims=tuple(dims)).with_classes(maps.classes[kept])


@rule("aten::cat", "aten::concat", "aten::concatenate")
def _cat(operation: Operation) -> Maps:
    values = [value for value in operation.argument("tensors") if value.shape != (0,)]
    axis = operation.argument("dim", 0) % len(values[0].shape)
    parts = [operation.maps(value) for value in values]
    lengths = [value.shape[axis] for value in values]
    told = {kind for part in parts if part for kind in part.kinds(axis)} - {"other"}
    if told <= {"channel"} and not any(_elsewhere(part, axis, "channel") for part in parts if part):
        return _cat_channels(parts, values, axis, operation.label)
    if len(told) == 1 and told <= set(KINDS):
        return _cat_along(parts, values, axis, told.pop(), lengths, operation.label)
    if "channel" not in told:
        # Tokens of several kinds (a class token, those of units) are not told apart: all have the fields of all.
        single = [part and mixed(part, [axis], keep=True, label=operation.label).with_dim(axis, ()) for part in parts]
        shapes = [(*value.shape[:axis], 1, *value.shape[axis + 1 :]) for value in values]
        return join(single, shapes, label=operation.label).with_dim(axis, other(sum(lengths), alike=_alike(single)))
    raise UnsupportedError(f"a concatenation along an axis that holds {' and '.join(sorted(told))}")


@rule("aten::stack")
def _stack(operation: Operation) -> Maps:
    """The positions of the new axis are not told apart."""
    values = operation.argument("tensors")
    axis = operation.argument("dim", 0) % len(operation.output_shape)
    parts = [operation.maps(value) for value in values]
    parts = [part and replace(part, dims=(*part.dims[:axis], (), *part.dims[axis:])) for part in parts]
    shape = (*operation.output_shape[:axis], 1, *operation.output_shape[axis + 1 :])
    joined = join(parts, [shape] * len(parts), label=operation.label)
    return joined.with_dim(axis, other(len(values), alike=_alike(parts)))


def _alike(parts: Sequence[Maps | None]) -> bool:
    """Whether all of these maps have the same fields."""
    first = parts[0]
    return all(part is not None and first is not None and part.fields == first.fields for part in parts)


@rule("aten::channel_shuffle", "aten::native_channel_shuffle")
def _channel_shuffle(operation: Operation) -> Maps:
    maps = operation.input
    if kind_of(maps, 1) != "channel":
        raise UnsupportedError("a shuffle of an axis that holds no channels")
    return maps.with_classes(maps.classes.reshape(operation.argument("groups"), -1).T.reshape(-1))


def _elsewhere(part: Maps, axis: int, kind: str) -> bool:
    """Whether `kind` is in another axis than `axis`."""
    return any(factor.kind == kind for index, dim in enumerate(part.dims) if index != axis for factor in dim)


def _cat_channels(parts: Sequence[Maps | None], values: Sequence[Value], axis: int, label: str) -> Maps:
    known = [part for part in parts if part is not None]
    size = (max(part.size[0] for part in known), max(part.size[1] for part in known))
    fields: list[Field] = []
    classes: list[np.ndarray] = []
    for part, value in zip(parts, values, strict=True):
        length = value.shape[axis]
        if part is None:
            fields.append(Field(size, (), label))
            classes.append(np.full(length, len(fields) - 1))
            continue
        numbers = []
        for field in _of_size(part, size, label):
            if not any(field is before for before in fields):
                fields.append(field)
            numbers.append(next(index for index, before in enumerate(fields) if before is field))
        classes.append(np.array(numbers)[np.broadcast_to(part.classes, (length,))])
    rest = join([part.with_dim(axis, ()) for part in known],
                [(*part.shape[:axis], 1, *part.shape[axis + 1 :]) for part in known], label=label)  # fmt: skip
    together = np.concatenate(classes)
    return Maps(rest.with_dim(axis, whole("channel", len(together))).dims, together, tuple(fields), rest.bound)


def _of_size(part: Maps, size: tuple[int, int], label: str) -> tuple[Field, ...]:
    if part.size == size:
        return part.fields
    taps = tuple(IDENTITY if part.size[axis] == size[axis] else constant() for axis in (0, 1))
    return tuple(Field(size, [Read(field, (taps[0], taps[1]))], label) for field in part.fields)


def _cat_along(
    parts: Sequence[Maps | None], values: Sequence[Value], axis: int, kind: str, lengths: Sequence[int], label: str
) -> Maps:
    """Maps put one after the other along rows or columns."""
    total, start = sum(lengths), 0
    placed: list[Maps | None] = []
    shape = list(values[0].shape)
    shape[axis] = total
    for part, length in zip(parts, lengths, strict=True):
        if part is not None:
            if part.dims[axis] != whole(kind, part.length(kind)) or part.length(kind) != length:
                raise UnsupportedError(f"a concatenation along a part of the {kind}s")
            reads = tuple((place - start,) if start <= place < start + length else () for place in range(total))
            part = gathered(part, {kind: (Taps(total, total, reads), total)}, label=label)
            part = part.with_dim(axis, whole(kind, total))
        placed.append(part)
        start += length
    return join(placed, [shape] * len(placed), label=label)


@rule("aten::index", "aten::index_select", "aten::_unsafe_index")
def _index(operation: Operation) -> Maps:
    if operation.name.endswith("index_select"):
        indices = {operation.argument("dim"): operation.argument("index")}
    else:
        indices = {axis: index for axis, index in enumerate(operation.argument("indices")) if index is not None}
    source = operation.argument("self")
    maps = operation.maps(source)
    if maps is None:
        raise UnsupportedError("indexing of a constant by values that depend on the image")
    if len(indices) > 1:
        return _open_grid(operation, maps, indices)
    ((axis, index),) = indices.items()
    return _picked(maps, axis % len(maps.dims), _places(index))


def _open_grid(operation: Operation, maps: Maps, indices: dict[int, object]) -> Maps:
    """Indexing with one index tensor for each of several neighbouring axes, each varying along its own axis alone."""
    axes = sorted(indices)
    for number, axis in enumerate(axes):
        index = indices[axis]
        shape = index.shape if isinstance(index, Value) else ()
        own = len(shape) - len(axes) + number
        if axis != axes[0] + number or any(side > 1 for place, side in enumerate(shape) if place != own):
            raise UnsupportedError("indexing with index tensors that do not form a grid")
        maps = _picked(maps, axis, _places(index))
    return maps


def _places(index: object) -> list[int]:
    """The positions that an index tensor names."""
    tensor = index.tensor if isinstance(index, Value) else None
    if tensor is None or tensor.is_meta or tensor.dtype.is_floating_point:
        raise UnsupportedError("indexing with an index whose values are not known")
    return [int(place) for place in (tensor.nonzero() if tensor.dtype.itemsize == 1 else tensor).flatten().tolist()]


def _picked(maps: Maps, axis: int, places: list[int]) -> Maps:
    kind = kind_of(maps, axis)
    if kind == "other":
        return maps.with_dim(axis, other(len(places)))
    order = np.array(places) % maps.length(kind)
    return maps.reordered(kind, order).with_dim(axis, whole(kind, len(places)))


@rule("a read through a view")
def _read(operation: Operation) -> Maps:
    """A view of a tensor that was overwritten as a whole."""
    maps = operation.input
    for axis, (start, step, count) in enumerate(operation.argument("region")):
        maps = taken(maps, axis, start, step, count, operation.label)
    return maps


@rule("a write through a view")
def _write(operation: Operation) -> Maps | None:
    """A part of a tensor is overwritten: `base[..., 1:-1, 1:-1] = source`, as circular padding does."""
    region, shape = operation.argument("region"), operation.output_shape
    base, source = operation.maps(operation.argument("self")), operation.maps(operation.argument("src"))
    if base is None and source is None:
        return None
    if region is None:
        raise UnsupportedError("memory that another view of it writes to")
    partial = [axis for axis, (_, _, count) in enumerate(region) if count != shape[axis]]
    if not partial:
        return source
    known = source if base is None else base
    assert known is not None
    kinds = {axis: spatial_kind(known, axis) for axis in partial}
    if any(kind not in KINDS for kind in kinds.values()) or len(set(kinds.values())) != len(kinds):
        raise UnsupportedError("a part of the channels or of the batch is overwritten")
    spans = {kinds[axis]: (region[axis], shape[axis]) for axis in partial}
    parts: list[Maps | None] = [base and _outside(base, spans, operation.label)]
    if source is not None:
        taps = {kind: (_inserted(*span), span[1]) for kind, span in spans.items()}
        placed = gathered(source, taps, label=operation.label)
        for axis in partial:
            placed = placed.with_dim(axis, whole(kinds[axis], shape[axis]))
        parts.append(placed)
    return join(parts, [shape] * len(parts), label=operation.label)


def _inserted(region: tuple[int, int, int], length: int) -> Taps:
    """Each position of the region reads its own place in the source, the others nothing."""
    start, step, count = region
    place_of = {start + step * place: place for place in range(count)}
    return Taps(length, length, tuple((place_of[place],) if place in place_of else () for place in range(length)))


def _outside(base: Maps, spans: dict[str, tuple[tuple[int, int, int], int]], label: str) -> Maps:
    """What is left of a tensor when a rectangle of it is overwritten."""
    keep, gone = {}, {}
    for kind, ((start, step, count), length) in spans.items():
        inside = range(start, start + step * count, step)
        keep[kind] = Taps(length, length, tuple(() if place in inside else (place,) for place in range(length)))
        gone[kind] = Taps(length, length, tuple((place,) if place in inside else () for place in range(length)))
    pairs = []
    if "row" in spans:
        pairs.append((keep["row"], IDENTITY))
    if "column" in spans:
        pairs.append((gone.get("row", IDENTITY), keep["column"]))
    fields = tuple(Field(field.size, [Read(field, pair) for pair in pairs], label) for field in base.fields)
    return replace(base, fields=fields)


@rule("aten::diagonal", "aten::gather", "aten::scatter", "aten::sort", "aten::topk")
def _moved_by_value(operation: Operation) -> Maps:
    raise UnsupportedError("elements are picked by their values")


def spatial_kind(maps: Maps, axis: int) -> str:
    """What an axis is, or, if it has one position only, what an axis at this place is in N C H W.

    Raises:
        UnsupportedError: see `kind_of`.
    """
    kind = kind_of(maps, axis)
    place = axis - (len(maps.dims) - len(KINDS))
    if kind == "other" and not maps.dims[axis] and place >= 0 and maps.length(KINDS[place]) == 1:
        return KINDS[place]
    return kind


def kind_of(maps: Maps, axis: int) -> str:
    """What the whole of an axis is; "other" if its positions are alike.

    Raises:
        UnsupportedError: it holds several things, or a part of one.
    """
    dim = maps.dims[axis]
    kinds = {factor.kind for factor in dim} - {"other"}
    if not kinds:
        return "other"
    kind = next(iter(kinds))
    if len(kinds) > 1 or dim != whole(kind, maps.length(kind)):
        raise UnsupportedError(f"an axis that holds {' and '.join(sorted(kinds))} in parts")
    return kind
