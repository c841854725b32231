from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rfkit.metrics import ConfusionMatrix


def _counted(prediction: list[list[int]], label: list[list[int]], classes: int = 3) -> ConfusionMatrix:
    confusion = ConfusionMatrix(classes)
    confusion.update(torch.tensor(prediction), torch.tensor(label))
    return confusion


def test_closed_form() -> None:
    confusion = _counted([[0, 0, 1, 1, 2, 0]], [[0, 0, 0, 1, 1, 255]])
    assert confusion.matrix.tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 0]]
    # Intersection over union: 2 / 3, 1 / 3, and 0 / 1 for the class that was only predicted.
    assert confusion.class_iou().tolist() == pytest.approx([2 / 3, 1 / 3, 0])
    assert confusion.miou() == pytest.approx(1 / 3)
    assert confusion.pixel_accuracy() == pytest.approx(3 / 5)
    assert confusion.matrix.dtype == np.int64


def test_class_in_neither_is_nan_and_left_out() -> None:
    confusion = _counted([[0, 0, 1]], [[0, 1, 1]], classes=4)
    iou = confusion.class_iou()
    assert iou[:2].tolist() == [0.5, 0.5]
    assert np.isnan(iou[2:]).all()
    assert confusion.miou() == 0.5


def test_nothing_counted_is_nan() -> None:
    confusion = _counted([[0, 1]], [[255, 255]])
    assert np.isnan(confusion.miou())
    assert np.isnan(confusion.pixel_accuracy())


def test_one_matrix_over_the_set_is_not_a_mean_of_images() -> None:
    first, second = _counted([[0, 0, 0, 0]], [[0, 0, 0, 1]], 2), _counted([[1]], [[1]], 2)
    both = first + second
    assert both.class_iou().tolist() == pytest.approx([3 / 4, 1 / 2])
    assert both.miou() != pytest.approx((first.miou() + second.miou()) / 2)
    assert first.matrix.sum() == 4  # the sum is a new one


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), classes=st.integers(1, 200))
def test_agrees_with_counting_one_by_one(seed: int, classes: int) -> None:
    generator = np.random.default_rng(seed)
    label = generator.integers(0, classes, (2, 5, 7))
    label[generator.random(label.shape) < 0.2] = 255
    prediction = generator.integers(0, classes, label.shape)
    expected = np.zeros((classes, classes), dtype=np.int64)
    for row, column in zip(label.ravel(), prediction.ravel(), strict=True):
        if row != 255:
            expected[row, column] += 1
    confusion = ConfusionMatrix(classes)
    confusion.update(torch.from_numpy(prediction), torch.from_numpy(label).to(torch.uint8))
    assert (confusion.matrix == expected).all()


def test_errors_name_the_argument() -> None:
    with pytest.raises(ValueError, match="num_classes=0 must be at least 1"):
        ConfusionMatrix(0)
    with pytest.raises(ValueError, match=r"prediction has shape \(1, 2\); label \(1, 3\)"):
        _counted([[0, 1]], [[0, 1, 2]])
    with pytest.raises(ValueError, match="label holds values from 0 to 7; allowed: 0 to 2"):
        _counted([[0, 1]], [[0, 7]])
    with pytest.raises(ValueError, match="prediction holds values from 0 to 3"):
        _counted([[0, 3]], [[0, 1]])
    with pytest.raises(ValueError, match="other counts 2 classes"):
        ConfusionMatrix(3) + ConfusionMatrix(2)
