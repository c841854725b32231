from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest

from rfkit.plots.boxes import plot_box
from rfkit.results.box import Box

IMAGE = np.full((40, 80, 3), 200, np.uint8)


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def rectangles(ax: plt.Axes, label: str) -> list[tuple[float, ...]]:
    found = [patch for patch in ax.patches if patch.get_label() == label]
    return [(*patch.get_xy(), patch.get_width(), patch.get_height()) for patch in found]


def legend(ax: plt.Axes) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_the_box_is_outlined_around_its_pixels_and_the_rest_shaded() -> None:
    ax = plot_box(IMAGE, Box(10, 20, 18, 30), unit_pixel=(14, 25), shade=0.4)
    assert rectangles(ax, "_box") == [(19.5, 9.5, 11, 9)]
    shadow = np.asarray(ax.images[1].get_array())
    assert (shadow[10:19, 20:31, 3] == 0).all()
    assert (shadow[..., 3] == 0).sum() == 9 * 11
    assert shadow[9, 20, 3] == 0.4
    assert [tuple(*line.get_xydata()) for line in ax.lines if line.get_label() == "unit"] == [(25, 14)]
    assert legend(ax) == ["9 × 11 px", "place of the unit"]
    assert (ax.get_xlim(), ax.get_ylim()) == ((-0.5, 79.5), (39.5, -0.5))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("column (px)", "row (px)")


def test_what_lies_outside_of_the_image_is_dashed_beyond_the_frame() -> None:
    ax = plot_box(IMAGE, Box(-5, 60, 20, 90).clipped(40, 80))
    assert rectangles(ax, "_box") == [(59.5, -0.5, 20, 21)]
    assert rectangles(ax, "_unclipped") == [(59.5, -5.5, 31, 26)]
    dashed = next(patch for patch in ax.patches if patch.get_label() == "_unclipped")
    assert dashed.get_linestyle() != "-"
    left, right = ax.get_xlim()
    bottom, top = ax.get_ylim()
    assert left < -0.5 < 90.5 < right
    assert top < -5.5 < 39.5 < bottom
    assert legend(ax) == ["26 × 31 px, 21 × 20 in the image"]
    assert not any(text.arrow_patch for text in ax.texts)


def test_a_field_far_larger_than_the_image_leaves_the_image_visible() -> None:
    ax = plot_box(IMAGE, Box(-1000, -1000, 1000, 1000).clipped(40, 80), beyond=0.5)
    assert ax.get_xlim() == (-40, 120)
    assert ax.get_ylim() == (60, -20)
    assert len([text for text in ax.texts if text.arrow_patch]) == 4
    assert legend(ax) == ["2001 × 2001 px, 40 × 80 in the image"]


def test_several_boxes_have_their_own_colours_and_names() -> None:
    boxes = {"stem": Box(18, 38, 20, 40), "stage2": Box(10, 30, 28, 48), "head": Box(0, 0, 5, 5)}
    ax = plot_box(IMAGE, boxes)
    patches = [patch for patch in ax.patches if patch.get_label() == "_box"]
    assert len({patch.get_edgecolor() for patch in patches}) == 3
    assert [handle.get_color() for handle in ax.get_legend().legend_handles] == [
        plt.matplotlib.colors.to_hex(patch.get_edgecolor()) for patch in patches
    ]
    assert legend(ax) == ["stem: 3 × 3 px", "stage2: 19 × 19 px", "head: 6 × 6 px"]
    shadow = np.asarray(ax.images[1].get_array())
    assert shadow[0, 0, 3] == shadow[28, 48, 3] == 0 < shadow[29, 49, 3]
    plt.figure()
    assert legend(plot_box(IMAGE, list(boxes.values())))[1] == "box 1: 19 × 19 px"


def test_a_box_too_small_to_see_is_ringed() -> None:
    image = np.zeros((512, 1024, 3), np.uint8)
    ring = next(line for line in plot_box(image, Box(7, 9, 7, 9)).lines if line.get_label() == "_tiny")
    assert tuple(*ring.get_xydata()) == (9, 7)
    plt.figure()
    assert not plot_box(image, Box(0, 0, 99, 99)).lines


def test_the_legend_lies_below_the_axes_whatever_their_height() -> None:
    for height in (1.5, 6):
        figure, ax = plt.subplots(figsize=(5, height))
        plot_box(IMAGE, {"a layer with a really long name.conv": Box(1, 1, 9, 9), "b": Box(0, 0, 3, 3)}, ax=ax)
        figure.canvas.draw()
        renderer = figure.canvas.get_renderer()
        assert ax.get_legend().get_window_extent(renderer).y1 <= ax.xaxis.get_tightbbox(renderer).y0


def test_gray_images_and_no_shade() -> None:
    assert len(plot_box(IMAGE[..., 0], Box(0, 0, 1, 1), shade=0, legend=False).images) == 1


def test_what_cannot_be_drawn_is_named() -> None:
    with pytest.raises(ValueError, match=r"image has shape \(3, 40, 80\); it must be \(height, width, 3\)"):
        plot_box(np.zeros((3, 40, 80)), Box(0, 0, 1, 1))
    with pytest.raises(ValueError, match="box is empty"):
        plot_box(IMAGE, {})
    with pytest.raises(ValueError, match=r"shade=2 must be from 0 to 1"):
        plot_box(IMAGE, Box(0, 0, 1, 1), shade=2)
    with pytest.raises(ValueError, match=r"beyond=0 must be above 0"):
        plot_box(IMAGE, Box(0, 0, 1, 1), beyond=0)
