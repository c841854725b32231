"""Where the boxes and arrows of a diagram go."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from rfkit.plots.diagram import Diagram, Edge, Node

__all__ = ["CHIP", "CIRCLE", "DETAIL", "LABEL", "LINE", "ROUNDS", "SHEET", "SHEETS", "TITLE", "Layout", "text_width"]

# Font sizes in points; all lengths are inches on paper.
LABEL, DETAIL, TITLE = 7.5, 6.5, 8.5
LINE, CHIP, CIRCLE = 0.125, 0.15, 0.085
SHEET, SHEETS = 0.3, 3
_PAD, _LEAST_WIDTH = 0.075, 0.55
_GAP = 0.3

ROUNDS = ("add", "concat")
"""Kinds of nodes drawn as a circle."""


class Layout:
    """Where everything goes. Ranks run along the flow, lanes lie beside each other; both become inches."""

    def __init__(self, diagram: Diagram) -> None:
        self.diagram = diagram
        self.down = diagram.direction == "down"
        self.nodes = {node.name: node for node in diagram.nodes}
        self.sizes = {node.name: _size(node) for node in diagram.nodes}
        self.ranks, self.lanes = _place(diagram)
        self._widen()
        labels = [_label_width(edge.label, self.down) for edge in diagram.edges]
        across = max(size[0 if self.down else 1] for size in self.sizes.values())
        self.pitch = max(across + 0.16, 2 * max(labels, default=0) + 0.16) if self.down else across + 0.24
        gap = _GAP if self.down else max(labels, default=0) + 0.2
        self.along = self._along(gap)

    def _widen(self) -> None:
        """One width for all boxes of a diagram that goes down, one for those of a column in one that goes right."""
        boxes = [node.name for node in self.diagram.nodes if node.kind not in (*ROUNDS, "maps")]
        for name in boxes:
            alike = boxes if self.down else [other for other in boxes if self.ranks[other] == self.ranks[name]]
            self.sizes[name] = (max(self.sizes[other][0] for other in alike), self.sizes[name][1])

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
        return not any(start < self.ranks[name] < stop and abs(self.lanes[name] - lane) < 0.9 for name in self.nodes)

    def skip_lane(self, start: float, stop: float) -> float:
        """A lane beside all nodes between two ranks."""
        return max(self.lanes[name] for name in self.nodes if start <= self.ranks[name] <= stop) + 0.72

    def route(self, edge: Edge) -> tuple[list[tuple[float, float]], tuple[float, float]]:
        """Corners of an edge, and where its text goes; both (along, across)."""
        source, target = edge.source, edge.target
        (start, here), (stop, there) = self.centre(source), self.centre(target)
        rank, last = self.ranks[source], self.ranks[target]
        out, into = start + self.half(source)[0], stop - self.half(target)[0]
        bend = out + 0.1
        if rank == last:
            ends = here + self.half(source)[1], there - self.half(target)[1]
            return [(start, ends[0]), (stop, ends[1])], (start, sum(ends) / 2)
        if self.lanes[source] == self.lanes[target] and self.lane_is_clear(self.lanes[source], rank, last):
            split = sum(other.source == source for other in self.diagram.edges) > 1 and self.down
            return [(out, here), (into, there)], (((bend if split else out) + into) / 2, here)
        side = there + np.sign(here - there) * self.half(target)[1]
        if self.lane_is_clear(self.lanes[target], rank, last) and self.lanes[source] != self.lanes[target]:
            if self.nodes[target].kind in ROUNDS and self.lane_is_clear(self.lanes[source], rank, last):
                return [(out, here), (stop, here), (stop, side)], ((out + stop) / 2 - 0.04, here)
            return [(out, here), (bend, here), (bend, there), (into, there)], ((bend + into) / 2, there)
        if self.lane_is_clear(self.lanes[source], rank, last) and self.lanes[source] != self.lanes[target]:
            return [(out, here), (stop, here), (stop, side)], ((out + stop) / 2, here)
        lane = self.skip_lane(rank, last) * self.pitch
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
            xs += [corner[0] for corner in corners] + ([x + text_width(edge.label, DETAIL) + 0.06] if self.down else [])
            ys += [corner[1] for corner in corners] + ([] if self.down else [y + 0.13])
        left, right = min(xs) - 0.02, max(xs) + 0.02
        if self.diagram.regions:
            left -= 0.14 + max(text_width(region.label, LABEL) for region in self.diagram.regions)
        texts = [
            text_width(self.diagram.title, TITLE, "bold"),
            *(text_width(note, DETAIL) for note in self.diagram.notes),
        ]
        right = max(right, left + max(texts) + 0.05)
        below = LINE * len(self.diagram.notes) + (0.13 if self.diagram.notes else 0.05)
        return left, right, min(ys) - below, max(ys) + (0.32 if self.diagram.title else 0.05)


def _place(diagram: Diagram) -> tuple[dict[str, float], dict[str, float]]:
    """Rank and lane of every node: the longest way from the input, and siblings side by side."""
    parents: dict[str, list[str]] = {node.name: [] for node in diagram.nodes}
    children: dict[str, list[str]] = {node.name: [] for node in diagram.nodes}
    for edge in diagram.edges:
        parents[edge.target].append(edge.source)
        children[edge.source].append(edge.target)
    order = [node.name for node in diagram.nodes]
    # Siblings stand in the order in which the node that joins them reads them.
    turn = {edge.source: index for index, edge in reversed(list(enumerate(diagram.edges)))}
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
        members = sorted(
            (name for name in order if ranks[name] == rank and name not in shortcuts),
            key=lambda name: turn.get(name, len(turn)),
        )
        wanted = [_mean([lanes[parent] for parent in parents[name] if parent in lanes]) for name in members]
        lanes.update(zip(members, _spread(wanted), strict=True))
    edge_lane = max(lanes.values(), default=0)
    for index, name in enumerate(shortcuts):
        lanes[name] = edge_lane + 1 + index
    for node in diagram.nodes:
        if node.place is not None:
            ranks[node.name], lanes[node.name] = node.place
    return ranks, lanes


def _spread(wanted: list[float]) -> list[float]:
    if all(after - before >= 1 for before, after in itertools.pairwise(wanted)):
        return wanted
    middle = _mean(wanted)
    return [middle + index - (len(wanted) - 1) / 2 for index in range(len(wanted))]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _size(node: Node) -> tuple[float, float]:
    if node.kind in ROUNDS:
        return 2 * CIRCLE, 2 * CIRCLE
    if node.kind == "maps":
        return SHEET + 0.1 * (SHEETS - 1), SHEET + (LINE if node.label else 0)
    texts = [text_width(node.label, LABEL), text_width(node.detail, DETAIL)]
    chips = CHIP + 0.02 if node.kind == "stage" and node.dilations else 0
    width = max(*texts, len(node.dilations) * 0.2 if chips else 0, _LEAST_WIDTH - 2 * _PAD) + 2 * _PAD
    lines = 1 + bool(node.detail)
    return width, lines * LINE + chips + 0.09


def _label_width(label: str, down: bool) -> float:
    """Width of an arrow's text, which a flow to the right writes above and below the arrow."""
    return max(text_width(part, DETAIL) for part in ([label] if down else label.split(", ")))


@functools.cache
def text_width(text: str, size: float, weight: str = "normal") -> float:
    """Width of a text in inches, rounded up: a renderer that hints glyphs sets it up to 3 % wider than its outlines."""
    if not text:
        return 0.0
    font = FontProperties(family="DejaVu Sans", size=size, weight=weight)
    return 1.03 * float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]) / 72
