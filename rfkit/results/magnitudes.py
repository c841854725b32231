"""How much each dilation rate weighs, block by block, with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rfkit._checks import check_choice
from rfkit.results.base import Result

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BranchMagnitudes"]

_COLUMNS = ("stage", "block", "dilation", "measure", "mean", "low", "high")


@dataclass(frozen=True, eq=False)
class BranchMagnitudes(Result):
    """Mean magnitude of the weights of each branch, one entry a block, branch and measure, then stages as a whole.

    Attributes:
        stages: stage of each entry.
        blocks: block of each entry; empty for all blocks of the stage together.
        dilations: dilation rate of the branch.
        measures: "weight" for |w|, "gain" for |w| |gamma|.
        means: the mean.
        lows: lower ends of 95 % bootstrap intervals over input channels.
        highs: upper ends.
    """

    stages: np.ndarray
    blocks: np.ndarray
    dilations: np.ndarray
    measures: np.ndarray
    means: np.ndarray
    lows: np.ndarray
    highs: np.ndarray

    def to_frame(self) -> pd.DataFrame:
        """One row per entry.

        Columns: `stage`, `block` (empty: all blocks of the stage together), `dilation`, `measure`, `mean`, `low`,
        `high`.
        """
        import pandas as pd

        values = (self.stages, self.blocks, self.dilations, self.measures, self.means, self.lows, self.highs)
        return pd.DataFrame(dict(zip(_COLUMNS, values, strict=True)))

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> BranchMagnitudes:
        """The means that a table holds, as `to_frame` gives it, also after it was a CSV.

        Raises:
            ValueError: a column is missing.
        """
        missing = [name for name in _COLUMNS if name not in frame]
        if missing:
            raise ValueError(f"frame lacks {', '.join(missing)}; it must have {', '.join(_COLUMNS)}.")
        names = (frame[name].fillna("").astype(str).to_numpy(dtype=str) for name in ("stage", "block", "measure"))
        stages, blocks, measures = names
        numbers = (frame[name].to_numpy(dtype=float) for name in ("mean", "low", "high"))
        return cls(stages, blocks, frame["dilation"].to_numpy(dtype=int), measures, *numbers)

    def profile(self, measure: str = "weight") -> pd.DataFrame:
        """Block by dilation rate, in the order of the network: the mean magnitudes of `measure`.

        Raises:
            ValueError: there is no such measure.
        """
        check_choice("measure", measure, dict.fromkeys(self.measures.tolist()))
        frame = self.to_frame()
        chosen = frame[(frame["measure"] == measure) & (frame["block"] != "")]
        table = chosen.pivot_table(index="block", columns="dilation", values="mean", aggfunc="mean")
        return table.loc[list(dict.fromkeys(chosen["block"]))]

    def mean_dilation(self, measure: str = "weight") -> pd.Series:
        """For each block the mean of its dilation rates, weighted by their mean magnitudes.

        A network that was not trained gives the plain mean of the rates.

        Raises:
            ValueError: there is no such measure.
        """
        table = self.profile(measure)
        rates = table.columns.to_numpy(dtype=float)
        return (table * rates).sum(axis=1) / table.sum(axis=1)
