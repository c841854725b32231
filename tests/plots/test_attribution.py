from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import nn

from rfkit.api import plot_attribution as compute_and_draw
from rfkit.plots.attribution import plot_attribution, plot_attributions, plot_distance_profile
from rfkit.plots.styles import SIGNED
from rfkit.results.attribution import Attribution


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def entry(height: int = 30, width: int = 40, **changes: Any) -> Attribution:
    generator = np.random.default_rng(0)
    region = np.zeros((height, width), bool)
    region[10:20, 5:15] = True
    made = Attribution(
        values=generator.standard_normal((3, height, width)),
        image=generator.integers(0, 256, (height, width, 3), dtype=np.uint8),
        class_index=8, class_name="Car", region=region, region_name="predicted", method="integrated_gradients",
        unit="logits", score=3.0,
    )  # fmt: skip
    return replace(made, **changes)


def test_signed_colours_over_the_pale_image_with_the_region_outlined() -> None:
    _, ax = plt.subplots()
    attribution = entry()
    assert plot_attribution(attribution, ax=ax, percentile=100, dim=0.5) is ax
    below, above = ax.images
    gray = attribution.image @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(below.get_array(), (255 + gray) / 2)
    values = attribution.map()
    np.testing.assert_array_equal(above.get_array(), values)
    limit = np.abs(values).max()
    assert above.get_cmap() is SIGNED
    assert above.get_clim() == (-limit, limit)
    np.testing.assert_allclose(above.get_alpha(), np.sqrt(np.abs(values) / limit))
    assert below.get_extent() == above.get_extent() == [-0.5, 39.5, 29.5, -0.5]
    # The outline runs between the pixels of the region and the others, which is half a pixel outside of its centres.
    corners = np.concatenate([path.vertices for path in ax.collections[0].get_paths()])
    assert corners.min(axis=0).tolist() == [4.5, 9.5]
    assert corners.max(axis=0).tolist() == [14.5, 19.5]
    assert ax.get_title() == "Car · integrated gradients"
    assert ax.figure.axes[1].get_ylabel() == "attribution (logits)"
    assert not ax.texts


def test_colours_end_at_a_percentile_of_what_is_not_zero() -> None:
    values = np.zeros((1, 30, 40))
    values[0, 0, :10] = np.arange(1, 11)
    _, ax = plt.subplots()
    plot_attribution(entry(values=values, unit=""), ax=ax, percentile=50, reduce="abs")
    assert ax.images[1].get_clim() == (-5.5, 5.5)
    assert ax.images[1].get_alpha().max() == 1
    bar = ax.images[1].figure.axes[1]
    assert bar.get_ylabel() == "attribution, |sizes| added"
    _, ax = plt.subplots()
    plot_attribution(entry(), ax=ax, limit=7, colour_bar=False, region=False, title="own")
    assert ax.images[1].get_clim() == (-7, 7)
    assert len(ax.figure.axes) == 1
    assert not ax.collections
    assert ax.get_title() == "own"


def test_smoothing_keeps_the_sum_and_is_said() -> None:
    values = np.zeros((1, 300, 400))
    values[0, 100, 200] = 1
    _, ax = plt.subplots()
    plot_attribution(entry(300, 400, values=values), ax=ax)
    shown = ax.images[1].get_array()
    assert shown.sum() == pytest.approx(1)
    # A Gaussian of 2 pixels: 1 / (2 pi sigma^2) at its centre.
    assert shown.max() == pytest.approx(shown[100, 200]) == pytest.approx(1 / (2 * np.pi * 4), rel=0.02)
    assert [text.get_text() for text in ax.texts] == ["smoothed over 2 px"]
    for attribution, smooth in ((entry(300, 400, values=values), 0), (entry(300, 400, values=values, layer="x"), None)):
        _, ax = plt.subplots()
        plot_attribution(attribution, ax=ax, smooth=smooth)
        assert ax.images[1].get_array().sum() == ax.images[1].get_array().max() == 1
        assert not ax.texts


def test_a_pixel_is_marked_by_a_ring_and_a_classifier_by_nothing() -> None:
    region = np.zeros((300, 400), bool)
    region[30, 200] = True
    _, ax = plt.subplots()
    plot_attribution(entry(300, 400, region=region), ax=ax)
    assert [line.get_xydata().tolist() for line in ax.lines] == [[[200, 30]]]
    assert not ax.collections
    _, ax = plt.subplots()
    plot_attribution(entry(region=None, region_name=""), ax=ax)
    assert not ax.lines
    assert not ax.collections


def test_a_layer_is_laid_over_the_whole_image() -> None:
    _, ax = plt.subplots()
    plot_attribution(entry(values=np.ones((1, 3, 4)), layer="stage4.2"), ax=ax)
    assert ax.images[1].get_array().shape == (3, 4)
    assert ax.images[1].get_extent() == [-0.5, 39.5, 29.5, -0.5]
    assert ax.get_title() == "Car · integrated gradients · stage4.2"


