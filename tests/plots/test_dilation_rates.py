from __future__ import annotations

import itertools
from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex

from rfkit.plots.dilation_rates import _apart, plot_rate_trajectories, plot_rate_trajectories_by_stage
from rfkit.plots.styles import dilation_colour
from rfkit.results.dilation_rates import RateTrajectory


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def trajectory(blocks: int = 2, bound: float = np.inf) -> RateTrajectory:
    layers = [(f"net.stage{stage}.{block}.convs.{i}", f"d{d}", d) for stage in (3, 4) for block in range(blocks)
              for i, d in enumerate((1, 3))]  # fmt: skip
    steps = np.arange(0, 50, 10)
    starts = np.array([rate for *_, rate in layers], float)
    rates = starts + np.linspace(0, 1, len(steps))[:, None] * np.linspace(0.1, 1.4, len(layers))
    names, branches, _ = zip(*layers, strict=True)
    return RateTrajectory(steps, names, branches, rates, np.full(rates.shape, bound))


def _line(ax: plt.Axes, label: str) -> plt.Line2D:
    return next(line for line in ax.lines if line.get_label() == label)


def test_lines_are_the_rates_in_the_colour_of_their_branch() -> None:
    found = trajectory()
    ax = plot_rate_trajectories(found)
    for index, layer in enumerate(found.layers):
        np.testing.assert_array_equal(
            _line(ax, layer).get_xydata(), np.column_stack([found.steps, found.rates[:, index]])
        )
        assert to_hex(_line(ax, layer).get_color()) == dilation_colour(int(found.branches[index][1:]))
        end = _line(ax, f"_end of {layer}")
        assert to_hex(end.get_color()) == dilation_colour(found.rates[-1, index])
    assert ax.get_xlabel() == "training step"
    assert ax.get_ylabel() == "dilation rate (units of the map)"
    assert _line(ax, found.layers[0]).get_linestyle() == "-"
    assert _line(ax, found.layers[1]).get_linestyle() == "--"


def test_few_lines_are_named_at_their_ends_apart_from_each_other() -> None:
    ax = plot_rate_trajectories(trajectory())
    assert {text.get_text() for text in ax.texts} == {
        f"net.stage{stage}.{block} d{rate}" for stage in (3, 4) for block in (0, 1) for rate in (1, 3)
    }
    ax.figure.canvas.draw()
    boxes = sorted((text.get_window_extent() for text in ax.texts), key=lambda box: box.y0)
    assert all(lower.y1 <= upper.y0 + 1 for lower, upper in itertools.pairwise(boxes))
    plt.figure()
    assert not plot_rate_trajectories(trajectory(blocks=3)).texts


def test_names_stay_as_near_to_their_lines_as_they_can() -> None:
    assert _apart(np.array([1.0, 5.0]), 1.0).tolist() == [1, 5]
    assert _apart(np.array([2.0, 2.0, 2.0, 9.0]), 1.0).tolist() == [1, 2, 3, 9]


def test_bounds_are_drawn_where_rates_come_near_them() -> None:
    bounds = [line for line in plot_rate_trajectories(trajectory(bound=4.2)).lines if line.get_label() == "_bound"]
    assert [line.get_ydata()[0] for line in bounds] == [4.2]
    plt.figure()
    assert not any(line.get_label() == "_bound" for line in plot_rate_trajectories(trajectory(bound=40)).lines)


def test_a_panel_for_each_stage_with_one_scale() -> None:
    found = trajectory()
    figure = plot_rate_trajectories_by_stage(found, title="Rates")
    assert [ax.get_title() for ax in figure.axes] == ["net.stage3", "net.stage4"]
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    assert figure.axes[0].get_ylim()[1] > found.rates.max()
    names = [line.get_label() for line in figure.axes[1].lines if not line.get_label().startswith("_")]
    assert names == list(found.layers[4:])
    assert {text.get_text() for text in figure.axes[0].texts} == {"0 d1", "0 d3", "1 d1", "1 d3"}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["branch d1", "branch d3"]
    assert len(plot_rate_trajectories_by_stage(found, columns=1).axes) == 2
    with pytest.raises(ValueError, match="columns=0 must be above 0"):
        plot_rate_trajectories_by_stage(found, columns=0)


def test_a_single_point_can_be_drawn() -> None:
    found = trajectory()
    first = RateTrajectory(found.steps[:1], found.layers, found.branches, found.rates[:1], found.bounds[:1])
    assert plot_rate_trajectories(first).get_xlim() == (0, 1)
