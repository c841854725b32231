"""Rules of the operations that slide over rows and columns: convolution, pooling, resampling, padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rfkit.analysis.tracing.fields import Field, Read
from rfkit.analysis.tracing.maps import KINDS, Maps, UnsupportedError, gathered, other
from rfkit.analysis.tracing.rules import Operation, rule, whole
from rfkit.analysis.tracing.rules_shape import kind_of, spatial_kind
from rfkit.analysis.tracing.taps import Taps, adaptive, resample, shifted, transposed, window

__all__: list[str] = []


@rule("aten::convolution", "aten::_convolution", "aten::convolution_overrideable", "aten::mkldnn_convolution")
def _convolution(operation: Operation) -> Maps:
    maps = operation.maps(operation.argument("input", operation.argument("self")))
    weight = operation.argument("weight")
    if maps is None or operation.maps(weight) is not None:
        raise UnsupportedError("a convolution whose weights depend on the image")
    axes = len(weight.shape) - 2
    if axes > 2:
        raise UnsupportedError("a convolution over three axes")
    kernel = weight.shape[2:]
    stride, padding, dilation = (
        _listed(operation.argument(name, 1), axes) for name in ("stride", "padding", "dilation")
    )
    make = transposed if operation.argument("transposed", False) else window
    taps = [
        make(k, stride=s, padding=p, dilation=d) for k, s, p, d in zip(kernel, stride, padding, dilation, strict=True)
    ]
    return operation.spatial(maps, taps, groups=operation.argument("groups", 1))


@rule("aten::max_pool2d_with_indices", "aten::max_pool2d", "aten::avg_pool2d", "aten::max_pool1d", "aten::avg_pool1d",
      "aten::mkldnn_max_pool2d", "aten::quantized_max_pool2d")  # fmt: skip
def _pool(operation: Operation) -> Maps:
    axes = 1 if operation.name.endswith("1d") else 2
    kernel = _listed(operation.argument("kernel_size"), axes)
    stride = _listed(operation.argument("stride") or kernel, axes)
    padding, dilation = (
        _listed(operation.argument(name, one), axes) for name, one in (("padding", 0), ("dilation", 1))
    )
    taps = [
        window(k, stride=s, padding=p, dilation=d) for k, s, p, d in zip(kernel, stride, padding, dilation, strict=True)
    ]
    return operation.spatial(operation.input, taps, groups=None)


@rule("aten::avg_pool3d")
def _pool_over_channels(operation: Operation) -> Maps:
    """Local response norm: a mean over neighbouring channels, which it puts in front of rows and columns."""
    maps, axis = operation.input, len(operation.input.dims) - 3
    kernel = _listed(operation.argument("kernel_size"), 3)
    if kernel[1:] != [1, 1] or set(_listed(operation.argument("stride") or kernel, 3)) != {1}:
        raise UnsupportedError("pooling over three axes")
    count = operation.output_shape[axis]
    sets = [tuple(np.unique(maps.classes[start : start + kernel[0]]).tolist()) for start in range(count)]
    distinct = list(dict.fromkeys(sets))
    fields = tuple(
        Field(maps.size, [Read(maps.fields[index]) for index in group], operation.label) for group in distinct
    )
    classes = np.array([distinct.index(group) for group in sets])
    return replace(maps, fields=fields, classes=classes).with_dim(axis, whole("channel", count))


@rule("aten::_adaptive_avg_pool2d", "aten::adaptive_avg_pool2d", "aten::adaptive_max_pool2d",
      "aten::adaptive_max_pool1d",
      "aten::adaptive_avg_pool1d", "aten::mkldnn_adaptive_avg_pool2d")  # fmt: skip
def _adaptive_pool(operation: Operation) -> Maps:
    axes = 1 if operation.name.endswith("1d") else 2
    maps, kinds = operation.input.as_images(axes)
    out = operation.output_shape[-axes:]
    taps = {kind: (adaptive(maps.length(kind), length), length) for kind, length in zip(kinds, out, strict=True)}
    is_global = max(maps.size) > 1 and all(length == 1 for _, length in taps.values())
    result = gathered(maps, taps, is_global=is_global, label=operation.label)
    dims = (*maps.dims[:-axes], *(whole(kind, taps[kind][1]) for kind in kinds))
    return replace(result, dims=dims)


_MODES = {
    "aten::upsample_nearest": "nearest",
    "aten::_upsample_nearest_exact": "nearest-exact",
    "aten::upsample_linear": "linear",
    "aten::upsample_bilinear": "linear",
    "aten::upsample_bicubic": "cubic",
    "aten::_upsample_bilinear": "linear-antialias",
    "aten::_upsample_bicubic": "cubic-antialias",
}


@rule("aten::upsample_nearest1d", "aten::upsample_nearest2d", "aten::_upsample_nearest_exact1d",
      "aten::_upsample_nearest_exact2d", "aten::upsample_linear1d", "aten::upsample_bilinear2d",
      "aten::upsample_bicubic2d", "aten::_upsample_bilinear2d_aa", "aten::_upsample_bicubic2d_aa")  # fmt: skip
def _upsample(operation: Operation) -> Maps:
    name = operation.name.removesuffix("_aa")
    axes = int(name[-2])
    shape_in, shape_out = operation.input.shape[-axes:], operation.output_shape[-axes:]
    scales = operation.argument("scale_factors") or [
        operation.argument(key) for key in (("scales_h", "scales_w") if axes == 2 else ("scales",))
    ]
    taps = [
        resample(
            before,
            after,
            mode=_MODES[name[:-2]],
            align_corners=bool(operation.argument("align_corners", False)),
            scale=scale,
        )
        for before, after, scale in zip(shape_in, shape_out, scales, strict=True)
    ]
    return operation.spatial(operation.input, taps, groups=None)


@rule("aten::constant_pad_nd")
def _constant_pad(operation: Operation) -> Maps:
    return _padded(operation, "drop")


@rule("aten::reflection_pad1d", "aten::reflection_pad2d")
def _reflection_pad(operation: Operation) -> Maps:
    return _padded(operation, "reflect")


@rule("aten::replication_pad1d", "aten::replication_pad2d")
def _replication_pad(operation: Operation) -> Maps:
    return _padded(operation, "clamp")


def _padded(operation: Operation, border: str) -> Maps:
    maps = operation.input
    amounts = operation.argument("pad", operation.argument("padding"))
    for index in range(len(amounts) // 2):
        before, after = amounts[2 * index], amounts[2 * index + 1]
        if before or after:
            maps = _padded_axis(maps, len(maps.dims) - 1 - index, before, after, border, operation.label)
    return maps


def _padded_axis(maps: Maps, axis: int, before: int, after: int, border: str, label: str) -> Maps:
    dim = maps.dims[axis]
    length = maps.shape[axis] + before + after
    kinds = {factor.kind for factor in dim}
    if kinds == {"channel"} and dim == whole("channel", len(maps.classes)):
        empty = Field(maps.size, (), label)
        classes = np.concatenate([np.full(max(before, 0), len(maps.fields)), maps.classes[max(-before, 0) :]])
        classes = np.concatenate([classes, np.full(max(after, 0), len(maps.fields))])[:length]
        return (
            replace(maps, fields=(*maps.fields, empty)).with_classes(classes).with_dim(axis, whole("channel", length))
        )
    kind = spatial_kind(maps, axis)
    if kind not in KINDS:
        raise UnsupportedError("padding of an axis that holds neither rows nor columns nor channels")
    taps = {kind: (shifted(-before, border=border), length)}
    return gathered(maps, taps, label=label).with_dim(axis, whole(kind, length))


@rule("aten::pixel_shuffle")
def _pixel_shuffle(operation: Operation) -> Maps:
    factor = operation.argument("upscale_factor")
    maps, kinds = operation.input.as_images(2)
    size = (maps.size[0] * factor, maps.size[1] * factor)
    fields: list[Field] = []
    found: dict[tuple[int, ...], int] = {}
    classes = []
    for group in maps.classes.reshape(-1, factor * factor):
        key = tuple(int(index) for index in group)
        if key not in found:
            found[key] = len(fields)
            fields.append(Field(size, _shuffled_reads(maps, key, factor), operation.label))
        classes.append(found[key])
    dims = (
        *maps.dims[:-3],
        whole("channel", len(classes)),
        *(whole(kind, maps.length(kind) * factor) for kind in kinds),
    )
    return replace(maps, dims=dims, classes=np.array(classes), fields=tuple(fields))


def _shuffled_reads(maps: Maps, group: tuple[int, ...], factor: int) -> list[Read]:
    """What the `factor` x `factor` places of an output unit read, each in its own channel."""
    if len(set(group)) == 1:
        every = Taps(factor, 1, ((0,),) * factor)
        return [Read(maps.fields[group[0]], (every, every))]
    only = [Taps(factor, 1, tuple((0,) if place == own else () for place in range(factor))) for own in range(factor)]
    return [Read(maps.fields[index], (only[k // factor], only[k % factor])) for k, index in enumerate(group)]


@rule("aten::pixel_unshuffle")
def _pixel_unshuffle(operation: Operation) -> Maps:
    factor = operation.argument("downscale_factor")
    maps, kinds = operation.input.as_images(2)
    places = [(row, column) for row in range(factor) for column in range(factor)]
    return _with_places(maps, places, (factor, factor), operation, kinds)


@rule("aten::im2col")
def _im2col(operation: Operation) -> Maps:
    kernel, stride, padding, dilation = (
        _listed(operation.argument(name), 2) for name in ("kernel_size", "stride", "padding", "dilation")
    )
    maps, kinds = operation.input.as_images(2)
    places = [
        (row * dilation[0] - padding[0], column * dilation[1] - padding[1])
        for row in range(kernel[0])
        for column in range(kernel[1])
    ]
    counts = [
        (maps.length(kind) + 2 * p - d * (k - 1) - 1) // s + 1
        for kind, k, s, p, d in zip(kinds, kernel, stride, padding, dilation, strict=True)
    ]
    result = _with_places(maps, places, (stride[0], stride[1]), operation, kinds, size=(counts[0], counts[1]))
    tokens = (*result.dims[-2], *result.dims[-1])
    return replace(result, dims=(*result.dims[:-2], tokens))


def _with_places(
    maps: Maps,
    places: Sequence[tuple[int, int]],
    stride: tuple[int, int],
    operation: Operation,
    kinds: tuple[str, ...],
    size: tuple[int, int] | None = None,
) -> Maps:
    """Every channel once for each of `places`, read with `stride`."""
    size = size or (maps.size[0] // stride[0], maps.size[1] // stride[1])
    fields = tuple(
        Field(size, [Read(field, (Taps(1, stride[0], ((row,),)), Taps(1, stride[1], ((column,),))))], operation.label)
        for field in maps.fields
        for row, column in places
    )
    classes = (maps.classes[:, None] * len(places) + np.arange(len(places))).reshape(-1)
    lengths = dict(zip(KINDS, size, strict=True))
    dims = (*maps.dims[:-3], whole("channel", len(classes)), *(whole(kind, lengths[kind]) for kind in kinds))
    return Maps(dims, classes, fields, maps.bound)


@rule("aten::roll")
def _roll(operation: Operation) -> Maps:
    maps = operation.input
    shifts, axes = _listed(operation.argument("shifts"), 1), _listed(operation.argument("dims") or [], 0)
    for shift, axis in zip(shifts, axes, strict=True):
        axis %= len(maps.dims)
        kind, length = kind_of(maps, axis), maps.shape[axis]
        if kind == "channel":
            maps = maps.with_classes(np.roll(maps.classes, shift))
        elif kind in KINDS:
            maps = gathered(maps, {kind: (shifted(-shift, border="wrap"), length)}, label=operation.label)
    return maps


@rule("aten::flip")
def _flip(operation: Operation) -> Maps:
    maps = operation.input
    for axis in operation.argument("dims"):
        axis %= len(maps.dims)
        kind, length = kind_of(maps, axis), maps.shape[axis]
        if kind == "channel":
            maps = maps.with_classes(maps.classes[::-1])
        elif kind in KINDS:
            maps = gathered(maps, {kind: (Taps(1, -1, ((length - 1,),)), length)}, label=operation.label)
    return maps


@rule("aten::unfold")
def _unfold(operation: Operation) -> Maps:
    """Windows along one axis as an axis of their own."""
    axis = operation.argument("dimension") % len(operation.input.dims)
    maps, size, step = operation.input, operation.argument("size"), operation.argument("step")
    kind = kind_of(maps, axis)
    if kind not in KINDS:
        raise UnsupportedError("windows over channels")
    count = operation.output_shape[axis]
    result = gathered(maps, {kind: (window(size, stride=step), count)}, label=operation.label)
    result = result.with_dim(axis, whole(kind, count))
    return replace(result, dims=(*result.dims, other(size)))


def _listed(value: int | Sequence[int], axes: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * axes if len(values) == 1 and axes > 1 else values
