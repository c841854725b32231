"""The suggestion as Python code, which runs as it is printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from torch import nn

from rfkit.results.found_stages import FoundBlock, FoundStages

__all__ = ["PLAIN_TORCH", "rebuilt", "suggested_code"]

_HEAD = '''"""{title}"""

import copy

import rfkit
from torch import nn

# Name in the network -> what makes the block that takes its place.
BLOCKS = {{
{lines}
}}


def rebuild(model: nn.Module) -> nn.Module:
    """A copy of `model` with the suggested blocks; they are untrained, everything else keeps its weights."""
    model = copy.deepcopy(model)
    for name, make in BLOCKS.items():
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, make())
    return model
'''

PLAIN_TORCH = '''"""The same block without rfkit: 3x3 convolution, branches on its parts, 1x1 convolution, shortcut."""

import torch
from torch import nn


class DilatedBlock(nn.Module):
    """As `rfkit.DWR(channels, in_channels, dilations=..., alpha=..., stride=..., beta=3 * width / channels)`."""

    def __init__(self, channels, in_channels, dilations, alpha, stride=1, width=None):
        super().__init__()
        width = width or channels // 2
        self.region = nn.Sequential(
            nn.Conv2d(in_channels, width * len(dilations), 3, stride, 1, bias=False),
            nn.BatchNorm2d(width * len(dilations)),
            nn.ReLU(inplace=True),
        )
        self.branches = nn.ModuleList(
            nn.Conv2d(width, width * factor, 3, padding=rate, dilation=rate, groups=width, bias=False)
            for rate, factor in zip(dilations, alpha, strict=True)
        )
        self.norm = nn.BatchNorm2d(width * sum(alpha))
        self.merge = nn.Conv2d(width * sum(alpha), channels, 1, bias=False)
        self.shortcut = nn.Identity()
        if stride != 1 or in_channels != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x):
        maps = self.region(x).chunk(len(self.branches), dim=1)
        filtered = torch.cat([branch(part) for branch, part in zip(self.branches, maps, strict=True)], dim=1)
        return self.merge(self.norm(filtered)) + self.shortcut(x)
'''


def suggested_code(
    found: FoundStages, suggestions: Mapping[str, tuple[Sequence[int], Sequence[int]]], *, title: str
) -> str:
    """Python code that puts the suggested blocks in the place of a network's own.

    Rate 1 alone becomes the paper's block for that case, `rfkit.SIR`; anything else `rfkit.DWR`.

    Args:
        found: the stages.
        suggestions: stage -> dilation rates, and channels of each relative to each other.
        title: first line.

    Returns:
        A module with `BLOCKS` and `rebuild(model)`.
    """
    lines = []
    for stage in found.stages:
        lines.append(f"    # {stage.name}, 1/{stage.output_stride}".replace("\n", " "))
        rates, alpha = suggestions[stage.name]
        lines += [f"    {block.name!r}: lambda: {_call(block, tuple(rates), tuple(alpha))}," for block in stage.blocks]
    return _HEAD.format(title=title.replace("\\", "/").replace('"""', "'''"), lines="\n".join(lines))


def rebuilt(code: str, model: nn.Module) -> nn.Module:
    """A copy of `model` with the blocks of `code`: what is counted is what is printed."""
    names: dict[str, Any] = {}
    exec(compile(code, "suggested_blocks.py", "exec"), names)
    return names["rebuild"](model)


def _call(block: FoundBlock, rates: tuple[int, ...], alpha: tuple[int, ...]) -> str:
    stride = f", stride={block.stride}" if block.stride > 1 else ""
    if rates == (1,):
        return f"rfkit.SIR({block.channels}, {block.in_channels}{stride})"
    # A branch reads half as many region maps as the block has channels; of an odd number that is rounded up.
    width = (block.channels + 1) // 2
    beta = Fraction(3 * width, block.channels)
    odd = "" if beta == Fraction(3, 2) else f", beta={beta.numerator} / {beta.denominator}"
    return f"rfkit.DWR({block.channels}, {block.in_channels}, dilations={rates}, alpha={alpha}{stride}{odd})"
