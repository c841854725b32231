from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import LogNorm, Normalize, SymLogNorm

from rfkit.plots.levels import mass_levels, smoothed
from rfkit.plots.profile import plot_effective_rf_profile
from rfkit.plots.receptive_field import field_title, plot_effective_rf, plot_effective_rfs
from rfkit.plots.styles import SIGNED
from rfkit.plots.view import view_of
from rfkit.results.box import Box
from rfkit.results.effective import EffectiveRF

SIGMA = 4.0


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def square(y: int, x: int, side: int, *, size: tuple[int, int] = (64, 96)) -> Box:
    half = side // 2
    return Box(y - half, x - half, y + half, x + half).clipped(*size)


def field(
    *,
    centre: tuple[int, int] = (30, 50),
    side: int = 41,
    scale: float = 3e-5,
    size: tuple[int, int] = (64, 96),
    **fields,
) -> EffectiveRF:
    """A Gaussian of standard deviation 4 inside a box, and zero outside."""
    y, x = np.ogrid[: size[0], : size[1]]
    values = scale * np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / (2 * SIGMA**2))
    box = square(*centre, side, size=size)
    inside = np.zeros(size, bool)
    inside[box.slices()] = True
    options = {"map": np.where(inside, values, 0.0), "box": box, "layer": "stage3.1", "reduce": "abs"} | fields
    return EffectiveRF(units=((7, 12),), images=2, centre=centre, map_size=(16, 24), **options)


def one_pixel() -> EffectiveRF:
    values = np.zeros((512, 1024))
    values[256, 512] = 2e-9
    return field(map=values, centre=(256, 512), size=(512, 1024), box=Box(256, 512, 256, 512))


def rectangles(ax: plt.Axes, label: str) -> list[tuple[float, ...]]:
    found = [patch for patch in ax.patches if patch.get_label() == label]
    return [(*patch.get_xy(), patch.get_width(), patch.get_height()) for patch in found]


def contours(ax: plt.Axes) -> list:
    return [drawn for drawn in ax.collections if isinstance(drawn, plt.matplotlib.contour.ContourSet)]


def legend(owner: plt.Axes | plt.Figure) -> list[str]:
    found = owner.get_legend() if isinstance(owner, plt.Axes) else owner.legends[0]
    return [text.get_text() for text in found.get_texts()]


def test_the_map_lies_at_its_own_pixels_with_the_theoretical_field_around_it() -> None:
    rf = field()
    ax = plot_effective_rf(rf)
    picture = ax.images[0]
    left, right, bottom, top = picture.get_extent()
    shown = np.asarray(picture.get_array().filled(0))
    assert shown.shape == (bottom - top, right - left)
    # The largest value is 1, and lies at the unit's pixel.
    peak = np.unravel_index(shown.argmax(), shown.shape)
    assert (top + 0.5 + peak[0], left + 0.5 + peak[1]) == rf.centre
    assert shown.max() == 1
    assert rectangles(ax, "_TRF") == [(29.5, 9.5, 41, 41)]
    assert [tuple(*line.get_xydata()) for line in ax.lines if line.get_label() == "_unit"] == [(50, 30)]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("column (px)", "row (px)")


def test_colours_are_logarithmic_or_not_and_the_bar_says_so() -> None:
    ax = plot_effective_rf(field(), decades=3)
    norm = ax.images[0].norm
    assert isinstance(norm, LogNorm)
    assert (norm.vmin, norm.vmax) == (pytest.approx(1e-3), 1)
    bar = ax.figure.axes[-1].get_ylabel()
    assert "log scale" in bar
    assert "mean |d unit / d pixel|\n/ its largest value" in bar
    plt.figure()
    ax = plot_effective_rf(field(), log=False, relative=False)
    assert type(ax.images[0].norm) is Normalize
    assert ax.images[0].norm.vmax == pytest.approx(3e-5)
    assert "log" not in ax.figure.axes[-1].get_ylabel()
    assert "largest" not in ax.figure.axes[-1].get_ylabel()


