from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

from rfkit.plots.coverage import plot_coverage, plot_path_counts, plot_support
from rfkit.results.box import Box
from rfkit.results.support import Support


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def support(counts: Any, *, layer: str = "stage2.1", y: int = 10, x: int = 30) -> Support:
    """What a support is, from the number of paths from each pixel."""
    counts = np.asarray(counts, float)
    with np.errstate(divide="ignore"):
        logs = np.log(counts)
    mask = counts > 0
    box = Box(y, x, y + counts.shape[0] - 1, x + counts.shape[1] - 1)
    return Support(layer=layer, unit=(4, 7), box=box, mask=mask, log_paths=logs, size=(64, 64))


HOLES = np.array([[1, 0, 100], [0, 0, 0], [10, 0, 1000], [1, 0, 1]])


def test_reached_pixels_and_holes_have_two_colours_at_their_place() -> None:
    ax = plot_support(support(HOLES))
    picture = ax.images[0]
    assert picture.get_extent() == [29.5, 32.5, 13.5, 9.5]
    np.testing.assert_array_equal(picture.get_array(), HOLES > 0)
    colours = picture.to_rgba(picture.get_array())
    assert (colours[0, 0] != colours[0, 1]).any()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["can change the unit", "hole: cannot"]
    np.testing.assert_allclose(ax.get_legend().legend_handles[0].get_facecolor(), colours[0, 0])
    assert ax.get_title() == "stage2.1 · unit (4, 7)\ncoverage 50.0 % of 4 × 3 px"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("column (px)", "row (px)")


def test_no_hole_is_named_where_there_is_none() -> None:
    ax = plot_support(support(np.ones((3, 3))))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["can change the unit"]


@pytest.mark.parametrize(
    ("holes", "text"),
    [(0, "coverage 100 % of"), (1, "coverage just under 100 % of"), (9999, "coverage under 0.1 % of")],
)
def test_rounding_hides_neither_a_hole_nor_a_pixel(holes: int, text: str) -> None:
    counts = np.ones(10000)
    counts[:holes] = 0
    assert text in plot_support(support(counts.reshape(100, 100))).get_title()


def test_paths_are_counted_in_powers_of_ten_and_holes_left_out() -> None:
    ax = plot_path_counts(support(HOLES))
    values = ax.images[0].get_array()
    np.testing.assert_array_equal(values.mask, HOLES == 0)
    np.testing.assert_allclose(values.compressed(), [0, 2, 1, 3, 0, 0], atol=1e-12)
    assert ax.figure.axes[-1].get_ylabel() == "log10(number of paths)\n(beige: none)"
    assert ax.images[0].get_clim() == pytest.approx((0, 3))


def test_counts_too_large_for_a_float_can_be_drawn() -> None:
    entry = dataclasses.replace(support(np.ones((2, 2))), log_paths=np.full((2, 2), 5000.0))
    ax = plot_path_counts(entry)
    assert ax.images[0].get_clim() == pytest.approx((0, 5000 / np.log(10)))
    assert ax.figure.axes[-1].get_ylabel() == "log10(number of paths)"


def test_a_box_that_no_path_reaches_can_be_drawn() -> None:
    entry = support(np.zeros((3, 3)))
    assert plot_path_counts(entry).images[0].get_array().mask.all()
    assert "coverage 0 % of" in plot_support(entry).get_title()


def test_a_single_pixel_has_its_own_tick() -> None:
    ax = plot_support(support([[1]], y=3, x=5))
    assert (ax.get_xticks().tolist(), ax.get_yticks().tolist()) == ([5], [3])


def test_a_column_for_each_support() -> None:
    long = "backbone.layer4.2.residual.semantic.merge"
    figure = plot_coverage({"a": support(HOLES), long: support(np.ones((3, 3)))}, title="two layers")
    panels = [ax for ax in figure.axes if ax.images and ax.get_xlim()[0] > 29]
    assert [ax.get_title().splitlines()[0] for ax in panels[:2]] == ["a", "…" + long[-29:]]
    np.testing.assert_array_equal(panels[0].images[0].get_array(), HOLES > 0)
    assert panels[2].images[0].get_array().mask.sum() == 6
    assert figure._suptitle.get_text() == "two layers"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["can change the unit", "hole: cannot"]
    alone = plot_coverage([support(HOLES)], paths=False)
    assert len(alone.axes) == 1
    assert alone.axes[0].get_title().startswith("stage2.1\n")
    with pytest.raises(ValueError, match="must be above 0"):
        plot_coverage([])


def test_panels_of_a_grid_do_not_overlap() -> None:
    figure = plot_coverage([support(np.tile(HOLES, (9, 12)), layer="decode_head.aspp.3.convolution")] * 3, title="t")
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    boxes = [ax.get_tightbbox(renderer).padded(-2) for ax in figure.axes]
    boxes += [figure.legends[0].get_window_extent(renderer), figure._suptitle.get_window_extent(renderer)]
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])
