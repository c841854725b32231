"""The measures of the probe's branches block by block."""

from __future__ import annotations

from matplotlib.figure import Figure

from rfkit.paper.context import Context, MissingInput
from rfkit.paper.probe_measures import read_measures
from rfkit.plots.measures import plot_measures_by_block
from rfkit.results.base import Table

__all__ = ["CAPTION", "INPUTS", "NAME", "compute", "draw"]

NAME = "probe_blocks"
CAPTION = (
    "The branches of every block of the probe by four measures. |w|, |w| times |gamma| of the norm before, and the "
    "contribution: the mean of the branch over that of d1 in the same block (gray line), with 95 % bootstrap intervals "
    "over channels. Below: the drop in mIoU when one branch of that block alone is held at its mean, with 95 % "
    "bootstrap intervals over test images; the network is not trained again. The title says how it was trained and on "
    "how many images branches were removed."
)
INPUTS: tuple[str, ...] = ()


def compute(context: Context) -> Table:
    """The measures of the blocks of the training that ships first, without classes.

    Columns: `network` (the training in words), then those that `rfkit.paper.measured.probe` documents.

    Raises:
        MissingInput: none ship.
    """
    frame = read_measures()
    frame = frame[(frame["block"] != "") & (frame["class"] == "")]
    if frame.empty:
        raise MissingInput("the measures of probes that ship have no rows of blocks.")
    first = frame.iloc[0]
    frame = frame[(frame["network"] == first["network"]) & (frame["seeds"] == first["seeds"])]
    return Table.from_frame(NAME, frame.drop(columns="class"), caption=CAPTION)


def draw(result: Table) -> Figure:
    """A row of panels for each measure, the blocks side by side."""
    frame = result.to_frame()
    first = frame.iloc[0]
    title = f"{first['model']}, {first['network']}"
    removed = frame[frame["measure"] == "removal"]
    if len(removed):
        title += f"; removal on {removed['images'].iloc[0]} images of {first['evaluated']}"
    return plot_measures_by_block(result, title=title)
