"""Fig. 8: which dilation rates the trained probe uses in each stage, and DWRSeg's own blocks beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from rfkit.analysis.branches import branch_ratios, branch_weights, fig8_statistic
from rfkit.plots.branches import plot_branch_weights
from rfkit.plots.distributions import BranchPanels, distributions
from rfkit.results.base import Result
from rfkit.results.branches import BranchStatistic, BranchWeights

if TYPE_CHECKING:
    import pandas as pd

    from rfkit.models.weights import Card
    from rfkit.paper.context import Context

__all__ = ["CAPTION", "INPUTS", "NAME", "BranchFigure", "branch_figure", "compute", "draw", "training_line"]

NAME = "fig8"
CAPTION = (
    "Weights with which the 1x1 convolutions of the probe use its branches in the low (stage2), middle (stage3) and "
    "high (stage4) stage: |w|, per branch its probability mass function (filled steps, 50 bins shared by the branches "
    "of a panel, each branch sums to 1; the last bin holds what lies beyond the axis) and its cumulative distribution "
    "(curves). Triangles mark means; the thin dashed line is the distribution before training with the same seed. "
    "Below: ratios of mean |w|, pooled over a stage's blocks, with 95 % bootstrap intervals over input channels, and "
    "the claims of the paper's Fig. 8 as fixed before training; under 300 epochs none of them is decided."
)
INPUTS = ("weights:probe_dwrseg_l",)

_PROBE = "probe_dwrseg_l"
_DATA = {"camvid": "CamVid", "cityscapes": "Cityscapes", "bdd100k": "BDD100K", "scenes": "procedural scenes"}


@dataclass(frozen=True, eq=False)
class BranchFigure(Result):
    """What a figure of branch weights is drawn from.

    Attributes:
        panels: distributions of |w|, stage by stage.
        statistics: ratios by |w|, then by |w| |gamma|.
        line: network, data, epochs, steps and seed of the training.
    """

    panels: BranchPanels
    statistics: tuple[BranchStatistic, ...]
    line: str

    def to_frame(self) -> pd.DataFrame:
        """The distributions and, after them, the ratios.

        Columns: those of `BranchPanels.to_frame`, and, for rows of series "ratio": ratio, value, low, high, claim,
        verdict, epochs, resamples and seed as in `BranchStatistic.to_frame`.
        """
        import pandas as pd

        ratios = [statistic.to_frame().assign(series="ratio") for statistic in self.statistics]
        return pd.concat([self.panels.to_frame(), *ratios], ignore_index=True)


def compute(context: Context) -> BranchFigure:
    """The distributions and the statistic of the probe's weights.

    Raises:
        rfkit.paper.context.MissingInput: there are no trained weights of the probe.
    """
    return branch_figure(context, _PROBE)


def draw(result: BranchFigure) -> Figure:
    """One panel a stage, the ratios and claims by |w| below."""
    return plot_branch_weights(result.panels, statistic=result.statistics[0], title=result.line)


def branch_figure(context: Context, name: str) -> BranchFigure:
    """The distributions and ratios of the trained network called `name`; claims where it has the stages for them."""
    model, card = context.model(name)
    weights = branch_weights(model)
    initial = branch_weights(context.initial_model(name))
    statistics = tuple(_statistic(weights, measure, card, context.seed) for measure in ("weight", "gain"))
    return BranchFigure(distributions(weights, initial=initial), statistics, training_line(card))


def training_line(card: Card) -> str:
    """One line on where weights come from: network, data, size, epochs, steps and seed."""
    size = f" at {card.size[1]}x{card.size[0]}" if len(card.size) == 2 else ""
    horizon = f" of {card.horizon_epochs:g}" if card.horizon_epochs and card.horizon_epochs != card.epochs else ""
    split = f" {card.split}" if card.split else ""
    data = f"{_DATA.get(card.data, card.data)}{split}{size}"
    epochs = f"{round(card.epochs, 1):g}{horizon} epochs"
    return f"{card.model}, trained on {data}: {epochs}, {card.steps} steps, seed {card.seed}"


def _statistic(weights: BranchWeights, measure: str, card: Card, seed: int) -> BranchStatistic:
    has_claims = all(
        stage in weights.stages and {"d1", "d3", "d5"} <= set(weights.pooled(stage, "weight"))
        for stage in ("stage2", "stage3", "stage4")
    )
    if has_claims:
        return fig8_statistic(weights, epochs=float(card.epochs), measure=measure, seed=seed)
    return branch_ratios(weights, measure=measure, seed=seed)
