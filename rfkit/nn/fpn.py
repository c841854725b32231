"""A feature pyramid and the head that reads all its levels."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from rfkit._checks import check_choice
from rfkit.nn.conv import ConvNorm

__all__ = ["FPNDecoder"]


class FPNDecoder(nn.Module):
    """A top-down feature pyramid, whose levels are brought to the finest one's size step by step and added.

    Each map goes through a 1x1 convolution; from the coarsest on, each level is resampled to the next finer one and
    added to it; a 3x3 convolution follows in every level. In the head each level goes through a 3x3 convolution, norm
    and ReLU, and a step up to the next finer level's size, as often as it takes to reach the finest.

    Args:
        in_channels: channels of each map, finest first; each about half the size of the one before.
        num_classes: number of class scores.
        width: channels of the pyramid.
        head_width: channels of the head.
        upsampling: "nearest" or "bilinear", inside the pyramid; the head always takes bilinear.

    Reference: Lin et al., Feature Pyramid Networks, CVPR 2017; Kirillov et al., Panoptic Feature Pyramid Networks,
        CVPR 2019 (the head).
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        *,
        width: int = 256,
        head_width: int = 128,
        upsampling: str = "nearest",
    ) -> None:
        super().__init__()
        check_choice("upsampling", upsampling, ("nearest", "bilinear"))
        self.upsampling = upsampling
        self.lateral = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in in_channels)
        self.smooth = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in in_channels)
        self.climb = nn.ModuleList(
            nn.ModuleList(ConvNorm(width if step == 0 else head_width, head_width) for step in range(max(1, level)))
            for level in range(len(in_channels))
        )
        self.classifier = nn.Conv2d(head_width, num_classes, 1)

    def forward(
        self, maps: Sequence[Float[Tensor, "batch _ _ _"]], size: Sequence[int]
    ) -> Float[Tensor, "batch classes height width"]:
        """Class scores (logits) of `size` (height, width)."""
        levels = self._pyramid(maps)
        sizes = [level.shape[-2:] for level in levels]
        total = self.climb[0][0](levels[0])  # type: ignore[index]
        for index, features in enumerate(levels[1:], start=1):
            for step, layer in enumerate(self.climb[index].children()):
                features = _resize(layer(features), sizes[index - 1 - step], "bilinear")
            total = total + features
        return _resize(self.classifier(total), size, "bilinear")

    def _pyramid(self, maps: Sequence[Tensor]) -> list[Tensor]:
        levels = [lateral(features) for lateral, features in zip(self.lateral, maps, strict=True)]
        for index in range(len(levels) - 1, 0, -1):
            finer = levels[index - 1]
            levels[index - 1] = finer + _resize(levels[index], finer.shape[-2:], self.upsampling)
        return [smooth(level) for smooth, level in zip(self.smooth, levels, strict=True)]


def _resize(maps: Tensor, size: Sequence[int], mode: str) -> Tensor:
    corners = False if mode == "bilinear" else None
    return F.interpolate(maps, size=tuple(size), mode=mode, align_corners=corners)
