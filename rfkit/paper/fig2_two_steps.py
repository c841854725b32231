"""Fig. 2: all rates on one map in one step, against region maps of their own in two steps."""

from __future__ import annotations

from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor, nn

from rfkit.models.registry import create_model
from rfkit.nn.branches import ParallelDilations
from rfkit.paper.context import Context
from rfkit.paper.describe import describe
from rfkit.plots.diagram import Structure
from rfkit.plots.structure import plot_structures

__all__ = ["CAPTION", "INPUTS", "NAME", "SingleStep", "TwoSteps", "compute", "draw", "structure"]

NAME = "fig2"
CAPTION = (
    "Fig. 2. (a) The typical structure for multi-scale context: dilated depth-wise convolutions with several rates "
    "read the same feature maps. (b) Two steps: region residualization (RR) makes region maps, then in semantic "
    "residualization (SR) each of them is filtered with one rate. D-n: dilation rate n; C: concatenation; c: base "
    "number of channels."
)
INPUTS: tuple[str, ...] = ()


class SingleStep(nn.Module):
    """The typical structure: every rate reads the whole input."""

    def __init__(self, channels: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        count = len(dilations)
        self.branches = ParallelDilations([channels] * count, [1] * count, dilations=dilations, shared=True)

    def forward(self, x: Float[Tensor, "batch _ height width"]) -> Float[Tensor, "batch _ height width"]:
        """The concatenated outputs."""
        return self.branches(x)


class TwoSteps(nn.Module):
    """The two steps of a real block, up to the concatenation."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.region = block.region
        self.branches = block.semantic.branches

    def forward(self, x: Float[Tensor, "batch _ height width"]) -> Float[Tensor, "batch _ height width"]:
        """The concatenated outputs of the branches."""
        return self.branches(self.region(x))


def structure(model: nn.Module) -> Structure:
    """Both diagrams, with the rates and widths of the last block of `model`."""
    block = model.get_submodule(model.stages[-1].blocks[-1])
    channels = block.out_channels
    size = (channels, 32, 64)
    one = describe(
        SingleStep(channels, block.dilations),
        size,
        title="(a) One step",
        base=channels,
        maps="",
        input_label="feature maps",
    )
    two = describe(
        TwoSteps(block),
        size,
        title="(b) Two steps",
        base=channels,
        maps="region maps",
        input_label="feature maps",
        regions={"RR": "region", "SR": "branches.convs"},
    )
    return Structure((one, two))


def compute(context: Context) -> Structure:
    """The structure of the built DWRSeg-L."""
    return structure(create_model("dwrseg_l", seed=context.seed))


def draw(result: Structure) -> Figure:
    """Both diagrams side by side."""
    return plot_structures(result.diagrams)
