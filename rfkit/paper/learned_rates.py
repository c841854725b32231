"""Dilation rates learned on real frames from several starts, beside the weights of a probe at the same blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from rfkit.models.registry import create_model
from rfkit.models.regseg import DILATIONS
from rfkit.paper.context import Context, MissingInput
from rfkit.paper.measured.rates import read_rates
from rfkit.plots.learned_rates import plot_learned_rates
from rfkit.results.base import Result
from rfkit.results.branches import Ratio
from rfkit.results.learned_rates import LearnedRates

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CAPTION", "INPUTS", "NAME", "RateFigure", "compute", "draw", "verdict"]

NAME = "learned_rates"
INPUTS = ()
CAPTION = (
    "Dilation rates learned with the weights on CamVid at 240x180 for 40 epochs, one training for each start, one "
    "seed: a short schedule at a small size. Left: each branch's rate, from the one it began with to the one learned "
    "(dot), block by block, in units of the map that the branch reads. Rates were bounded by k / s (receptive field "
    "over output stride before the layer), which lies far above most of them. Another limit is nearer: the size of "
    "the map (dotted: its height and width). In the gray part, above both, all taps but the centre read padding, no "
    "gradient is left, and a rate that begins or arrives there stays. Middle, where one was trained: the probe of the "
    "same blocks, in which five dilation rates compete, trained with the same schedule: mean |w| of each, against the "
    "mean of its block (before training all are near 0 %); dots are the mean rates, weighted by it. Right: that mean "
    "rate against the mean learned rate, a dot a block; the rank correlation over blocks has a 95 % bootstrap "
    "interval over them. A learned rate is a local optimum: only where different starts meet does it tell of the "
    "data. The verdict below each network is computed from its numbers."
)
# Of the distance between starts, the share at which trainings are said to have met, or to have stayed apart.
_MET, _APART = 0.25, 0.75


@dataclass(frozen=True, eq=False)
class RateFigure(Result):
    """What the figure of learned rates is drawn from.

    Attributes:
        networks: the trainings of each network.
        agreements: network -> rank correlation with the probe by |w|, then by |w| |gamma|; none without a probe.
        maps: network -> stage -> (height, width) of its maps at the size trained on.
        references: network -> block -> rates of the list that public ports attribute to the paper's search.
    """

    networks: tuple[LearnedRates, ...]
    agreements: Mapping[str, tuple[Ratio, ...]]
    maps: Mapping[str, Mapping[str, tuple[int, int]]]
    references: Mapping[str, Mapping[str, tuple[int, ...]]]

    def verdicts(self) -> dict[str, str]:
        """Network -> what its numbers say, see `verdict`."""
        return {
            one.model: verdict(one, self.agreements.get(one.model, ()), maps=self.maps[one.model])
            for one in self.networks
        }

    def to_frame(self) -> pd.DataFrame:
        """The rates at the end of each training, then what is said about them.

        Columns: `model`, `series` ("rate", "stage", "probe" or "agreement"); for rates those of `LearnedRates.final`;
        for stages those of `LearnedRates.convergence`; for the probe those of `LearnedRates.beside_probe`; for the
        agreement `measure`, `value`, `low` and `high`.
        """
        import pandas as pd

        parts = []
        for network in self.networks:
            tables = {"rate": network.final(), "stage": network.convergence()}
            if network.probe is not None:
                tables["probe"] = network.beside_probe()
            agreements = self.agreements.get(network.model, ())
            tables["agreement"] = pd.DataFrame(
                [
                    {"measure": measure, "value": found.value, "low": found.low, "high": found.high}
                    for measure, found in zip(("weight", "gain"), agreements, strict=False)
                ]
            )
            for series, table in tables.items():
                if len(table):
                    parts.append(table.assign(model=network.model, series=series))
        frame = pd.concat(parts, ignore_index=True)
        return frame[["model", "series", *(name for name in frame if name not in ("model", "series"))]]


def compute(context: Context) -> RateFigure:
    """The learned rates that ship, with what is needed to read them.

    Raises:
        MissingInput: none ship.
    """
    networks = read_rates()
    if not networks:
        raise MissingInput("no learned dilation rates ship with rfkit.")
    agreements, maps, references = {}, {}, {}
    for network in networks:
        model = create_model(network.model)
        maps[network.model] = {
            stage.name: (-(-network.height // stage.output_stride), -(-network.width // stage.output_stride))
            for stage in model.stages
        }
        if network.probe is not None:
            measures = [name for name in ("weight", "gain") if name in network.probe.measures]
            agreements[network.model] = tuple(network.agreement(name, seed=context.seed) for name in measures)
        if network.model == "regseg":
            blocks = model.stages[-1].blocks[1:]
            references[network.model] = dict(zip(blocks, DILATIONS["searched"], strict=True))
    return RateFigure(networks, agreements, maps, references)


def draw(result: RateFigure) -> Figure:
    """A row for each network: its rates, the probe, and one against the other."""
    return plot_learned_rates(
        result.networks,
        maps=result.maps,
        references=result.references,
        agreements={name: found[0] for name, found in result.agreements.items()},
        notes=result.verdicts(),
        reference_name="list attributed to RegSeg's search",
    )


def verdict(
    network: LearnedRates,
    agreements: Sequence[Ratio],
    *,
    maps: Mapping[str, tuple[int, int]] | None = None,
) -> str:
    """What the numbers of a network say: whether its starts meet, and whether the rates agree with the probe.

    Starts of a stage have met where their last rates are at most a quarter as far apart as the first ones were, and
    stayed apart from three quarters on, see `LearnedRates.convergence`. Rates and probe agree where the interval of the
    rank correlation lies above 0.

    Args:
        network: trainings of a network.
        agreements: rank correlations with the probe, the first of which counts; none without a probe.
        maps: stage -> (height, width) of its maps; rates that begin beyond them are counted.
    """
    parts = []
    for row in network.convergence().itertuples():
        if row.apart == 0:
            continue
        how = "they meet" if row.share <= _MET else "they stay apart" if row.share >= _APART else "they meet in part"
        parts.append(f"{row.stage}: starts {row.apart:.1f} apart end {row.ended:.1f} apart, {how}")
    text = "; ".join(parts) or "One start, so nothing is said about where others end"
    stuck = sum(
        rate >= max(maps[stage])
        for run in network.runs
        for stage, rate in zip(network.stages, run.trajectory.rates[0], strict=True)
        if maps and stage in maps
    )
    if stuck:
        text += f". {stuck} rates began beyond the map, where nothing moves them"
    if agreements:
        found = agreements[0]
        if found.low > 0:
            how = "large rates are learned where the probe wants large ones"
        elif found.high < 0:
            how = "large rates are learned where the probe wants small ones"
        else:
            how = "no agreement is shown"
        text += f". Probe: {how}"
    return f"{text}."
