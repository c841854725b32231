"""What measures of receptive fields say about networks whose task needs a known one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rfkit._checks import data_error, unknown_name
from rfkit._files import write_text
from rfkit.results.base import Table
from rfkit.results.ranks import rank_correlation

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "MEASURES", "Calibration", "interval"]

COLUMNS = (
    "run", "network", "kind", "distance", "needed", "seed", "smoothness", "rates", "steps", "batch_size",
    "learning_rate", "images", "test_images", "field_images", "side", "accuracy", "radius", "branch", "start", "rate",
    "share", "ceiling", "weight_initial", "weight", "gain", "contribution", "lost", "moved", "still",
)  # fmt: skip

MEASURES: Mapping[str, str] = {
    "weight": "|w|",
    "growth": "growth of |w| in training",
    "gain": "|w| × gain",
    "contribution": "contribution",
    "lost": "accuracy lost on removal",
    "alone": "accuracy alone",
    "field": "effective field",
    "learned": "learned rate",
}
"""Name of a measure -> the words for it in a figure."""

_OF_BRANCHES = ("weight", "growth", "gain", "contribution", "lost")
_LARGE = 7  # "dilation rates exceeding 7" (Wei et al., DWRSeg, section 3.2)
_LITTLE = 0.01  # accuracy
_RARELY = 0.5  # share of taps
_RESAMPLES = 2000
# What is said above (True) or below the threshold, then its opposite.
_VERDICTS = {False: ("little effect", "an effect"), True: ("rarely learned", "learned")}


class Calibration(Table):
    """A row for each branch of each trained network.

    Columns: `run` (its name), `network` (see `rfkit.studies.calibration_runs.calibration_network`), `kind` and
    `distance` of the task (`DistanceTask`; text, for a mixture with shares), `needed` (rate that the task needs; NaN
    for mixtures and the null task), `seed`, `smoothness`, `rates` (of all branches); the schedule (`steps`,
    `batch_size`, `learning_rate`, `images`, `test_images`, `field_images`, `side`); of the run `accuracy` (0 to 1) and
    `radius` (in pixels: the smallest square around a unit that holds half of the effective field of class 1 reaches so
    far); then of the branch: `branch` (index), `start` and `rate` (dilation rate; they differ where rates are learned),
    `share` (of the evidence at that rate's distance), `ceiling` (best accuracy of this branch alone, in closed form;
    NaN where there is none), `weight_initial` and `weight` (mean |w| before and after training), `gain` (mean
    |w| |gamma|), `contribution` (mean over output channels), `lost` (accuracy lost when the branch's channels are
    replaced by their means; with two blocks in both), and of the taps beside the centre of its kernels `moved` (length
    of their change over their length before training) and `still` (share that moved by less than half a standard
    deviation of their initial values). NaN: not measured.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if tuple(self.columns) != COLUMNS:
            raise ValueError(f"columns={tuple(self.columns)} must be {', '.join(COLUMNS)}.")

    @classmethod
    def from_rows(cls, rows: Sequence[Mapping[str, Any]]) -> Calibration:
        """The table of these rows, each with all of `COLUMNS`."""
        return cls("calibration", {column: tuple(row[column] for row in rows) for column in COLUMNS})

    def write(self, path: str | Path) -> Path:
        """Write the table as CSV with six significant digits, whole or not at all, and return `path`."""
        write_text(path, self.to_frame().to_csv(index=False, float_format="%.6g", lineterminator="\n"))
        return Path(path)

    @classmethod
    def read(cls, path: str | Path) -> Calibration:
        """The table that `write` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            rfkit._checks.DataError: it is no table of a calibration.
        """
        import pandas as pd

        try:
            # "null" is the name of a task here, and not a missing value.
            texts = {"distance": str, "rates": str}
            frame = pd.read_csv(path, dtype=texts, keep_default_na=False, na_values=[""])
            return cls("calibration", {str(column): tuple(frame[column].tolist()) for column in frame})
        except ValueError as error:
            raise data_error(path, f"is no table of a calibration ({error}).") from error

    def readings(self) -> pd.DataFrame:
        """What each measure says of each run, as a dilation rate.

        A measure of branches gives the mean of their rates, weighed by it (negative values count as zero), and the
        rate of the branch in which it is largest. "growth" is `weight` less `weight_initial`. "alone" is measured by
        networks of their own, one a branch, as accuracy above 0.5; it stands at the network "one block". The effective
        field gives its radius for both, a learned rate that of the branch with the largest contribution.

        Columns: network; kind; distance; needed; seed; measure; reading; strongest; share (of the strongest branch in
        the sum over branches; NaN for "field" and "learned"); right (whether `strongest` is nearer to what is needed
        than to the next competing rate, that is within 1; False where nothing is needed).
        """
        import pandas as pd

        frame = self.to_frame()
        frame["growth"] = frame["weight"] - frame["weight_initial"]
        full = frame[frame["network"].isin(["one block", "two blocks"]) & (frame["rates"].str.count(" ") >= 4)]
        rows = []
        for _, branches in full.groupby("run", sort=False):
            head = _head(branches)
            rows += [
                {**head, "measure": measure, **_mean_rate(branches["rate"], branches[measure])}
                for measure in _OF_BRANCHES
            ]
            radius = float(branches["radius"].iloc[0])
            rows.append({**head, "measure": "field", "reading": radius, "strongest": radius, "share": np.nan})
        alone = frame[frame["network"] == "alone"]
        for _, branches in alone.groupby(["kind", "distance", "seed"], sort=False):
            head = {**_head(branches), "network": "one block"}
            rows.append({**head, "measure": "alone", **_mean_rate(branches["rate"], branches["accuracy"] - 0.5)})
        for _, branches in frame[frame["network"] == "learned"].groupby("run", sort=False):
            rate = float(branches["rate"].loc[branches["contribution"].idxmax()])
            head = {**_head(branches), "network": "one block"}
            rows.append({**head, "measure": "learned", "reading": rate, "strongest": rate, "share": np.nan})
        found = pd.DataFrame(rows)
        found["right"] = (found["strongest"] - found["needed"]).abs() < 1
        return found

    def trust(self, *, kinds: Sequence[str] = ("cue", "size"), seed: int = 0) -> pd.DataFrame:
        """How well each measure recovers the rate that is needed, by network.

        Columns: network; measure; runs; correlation (Spearman's, of `reading` with what is needed), low, high (95 %
        bootstrap interval over runs); right (share of runs whose strongest branch is the needed one); error (mean
        distance of `reading` from what is needed, as a rate).

        Args:
            kinds: kinds of tasks that count: those that need exactly one rate. "noise" needs rates that hardly differ,
                and a "period" is seen by pairs of other branches as well.
            seed: of the resampling.

        Raises:
            ValueError: a kind is not in the table.
        """
        import pandas as pd

        found = self.readings()
        for kind in kinds:
            if kind not in set(found["kind"]):
                raise unknown_name("kinds", kind, sorted(set(found["kind"])))
        rows = []
        chosen = found[found["kind"].isin(list(kinds)) & found["needed"].notna()]
        for network in dict.fromkeys(chosen["network"]):
            for measure in MEASURES:
                part = chosen[(chosen["network"] == network) & (chosen["measure"] == measure)]
                if part.empty:
                    continue
                pairs = part[["needed", "reading"]].to_numpy(float)
                value, low, high = interval(pairs, _correlation, seed=seed)
                rows.append({
                    "network": network, "measure": measure, "runs": len(part), "correlation": value, "low": low,
                    "high": high, "right": float(part["right"].mean()),
                    "error": float((part["reading"] - part["needed"]).abs().mean()),
                })  # fmt: skip
        return pd.DataFrame(rows)

    def mixtures(self) -> pd.DataFrame:
        """What each measure makes of two distances in known proportions.

        Columns: distance (both with their shares); seed; measure; true (share of the larger distance in the weights of
        the evidence); found (what the measure gives the branch of the larger distance, over what it gives both).
        """
        import pandas as pd

        frame = self.to_frame()
        frame["growth"] = frame["weight"] - frame["weight_initial"]
        rows = []
        for _, branches in frame[frame["kind"] == "mixture"].groupby("run", sort=False):
            two = branches[branches["share"] > 0].sort_values("rate")
            for measure in _OF_BRANCHES:
                small, large = two[measure].clip(lower=0)
                rows.append({
                    "distance": two["distance"].iloc[0], "seed": two["seed"].iloc[0], "measure": measure,
                    "true": float(two["share"].iloc[1]), "found": float(large / (small + large)),
                })  # fmt: skip
        return pd.DataFrame(rows)

    def null_task(self) -> pd.DataFrame:
        """What each measure finds where no context is needed, beside what it finds where a cue is.

        Columns: network; seed; measure (of branches, or "field"); found (the largest value over the branches, of the
        field its radius, in the null task, divided by its mean over all cues); 0 is right.
        """
        import pandas as pd

        frame = self.to_frame().assign(field=self.columns["radius"])
        frame["growth"] = frame["weight"] - frame["weight_initial"]
        frame = frame[frame["rates"].str.count(" ") >= 4]
        rows = []
        for network in ("one block", "two blocks"):
            largest = frame[frame["network"] == network].groupby(["kind", "distance", "seed"]).max(numeric_only=True)
            if not {"null", "cue"} <= set(largest.index.get_level_values("kind")):
                continue
            for measure in (*_OF_BRANCHES, "field"):
                found = largest.loc["null", measure] / largest.loc["cue", measure].mean()
                rows += [
                    {"network": network, "seed": seed, "measure": measure, "found": float(value)}
                    for (_, seed), value in found.items()
                ]
        return pd.DataFrame(rows)

    def claims(self, *, seed: int = 0) -> pd.DataFrame:
        """Two claims of the DWRSeg paper, with statistics and thresholds fixed before the runs (pilots had been seen).

        "rates above 7 have little effect" (section 3.2): the accuracy lost without the branch of rate 9 or 11, the
        larger of the two. Little is less than 0.01. Where the task needs a rate up to 7, and where it needs 9 or 11;
        and there also the accuracy lost by two blocks that never had rates above 7.

        "weights of larger rates are rarely learned" in single-step modules (introduction): `still` of the branches with
        rates above 7, of ESP and DAB. Rarely learned is more than half of the taps. Where such a rate is not needed,
        and, of the needed branch alone, where it is; beside them the same of rate 1, and of the two-step block.

        Columns: claim; case; value, low, high (mean, 95 % bootstrap interval over runs); runs; verdict, where the
        interval lies wholly on one side of the threshold, else "undecided": "little effect" or "an effect", "rarely
        learned" or "learned".
        """
        import pandas as pd

        frame = self.to_frame()
        cases = [*_effect_of_large(frame), *_rarely_learned(frame)]
        rows = []
        for claim, case, values, threshold, above in cases:
            if not len(values):
                continue
            value, low, high = interval(np.asarray(values, float)[:, None], _mean, seed=seed)
            said, not_said = (low > threshold, high < threshold) if above else (high < threshold, low > threshold)
            verdict = _VERDICTS[above][0] if said else _VERDICTS[above][1] if not_said else "undecided"
            rows.append({"claim": claim, "case": case, "value": value, "low": low, "high": high, "runs": len(values),
                         "verdict": verdict})  # fmt: skip
        return pd.DataFrame(rows)


