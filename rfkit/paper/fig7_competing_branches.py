"""Fig. 7: the module in which dilation rates compete for one region map."""

from __future__ import annotations

from matplotlib.figure import Figure
from torch import nn

from rfkit.models.registry import create_model
from rfkit.paper.context import Context
from rfkit.paper.describe import describe
from rfkit.plots.diagram import Structure
from rfkit.plots.structure import plot_structures

__all__ = ["CAPTION", "INPUTS", "NAME", "compute", "draw", "structure"]

NAME = "fig7"
CAPTION = (
    "Fig. 7. The module that tests the demand for receptive fields, as built: depth-wise convolutions with several "
    "dilation rates (D-n) all read the whole region map. RR: region residualization; SR: semantic residualization; C: "
    "concatenation; c: channels of the stage."
)
INPUTS: tuple[str, ...] = ()


def structure(model: nn.Module) -> Structure:
    """The diagram of the last block of `model`."""
    block = model.get_submodule(model.stages[-1].blocks[-1])
    diagram = describe(
        block,
        (block.in_channels, 32, 64),
        title="Competing branches",
        base=block.out_channels,
        regions={"RR": "region", "SR": "semantic"},
        inferred=("region*",),
        notes=("dashed: its width is not in the paper; one region map", "per channel is assumed"),
    )
    return Structure((diagram,))


def compute(context: Context) -> Structure:
    """The structure of the built probe."""
    return structure(create_model("probe_dwrseg_l", seed=context.seed))


def draw(result: Structure) -> Figure:
    """The diagram."""
    return plot_structures(result.diagrams)
