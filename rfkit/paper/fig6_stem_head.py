"""Fig. 6: the stem block and the segmentation head."""

from __future__ import annotations

from dataclasses import replace

from matplotlib.figure import Figure
from torch import nn

from rfkit.models.registry import create_model
from rfkit.paper.context import Context
from rfkit.paper.describe import Group, describe
from rfkit.plots.diagram import Diagram, Edge, Node, Structure
from rfkit.plots.structure import plot_structures

__all__ = ["CAPTION", "INPUTS", "NAME", "compute", "draw", "structure"]

NAME = "fig6"
CAPTION = (
    "Fig. 6. (a) The stem block and (b) the segmentation head with the final upsampling, as built. Conv: convolution; "
    "MPooling: max-pooling; C: concatenation; beside the arrows channels and output stride; c: base number of "
    "channels; N: number of classes. Dashed: the paper gives the changes to BiSeNetV2's stem but not its order and "
    "widths, which are inferred from the published sizes."
)
INPUTS: tuple[str, ...] = ()
_IMAGE = (3, 128, 256)
_HEAD = "decoder.head."


def structure(model: nn.Module) -> Structure:
    """The diagrams of the stem and of what follows the decoder's norm."""
    base = next(stage.channels for stage in model.stages if stage.name == "stem")
    stem = describe(
        model.stem,
        _IMAGE,
        title="(a) Stem block",
        base=base,
        sizes=True,
        inferred=("*",),
        input_label="Image",
        notes=(f"c = {base}; dashed: inferred",),
    )
    names = [stage.name for stage in model.stages]
    whole = describe(
        model,
        _IMAGE,
        title="(b) SegHead",
        base=base,
        symbols={model.num_classes: "N"},
        sizes=True,
        groups={name: Group(name) for name in names},
        output_label="Prediction",
    )
    return Structure((stem, _tail(whole)))


def compute(context: Context) -> Structure:
    """The structure of the built DWRSeg-L."""
    return structure(create_model("dwrseg_l", seed=context.seed))


def draw(result: Structure) -> Figure:
    """Both diagrams side by side."""
    return plot_structures(result.diagrams)


def _tail(diagram: Diagram) -> Diagram:
    """The part of the diagram from the head on, with an input of its own."""
    kept = {node.name for node in diagram.nodes if node.name.startswith(_HEAD)}
    for edge in diagram.edges:  # in the order of the flow
        if edge.source in kept:
            kept.add(edge.target)
    entry = Node("input", "Feature maps", "input")
    edges = [
        edge if edge.source in kept else Edge("input", edge.target, edge.label)
        for edge in diagram.edges
        if edge.target in kept
    ]
    return replace(diagram, nodes=(entry, *(node for node in diagram.nodes if node.name in kept)), edges=tuple(edges))
