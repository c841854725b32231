"""Fig. 3: the whole network."""

from __future__ import annotations

from dataclasses import replace

from matplotlib.figure import Figure
from torch import nn

from rfkit.models.registry import create_model
from rfkit.models.stages import Stage
from rfkit.paper.context import Context
from rfkit.paper.describe import Group, describe
from rfkit.plots.diagram import Diagram, Structure
from rfkit.plots.structure import plot_structures

__all__ = ["CAPTION", "INPUTS", "NAME", "compute", "draw", "structure"]

NAME = "fig3"
CAPTION = (
    "Fig. 3. The whole network, DWRSeg-L, as built. Each box of the encoder names its modules, how often they are "
    "repeated and, in colour, the dilation rates of their branches; at the arrows channels and output stride. C: "
    "concatenation; N: number of classes. Dashed: the stem's order and the way a stage downsamples (stride 2 in its "
    "first block) are inferred, not given in the paper."
)
INPUTS: tuple[str, ...] = ()
_IMAGE = (3, 256, 512)


def structure(model: nn.Module) -> Structure:
    """The diagram of `model`: stages as boxes, the decoder in full."""
    groups = {stage.name: _group(model, stage, row) for row, stage in enumerate(model.stages, start=1)}
    groups["decoder.head"] = Group("SegHead", kind="conv")
    diagram = describe(
        model,
        _IMAGE,
        symbols={model.num_classes: "N"},
        sizes=True,
        groups=groups,
        inferred=("stem",),
        input_label="Image",
        output_label="Prediction",
        notes=(
            "at the arrows: channels, size relative to the image; in colour: dilation rate of each branch",
            "dashed: inferred, not given in the paper (order inside the stem; stride 2 in the first block of a stage)",
        ),
    )
    return Structure((_arrange(diagram, model),))


def compute(context: Context) -> Structure:
    """The structure of the built DWRSeg-L."""
    return structure(create_model("dwrseg_l", seed=context.seed))


def draw(result: Structure) -> Figure:
    """The diagram, two columns wide."""
    return plot_structures(result.diagrams)


def _group(model: nn.Module, stage: Stage, row: int) -> Group:
    if stage.name == "stem":
        return Group("Stem", detail="stage 1", place=(0, row))
    kinds = {type(model.get_submodule(name)).__name__ for name in stage.blocks}
    kind = {"CompetingBranches": "Probe"}.get(*kinds, next(iter(kinds))) if len(kinds) == 1 else "Blocks"
    rates = model.get_submodule(stage.blocks[0]).dilations
    number = stage.name.removeprefix("stage")
    return Group(f"{kind} × {len(stage.blocks)}", detail=f"stage {number}", dilations=rates, place=(0, row))


def _arrange(diagram: Diagram, model: nn.Module) -> Diagram:
    """The encoder from top to bottom on the left, what is made of each stage in its row, the rest to the right."""
    rows = {stage.name: row for row, stage in enumerate(model.stages, start=1)}
    places: dict[str, tuple[float, float]] = {}
    for edge in diagram.edges:
        if edge.source in rows and edge.target not in rows:
            resized = next(node for node in diagram.nodes if node.name == edge.target).kind == "resize"
            if resized:
                places[edge.target] = (1, rows[edge.source])
    middle = sorted(rows.values())[-2]
    column = 2.0
    for node in diagram.nodes:
        if node.kind == "input":
            places[node.name] = (0, 0)
        elif node.kind != "stage" and node.name not in places and node.name not in rows:
            places[node.name] = (column, middle)
            column += 1
    nodes = tuple(replace(node, place=places.get(node.name, node.place)) for node in diagram.nodes)
    edges = tuple(replace(edge, inferred=edge.source in rows and edge.target in rows) for edge in diagram.edges)
    return replace(diagram, nodes=nodes, edges=edges, direction="right")
