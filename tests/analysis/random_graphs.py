"""Random networks, as specifications that hypothesis can draw, shrink and print.

A specification is a tuple of steps, a step a tuple of a name and plain values; `network(steps)` builds it. Every map
has `CHANNELS` channels. A step that would leave nothing of a map, or make it very large, is left out while drawing,
so that no draw is wasted.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor, nn

Step = tuple[Any, ...]
CHANNELS = 4
LARGEST = 72


def network(steps: tuple[Step, ...]) -> nn.Module:
    """The network that a specification describes; its input has 3 channels."""
    return nn.Sequential(nn.Conv2d(3, CHANNELS, 1), Chain(steps)).eval()


class Chain(nn.Module):
    """The steps, one after the other."""

    def __init__(self, steps: tuple[Step, ...]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(_STEPS[name](*values) for name, *values in steps)

    def forward(self, features: Tensor) -> Tensor:
        for step in self.steps:
            features = step(features)
        return features


class Call(nn.Module):
    """A function of a feature map, with its arguments."""

    def __init__(self, function: Any, *arguments: Any, **options: Any) -> None:
        super().__init__()
        self.function, self.arguments, self.options = function, arguments, options

    def forward(self, features: Tensor) -> Tensor:
        return self.function(features, *self.arguments, **self.options)


class FunctionalConvolution(nn.Module):
    """A convolution called as a function."""

    def __init__(self, kernel: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(CHANNELS, CHANNELS // groups, *kernel))
        self.options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}

    def forward(self, features: Tensor) -> Tensor:
        return F.conv2d(features, self.weight, None, **self.options)


class Branches(nn.Module):
    """Parallel chains, cropped to the smallest or resized to the first, then added or concatenated."""

    def __init__(self, chains: tuple[tuple[Step, ...], ...], join: str, match: str) -> None:
        super().__init__()
        self.chains = nn.ModuleList(Chain(steps) for steps in chains)
        self.join, self.match = join, match
        if join == "concatenate":
            self.merge = nn.Conv2d(CHANNELS * len(chains), CHANNELS, 1)

    def forward(self, features: Tensor) -> Tensor:
        maps = [chain(features) for chain in self.chains]
        if self.match == "crop":
            height, width = min(one.shape[2] for one in maps), min(one.shape[3] for one in maps)
            maps = [one[:, :, :height, :width] for one in maps]
        else:
            maps = [maps[0], *(F.interpolate(one, maps[0].shape[2:], mode=self.match) for one in maps[1:])]
        if self.join == "concatenate":
            return self.merge(torch.cat(maps, 1))
        return sum(maps[1:], maps[0])


class Split(nn.Module):
    """Half of the channels through a chain that keeps their number, the other half around it; joined again."""

    def __init__(self, kernel: Any, dilation: int, how: str) -> None:
        super().__init__()
        half = CHANNELS // 2
        padding = tuple(dilation * (side // 2) for side in kernel)
        self.convolution = nn.Conv2d(half, half, kernel, padding=padding, dilation=dilation)
        self.how = how

    def forward(self, features: Tensor) -> Tensor:
        if self.how == "chunk":
            first, second = features.chunk(2, 1)
        elif self.how == "split":
            first, second = torch.split(features, CHANNELS // 2, dim=1)
        else:
            first, second = features[:, : CHANNELS // 2], features[:, CHANNELS // 2 :]
        first = self.convolution(first)
        height, width = first.shape[2:]
        return torch.cat([first, second[:, :, :height, :width]], 1)


def _convolution(
    kernel: Any, stride: Any, padding: Any, dilation: Any, groups: int, padding_mode: str, functional: bool
) -> nn.Module:
    if functional and padding_mode == "zeros":
        return FunctionalConvolution(kernel, stride, padding, dilation, groups)
    return nn.Conv2d(
        CHANNELS, CHANNELS, kernel, stride, padding, dilation, groups=groups, padding_mode=padding_mode, bias=False
    )


def _transposed(kernel: Any, stride: Any, padding: Any, output_padding: Any, dilation: Any) -> nn.Module:
    return nn.ConvTranspose2d(CHANNELS, CHANNELS, kernel, stride, padding, output_padding, 1, True, dilation)


def _max_pool(kernel: Any, stride: Any, padding: Any, dilation: int, ceil_mode: bool, functional: bool) -> nn.Module:
    if functional:
        return Call(F.max_pool2d, kernel, stride, padding, dilation, ceil_mode=ceil_mode)
    return nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=ceil_mode)


def _resize(mode: str, align_corners: bool, size: Any, factor: Any) -> nn.Module:
    corners = align_corners if mode in ("bilinear", "bicubic") else None
    return Call(F.interpolate, size=size, scale_factor=factor, mode=mode, align_corners=corners)


def _crop(top: int, left: int, bottom: int, right: int, step: int) -> nn.Module:
    rows = slice(top, -bottom if bottom else None, step)
    return Call(Tensor.__getitem__, (slice(None), slice(None), rows, slice(left, -right if right else None, step)))


_STEPS: dict[str, Any] = {
    "convolution": _convolution,
    "transposed": _transposed,
    "max_pool": _max_pool,
    "avg_pool": nn.AvgPool2d,
    "adaptive_avg": nn.AdaptiveAvgPool2d,
    "adaptive_max": nn.AdaptiveMaxPool2d,
    "resize": _resize,
    "shuffle": lambda: nn.Sequential(nn.PixelShuffle(2), nn.Conv2d(1, CHANNELS, 1)),
    "unshuffle": lambda: nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * CHANNELS, CHANNELS, 1)),
    "pad": lambda sides, mode: Call(F.pad, sides, mode=mode),
    "crop": _crop,
    "roll": lambda rows, columns: Call(torch.roll, (rows, columns), (2, 3)),
    "flip": lambda: Call(torch.flip, (2,)),
    "relu": lambda: nn.ReLU(inplace=True),
    "gelu": lambda: Call(F.gelu),
    "batch_norm": lambda: nn.BatchNorm2d(CHANNELS),
    "branches": Branches,
    "split": Split,
}


def _pairs(least: int, most: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(least, most), st.integers(least, most))


@st.composite
def _convolutions(draw: st.DrawFn) -> Step:
    kernel, dilation = draw(_pairs(1, 5)), draw(_pairs(1, 3))
    stride = draw(st.one_of(st.just((1, 1)), _pairs(1, 3)))
    kind = draw(st.sampled_from(["keep", "keep", "none", "large", "same"]))
    mode = draw(st.sampled_from(["zeros", "zeros", "zeros", "reflect", "replicate", "circular"]))
    reach = tuple(d * (k - 1) // 2 for d, k in zip(dilation, kernel, strict=True))
    padding: Any = {"keep": reach, "none": (0, 0), "large": (reach[0] + 2, reach[1] + 1), "same": "same"}[kind]
    if kind == "same":
        stride = (1, 1)
    groups = draw(st.sampled_from([1, 1, 2, CHANNELS]))
    return ("convolution", kernel, stride, padding, dilation, groups, mode, draw(st.booleans()))


@st.composite
def _transposed_convolutions(draw: st.DrawFn) -> Step:
    kernel, stride, dilation = draw(_pairs(1, 4)), draw(_pairs(1, 3)), draw(_pairs(1, 2))
    padding = draw(_pairs(0, 1))
    output_padding = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
    return ("transposed", kernel, stride, padding, output_padding, dilation)


@st.composite
def _max_pools(draw: st.DrawFn) -> Step:
    kernel, stride = draw(_pairs(1, 4)), draw(_pairs(1, 3))
    padding = tuple(draw(st.integers(0, side // 2)) for side in kernel)
    return ("max_pool", kernel, stride, padding, draw(st.integers(1, 2)), draw(st.booleans()), draw(st.booleans()))


@st.composite
def _avg_pools(draw: st.DrawFn) -> Step:
    kernel, stride = draw(_pairs(1, 4)), draw(_pairs(1, 3))
    padding = tuple(draw(st.integers(0, side // 2)) for side in kernel)
    return ("avg_pool", kernel, stride, padding, draw(st.booleans()), draw(st.booleans()))


@st.composite
def _resizes(draw: st.DrawFn) -> Step:
    mode = draw(st.sampled_from(["bilinear", "bilinear", "nearest", "nearest-exact", "bicubic", "area"]))
    if draw(st.booleans()):
        return ("resize", mode, draw(st.booleans()), draw(_pairs(1, 40)), None)
    return ("resize", mode, draw(st.booleans()), None, draw(st.sampled_from([2.0, 1.5, 3.0, 0.5, (2.0, 1.25)])))


_PADDINGS = st.tuples(
    st.tuples(*[st.integers(-2, 3)] * 4), st.sampled_from(["constant", "constant", "reflect", "replicate", "circular"])
)

_LEAVES = st.one_of(
    _convolutions(),
    _convolutions(),
    _transposed_convolutions(),
    _max_pools(),
    _avg_pools(),
    _resizes(),
    st.tuples(st.sampled_from(["adaptive_avg", "adaptive_max"]), _pairs(1, 12)),
    st.sampled_from([("shuffle",), ("unshuffle",), ("relu",), ("gelu",), ("batch_norm",), ("flip",)]),
    _PADDINGS.map(lambda drawn: ("pad", *drawn)),
    st.tuples(st.just("crop"), *[st.integers(0, 3)] * 4, st.integers(1, 2)),
    st.tuples(st.just("roll"), st.integers(-3, 3), st.integers(-3, 3)),
    st.tuples(st.just("split"), _pairs(1, 4), st.integers(1, 3), st.sampled_from(["chunk", "split", "slice"])),
)


def _fits(step: Step, size: tuple[int, int]) -> tuple[int, int] | None:
    """Size of the map after the step; None where the step cannot be taken there."""
    try:
        with torch.device("meta"), torch.no_grad():
            shape = Chain((step,))(torch.empty(1, CHANNELS, *size)).shape[2:]
    except (RuntimeError, ValueError, AssertionError, NotImplementedError):
        return None
    return tuple(shape) if min(shape) >= 1 and max(shape) <= LARGEST else None


def _wraps(step: Step) -> bool:
    """Whether the step reads from elsewhere what lies beyond a border, so that no image goes on as it does."""
    return step[0] in ("roll", "flip") or not {"circular", "reflect", "replicate"}.isdisjoint(map(str, step))


@st.composite
def _chains(draw: st.DrawFn, size: tuple[int, int], most: int, depth: int, wrapping: bool) -> tuple[Step, ...]:
    steps: list[Step] = []
    for _ in range(draw(st.integers(1, most))):
        if depth and draw(st.integers(0, 3)) == 0:
            number = draw(st.integers(2, 3))
            chains = tuple(draw(_chains(size, 2, depth - 1, wrapping)) for _ in range(number))
            join = draw(st.sampled_from(["sum", "concatenate"]))
            step: Step = ("branches", chains, join, draw(st.sampled_from(["crop", "crop", "nearest", "bilinear"])))
        else:
            step = draw(_LEAVES if wrapping else _LEAVES.filter(lambda drawn: not _wraps(drawn)))
        after = _fits(step, size)
        if after is not None:
            steps.append(step)
            size = after
    return tuple(steps)


@st.composite
def networks(
    draw: st.DrawFn, *, most: int = 5, depth: int = 2, wrapping: bool = True
) -> tuple[tuple[Step, ...], tuple[int, int]]:
    """A specification and the (height, width) of an image for it; without `wrapping` steps if these are not wanted."""
    size = draw(_pairs(12, 40))
    return draw(_chains(size, most, depth, wrapping)), size
