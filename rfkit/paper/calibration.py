"""Which measures recover a receptive field that is known: the calibration of the probe, and of everything else."""

from __future__ import annotations

from importlib import resources

from matplotlib.figure import Figure

from rfkit.paper import measured
from rfkit.paper.context import Context, MissingInput
from rfkit.plots.calibration import plot_calibration
from rfkit.plots.tables import Sheet, markdown
from rfkit.results.calibration import MEASURES, Calibration

__all__ = ["CAPTION", "INPUTS", "NAME", "compute", "draw", "measured_calibration", "text"]

NAME = "calibration"
CAPTION = (
    "What each measure says of a receptive field that is known: small networks trained on procedural tasks whose "
    "evidence lies at one distance. A point is a run, filled where the measure is largest for the branch that is "
    "needed. Above a panel: Spearman's rank correlation with its 95 % bootstrap interval over runs, of one block on "
    "cues and bars. Two blocks can add their rates up; noise and periods can be seen by several rates and are only "
    "drawn. SGD, 150 steps of 4 images of 48×48 pixels: short trainings of small networks, no promise for large ones."
)
INPUTS: tuple[str, ...] = ()


def measured_calibration() -> Calibration:
    """The calibration that ships, as `rfkit calibrate` measured it.

    Raises:
        FileNotFoundError: none ships.
    """
    with resources.as_file(resources.files(measured) / "calibration.csv") as path:
        return Calibration.read(path)


def compute(context: Context) -> Calibration:
    """The calibration that ships.

    Raises:
        MissingInput: there is none.
    """
    try:
        return measured_calibration()
    except FileNotFoundError as error:
        raise MissingInput("no calibration ships with rfkit; `rfkit calibrate` makes one.") from error


def draw(result: Calibration) -> Figure:
    """A panel for each measure."""
    return plot_calibration(result)


def text(result: Calibration) -> str:
    """How well each measure recovers what is needed, as a table in Markdown."""
    rows = [
        (
            row["network"],
            MEASURES[row["measure"]],
            str(row["runs"]),
            f"{row['correlation']:.2f} [{row['low']:.2f}, {row['high']:.2f}]",
            f"{100 * row['right']:.0f} %",
            f"{row['error']:.1f}",
        )
        for row in result.trust().to_dict("records")
    ]
    return markdown(
        Sheet(
            header=("Network", "Measure", "Runs", "Rank correlation", "Right branch", "Mean error (pixels)"),
            rows=tuple(rows),
            rules=(),
            align="llrrrr",
            caption=CAPTION,
            notes=(),
        )
    )