def test_a_logarithmic_bar_names_powers_of_ten() -> None:
    figure = plt.figure()
    plot_effective_rf(field(), ax=figure.add_subplot())
    figure.canvas.draw()
    bar = figure.axes[1]
    labels = [label.get_text() for label in bar.get_yticklabels()]
    assert {"10⁻⁴", "10⁻³", "10⁻²", "10⁻¹", "1"} <= set(labels)
    assert len(bar.yaxis.get_minorticklocs()) == 0


def test_pixels_without_gradient_are_told_from_faint_ones() -> None:
    rf = field()
    picture = plot_effective_rf(rf).images[0]
    view = view_of(rf, True)
    np.testing.assert_array_equal(picture.get_array().mask, rf.map[view.slices] == 0)
    assert tuple(picture.cmap.get_bad()) != tuple(picture.cmap.get_under())


@pytest.mark.parametrize("scale", [1.0, 3e-12])
def test_contours_hold_their_share_of_the_mass_at_any_scale(scale: float) -> None:
    # exp(-r^2 / 2 sigma^2) of the mass lie outside of radius r.
    ax = plot_effective_rf(field(scale=scale), contours=(0.8, 0.5), smooth=0)
    for drawn, share in zip(contours(ax), (0.5, 0.8), strict=True):
        points = np.concatenate([path.vertices for path in drawn.get_paths()])
        radius = np.hypot(points[:, 0] - 50, points[:, 1] - 30)
        assert radius.mean() == pytest.approx(SIGMA * np.sqrt(-2 * np.log(1 - share)), abs=0.6)
    assert legend(ax)[:2] == ["50 % of the mass", "80 % of the mass"]


def test_contours_of_a_noisy_map_are_smoothed_and_those_of_the_map_itself_are_not() -> None:
    noise = np.random.default_rng(0).gamma(0.5, size=(64, 96))
    rf = field(map=field().map * noise)
    rough, even = (plot_effective_rf(rf, ax=plt.subplots()[1], contours=(0.8,), smooth=sigma) for sigma in (0, None))
    pieces = [sum(len(path.to_polygons()) for path in contours(ax)[0].get_paths()) for ax in (rough, even)]
    assert pieces[0] > 5 * pieces[1]
    np.testing.assert_array_equal(rough.images[0].get_array(), even.images[0].get_array())


def test_a_uniform_map_has_its_contours_around_all_of_it() -> None:
    box = square(30, 50, 5)
    values = np.zeros((64, 96))
    values[box.slices()] = 1.0
    ax = plot_effective_rf(field(map=values, box=box))
    points = np.concatenate([path.vertices for path in contours(ax)[0].get_paths()])
    assert points.min(axis=0) == pytest.approx((47.5, 27.5), abs=0.1)
    assert points.max(axis=0) == pytest.approx((52.5, 32.5), abs=0.1)


def test_signed_maps_diverge_around_zero() -> None:
    values = field().map * np.where(np.arange(96) % 2, 1, -1)
    ax = plot_effective_rf(field(map=values, reduce="signed"))
    norm = ax.images[0].norm
    assert isinstance(norm, SymLogNorm)
    assert norm.vmin == -norm.vmax
    assert ax.images[0].cmap is SIGNED
    assert "mean d unit / d pixel\n" in ax.figure.axes[-1].get_ylabel()


def test_a_single_pixel_of_a_large_image_can_be_seen() -> None:
    ax = plot_effective_rf(one_pixel())
    assert np.diff(ax.get_xlim()) == np.diff(ax.get_ylim()[::-1]) == 9
    assert rectangles(ax, "_TRF") == [(511.5, 255.5, 1, 1)]
    assert len(contours(ax)) == 3


