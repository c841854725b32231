"""Fig. 5: what region residualization and semantic residualization make of an image."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from rfkit.analysis.regions import region_maps
from rfkit.paper.fig8_branch_weights import training_line
from rfkit.plots.regions import plot_region_maps
from rfkit.results.regions import RegionMaps

if TYPE_CHECKING:
    from rfkit.paper.context import Context

__all__ = ["CAPTION", "INPUTS", "NAME", "compute", "draw"]

NAME = "fig5"
CAPTION = (
    "Feature maps of the last block of each stage of DWRSeg-L. Upper row: the image. Middle row: region "
    "residualization (RR), the output of the block's first step after ReLU. Lower row: semantic residualization (SR), "
    "what the dilated depth-wise convolution and batch norm make of that map. Red is positive, blue negative, white "
    "zero; each map has its own symmetric scale, whose end is printed at its lower right. Channels are chosen by the "
    "rule printed below the figure, not by eye."
)
INPUTS = ("weights:dwrseg_l", "data")


def compute(context: Context) -> RegionMaps:
    """The maps of one image of the context: a procedural scene unless data were given.

    Raises:
        rfkit.paper.context.MissingInput: there are no trained weights of DWRSeg-L.
    """
    model, card = context.model("dwrseg_l")
    sample = context.images(1)[0]
    # "weights trained on CamVid": a scene is not what the network was trained on, and the figure says so.
    trained = training_line(card).replace(f"{card.model}, trained on ", "")
    note = f"{context.data_label}, weights trained on {trained} ({card.model})"
    return replace(region_maps(model, sample.image), note=note)


def draw(result: RegionMaps) -> Figure:
    """Image, RR and SR above one another, a column a branch."""
    return plot_region_maps(result)
