"""Dilation rates learned from several starts, by stage and block, and what a probe says at the same places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rfkit.results.base import Result
from rfkit.results.branches import Ratio
from rfkit.results.dilation_rates import RateTrajectory
from rfkit.results.magnitudes import BranchMagnitudes
from rfkit.results.ranks import rank_correlation

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LearnedRates", "RateRun"]

_RUN = ["model", "data", "height", "width", "epochs", "start", "seed", "miou"]
_LAYER = ["stage", "block", "layer"]


@dataclass(frozen=True, eq=False)
class RateRun(Result):
    """One training of a network with learned dilation rates.

    Attributes:
        start: rate that every layer began with, such as "9"; "own": the rates of the network itself.
        seed: of initial weights, order and augmentation.
        miou: 0 to 1, of the weights at the end; NaN where they were not scored.
        trajectory: the rates at some steps.
    """

    start: str
    seed: int
    miou: float
    trajectory: RateTrajectory


@dataclass(frozen=True, eq=False)
class LearnedRates(Result):
    """The learned dilation rates of one network, trained from several starts with one schedule.

    Attributes:
        model: name of the network.
        data: data set and split, such as "camvid trainval".
        height: of the crops trained on, in pixels.
        width: of the crops trained on, in pixels.
        epochs: epochs of the training, at whose end the learning rate is zero.
        steps_per_epoch: steps of an epoch.
        stages: of each layer, the stage it lies in.
        blocks: of each layer, the block.
        runs: the trainings, all of the same layers.
        probe: what a probe, trained with the same schedule, says at the same blocks; None without one.
    """

    model: str
    data: str
    height: int
    width: int
    epochs: int
    steps_per_epoch: int
    stages: tuple[str, ...]
    blocks: tuple[str, ...]
    runs: tuple[RateRun, ...]
    probe: BranchMagnitudes | None = None

    def __post_init__(self) -> None:
        if not self.runs:
            raise ValueError("runs must hold at least one training.")
        layers = self.runs[0].trajectory.layers
        for run in self.runs:
            if run.trajectory.layers != layers or not len(layers) == len(self.stages) == len(self.blocks):
                raise ValueError(
                    f"run start={run.start}, seed={run.seed} has other layers than the first one, or stages and blocks "
                    f"are not one for each of its {len(run.trajectory.layers)} layers."
                )

    @property
    def starts(self) -> tuple[str, ...]:
        """The starts, each once."""
        return tuple(dict.fromkeys(run.start for run in self.runs))

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, first to last."""
        return self.runs[0].trajectory.layers

    def to_frame(self) -> pd.DataFrame:
        """One row per run, step and layer.

        Columns: `model`, `data`, `height`, `width`, `epochs` (of the schedule), `start`, `seed`, `miou`, `step`,
        `epoch`, `stage`, `block`, `layer`, `branch` (by the rate in the network before, such as "d3"), `rate`, `bound`.
        """
        import pandas as pd

        parts = []
        for run in self.runs:
            frame = run.trajectory.to_frame()
            points = len(run.trajectory.steps)
            told = (self.model, self.data, self.height, self.width, self.epochs, run.start, run.seed, run.miou)
            frame = frame.assign(
                **dict(zip(_RUN, told, strict=True)),
                epoch=frame["step"] / self.steps_per_epoch,
                stage=list(self.stages) * points,
                block=list(self.blocks) * points,
            )
            parts.append(frame[[*_RUN, "step", "epoch", *_LAYER, "branch", "rate", "bound"]])
        return pd.concat(parts, ignore_index=True)

    def final(self) -> pd.DataFrame:
        """One row per run and layer: its rate at the first step as `first`, and at the last one as `rate`.

        Columns: `start`, `seed`, `stage`, `block`, `layer`, `branch`, `first`, `rate`, `bound`.
        """
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "start": run.start, "seed": run.seed, "stage": self.stages[index], "block": self.blocks[index],
                    "layer": layer, "branch": run.trajectory.branches[index],
                    "first": float(run.trajectory.rates[0, index]), "rate": float(run.trajectory.rates[-1, index]),
                    "bound": float(run.trajectory.bounds[-1, index]),
                }
                for run in self.runs
                for index, layer in enumerate(self.layers)
            ]
        )  # fmt: skip

    def summary(self) -> pd.DataFrame:
        """One row per stage and start: where the rates went.

        Columns: `stage`, `start`, `mean`, `lowest`, `highest` (of the last rates over the stage's layers and seeds),
        `first` (mean of the first rates), `moved` (mean distance from them).
        """
        final = self.final()
        final["moved"] = (final["rate"] - final["first"]).abs()
        grouped = final.groupby(["stage", "start"], sort=False)
        table = grouped.agg(
            mean=("rate", "mean"),
            lowest=("rate", "min"),
            highest=("rate", "max"),
            first=("first", "mean"),
            moved=("moved", "mean"),
        ).reset_index()
        order = list(dict.fromkeys(self.stages))
        return table.sort_values("stage", key=lambda names: names.map(order.index), kind="stable", ignore_index=True)

    def convergence(self) -> pd.DataFrame:
        """One row per stage: whether trainings that began with different rates end with the same.

        The rates of a block are compared by size, its smallest with the smallest of the others: where all begin with
        one rate it is chance which branch takes which.

        Columns: `stage`; `apart` and `ended`, the mean over branches of the range (largest less smallest) of the
        first and of the last rates over starts and seeds; `share`, `ended` over `apart` (0: all starts end with one
        rate, 1: they end as far apart as they began; NaN where all began alike).
        """
        import pandas as pd

        spans = [np.ptp([self._by_size(run.trajectory.rates[row]) for run in self.runs], axis=0) for row in (0, -1)]
        frame = pd.DataFrame({"stage": self.stages, "apart": spans[0], "ended": spans[1]})
        means = frame.groupby("stage", sort=False).mean().reset_index()
        return means.assign(share=means["ended"] / means["apart"].where(means["apart"] > 0))

    def _by_size(self, rates: np.ndarray) -> np.ndarray:
        """The rates with those of each block in ascending order."""
        rates, blocks = rates.copy(), np.array(self.blocks)
        for block in dict.fromkeys(self.blocks):
            rates[blocks == block] = np.sort(rates[blocks == block])
        return rates

    def beside_probe(self, measure: str = "weight") -> pd.DataFrame:
        """One row per block that both learned rates and the probe have.

        Columns: `stage`, `block`, `rate` (mean of the last rates over branches, starts and seeds), `low`, `high` (the
        smallest and the largest of the means over branches, one a start and seed), `probe` (mean of the probe's
        dilation rates, weighted by their mean magnitudes, see `BranchMagnitudes.mean_dilation`).

        Raises:
            ValueError: there is no probe, or it has no such measure.
        """
        if self.probe is None:
            raise ValueError("probe=None: no probe was trained beside these rates.")
        means = self.final().groupby(["start", "seed", "stage", "block"], sort=False)["rate"].mean().reset_index()
        table = means.groupby(["stage", "block"], sort=False)["rate"].agg(["mean", "min", "max"]).reset_index()
        table.columns = ["stage", "block", "rate", "low", "high"]
        table["probe"] = table["block"].map(self.probe.mean_dilation(measure))
        return table.dropna(ignore_index=True)

    def agreement(self, measure: str = "weight", *, resamples: int = 2000, seed: int = 0) -> Ratio:
        """The rank correlation, over blocks, of the mean learned rate with the probe's mean dilation rate.

        1: the blocks in which rates grew large are those in which the probe listens to large ones; 0: no relation. The
        95 % interval is a bootstrap over blocks.

        Args:
            measure: of the probe, "weight" or "gain".
            resamples: bootstrap resamples.
            seed: seed of the resampling.

        Raises:
            ValueError: see `beside_probe`; or there are fewer than three blocks.
        """
        table = self.beside_probe(measure)
        if len(table) < 3:
            raise ValueError(f"{len(table)} blocks have learned rates and a probe; a correlation needs 3.")
        pairs = table[["rate", "probe"]].to_numpy()
        drawn = np.random.default_rng(seed).integers(len(pairs), size=(resamples, len(pairs)))
        found = rank_correlation(pairs[:, 0], pairs[:, 1])
        values = rank_correlation(*np.moveaxis(pairs[drawn], -1, 0))
        # Of a resample with a single block there is none.
        low, high = np.nanpercentile(values, (2.5, 97.5))
        return Ratio("", "rank correlation", float(found), float(low), float(high))

    def thinned(self, every: int) -> LearnedRates:
        """The same with every so many of the recorded steps, and the last one."""
        import dataclasses

        runs = []
        for run in self.runs:
            path = run.trajectory
            kept = sorted({*range(0, len(path.steps), every), len(path.steps) - 1})
            thin = dataclasses.replace(path, steps=path.steps[kept], rates=path.rates[kept], bounds=path.bounds[kept])
            runs.append(dataclasses.replace(run, trajectory=thin))
        return dataclasses.replace(self, runs=tuple(runs))

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, *, probe: BranchMagnitudes | None = None) -> LearnedRates:
        """The rates of one network that a table holds, as `to_frame` gives it, also after it was a CSV.

        Args:
            frame: rows of one network and schedule.
            probe: of the same network.

        Raises:
            ValueError: a column is missing, there is no row, or there are several networks or schedules.
        """
        wanted = [*_RUN, "step", "epoch", *_LAYER, "branch", "rate", "bound"]
        missing = [name for name in wanted if name not in frame]
        if missing or not len(frame):
            what = f"lacks {', '.join(missing)}" if missing else "has no row"
            raise ValueError(f"frame {what}; it must have rows with {', '.join(wanted)}.")
        shared = frame[["model", "data", "height", "width", "epochs"]].drop_duplicates()
        if len(shared) > 1:
            raise ValueError(f"frame holds {len(shared)} networks or schedules; take the rows of one.")
        model, data, height, width, epochs = shared.iloc[0].tolist()
        runs = tuple(
            RateRun(str(start), int(seed), float(part["miou"].iloc[0]), RateTrajectory.from_frame(part))
            for (start, seed), part in frame.assign(start=frame["start"].astype(str)).groupby(
                ["start", "seed"], sort=False
            )
        )
        places = frame.assign(layer=frame["layer"].astype(str)).drop_duplicates("layer").set_index("layer")
        layers = list(runs[0].trajectory.layers)
        counted = frame[frame["epoch"] > 0]
        steps = round(float(counted["step"].iloc[0] / counted["epoch"].iloc[0])) if len(counted) else 1
        return cls(
            str(model), str(data), int(height), int(width), int(epochs), steps,
            tuple(places.loc[layers, "stage"].astype(str)), tuple(places.loc[layers, "block"].astype(str)), runs, probe,
        )  # fmt: skip
