"""The competing-branch module, with which DWRSeg's authors probed the receptive fields that each stage needs."""

from __future__ import annotations

from collections.abc import Sequence

from rfkit.nn.branches import ParallelDilations, SemanticResidualization, TwoStepResidual, check_dilations

__all__ = ["CompetingBranches"]


class CompetingBranches(TwoStepResidual):
    """One region map that several dilation rates compete for, all with the same capacity.

    Every depth-wise convolution reads the whole region map and returns as many channels as it reads. The weights of
    the point-wise convolution that follows tell how much of each rate the training has put to use. The width of the
    region map is not given in the paper's Fig. 7: one map per channel is an assumption, and an argument here.

    Args:
        channels: channels that go out.
        in_channels: channels that come in; `channels` if not given.
        dilations: dilation rate of each branch, any number of them.
        stride: 2 in a block that downsamples; it sits in the region convolution.
        region_ratio: region maps per channel.
        activation: activation of the region maps, "relu" in the paper.
        region_kernel: odd side of the region convolution's kernel, 3 in the paper. With 1 a branch of rate d reads the
            pixels at distance d and the centre and nothing else.

    Shape:
        N, in_channels, H, W -> N, channels, ceil(H / stride), ceil(W / stride).

    Raises:
        ValueError: a dilation rate is not a whole number of at least 1, or `region_ratio` gives no channel.

    Example:
        >>> CompetingBranches(64, dilations=(1, 3, 5)).dilations
        (1, 3, 5)

    Reference: Wei et al., DWRSeg, section 4.2, Fig. 7 and 8.
    """

    def __init__(
        self,
        channels: int,
        in_channels: int | None = None,
        *,
        dilations: Sequence[int] = (1, 3, 5),
        stride: int = 1,
        region_ratio: float = 1.0,
        activation: str = "relu",
        region_kernel: int = 3,
    ) -> None:
        rates = check_dilations(dilations)
        width = round(channels * region_ratio)
        if width < 1:
            raise ValueError(f"region_ratio={region_ratio} leaves no region map for channels={channels}.")
        branches = ParallelDilations([width] * len(rates), [1] * len(rates), dilations=rates, shared=True)
        super().__init__(
            in_channels or channels,
            channels,
            region_width=width,
            semantic=SemanticResidualization(branches),
            stride=stride,
            activation=activation,
            region_kernel=region_kernel,
        )
