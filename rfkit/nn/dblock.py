"""RegSeg's D block: parallel dilated grouped convolutions inside a squeeze-excite residual block."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from rfkit._checks import check_positive
from rfkit.nn.branches import ParallelDilations, check_dilations
from rfkit.nn.conv import ConvNorm, make_activation

__all__ = ["DBlock", "DownsamplingShortcut", "SqueezeExcite"]


class SqueezeExcite(nn.Module):
    """A gate per channel, computed from the mean of every channel: a global path.

    Two 1x1 convolutions with bias, ReLU between them and a sigmoid behind them.

    Args:
        channels: channels that are gated.
        width: channels between the two convolutions.

    Shape:
        N, channels, H, W -> the same.

    Reference: Hu et al., Squeeze-and-Excitation Networks, CVPR 2018, section 3.
    """

    def __init__(self, channels: int, *, width: int) -> None:
        super().__init__()
        check_positive("width", width)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.squeeze = nn.Conv2d(channels, width, 1)
        self.activation = make_activation("relu")
        self.excite = nn.Conv2d(width, channels, 1)
        self.gate = nn.Sigmoid()

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
        """The input, each channel times its gate."""
        return x * self.gate(self.excite(self.activation(self.squeeze(self.pool(x)))))


class DownsamplingShortcut(nn.Sequential):
    """Average pooling over 2x2 pixels, a 1x1 convolution and norm: the shortcut where a D block has stride 2.

    At an odd border the last window holds what is left of the map, so that the size is rounded up as the strided
    convolution beside it rounds it.

    Shape:
        N, in_channels, H, W -> N, channels, ceil(H / 2), ceil(W / 2).
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__(
            OrderedDict(
                pool=nn.AvgPool2d(2, stride=2, ceil_mode=True),
                project=ConvNorm(in_channels, channels, kernel_size=1, activation="none"),
            )
        )


class DBlock(nn.Module):
    """`relu(last(gate(branches(first(x)))) + shortcut(x))`: the block of which RegSeg is built.

    `first` is a 1x1 convolution, norm and ReLU; `branches` are grouped 3x3 convolutions that carry the stride, each
    with a dilation rate of its own on its equal share of the channels, with one norm and ReLU behind their
    concatenation; `gate` is squeeze-excite; `last` is a 1x1 convolution and norm. The shortcut is the identity, a 1x1
    convolution and norm where the channels change, or `DownsamplingShortcut` at stride 2.

    With i channels in, o out and groups of g, a block has io + 9og + oo + 6o weights, 2oi/4 + i/4 + o in the gate, and
    io + 2o in a shortcut that is not the identity; the number of branches changes none of these.

    Args:
        channels: channels that go out.
        in_channels: channels that come in; `channels` if not given.
        dilations: dilation rate of each branch.
        group_width: channels of each group of the 3x3 convolutions (g).
        stride: 1 or 2.
        squeeze: width of the gate's hidden layer per channel that comes into the block.

    Shape:
        N, in_channels, H, W -> N, channels, ceil(H / stride), ceil(W / stride).

    Raises:
        ValueError: the branches' shares of the channels are not made of whole groups, or an option is out of range.

    Example:
        >>> sum(parameter.numel() for parameter in DBlock(256, dilations=(1, 14)).parameters())
        202560

    Reference: Gao, Rethinking Dilated Convolution for Real-time Semantic Segmentation, arXiv 2111.09957, D block.
    """

    def __init__(
        self,
        channels: int,
        in_channels: int | None = None,
        *,
        dilations: Sequence[int] = (1,),
        group_width: int = 16,
        stride: int = 1,
        squeeze: float = 0.25,
    ) -> None:
        super().__init__()
        inputs = in_channels or channels
        rates = check_dilations(dilations)
        for name, value in (("channels", channels), ("in_channels", inputs), ("group_width", group_width)):
            check_positive(name, value)
        if stride not in (1, 2):
            raise ValueError(f"stride={stride!r} must be 1 or 2.")
        if channels % (len(rates) * group_width):
            raise ValueError(
                f"channels={channels} cannot be split into {len(rates)} branches (dilations={rates}) of whole groups "
                f"of group_width={group_width}; it must be a multiple of {len(rates) * group_width}."
            )
        hidden = round(inputs * squeeze)
        if hidden < 1:
            raise ValueError(f"squeeze={squeeze} leaves no channel in the gate for in_channels={inputs}.")
        self.in_channels, self.out_channels, self.stride = inputs, channels, stride
        share = channels // len(rates)
        self.first = ConvNorm(inputs, channels, kernel_size=1)
        self.branches = ParallelDilations(
            [share] * len(rates), [1] * len(rates), dilations=rates, group_width=group_width, stride=stride
        )
        self.norm = nn.BatchNorm2d(channels)
        self.activation = make_activation("relu")
        self.gate = SqueezeExcite(channels, width=hidden)
        self.last = ConvNorm(channels, channels, kernel_size=1, activation="none")
        if stride == 2:
            self.shortcut: nn.Module = DownsamplingShortcut(inputs, channels)
        elif inputs != channels:
            self.shortcut = ConvNorm(inputs, channels, kernel_size=1, activation="none")
        else:
            self.shortcut = nn.Identity()
        self.output = make_activation("relu")

    @property
    def dilations(self) -> tuple[int, ...]:
        """Dilation rate of each branch."""
        return self.branches.dilations

    def forward(
        self, x: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs out_height out_width"]:
        """The block's output, at 1/stride of the input's size (rounded up)."""
        features = self.activation(self.norm(self.branches(self.first(x))))
        return self.output(self.last(self.gate(features)) + self.shortcut(x))
