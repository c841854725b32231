"""Norms by name, and the layer norm of a feature map."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from rfkit._checks import check_choice

__all__ = ["ChannelNorm", "make_norm"]


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each position by itself, so it is no global path (unlike a group norm).

    Shape:
        N, channels, H, W -> the same.
    """

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
        """The map with each position's channels at mean 0 and variance 1, scaled and shifted."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "layer": ChannelNorm,
    "none": lambda _channels: nn.Identity(),
}


def make_norm(name: str, channels: int) -> nn.Module:
    """The norm called `name`: "batch", "layer" (over the channels of each position) or "none".

    Raises:
        ValueError: `name` is none of these.
    """
    check_choice("norm", name, _NORMS)
    return _NORMS[name](channels)
