from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgba

from rfkit.plots.gridding import plot_gridding, plot_griddings, verdicts
from rfkit.plots.styles import dilation_colour
from rfkit.results.gridding import Gridding, GriddingLayer


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def stack(*rates: int, m: float = 2.0, bounds: tuple[float, ...] = (), reason: str = "") -> Gridding:
    """A stack of 3-tap convolutions, its supports found by adding up taps."""
    layers, reached = [], {0}
    for index, rate in enumerate(rates):
        reached = {place + tap * rate for place in reached for tap in (-1, 0, 1)}
        last = max(reached)
        pixels = np.array([place in reached for place in range(-last, last + 1)])
        bound = bounds[index] if bounds else 99.0
        layers.append(GriddingLayer(index + 1, (rate,), (3,), 1, 1, pixels, -last, float("nan"), m, bound))
    return Gridding(tuple(layers), 1, 1, np.zeros(layers[-1].size), np.zeros((0, 0), np.uint8), reason)


def cells(ax: plt.Axes, kind: str) -> dict[int, list[int]]:
    """Row -> pixels covered by the patches of that kind."""
    found: dict[int, list[int]] = {}
    for drawn in ax.collections:
        if drawn.get_gid() == kind:
            for path in drawn.get_paths():
                box = path.get_extents()
                pixels = range(int(np.ceil(box.x0)), int(np.floor(box.x1)) + 1)
                found.setdefault(round((box.y0 + box.y1) / 2), []).extend(pixels)
    return {row: sorted(pixels) for row, pixels in found.items()}


@pytest.mark.parametrize("width", [None, 500])
def test_a_row_for_each_layer_with_its_holes(width: int | None) -> None:
    ax = plot_gridding(stack(1, 2, 9), width=width)
    assert cells(ax, "hole") == {2: [-5, -4, 4, 5]}
    reached = cells(ax, "reached")
    assert reached[0] == [-1, 0, 1]
    assert reached[1] == list(range(-3, 4))
    assert reached[2] == [place for place in range(-12, 13) if abs(place) not in (4, 5)]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["1", "2", "9"]
    assert ax.get_xlabel() == "pixel, counted from the one under the unit (px)"
    assert ax.get_title() == "dilation rates 1, 2, 9"
    assert ax.get_xlim() == ((-13, 13) if width is None else (-250.5, 250.5))


def test_colours_are_those_of_dilation_rates() -> None:
    ax = plot_gridding(stack(1, 5))
    colours = [tuple(drawn.get_facecolor()[0]) for drawn in ax.collections if drawn.get_gid() == "reached"]
    assert colours == [to_rgba(dilation_colour(1)), to_rgba(dilation_colour(5))]


def test_extent_and_coverage_stand_beside_each_row() -> None:
    ax = plot_gridding(stack(2, 2))
    beside = [text for text in ax.texts if "px, " in text.get_text() and "exact" not in text.get_text()]
    assert [(text.get_position()[1], text.get_text()) for text in beside] == [(0, "5 px, 60 %"), (1, "9 px, 55.6 %")]
    assert beside[0].get_color() != plot_gridding(stack(1, 1), ax=plt.subplots()[1]).texts[0].get_color()


def test_verdicts_stand_beside_the_exact_answer_and_say_when_they_differ() -> None:
    holes = stack(2, 2, 2, m=2, bounds=(1, 5, 9))
    assert verdicts(holes).splitlines() == [
        "exact: holes: misses ±1, ±3, ±5 px",
        "HDC's rule: passes (M2 = 2 ≤ 3)  ← differs from the exact answer",
        "RegSeg's bound: fails (2 > 1 at layer 1)",
    ]
    assert verdicts(holes) in [text.get_text() for text in plot_gridding(holes).texts]
    assert verdicts(stack(1, 4, 2, m=6, bounds=(1, 3, 11))).splitlines() == [
        "exact: no holes",
        "HDC's rule: fails (M2 = 6 > 3)  ← differs from the exact answer",
        "RegSeg's bound: fails (4 > 3 at layer 2)  ← differs from the exact answer",
    ]
    lines = verdicts(stack(1, 1, reason="kernels differ")).splitlines()
    assert lines[1:] == ["HDC's rule: does not apply (kernels differ)", "RegSeg's bound: passes"]
    assert (
        verdicts(stack(20, reason="a single layer")).splitlines()[0]
        == "exact: holes: misses ±1, ±2, ±3, ±4, ±5, ±6 and 13 more px"
    )


def test_stacks_below_each_other_share_a_scale() -> None:
    stacks = [stack(2, 2, 2), stack(1, 2, 5), stack(1, 2, 9)]
    figure = plot_griddings(stacks, title="three stacks")
    assert {ax.get_xlim() for ax in figure.axes} == {(-13, 13)}
    assert [ax.get_title() for ax in figure.axes] == [f"dilation rates {r}" for r in ("2, 2, 2", "1, 2, 5", "1, 2, 9")]
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    boxes = [ax.get_tightbbox(renderer).padded(-1) for ax in figure.axes]
    boxes += [figure.legends[0].get_window_extent(renderer), figure._suptitle.get_window_extent(renderer)]
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])
    # The verdicts lie below the axis label.
    for ax in figure.axes:
        assert ax.texts[-1].get_window_extent(renderer).y1 <= ax.xaxis.get_tightbbox(renderer).y0
    assert plot_griddings({"HDC": stacks[1]}).axes[0].get_title() == "HDC"
    with pytest.raises(ValueError, match="must be above 0"):
        plot_griddings([])
