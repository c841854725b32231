"""Structure diagrams: boxes, arrows and brackets from a neutral description of a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, PathPatch
from matplotlib.path import Path
from matplotlib.textpath import TextPath

__all__ = ["Diagram", "Edge", "Node", "Region", "natural_size", "plot_structure", "plot_structures"]

# All lengths are inches on paper, all font sizes points.
_LABEL, _DETAIL, _TITLE = 7.5, 6.5, 8.5
_LINE, _CHIP = 0.125, 0.15
_PAD = 0.075
_GAP = {"down": 0.3, "right": 0.36}
_ROUND = 0.05
_CIRCLE = 0.085
_SHEET, _SHEETS = 0.3, 3
_LEAST_WIDTH = 0.55
_INK, _GREY = "#2b2b2b", "#666666"
_FILL = {
    "input": "#ffffff", "output": "#ffffff", "conv": "#cfe7dc", "pointwise": "#fbe3b5", "norm": "#eee6f5",
    "activation": "#eee6f5", "pool": "#f3d3c3", "resize": "#dcdff2", "stage": "#e3f0ea", "other": "#ffffff",
    "add": "#ffffff", "concat": "#ffffff", "maps": "#f6efe0",
}  # fmt: skip
_ROUNDS = ("add", "concat")


@dataclass(frozen=True)
class Node:
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


@dataclass(frozen=True)
class Edge:
    """An arrow from one node to another, with a text beside it."""

    source: str
    target: str
    label: str = ""
    inferred: bool = False


@dataclass(frozen=True)
class Region:
    """Nodes under one bracket."""

    label: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Diagram:
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


def plot_structure(diagram: Diagram, *, ax: Axes | None = None) -> Axes:
    """The axes with the diagram on it, its limits set to the diagram's size in inches.

    Text has its printed size only if the axes are as large as `natural_size` says; smaller axes make it overlap.

    Args:
        diagram: what to draw.
        ax: where; the current axes if None.
    """
    ax = plt.gca() if ax is None else ax
    layout = _Layout(diagram)
    for edge in diagram.edges:
        _draw_edge(ax, layout, edge)
    for node in diagram.nodes:
        _draw_node(ax, layout, node)
    for region in diagram.regions:
        _draw_region(ax, layout, region)
    left, right, bottom, top = layout.limits()
    _text(ax, left, top - 0.06, diagram.title, "title", size=_TITLE, ha="left", va="top", weight="bold")
    for index, note in enumerate(diagram.notes):
        height = bottom + _LINE * (len(diagram.notes) - 1 - index) + 0.03
        _text(ax, left, height, note, f"note {index}", ha="left", va="bottom", colour=_GREY, style="italic")
    ax.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    ax.set_axis_off()
    return ax


def plot_structures(diagrams: Sequence[Diagram], *, gap: float = 0.35) -> Figure:
    """A figure with the diagrams side by side at their printed size.

    Args:
        diagrams: one or more.
        gap: inches between two of them.
    """
    sizes = [natural_size(diagram) for diagram in diagrams]
    margin = 0.08
    width = sum(size[0] for size in sizes) + gap * (len(sizes) - 1) + 2 * margin
    height = max(size[1] for size in sizes) + 2 * margin
    figure = plt.figure(figsize=(width, height))
    left = margin
    for diagram, size in zip(diagrams, sizes, strict=True):
        place = (left / width, 1 - (margin + size[1]) / height, size[0] / width, size[1] / height)
        plot_structure(diagram, ax=figure.add_axes(place))
        left += size[0] + gap
    return figure


def natural_size(diagram: Diagram) -> tuple[float, float]:
    """Width and height of the diagram in inches, at which its text has the printed size."""
    left, right, bottom, top = _Layout(diagram).limits()
    return right - left, top - bottom


class _Layout:
    """Where everything goes. Ranks run along the flow, lanes lie beside each other; both become inches."""

    def __init__(self, diagram: Diagram) -> None:
        self.diagram = diagram
        self.down = diagram.direction == "down"
        self.nodes = {node.name: node for node in diagram.nodes}
        self.sizes = {node.name: _size(node) for node in diagram.nodes}
        boxes = [self.sizes[node.name][0] for node in diagram.nodes if node.kind not in (*_ROUNDS, "maps")]
        if self.down and boxes:
            # One width for all boxes of a diagram.
            width = max(boxes)
            for node in diagram.nodes:
                if node.kind not in (*_ROUNDS, "maps"):
                    self.sizes[node.name] = (width, self.sizes[node.name][1])
        self.ranks, self.lanes = _place(diagram)
        labels = [_width(edge.label, _DETAIL) for edge in diagram.edges]
        across = max(size[0 if self.down else 1] for size in self.sizes.values())
        self.pitch = max(across + 0.16, 2 * max(labels, default=0) + 0.16) if self.down else across + 0.2
        gap = _GAP[diagram.direction] if self.down else max(labels, default=0) + 0.2
        self.along = self._along(gap)

    def _along(self, gap: float) -> dict[float, float]:
        extent: dict[float, float] = {}
        for name, rank in self.ranks.items():
            extent[rank] = max(extent.get(rank, 0), self.sizes[name][1 if self.down else 0])
        along, end = {}, -gap
        for rank in sorted(extent):
            along[rank] = end + gap + extent[rank] / 2
            end += gap + extent[rank]
        return along

    def centre(self, name: str) -> tuple[float, float]:
        """Position of a node: (along, across)."""
        return self.along[self.ranks[name]], self.lanes[name] * self.pitch

    def half(self, name: str) -> tuple[float, float]:
        """Half of a node's size: (along, across)."""
        width, height = self.sizes[name]
        return (height / 2, width / 2) if self.down else (width / 2, height / 2)

    def point(self, along: float, across: float) -> tuple[float, float]:
        """Inches to the right and up."""
        return (across, -along) if self.down else (along, -across)

    def lane_is_clear(self, lane: float, start: float, stop: float) -> bool:
        """Whether no node lies in `lane` between two ranks."""
        return not any(
            start < self.ranks[name] < stop and abs(self.lanes[name] - lane) < 0.9 for name in self.nodes
        )

    def skip_lane(self, start: float, stop: float) -> float:
        """A lane beside all nodes between two ranks."""
        return max(self.lanes[name] for name in self.nodes if start <= self.ranks[name] <= stop) + 0.72

    def route(self, edge: Edge) -> tuple[list[tuple[float, float]], tuple[float, float]]:
        """Corners of an edge, and where its text goes; both (along, across)."""
        source, target = edge.source, edge.target
        (start, here), (stop, there) = self.centre(source), self.centre(target)
        rank, last = self.ranks[source], self.ranks[target]
        out, into = start + self.half(source)[0], stop - self.half(target)[0]
        if self.lanes[source] == self.lanes[target] and self.lane_is_clear(self.lanes[source], rank, last):
            return [(out, here), (into, there)], ((out + into) / 2, here)
        side = there + np.sign(here - there) * self.half(target)[1]
        if self.lane_is_clear(self.lanes[target], rank, last) and self.lanes[source] != self.lanes[target]:
            if self.nodes[target].kind in _ROUNDS and self.lane_is_clear(self.lanes[source], rank, last):
                return [(out, here), (stop, here), (stop, side)], ((out + stop) / 2 - 0.04, here)
            bend = out + 0.1
            return [(out, here), (bend, here), (bend, there), (into, there)], ((bend + into) / 2, there)
        if self.lane_is_clear(self.lanes[source], rank, last) and self.lanes[source] != self.lanes[target]:
            return [(out, here), (stop, here), (stop, side)], ((out + stop) / 2, here)
        lane = self.skip_lane(rank, last) * self.pitch
        bend = out + 0.1
        side = there + self.half(target)[1]
        points = [(out, here), (bend, here), (bend, lane), (stop, lane), (stop, side)]
        return points, ((bend + stop) / 2, lane)

    def limits(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top of everything, in inches."""
        xs, ys = [], []
        for name in self.nodes:
            x, y = self.point(*self.centre(name))
            width, height = self.sizes[name]
            xs += [x - width / 2, x + width / 2]
            ys += [y - height / 2, y + height / 2]
        for edge in self.diagram.edges:
            points, place = self.route(edge)
            corners = [self.point(*point) for point in points]
            x, y = self.point(*place)
            xs += [corner[0] for corner in corners] + ([x + _width(edge.label, _DETAIL) + 0.06] if self.down else [])
            ys += [corner[1] for corner in corners] + ([] if self.down else [y + 0.13])
        left, right = min(xs) - 0.02, max(xs) + 0.02
        if self.diagram.regions:
            left -= 0.14 + max(_width(region.label, _LABEL) for region in self.diagram.regions)
        texts = [_width(self.diagram.title, _TITLE, "bold"), *(_width(note, _DETAIL) for note in self.diagram.notes)]
        right = max(right, left + max(texts) + 0.05)
        return left, right, min(ys) - 0.05 - _LINE * len(self.diagram.notes) - (0.08 if self.diagram.notes else 0), (
            max(ys) + (0.32 if self.diagram.title else 0.05)
        )


def _place(diagram: Diagram) -> tuple[dict[str, float], dict[str, float]]:
    """Rank and lane of every node: the longest way from the input, and siblings side by side."""
    parents: dict[str, list[str]] = {node.name: [] for node in diagram.nodes}
    children: dict[str, list[str]] = {node.name: [] for node in diagram.nodes}
    for edge in diagram.edges:
        parents[edge.target].append(edge.source)
        children[edge.source].append(edge.target)
    order = [node.name for node in diagram.nodes]
    ranks: dict[str, float] = {}
    for name in order:
        ranks[name] = max((ranks[parent] + 1 for parent in parents[name]), default=0)
    latest: dict[str, float] = {}
    for name in reversed(order):
        latest[name] = min((latest[child] - 1 for child in children[name]), default=max(ranks.values()))
    # A node that could as well come much later is a shortcut and goes to the side.
    shortcuts = [name for name in order if latest[name] - ranks[name] >= 2]
    lanes: dict[str, float] = {}
    for rank in sorted(set(ranks.values())):
        members = [name for name in order if ranks[name] == rank and name not in shortcuts]
        wanted = [_mean([lanes[parent] for parent in parents[name] if parent in lanes]) for name in members]
        for name, lane in zip(members, _spread(wanted), strict=True):
            lanes[name] = lane
    edge_lane = max(lanes.values(), default=0)
    for index, name in enumerate(shortcuts):
        lanes[name] = edge_lane + 1 + index
    for node in diagram.nodes:
        if node.place is not None:
            ranks[node.name], lanes[node.name] = node.place
    return ranks, lanes


def _spread(wanted: list[float]) -> list[float]:
    if all(b - a >= 1 for a, b in zip(wanted, wanted[1:], strict=False)):
        return wanted
    middle = _mean(wanted)
    return [middle + index - (len(wanted) - 1) / 2 for index in range(len(wanted))]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _size(node: Node) -> tuple[float, float]:
    if node.kind in _ROUNDS:
        return 2 * _CIRCLE, 2 * _CIRCLE
    if node.kind == "maps":
        return _SHEET + 0.1 * (_SHEETS - 1), _SHEET + (_LINE if node.label else 0)
    texts = [_width(node.label, _LABEL), _width(node.detail, _DETAIL)]
    chips = _CHIP + 0.02 if node.kind == "stage" and node.dilations else 0
    width = max(*texts, len(node.dilations) * 0.2 if chips else 0, _LEAST_WIDTH - 2 * _PAD) + 2 * _PAD
    lines = 1 + bool(node.detail)
    return width, lines * _LINE + chips + 0.09


def _draw_node(ax: Axes, layout: _Layout, node: Node) -> None:
    x, y = layout.point(*layout.centre(node.name))
    width, height = layout.sizes[node.name]
    style = {"edgecolor": _INK, "linewidth": 0.8, "linestyle": (0, (3, 2)) if node.inferred else "-", "zorder": 3}
    if node.kind in _ROUNDS:
        ax.add_patch(Circle((x, y), _CIRCLE, facecolor=_FILL[node.kind], gid=node.name, **style))
        _text(ax, x, y, node.label, node.name, size=_LABEL + (3 if node.kind == "add" else 0))
        return
    if node.kind == "maps":
        _draw_sheets(ax, x, y, node)
        return
    fill, ink = _colours(node)
    box = FancyBboxPatch(
        (x - width / 2, y - height / 2), width, height, boxstyle=f"round,pad=0,rounding_size={_ROUND}",
        facecolor=fill, gid=node.name, mutation_aspect=1, **style,
    )  # fmt: skip
    ax.add_patch(box)
    chips = node.kind == "stage" and bool(node.dilations)
    lines = [(node.label, _LABEL, "semibold" if node.kind == "stage" else "normal"), (node.detail, _DETAIL, "normal")]
    lines = [line for line in lines if line[0]]
    top = y + (len(lines) * _LINE + (_CHIP + 0.02 if chips else 0)) / 2
    for index, (text, size, weight) in enumerate(lines):
        height = top - _LINE * (index + 0.5)
        _text(ax, x, height, text, f"{node.name} line {index}", size=size, colour=ink, weight=weight)
    if chips:
        _draw_chips(ax, x, top - _LINE * len(lines) - 0.02 - _CHIP / 2, node)


def _draw_chips(ax: Axes, x: float, y: float, node: Node) -> None:
    pitch = 0.2
    for index, rate in enumerate(node.dilations):
        centre = x + (index - (len(node.dilations) - 1) / 2) * pitch
        fill = _dilation_colour(rate)
        ax.add_patch(
            FancyBboxPatch(
                (centre - 0.08, y - _CHIP / 2 + 0.01), 0.16, _CHIP - 0.02, boxstyle="round,pad=0,rounding_size=0.03",
                facecolor=fill, edgecolor="none", gid=f"{node.name} d{rate}", zorder=4,
            )  # fmt: skip
        )
        _text(ax, centre, y, str(rate), f"{node.name} chip {index}", size=_DETAIL, colour=_ink_on(fill))


def _draw_sheets(ax: Axes, x: float, y: float, node: Node) -> None:
    base = y + (_LINE / 2 if node.label else 0)
    for index in range(_SHEETS):
        shift = (index - (_SHEETS - 1) / 2) * 0.05
        corner = (x - _SHEET / 2 - shift, base - _SHEET / 2 + 0.05 - shift)
        sheet = FancyBboxPatch(
            corner, _SHEET, _SHEET - 0.1, boxstyle="round,pad=0,rounding_size=0.015", facecolor=_FILL["maps"],
            edgecolor=_INK, linewidth=0.6, gid=node.name, zorder=3 + 0.1 * index,
        )  # fmt: skip
        ax.add_patch(sheet)
    if node.label:
        _text(ax, x, y - _SHEET / 2 - 0.01, node.label, f"{node.name} line 0")


def _draw_edge(ax: Axes, layout: _Layout, edge: Edge) -> None:
    points, place = layout.route(edge)
    path = _rounded([layout.point(*point) for point in points])
    arrow = FancyArrowPatch(
        path=path, arrowstyle="-|>,head_length=3,head_width=1.6", facecolor=_INK, edgecolor=_INK, linewidth=0.8,
        linestyle=(0, (3, 2)) if edge.inferred else "-", joinstyle="round", capstyle="round",
        gid=f"{edge.source} -> {edge.target}", zorder=2, shrinkA=0, shrinkB=0,
    )  # fmt: skip
    ax.add_patch(arrow)
    if edge.label:
        x, y = layout.point(*place)
        name = f"{edge.source} -> {edge.target} label"
        if layout.down:
            _text(ax, x + 0.04, y, edge.label, name, ha="left", colour=_GREY)
        else:
            _text(ax, x, y + 0.035, edge.label, name, va="bottom", colour=_GREY)


def _draw_region(ax: Axes, layout: _Layout, region: Region) -> None:
    boxes = [(*layout.point(*layout.centre(name)), *layout.sizes[name]) for name in region.nodes]
    if not boxes:
        return
    everything = [layout.point(*layout.centre(name))[0] - layout.sizes[name][0] / 2 for name in layout.nodes]
    edge = min(everything) - 0.07
    low, high = min(y - h / 2 for _, y, _, h in boxes), max(y + h / 2 for _, y, _, h in boxes)
    bracket = Path([(edge + 0.04, high), (edge, high), (edge, low), (edge + 0.04, low)])
    ax.add_patch(PathPatch(bracket, facecolor="none", edgecolor=_GREY, linewidth=0.9, gid=f"region {region.label}"))
    _text(ax, edge - 0.04, (low + high) / 2, region.label, f"region {region.label} label", size=_LABEL, ha="right",
          weight="bold")  # fmt: skip


def _rounded(points: Sequence[tuple[float, float]], radius: float = 0.05) -> Path:
    corners = [np.asarray(point, dtype=float) for point in points]
    vertices, codes = [corners[0]], [Path.MOVETO]
    for before, corner, after in zip(corners, corners[1:], corners[2:], strict=False):
        for neighbour, code in ((before, Path.LINETO), (after, Path.CURVE3)):
            arm = neighbour - corner
            length = float(np.hypot(*arm))
            step = corner + arm / max(length, 1e-9) * min(radius, length / 2)
            if code == Path.CURVE3:
                vertices.append(corner)
                codes.append(code)
            vertices.append(step)
            codes.append(code)
    vertices.append(corners[-1])
    codes.append(Path.LINETO)
    return Path(vertices, codes)


def _text(
    ax: Axes, x: float, y: float, text: str, name: str, *, size: float = _DETAIL, colour: str = _INK,
    ha: str = "center", va: str = "center_baseline", weight: str = "normal", style: str = "normal",
) -> None:  # fmt: skip
    ax.text(x, y, text, fontsize=size, color=colour, ha=ha, va=va, fontweight=weight, fontstyle=style, gid=name, zorder=5)


def _width(text: str, size: float, weight: str = "normal") -> float:
    """Width of a text in inches."""
    if not text:
        return 0.0
    return float(TextPath((0, 0), text, size=size, prop=FontProperties(weight=weight)).get_extents().width) / 72


def _colours(node: Node) -> tuple[str, str]:
    if node.kind == "depthwise" and len(node.dilations) == 1:
        fill = _dilation_colour(node.dilations[0])
        return fill, _ink_on(fill)
    return _FILL.get(node.kind, "#ffffff"), _INK


def _ink_on(fill: str) -> str:
    red, green, blue = (int(fill[index : index + 2], 16) / 255 for index in (1, 3, 5))
    return _INK if 0.3 * red + 0.59 * green + 0.11 * blue > 0.55 else "#ffffff"


def _dilation_colour(rate: int) -> str:
    return {1: "#7f7f7f", 3: "#2f6fb5", 5: "#c23b3b"}.get(rate, "#6f4ea0")
