"""Parallel dilated convolutions, and the two-step residual block built on them.

DWR, SIR, the competing-branch probe and RegSeg's D block are declarations on this one engine.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rfkit.nn.conv import ConvNorm, make_activation

__all__ = ["ParallelDilations", "SemanticResidualization", "TwoStepResidual", "check_dilations"]


def check_dilations(dilations: Sequence[int]) -> tuple[int, ...]:
    """`dilations` as a tuple.

    Raises:
        ValueError: the list is empty or an entry is not a whole number of at least 1.
    """
    rates = tuple(dilations)
    if not rates or any(isinstance(rate, bool) or not isinstance(rate, int) or rate < 1 for rate in rates):
        raise ValueError(f"dilations={dilations!r} must be one or more whole numbers of at least 1.")
    return rates


class ParallelDilations(nn.Module):
    """Grouped 3x3 convolutions with different dilation rates side by side, their outputs concatenated.

    Either every branch reads its own part of the input (`shared=False`: the input is split along the channels), or
    all of them read the whole input (`shared=True`: the branches compete for the same maps).

    Args:
        in_widths: channels that each branch reads. With `shared` they must all be equal.
        multipliers: output channels of each branch per input channel (the channel multiplier of a depth-wise
            convolution).
        dilations: dilation rate of each branch.
        shared: whether all branches read the same channels.
        group_width: input channels of each group of a convolution; 1 is depth-wise.
        stride: stride of all convolutions.

    Shape:
        N, sum(in_widths) (or in_widths[0] if shared), H, W -> N, sum(out_widths), ceil(H / stride), ceil(W / stride).

    Raises:
        ValueError: the three lists differ in length, shared branches differ in width, or a branch is not made of whole
            groups.
    """

    def __init__(
        self,
        in_widths: Sequence[int],
        multipliers: Sequence[int],
        *,
        dilations: Sequence[int],
        shared: bool = False,
        group_width: int = 1,
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.dilations = check_dilations(dilations)
        self.in_widths = tuple(in_widths)
        if not len(self.in_widths) == len(multipliers) == len(self.dilations):
            raise ValueError(
                f"in_widths={self.in_widths}, multipliers={tuple(multipliers)} and dilations={self.dilations} "
                "must have one entry a branch."
            )
        if shared and len(set(self.in_widths)) != 1:
            raise ValueError(f"in_widths={self.in_widths} must all be equal when shared=True.")
        if group_width < 1 or any(width % group_width for width in self.in_widths):
            raise ValueError(f"group_width={group_width} must divide in_widths={self.in_widths}.")
        self.out_widths = tuple(width * factor for width, factor in zip(self.in_widths, multipliers, strict=True))
        self.shared = shared
        self.convs = nn.ModuleList(
            nn.Conv2d(width, out, 3, stride, padding=rate, dilation=rate, groups=width // group_width, bias=False)
            for width, out, rate in zip(self.in_widths, self.out_widths, self.dilations, strict=True)
        )

    def forward(
        self, x: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs out_height out_width"]:
        """The concatenated outputs, in the order of `dilations`."""
        parts = [x] * len(self.convs) if self.shared else x.split(self.in_widths, dim=1)
        outputs = [conv(part) for conv, part in zip(self.convs, parts, strict=True)]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)


class SemanticResidualization(nn.Sequential):
    """Step two of the two-step block: parallel dilated branches, one batch norm over their concatenation.

    Args:
        branches: the parallel convolutions.
        norm: whether batch norm follows (off in Table 2, IV, switch 3).
        activation: "none" as in the paper; "relu" is Table 2, IV, switch 4.
    """

    branches: ParallelDilations

    def __init__(self, branches: ParallelDilations, *, norm: bool = True, activation: str = "none") -> None:
        super().__init__(
            OrderedDict(
                branches=branches,
                norm=nn.BatchNorm2d(sum(branches.out_widths)) if norm else nn.Identity(),
                activation=make_activation(activation),
            )
        )


class TwoStepResidual(nn.Module):
    """`merge(semantic(region(x))) + shortcut(x)`: the frame that DWR, SIR and the probe fill in.

    `region` is region residualization (3x3 convolution unless `region_kernel` says otherwise, norm, activation),
    `semantic` is semantic residualization (None for a block without that step), `merge` is the point-wise convolution
    that the sum follows. The stride sits in the region convolution; where the stride or the channels change, the
    shortcut is a strided 1x1 convolution with batch norm, else the identity. Where the paper is silent on the shortcut,
    this is the usual choice.

    Reference: Wei et al., DWRSeg, section 3.2 and Fig. 4.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        region_width: int,
        semantic: SemanticResidualization | None,
        stride: int = 1,
        activation: str = "relu",
        region_norm: bool = True,
        merge_norm: bool = False,
        region_kernel: int = 3,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.stride = in_channels, out_channels, stride
        self.region = ConvNorm(
            in_channels,
            region_width,
            kernel_size=region_kernel,
            stride=stride,
            norm=region_norm,
            activation=activation,
            bias=not region_norm,
        )
        self.semantic: SemanticResidualization | None = semantic
        merge_width = region_width if semantic is None else sum(semantic.branches.out_widths)
        self.merge = ConvNorm(merge_width, out_channels, kernel_size=1, norm=merge_norm, activation="none")
        if stride == 1 and in_channels == out_channels:
            self.shortcut: nn.Module = nn.Identity()
        else:
            self.shortcut = ConvNorm(in_channels, out_channels, kernel_size=1, stride=stride, activation="none")

    @property
    def dilations(self) -> tuple[int, ...]:
        """Dilation rate of each branch of the semantic step; empty for a block without it."""
        return () if self.semantic is None else self.semantic.branches.dilations

    def forward(
        self, x: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs out_height out_width"]:
        """The block's output, at 1/stride of the input's size (rounded up)."""
        features = self.region(x)
        if self.semantic is not None:
            features = self.semantic(features)
        return self.merge(features) + self.shortcut(x)
