"""A convolution whose dilation rate is a real number that is learned with its weights."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["LearnedDilation"]


@dataclass(frozen=True)
class _Taps:
    """Taps along one axis that one convolution can read: equally far apart, around the unit.

    Attributes:
        start, step: which taps of the kernel they are, as a slice of it.
        count: how many they are.
        reach: distance of the outermost from the centre, in positions of the map.
        ceiling: whether they are the upper of the two positions between which a tap lies, or the lower.
    """

    start: int
    step: int
    count: int
    reach: int
    ceiling: bool

    @property
    def dilation(self) -> int:
        """Positions from one tap to the next."""
        return 2 * self.reach // (self.count - 1) if self.count > 1 else 1

    @property
    def chosen(self) -> slice:
        """The taps as a slice of the kernel's."""
        return slice(self.start, self.start + self.step * (self.count - 1) + 1, self.step)


class LearnedDilation(nn.Conv2d):
    """A 2-D convolution with one real dilation rate r, shared by its channels and positions, and learned by gradient.

    Tap (i, j), counted from the kernel's centre, reads the map at r * (i, j), bilinearly between the four positions
    around it, with zeros outside the map. That is exactly a sum of convolutions with whole rates: for a kernel of 3x3
    of four, with rates floor(r) and floor(r) + 1 along each axis. The centre needs one of them, a tap at an edge two
    and a corner all four, which is 25 weights in place of 9. A kernel of k x k needs up to (k - 1)^2 of them.

    The padding follows the rate, so that output size and the centre of every unit stay where they are. The weights are
    those of the convolution given, the same parameters under the same names; `rate` is one more. `dilation` and
    `padding` keep telling what the given convolution had. At a whole rate the output is that of `nn.Conv2d` and the
    derivative by the rate the one from the right.

    The gradient is local: it compares positions that are neighbours. It leads to a distance only over maps that vary
    smoothly, as those of natural images do, and not over white noise.

    Args:
        conv: a convolution with an odd kernel, zero padding of at least half its extent, and the same dilation rate
            along all axes in which it has more than one tap.
        rate: the rate to begin with; the one that `conv` has if not given.
        bound: largest rate allowed. A rate that an optimiser has moved out of [1, bound] acts as the nearest end;
            `clamp` moves it there.

    Raises:
        ValueError: `conv` is no such convolution, or `rate` or `bound` is out of range.

    Example:
        >>> conv = nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4)
        >>> maps = torch.ones(1, 4, 8, 8)
        >>> learned = LearnedDilation(conv)
        >>> bool(torch.equal(learned(maps), conv(maps))), LearnedDilation(conv, rate=2.5)(maps).shape
        (True, torch.Size([1, 4, 8, 8]))

    Reference: Gao, Rethinking Dilated Convolution for Real-time Semantic Segmentation, arXiv 2111.09957 (search for
    dilation rates); Dai et al., Deformable Convolutional Networks, ICCV 2017, section 2.1 (bilinear sampling).
    """

    _steps: Tensor

    def __init__(self, conv: nn.Conv2d, *, rate: float | None = None, bound: float = math.inf) -> None:
        own = _own_rate(conv)
        super().__init__(
            conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation,  # type: ignore[arg-type]
            conv.groups, conv.bias is not None, device="meta",
        )  # fmt: skip
        # Parameters on the meta device were placeholders: no random number is drawn for them.
        self.weight, self.bias = conv.weight, conv.bias
        start = float(own if rate is None else rate)
        self.bound = _checked_bound(bound)
        if not 1 <= start <= self.bound:
            raise ValueError(f"rate={start:g} must lie between 1 and bound={self.bound:g}.")
        half = conv.weight.dtype in (torch.float16, torch.bfloat16)
        kind = torch.float32 if half else conv.weight.dtype
        self.rate = nn.Parameter(torch.tensor(start, dtype=kind, device=conv.weight.device))
        # Positions by which the padding exceeds what keeps the size, along each axis.
        pads = _padding(conv)
        self._extra = tuple(p - own * (k // 2) for p, k in zip(pads, conv.kernel_size, strict=True))
        steps = torch.arange(max(conv.kernel_size) // 2 + 1, device=conv.weight.device, dtype=kind)
        self.register_buffer("_steps", steps, persistent=False)
        self.train(conv.training)

    @property
    def branch(self) -> str:
        """Name of the branch, by the dilation rate that the given convolution had: "d3"."""
        return f"d{_own_rate(self)}"

    def forward(
        self, input: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs out_height out_width"]:
        """The output at the present rate, of the size that it has at every rate."""
        rate, value = self._present()
        # Shares of the upper position for taps 0, 1, 2, ... away from the centre.
        lower = [math.floor(step * value) for step in range(len(self._steps))]  # type: ignore[arg-type]
        upper_share = self._steps * rate - torch.as_tensor(lower, dtype=rate.dtype, device=rate.device)
        shares = {True: upper_share, False: 1 - upper_share}
        needed = torch.is_grad_enabled() and self.rate.requires_grad
        output, bias = None, self.bias
        axes = [list(_reads(size, value, always=needed)) for size in self.kernel_size]
        for rows, columns in itertools.product(*axes):
            along = [shares[taps.ceiling][self._distances(axis, taps)] for axis, taps in enumerate((rows, columns))]
            weight = self.weight[:, :, rows.chosen, columns.chosen] * torch.outer(*along).to(self.weight.dtype)
            padding = [taps.reach + extra for taps, extra in zip((rows, columns), self._extra, strict=True)]
            dilation = (rows.dilation, columns.dilation)
            part = F.conv2d(input, weight, bias, self.stride, padding, dilation, self.groups)
            output, bias = part if output is None else output.add_(part), None
        assert output is not None
        return output

    def clamp(self) -> None:
        """Move the rate into [1, bound], in place. To be called after every step of an optimiser."""
        with torch.no_grad():
            self.rate.clamp_(1.0, self.bound)

    def set_bound(self, bound: float) -> None:
        """Change the largest rate allowed; the rate follows if it is above.

        Raises:
            ValueError: `bound` is below 1.
        """
        self.bound = _checked_bound(bound)
        self.clamp()

    def frozen(self) -> nn.Conv2d:
        """An ordinary convolution with the same parameters, at the nearest whole rate within the bound; halves go up.

        Raises:
            ValueError: the rate is NaN.
        """
        rate = math.floor(self._present()[1] + 0.5)
        rate = rate if rate <= self.bound else math.floor(self.bound)
        taps = [size > 1 for size in self.kernel_size]
        conv = nn.Conv2d(
            self.in_channels, self.out_channels, self.kernel_size, self.stride,  # type: ignore[arg-type]
            padding=[rate * (size // 2) + extra for size, extra in zip(self.kernel_size, self._extra, strict=True)],  # type: ignore[arg-type]
            dilation=[rate if many else own for many, own in zip(taps, self.dilation, strict=True)],  # type: ignore[arg-type]
            groups=self.groups, bias=self.bias is not None, device="meta",
        )  # fmt: skip
        conv.weight, conv.bias = self.weight, self.bias
        return conv.train(self.training)

    def extra_repr(self) -> str:
        """What `repr` shows between the parentheses."""
        return f"{super().extra_repr()}, rate={float(self.rate.detach()):.3g}, bound={self.bound:g}"

    def _present(self) -> tuple[Tensor, float]:
        """The rate within [1, bound], as a tensor with its gradient and as a number."""
        value = float(self.rate.detach())
        if math.isnan(value):
            raise ValueError("rate=nan: the dilation rate is no longer a number; lower the learning rate of the rates.")
        inside = min(max(value, 1.0), self.bound)
        return (self.rate if inside == value else self.rate + (inside - value)), inside

    def _distances(self, axis: int, taps: _Taps) -> Tensor:
        """Distances of taps from the kernel's centre, as indices."""
        places = range(*taps.chosen.indices(self.kernel_size[axis]))
        return torch.tensor([abs(place - self.kernel_size[axis] // 2) for place in places], device=self.rate.device)


def _reads(size: int, rate: float, *, always: bool) -> Iterator[_Taps]:
    """The sets of taps that read all positions of one axis; `always` also those whose share is zero now."""
    half = size // 2
    lower = [math.floor(step * rate) for step in range(half + 1)]
    # As many taps around the centre as are equally far apart at their lower positions.
    regular = max(
        step for step in range(half + 1) if lower[: step + 1] == [lower[min(1, half)] * i for i in range(step + 1)]
    )
    yield _Taps(half - regular, 1, 2 * regular + 1, lower[regular], ceiling=False)
    for step in range(1, half + 1):
        pair = (half - step, 2 * step, 2)
        if step > regular:
            yield _Taps(*pair, lower[step], ceiling=False)
        if always or step * rate > lower[step]:
            yield _Taps(*pair, lower[step] + 1, ceiling=True)


def _own_rate(conv: nn.Conv2d) -> int:
    """The dilation rate of an ordinary convolution that can learn one.

    Raises:
        ValueError: it cannot.
    """
    kind = type(conv).__name__
    if type(conv) not in (nn.Conv2d, LearnedDilation):
        raise ValueError(f"conv: a {kind} cannot learn its dilation rate; only nn.Conv2d itself can.")
    size = tuple(conv.kernel_size)
    if max(size) == 1 or any(side % 2 == 0 for side in size):
        raise ValueError(f"conv: kernel_size={size} must be odd, with more than one tap along an axis.")
    rates = {rate for rate, side in zip(conv.dilation, size, strict=True) if side > 1}
    if len(rates) > 1:
        raise ValueError(f"conv: dilation={tuple(conv.dilation)} must be the same along both axes.")
    if conv.padding_mode != "zeros":
        raise ValueError(f"conv: padding_mode={conv.padding_mode!r} must be 'zeros'.")
    rate = int(rates.pop())
    pads = _padding(conv)
    if any(pad < rate * (side // 2) for pad, side in zip(pads, size, strict=True)):
        raise ValueError(
            f"conv: padding={conv.padding!r} must be at least {tuple(rate * (side // 2) for side in size)}, half the "
            "extent of the kernel, or a lower rate would need a negative one."
        )
    return rate


def _padding(conv: nn.Conv2d) -> tuple[int, ...]:
    if isinstance(conv.padding, str):
        same = conv.padding == "same"
        return tuple(
            rate * (size // 2) if same else 0 for rate, size in zip(conv.dilation, conv.kernel_size, strict=True)
        )
    return tuple(conv.padding)


def _checked_bound(bound: float) -> float:
    if not bound >= 1:
        raise ValueError(f"bound={bound!r} must be at least 1.")
    return float(bound)
