from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from rfkit.data.dataset import IGNORE, InMemory
from rfkit.data.distance_tasks import (
    KINDS,
    DistanceTask,
    evidence_kernel,
    limited_accuracy,
    smooth_noise,
    square_window,
)

DISTANCES = {"cue": 3, "noise": 2, "mixture": {2: 0.25, 4: 0.75}, "null": 0, "size": 3, "period": 3}


def _tensors(task: DistanceTask) -> tuple[Tensor, Tensor]:
    """Gray values around zero, and labels."""
    data = InMemory(task, progress=False)
    return torch.as_tensor(data.images)[:, :1].double() - 128, torch.as_tensor(data.labels)


def _windows(task: DistanceTask, radius: int, shape: tuple[int, int] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The window around every labelled pixel, (pixels, height x width), and the classes."""
    gray, labels = _tensors(task)
    rows, columns = shape or (radius, radius)
    seen = F.unfold(gray, (2 * rows + 1, 2 * columns + 1), padding=(rows, columns))
    counted = labels.flatten(1) != IGNORE
    return seen.transpose(1, 2)[counted].numpy(), labels.flatten(1)[counted].numpy()


def _fitted_accuracy(features: np.ndarray, classes: np.ndarray) -> float:
    """Accuracy, both classes counting alike, on one half of a least-squares predictor fitted to the other."""
    design = np.column_stack([features, np.ones(len(features))])
    half = len(design) // 2
    weights = np.linalg.lstsq(design[:half], 2.0 * classes[:half] - 1, rcond=None)[0]
    right = (design[half:] @ weights > 0) == (classes[half:] == 1)
    return float(np.mean([right[classes[half:] == value].mean() for value in (0, 1)]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_task_is_a_data_set_that_repeats(kind: str) -> None:
    task = DistanceTask(kind, DISTANCES[kind], split="val", length=3, seed=5)
    again = DistanceTask(kind, DISTANCES[kind], split="val", length=9, seed=5)
    other = DistanceTask(kind, DISTANCES[kind], split="val", length=3, seed=6)
    train = DistanceTask(kind, DISTANCES[kind], split="train", length=3, seed=5)
    assert torch.equal(task[2].image, again[2].image)
    assert torch.equal(task[2].label, again[2].label)
    for different in (other[2], train[2], task[1]):
        assert not torch.equal(task[2].image, different.image)
    label = task[0].label
    assert (label[:12] == IGNORE).all()
    assert (label[:, -12:] == IGNORE).all()
    assert set(np.unique(torch.stack([sample.label for sample in again]))) == {0, 1, IGNORE}
    assert task.num_classes == len(task.colours) == 2
    assert len({*task.names, *train.names}) == 6


def test_trainval_is_train_and_then_val() -> None:
    whole = DistanceTask("cue", 3, split="trainval")
    assert len(whole) == 320
    assert torch.equal(whole[255].image, DistanceTask("cue", 3, split="train")[255].image)
    assert torch.equal(whole[256].image, DistanceTask("cue", 3, split="val")[0].image)
    assert torch.equal(DistanceTask("cue", 3, split="trainval", length=10)[9].image, whole[9].image)


def test_a_cue_is_what_a_dilated_kernel_without_centre_sees() -> None:
    gray, labels = _tensors(DistanceTask("cue", 5, length=4))
    ring = torch.ones(1, 1, 3, 3, dtype=torch.double)
    ring[..., 1, 1] = 0
    total = F.conv2d(gray, ring, padding=5, dilation=5)[:, 0]
    counted = (labels != IGNORE) & (total != 0)
    assert torch.equal(total[counted] > 0, labels[counted] == 1)


def test_noise_is_decided_by_the_mean_and_null_by_the_pixel() -> None:
    gray, labels = _tensors(DistanceTask("noise", 2, length=4))
    counted = labels != IGNORE
    mean = F.avg_pool2d(gray, 5, stride=1, padding=2)[:, 0]
    assert torch.equal((mean > 1e-9)[counted], labels[counted] == 1)
    gray, labels = _tensors(DistanceTask("null", 0, length=2))
    assert torch.equal((gray[:, 0] > 0)[labels != IGNORE], labels[labels != IGNORE] == 1)


@pytest.mark.parametrize("radius", [1, 3, 4])
def test_a_fitted_predictor_is_as_good_as_the_closed_form_says(radius: int) -> None:
    accuracy = _fitted_accuracy(*_windows(DistanceTask("cue", 4, length=40), radius))
    assert accuracy == pytest.approx(limited_accuracy("cue", 4, square_window(radius)), abs=0.025)


def test_less_than_the_distance_is_a_guess_and_the_distance_suffices() -> None:
    # Independent pixels from 2 x smoothness + 1 pixels on; white noise tells nothing before the distance itself.
    for smoothness, blind in ((0, 4), (1, 2), (2, 0)):
        assert limited_accuracy("cue", 5, square_window(blind), smoothness=smoothness) == pytest.approx(0.5)
        assert limited_accuracy("cue", 5, square_window(blind + 1), smoothness=smoothness) > 0.5
        assert limited_accuracy("cue", 5, square_window(5), smoothness=smoothness) == pytest.approx(1, abs=1e-5)
    assert limited_accuracy("null", 0, square_window(0)) == pytest.approx(1, abs=1e-6)
    for radius in (0, 2, 3):
        expected = 1 - math.acos((2 * radius + 1) / 7) / math.pi
        assert limited_accuracy("noise", 3, square_window(radius), smoothness=0) == pytest.approx(expected)


def test_the_shares_of_a_mixture_are_the_weights_of_its_cues() -> None:
    # White noise: the cue alone has the correlation share / sqrt(sum of squared shares) with the evidence.
    found = limited_accuracy("mixture", {2: 0.25, 4: 0.75}, square_window(4, 4), smoothness=0)
    assert found == pytest.approx(1 - math.acos(0.75 / math.hypot(0.25, 0.75)) / math.pi)


def test_a_bar_looks_the_same_within_its_radius() -> None:
    task = DistanceTask("size", 3, length=60)
    inner, classes = _windows(task, 2)
    outer, _ = _windows(task, 3)
    assert 0.4 < classes.mean() < 0.6
    apart = [np.abs(seen - seen[:, seen.shape[1] // 2, None]) for seen in (inner, outer)]
    assert _fitted_accuracy(apart[0], classes) == pytest.approx(0.5, abs=0.04)
    assert _fitted_accuracy(apart[1], classes) > 0.9


def test_a_period_cannot_be_seen_in_a_narrower_window() -> None:
    task = DistanceTask("period", 3, length=20)
    seen, classes = _windows(task, 3, (0, 3))
    inner = seen[:, 1:-1]
    first, second = np.triu_indices(inner.shape[1])
    products = inner[:, first] * inner[:, second] / 1600
    assert _fitted_accuracy(products, classes) == pytest.approx(0.5, abs=0.04)
    # The two ends are equal or opposite.
    apart = seen[:, 0] != 0
    assert ((seen[:, 0] * seen[:, -1] > 0) == (classes == 1))[apart].all()


def test_the_noise_has_the_variance_and_the_reach_that_the_bounds_assume() -> None:
    field = smooth_noise(np.random.default_rng(0), (400, 400), 1)
    assert field.var() == pytest.approx(1, abs=0.03)
    for lag, expected in ((1, 4 / 6), (2, 1 / 6), (3, 0)):
        assert (field[lag:] * field[:-lag]).mean() == pytest.approx(expected, abs=0.03)
    kernel = evidence_kernel("cue", {2: 1.0}, 0)
    assert np.count_nonzero(kernel) == 8
    assert kernel[2, 2] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "texture"}, "kind='texture' is not known"),
        ({"split": "dev"}, "split='dev' is not known"),
        ({"distance": 0}, "distance=0 must be a whole number of at least 1"),
        ({"distance": 2.5}, "distance=2.5 must be"),
        ({"kind": "null", "distance": 3}, "distance=3 must be 0 for kind='null'"),
        ({"distance": {3: 1.0}}, "only a mixture has several"),
        ({"kind": "mixture", "distance": {3: 0.5, 9: 0.4}}, "shares, sum 1"),
        ({"kind": "mixture", "distance": 3}, "shares, sum 1"),
        ({"kind": "mixture", "distance": {3: 1.5, 9: -0.5}}, "every share must be above 0"),
        ({"distance": 13}, "margin=12 must be at least the distance, 13"),
        ({"size": (24, 64)}, "less than half of size"),
        ({"length": 0}, "length=0 must be a whole number of at least 1"),
        ({"seed": -1}, "seed=-1 must be"),
        ({"seed": 1 << 32}, "below 2"),
        ({"smoothness": 0.5}, "smoothness=0.5 must be"),
    ],
)  # fmt: skip
def test_what_is_not_allowed_is_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DistanceTask(**arguments)


def test_bounds_without_a_closed_form_are_refused() -> None:
    with pytest.raises(ValueError, match="kind='size' is not known; allowed: cue"):
        limited_accuracy("size", 3, square_window(1))
