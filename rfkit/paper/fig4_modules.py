"""Fig. 4: the DWR module with three branches and the SIR module."""

from __future__ import annotations

from matplotlib.figure import Figure
from torch import nn

from rfkit.models.registry import create_model
from rfkit.paper.context import Context
from rfkit.paper.describe import describe
from rfkit.plots.diagram import Structure
from rfkit.plots.structure import plot_structures

__all__ = ["CAPTION", "INPUTS", "NAME", "compute", "draw", "structure"]

NAME = "fig4"
CAPTION = (
    "Fig. 4. (a) A DWR module of the last stage, (b) an SIR module of the low stage, both as built. RR: region "
    "residualization; SR: semantic residualization; Conv: convolution; DConv: depth-wise convolution; D-n: dilation "
    "rate n; C: concatenation; c: channels of the stage. The widths inside are those that the published sizes imply."
)
INPUTS: tuple[str, ...] = ()
_SIZE = (32, 64)
_NUMBERS = {1: "one branch", 2: "two branches", 3: "three branches", 4: "four branches", 5: "five branches"}


def structure(model: nn.Module) -> Structure:
    """The diagrams of the last block of the last stage and of the last block of stage2."""
    stages = {stage.name: stage for stage in model.stages}
    high = model.get_submodule(stages["stage4"].blocks[-1])
    low = model.get_submodule(stages["stage2"].blocks[-1])
    branches = _NUMBERS.get(len(high.dilations), f"{len(high.dilations)} branches")
    dwr = describe(
        high,
        (high.in_channels, *_SIZE),
        title=f"(a) DWR module, {branches}",
        base=high.out_channels,
        regions={"RR": "region", "SR": "semantic"},
        notes=(f"here c = {high.out_channels}",),
    )
    sir = describe(
        low,
        (low.in_channels, *_SIZE),
        title="(b) SIR module",
        base=low.out_channels,
        regions={"RR": "region", **({"SR": "semantic"} if low.semantic is not None else {})},
        notes=(f"here c = {low.out_channels}",),
    )
    return Structure((dwr, sir))


def compute(context: Context) -> Structure:
    """The structure of the built DWRSeg-L."""
    return structure(create_model("dwrseg_l", seed=context.seed))


def draw(result: Structure) -> Figure:
    """Both diagrams side by side."""
    return plot_structures(result.diagrams)
