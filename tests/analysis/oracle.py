"""Receptive fields by gradients: what the theoretical ones are compared with.

A copy of a model in double precision, with positive random weights and every non-linear operator replaced by a
linear one that reads the same positions (an activation by the identity, max pooling by average pooling, a product of
two maps by their sum, a softmax or a norm by x plus the mean over what it normalises), is a linear function with
positive coefficients. Its gradient is zero exactly where no path leads, so nothing can cancel.

With `count=True` weights are 1 and means become sums; in a network with one channel per layer the gradient is then
the number of paths.
"""

from __future__ import annotations

import copy
import math
from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Unit = tuple[int, int]
_Values = namedtuple("_Values", ["values", "indices"])


def gradients(
    model: nn.Module,
    size: tuple[int, int],
    units: Sequence[Unit],
    *,
    layer: str | None = None,
    call: int = -1,
    channels: int = 3,
    count: bool = False,
    training: bool = False,
    batch: int = 32,
) -> np.ndarray:
    """Gradient of each unit (sum over its channels) with respect to each pixel, (units, height, width), all >= 0."""
    prepared = positive(model, count=count)
    parts = []
    for begin in range(0, len(units), batch):
        some = units[begin : begin + batch]
        image = torch.ones(len(some), channels, *size, dtype=torch.float64, requires_grad=True)
        output = _run(prepared, image, layer=layer, call=call, count=count, training=training)
        total = sum(output[number, ..., row, column].sum() for number, (row, column) in enumerate(some))
        if not total.requires_grad:
            parts.append(np.zeros((len(some), *size)))
            continue
        (gradient,) = torch.autograd.grad(total, image, allow_unused=True)
        if gradient is None:
            gradient = torch.zeros_like(image)
        parts.append((gradient[:, 0] if count else gradient.sum(1)).numpy())
    result = np.concatenate(parts)
    assert np.isfinite(result).all(), "the oracle overflowed"
    assert (result >= 0).all(), "the oracle met an operator with negative coefficients"
    assert not ((result > 0) & (result < 1e-300)).any(), "the oracle is about to underflow"
    return result


def linear_output(model: nn.Module, image: Tensor) -> Tensor:
    """What the network gives for an image, with positive weights, identities for activations, means for maxima."""
    return _run(positive(model), image, layer=None, call=-1, count=False, training=False)


def reached(model: nn.Module, size: tuple[int, int], unit: Unit, **options: Any) -> np.ndarray:
    """Where a pixel reaches the unit: bool, (height, width)."""
    return gradients(model, size, [unit], **options)[0] > 0


def map_size(
    model: nn.Module, size: tuple[int, int], *, layer: str | None = None, call: int = -1, channels: int = 3
) -> tuple[int, int]:
    """Height and width of the map of a layer, or of the output."""
    image = torch.ones(1, channels, *size, dtype=torch.float64)
    with torch.no_grad():
        shape = _run(positive(model), image, layer=layer, call=call, count=False, training=False).shape
    return shape[-2], shape[-1]


def all_units(size: tuple[int, int]) -> list[Unit]:
    """Every unit of a map, in reading order."""
    return [(row, column) for row in range(size[0]) for column in range(size[1])]


