"""Two modules that draw context in a single step: one map, read at once by convolutions with several dilation rates.

The DWRSeg paper sets its two-step block against them. They are written from the papers, for comparison in a stage of a
probe, and not to rebuild those networks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rfkit.nn.branches import check_dilations

__all__ = ["DABModule", "ESPModule"]


class ESPModule(nn.Module):
    """ESPNet's module: a 1x1 convolution narrows the map, dilated 3x3 convolutions read it, sums join them in steps.

    Hierarchical feature fusion: the first branch stays as it is, the second too, and to each further one all from the
    second on are added; the concatenation of these and the input make the output. Because of the sums,
    `rfkit.branch_weights` does not count it as competing branches.

    Args:
        channels: channels that come in and go out, at least one for each rate; what does not divide goes to the first.
        dilations: rates, smallest first; powers of two in the paper.

    Shape:
        N, channels, H, W -> the same.

    Raises:
        ValueError: a rate is not a whole number of at least 1, or there are fewer channels than rates.

    Example:
        >>> ESPModule(12, dilations=(1, 2, 4, 8))(torch.zeros(1, 12, 9, 9)).shape
        torch.Size([1, 12, 9, 9])

    Reference: Mehta et al., ESPNet, arXiv 1803.06815, section 3.1 and Fig. 1 and 2.
    """

    def __init__(self, channels: int, *, dilations: Sequence[int] = (1, 2, 4, 8, 16)) -> None:
        super().__init__()
        self.dilations = check_dilations(dilations)
        width = channels // len(self.dilations)
        if width < 1:
            raise ValueError(f"channels={channels!r} must be at least the number of rates, {len(self.dilations)}.")
        first = channels - width * (len(self.dilations) - 1)
        self.reduce = nn.Conv2d(channels, width, 1, bias=False)
        self.branches = nn.ModuleList(
            nn.Conv2d(width, width if index else first, 3, padding=rate, dilation=rate, bias=False)
            for index, rate in enumerate(self.dilations)
        )
        self.output = nn.Sequential(nn.BatchNorm2d(channels), nn.PReLU(channels))

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
        """The map with the context added."""
        reduced = self.reduce(x)
        parts = [branch(reduced) for branch in self.branches]
        for index in range(2, len(parts)):
            parts[index] = parts[index] + parts[index - 1]
        return self.output(torch.cat(parts, dim=1) + x)


class DABModule(nn.Module):
    """DABNet's depth-wise asymmetric bottleneck: two branches of 3x1 and 1x3 convolutions, one dilated, are added up.

    A norm and PReLU come first and follow each convolution but the last.

    Args:
        channels: channels that come in and go out, an even number; the branches have half of them.
        dilation: rate of the second branch; the first has rate 1.

    Shape:
        N, channels, H, W -> the same.

    Raises:
        ValueError: `dilation` is not a whole number of at least 1, or `channels` is not even and above 0.

    Example:
        >>> DABModule(8, dilation=4).dilations
        (1, 4)

    Reference: Li et al., DABNet, arXiv 1907.11357, section 3.1 and Fig. 2.
    """

    def __init__(self, channels: int, *, dilation: int = 2) -> None:
        super().__init__()
        self.dilations = check_dilations((1, dilation))
        if channels < 2 or channels % 2:
            raise ValueError(f"channels={channels!r} must be even and above 0.")
        width = channels // 2
        self.reduce = nn.Sequential(
            nn.BatchNorm2d(channels), nn.PReLU(channels),
            nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.PReLU(width),
        )  # fmt: skip
        self.branches = nn.ModuleList(_asymmetric(width, rate) for rate in self.dilations)
        self.output = nn.Sequential(nn.BatchNorm2d(width), nn.PReLU(width), nn.Conv2d(width, channels, 1, bias=False))

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
        """The map with the context added."""
        reduced = self.reduce(x)
        return self.output(self.branches[0](reduced) + self.branches[1](reduced)) + x


def _asymmetric(width: int, rate: int) -> nn.Sequential:
    """A depth-wise 3x1 and a depth-wise 1x3 convolution, each with norm and PReLU."""
    parts: list[nn.Module] = []
    for kernel, pad, dilation in (((3, 1), (rate, 0), (rate, 1)), ((1, 3), (0, rate), (1, rate))):
        conv = nn.Conv2d(width, width, kernel, padding=pad, dilation=dilation, groups=width, bias=False)
        parts += [conv, nn.BatchNorm2d(width), nn.PReLU(width)]
    return nn.Sequential(*parts)
