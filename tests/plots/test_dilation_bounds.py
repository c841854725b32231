from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex

from rfkit.plots.dilation_bounds import plot_dilation_bounds
from rfkit.plots.styles import dilation_colour
from rfkit.results.dilation_bounds import DilationBound, DilationBounds


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def bounds(*, last: int = 9, unknown: bool = False) -> DilationBounds:
    entries = [
        DilationBound("stem", 0, "row", 1, 3, 1.0, 1.0),
        DilationBound("body.0", 0, "row", 1, 3, 15.0, 2.0),
        DilationBound("body.1", 0, "row", 4, 3, 15.0, 2.0),
        DilationBound("body.2", 0, "row", last, 3, 32.0, 4.0),
    ]
    if unknown:
        entries.append(DilationBound("head", 0, "row", 2, 3, float("nan"), float("nan"), "sort: there is no rule"))
    return DilationBounds(tuple(entries))


def _dots(ax: plt.Axes, label: str) -> plt.Collection | None:
    return next((dots for dots in ax.collections if dots.get_label() == label), None)


def _legend(ax: plt.Axes) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_rates_stand_beside_their_bound_one_place_for_each_map() -> None:
    ax = plot_dilation_bounds(bounds())
    dots = _dots(ax, "rate")
    np.testing.assert_array_equal(dots.get_offsets(), [(0, 1), (1, 1), (1, 4), (2, 9)])
    assert [to_hex(colour) for colour in dots.get_facecolors()] == [dilation_colour(rate) for rate in (1, 1, 4, 9)]
    (line,) = [patch for patch in ax.patches if patch.get_label() == "bound k / s"]
    np.testing.assert_array_equal(line.get_data().values, [1, 7.5, 8])
    assert ax.get_yscale() == "log"
    assert ax.get_ylabel() == "dilation rate (units of the map)"
    assert [patch.get_gid() for patch in ax.patches if patch.get_gid()] == ["stride 1", "stride 2", "stride 4"]


def test_rates_above_the_bound_are_ringed() -> None:
    ax = plot_dilation_bounds(bounds())
    np.testing.assert_array_equal(_dots(ax, "above the bound").get_offsets(), [(2, 9)])
    assert "rate above the bound" in _legend(ax)
    plt.figure()
    ax = plot_dilation_bounds(bounds(last=8))
    assert _dots(ax, "above the bound") is None
    assert "rate above the bound" not in _legend(ax)


def test_where_nothing_is_known_the_line_has_a_gap() -> None:
    ax = plot_dilation_bounds(bounds(unknown=True))
    (line,) = [patch for patch in ax.patches if patch.get_label() == "bound k / s"]
    np.testing.assert_array_equal(line.get_data().values, [1, 7.5, 8, np.nan])
    assert any("there is no rule" in text.get_text() for text in ax.texts)
    assert tuple(_dots(ax, "rate").get_offsets()[-1]) == (3, 2)
