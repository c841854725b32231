"""Fig. 2, 3, 4, 6 and 7 say what the built modules do, and nothing in them overlaps."""

from __future__ import annotations

import functools
from itertools import combinations
from pathlib import Path
from types import ModuleType

import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.patches import FancyBboxPatch
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from torch import Tensor, nn

from rfkit.models.registry import create_model
from rfkit.paper import (
    fig1_tradeoff,
    fig2_two_steps,
    fig3_network,
    fig4_modules,
    fig6_stem_head,
    fig7_competing_branches,
)
from rfkit.paper.context import Context
from rfkit.paper.describe import describe
from rfkit.plots.diagram import Diagram
from rfkit.plots.styles import dilation_colour, style
from rfkit.results.base import Result


def flow(diagram: Diagram) -> list[tuple[str, str, str]]:
    """Edges as (text of the source, text of the target, text on the arrow)."""
    texts = {node.name: f"{node.label} {node.detail}".strip() for node in diagram.nodes}
    return [(texts[edge.source], texts[edge.target], edge.label) for edge in diagram.edges]


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return create_model("dwrseg_l", seed=0)


@functools.cache
def built(module: ModuleType) -> Result:
    """What a figure is drawn from; described once for all tests."""
    return module.compute(Context(out=Path("nowhere")))


def test_dwr_module_is_the_papers() -> None:
    dwr, _ = built(fig4_modules).diagrams
    conv, merge = "3×3 Conv BN, ReLU", "1×1 Conv"
    branches = ["3×3 DConv D-1", "3×3 DConv D-3", "3×3 DConv D-5"]
    assert sorted(flow(dwr)) == sorted(
        [
            ("Input", conv, "c"),
            *((conv, branch, "c/2") for branch in branches),
            (branches[0], "C", "c"),
            (branches[1], "C", "c/2"),
            (branches[2], "C", "c/2"),
            ("C", "BN", "2c"),
            ("BN", merge, "2c"),
            (merge, "+", "c"),
            ("Input", "+", "c"),
            ("+", "Output", "c"),
        ]
    )
    assert {region.label: len(region.nodes) for region in dwr.regions} == {"RR": 1, "SR": 5}


def test_sir_module_is_the_papers() -> None:
    _, sir = built(fig4_modules).diagrams
    assert sorted(flow(sir)) == sorted(
        [
            ("Input", "3×3 Conv BN, ReLU", "c"),
            ("3×3 Conv BN, ReLU", "1×1 Conv", "3c"),
            ("1×1 Conv", "+", "c"),
            ("Input", "+", "c"),
            ("+", "Output", "c"),
        ]
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"dilations": ((1, 3), (1, 3, 5, 7))}, ("3×3 Conv BN, ReLU", "3×3 DConv D-7", "c/2")),
        ({"semantic_activation": "relu"}, ("C", "BN ReLU", "2c")),
        ({"semantic_norm": False}, ("C", "1×1 Conv", "2c")),
        ({"activation": "none"}, ("Input", "3×3 Conv BN", "c")),
        ({"activation": "prelu"}, ("Input", "3×3 Conv BN, PReLU", "c")),
        ({"region_norm": False}, ("Input", "3×3 Conv ReLU", "c")),
        ({"merge_norm": True}, ("BN", "1×1 Conv BN", "2c")),
        ({"alpha": (1, 1, 1)}, ("C", "BN", "3c/2")),
        ({"beta": 3.0}, ("3×3 Conv BN, ReLU", "3×3 DConv D-5", "c")),
        ({"multiple": True}, ("3×3 Conv BN, ReLU", "3×3 DConv D-5", "3c/2")),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_another_option_gives_another_diagram(options: dict, expected: tuple[str, str, str]) -> None:
    small = create_model("dwrseg_l", blocks=(1, 1, 2), seed=0, **options)
    dwr, _ = fig4_modules.structure(small).diagrams
    assert expected in flow(dwr)
    assert expected not in flow(built(fig4_modules).diagrams[0])


