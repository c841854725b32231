from __future__ import annotations

import importlib.util
import itertools
import math
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from rfkit.analysis import coverage
from rfkit.analysis.coverage import gridding
from rfkit.analysis.theoretical import trace
from rfkit.results.base import Result
from rfkit.results.gridding import Gridding

GOLDEN = tomllib.loads((Path(__file__).parents[1] / "golden" / "dilation_bounds.toml").read_text(encoding="utf-8"))
REGSEG = {entry["name"]: entry for entry in GOLDEN["regseg"]["lists"]}


def regseg(name: str, **options: object) -> Gridding:
    rates = [tuple(rates) for rates, times in REGSEG[name]["blocks"] for _ in range(times)]
    return gridding(rates, field=GOLDEN["regseg"]["field"], stride=GOLDEN["regseg"]["stride"], **options)


def sums(rates: Sequence[int]) -> set[int]:
    """Every sum of one of -r, 0, r for each rate."""
    return {sum(taps) for taps in itertools.product(*[(-rate, 0, rate) for rate in rates])}


@pytest.fixture(scope="module")
def plain() -> ModuleType:
    """The module as a user has it, without the checks of annotations that the other tests run under.

    They would answer a wrong type before the function does.
    """
    spec = importlib.util.spec_from_file_location("plain_coverage", coverage.__file__)
    module = importlib.util.module_from_spec(spec)
    sys.modules["plain_coverage"] = module
    spec.loader.exec_module(module)
    return module


# Closed forms and published numbers.


@pytest.mark.parametrize("golden", GOLDEN["hdc"]["lists"], ids=lambda golden: str(golden["dilations"]))
def test_the_published_examples(golden: dict) -> None:
    found = gridding(golden["dilations"])
    assert list(found.missing) == golden["missing"]
    assert found.contiguous == (not golden["missing"])
    assert (found.m2, found.hdc, found.within_bound) == (golden["m2"], golden["passes"], golden["within"])
    assert found.size == 2 * sum(golden["dilations"]) + 1
    assert found.coverage == (found.size - len(golden["missing"])) / found.size
    assert found.coverage_2d == pytest.approx(found.coverage**2, rel=1e-15)
    assert found.offsets[found.support].tolist() == sorted(sums(golden["dilations"]))


def test_regsegs_bounds() -> None:
    found = regseg("main")
    assert [round(layer.bound, 2) for layer in found.layers] == pytest.approx(GOLDEN["regseg"]["bounds"], abs=0.005)
    assert [layer.dilation for layer in found.layers] == [1, 2, 4, 4, 4, 4, 14, 14, 14, 14, 14, 14, 14]
    assert found.hdc is None
    assert found.hdc_reason == "a layer has parallel branches"


@pytest.mark.parametrize("name", REGSEG)
def test_regsegs_lists_of_dilation_rates(name: str) -> None:
    found = regseg(name, plane=name in ("main", "4 and 10"))
    assert found.size == REGSEG[name]["size"]
    assert found.within_bound == REGSEG[name]["within"]
    assert found.contiguous


def test_the_list_that_breaks_regsegs_bound_has_holes_in_2d_alone() -> None:
    """Along an axis the branch with rate 1 fills what the other leaves; in the corners of the square it does not."""
    found = regseg("4 and 10")
    assert [layer.layer for layer in found.layers if not layer.within_bound] == [1]
    assert all(layer.contiguous for layer in found.layers)
    # Rate 4: 3 x 3 windows of 63 pixels a side, 64 apart. Rate 1: a square of 95, of which those leave 95^2 - 93^2.
    assert found.layers[0].coverage_2d == (9 * 63**2 + 95**2 - 93**2) / 191**2
    assert found.contiguous_2d is False
    assert 0.99 < found.coverage_2d < 1
    corner = found.mask()[:64, :64]
    assert corner[:63, :63].all()
    assert not corner[63, :48].any()
    assert corner[63, 48:].all()
    assert str(found) == (
        "[5 x (1, 4), 8 x (1, 10)]: 3263 pixels, coverage 100 % (just under 100 % in 2-D), contiguous along each axis "
        "but not in 2-D; HDC does not apply (a layer has parallel branches); RegSeg fails (4 > 3.938 at layer 1)"
    )