def test_the_view_is_the_box_unless_the_mass_would_be_a_speck_in_it() -> None:
    size = (600, 800)
    view = view_of(field(centre=(300, 400), side=101, size=size), True)
    assert view.y0 <= 250 < 350 <= view.y1
    assert view.shape[0] < 120
    wide = field(centre=(300, 400), side=501, size=size)
    assert view_of(wide, True).shape[0] < 60
    assert view_of(wide, "box").shape[0] > 501
    assert view_of(wide, "mass") == view_of(wide, True)
    assert view_of(wide, False).shape == size
    assert view_of(field(box=None), True).shape[0] < 60
    # The theoretical field is then out of sight, and the legend says so.
    assert "theoretical field: beyond this view" in legend(plot_effective_rf(wide))


def test_near_the_border_the_view_ends_at_the_image() -> None:
    rf = field(centre=(2, 3))
    assert (view_of(rf, True).y0, view_of(rf, True).x0) == (0, 0)
    ax = plot_effective_rf(rf)
    assert rectangles(ax, "_TRF unclipped") == [(-17.5, -18.5, 41, 41)]


def test_titles_say_layer_theoretical_size_and_effective_size() -> None:
    rf = field()
    side = rf.square_sides((0.95,))[0.95]
    assert field_title(rf) == f"stage3.1 · TRF 41 px · 95 % in {side:g} px"
    assert field_title(rf, 30).splitlines() == ["stage3.1", f"TRF 41 px · 95 % in {side:g} px"]
    assert field_title(field(box=Box(0, 0, 8, 4), is_global=True)).split(" · ")[1] == "TRF 9 × 5 px and global"
    assert "TRF unknown" in field_title(field(box=None))
    assert "TRF 41 px" in field_title(field(centre=(2, 3)))
    long = field_title(rf, 24, name="decode_head.bottleneck.aspp.branches.3.convolution").splitlines()
    assert long[0] == "….branches.3.convolution"
    assert "stage3.1 · d3" in field_title(field(branch="d3"))


def test_units_of_a_list_are_all_marked() -> None:
    parts = (field(centre=(20, 30)), field(centre=(40, 60)))
    ax = plot_effective_rf(field(parts=parts))
    marks = [tuple(*line.get_xydata()) for line in ax.lines if line.get_label() == "_unit"]
    assert marks == [(30, 20), (60, 40)]


def test_what_cannot_be_drawn_is_named() -> None:
    with pytest.raises(ValueError, match=r"rf of layer 'stage3.1' is zero everywhere"):
        plot_effective_rf(field(scale=0))
    with pytest.raises(ValueError, match=r"rf of layer 'stage3.1' is zero everywhere"):
        plot_effective_rf_profile(field(scale=0))
    with pytest.raises(ValueError, match=r"contours=\(1.5,\) must be shares"):
        plot_effective_rf(field(), contours=(1.5,))
    with pytest.raises(ValueError, match=r"zoom='far' is not known"):
        plot_effective_rf(field(), zoom="far")
    with pytest.raises(ValueError, match=r"zoom='box' needs a theoretical field"):
        plot_effective_rf(field(box=None), zoom="box")
    with pytest.raises(ValueError, match=r"decades=0 must be above 0"):
        plot_effective_rf(field(), decades=0)
    with pytest.raises(ValueError, match=r"axis='rows' is not known"):
        plot_effective_rf_profile(field(), axis="rows")
    with pytest.raises(ValueError, match="rfs is empty"):
        plot_effective_rfs({})


