"""DWRSeg's stem: from the image to 64 maps at output stride 4."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rfkit._checks import check_choice
from rfkit.nn.conv import ConvNorm

__all__ = ["Stem"]

# layout -> channels of the first convolution, of the 1x1 convolution, of the left branch's strided convolution
_WIDTHS = {"wide": (64, 32, 32), "narrow": (32, 16, 32)}


class Stem(nn.Module):
    """BiSeNetV2's stem block with the two changes of DWRSeg: no activation after the first convolution, no shrinkage.

    The paper's text leaves the order open; both layouts are inferred. "wide" (the default) gives the published
    sizes of the networks exactly: 3x3 s2 to 64 without activation, 1x1 to 32, and on that map a 3x3 s2 convolution
    beside a 3x3 s2 max-pooling, joined to 64, then a 3x3 convolution. "narrow" is BiSeNetV2's own order at these
    widths: 3x3 s2 to 32, whose map goes through 1x1 to 16 and 3x3 s2 to 32 on the left and max-pooling on the right.

    Shape:
        N, 3, H, W -> N, 64, ceil(H / 4), ceil(W / 4).

    Reference: Wei et al., DWRSeg, section 3.4, Fig. 6a; Yu et al., BiSeNetV2, IJCV 2021.
    """

    def __init__(self, layout: str = "wide") -> None:
        super().__init__()
        check_choice("stem", layout, _WIDTHS)
        self.layout = layout
        first, reduced, strided = _WIDTHS[layout]
        self.first = ConvNorm(3, first, stride=2, activation="none")
        self.reduce = ConvNorm(first, reduced, kernel_size=1)
        self.left = ConvNorm(reduced, strided, stride=2)
        self.right = nn.MaxPool2d(3, stride=2, padding=1)
        self.last = ConvNorm(64, 64)

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 64 out_height out_width"]:
        """The 64 maps at output stride 4."""
        first = self.first(image)
        reduced = self.reduce(first)
        pooled = self.right(first if self.layout == "narrow" else reduced)
        return self.last(torch.cat([self.left(reduced), pooled], dim=1))