def test_number_of_branches_is_in_the_title() -> None:
    small = create_model("dwrseg_l", blocks=(1, 1, 2), dilations=((1, 3), (1, 3, 5, 7)))
    assert fig4_modules.structure(small).diagrams[0].title == "(a) DWR module, four branches"


def test_one_step_reads_one_map_and_two_steps_read_their_own() -> None:
    one, two = built(fig2_two_steps).diagrams
    readers = {edge.target for edge in one.edges if edge.source == one.nodes[0].name}
    assert {node.kind for node in one.nodes if node.name in readers} == {"depthwise"}
    assert len(readers) == 3
    kinds = {node.name: node.kind for node in two.nodes}
    sources = [edge.source for edge in two.edges if kinds[edge.target] == "depthwise"]
    assert [kinds[source] for source in sources] == ["maps"] * 3
    assert len(set(sources)) == 3


def test_probe_module_shares_one_region_map() -> None:
    (diagram,) = built(fig7_competing_branches).diagrams
    edges = flow(diagram)
    for rate in (1, 3, 5):
        assert ("3×3 Conv BN, ReLU", f"3×3 DConv D-{rate}", "c") in edges
        assert (f"3×3 DConv D-{rate}", "C", "c") in edges
    assert ("C", "BN", "3c") in edges
    assert [node.name for node in diagram.nodes if node.inferred] == ["region.conv"]


def test_stem_and_head() -> None:
    stem, head = built(fig6_stem_head).diagrams
    edges = flow(stem)
    assert ("Image", "3×3 Conv stride 2, BN", "3") in edges
    assert ("3×3 Conv stride 2, BN", "1×1 Conv BN, ReLU", "c, 1/2") in edges
    assert ("1×1 Conv BN, ReLU", "3×3 MPooling stride 2", "c/2, 1/2") in edges
    assert all(node.inferred for node in stem.nodes if node.kind in ("conv", "pointwise", "pool"))
    assert any("inferred" in note for note in stem.notes)
    assert flow(head) == [
        ("Feature maps", "3×3 Conv BN, ReLU", "5c, 1/8"),
        ("3×3 Conv BN, ReLU", "1×1 Conv", "2c, 1/8"),
        ("1×1 Conv", "Upsample ×8", "N, 1/8"),
        ("Upsample ×8", "Prediction", "N"),
    ]


def test_the_other_stem_gives_another_diagram() -> None:
    narrow = create_model("dwrseg_l", blocks=(1, 1, 1), stem="narrow")
    stem, _ = fig6_stem_head.structure(narrow).diagrams
    assert ("3×3 Conv stride 2, BN", "3×3 MPooling stride 2", "c/2, 1/2") in flow(stem)


def test_network_says_stages_and_their_joins(model: nn.Module) -> None:
    (diagram,) = built(fig3_network).diagrams
    stages = [(node.label, node.dilations) for node in diagram.nodes if node.kind == "stage"]
    assert stages == [("Stem", ()), ("SIR × 8", ()), ("DWR × 8", (1, 3)), ("DWR × 3", (1, 3, 5))]
    edges = {(edge.source, edge.target): edge.label for edge in diagram.edges}
    for before, after in (("stem", "stage2"), ("stage2", "stage3"), ("stage3", "stage4")):
        stage = next(stage for stage in model.stages if stage.name == before)
        assert edges[before, after] == f"{stage.channels}, 1/{stage.output_stride}"
    (join,) = (node.name for node in diagram.nodes if node.kind == "concat")
    joined = sorted(edge.label for edge in diagram.edges if edge.target == join)
    assert joined == ["128, 1/8", "128, 1/8", "64, 1/8"]
    assert {(edge.source, edge.target) for edge in diagram.edges if edge.inferred} == {
        ("stem", "stage2"), ("stage2", "stage3"), ("stage3", "stage4"),
    }  # fmt: skip