def test_largest_gap() -> None:
    assert [layer.largest_gap for layer in gridding([4, 4, 1]).layers] == [3, 3, 1]
    assert gridding([1, 2, 9]).largest_gap == 2
    assert gridding([1, 2, 5]).largest_gap == 0
    assert gridding([1, 1], 1).largest_gap == 0


def test_a_stack_of_plain_convolutions_has_binomial_paths() -> None:
    found = gridding([1] * 5, 2)
    np.testing.assert_allclose(np.exp(found.log_paths), [math.comb(5, index) for index in range(6)], rtol=1e-14)
    assert found.offsets.tolist() == list(range(6))


def test_paths_of_a_long_stack_do_not_overflow() -> None:
    layers = 900
    found = gridding([1] * layers)
    central = sum(math.comb(layers, 2 * k) * math.comb(2 * k, k) for k in range(layers // 2 + 1))
    assert central > 10**400
    assert found.log_paths[layers] == pytest.approx(math.log(central), rel=1e-15)
    assert found.log_paths[[0, 1, -2, -1]] == pytest.approx([0, math.log(layers), math.log(layers), 0], rel=1e-15)


def test_a_field_before_the_stack_covers_the_holes() -> None:
    """Windows of k pixels, r s apart, leave no gap if and only if r s <= k."""
    for field, stride, rate in itertools.product((1, 5, 7), (1, 2, 3), range(1, 9)):
        (layer,) = gridding([rate], field=field, stride=stride, plane=False).layers
        assert layer.contiguous == layer.within_bound == (rate * stride <= field)
        assert layer.largest_gap == max(0, rate * stride - field)
        assert layer.size == field + 2 * rate * stride


def test_strides_count_for_what_follows() -> None:
    found = gridding([1, 1, 3], [7, 3, 3], strides=[2, 2, 1])
    assert [layer.size for layer in found.layers] == [7, 11, 35]
    assert [layer.output_stride for layer in found.layers] == [2, 4, 4]
    assert [layer.bound for layer in found.layers] == [1, 3.5, 2.75]
    assert [layer.within_bound for layer in found.layers] == [True, True, False]
    assert found.missing == (-6, 6)
    assert found.hdc is None


def test_parallel_branches_reach_less_in_2d_than_their_coverage_squared() -> None:
    found = gridding([(1, 2)])
    assert found.contiguous
    assert found.contiguous_2d is False
    assert found.coverage_2d == 17 / 25
    # Rates 1 and 2 in both directions at once: never 1 down and 2 across.
    inner, outer = np.zeros((5, 5), bool), np.zeros((5, 5), bool)
    inner[1:4, 1:4] = outer[::2, ::2] = True
    np.testing.assert_array_equal(found.mask(), inner | outer)
    assert "coverage 100 % (68 % in 2-D), contiguous along each axis but not in 2-D" in str(found)


def test_a_branch_with_kernel_1_is_a_shortcut() -> None:
    found = gridding([3, (3, 1)], [2, (2, 1)])
    assert found.offsets[found.support].tolist() == [-2, -1, 1, 2, 4]
    assert found.layers[1].dilation == 3
    assert gridding([5], 1, field=1, stride=2).within_bound
    assert gridding([(1, 6, 12)], [(1, 3, 3)]).missing == tuple(offset for offset in range(-12, 13) if offset % 6)


# The rules beside the exact answer.


def test_the_rules_agree_for_every_short_list_that_grows_from_1_and_not_for_others(plain: ModuleType) -> None:
    disagree, reached = set(), {(): {0}}
    for length in range(1, 6):
        for rates in itertools.product(range(1, 7), repeat=length):
            reached[rates] = {start + tap for start in reached[rates[:-1]] for tap in (-rates[-1], 0, rates[-1])}
            found = plain.gridding(rates)
            assert set(found.offsets[found.support].tolist()) == reached[rates]
            if length > 1 and len({found.hdc, found.within_bound, found.contiguous}) > 1:
                disagree.add(rates)
    assert {(2, 2, 2), (1, 4, 2), (1, 3, 1)} <= disagree
    assert not [rates for rates in disagree if rates[0] == 1 and list(rates) == sorted(rates)]


def test_hdcs_rule_is_made_for_kernels_of_3() -> None:
    found = gridding([1, 1, 9], 5)
    assert (found.m2, found.hdc, found.within_bound, found.contiguous) == (7, False, True, True)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=9))
