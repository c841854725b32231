"""Theoretical receptive fields against gradients, on random networks."""

from __future__ import annotations

import numpy as np
import pytest
from analysis import oracle
from analysis.random_graphs import CHANNELS, network
from analysis.random_graphs import networks as random_networks
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from rfkit.analysis.theoretical import trace

# PyTorch warns where padding="same" has to pad unevenly.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(random_networks())
def test_boxes_and_supports_of_random_networks_are_those_of_gradients(drawn) -> None:
    steps, size = drawn
    model = network(steps)
    output = trace(model, size, global_paths="include").output
    assert output.size == oracle.map_size(model, size)
    assert output.status == "exact"
    units = oracle.some_units(output.size, 8)
    assert oracle.disagreements(output, oracle.gradients(model, size, units), units) == []


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(random_networks(most=3, depth=1), st.data())
def test_units_reached_by_a_pixel_of_random_networks_are_those_of_gradients(drawn, data) -> None:
    steps, size = drawn
    model = network(steps)
    output = trace(model, size, global_paths="include").output
    units = oracle.all_units(oracle.map_size(model, size))
    if len(units) > 200:
        return
    reached = oracle.gradients(model, size, units, batch=200) > 0
    row, column = data.draw(st.integers(0, size[0] - 1)), data.draw(st.integers(0, size[1] - 1))
    expected = oracle.extent(reached[:, row, column].reshape(output.size))
    if expected is None:
        with pytest.raises(ValueError, match="no unit"):
            output.units_reached_by(row, column)
    else:
        box = output.units_reached_by(row, column)
        assert (box.y0, box.x0, box.y1, box.x1) == expected


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(random_networks(wrapping=False))
def test_table_of_random_networks_agrees_with_their_boxes(drawn) -> None:
    steps, size = drawn
    # Views have no row, a convolution has.
    graph = trace(nn.Sequential(network(steps), nn.Conv2d(CHANNELS, 2, 1)), size, global_paths="include")
    output, table = graph.output, graph.table()
    boxes = [output[unit] for unit in oracle.all_units(output.size) if _is_reached(output, unit)]
    for axis, number in (("row", 0), ("column", 1)):
        row = table[(table.layer == "1") & (table.axis == axis)].iloc[-1]
        assert row.units == output.size[number]
        assert row.is_global == output.is_global
        whole = [(box.unclipped or box) for box in boxes]
        sides = [(box.height, box.width)[number] for box in whole]
        if len(boxes) == output.size[0] * output.size[1]:
            assert (row.size_min, row.size_max) == (min(sides), max(sides))
            first = (whole[0].y0, whole[0].x0)[number]
            assert (row.start, row.centre) == (first, first + (sides[0] - 1) / 2)


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(random_networks(wrapping=False))
def test_a_path_is_no_wider_than_the_field_it_belongs_to(drawn) -> None:
    steps, size = drawn
    table = trace(network(steps), size, global_paths="include").table()
    assert (table.path_min <= table.path_max).all()
    assert (table.path_max <= table.size_max).all()
    assert (table[table.size_min > 0].path_min <= table[table.size_min > 0].size_min).all()


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(random_networks(wrapping=False))
def test_a_clipped_box_lies_inside_the_unclipped_one(drawn) -> None:
    steps, size = drawn
    output = trace(network(steps), size, global_paths="include").output
    for unit in oracle.some_units(output.size, 20):
        if not _is_reached(output, unit):
            continue
        box = output[unit]
        whole = box.unclipped or box
        assert whole.y0 <= box.y0 <= box.y1 <= whole.y1
        assert whole.x0 <= box.x0 <= box.x1 <= whole.x1


def _is_reached(output, unit: tuple[int, int]) -> bool:
    try:
        output[unit]
    except ValueError:
        return False
    return True


# Numbers of paths, in networks with one channel.


@st.composite
def _single_channel(draw: st.DrawFn) -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(3, 1, 3, padding=1)]
    for _ in range(draw(st.integers(1, 4))):
        kernel, dilation, stride = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
        layers += draw(
            st.sampled_from(
                [
                    [nn.Conv2d(1, 1, kernel, stride, dilation * (kernel // 2), dilation)],
                    [nn.ConvTranspose2d(1, 1, kernel, stride, 0)],
                    [nn.MaxPool2d(kernel, stride, kernel // 2)],
                    [nn.Upsample(scale_factor=2, mode="bilinear")],
                    [nn.BatchNorm2d(1), nn.ReLU()],
                    [Residual(kernel // 2, dilation)],
                ]
            )
        )
    return nn.Sequential(*layers)


class Residual(nn.Module):
    def __init__(self, half: int, dilation: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 1, 2 * half + 1, padding=half * dilation, dilation=dilation)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.convolution(features)


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(_single_channel())
def test_numbers_of_paths_are_gradients_of_a_network_of_ones(model: nn.Module) -> None:
    size = (21, 18)
    output = trace(model, size).output
    units = oracle.some_units(output.size, 6)
    for unit, paths in zip(units, oracle.gradients(model, size, units, count=True), strict=True):
        if not paths.any():
            with pytest.raises(ValueError, match="no pixel"):
                output.support(*unit)
            continue
        support = output.support(*unit)
        np.testing.assert_allclose(np.exp(support.log_paths), paths[support.box.slices()], rtol=1e-9)


def test_numbers_of_paths_beyond_the_range_of_floats_are_finite_logarithms() -> None:
    model = nn.Sequential(nn.Conv2d(3, 1, 3, padding=1), *(nn.Conv2d(1, 1, 3, padding=1) for _ in range(399)))
    support = trace(model, (24, 24)).output.support(12, 12)
    # 9 ** 400 is about 10 ** 381; the walk is confined to 24 rows and columns.
    assert support.log_paths.max() > np.log(np.finfo(float).max) / 2
    assert np.isfinite(support.log_paths).all()
    # The walks along rows and columns are independent, so the logarithms add up.
    walks = np.eye(24)[12]
    scale = 0.0
    step = np.eye(24) + np.eye(24, k=1) + np.eye(24, k=-1)
    for _ in range(400):
        walks = walks @ step
        scale += np.log(walks.sum())
        walks = walks / walks.sum()
    expected = 2 * scale + np.log(walks)[:, None] + np.log(walks)[None, :]
    np.testing.assert_allclose(support.log_paths, expected, rtol=1e-9)
