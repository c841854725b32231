"""Measures of an effective receptive field, by hand and free of scale."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rfkit.results.box import Box
from rfkit.results.effective import EffectiveRF
from rfkit.results.gaussian import fit_gaussian
from rfkit.results.mass import radius_holding, replknet_areas, square_side_holding


def field(map_: np.ndarray, **options: object) -> EffectiveRF:
    middle = ((map_.shape[0] - 1) / 2, (map_.shape[1] - 1) / 2)
    defaults = {"units": ((0, 0),), "reduce": "abs", "images": 1, "centre": middle, "map_size": (1, 1)}
    return EffectiveRF(layer="output", map=map_, **{**defaults, **options})


def bell(size: tuple[int, int], centre: tuple[float, float], sigma: tuple[float, float]) -> np.ndarray:
    y, x = np.indices(size)
    return np.exp(-(((y - centre[0]) / sigma[0]) ** 2 + ((x - centre[1]) / sigma[1]) ** 2) / 2)


def test_discs_and_squares_by_hand() -> None:
    mass = np.zeros((7, 9))
    mass[3, 4], mass[3, 6], mass[0, 4], mass[5, 6] = 4, 2, 1, 3
    shares = (0.4, 0.6, 0.9, 1.0)
    # Distances of the four: 0, 2, 3 and sqrt 8; the squares reach 0, 2, 3 and 2.
    np.testing.assert_allclose(radius_holding(mass, (3, 4), shares), [0, 2, np.sqrt(8), 3])
    np.testing.assert_allclose(square_side_holding(mass, (3, 4), shares), [1, 5, 5, 7])


def test_squares_around_a_corner_between_pixels_have_even_sides() -> None:
    np.testing.assert_allclose(square_side_holding(np.ones((4, 4)), (1.5, 1.5), (0.25, 0.3, 1)), [2, 4, 4])


def test_a_uniform_square_holds_its_share_within_the_expected_side() -> None:
    sides = field(np.ones((101, 101))).square_sides((0.2, 0.5, 1))
    # 45^2 / 101^2 = 0.1985, 47^2 = 0.2165; 71^2 = 0.494, 73^2 = 0.522.
    assert sides == {0.2: 47, 0.5: 73, 1.0: 101}


def test_a_share_is_above_0_and_at_most_1() -> None:
    for share in (0, 1.2):
        with pytest.raises(ValueError, match="must be above 0 and at most 1"):
            field(np.ones((3, 3))).contribution_radius(share)


@pytest.mark.parametrize(("centre", "sigma"), [((30, 25), (4, 7)), ((31.3, 24.6), (2.5, 2.5)), ((3, 50), (6, 3))])
def test_a_gaussian_is_found_again(centre: tuple[float, float], sigma: tuple[float, float]) -> None:
    fit = fit_gaussian(3e-7 * bell((64, 60), centre, sigma))
    np.testing.assert_allclose([fit.sigma_y, fit.sigma_x], sigma, rtol=1e-5)
    np.testing.assert_allclose(fit.centre, centre, atol=1e-4)
    assert fit.amplitude == pytest.approx(3e-7, rel=1e-5)
    assert fit.r2 == pytest.approx(1, abs=1e-9)
    np.testing.assert_allclose(fit.profile("row", np.array([centre[0] + sigma[0]])), 3e-7 * np.exp(-0.5), rtol=1e-4)


def test_a_peak_on_a_wide_halo_gives_the_peak_by_least_squares_and_the_halo_by_moments() -> None:
    fit = fit_gaussian(bell((101, 101), (50, 50), (2, 2)) + 0.02 * bell((101, 101), (50, 50), (20, 20)))
    assert fit.sigma_y == pytest.approx(2, abs=0.3)
    assert fit.moment_sigma_y > 10


def test_a_map_one_pixel_wide_has_width_zero() -> None:
    mass = np.zeros((9, 31))
    mass[4] = bell((1, 31), (0, 15), (1, 3))
    fit = fit_gaussian(mass)
    assert (fit.sigma_y, fit.moment_sigma_y) == (0, 0)
    assert fit.sigma_x == pytest.approx(3, rel=1e-5)
    single = np.zeros((5, 5))
    single[1, 3] = 7
    fit = fit_gaussian(single)
    assert (fit.sigma_y, fit.sigma_x, fit.centre, fit.amplitude) == (0, 0, (1, 3), pytest.approx(7))
    with pytest.raises(ValueError, match="no width along axis='row'"):
        fit.profile("row", np.arange(3))
    with pytest.raises(ValueError, match="axis='y' must be 'row'"):
        fit.profile("y", np.arange(3))


def test_a_map_of_zeros_has_measures_that_are_nan() -> None:
    frame = field(np.zeros((8, 8)), box=Box(0, 0, 7, 7)).measures(replknet=True)
    assert frame["value"].isna().all()


def test_the_ratio_to_the_theoretical_field_counts_pixels_above_luo_s_level() -> None:
    map_ = np.zeros((20, 20))
    map_[5:11, 5:11], map_[8, 8], map_[0, 0] = 0.05, 1, 0.045
    found = field(map_, box=Box(2, 2, 13, 10))
    assert found.effective_side() == 6
    assert found.trf_ratio() == pytest.approx(6 / np.sqrt(12 * 9))
    assert found.trf_ratio(0.5) == pytest.approx(1 / np.sqrt(12 * 9))
    assert np.isnan(field(map_).trf_ratio())
    with pytest.raises(ValueError, match="level=1 must be at least 0 and below 1"):
        found.effective_side(1)


def test_replknet_s_protocol_by_hand() -> None:
    scores = np.zeros((8, 12))
    scores[4, 6], scores[4, 7], scores[2, 6], scores[1, 6] = 9, 9, 99, 0
    # Logarithms 1, 1 and 2: within reach 1 a half of all, within reach 2 all of it.
    areas = replknet_areas(scores, (0.2, 0.49, 0.5, 0.99))
    np.testing.assert_allclose(areas, [[3, 9 / 96], [3, 9 / 96], [5, 25 / 96], [5, 25 / 96]])
    scores[0, 0] = 1e9
    assert np.isnan(replknet_areas(scores, (0.99,))).all()
    with pytest.raises(ValueError, match="all of them above -1"):
        replknet_areas(scores - 2)


@given(
    factor=st.floats(1e-6, 1e6),
    seed=st.integers(0, 1000),
    centre=st.tuples(st.integers(4, 12), st.integers(4, 16)),
)
@settings(max_examples=30, deadline=None)
def test_no_measure_but_replknet_s_depends_on_scale(factor: float, seed: int, centre: tuple[int, int]) -> None:
    noise = np.random.default_rng(seed).random((17, 21))
    found = field(noise * bell((17, 21), centre, (2, 3)), centre=centre, box=Box(0, 0, 16, 20))
    before = found.measures()
    after = dataclasses.replace(found, map=found.map * factor).measures()
    assert before["scale_free"].all()
    np.testing.assert_allclose(after["value"], before["value"], rtol=1e-6)


def test_replknet_s_measure_depends_on_scale_and_says_so() -> None:
    found = field(bell((101, 101), (50, 50), (6, 6)))
    rescaled = dataclasses.replace(found, map=found.map * 1000)
    before, after = (entry.measures(replknet=True) for entry in (found, rescaled))
    theirs = before["measure"] == "replknet_area"
    assert theirs.sum() == 4
    assert (before["scale_free"] == ~theirs).all()
    assert (before["value"][theirs] < after["value"][theirs]).all()
    assert list(found.replknet().columns) == ["threshold", "side", "area_ratio"]


def test_measures_of_a_list_of_units_are_those_of_each() -> None:
    parts = tuple(field(np.eye(5), units=((row, row),), centre=(row, row)) for row in (1, 3))
    both = dataclasses.replace(parts[0], units=((1, 1), (3, 3)), parts=parts)
    frame = both.measures()
    assert list(frame["row"].unique()) == [1, 3]
    assert len(frame) == 2 * len(parts[0].measures())
    assert both.title == "output · 2 units"
    assert dataclasses.replace(parts[0], branch="d3").title == "output · unit (1, 1) · d3"


def test_the_mass_of_a_signed_map_is_its_size() -> None:
    map_ = np.zeros((5, 5))
    map_[2, 2], map_[2, 3] = -3, 1
    assert field(map_, reduce="signed").contribution_radius(0.75) == 0
