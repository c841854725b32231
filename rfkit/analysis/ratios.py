"""Mean weights and their ratios, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rfkit.results.branches import BlockWeights, BranchWeights, Ratio, branch_labels
from rfkit.results.magnitudes import BranchMagnitudes

__all__ = ["branch_magnitudes", "mixed_means", "ratio_of", "resampled_means"]

_LEVELS = (2.5, 97.5)


def branch_magnitudes(weights: BranchWeights, *, resamples: int = 2000, seed: int = 0) -> BranchMagnitudes:
    """The mean magnitude of every branch in every block, and in the blocks of a stage together, with 95 % intervals.

    Both measures are taken, |w| and, where a norm stands before the 1x1 convolution, |w| |gamma|. Intervals are
    bootstrap intervals over input channels, resampled within block and branch: they say how far the channels of this
    one network agree, not how far another training would.

    Args:
        weights: what `branch_weights` returned.
        resamples: bootstrap resamples.
        seed: seed of the resampling.
    """
    generator = np.random.default_rng(seed)
    gains = all(not np.isnan(block.gain[block.branch_of_input >= 0]).any() for block in weights.blocks)
    groups: list[tuple[str, str, Sequence[BlockWeights]]] = [
        (block.stage, block.block, (block,)) for block in weights.blocks
    ]
    groups += [(stage, "", weights.in_stage(stage)) for stage in weights.stages]
    rows = []
    for measure in ("weight", "gain") if gains else ("weight",):
        for stage, name, blocks in groups:
            means = resampled_means(blocks, measure, resamples=resamples, generator=generator)
            for label, values in means.items():
                low, high = np.percentile(values[1:], _LEVELS)
                dilation = int(label.removeprefix("d").split()[0])
                rows.append((stage, name, dilation, measure, float(values[0]), float(low), float(high)))
    columns = list(zip(*rows, strict=True))
    return BranchMagnitudes(*(np.array(column) for column in columns))


def resampled_means(
    blocks: Sequence[BlockWeights], measure: str, *, resamples: int, generator: np.random.Generator
) -> dict[str, np.ndarray]:
    """Branch label -> its mean magnitude over all `blocks`, then the same under `resamples` bootstrap resamples.

    Resampled are the input channels of the 1x1 convolutions, within each block and branch: the blocks are the network's
    own, no sample of blocks; its channels are interchangeable. The smallest dilation comes first.

    Args:
        blocks: blocks of one stage.
        measure: "weight" or "gain".
        resamples: number of resamples.
        generator: source of randomness.

    Returns:
        Arrays of length 1 + `resamples`; entry 0 is the mean of what is there.
    """
    totals: dict[tuple[int, str], np.ndarray] = {}
    counts: dict[tuple[int, str], np.ndarray] = {}
    for block in blocks:
        for branch, label in enumerate(branch_labels(block.dilations)):
            sums, number = _channel_sums(block, branch, measure)
            drawn = generator.integers(len(sums), size=(resamples, len(sums)))
            # Row 0 is the sample itself.
            rows = np.vstack([np.arange(len(sums)), drawn])
            key = (block.dilations[branch], label)
            totals[key] = totals.get(key, 0) + sums[rows].sum(axis=1)
            counts[key] = counts.get(key, 0) + number[rows].sum(axis=1)
    return {label: totals[dilation, label] / counts[dilation, label] for dilation, label in sorted(totals)}


def mixed_means(
    networks: Sequence[Mapping[str, Mapping[str, np.ndarray]]], *, generator: np.random.Generator
) -> dict[str, dict[str, np.ndarray]]:
    """Stage -> branch label -> means over networks that differ by their seed alone, and over resamples of them.

    The upper level of a hierarchical bootstrap: each resample draws as many networks as there are, with replacement,
    and for each of them a resample of its channels anew. All stages and branches of a resample are of the same
    networks, so that what the seed decides for all of them together stays together. A single network is returned as it
    is: nothing tells how another seed would have come out.

    Args:
        networks: for each network, stage -> what `resampled_means` returned, with equally many resamples.
        generator: source of randomness.

    Returns:
        Arrays as those of `resampled_means`; entry 0 is the mean over the networks.
    """
    if len(networks) == 1:
        return {stage: dict(means) for stage, means in networks[0].items()}
    first = next(iter(networks[0].values()))
    resamples = len(next(iter(first.values()))) - 1
    drawn = generator.integers(len(networks), size=(resamples, len(networks)))
    # A network that is drawn twice comes with two resamples of its channels.
    rows = 1 + np.stack([generator.permutation(resamples) for _ in networks], axis=1)
    mixed: dict[str, dict[str, np.ndarray]] = {}
    for stage, labels in networks[0].items():
        mixed[stage] = {}
        for label in labels:
            values = np.stack([network[stage][label] for network in networks])
            mixed[stage][label] = np.append(values[:, 0].mean(), values[drawn, rows].mean(axis=1))
    return mixed


def ratio_of(stage: str, name: str, values: np.ndarray) -> Ratio:
    """The ratio whose value is `values[0]`, with the 95 % percentile interval of the rest."""
    low, high = np.percentile(values[1:], _LEVELS)
    return Ratio(stage, name, float(values[0]), float(low), float(high))


def _channel_sums(block: BlockWeights, branch: int, measure: str) -> tuple[np.ndarray, np.ndarray]:
    """For every input channel of a branch the sum of its magnitudes and their number."""
    inputs = block.inputs()
    chosen = inputs[block.branch_of_input[inputs] == branch]
    channels, positions, number = np.unique(chosen, return_inverse=True, return_counts=True)
    sums = np.bincount(positions, weights=block.values(branch, measure), minlength=len(channels))
    return sums, number.astype(float)
