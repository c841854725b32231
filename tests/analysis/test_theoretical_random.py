"""Theoretical receptive fields against gradients, on random networks."""

from __future__ import annotations

import numpy as np
import pytest
from analysis import oracle
from analysis.random_graphs import network
from analysis.random_graphs import networks as random_networks
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from rfkit.analysis.theoretical import trace

# PyTorch warns where padding="same" has to pad unevenly.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
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
@given(random_networks())
def test_table_of_random_networks_agrees_with_their_boxes(drawn) -> None:
    steps, size = drawn
    graph = trace(network(steps), size, global_paths="include")
    output, table = graph.output, graph.table()
    boxes = [_unclipped(output, unit) for unit in oracle.all_units(output.size)]
    for axis, side, number in (("row", "height", 0), ("column", "width", 1)):
        row = table[(table.layer == output.name) & (table.axis == axis)].iloc[-1]
        sides = [getattr(box, side) for box in boxes if box is not None]
        assert row.units == output.size[number]
        if sides and len(sides) == len(boxes):
            assert (row.size_min, row.size_max) == (min(sides), max(sides))
            assert row.path_min <= row.path_max <= row.size_max


def _unclipped(output, unit):
    try:
        box = output[unit]
    except ValueError:
        return None
    inside = box.unclipped or box
    # What lies inside the image is not changed by clipping to it.
    height, width = output.image_size
    assert (max(inside.y0, 0), max(inside.x0, 0)) <= (box.y0, box.x0)
    if inside.y0 >= 0 and inside.y1 < height and inside.x0 >= 0 and inside.x1 < width:
        assert (inside.y0, inside.x0, inside.y1, inside.x1) == (box.y0, box.x0, box.y1, box.x1)
    return inside


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
    output = trace(model, size, global_paths="include").output
    units = oracle.some_units(output.size, 6)
    for unit, paths in zip(units, oracle.gradients(model, size, units, count=True), strict=True):
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
