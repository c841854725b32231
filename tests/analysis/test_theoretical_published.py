"""Published sizes of theoretical receptive fields, and closed forms."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from analysis import networks, oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rfkit.analysis.theoretical import trace
from rfkit.models.registry import create_model

GOLDEN = tomllib.loads((Path(__file__).parents[1] / "golden" / "receptive_fields.toml").read_text(encoding="utf-8"))
SLIM = {
    "alexnet_v2": networks.alexnet_v2,
    "vgg_a": networks.vgg_a,
    "vgg_16": networks.vgg_16,
    "mobilenet_v1": networks.mobilenet_v1,
    "resnet_v1_50": lambda: networks.resnet_50("slim"),
    "resnet_v1_101": lambda: networks.ResNet((3, 4, 23, 3), layout="slim"),
    "resnet_v1_152": lambda: networks.resnet_152("slim"),
}


@pytest.mark.parametrize("name", sorted(SLIM))
def test_published_sizes_strides_and_starts(name: str) -> None:
    side = GOLDEN["slim"]["resolution"]
    graph = trace(SLIM[name](), (side, side))
    for layer, (size, stride, start) in GOLDEN["slim"][name].items():
        box = graph[layer][0, 0].unclipped or graph[layer][0, 0]
        assert [(box.y0, box.height), (box.x0, box.width)] == [(start, size)] * 2, layer
        assert graph[layer].output_stride == (stride, stride)
        assert graph[layer].pixel(0, 0) == (start + (size - 1) / 2,) * 2


@pytest.mark.parametrize("name", sorted(set(SLIM) - {"resnet_v1_152"}))
def test_published_sizes_hold_at_another_image_size(name: str) -> None:
    graph = trace(SLIM[name](), (321, 449))
    table = graph.table()
    for layer, (size, stride, _start) in GOLDEN["slim"][name].items():
        box = graph[layer][1, 2].unclipped or graph[layer][1, 2]
        assert (box.height, box.width) == (size, size)
        rows = table[table.layer == layer]
        assert set(rows.size_max) <= {size}
        assert set(rows.output_stride) <= {stride}


def test_resnet_50_with_the_stride_in_the_3x3_has_427_pixels() -> None:
    output = trace(networks.resnet_50("common"), (512, 512)).output
    assert output[8, 8].height == output[8, 8].width == GOLDEN["resnet_50_common"]["size"]
    assert output.support(8, 8).coverage == 1


def test_resnet_50_with_the_stride_in_the_1x1_has_483_pixels_and_holes() -> None:
    output = trace(networks.resnet_50("original"), (512, 512)).output
    assert output[8, 8].height == 483
    assert output.status == "exact"


@pytest.mark.parametrize("row", GOLDEN["regseg"]["rows"], ids=lambda row: str(row["size"]))
def test_published_fields_of_view_of_regseg(row: dict) -> None:
    output = trace(networks.RegSegBody(row["dilations"]), (256, 512)).output
    box = output[8, 16].unclipped
    assert (box.height, box.width) == (row["size"], row["size"])


def test_the_built_regseg_has_the_published_field_of_view() -> None:
    graph = trace(create_model("regseg", num_classes=19), (512, 1024))
    table = graph.table()
    sixteenth = table[(table.output_stride == 16) & (table.units == 32)]
    assert sixteenth.size_max.max() == 3807
    assert sixteenth.is_global.any()


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (networks.vgg_16, 212),
        (networks.mobilenet_v1, 315),
        (SLIM["resnet_v1_50"], 483),
        (networks.resnet_50, 427),
        (lambda: networks.RegSegBody(GOLDEN["regseg"]["rows"][3]["dilations"]), 2207),
    ],
    ids=["vgg_16", "mobilenet_v1", "resnet_50_slim", "resnet_50", "regseg"],
)
def test_gradients_have_the_published_sizes_too(make, size: int) -> None:
    """On an image wide enough for the whole field, which tells whether the network here is the one of the source."""
    model, image = make(), (32, 32 * (size // 16))
    height, width = oracle.map_size(model, image)
    _, first, _, last = oracle.extent(oracle.reached(model, image, (height // 2, width // 2)))
    assert last - first + 1 == size


# Closed forms.


@pytest.mark.parametrize("number", [1, 2, 7, 40])
def test_a_stack_of_3x3_convolutions_has_2n_plus_1(number: int) -> None:
    model = nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(number)))
    table = trace(model, (32, 48)).table()
    for position in range(number):
        rows = table[table.layer == str(position)]
        assert set(rows.size_min) == set(rows.size_max) == {2 * position + 3}
        assert set(rows.coverage) == {1}


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8))
@settings(max_examples=15, deadline=None, derandomize=True, database=None)
def test_a_dilation_of_r_adds_2r(rates: list[int]) -> None:
    model = nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=rate, dilation=rate) for rate in rates))
    box = trace(model, (32, 32)).output[16, 16].unclipped
    assert box.height == box.width == 1 + 2 * sum(rates)
    assert box.centre == (16, 16)


@given(
    st.lists(st.tuples(st.integers(1, 7), st.integers(1, 3), st.integers(1, 4), st.booleans()), min_size=1, max_size=7)
)
@settings(max_examples=30, deadline=None, derandomize=True, database=None)
def test_the_recursion_of_kernels_and_strides(layers: list[tuple[int, int, int, bool]]) -> None:
    size, stride, start = 1, 1, 0
    modules = []
    for kernel, step, rate, pool in layers:
        if pool:
            kernel, rate = max(kernel, 2), 1
            modules.append(nn.MaxPool2d(kernel, step, kernel // 2))
            start -= stride * (kernel // 2)
        else:
            reach = rate * (kernel - 1)
            modules.append(nn.Conv2d(3, 3, kernel, step, reach, rate))
            start -= stride * reach
        size += stride * rate * (kernel - 1)
        stride *= step
    table = trace(nn.Sequential(*modules), (400, 410)).table()
    last = table[table.layer == str(len(layers) - 1)]
    # One unit has no stride to be seen.
    assert set(last.size_min) == set(last.size_max) == set(last.path_min) == set(last.path_max) == {size}
    assert set(last.start) == {start}
    assert set(last[last.units > 1].output_stride) <= {stride}
    assert set(last.aligned) == {True}
    assert (last.covers_input == (last.size_max > last.axis.map({"row": 400, "column": 410}))).all()


def test_branches_give_the_hull_and_the_least_and_most_over_paths() -> None:
    row = trace(networks.ESPLike((1, 2, 4)), (40, 40)).table().iloc[-1]
    assert (row.size_min, row.size_max, row.path_min, row.path_max) == (9, 9, 3, 9)
    assert row.aligned


def test_branches_whose_centres_differ_are_not_aligned() -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.even, self.odd = nn.Conv2d(3, 3, 2, 2), nn.Conv2d(3, 3, 3, 2, 1)

        def forward(self, image):
            return self.even(image) + self.odd(image)

    row = trace(Shifted(), (40, 40)).table().iloc[-1]
    # Pixels 0 and 1 by one branch, -1 to 1 by the other.
    assert (row.size_max, row.start, row.path_min, row.path_max) == (3, -1, 2, 3)
    assert not row.aligned


def test_sizes_after_upsampling_repeat_with_a_period() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 3, 3, 2, 1), nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(3, 3, 3, padding=1)
    )
    graph = trace(model, (64, 64))
    row = graph.table().iloc[-1]
    # Units 2 i and 2 i + 1 hold value i, pixels 2 i - 1 to 2 i + 1; a unit reads its neighbours' values as well.
    assert [graph.output[20, unit].width for unit in (20, 21)] == [5, 5]
    assert (graph.output[20, 20].x0, graph.output[20, 21].x0) == (17, 19)
    assert (row.size_min, row.size_max, row.period) == (5, 5, 2)
