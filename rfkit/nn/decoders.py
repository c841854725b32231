"""Decoders: from the maps of several stages to one map of class scores."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from rfkit.nn.conv import ConvNorm

__all__ = ["ConcatDecoder", "SegHead"]


class SegHead(nn.Sequential):
    """3x3 convolution, norm, ReLU, then a 1x1 convolution with bias to the class scores.

    Shape:
        N, in_channels, H, W -> N, num_classes, H, W.

    Reference: Wei et al., DWRSeg, section 3.4, Fig. 6b.
    """

    def __init__(self, in_channels: int, num_classes: int, *, width: int = 128) -> None:
        super().__init__(OrderedDict(hidden=ConvNorm(in_channels, width), classifier=nn.Conv2d(width, num_classes, 1)))


class ConcatDecoder(nn.Module):
    """Brings all maps to the size of the first, concatenates them, norm, `SegHead`, then up to the image's size.

    Args:
        in_channels: channels of each map, finest first.
        num_classes: number of class scores.
        width: channels of the head's hidden map.

    Reference: Wei et al., DWRSeg, section 3.4, Fig. 3.
    """

    def __init__(self, in_channels: Sequence[int], num_classes: int, *, width: int = 128) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(sum(in_channels))
        self.head = SegHead(sum(in_channels), num_classes, width=width)

    def forward(
        self, maps: Sequence[Float[Tensor, "batch _ _ _"]], size: Sequence[int]
    ) -> Float[Tensor, "batch classes height width"]:
        """Class scores (logits) of `size` (height, width)."""
        finest = maps[0]
        resized = [finest, *(_resize(coarse, finest.shape[-2:]) for coarse in maps[1:])]
        return _resize(self.head(self.norm(torch.cat(resized, dim=1))), size)


def _resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)