@settings(max_examples=100, deadline=None)
def test_the_rules_agree_for_rates_that_grow_from_1(steps: list[int]) -> None:
    found = gridding(list(itertools.accumulate(steps, initial=1)))
    assert found.hdc == found.within_bound == found.contiguous


LAYERS = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=3),
        st.sampled_from([1, 1, 1, 2, 3]),
    ),
    min_size=1,
    max_size=4,
)


@given(LAYERS, st.integers(1, 6), st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_within_regsegs_bound_nothing_is_missed(layers: list, field: int, stride: int) -> None:
    rates, kernels, strides = arguments(layers)
    found = gridding(rates, kernels, strides=strides, field=max(field, stride), stride=stride)
    if found.within_bound:
        assert found.contiguous
        assert found.contiguous_2d


# An oracle that shares nothing with the implementation: gradients of convolutions whose weights are all 1.


def arguments(layers: list) -> tuple[list, list, list]:
    """Rates, kernels and strides as `gridding` takes them."""
    rates = [tuple(rate for rate, _ in branches) for branches, _ in layers]
    kernels = [tuple(kernel for _, kernel in branches) for branches, _ in layers]
    return rates, kernels, [stride for _, stride in layers]


def convolve(maps: Tensor, kernel: int, rate: int) -> Tensor:
    axes = maps.dim() - 2
    weight = torch.ones(1, 1, *[kernel] * axes, dtype=torch.float64)
    return (F.conv1d if axes == 1 else F.conv2d)(maps, weight, padding="same", dilation=rate)


def gradient(layers: list, field: int, stride: int, *, axes: int) -> tuple[np.ndarray, int]:
    """Paths from every pixel to a unit in the middle, and the pixel under that unit."""
    reach = field + stride * sum(
        math.prod(stride for _, stride in layers[:index]) * max(rate * kernel for rate, kernel in branches)
        for index, (branches, _) in enumerate(layers)
    )
    total = stride * math.prod(stride for _, stride in layers)
    unit = -(-reach // total)
    image = torch.zeros(1, 1, *[2 * unit * total + 1] * axes, dtype=torch.float64, requires_grad=True)
    maps = convolve(image, field, 1)
    maps = maps[(..., *[slice(None, None, stride)] * axes)]
    for branches, step in layers:
        maps = torch.stack([convolve(maps, kernel, rate) for rate, kernel in branches]).sum(0)
        maps = maps[(..., *[slice(None, None, step)] * axes)]
    maps[(0, 0, *[unit] * axes)].backward()
    return image.grad[0, 0].numpy(), unit * total


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@given(LAYERS, st.integers(1, 6), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_support_and_paths_are_those_of_gradients(layers: list, field: int, stride: int) -> None:
    rates, kernels, strides = arguments(layers)
    found = gridding(rates, kernels, strides=strides, field=field, stride=stride, plane=False)
    for depth, layer in enumerate(found.layers, start=1):
        paths, centre = gradient(layers[:depth], field, stride, axes=1)
        reached = np.flatnonzero(paths)
        assert (layer.first, layer.size) == (reached[0] - centre, reached[-1] - reached[0] + 1)
        inside = paths[reached[0] : reached[-1] + 1]
        np.testing.assert_array_equal(layer.support, inside > 0)
        assert layer.missing == tuple((np.flatnonzero(inside == 0) + layer.first).tolist())
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(found.log_paths, np.log(inside), rtol=1e-13, atol=1e-13)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@given(LAYERS.filter(lambda layers: len(layers) < 4), st.integers(1, 3), st.integers(1, 2))
@settings(max_examples=40, deadline=None)
def test_coverage_in_2d_is_that_of_gradients(layers: list, field: int, stride: int) -> None:
    rates, kernels, strides = arguments(layers)
    found = gridding(rates, kernels, strides=strides, field=field, stride=stride)
    paths, centre = gradient(layers, field, stride, axes=2)
    start = centre + found.layers[-1].first
    assert paths.sum() == paths[start : start + found.size, start : start + found.size].sum()
    np.testing.assert_array_equal(found.mask(), paths[start : start + found.size, start : start + found.size] > 0)
    assert found.coverage_2d == pytest.approx((paths > 0).sum() / found.size**2, rel=1e-15)
    for depth, layer in enumerate(found.layers, start=1):
        assert (
            layer.coverage_2d
            == gridding(rates[:depth], kernels[:depth], strides=strides[:depth], field=field, stride=stride).coverage_2d
        )


@given(st.lists(st.tuples(st.integers(1, 5), st.sampled_from([1, 3, 5]), st.integers(1, 2)), min_size=1, max_size=3))
@settings(max_examples=15, deadline=None)
def test_it_agrees_with_the_trace_of_a_network(layers: list) -> None:
    rates, kernels, strides = zip(*layers, strict=True)
    found = gridding(rates, kernels, strides=strides)
    network = nn.Sequential(
        *[
            nn.Conv2d(1, 1, kernel, stride=stride, dilation=rate, padding=rate * (kernel // 2))
            for rate, kernel, stride in layers
        ]
    )
    side = 2 * found.size + 1
    fields = trace(network, (1, side, side)).output
    support = fields.support(*fields.unit(side // 2, side // 2))
    np.testing.assert_array_equal(support.mask, found.mask())
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(support.log_paths, np.add.outer(found.log_paths, found.log_paths), rtol=1e-12)
    measures = fields.measures(0)
    assert (measures["coverage"], measures["largest_gap"]) == (found.coverage, found.largest_gap)


# The result.


def test_one_row_per_layer() -> None:
    frame = gridding([1, (1, 4), 2], strides=[2, 1, 1]).to_frame()
    assert list(frame.columns) == [
        "layer", "rates", "kernel", "dilation", "stride", "output_stride", "size", "coverage", "coverage_2d",
        "largest_gap", "missing", "contiguous", "hdc_m", "bound", "within_bound",
    ]  # fmt: skip
    assert frame["rates"].tolist() == ["1", "1, 4", "2"]
    assert frame["dilation"].tolist() == [1, 4, 2]
    assert frame["stride"].tolist() == [2, 1, 1]
    assert frame["size"].tolist() == [3, 19, 27]
    assert frame["hdc_m"].isna().all()
    assert frame["within_bound"].tolist() == [True, False, True]
    assert gridding([1, 2, 9]).to_frame()["hdc_m"].tolist() == [3, 5, 9]


def test_the_summary_gives_all_verdicts() -> None:
    assert str(gridding([1, 2, 9])) == (
        "[1, 2, 9]: 25 pixels, coverage 84 % (70.6 % in 2-D), misses ±4, ±5, largest gap 2; "
        "HDC fails (M_2 = 5 > 3); RegSeg fails (9 > 7 at layer 3)"
    )
    assert str(gridding([2, 2])) == (
        "[2, 2]: 9 pixels, coverage 55.6 % (30.9 % in 2-D), misses ±1, ±3, largest gap 1; "
        "HDC passes (M_2 = 2 <= 3); RegSeg fails (2 > 1 at layer 1)"
    )
    assert "misses ±1, ±2, ±3, ±4 and 4 more" in str(gridding([5, 5]))
    assert "misses 0, ±2, largest" in str(gridding([2, 2], [2, 3]))
    assert "misses 0, +1, largest" in str(gridding([4, 1], 2))


def test_it_is_saved_and_read_back(tmp_path: Path) -> None:
    for found in (gridding([1, 2, 9]), gridding([1, (1, 4)], field=3, stride=2), gridding([(1, 2)], plane=False)):
        assert Result.load(found.save(tmp_path / "found.npz")) == found


def test_without_the_plane_nothing_is_guessed() -> None:
    found = gridding([1, (1, 4)], plane=False)
    assert found.layers[0].coverage_2d == 1
    assert math.isnan(found.coverage_2d)
    assert found.contiguous_2d is None
    assert "in 2-D" not in str(found)
    with pytest.raises(ValueError, match=r"the support in 2-D was not computed; call gridding with plane=True"):
        found.mask()
    assert gridding([2, 2], plane=False).mask().sum() == 25


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"dilations": [1, (1, 2)]}, "a layer has parallel branches"),
        ({"dilations": [1, 2], "strides": [2, 1]}, "strides, or a field before the stack"),
        ({"dilations": [1, 2], "field": 3}, "strides, or a field before the stack"),
        ({"dilations": [1, 2], "kernel": [3, 5]}, "kernels differ"),
        ({"dilations": [2, 2], "kernel": 1}, "kernels have one tap"),
        ({"dilations": [2]}, "a single layer has no M_2"),
    ],
)
def test_hdc_is_not_guessed_where_it_does_not_apply(arguments: dict, reason: str) -> None:
    found = gridding(**arguments)
    assert found.hdc is None
    assert math.isnan(found.m2)
    assert f"HDC does not apply ({reason})" in str(found)
    assert found.to_frame()["hdc_m"].isna().all()


def test_a_stride_of_the_last_layer_does_not_matter() -> None:
    assert gridding([1, 2, 5], strides=[1, 1, 2]).hdc is True


def test_numpy_numbers_and_arrays_are_taken(plain: ModuleType) -> None:
    found = plain.gridding(np.array([1, 2, 5]), np.array([3, 3, 3]), strides=np.ones(3, int), field=np.int64(1))
    assert found == gridding([1, 2, 5])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dilations": [1, 0]}, r"dilations\[1\]=0 must be a whole number of at least 1"),
        ({"dilations": [1, (2, -1)]}, r"dilations\[1\]\[1\]=-1 must be a whole number of at least 1"),
        ({"dilations": [1.5]}, r"dilations\[0\]=1.5 must be a whole number"),
        ({"dilations": [True]}, r"dilations\[0\]=True must be a whole number"),
        ({"dilations": ["2"]}, r"dilations\[0\]='2' must be a whole number"),
        ({"dilations": "12"}, r"dilations='12' must be a list, with one entry per layer"),
        ({"dilations": 2}, r"dilations=2 must be a list, with one entry per layer"),
        ({"dilations": []}, r"dilations=\[\] must name at least one layer"),
        ({"dilations": [()]}, r"dilations\[0\]=\(\) must name at least one branch"),
        ({"dilations": [1, 2], "kernel": 0}, r"kernel=0 must be a whole number of at least 1"),
        ({"dilations": [1, 2], "kernel": 3.0}, r"kernel=3.0 must be a whole number"),
        ({"dilations": [1, 2], "kernel": [3]}, r"kernel has 1 entries for the 2 layers of `dilations`"),
        (
            {"dilations": [1, 2], "kernel": [3, (3, 3)]},
            r"kernel\[1\] has 2 entries for the 1 branches of dilations\[1\]",
        ),
        ({"dilations": [1, 2], "kernel": [3, -3]}, r"kernel\[1\]=-3 must be a whole number"),
        ({"dilations": [1, 2], "strides": [1, 1, 1]}, r"strides has 3 entries for the 2 layers of `dilations`"),
        ({"dilations": [1, 2], "strides": [1, 0]}, r"strides\[1\]=0 must be a whole number"),
        ({"dilations": [1, 2], "strides": 2}, r"strides=2 must be a list, with one entry per layer"),
        ({"dilations": [1], "field": 0}, r"field=0 must be a whole number"),
        ({"dilations": [1], "stride": 0.5}, r"stride=0.5 must be a whole number"),
        ({"dilations": [(1, 9000)]}, r"dilations reach 18001 pixels; .* up to 16384: use plane=False"),
    ],
)
def test_bad_arguments_are_named(arguments: dict, message: str, plain: ModuleType) -> None:
    with pytest.raises(ValueError, match=message):
        plain.gridding(**arguments)
