"""The figures of an advice, read off their artists."""

from __future__ import annotations

import dataclasses

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from rfkit.plots.advice import plot_advice, plot_branch_shares, plot_removal_costs, plot_stage_evidence
from rfkit.plots.styles import dilation_colour
from rfkit.results.advice import Advice


def _named(ax: Axes, name: str) -> list:
    return [line for line in ax.lines if line.get_label() == name]


def test_costs_are_drawn_in_points_with_their_intervals(advice: Advice) -> None:
    _, ax = plt.subplots()
    assert plot_removal_costs(advice, "stride4", ax=ax) is ax
    values = [float(line.get_xdata()[0]) for line in _named(ax, "_value")]
    assert values == pytest.approx([10, 10, 3, 3, 0, 0])
    assert list(_named(ax, "_interval")[0].get_xdata()) == pytest.approx([8, 12])
    assert [to_hex(line.get_color()) for line in _named(ax, "_value")][::2] == [dilation_colour(d) for d in (1, 3, 5)]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["d1", "d3", "d5"]
    assert "points of mIoU" in ax.get_xlabel()
    # The first rate is at the top, and no two trainings lie on each other.
    assert ax.yaxis_inverted()
    assert len({float(line.get_ydata()[0]) for line in _named(ax, "_value")}) == 6
    plt.close("all")


def test_shares_stand_beside_those_before_training(advice: Advice) -> None:
    _, ax = plt.subplots()
    plot_branch_shares(advice, "stride8", ax=ax)
    assert [float(line.get_xdata()[0]) for line in _named(ax, "_value")][::2] == pytest.approx([0.5, 0.3, 0.2])
    assert np.ptp([float(line.get_xdata()[0]) for line in _named(ax, "_initial")]) == 0
    assert len(_named(ax, "_gain")) == 6
    plt.close("all")


def test_all_stages_share_their_scales_and_the_title_states_the_budget(advice: Advice) -> None:
    figure = plot_advice(advice)
    axes = np.array(figure.axes).reshape(2, 2)
    assert axes[0, 0].get_xlim() == axes[1, 0].get_xlim()
    assert axes[0, 1].get_xlim() == axes[1, 1].get_xlim()
    assert "stride8, 1/8: evidence weak" in axes[1, 0].get_title(loc="left")
    assert "2 trainings of 12 epochs" in figure.get_suptitle()
    assert plot_advice(advice, title="mine").get_suptitle() == "mine"
    plt.close("all")


def test_one_training_can_be_drawn(advice: Advice) -> None:
    figure = plot_stage_evidence(dataclasses.replace(advice, trainings=advice.trainings[:1]), "stride4", legend=False)
    assert figure.legends == []
    assert [float(line.get_ydata()[0]) for line in _named(figure.axes[0], "_value")] == [0, 1, 2]
    plt.close("all")


def test_an_unknown_stage_is_an_error(advice: Advice) -> None:
    with pytest.raises(ValueError, match=r"stage='stage9' is not known; allowed: stride4, stride8"):
        plot_removal_costs(advice, "stage9")
