"""Structure diagrams: where things go, and that the picture holds what the description says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib import pyplot as plt
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch

from rfkit.plots.diagram import Diagram, Edge, Node, Region, Structure
from rfkit.plots.layout import Layout, text_width
from rfkit.plots.structure import natural_size, plot_structure, plot_structures
from rfkit.results.base import Result


def residual(*rates: int) -> Diagram:
    """Input, one branch for each rate, concatenation, sum with the input."""
    branches = tuple(Node(f"d{rate}", "DConv", "depthwise", f"D-{rate}", (rate,)) for rate in rates)
    nodes = (Node("in", "Input", "input"), *branches, Node("cat", "C", "concat"), Node("add", "+", "add"))
    edges = [Edge("in", node.name, "c") for node in branches] + [Edge(node.name, "cat", "c") for node in branches]
    edges += [Edge("cat", "add", f"{len(rates)}c"), Edge("in", "add", "c")]
    return Diagram("A block", nodes, tuple(edges), (Region("SR", tuple(node.name for node in branches)),), ("a note",))


@pytest.fixture
def ax() -> plt.Axes:
    figure = plt.figure()
    yield figure.add_subplot()
    plt.close(figure)


def test_branches_stand_side_by_side_in_the_order_they_are_joined() -> None:
    diagram = residual(1, 3, 5)
    layout = Layout(diagram)
    assert [layout.lanes[name] for name in ("d1", "d3", "d5")] == [-1, 0, 1]
    assert {layout.ranks[name] for name in ("d1", "d3", "d5")} == {1}
    assert layout.lanes["cat"] == layout.lanes["add"] == layout.lanes["in"] == 0
    turned = replace(diagram, edges=diagram.edges[:3] + diagram.edges[3:6][::-1] + diagram.edges[6:])
    assert [Layout(turned).lanes[name] for name in ("d1", "d3", "d5")] == [1, 0, -1]


def test_a_shortcut_goes_around_everything_it_passes() -> None:
    layout = Layout(residual(1, 3, 5))
    points, _ = layout.route(Edge("in", "add"))
    outermost = max(across for _, across in points)
    right = layout.centre("d5")[1] + layout.half("d5")[1]
    assert outermost > right
    points, _ = layout.route(Edge("in", "d3"))
    assert len(points) == 2


def test_a_node_on_a_shortcut_stands_beside_the_branches() -> None:
    diagram = residual(1, 3)
    node = Node("shortcut", "1×1 Conv", "pointwise")
    edges = (*diagram.edges[:-1], Edge("in", "shortcut"), Edge("shortcut", "add"))
    nodes = (*diagram.nodes[:-1], node, diagram.nodes[-1])
    long = replace(diagram, nodes=nodes, edges=(*edges, Edge("cat", "more"), Edge("more", "add")))
    long = replace(long, nodes=(*nodes[:-1], Node("more", "BN", "norm"), nodes[-1]))
    lanes = Layout(long).lanes
    assert (lanes["d1"], lanes["d3"]) == (-0.5, 0.5)
    assert lanes["shortcut"] == 1.5


def test_everything_described_is_drawn_once(ax: plt.Axes) -> None:
    diagram = residual(1, 3, 5)
    plot_structure(diagram, ax=ax)
    boxes = [patch.get_gid() for patch in ax.patches if isinstance(patch, FancyBboxPatch)]
    circles = [patch.get_gid() for patch in ax.patches if isinstance(patch, Circle)]
    arrows = [patch.get_gid() for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    assert sorted(boxes) == ["d1", "d3", "d5", "in"]
    assert sorted(circles) == ["add", "cat"]
    assert sorted(arrows) == sorted(f"{edge.source} -> {edge.target}" for edge in diagram.edges)
    texts = {text.get_gid(): text.get_text() for text in ax.texts}
    assert texts["title"] == "A block"
    assert texts["note 0"] == "a note"
    assert texts["region SR label"] == "SR"
    assert texts["d3 line 1"] == "D-3"
    assert texts["cat -> add label"] == "3c"


def test_what_is_inferred_is_dashed(ax: plt.Axes) -> None:
    diagram = residual(1, 3)
    nodes = tuple(replace(node, inferred=node.name == "d1") for node in diagram.nodes)
    edges = tuple(replace(edge, inferred=edge.target == "cat") for edge in diagram.edges)
    plot_structure(replace(diagram, nodes=nodes, edges=edges), ax=ax)
    dashed = {patch.get_gid() for patch in ax.patches if patch.get_linestyle() not in ("-", "solid")}
    assert dashed == {"d1", "d1 -> cat", "d3 -> cat"}


def test_stages_show_a_chip_for_each_rate(ax: plt.Axes) -> None:
    stage = Node("stage4", "DWR × 3", "stage", "stage 4", (1, 3, 5))
    plot_structure(Diagram("", (stage,), ()), ax=ax)
    assert [patch.get_gid() for patch in ax.patches] == ["stage4", "stage4 d1", "stage4 d3", "stage4 d5"]


def test_a_diagram_has_its_natural_size_in_a_figure() -> None:
    diagrams = (residual(1, 3, 5), residual(1))
    figure = plot_structures(diagrams)
    width, height = figure.get_size_inches()
    for ax, diagram in zip(figure.axes, diagrams, strict=True):
        box = ax.get_position()
        assert (box.width * width, box.height * height) == pytest.approx(natural_size(diagram))
        (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
        assert (right - left, top - bottom) == pytest.approx(natural_size(diagram))
    plt.close(figure)


def test_boxes_are_as_wide_as_their_longest_text() -> None:
    diagram = residual(1)
    wide = replace(diagram, nodes=(replace(diagram.nodes[0], label="a rather long text"), *diagram.nodes[1:]))
    assert Layout(wide).sizes["d1"][0] > text_width("a rather long text", 7.5)
    assert Layout(diagram).sizes["d1"][0] < text_width("a rather long text", 7.5)


def test_a_flow_to_the_right_writes_channels_above_and_size_below(ax: plt.Axes) -> None:
    nodes = (Node("a", "A", "conv"), Node("b", "B", "conv"))
    diagram = Diagram("", nodes, (Edge("a", "b", "64, 1/8"),), direction="right")
    plot_structure(diagram, ax=ax)
    layout = Layout(diagram)
    assert layout.point(*layout.centre("b"))[0] > layout.point(*layout.centre("a"))[0]
    texts = {text.get_gid(): text for text in ax.texts}
    assert texts["a -> b label"].get_text() == "64"
    assert texts["a -> b label below"].get_text() == "1/8"
    assert texts["a -> b label"].get_position()[1] > texts["a -> b label below"].get_position()[1]


def test_a_structure_is_stored_and_listed(tmp_path: Path) -> None:
    structure = Structure((residual(1, 3, 5),))
    assert Result.load(structure.save(tmp_path / "structure.npz")) == structure
    frame = structure.to_frame()
    assert len(frame) == 6 + 8
    branch = frame[frame["name"] == "d3"].iloc[0]
    assert (branch["kind"], branch["dilations"], branch["diagram"]) == ("depthwise", "3", "A block")
    assert set(frame.loc[frame["target"] == "cat", "source"]) == {"d1", "d3", "d5"}
