"""Which classes need which dilation rates: the drop in each class IoU when the probe loses a branch."""

from __future__ import annotations

from matplotlib.figure import Figure

from rfkit.paper.context import Context
from rfkit.paper.probe_measures import read_measures
from rfkit.plots.removal import plot_branch_removal
from rfkit.results.base import Table

__all__ = ["CAPTION", "INPUTS", "NAME", "compute", "draw"]

NAME = "probe_removal"
CAPTION = (
    "Drop in the IoU of each class, in points, when the branch of one dilation rate is held at its mean in all blocks "
    "of a stage at once, of the probe named above the map (size that the network sees, epochs, seed; test images). Red "
    "is a loss, blue a gain; bold where the 95 % bootstrap interval over images leaves zero out. The network is not "
    "trained again, and drops do not add up."
)
INPUTS: tuple[str, ...] = ()


def compute(context: Context) -> Table:
    """The removals of the training that ships first, class by class.

    Columns: those of `BranchRemoval.to_frame`, then `network` (the training in words), `model`, `evaluated` (data set
    and split of the images).

    Raises:
        rfkit.paper.context.MissingInput: no measures ship.
    """
    frame = read_measures()
    frame = frame[(frame["measure"] == "removal") & (frame["block"] == "")]
    first = frame.iloc[0]
    frame = frame[(frame["network"] == first["network"]) & (frame["seeds"] == first["seeds"])]
    frame = frame.rename(columns={"value": "drop", "level": "iou"})
    scores = ["stage", "block", "branch", "dilation", "class", "iou", "drop", "low", "high", "images"]
    return Table.from_frame(NAME, frame[[*scores, "network", "model", "evaluated"]], caption=CAPTION)


def draw(result: Table) -> Figure:
    """The map of classes."""
    first = {name: cells[0] for name, cells in result.columns.items()}
    measured = f"without a branch, on {first['images']} images of {first['evaluated']}"
    return plot_branch_removal(result, kind="classes", title=f"{first['model']}, {first['network']}: {measured}")
