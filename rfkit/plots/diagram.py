"""Boxes, arrows and brackets: what a network does, in a form that can be drawn and saved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rfkit.results.base import Result

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Diagram", "Edge", "Node", "Region", "Structure"]


@dataclass(frozen=True, eq=False)
class Node(Result):
    """One box, circle or feature map.

    Attributes:
        name: unique name, where there is one the module's full name.
        label: first line.
        kind: "input", "output", "conv", "pointwise", "depthwise", "norm", "activation", "pool", "resize", "add",
            "concat", "maps", "stage" or "other".
        detail: second line.
        dilations: dilation rates; a depth-wise convolution takes the colour of its rate, a stage shows a chip a rate.
        inferred: not given in the paper (dashed).
        place: (rank, lane), the position along the flow and beside it; None leaves it to the flow.
    """

    name: str
    label: str
    kind: str
    detail: str = ""
    dilations: tuple[int, ...] = ()
    inferred: bool = False
    place: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class Edge(Result):
    """An arrow from one node to another, with a text beside it."""

    source: str
    target: str
    label: str = ""
    inferred: bool = False


@dataclass(frozen=True, eq=False)
class Region(Result):
    """Nodes under one bracket."""

    label: str
    nodes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Diagram(Result):
    """What a module does, ready to be drawn.

    Attributes:
        title: line above the diagram.
        nodes: boxes in the order of the flow.
        edges: arrows.
        regions: brackets.
        notes: lines below the diagram.
        direction: "down" or "right", the way the flow goes.
    """

    title: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    regions: tuple[Region, ...] = ()
    notes: tuple[str, ...] = ()
    direction: str = "down"


@dataclass(frozen=True, eq=False)
class Structure(Result):
    """The diagrams of one figure, from left to right."""

    diagrams: tuple[Diagram, ...]

    def to_frame(self) -> pd.DataFrame:
        """One row a box and one an arrow.

        Columns: `diagram` (its title), `element` ("node" or "edge"), `name`, `kind`, `label`, `detail`, `dilations`
        (separated by spaces), `source`, `target`, `inferred`.
        """
        import pandas as pd

        columns = ["diagram", "element", "name", "kind", "label", "detail", "dilations", "source", "target", "inferred"]
        rows = [row for diagram in self.diagrams for row in _rows(diagram)]
        return pd.DataFrame(rows, columns=columns)


def _rows(diagram: Diagram) -> list[tuple[str | bool, ...]]:
    nodes = [
        (diagram.title, "node", node.name, node.kind, node.label, node.detail, " ".join(map(str, node.dilations)),
         "", "", node.inferred)
        for node in diagram.nodes
    ]  # fmt: skip
    edges = [
        (diagram.title, "edge", "", "", edge.label, "", "", edge.source, edge.target, edge.inferred)
        for edge in diagram.edges
    ]
    return [*nodes, *edges]