@pytest.mark.parametrize(("axis", "place"), [("row", 30), ("column", 50)])
def test_the_profile_sums_to_one_and_the_gaussian_lies_on_it(axis: str, place: int) -> None:
    ax = plot_effective_rf_profile(field(), axis=axis)
    steps = next(patch for patch in ax.patches if patch.get_label().startswith("effective field"))
    values, edges, _ = steps.get_data()
    assert values.sum() == pytest.approx(1)
    assert values.argmax() == place
    assert edges[place] == place - 0.5
    curve = next(line for line in ax.lines if line.get_label().startswith("Gaussian"))
    assert curve.get_label() == "Gaussian, σ = 4 px (R² 1.00)"
    at = np.interp(np.arange(place - 9, place + 10), curve.get_xdata(), curve.get_ydata())
    np.testing.assert_allclose(at, values[place - 9 : place + 10], atol=5e-4)
    edges = [line.get_xdata()[0] for line in ax.lines if line.get_label() == "_TRF edge"]
    assert edges == [place - 20.5, place + 20.5]
    assert "theoretical field, 41 px" in legend(ax)
    assert ax.get_xlabel() == f"{axis} (px)"
    assert ax.get_ylabel() == f"share of the mass in a {axis}"


def test_the_profile_of_a_pixel_has_no_gaussian_and_that_of_no_box_no_extent() -> None:
    assert "one pixel wide: no Gaussian" in legend(plot_effective_rf_profile(one_pixel()))
    plt.figure()
    ax = plot_effective_rf_profile(field(box=None), log=True)
    assert not any("theoretical" in text for text in legend(ax))
    assert ax.get_yscale() == "log"


def test_a_panel_for_each_layer_each_with_its_own_largest_value() -> None:
    rfs = {"stem": field(side=21), "stage2": field(scale=9.0), "head": field(centre=(10, 10), scale=1e-9)}
    figure = plot_effective_rfs(rfs, columns=2, title="a network")
    panels, bar = figure.axes[:3], figure.axes[3]
    assert [ax.get_title().splitlines()[0] for ax in panels] == list(rfs)
    for ax, rf in zip(panels, rfs.values(), strict=True):
        assert ax.images[0].norm.vmax == pytest.approx(rf.map.max())
    assert "largest of its map" in bar.get_ylabel()
    assert figure._suptitle.get_text() == "a network"
    assert legend(figure)[-2:] == ["theoretical field (TRF)", "place of the unit"]
    # The axes are named at the left and at the bottom.
    assert [bool(ax.get_ylabel()) for ax in panels] == [True, False, True]
    assert [bool(ax.get_xlabel()) for ax in panels] == [False, True, True]


def test_scale_and_view_can_be_shared() -> None:
    rfs = {"stem": field(side=11), "stage2": field(scale=9.0)}
    figure = plot_effective_rfs(rfs, shared_scale=True, shared_view=True, log=False)
    one, other = figure.axes[:2]
    assert one.images[0].norm.vmax == other.images[0].norm.vmax == 9
    assert np.diff(one.get_xlim()) == np.diff(other.get_xlim())
    assert np.diff(one.get_ylim()) == np.diff(other.get_ylim())
    assert "largest" not in figure.axes[2].get_ylabel()


def test_titles_legend_and_panels_of_a_grid_do_not_overlap() -> None:
    names = ["stem", "decode_head.bottleneck.aspp.branches.3.convolution", "stage3.1", "stage4.10.merge.convolution"]
    figure = plot_effective_rfs({name: field(is_global=True) for name in names}, columns=3, title="a network")
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    boxes = [ax.get_tightbbox(renderer).padded(-2) for ax in figure.axes]
    boxes += [figure.legends[0].get_window_extent(renderer), figure._suptitle.get_window_extent(renderer)]
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])


def test_levels_that_hold_a_share() -> None:
    values = np.array([[1.0, 4.0], [2.0, 3.0]])
    assert mass_levels(values, (0.4, 0.41, 0.7, 1.0)) == [4, 3, 3, 1]


def test_smoothing_keeps_mass_and_widens_by_its_own_variance() -> None:
    point = np.zeros((41, 51))
    point[20, 25] = 3.0
    spread = smoothed(point, 2.0)
    assert spread.sum() == pytest.approx(3)
    y, x = np.indices(spread.shape)
    assert (spread * (y - 20) ** 2).sum() / 3 == pytest.approx(4, rel=0.03)
    assert (spread * (x - 25) ** 2).sum() / 3 == pytest.approx(4, rel=0.03)