def interval(
    sample: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    *,
    seed: int = 0,
    resamples: int = _RESAMPLES,
) -> tuple[float, float, float]:
    """`statistic` of the rows of `sample`, and its 95 % bootstrap interval; resamples where it is NaN are left out.

    Args:
        sample: (rows, columns).
        statistic: from (..., rows, columns) to (...).
        seed: of the resampling.
        resamples: how many.
    """
    drawn = np.random.default_rng(seed).integers(len(sample), size=(resamples, len(sample)))
    found = statistic(sample[drawn])
    kept = found[~np.isnan(found)]
    low, high = np.percentile(kept, [2.5, 97.5]) if len(kept) else (np.nan, np.nan)
    return float(statistic(sample)), float(low), float(high)


def _head(branches: pd.DataFrame) -> dict[str, Any]:
    return {name: branches[name].iloc[0] for name in ("network", "kind", "distance", "needed", "seed")}


def _mean_rate(rates: pd.Series, values: pd.Series) -> dict[str, float]:
    """Mean rate weighed by a measure, the rate where it is largest, and that branch's share."""
    weights = values.clip(lower=0).to_numpy(float)
    total = weights.sum()
    if not total > 0:
        return {"reading": np.nan, "strongest": np.nan, "share": np.nan}
    place = int(weights.argmax())
    return {
        "reading": float(weights @ rates.to_numpy(float) / total),
        "strongest": float(rates.iloc[place]),
        "share": float(weights[place] / total),
    }