def test_a_grid_with_titles_and_one_scale() -> None:
    listed = [entry(), entry(values=entry().values * 5), entry(class_name=""), entry(), entry()]
    figure = plot_attributions(listed, title="five", smooth=0)
    maps = [ax for ax in figure.axes if ax.images]
    assert len(maps) == 5
    assert maps[0].get_title() == "Car\nintegrated gradients"
    assert maps[2].get_title() == "class 8\nintegrated gradients"
    assert maps[1].images[1].get_clim()[1] == pytest.approx(5 * maps[0].images[1].get_clim()[1])
    assert figure._suptitle.get_text() == "five"
    alike = plot_attributions(listed[:2], share_scale=True, titles=["a", "b"], smooth=0)
    maps = [ax for ax in alike.axes if ax.images]
    assert maps[0].images[1].get_clim() == maps[1].images[1].get_clim()
    assert [ax.get_title() for ax in maps] == ["a", "b"]


def test_titles_maps_and_bars_do_not_overlap() -> None:
    listed = [
        entry(360, 480, region_name="pixel (206, 413)"),
        entry(360, 480, unit="logits per unit of input", method="saliency"),
        entry(360, 480, layer="stage4.2"),
        entry(360, 480),
    ]
    figure = plot_attributions(listed, columns=2, title="a title")
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    boxes = [ax.get_tightbbox(renderer).padded(-1) for ax in figure.axes] + [
        figure._suptitle.get_window_extent(renderer)
    ]
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])


@pytest.mark.parametrize("metric", ["euclidean", "chebyshev"])
def test_the_distance_profile_is_that_of_the_result(metric: str) -> None:
    attribution = entry()
    _, ax = plt.subplots()
    assert plot_distance_profile(attribution, ax=ax, metric=metric, share=0.5) is ax
    profile = attribution.distance_profile(metric=metric)
    curve, dot, even = ax.lines[:3]
    np.testing.assert_array_equal(curve.get_xydata(), profile[["distance", "cumulative"]])
    np.testing.assert_array_equal(even.get_xydata(), profile[["distance", "area"]])
    far = attribution.distance_holding(0.5, metric=metric)
    assert dot.get_xdata()[0] == far
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == [f"Car · integrated gradients: 50 % within {far:.0f} px", "spread evenly over the image"]
    kind = ", larger of rows and columns" if metric == "chebyshev" else ""
    assert ax.get_xlabel() == f"distance from the region (px{kind})"
    assert ax.get_ylabel() == "share of |attribution| within it"


def test_profiles_of_one_region_share_the_dashed_line() -> None:
    other = np.roll(entry().region, 9, axis=1)
    _, ax = plt.subplots()
    plot_distance_profile([entry(), entry(method="saliency")], ax=ax, share=None, labels=["a", "b"])
    assert [line.get_label() for line in ax.lines] == ["a", "_area", "b", "spread evenly over the image"]
    _, ax = plt.subplots()
    plot_distance_profile([entry(), entry(region=other)], ax=ax, share=None)
    assert sum(line.get_label() == "_area" for line in ax.lines) == 2
    _, ax = plt.subplots()
    plot_distance_profile(entry(), ax=ax, share=None, area=False)
    assert len(ax.lines) == 1


def test_arguments_that_are_not_allowed() -> None:
    with pytest.raises(ValueError, match=r"percentile=101 must be from 0 to 100"):
        plot_attribution(entry(), percentile=101)
    with pytest.raises(ValueError, match=r"dim=2 must be from 0 to 1"):
        plot_attribution(entry(), dim=2)
    with pytest.raises(ValueError, match=r"smooth=-1 must be 0 or above"):
        plot_attribution(entry(), smooth=-1)
    with pytest.raises(ValueError, match="attributions: got none"):
        plot_attributions([])
    with pytest.raises(ValueError, match="titles has 1 entries for 2 attributions"):
        plot_attributions([entry(), entry()], titles=["a"])
    with pytest.raises(ValueError, match="the values have different units: '', 'logits'"):
        plot_attributions([entry(), entry(unit="")], share_scale=True)
    with pytest.raises(ValueError, match="attributions: got none"):
        plot_distance_profile([])
    with pytest.raises(ValueError, match="labels has 1 entries for 2 attributions"):
        plot_distance_profile([entry(), entry()], labels=["a"])
    with pytest.raises(ValueError, match="metric='manhattan' is not known"):
        plot_distance_profile(entry(), metric="manhattan")
    with pytest.raises(ValueError, match="no region to measure distances from"):
        plot_distance_profile(entry(region=None))


def test_compute_then_draw_makes_a_panel_for_each_target_and_method() -> None:
    torch.manual_seed(0)
    model, image = nn.Conv2d(3, 2, 3, padding=1), torch.randint(0, 256, (3, 20, 30), dtype=torch.uint8)
    figure = compute_and_draw(
        model, image, target=[(0, (4, 5)), (1, (4, 5))], method=["saliency", "input_x_gradient"], title="both", seed=3
    )
    maps = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title() for ax in maps] == [
        "class 0 at pixel (4, 5)\nsaliency", "class 0 at pixel (4, 5)\ninput x gradient",
        "class 1 at pixel (4, 5)\nsaliency", "class 1 at pixel (4, 5)\ninput x gradient",
    ]  # fmt: skip
    gradient = model.weight[1].sum(dim=0).detach().flip(0, 1)
    np.testing.assert_allclose(maps[2].images[1].get_array()[3:6, 4:7], gradient.flip(0, 1), rtol=1e-5)
