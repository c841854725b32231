"""The modules of DWRSeg: Dilation-wise Residual (DWR) and Simple Inverted Residual (SIR)."""

from __future__ import annotations

from collections.abc import Sequence

from rfkit._checks import check_positive
from rfkit.nn.branches import ParallelDilations, SemanticResidualization, TwoStepResidual, check_dilations

__all__ = ["DWR", "SIR"]


class DWR(TwoStepResidual):
    """Dilation-wise Residual module: each dilation rate filters region maps of its own.

    Region residualization makes `beta * channels / 3` maps for every branch; in semantic residualization each branch
    filters its maps depth-wise with its one dilation rate; a point-wise convolution merges them. DWR(128) has 174 400
    parameters with dilations (1, 3) and 257 152 with (1, 3, 5), the counts that the paper's Table 1 implies.

    Args:
        channels: channels that go out (c in the paper).
        in_channels: channels that come in; `channels` if not given.
        dilations: dilation rate of each branch.
        stride: 2 in the block that reaches a stage's output stride.
        alpha: output channels of each branch relative to its region maps (Table 2, II; the paper's ratio 2:1:1). A
            list longer than `dilations` is cut; a shorter one is continued with ones.
        beta: region maps per channel in a block of three branches (Table 2, III); a block of n branches has
            n * beta / 3 per channel, as the published sizes demand.
        multiple: let every dilation rate read all region maps (Table 2, I, "MS"), each keeping their number. `alpha`
            has no meaning then.
        activation: "relu"; "none" is switch 1 of Table 2, IV; "prelu" is what the paper argues against.
        region_norm: False is switch 2: no norm in region residualization (its convolution then has a bias).
        semantic_norm: False is switch 3: no norm in semantic residualization.
        semantic_activation: "relu" is switch 4: a ReLU after the norm of semantic residualization.
        merge_norm: True is switch 5: a norm after the point-wise convolution.

    Shape:
        N, in_channels, H, W -> N, channels, ceil(H / stride), ceil(W / stride).

    Raises:
        ValueError: `channels * beta` does not divide by three, or an option is out of range.

    Example:
        >>> sum(parameter.numel() for parameter in DWR(128, dilations=(1, 3, 5)).parameters())
        257152

    Reference: Wei et al., DWRSeg, section 3.2, Fig. 4a, Table 2.
    """

    def __init__(
        self,
        channels: int,
        in_channels: int | None = None,
        *,
        dilations: Sequence[int] = (1, 3, 5),
        stride: int = 1,
        alpha: Sequence[int] = (2, 1, 1),
        beta: float = 1.5,
        multiple: bool = False,
        activation: str = "relu",
        region_norm: bool = True,
        semantic_norm: bool = True,
        semantic_activation: str = "none",
        merge_norm: bool = False,
    ) -> None:
        rates = check_dilations(dilations)
        width = _branch_width(channels, beta)
        if any(factor < 1 for factor in alpha):
            raise ValueError(f"alpha={tuple(alpha)} must hold whole numbers of at least 1.")
        region_width = width * len(rates)
        if multiple:
            branches = ParallelDilations([region_width] * len(rates), [1] * len(rates), dilations=rates, shared=True)
        else:
            factors = (*alpha, *[1] * len(rates))[: len(rates)]
            branches = ParallelDilations([width] * len(rates), factors, dilations=rates)
        super().__init__(
            in_channels or channels,
            channels,
            region_width=region_width,
            semantic=SemanticResidualization(branches, norm=semantic_norm, activation=semantic_activation),
            stride=stride,
            activation=activation,
            region_norm=region_norm,
            merge_norm=merge_norm,
        )


class SIR(TwoStepResidual):
    """Simple Inverted Residual module: region residualization and the point-wise convolution, nothing between.

    SIR(64) has 123 264 parameters, the count that the paper's Table 1 implies.

    Args:
        channels: channels that go out.
        in_channels: channels that come in; `channels` if not given.
        stride: 2 in the block that reaches the stage's output stride.
        expansion: region maps per channel (lambda in the paper; Table 2, VI).
        depthwise: add the depth-wise 3x3 convolution with norm that the paper leaves out (Table 2, V, "w").
        activation: activation of the region maps, as for `DWR`.

    Shape:
        N, in_channels, H, W -> N, channels, ceil(H / stride), ceil(W / stride).

    Example:
        >>> sum(parameter.numel() for parameter in SIR(64).parameters())
        123264

    Reference: Wei et al., DWRSeg, section 3.3, Fig. 4b, Table 2 (V, VI).
    """

    def __init__(
        self,
        channels: int,
        in_channels: int | None = None,
        *,
        stride: int = 1,
        expansion: int = 3,
        depthwise: bool = False,
        activation: str = "relu",
    ) -> None:
        check_positive("expansion", expansion)
        width = expansion * channels
        semantic = SemanticResidualization(ParallelDilations([width], [1], dilations=(1,))) if depthwise else None
        super().__init__(
            in_channels or channels,
            channels,
            region_width=width,
            semantic=semantic,
            stride=stride,
            activation=activation,
        )


def _branch_width(channels: int, beta: float) -> int:
    check_positive("channels", channels)
    width = round(channels * beta / 3)
    if width < 1 or abs(width - channels * beta / 3) > 1e-6:
        raise ValueError(f"channels={channels} times beta={beta} must be a multiple of 3, got {channels * beta:g}.")
    return width
