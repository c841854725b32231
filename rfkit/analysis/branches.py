"""How much a network uses each of its parallel dilation rates: the weights of the 1x1 convolutions behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from rfkit._checks import check_choice
from rfkit.analysis.contributions import branch_contributions
from rfkit.analysis.find_branches import BranchBlock
from rfkit.analysis.images import as_batches
from rfkit.analysis.ratios import mixed_means, ratio_of, resampled_means
from rfkit.analysis.stages import staged_blocks
from rfkit.analysis.untouched import untouched
from rfkit.results.branches import MEASURES, BlockWeights, BranchStatistic, BranchWeights, Claim, Ratio

__all__ = ["branch_ratios", "branch_weights", "fig8_statistic"]

# Fig. 8's claims, as fixed before any training.
_LOW_ABOVE = 1.5
_MIDDLE_BELOW = 1.0
_HIGH_BETWEEN = (0.8, 1.25)
_EPOCHS_NEEDED = 300


def branch_weights(
    model: nn.Module,
    *,
    measure: str = "weight",
    images: Tensor | Sequence[Tensor] | None = None,
    stages: Mapping[str, str | Sequence[str]] | None = None,
    input_size: Sequence[int] = (3, 128, 256),
) -> BranchWeights:
    """The weights with which the 1x1 convolutions of `model` use its parallel dilated branches.

    |w| alone, the paper's measure, depends on how scale is shared between a norm and the 1x1 convolution behind it;
    "gain" multiplies it by |gamma| of that norm, and "contribution" measures on images. All measures that can be had
    are in the result; `measure` says which one plots show. Weights that were hardly trained look like their
    initialisation: compare with it before drawing conclusions. Which blocks count is said in
    `rfkit.analysis.find_branches`. The model is left exactly as it was found.

    Args:
        model: any module that takes one N C H W image.
        measure: "weight" for |w|, "gain" for |w| |gamma|, or "contribution" for the standard deviation, over images and
            positions, of each branch's part of the 1x1 convolution's output.
        images: images on which contributions are measured, N C H W or C H W, or a list of such tensors of any sizes;
            8 bit, or normalised as the model takes them. Required for "contribution".
        stages: stage name -> names or patterns of its blocks or of modules that hold them; blocks elsewhere are left
            out. Default: the stages that the model publishes (`model.stages`), and for blocks outside these, or for
            other models, the name of the top-level module.
        input_size: (channels, height, width) of the blank image on which branches are looked for when no images are
            given.

    Returns:
        The weights by stage, block and branch.

    Raises:
        ValueError: no block has parallel dilated branches, `measure` is unknown or cannot be had, a stage has no such
            block, or the model does not run on the image.
        TypeError: `images` are neither 8 bit nor of a floating type.

    Example:
        >>> from rfkit.models.registry import create_model
        >>> weights = branch_weights(create_model("probe_dwrseg_l", seed=0))
        >>> weights.stages
        ('stage2', 'stage3', 'stage4')

    Reference: Wei et al., DWRSeg, section 4.2, Fig. 8.
    """
    check_choice("measure", measure, MEASURES)
    if measure == "contribution" and images is None:
        raise ValueError("images=None: measure='contribution' is measured on images; give some.")
    batches = [] if images is None else as_batches(images, model)
    with untouched(model):
        order, found = staged_blocks(
            model, batches[0] if batches else as_batches(torch.zeros(*input_size), model)[0], stages
        )
        parts = branch_contributions(model, [entry.block for entry in found], batches)
    result = BranchWeights(
        measure,
        tuple(
            _block_weights(entry.block, entry.stage, entry.name, part) for entry, part in zip(found, parts, strict=True)
        ),
        order,
    )
    if measure == "gain":
        for block in result.blocks:
            block.values(0, "gain")  # Raises where there is no norm to take gamma from.
    return result


def branch_ratios(
    weights: BranchWeights, *, measure: str | None = None, resamples: int = 2000, seed: int = 0
) -> BranchStatistic:
    """The ratio of mean magnitudes of every two branches of every stage, with 95 % bootstrap intervals.

    Means are pooled over a stage's blocks; input channels of the 1x1 convolutions are resampled within block and
    branch.

    Args:
        weights: what `branch_weights` returned.
        measure: "weight" or "gain"; that of `weights` if not given.
        resamples: bootstrap resamples.
        seed: seed of the resampling.

    Raises:
        ValueError: `measure` is neither "weight" nor "gain" (a contribution belongs to an output channel, so there is
            no input channel to resample).
    """
    means = _means(weights, measure, resamples, seed)
    return _statistic(weights, measure, _all_ratios(means), (), None, resamples, seed)


def fig8_statistic(
    weights: BranchWeights | Sequence[BranchWeights],
    *,
    epochs: float | int | None,
    measure: str | None = None,
    stages: Sequence[str] = ("stage2", "stage3", "stage4"),
    resamples: int = 2000,
    seed: int = 0,
) -> BranchStatistic:
    """The three claims of Fig. 8, each with the ratios that decide it.

    Low stage: d1/d3 and d1/d5 above 1.5. Middle stage: d3/d1 and d5/d1 above their low-stage values and below 1. High
    stage: d5/d1 between 0.8 and 1.25. A claim holds if every interval (95 %, bootstrap over input channels) lies wholly
    where the claim says, and fails if one of them lies wholly elsewhere; anything between is undecided. After fewer
    than 300 epochs, or an unknown number, every claim is undecided: such ratios tell of the initialisation as well.

    Of several networks, trained alike from different seeds, the means are averaged, and the bootstrap is hierarchical:
    it resamples networks, and within each of them channels. So the claims are about the training, not about one of its
    outcomes. With few seeds such intervals are rather too narrow: three of them cannot tell how seeds spread.

    Args:
        weights: weights of a probe with branches d1, d3 and d5 in three stages; or those of several seeds.
        epochs: epochs of training, of several networks the fewest; None if unknown.
        measure: "weight" (the paper's) or "gain"; that of `weights` if not given.
        stages: names of the low, the middle and the high stage.
        resamples: bootstrap resamples.
        seed: seed of the resampling.

    Raises:
        ValueError: a stage is missing or has not the branches d1, d3 and d5, the networks have not the same stages and
            branches, or `measure` is not allowed.

    Reference: Wei et al., DWRSeg, section 4.2, Fig. 8; the thresholds are this project's, fixed before training.
    """
    networks = (weights,) if isinstance(weights, BranchWeights) else tuple(weights)
    if not networks:
        raise ValueError("weights: got no network; give at least one.")
    for network in networks:
        _check_claimed(network, stages)
        if _shape(network) != _shape(networks[0]):
            raise ValueError("weights: the networks differ in their blocks and branches; only their seeds may differ.")
    chosen = measure or networks[0].measure
    # The first network alone draws what it would draw by itself.
    separate = [_means(network, chosen, resamples, seed + number) for number, network in enumerate(networks)]
    means = mixed_means(separate, generator=np.random.default_rng([seed, len(networks)]))
    claims = _claims(means, tuple(stages), epochs)
    return _statistic(networks[0], chosen, _all_ratios(means), claims, epochs, resamples, seed)


def _check_claimed(weights: BranchWeights, stages: Sequence[str]) -> None:
    for stage in stages:
        labels = weights.pooled(stage, "weight") if stage in weights.stages else {}
        if len(stages) != 3 or not {"d1", "d3", "d5"} <= set(labels):
            raise ValueError(
                f"stages={tuple(stages)}: the claims need three stages with branches d1, d3 and d5; {stage!r} has "
                f"{', '.join(labels) or 'none'}."
            )


def _shape(weights: BranchWeights) -> list[tuple[str, str, tuple[int, ...], tuple[int, ...]]]:
    return [(block.stage, block.block, block.dilations, block.weight.shape) for block in weights.blocks]


def _means(weights: BranchWeights, measure: str | None, resamples: int, seed: int) -> dict[str, dict[str, np.ndarray]]:
    check_choice("measure", measure or weights.measure, ("weight", "gain"))
    generator = np.random.default_rng(seed)
    return {
        stage: resampled_means(
            weights.in_stage(stage), measure or weights.measure, resamples=resamples, generator=generator
        )
        for stage in weights.stages
    }


def _all_ratios(means: Mapping[str, Mapping[str, np.ndarray]]) -> tuple[Ratio, ...]:
    return tuple(
        ratio_of(stage, f"{one}/{other}", values[one] / values[other])
        for stage, values in means.items()
        for one in values
        for other in values
        if one != other
    )


def _claims(
    means: Mapping[str, Mapping[str, np.ndarray]], stages: tuple[str, ...], epochs: float | int | None
) -> tuple[Claim, ...]:
    low, middle, high = stages

    def over(stage: str, one: str, other: str) -> np.ndarray:
        return means[stage][one] / means[stage][other]

    lows = [ratio_of(low, f"d1/{other}", over(low, "d1", other)) for other in ("d3", "d5")]
    middles = [ratio_of(middle, f"{one}/d1", over(middle, one, "d1")) for one in ("d3", "d5")]
    gains = [
        ratio_of(middle, f"{one}/d1 over its {low} value", over(middle, one, "d1") / over(low, one, "d1"))
        for one in ("d3", "d5")
    ]
    highs = [ratio_of(high, "d5/d1", over(high, "d5", "d1"))]
    return (
        _claim(low, f"d1/d3 and d1/d5 above {_LOW_ABOVE}", [(ratio, _LOW_ABOVE, np.inf) for ratio in lows], epochs),
        _claim(
            middle,
            f"d3/d1 and d5/d1 above their {low} values and below {_MIDDLE_BELOW:g}",
            [(ratio, 1.0, np.inf) for ratio in gains] + [(ratio, 0.0, _MIDDLE_BELOW) for ratio in middles],
            epochs,
        ),
        _claim(
            high,
            f"d5/d1 between {_HIGH_BETWEEN[0]} and {_HIGH_BETWEEN[1]}",
            [(ratio, *_HIGH_BETWEEN) for ratio in highs],
            epochs,
        ),
    )


def _claim(
    stage: str, statement: str, bounds: Sequence[tuple[Ratio, float, float]], epochs: float | int | None
) -> Claim:
    if epochs is None:
        verdict = "undecided, epochs unknown"
    elif epochs < _EPOCHS_NEEDED:
        verdict = f"undecided at {round(epochs, 1):g} epochs"
    elif all(lower < ratio.low and ratio.high < upper for ratio, lower, upper in bounds):
        verdict = "holds"
    elif any(ratio.high < lower or ratio.low > upper for ratio, lower, upper in bounds):
        verdict = "fails"
    else:
        verdict = "undecided"
    return Claim(stage, statement, verdict, tuple(ratio for ratio, _, _ in bounds))


def _statistic(
    weights: BranchWeights,
    measure: str | None,
    ratios: tuple[Ratio, ...],
    claims: tuple[Claim, ...],
    epochs: float | int | None,
    resamples: int,
    seed: int,
) -> BranchStatistic:
    return BranchStatistic(measure or weights.measure, ratios, claims, epochs, resamples, seed)


def _block_weights(block: BranchBlock, stage: str, name: str, contribution: np.ndarray) -> BlockWeights:
    branch_of_input = np.full(len(block.gamma), -1, np.int32)
    for index, branch in enumerate(block.branches):
        branch_of_input[list(branch.channels)] = index
    return BlockWeights(
        stage=stage,
        block=name,
        merge=block.merge,
        convolutions=tuple(branch.name for branch in block.branches),
        dilations=tuple(branch.dilation for branch in block.branches),
        branch_of_input=branch_of_input,
        # Copies: numpy would otherwise share memory with the model's parameters.
        weight=block.weight.float().cpu().numpy().copy(),
        gain=block.gamma.float().cpu().numpy().copy(),
        gates=block.gates,
        contribution=contribution,
        groups=block.groups,
    )
