"""What a sweep has come to: a row a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rfkit._checks import data_error
from rfkit._files import write_text
from rfkit.results.base import Table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "STATUSES", "SweepResults"]

COLUMNS = (
    "sweep", "run", "label", "model", "model_options", "overrides", "seed", "status", "miou", "epochs",
    "horizon_epochs", "steps", "height", "width", "data", "split", "evaluated", "recipe", "seconds", "folder", "error",
)  # fmt: skip
STATUSES = ("finished", "running", "waiting", "failed")

# What the seeds of a point of a sweep share.
_POINT = ("label", "model", "model_options", "overrides")


@dataclass(frozen=True, eq=False)
class SweepResults(Table):
    """The runs of a sweep, a row each.

    Columns: `sweep` (its name), `run` (name of the run folder), `label` (of the variant), `model`, `model_options`
    (JSON), `overrides` (JSON of the other settings that vary), `seed`, `status` ("finished", "running", "waiting",
    "failed"), `miou` (0 to 1, of the weights after the last epoch; None without), `epochs` (done), `horizon_epochs`,
    `steps` (done), `height` and `width` (of the crops trained on), `data`, `split` (trained on), `evaluated` (the split
    scored; empty without), `recipe`, `seconds` (of training), `folder`, `error` (one line; empty without).
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if tuple(self.columns) != COLUMNS:
            raise ValueError(f"columns={tuple(self.columns)} must be {', '.join(COLUMNS)}.")

    def count(self, status: str) -> int:
        """The number of runs with this status."""
        return self.columns["status"].count(status)

    def to_frame(self) -> pd.DataFrame:
        """The table; `miou` is NaN where there is none."""
        return super().to_frame().astype({"miou": float})

    def summary(self) -> pd.DataFrame:
        """Mean and spread over the seeds, a row a variant and point of the grid, in the order of the runs.

        Columns: `label`, `model`, `model_options`, `overrides`; `runs`; `n` (finished and scored ones, which the next
        two are of), `mean` and `std` of the mIoU (from 0 to 1; the standard deviation divides by n - 1 and is NaN for
        one run); `epochs` (the fewest that one of the n has done).
        """
        frame = self.to_frame()
        frame["scored"] = frame["miou"].where(frame["status"] == "finished")
        frame["done"] = frame["epochs"].where(frame["scored"].notna())
        groups = frame.groupby(list(_POINT), sort=False)
        return groups.agg(
            runs=("run", "size"), n=("scored", "count"), mean=("scored", "mean"), std=("scored", "std"),
            epochs=("done", "min"),
        ).reset_index()  # fmt: skip

    def write(self, path: str | Path) -> Path:
        """Write the table as CSV, whole or not at all, and return `path`."""
        write_text(path, self.to_frame().to_csv(index=False))
        return Path(path)

    @classmethod
    def read(cls, path: str | Path) -> SweepResults:
        """The table that `write` wrote.

        Raises:
            FileNotFoundError: There is no such file.
            rfkit._checks.DataError: It is no table of a sweep.
        """
        import pandas as pd

        try:
            frame = pd.read_csv(path, keep_default_na=False, na_values={"miou": [""]})
            name = str(frame["sweep"].iloc[0]) if len(frame) else ""
            frame["miou"] = frame["miou"].astype(object).where(frame["miou"].notna(), None)
            return cls(name, {str(column): tuple(frame[column].tolist()) for column in frame})
        except (ValueError, KeyError) as error:
            raise data_error(path, f"is no table of a sweep ({error}).") from error
