"""A convolution with the norm and the activation that follow it."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from rfkit._checks import check_choice

__all__ = ["ConvNorm", "initialise", "make_activation"]

_ACTIVATIONS = {"relu": lambda: nn.ReLU(inplace=True), "prelu": nn.PReLU, "none": nn.Identity}


def make_activation(name: str) -> nn.Module:
    """The activation called `name`: "relu", "prelu" (one learned slope) or "none".

    Raises:
        ValueError: `name` is none of these.
    """
    check_choice("activation", name, _ACTIVATIONS)
    return _ACTIVATIONS[name]()


class ConvNorm(nn.Sequential):
    """Convolution (`conv`), batch norm (`norm`) and activation (`activation`), padded so that stride 1 keeps the size.

    The convolution has a bias only where no norm follows and `bias` asks for one. A part that is switched off
    stays in place as an identity, so that names of parameters do not depend on the options.

    Args:
        in_channels: channels that come in.
        out_channels: channels that go out.
        kernel_size: odd side of the square kernel.
        stride: stride of the convolution.
        norm: whether batch norm follows the convolution.
        activation: "relu", "prelu" or "none".
        bias: whether the convolution has a bias of its own.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 3,
        stride: int = 1,
        norm: bool = True,
        activation: str = "relu",
        bias: bool = False,
    ) -> None:
        conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=bias)
        super().__init__(
            OrderedDict(
                conv=conv,
                norm=nn.BatchNorm2d(out_channels) if norm else nn.Identity(),
                activation=make_activation(activation),
            )
        )


def initialise(module: nn.Module) -> None:
    """Draw every convolution's weights from He's normal distribution (fan-in), with biases at zero.

    The papers do not name an initialisation. Fan-in is used because fan-out would start a depth-wise convolution
    of c channels sqrt(c) times too small. Reference: He et al., "Delving deep into rectifiers", ICCV 2015.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_in", nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)