def _correlation(pairs: np.ndarray) -> np.ndarray:
    return rank_correlation(pairs[..., 0], pairs[..., 1])


def _mean(values: np.ndarray) -> np.ndarray:
    return values.mean(axis=(-2, -1))


_Case = tuple[str, str, Sequence[float] | np.ndarray, float, bool]


def _effect_of_large(frame: pd.DataFrame) -> list[_Case]:
    claim = "rates above 7 have little effect"
    cases: list[_Case] = []
    cues = frame[frame["kind"].isin(["cue", "size"]) & frame["rates"].str.contains("11")]
    for network in ("one block", "two blocks"):
        part = cues[(cues["network"] == network) & (cues["rate"] > _LARGE)]
        lost = part.groupby("run").agg(lost=("lost", "max"), needed=("needed", "first"))
        for case, chosen in (("not needed", lost["needed"] <= _LARGE), ("needed", lost["needed"] > _LARGE)):
            cases.append((claim, f"{network}: {case}", lost["lost"][chosen].to_numpy(), _LITTLE, False))
    two = frame[(frame["network"] == "two blocks") & (frame["needed"] > _LARGE)]
    scores = two.groupby(["distance", "seed", "rates"])["accuracy"].first().unstack()
    if scores.shape[1] == 2:
        full, short = sorted(scores.columns, key=len, reverse=True)
        lost_without = (scores[full] - scores[short]).to_numpy()
        cases.append((claim, "two blocks: needed, absent", lost_without, _LITTLE, False))
    return cases


def _rarely_learned(frame: pd.DataFrame) -> list[_Case]:
    claim = "weights of larger rates are rarely learned"
    cases: list[_Case] = []
    for network in ("ESP", "DAB", "one block"):
        part = frame[(frame["network"] == network) & (frame["kind"] == "cue")]
        if network == "one block":
            part = part[part["distance"].isin(["1", "5", "9"])]
        large, small = part[part["rate"] > _LARGE], part[part["rate"] == 1]
        for case, chosen in (
            ("above 7, not needed", large[large["needed"] <= _LARGE]),
            ("9, needed", large[large["needed"] == large["rate"]]),
            ("1, not needed", small[small["needed"] > 1]),
            ("1, needed", small[small["needed"] == 1]),
        ):
            values = chosen.groupby("run")["still"].mean().to_numpy()
            cases.append((claim, f"{network}: {case}", values, _RARELY, True))
    return cases
