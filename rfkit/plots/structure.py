"""Structure diagrams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, PathPatch
from matplotlib.path import Path

from rfkit.plots.diagram import Diagram, Edge, Node, Region
from rfkit.plots.layout import CHIP, CIRCLE, DETAIL, LABEL, LINE, ROUNDS, SHEET, SHEETS, TITLE, Layout
from rfkit.plots.styles import dilation_colour

__all__ = ["natural_size", "plot_structure", "plot_structures"]

_ROUND = 0.05
_INK, _GREY = "#2b2b2b", "#666666"
_FILL = {
    "input": "#ffffff", "output": "#ffffff", "conv": "#cfe7dc", "pointwise": "#fbe3b5", "norm": "#eee6f5",
    "activation": "#eee6f5", "pool": "#f3d3c3", "resize": "#dcdff2", "stage": "#e3f0ea", "other": "#ffffff",
    "add": "#ffffff", "concat": "#ffffff", "maps": "#f6efe0",
}  # fmt: skip


def plot_structure(diagram: Diagram, *, ax: Axes | None = None) -> Axes:
    """The axes with the diagram on it, its limits set to the diagram's size in inches.

    Text has its printed size only if the axes are as large as `natural_size` says; smaller axes make it overlap.

    Args:
        diagram: what to draw.
        ax: where; the current axes if None.
    """
    ax = plt.gca() if ax is None else ax
    layout = Layout(diagram)
    for edge in diagram.edges:
        _draw_edge(ax, layout, edge)
    for node in diagram.nodes:
        _draw_node(ax, layout, node)
    for region in diagram.regions:
        _draw_region(ax, layout, region)
    left, right, bottom, top = layout.limits()
    _text(ax, left, top - 0.06, diagram.title, "title", size=TITLE, ha="left", va="top", weight="bold")
    for index, note in enumerate(diagram.notes):
        height = bottom + LINE * (len(diagram.notes) - 1 - index) + 0.03
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
    left, right, bottom, top = Layout(diagram).limits()
    return right - left, top - bottom


def _draw_node(ax: Axes, layout: Layout, node: Node) -> None:
    x, y = layout.point(*layout.centre(node.name))
    width, height = layout.sizes[node.name]
    line = (0, (3, 2)) if node.inferred else "-"
    style: dict[str, Any] = {"edgecolor": _INK, "linewidth": 0.8, "linestyle": line, "zorder": 3}
    if node.kind in ROUNDS:
        ax.add_patch(Circle((x, y), CIRCLE, facecolor=_FILL[node.kind], gid=node.name, **style))
        _text(ax, x, y, node.label, node.name, size=LABEL + (3 if node.kind == "add" else 0))
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
    lines = [(node.label, LABEL, "bold" if node.kind == "stage" else "normal"), (node.detail, DETAIL, "normal")]
    lines = [line for line in lines if line[0]]
    top = y + (len(lines) * LINE + (CHIP + 0.02 if chips else 0)) / 2
    for index, (text, size, weight) in enumerate(lines):
        height = top - LINE * (index + 0.5)
        _text(ax, x, height, text, f"{node.name} line {index}", size=size, colour=ink, weight=weight)
    if chips:
        _draw_chips(ax, x, top - LINE * len(lines) - 0.02 - CHIP / 2, node)


def _draw_chips(ax: Axes, x: float, y: float, node: Node) -> None:
    pitch = 0.2
    for index, rate in enumerate(node.dilations):
        centre = x + (index - (len(node.dilations) - 1) / 2) * pitch
        fill = dilation_colour(rate)
        chip = FancyBboxPatch(
            (centre - 0.08, y - CHIP / 2 + 0.01), 0.16, CHIP - 0.02, boxstyle="round,pad=0,rounding_size=0.03",
            facecolor=fill, edgecolor="none", gid=f"{node.name} d{rate}", zorder=4,
        )  # fmt: skip
        ax.add_patch(chip)
        _text(ax, centre, y, str(rate), f"{node.name} chip {index}", size=DETAIL, colour=_ink_on(fill))


def _draw_sheets(ax: Axes, x: float, y: float, node: Node) -> None:
    base = y + (LINE / 2 if node.label else 0)
    for index in range(SHEETS):
        shift = (index - (SHEETS - 1) / 2) * 0.05
        corner = (x - SHEET / 2 - shift, base - SHEET / 2 + 0.05 - shift)
        sheet = FancyBboxPatch(
            corner, SHEET, SHEET - 0.1, boxstyle="round,pad=0,rounding_size=0.015", facecolor=_FILL["maps"],
            edgecolor=_INK, linewidth=0.6, gid=node.name, zorder=3 + 0.1 * index,
        )  # fmt: skip
        ax.add_patch(sheet)
    if node.label:
        _text(ax, x, y - SHEET / 2 - 0.01, node.label, f"{node.name} line 0")


def _draw_edge(ax: Axes, layout: Layout, edge: Edge) -> None:
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
        if layout.down or layout.ranks[edge.source] == layout.ranks[edge.target]:
            _text(ax, x + 0.05, y, edge.label, name, ha="left", colour=_GREY)
            return
        above, _, below = edge.label.partition(", ")
        _text(ax, x, y + 0.03, above, name, va="bottom", colour=_GREY)
        if below:
            _text(ax, x, y - 0.035, below, f"{name} below", va="top", colour=_GREY)


def _draw_region(ax: Axes, layout: Layout, region: Region) -> None:
    boxes = [(*layout.point(*layout.centre(name)), *layout.sizes[name]) for name in region.nodes]
    if not boxes:
        return
    everything = [layout.point(*layout.centre(name))[0] - layout.sizes[name][0] / 2 for name in layout.nodes]
    edge = min(everything) - 0.07
    low, high = min(y - h / 2 for _, y, _, h in boxes), max(y + h / 2 for _, y, _, h in boxes)
    bracket = Path([(edge + 0.04, high), (edge, high), (edge, low), (edge + 0.04, low)])
    ax.add_patch(PathPatch(bracket, facecolor="none", edgecolor=_GREY, linewidth=0.9, gid=f"region {region.label}"))
    _text(ax, edge - 0.04, (low + high) / 2, region.label, f"region {region.label} label", size=LABEL, ha="right",
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
    ax: Axes, x: float, y: float, text: str, name: str, *, size: float = DETAIL, colour: str = _INK,
    ha: str = "center", va: str = "center_baseline", weight: str = "normal", style: str = "normal",
) -> None:  # fmt: skip
    ax.text(
        x, y, text, fontsize=size, color=colour, ha=ha, va=va, fontweight=weight, fontstyle=style, gid=name, zorder=5
    )


def _colours(node: Node) -> tuple[str, str]:
    if node.kind == "depthwise" and len(node.dilations) == 1:
        fill = dilation_colour(node.dilations[0])
        return fill, _ink_on(fill)
    return _FILL.get(node.kind, "#ffffff"), _INK


def _ink_on(fill: str) -> str:
    red, green, blue = (int(fill[index : index + 2], 16) / 255 for index in (1, 3, 5))
    return _INK if 0.3 * red + 0.59 * green + 0.11 * blue > 0.55 else "#ffffff"
