"""Fig. 8's measure on DWRSeg's own DWR blocks, whose branches do not compete for the same maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from rfkit.paper.fig8_branch_weights import BranchFigure, branch_figure
from rfkit.paper.fig8_branch_weights import draw as draw_weights

if TYPE_CHECKING:
    from rfkit.paper.context import Context

__all__ = ["CAPTION", "INPUTS", "NAME", "compute", "draw"]

NAME = "fig8_dwrseg"
CAPTION = (
    "The same measure as in Fig. 8 on the DWR blocks of DWRSeg-L itself (not in the paper). Here every branch reads "
    "region maps of its own, and d1 feeds twice as many channels, so the panels do not compare rates that compete. "
    "stage2 has no branches. Below: ratios of mean |w| to d1, with 95 % bootstrap intervals over input channels."
)
INPUTS = ("weights:dwrseg_l",)


def compute(context: Context) -> BranchFigure:
    """The distributions and ratios of DWRSeg-L's weights.

    Raises:
        rfkit.paper.context.MissingInput: there are no trained weights of DWRSeg-L.
    """
    return branch_figure(context, "dwrseg_l")


def draw(result: BranchFigure) -> Figure:
    """One panel a stage, the ratios by |w| below."""
    return draw_weights(result)
