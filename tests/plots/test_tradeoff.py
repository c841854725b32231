"""Accuracy against speed: points where the numbers say, coloured by group."""

from __future__ import annotations

import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from rfkit.plots.tradeoff import COLOURS, plot_tradeoff
from rfkit.results.base import Table

POINTS = Table(
    "points",
    {
        "label": ("A (1.0)", "B† (2.0)", "C (3.0)"),
        "fps": (10.0, 20.0, 30.5),
        "miou": (70.0, 60.5, 65.0),
        "group": ("highlighted", "other", "ours"),
    },
)


@pytest.fixture
def ax() -> plt.Axes:
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


def test_points_and_labels(ax: plt.Axes) -> None:
    assert plot_tradeoff(POINTS, ax=ax) is ax
    points = {line.get_gid(): (line.get_xdata()[0], line.get_ydata()[0], line.get_color()) for line in ax.lines}
    assert points == {
        "point A (1.0)": (10.0, 70.0, COLOURS["highlighted"]),
        "point B† (2.0)": (20.0, 60.5, COLOURS["other"]),
        "point C (3.0)": (30.5, 65.0, COLOURS["ours"]),
    }
    assert [text.get_text() for text in ax.texts] == ["A (1.0)", "B† (2.0)", "C (3.0)"]
    assert ax.get_xlabel() == "speed (frames per second)"
    assert ax.get_ylabel() == "mIoU (%)"
    assert ax.get_legend() is None


def test_offsets_set_the_side_of_a_label(ax: plt.Axes) -> None:
    plot_tradeoff(POINTS, offsets={"A (1.0)": (-5, 0), "B† (2.0)": (0, 5), "C (3.0)": (0, -5)}, ax=ax)
    sides = [(text.get_horizontalalignment(), text.get_verticalalignment()) for text in ax.texts]
    assert sides == [("right", "center"), ("center", "bottom"), ("center", "top")]


def test_legend_names_the_groups(ax: plt.Axes) -> None:
    plot_tradeoff(POINTS, names={"highlighted": "DWRSeg", "other": "other methods"}, ax=ax)
    legend = ax.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["DWRSeg", "other methods"]
    assert [to_hex(handle.get_markerfacecolor()) for handle in legend.legend_handles] == ["#cc3311", "#0077bb"]


def test_mistakes_are_named(ax: plt.Axes) -> None:
    with pytest.raises(ValueError, match=r"offsets='D' is not known; allowed: A \(1.0\)"):
        plot_tradeoff(POINTS, offsets={"D": (1, 1)}, ax=ax)
    with pytest.raises(ValueError, match="points='group' is not known; allowed: label, fps, miou"):
        plot_tradeoff(Table("p", {key: POINTS.columns[key] for key in ("label", "fps", "miou")}), ax=ax)
    wrong = Table("p", {**POINTS.columns, "group": ("highlighted", "theirs", "ours")})
    with pytest.raises(ValueError, match="group='theirs' is not known; allowed: highlighted, other, ours"):
        plot_tradeoff(wrong, ax=ax)
