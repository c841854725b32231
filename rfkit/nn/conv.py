"""A convolution with the norm and the activation that follow it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from torch import nn

from rfkit._checks import check_choice

__all__ = ["ConvNorm", "initialise", "make_activation"]

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "prelu": nn.PReLU,
    "none": nn.Identity,
}


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


def initialise(module: nn.Module, scheme: str = "torch") -> None:
    """Draw the initial weights of every convolution anew.

    The DWRSeg paper names no initialisation, and it matters: with its recipe a weight of a 1x1 convolution moved by
    less than a hundredth in 490 steps, so that a wide initial distribution hides what has been learned.

    Args:
        module: any module; its convolutions are changed in place.
        scheme: "torch": PyTorch's own for a convolution, uniform with standard deviation 1 / sqrt(3 * fan-in), what
            code that says nothing gets. "he": normal with standard deviation sqrt(2 / fan-in), 2.4 times as wide, with
            biases at zero (He et al., "Delving deep into rectifiers", ICCV 2015).

    Raises:
        ValueError: `scheme` is neither.
    """
    check_choice("initialisation", scheme, ("torch", "he"))
    for part in module.modules():
        if isinstance(part, nn.Conv2d) and scheme == "torch":
            part.reset_parameters()
        elif isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_in", nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)