def some_units(size: tuple[int, int], number: int = 12, *, seed: int = 0) -> list[Unit]:
    """Corners, centre and some units of a map drawn at random; all of them where they are few."""
    height, width = size
    if height * width <= number:
        return all_units(size)
    units = {(0, 0), (0, width - 1), (height - 1, 0), (height - 1, width - 1), (height // 2, width // 2)}
    random = np.random.default_rng(seed)
    while len(units) < number:
        units.add((int(random.integers(height)), int(random.integers(width))))
    return sorted(units)


def extent(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    """First row, first column, last row and last column that are reached; None where nothing is."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return (int(rows[0]), int(columns[0]), int(rows[-1]), int(columns[-1])) if len(rows) else None


def disagreements(field_map: Any, found: np.ndarray, units: Sequence[Unit]) -> list[str]:
    """In words, each unit whose box or support in `field_map` is not what the gradients `found` say; empty: all agree.

    A map whose status is "bound" only has to contain what the gradients reach.
    """
    problems = []
    for unit, gradient in zip(units, found, strict=True):
        mask = gradient > 0
        expected = extent(mask)
        if expected is None:
            problems += _not_empty(field_map, unit)
            continue
        box = field_map[unit]
        got = (box.y0, box.x0, box.y1, box.x1)
        if field_map.status == "bound":
            inside = all(low <= edge for low, edge in zip(got[:2], expected[:2], strict=True))
            if not (inside and all(high >= edge for high, edge in zip(got[2:], expected[2:], strict=True))):
                problems.append(f"unit {unit}: bound {got} does not contain {expected}")
            continue
        if got != expected:
            problems.append(f"unit {unit}: box {got}, gradients {expected}")
            continue
        support = field_map.support(*unit)
        whole = np.zeros(mask.shape, bool)
        whole[support.box.slices()] = support.mask
        if not np.array_equal(whole, mask):
            wrong = np.argwhere(whole != mask)
            problems.append(f"unit {unit}: support differs at {len(wrong)} pixels, first {tuple(wrong[0].tolist())}")
        if not np.array_equal(np.isfinite(support.log_paths), support.mask):
            problems.append(f"unit {unit}: log_paths is finite elsewhere than where the mask is set")
    return problems


def _not_empty(field_map: Any, unit: Unit) -> list[str]:
    try:
        box = field_map[unit]
    except ValueError:
        return []
    return [f"unit {unit}: box {box}, but no pixel reaches it"]


def positive(model: nn.Module, *, count: bool = False, seed: int = 0) -> nn.Module:
    """A copy in double precision with positive weights; with ones for weights and no biases if `count`."""
    prepared = copy.deepcopy(model).double().eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for module in prepared.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if count:
                parameter.data.fill_(0 if "bias" in name else 1)
                continue
            # Rows that sum to about 1 keep long stacks within range.
            scale = parameter.shape[0] / parameter.numel() if parameter.ndim > 1 else 1.0
            parameter.data.copy_(scale * (0.5 + torch.rand(parameter.shape, generator=generator, dtype=torch.float64)))
    return prepared


def _run(model: nn.Module, image: Tensor, *, layer: str | None, call: int, count: bool, training: bool) -> Tensor:
    model.train(training)
    image = image.clone()  # nothing may be done in place on the leaf itself
    seen: list[Any] = []
    handle = None
    if layer is not None:
        module = dict(model.named_modules())[layer]
        handle = module.register_forward_hook(lambda _module, _inputs, output: seen.append(first_map(output).clone()))
    try:
        with _Linear(count=count):
            output = model(image)
    finally:
        if handle is not None:
            handle.remove()
    return first_map(output) if layer is None else seen[call]


def first_map(output: Any) -> Tensor:
    """The first tensor N C H W in what a model returned; the first tensor of any shape where there is none."""
    tensors = list(_tensors(output))
    return next((tensor for tensor in tensors if tensor.ndim == 4), tensors[0])


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


# Linear stand-ins. Each takes what the operator takes; the mode calls them only where an argument depends on the image.

_SAME = [
    "relu", "relu6", "gelu", "silu", "mish", "hardswish", "hardsigmoid", "sigmoid", "tanh", "elu", "selu", "celu",
    "leaky_relu", "prelu", "rrelu", "hardtanh", "softplus", "softsign", "logsigmoid", "threshold", "softshrink",
    "hardshrink", "tanhshrink", "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout",
    "feature_dropout", "feature_alpha_dropout", "exp", "exp2", "expm1", "log", "log2", "log1p", "sqrt", "rsqrt",
    "pow", "__pow__", "__rpow__", "square", "abs", "clamp", "clamp_min", "clamp_max", "clip", "erf", "sin", "cos",
    "neg", "__neg__", "reciprocal", "masked_fill", "nan_to_num", "local_response_norm",
]  # fmt: skip


def _live(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.requires_grad
    return isinstance(value, list | tuple) and any(_live(item) for item in value)


def _same(x: Any, *arguments: Any, **_options: Any) -> Any:
    # A copy, because what follows may work in place.
    return (x if _live(x) else arguments[0]).clone()


def _same_in_place(x: Tensor, *_arguments: Any, **_options: Any) -> Tensor:
    return x


def _sum(a: Any, b: Any, **_options: Any) -> Any:
    """a + b for a product, a quotient or a difference; a constant counts by its shape alone."""
    for one, other in ((a, b), (b, a)):
        if not isinstance(other, Tensor):
            return one.clone()
        if not other.requires_grad:
            return one * torch.ones(other.shape, dtype=one.dtype)
    return a + b


def _sum_in_place(a: Tensor, b: Any, **_options: Any) -> Tensor:
    return a.add_(b) if isinstance(b, Tensor) and b.requires_grad else a


def _sum_of_three(a: Any, b: Any, c: Any, **_options: Any) -> Any:
    return _sum(_sum(a, b), c)


def _where(_condition: Any, a: Any, b: Any) -> Any:
    return _sum(a, b)


def _multilinear(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The sum of the operator's partial applications: each factor that depends on the image, the others set to 1."""

    def apply(*factors: Tensor) -> Tensor:
        live = [number for number, factor in enumerate(factors) if factor.requires_grad]
        return sum(
            function(
                *(factor if i == number else torch.ones_like(factor) / len(factor) for i, factor in enumerate(factors))
            )
            if len(live) > 1
            else function(*factors)
            for number in live
        )

    return apply


def _einsum(equation: str, *operands: Any) -> Tensor:
    factors = operands[0] if len(operands) == 1 and isinstance(operands[0], list | tuple) else operands
    return _multilinear(lambda *some: torch.einsum(equation, *some))(*factors)


def _plus_mean(x: Tensor, axes: int | Sequence[int]) -> Tensor:
    return (x + x.mean(axes, keepdim=True)) / 2


def _softmax(x: Tensor, dim: int | None = None, *_arguments: Any, **_options: Any) -> Tensor:
    return _plus_mean(x, -1 if dim is None else dim)


def _normalize(x: Tensor, p: float = 2.0, dim: int = 1, **_options: Any) -> Tensor:
    return _plus_mean(x, dim)


def _layer_norm(x: Tensor, normalized_shape: Sequence[int], *_arguments: Any, **_options: Any) -> Tensor:
    return _plus_mean(x, tuple(range(-len(normalized_shape), 0)))


def _group_norm(x: Tensor, num_groups: int, *_arguments: Any, **_options: Any) -> Tensor:
    return _plus_mean(x.unflatten(1, (num_groups, -1)), tuple(range(2, x.ndim + 1))).flatten(1, 2)


def _instance_norm(x: Tensor, *arguments: Any, use_input_stats: bool = True, **_options: Any) -> Tensor:
    statistics = arguments[4] if len(arguments) > 4 else use_input_stats
    return _plus_mean(x, tuple(range(2, x.ndim))) if statistics else x


def _batch_norm(x: Tensor, *arguments: Any, training: bool = False, **_options: Any) -> Tensor:
    statistics = arguments[4] if len(arguments) > 4 else training
    return _plus_mean(x, tuple(range(2, x.ndim))) if statistics else x


def _mean(x: Tensor, dim: Any = None, keepdim: bool = False, **_options: Any) -> Tensor:
    return x.mean() if dim is None else x.mean(dim, keepdim=keepdim)


def _spread(x: Tensor, dim: Any = None, *_arguments: Any, keepdim: bool = False, **_options: Any) -> Tensor:
    return _mean(x, dim, keepdim)


def _norm(x: Tensor, p: Any = None, dim: Any = None, keepdim: bool = False, **_options: Any) -> Tensor:
    return _mean(x, dim, keepdim)


def _mean_twice(x: Tensor, dim: Any = None, *_arguments: Any, keepdim: bool = False, **_options: Any) -> Any:
    return (_mean(x, dim, keepdim),) * 2


def _max(x: Tensor, *arguments: Any, dim: Any = None, keepdim: bool = False, other: Any = None) -> Any:
    first = arguments[0] if arguments else None
    if isinstance(first, Tensor) or other is not None:
        return _sum(x, first if other is None else other)
    dim = dim if first is None else first
    keepdim = arguments[1] if len(arguments) > 1 else keepdim
    if dim is None:
        return x.mean()
    return _Values(x.mean(dim, keepdim=keepdim), x.detach().argmax(dim, keepdim=keepdim))


def _glu(x: Tensor, dim: int = -1) -> Tensor:
    first, second = x.chunk(2, dim)
    return first + second


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def _max_pool(
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The sum over each window, as a depth-wise convolution; the real operator says how many windows there are."""
    stride = kernel_size if stride is None or stride == [] else stride
    values, indices = F.max_pool2d(
        x.detach(), kernel_size, stride, padding, dilation, ceil_mode=ceil_mode, return_indices=True
    )
    height, width = values.shape[-2:]
    kernel, stride, padding, dilation = _pair(kernel_size), _pair(stride), _pair(padding), _pair(dilation)
    after = [max((n - 1) * s + d * (k - 1) + 1 - p - length, 0) for n, s, d, k, p, length in zip(
        (height, width), stride, dilation, kernel, padding, x.shape[-2:], strict=True
    )]  # fmt: skip
    padded = F.pad(x, (padding[1], after[1], padding[0], after[0]))
    weight = torch.ones(x.shape[1], 1, *kernel, dtype=x.dtype)
    pooled = F.conv2d(padded, weight, stride=stride, dilation=dilation, groups=x.shape[1])[..., :height, :width]
    return (pooled, indices) if return_indices else pooled


def _max_pool_with_indices(*arguments: Any, **options: Any) -> Any:
    return _max_pool(*arguments, **{**options, "return_indices": True})


def _avg_pool(x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, *_a: Any, **_o: Any) -> Tensor:  # fmt: skip  # noqa: E501
    return F.avg_pool2d(x, kernel_size, stride, padding, ceil_mode, divisor_override=1)


def _lp_pool(x: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    return F.avg_pool2d(x, kernel_size, stride, ceil_mode=ceil_mode)


def _adaptive_pool(x: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    sizes = (output_size, output_size) if output_size is None or isinstance(output_size, int) else tuple(output_size)
    shape = [length if size is None else size for size, length in zip(sizes, x.shape[-2:], strict=True)]
    matrices = [_adaptive_taps(length, size) for length, size in zip(x.shape[-2:], shape, strict=True)]
    pooled = _by_axis(x, *matrices)
    return (pooled, torch.zeros(pooled.shape, dtype=torch.long)) if return_indices else pooled


def _adaptive_pool_with_indices(*arguments: Any, **options: Any) -> Any:
    return _adaptive_pool(*arguments[:2], **{**options, "return_indices": True})


def _adaptive_taps(length: int, size: int) -> Tensor:
    matrix = torch.zeros(size, length, dtype=torch.float64)
    for unit in range(size):
        matrix[unit, unit * length // size : -(-(unit + 1) * length // size)] = 1
    return matrix


def _by_axis(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    return torch.einsum("...hw,yh,xw->...yx", x, rows.to(x.dtype), columns.to(x.dtype))


def _interpolate(
    x: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Bilinear and bicubic with weights found in exact arithmetic, so that a tap of weight 0 stays one."""
    if mode in ("nearest", "nearest-exact"):
        return F.interpolate(x, size, scale_factor, mode, align_corners, recompute_scale_factor)
    shape = F.interpolate(x.detach(), size, scale_factor, mode, align_corners, recompute_scale_factor).shape[-2:]
    if mode == "area":
        return _adaptive_pool(x, shape)
    assert mode in ("bilinear", "bicubic"), mode
    factors = scale_factor if isinstance(scale_factor, list | tuple) else (scale_factor, scale_factor)
    if recompute_scale_factor:
        factors = (None, None)
    matrices = [
        _antialiased_taps(length, new, factor, cubic=mode == "bicubic")
        if antialias
        else _resampling_taps(length, new, factor, align_corners=bool(align_corners), cubic=mode == "bicubic")
        for length, new, factor in zip(x.shape[-2:], shape, factors, strict=True)
    ]
    return _by_axis(x, *matrices)


def _resampling_taps(length: int, size: int, factor: float | None, *, align_corners: bool, cubic: bool) -> Tensor:
    """Which positions are read; beyond its border a map goes on as it ends there."""
    matrix = torch.zeros(size, length, dtype=torch.float64)
    for unit in range(size):
        if align_corners:
            source = Fraction(unit * (length - 1), size - 1) if size > 1 else Fraction(0)
        else:
            step = Fraction(length, size) if factor is None else 1 / Fraction(str(factor))
            source = (unit + Fraction(1, 2)) * step - Fraction(1, 2)
        first = math.floor(source)
        taps = [first] if source == first else [first - 1, first, first + 1, first + 2] if cubic else [first, first + 1]
        for tap in taps:
            matrix[unit, min(max(tap, 0), length - 1)] = 1
    return matrix


def _antialiased_taps(length: int, size: int, factor: float | None, *, cubic: bool) -> Tensor:
    matrix = torch.zeros(size, length, dtype=torch.float64)
    step = Fraction(length, size) if factor is None else 1 / Fraction(str(factor))
    for unit in range(size):
        for tap in range(length):
            distance = abs(tap + Fraction(1, 2) - step * (unit + Fraction(1, 2))) / max(step, 1)
            # The filters are zero at whole distances, but for 0.
            matrix[unit, tap] = distance < (2 if cubic else 1) and distance != 1
    return matrix


def _attention(query: Tensor, key: Tensor, value: Tensor, *_arguments: Any, **_options: Any) -> Tensor:
    return value.mean(-2, keepdim=True) + (key.mean((-2, -1), keepdim=True) + query.mean(-1, keepdim=True))


def _multi_head_attention(query: Tensor, key: Tensor, value: Tensor, *_arguments: Any, **_options: Any) -> Any:
    # Tokens come first here: (tokens, batch, channels).
    everything = sum(tokens.mean((0, -1), keepdim=True) for tokens in (key, value))
    return query.mean(-1, keepdim=True) + everything + torch.zeros_like(query), None


_LINEAR: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(_SAME, _same),
    **{f"{name}_": _same_in_place for name in _SAME if not name.endswith("_")},
    **dict.fromkeys(("mul", "__mul__", "__rmul__", "multiply", "div", "divide", "true_divide", "__rdiv__"), _sum),
    **dict.fromkeys(("__rtruediv__", "sub", "subtract", "__rsub__", "rsub", "maximum", "minimum"), _sum),
    **dict.fromkeys(("mul_", "sub_", "div_", "multiply_"), _sum_in_place),
    **dict.fromkeys(("addcmul", "addcdiv", "lerp"), _sum_of_three),
    **dict.fromkeys(("matmul", "__matmul__", "mm"), _multilinear(torch.matmul)),
    **dict.fromkeys(("softmax", "log_softmax", "softmin", "_softmax"), _softmax),
    **dict.fromkeys(("layer_norm", "rms_norm"), _layer_norm),
    **dict.fromkeys(("amax", "amin", "logsumexp"), _mean),
    **dict.fromkeys(("std", "var"), _spread),
    **dict.fromkeys(("var_mean", "std_mean"), _mean_twice),
    **dict.fromkeys(("max", "min"), _max),
    **dict.fromkeys(("max_pool2d", "boolean_dispatch"), _max_pool),
    **dict.fromkeys(("max_pool2d_with_indices",), _max_pool_with_indices),
    **dict.fromkeys(("adaptive_avg_pool2d", "adaptive_max_pool2d"), _adaptive_pool),
    "adaptive_max_pool2d_with_indices": _adaptive_pool_with_indices,
    "bmm": _multilinear(torch.bmm),
    "einsum": _einsum,
    "where": _where,
    "normalize": _normalize,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "batch_norm": _batch_norm,
    "norm": _norm,
    "glu": _glu,
    "lp_pool2d": _lp_pool,
    "interpolate": _interpolate,
    "scaled_dot_product_attention": _attention,
    "multi_head_attention_forward": _multi_head_attention,
}


class _Linear(TorchFunctionMode):
    """While open, operators on what depends on the image are linear with positive coefficients."""

    def __init__(self, *, count: bool) -> None:
        super().__init__()
        self.count = count

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        options = options or {}
        name = getattr(function, "__name__", "")
        inputs = (*arguments, *options.values())
        if any(_live(value) for value in inputs):
            if self.count and name in ("avg_pool2d",):
                return _avg_pool(*arguments, **options)
            if name in _LINEAR:
                return _LINEAR[name](*arguments, **options)
        return function(*arguments, **options)
