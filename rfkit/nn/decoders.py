"""Decoders: from the maps of several stages to one map of class scores."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from rfkit._checks import check_positive
from rfkit.nn.conv import ConvNorm

__all__ = ["ConcatDecoder", "RegSegDecoder", "SegHead"]


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


class RegSegDecoder(nn.Module):
    """RegSeg's decoder: the coarse map is added to the middle one, their sum concatenated with the fine one.

    Each map first goes through a 1x1 convolution, norm and ReLU. The coarse map is brought to the middle one's size
    and added, a 3x3 convolution follows, then up to the fine map's size, the concatenation, `SegHead`, and the scores
    go up to the image's size. All upsampling is bilinear, with aligned pixel edges (align_corners=False).

    Args:
        in_channels: channels of the fine, the middle and the coarse map (1/4, 1/8 and 1/16).
        num_classes: number of class scores.
        head_widths: channels of the three maps after their 1x1 convolutions; the last two are added, so equal.
        width: channels of the two 3x3 convolutions.

    Raises:
        ValueError: there are not three maps, or the two to be added differ in width.

    Reference: Gao, Rethinking Dilated Convolution for Real-time Semantic Segmentation, arXiv 2111.09957, decoder.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        *,
        head_widths: Sequence[int] = (8, 128, 128),
        width: int = 64,
    ) -> None:
        super().__init__()
        if len(head_widths) != 3 or head_widths[1] != head_widths[2]:
            raise ValueError(
                f"head_widths={tuple(head_widths)!r} must be three widths, for the fine, middle and coarse map, the "
                "last two equal because these maps are added."
            )
        if len(in_channels) != 3:
            raise ValueError(f"in_channels={tuple(in_channels)!r} must be three, for the fine, middle and coarse map.")
        check_positive("width", width)
        fine, middle, coarse = (
            ConvNorm(inputs, outputs, kernel_size=1) for inputs, outputs in zip(in_channels, head_widths, strict=True)
        )
        self.fine, self.middle, self.coarse = fine, middle, coarse
        self.fuse = ConvNorm(head_widths[1], width)
        self.head = SegHead(head_widths[0] + width, num_classes, width=width)

    def forward(
        self, maps: Sequence[Float[Tensor, "batch _ _ _"]], size: Sequence[int]
    ) -> Float[Tensor, "batch classes height width"]:
        """Class scores (logits) of `size` (height, width)."""
        fine, middle = self.fine(maps[0]), self.middle(maps[1])
        middle = self.fuse(middle + _resize(self.coarse(maps[2]), middle.shape[-2:]))
        fused = torch.cat([_resize(middle, fine.shape[-2:]), fine], dim=1)
        return _resize(self.head(fused), size)


def _resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)
