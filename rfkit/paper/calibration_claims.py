"""What the calibration says of mixtures, of a task without context, and of two claims of the paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from rfkit.paper.calibration import compute as _calibration
from rfkit.paper.context import Context
from rfkit.plots.calibration import plot_calibration_claims
from rfkit.results.base import Result
from rfkit.results.calibration import Calibration

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CAPTION", "INPUTS", "NAME", "CalibrationClaims", "compute", "draw"]

NAME = "calibration_claims"
CAPTION = (
    "From the same runs as the calibration. Mixtures: what each measure gives the branch of the larger of two "
    "distances, against its true share of the evidence. Null task: the largest value of a measure (of the field its "
    "radius) where no context is needed, over that where a cue is; 0 would be right. Below, two claims of the paper "
    "as statistics with thresholds (dashed) and 95 % bootstrap intervals over runs (how many): the accuracy lost "
    "without a rate above 7 (little is less than 0.01), and the share of a branch's taps that moved by less than half "
    "a standard deviation of their initial values (rarely learned: more than half of them) in single-step modules and "
    "the two-step block."
)
INPUTS: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class CalibrationClaims(Result):
    """What the figure is drawn from.

    Attributes:
        calibration: all runs.
    """

    calibration: Calibration

    def to_frame(self) -> pd.DataFrame:
        """What the panels show.

        Columns: series ("mixture", "null", "claim"), then those of `Calibration.mixtures`, `Calibration.null_task` and
        `Calibration.claims`.
        """
        import pandas as pd

        parts = {
            "mixture": self.calibration.mixtures(),
            "null": self.calibration.null_task(),
            "claim": self.calibration.claims(),
        }
        return pd.concat([part.assign(series=name) for name, part in parts.items()], ignore_index=True)


def compute(context: Context) -> CalibrationClaims:
    """The calibration that ships.

    Raises:
        rfkit.paper.context.MissingInput: there is none.
    """
    return CalibrationClaims(_calibration(context))


def draw(result: CalibrationClaims) -> Figure:
    """Four panels."""
    return plot_calibration_claims(result.calibration)
