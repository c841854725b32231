"""The Visual Attention Network (VAN): large-kernel attention, its block, and a stage of blocks."""

from __future__ import annotations

from collections import OrderedDict

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rfkit._checks import check_positive
from rfkit.nn.norms import make_norm

__all__ = ["Embedding", "LargeKernelAttention", "VANBlock", "VANStage"]


class LargeKernelAttention(nn.Module):
    """The input times a map of its own surroundings: 5x5 depth-wise, 7x7 depth-wise with dilation rate 3, 1x1.

    The two depth-wise convolutions reach 23x23 units together, without holes, at the cost of 74 weights a channel.

    Shape:
        N, channels, H, W -> the same.

    Reference: Guo et al., Visual Attention Network, Computational Visual Media 2023, section 3.1.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.near = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.far = nn.Conv2d(channels, channels, 7, padding=9, dilation=3, groups=channels)
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
        """The input, each value times its attention."""
        return x * self.mix(self.far(self.near(x)))


class _Attention(nn.Module):
    """1x1, GELU, large-kernel attention, 1x1, and the input added."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(channels, channels, 1)
        self.activation = nn.GELU()
        self.attention = LargeKernelAttention(channels)
        self.leave = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.leave(self.attention(self.activation(self.enter(x))))


class VANBlock(nn.Module):
    """Norm and attention, then norm and MLP, each scaled channel by channel and added to its input.

    The MLP is a 1x1 convolution, a 3x3 depth-wise one, GELU, and a 1x1 convolution back.

    Args:
        channels: channels that come in and go out.
        mlp_ratio: hidden channels of the MLP per channel.
        layer_scale: initial value of the learned scale of each channel of both branches.

    Shape:
        N, channels, H, W -> the same.

    Reference: Guo et al., Visual Attention Network, Computational Visual Media 2023, section 3.2.
    """

    def __init__(self, channels: int, *, mlp_ratio: int = 4, layer_scale: float = 0.01) -> None:
        super().__init__()
        check_positive("mlp_ratio", mlp_ratio)
        hidden = mlp_ratio * channels
        self.in_channels = self.out_channels = channels
        self.attention = nn.Sequential(OrderedDict(norm=nn.BatchNorm2d(channels), attention=_Attention(channels)))
        self.attention_scale = nn.Parameter(torch.full((channels, 1, 1), layer_scale))
        self.mlp = nn.Sequential(
            OrderedDict(
                norm=nn.BatchNorm2d(channels),
                enter=nn.Conv2d(channels, hidden, 1),
                depthwise=nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden),
                activation=nn.GELU(),
                leave=nn.Conv2d(hidden, channels, 1),
            )
        )
        self.mlp_scale = nn.Parameter(torch.full((channels, 1, 1), layer_scale))

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
        """The block's output, of the input's size."""
        x = x + self.attention_scale * self.attention(x)
        return x + self.mlp_scale * self.mlp(x)


class Embedding(nn.Sequential):
    """Overlapping patches: a strided convolution whose windows overlap, and batch norm.

    Shape:
        N, in_channels, H, W -> N, channels, ceil(H / stride), ceil(W / stride).
    """

    def __init__(self, in_channels: int, channels: int, *, kernel_size: int, stride: int) -> None:
        conv = nn.Conv2d(in_channels, channels, kernel_size, stride, padding=kernel_size // 2, bias=False)
        super().__init__(OrderedDict(conv=conv, norm=nn.BatchNorm2d(channels)))


class VANStage(nn.Sequential):
    """An embedding that reaches the stage's output stride, blocks, and a norm of the result.

    Args:
        in_channels: channels that come in.
        channels: channels of the stage.
        depth: number of blocks.
        kernel_size: of the embedding; 7 in the first stage of a VAN, 3 later.
        stride: of the embedding; 4 in the first stage, 2 later.
        mlp_ratio: hidden channels of each block's MLP per channel.
        layer_scale: initial value of the blocks' scales.
        norm: of the stage's output: "layer", "batch" or "none".

    Shape:
        N, in_channels, H, W -> N, channels, ceil(H / stride), ceil(W / stride).

    Raises:
        ValueError: an option is out of range.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        depth: int,
        kernel_size: int = 3,
        stride: int = 2,
        mlp_ratio: int = 4,
        layer_scale: float = 0.01,
        norm: str = "layer",
    ) -> None:
        for name, value in (("channels", channels), ("depth", depth)):
            check_positive(name, value)
        parts: dict[str, nn.Module] = {
            "embedding": Embedding(in_channels, channels, kernel_size=kernel_size, stride=stride)
        }
        for index in range(depth):
            parts[str(index)] = VANBlock(channels, mlp_ratio=mlp_ratio, layer_scale=layer_scale)
        parts["norm"] = make_norm(norm, channels)
        super().__init__(OrderedDict(parts))
        self.depth = depth
