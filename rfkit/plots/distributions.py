"""Distributions of branch weights, as they are drawn: histograms with shared bins, cumulative curves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rfkit._checks import check_choice, check_positive
from rfkit.results.base import Result
from rfkit.results.branches import BlockWeights, BranchWeights, pool

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BranchDistribution", "BranchPanel", "BranchPanels", "cumulative", "distributions"]

# More vertices than a printed line can show only make the file large.
_VERTICES = 512
# The bins reach up to this quantile of the widest branch (and, on a logarithmic axis, down to the opposite one).
_REACH = 0.999


@dataclass(frozen=True, eq=False)
class BranchDistribution(Result):
    """One branch in one panel.

    Attributes:
        label: d1, d3, ...
        dilation: dilation rate.
        probability: share of the values in each bin (PMF); sums to 1.
        values: vertices of the cumulative curve (CDF), in rising order.
        share: share of the values that are at most that large, at each vertex, exact.
        mean: mean of all values.
        count: number of values.
    """

    label: str
    dilation: int
    probability: np.ndarray
    values: np.ndarray
    share: np.ndarray
    mean: float
    count: int


@dataclass(frozen=True, eq=False)
class BranchPanel(Result):
    """The branches of one stage or block, on common bins.

    Attributes:
        stage: stage.
        name: what the panel shows: the stage or a block.
        blocks: number of blocks pooled.
        edges: edges of the bins.
        branches: the branches, smallest dilation first.
        initial: share of all branches' values together in each bin before training; empty if not known.
    """

    stage: str
    name: str
    blocks: int
    edges: np.ndarray
    branches: tuple[BranchDistribution, ...]
    initial: np.ndarray


@dataclass(frozen=True, eq=False)
class BranchPanels(Result):
    """All panels of a figure.

    Attributes:
        measure: "weight", "gain" or "contribution".
        kind: "stages" or "blocks": what a panel is.
        log: whether the bins are equally wide on a logarithmic axis.
        panels: the panels.
    """

    measure: str
    kind: str
    log: bool
    panels: tuple[BranchPanel, ...]

    def to_frame(self) -> pd.DataFrame:
        """One row per bin, vertex of a curve or mean.

        Columns: measure; stage; panel (stage or block); branch (d1, ..., or "initial" for all branches before
        training); dilation (0 for "initial"); series: "pmf" (value: share between lower and upper), "cdf" (value: share
        up to and including upper; lower is empty) or "mean" (value: the mean; lower and upper are empty).
        """
        import pandas as pd

        parts = []
        for panel in self.panels:
            named = {"measure": self.measure, "stage": panel.stage, "panel": panel.name}
            lower, upper = panel.edges[:-1], panel.edges[1:]
            for branch in panel.branches:
                own = {**named, "branch": branch.label, "dilation": branch.dilation}
                bins = {"series": "pmf", "lower": lower, "upper": upper, "value": branch.probability}
                curve = {"series": "cdf", "lower": np.nan, "upper": branch.values, "value": branch.share}
                mean = {"series": "mean", "lower": np.nan, "upper": np.nan, "value": [branch.mean]}
                parts += [pd.DataFrame({**own, **entry}) for entry in (bins, curve, mean)]
            if panel.initial.size:
                own = {**named, "branch": "initial", "dilation": 0, "series": "pmf"}
                parts.append(pd.DataFrame({**own, "lower": lower, "upper": upper, "value": panel.initial}))
        return pd.concat(parts, ignore_index=True)


def distributions(
    weights: BranchWeights,
    *,
    initial: BranchWeights | None = None,
    measure: str | None = None,
    bins: int = 50,
    log: bool = False,
    kind: str = "stages",
) -> BranchPanels:
    """The distribution of every branch, panel by panel.

    The branches of a panel, and the initial weights, share its bins. A few large weights would push all others into the
    first bins, so the bins reach from zero to where the widest branch has 99.9 % of its values (on a logarithmic axis
    they begin where the narrowest has 0.1 %). The first and the last bin also count what lies beyond them: each branch
    sums to 1.

    Args:
        weights: result of `rfkit.branch_weights`.
        initial: the same for the network before training.
        measure: "weight", "gain" or "contribution"; that of `weights` if not given.
        bins: number of bins.
        log: bins of equal width on a logarithmic axis.
        kind: "stages", one panel a stage, its blocks pooled; or "blocks", one panel a block.

    Raises:
        ValueError: an argument is not allowed, the initial weights are of another network, or the measure cannot be
            had.
    """
    check_choice("kind", kind, ("stages", "blocks"))
    check_positive("bins", bins)
    measure = measure or weights.measure
    groups = _groups(weights, kind)
    before = {} if initial is None else _groups(initial, kind)
    if initial is not None and list(before) != list(groups):
        raise ValueError(f"initial has the panels {list(before)}, weights have {list(groups)}; they must be the same.")
    panels = tuple(_panel(name, blocks, before.get(name, ()), measure, bins, log) for name, blocks in groups.items())
    return BranchPanels(measure, kind, log, panels)


def cumulative(values: np.ndarray, vertices: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The empirical distribution function at its steps: sorted values, and the share of values up to each.

    Args:
        values: any number of values.
        vertices: keep about this many steps, the first and the last among them; each kept one stays exact.
    """
    steps, counts = np.unique(values, return_counts=True)
    share = np.cumsum(counts) / len(values)
    if vertices is not None and len(steps) > vertices:
        # Evenly spaced in the share: that is how the curve is seen.
        kept = np.searchsorted(share, np.linspace(share[0], 1, vertices))
        kept = np.unique(np.concatenate([[0], np.minimum(kept, len(steps) - 1)]))
        steps, share = steps[kept], share[kept]
    return steps, share


def _groups(weights: BranchWeights, kind: str) -> dict[str, tuple[BlockWeights, ...]]:
    if kind == "stages":
        return {stage: weights.in_stage(stage) for stage in weights.stages}
    return {block.block: (block,) for block in weights.blocks}


def _panel(
    name: str,
    blocks: tuple[BlockWeights, ...],
    before: tuple[BlockWeights, ...],
    measure: str,
    bins: int,
    log: bool,
) -> BranchPanel:
    pooled = {label: values.astype(float) for label, values in pool(blocks, measure).items()}
    initial = np.concatenate(list(pool(before, measure).values())) if before else np.zeros(0)
    edges = _edges(list(pooled.values()), bins, log)
    branches = []
    for label, values in pooled.items():
        steps, share = cumulative(values, _VERTICES)
        dilation = int(label.split(" ")[0].removeprefix("d"))
        probability = _probability(values, edges)
        branches.append(
            BranchDistribution(label, dilation, probability, steps, share, float(values.mean()), len(values))
        )
    before_training = _probability(initial, edges) if len(initial) else np.zeros(0)
    return BranchPanel(blocks[0].stage, name, len(blocks), edges, tuple(branches), before_training)


def _edges(branches: list[np.ndarray], bins: int, log: bool) -> np.ndarray:
    if not all(np.isfinite(values).all() for values in branches):
        raise ValueError("weights: a NaN or an infinite weight has no place in a histogram.")
    top = max(float(np.quantile(values, _REACH)) for values in branches) or 1.0
    if not log:
        return np.linspace(0, top, bins + 1)
    bottom = min(float(np.quantile(values, 1 - _REACH)) for values in branches)
    # Weights that are exactly zero have no place on a logarithmic axis.
    return np.geomspace(min(max(bottom, top * 1e-6), top / 2), top, bins + 1)


def _probability(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return counts / counts.sum()