def test_network_follows_the_model() -> None:
    small = create_model("dwrseg_l", blocks=(2, 1, 1), dilations=((1, 2), (1, 3, 7)))
    (diagram,) = fig3_network.structure(small).diagrams
    stages = [(node.label, node.dilations) for node in diagram.nodes if node.kind == "stage"]
    assert stages[1:] == [("SIR × 2", ()), ("DWR × 1", (1, 2)), ("DWR × 1", (1, 3, 7))]


class _Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.conv(self.conv(x))) * x


def test_any_module_can_be_described() -> None:
    diagram = describe(_Odd(), (4, 8, 8), base=4)
    assert flow(diagram) == [
        ("Input", "3×3 Conv 2 groups", "c"),
        ("3×3 Conv 2 groups", "3×3 Conv 2 groups", "c"),
        ("3×3 Conv 2 groups", "sigmoid", "c"),
        ("sigmoid", "mul", "c"),
        ("Input", "mul", "c"),
        ("mul", "Output", "c"),
    ]


def test_describing_leaves_the_module_as_found(model: nn.Module) -> None:
    block = model.stage4[1].train()
    before = {name: value.clone() for name, value in block.state_dict().items()}
    describe(block, (128, 8, 8))
    assert block.training
    assert all(torch.equal(value, before[name]) for name, value in block.state_dict().items())


FIGURES = [fig2_two_steps, fig3_network, fig4_modules, fig6_stem_head, fig7_competing_branches]


@pytest.mark.parametrize("module", [fig1_tradeoff, *FIGURES], ids=lambda module: module.NAME)
def test_no_text_overlaps_and_all_of_it_fits(module: ModuleType) -> None:
    with style():
        figure = module.draw(built(module))
        figure.set_dpi(200)
        figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    texts = [text for ax in figure.axes for text in ax.texts if text.get_text()]
    boxes = [(text.get_gid(), Text.get_window_extent(text, renderer)) for text in texts]
    assert len(boxes) > 4
    for (one, box), (other, second) in combinations(boxes, 2):
        assert not _overlap(box, second), f"{one!r} overlaps {other!r}"
    page = figure.bbox
    for name, box in boxes:
        assert _inside(box, page), name
    assert figure.get_size_inches()[0] <= 7.0, "wider than two columns"
    if module in FIGURES:
        for ax in figure.axes:
            _check_boxes(ax, renderer)
    plt.close(figure)


def _check_boxes(ax: Axes, renderer: object) -> None:
    """Lines stand inside their own box, texts of arrows outside all boxes."""
    boxes = [(text.get_gid(), text.get_window_extent(renderer)) for text in ax.texts if text.get_text()]
    for patch in ax.patches:
        if not isinstance(patch, FancyBboxPatch):
            continue
        frame = patch.get_window_extent(renderer)
        for name, box in boxes:
            if name.startswith(f"{patch.get_gid()} line"):
                assert _inside(box, frame) or _is_map(ax, patch), f"{name} does not fit its box"
            elif " -> " in name:
                assert not _overlap(box, frame), f"{name} lies on {patch.get_gid()}"


def _is_map(ax: Axes, patch: FancyBboxPatch) -> bool:
    """A stack of feature maps has its label below, not inside."""
    return sum(other.get_gid() == patch.get_gid() for other in ax.patches) > 1


def _inside(box: Bbox, frame: Bbox) -> bool:
    return bool(frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1)


def _overlap(one: Bbox, other: Bbox) -> bool:
    slack = 0.5
    return (
        min(one.x1, other.x1) - max(one.x0, other.x0) > slack and min(one.y1, other.y1) - max(one.y0, other.y0) > slack
    )


def test_a_depthwise_convolution_has_the_colour_of_its_rate() -> None:
    figure = fig4_modules.draw(built(fig4_modules))
    fills = {patch.get_gid(): to_hex(patch.get_facecolor()) for patch in figure.axes[0].patches}
    for index, rate in enumerate((1, 3, 5)):
        assert fills[f"semantic.branches.convs.{index}"] == dilation_colour(rate)
