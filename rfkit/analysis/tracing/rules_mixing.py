"""Rules of the operations that sum over an axis: reductions, normalisation, matrix products, attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rfkit.analysis.tracing.fields import Field, Read
from rfkit.analysis.tracing.maps import Maps, UnsupportedError, join, mixed, other
from rfkit.analysis.tracing.rules import Operation, rule, whole
from rfkit.analysis.tracing.rules_shape import taken
from rfkit.analysis.tracing.taps import explicit

__all__: list[str] = []


@rule("aten::mean", "aten::sum", "aten::amax", "aten::amin", "aten::max", "aten::min", "aten::var", "aten::std",
      "aten::var_mean", "aten::std_mean", "aten::norm", "aten::linalg_vector_norm", "aten::logsumexp", "aten::prod",
      "aten::any", "aten::all", "aten::argmax", "aten::argmin", "aten::nansum", "aten::aminmax", "aten::count_nonzero",
      "aten::median", "aten::mode", "aten::kthvalue")  # fmt: skip
def _reduction(operation: Operation) -> Sequence[Maps] | Maps:
    if len(operation.node.operands) == 2 and operation.node.operands[1].shape:
        return operation.same_place()  # the maximum of two tensors
    maps = operation.input
    dims = operation.argument("dim", operation.argument("dims"))
    listed = [dims] if isinstance(dims, int) else list(dims or range(len(maps.dims)))
    axes = sorted({axis % len(maps.dims) for axis in listed})
    result = mixed(maps, axes, keep=False, label=operation.label)
    if not operation.argument("keepdim", False):
        result = replace(result, dims=tuple(dim for axis, dim in enumerate(result.dims) if axis not in axes))
    return [result] * len(operation.node.results)


@rule("aten::_softmax", "aten::_log_softmax", "aten::softmax", "aten::log_softmax", "aten::_safe_softmax")
def _softmax(operation: Operation) -> Maps:
    maps = operation.input
    return mixed(maps, [operation.argument("dim") % len(maps.dims)], keep=True, itself=True, label=operation.label)


@rule("aten::cumsum", "aten::cumprod", "aten::logcumsumexp")
def _running(operation: Operation) -> Maps:
    maps = operation.input
    result = mixed(maps, [operation.argument("dim") % len(maps.dims)], keep=True, itself=True, label=operation.label)
    return replace(result, bound=f"{operation.name} is taken to read the whole axis")


@rule("aten::native_batch_norm", "aten::_native_batch_norm_legit", "aten::_native_batch_norm_legit_no_training",
      "aten::cudnn_batch_norm", "aten::miopen_batch_norm", "aten::_batch_norm_with_update",
      "aten::_batch_norm_no_update", "aten::_native_batch_norm_legit_functional", "aten::batch_norm")  # fmt: skip
def _batch_norm(operation: Operation) -> Maps:
    """In training, or without running statistics, it is a global path: mean and variance of the whole map."""
    maps = operation.input
    always = operation.name.endswith(("_with_update",))
    never = operation.name.endswith(("_no_training", "_no_update"))
    if never or not (always or operation.argument("training", operation.argument("train", False))):
        return maps
    axes = [axis for axis in range(len(maps.dims)) if axis != 1]
    return mixed(maps, axes, keep=True, itself=True, label=operation.label)


@rule("aten::native_layer_norm", "aten::layer_norm", "aten::_fused_rms_norm", "aten::rms_norm")
def _layer_norm(operation: Operation) -> Maps:
    maps = operation.input
    axes = range(len(maps.dims) - len(operation.argument("normalized_shape")), len(maps.dims))
    return mixed(maps, list(axes), keep=True, itself=True, label=operation.label)


@rule("aten::native_group_norm", "aten::group_norm")
def _group_norm(operation: Operation) -> Maps:
    """Each channel keeps its own field, and reads its whole group as a global path."""
    maps = operation.input
    groups = operation.argument("group", operation.argument("num_groups"))
    dense = tuple(explicit([range(length)] * length, length) for length in maps.size)
    parts = maps.classes.reshape(groups, -1)
    fields: list[Field] = []
    found: dict[tuple[int, tuple[int, ...]], int] = {}
    classes = []
    for part in parts:
        group = tuple(int(index) for index in np.unique(part))
        for own in part:
            key = (int(own), group)
            if key not in found:
                found[key] = len(fields)
                reads = [Read(maps.fields[index], (dense[0], dense[1]), max(maps.size) > 1) for index in group]
                fields.append(Field(maps.size, [Read(maps.fields[key[0]]), *reads], operation.label))
            classes.append(found[key])
    return replace(maps, classes=np.array(classes), fields=tuple(fields))


@rule("aten::mm", "aten::bmm", "aten::matmul", "aten::mv", "aten::dot", "aten::linear")
def _matmul(operation: Operation) -> Maps:
    one, two = operation.node.operands[:2]
    if operation.name == "aten::linear":
        raise UnsupportedError("a linear layer that was not taken apart")
    return product(operation, one, two)


@rule("aten::addmm", "aten::baddbmm", "aten::addmv", "aten::addbmm")
def _addmm(operation: Operation) -> Maps:
    bias, one, two = operation.node.operands[:3]
    result = product(operation, one, two)
    extra = operation.maps(bias)
    return (
        result if extra is None else join([result, extra], [operation.output_shape, bias.shape], label=operation.label)
    )


def product(operation: Operation, one: object, two: object) -> Maps:
    """The matrix product of two recorded tensors: rows of the first, columns of the second."""
    return multiplied(operation.maps(one), operation.maps(two), one.shape, two.shape, operation.label)  # type: ignore[attr-defined]


def multiplied(
    one: Maps | None, two: Maps | None, shape_one: Sequence[int], shape_two: Sequence[int], label: str
) -> Maps:
    """What a matrix product of ... m k and ... k n reads; None stands for weights."""
    if len(shape_two) == 1:
        raise UnsupportedError("the product of a matrix and a vector")
    out = (*np.broadcast_shapes(tuple(shape_one[:-2]), tuple(shape_two[:-2])), shape_one[-2], shape_two[-1])
    if two is None:
        assert one is not None
        return _projected(one, len(one.dims) - 1, shape_two[-1], label)
    if one is None:
        return _projected(two, len(two.dims) - 2, shape_one[-2], label)
    one = _blurred(one, len(one.dims) - 1, label).with_dim(len(one.dims) - 1, ())
    two = _blurred(two, len(two.dims) - 2, label).with_dim(len(two.dims) - 2, ())
    m, n = one.kinds(len(one.dims) - 2), two.kinds(len(two.dims) - 1)
    # A place of the result has a row from the first and a column from the second. Only one of them can be told apart:
    # the channels of the second, else the units of the first.
    if "channel" in n and "channel" in m:
        one = _blurred(one, len(one.dims) - 2, label)
    elif n - {"other", "channel"}:
        two = _blurred(two, len(two.dims) - 1, label)
    return join([one, two], [(*out[:-1], 1), (*out[:-2], 1, out[-1])], label=label)


def _projected(maps: Maps, axis: int, length: int, label: str) -> Maps:
    """A linear layer along one axis."""
    kinds = maps.kinds(axis)
    result = mixed(maps, [axis], keep=False, label=label)
    if "channel" not in kinds and any(factor.kind == "channel" for dim in result.dims for factor in dim):
        return result.with_dim(axis, other(length))
    if len(result.classes) > 1:
        # Some channels stay apart (heads): new channels would be numbered anew.
        return result.with_dim(axis, other(length))
    return replace(result, classes=np.zeros(length, dtype=np.int64)).with_dim(axis, whole("channel", length))


def _blurred(maps: Maps, axis: int, label: str) -> Maps:
    """With the positions of one axis no longer told apart: each has the fields of all."""
    return mixed(maps, [axis], keep=True, label=label).with_dim(axis, other(maps.shape[axis]))


@rule("aten::_scaled_dot_product_flash_attention_for_cpu", "aten::_scaled_dot_product_flash_attention",
      "aten::_scaled_dot_product_efficient_attention", "aten::_scaled_dot_product_attention_math",
      "aten::_scaled_dot_product_cudnn_attention", "aten::_scaled_dot_product_fused_attention_overrideable",
      "aten::scaled_dot_product_attention", "aten::_scaled_dot_product_attention_math_for_mps")  # fmt: skip
def _attention(operation: Operation) -> Maps:
    """softmax(q k^T) v: every query reads every key and value of its window."""
    query, key, value = (operation.argument(name) for name in ("query", "key", "value"))
    maps = [operation.maps(tensor) for tensor in (query, key, value)]
    if any(part is None for part in maps):
        raise UnsupportedError("attention with queries, keys or values that do not depend on the image")
    q, k, v = maps
    assert q is not None
    assert k is not None
    assert v is not None
    rank = len(k.dims)
    turned = k.permute([*range(rank - 2), rank - 1, rank - 2])
    scores = multiplied(q, turned, query.shape, turned.shape, operation.label)
    return multiplied(scores, v, scores.shape, value.shape, operation.label)


@rule("aten::glu")
def _glu(operation: Operation) -> Maps:
    maps = operation.input
    axis = operation.argument("dim", -1) % len(maps.dims)
    half = maps.shape[axis] // 2
    parts = [taken(maps, axis, start, 1, half, operation.label) for start in (0, half)]
    return join(parts, [part.shape for part in parts], label=operation.label)
