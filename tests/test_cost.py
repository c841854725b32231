"""Multiply-adds against closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rfkit.cost import multiply_adds, parameters


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Conv2d(3, 8, 3, padding=1), 8 * 3 * 9 * 10 * 12),
        (nn.Conv2d(4, 8, 3, padding=2, dilation=2, groups=4), 8 * 9 * 10 * 12),
        (nn.Conv2d(3, 8, 1, stride=2), 8 * 3 * 5 * 6),
    ],
)
def test_a_convolution(layer: nn.Module, expected: int) -> None:
    assert multiply_adds(layer, (layer.in_channels, 10, 12)) == expected
    assert multiply_adds(layer, (5, layer.in_channels, 10, 12)) == 5 * expected


@pytest.mark.parametrize(
    ("layer", "expected"),
    [(nn.BatchNorm2d(4), 2 * 4 * 10 * 12), (nn.UpsamplingBilinear2d(scale_factor=2), 8 * 4 * 20 * 24)],
)
def test_the_published_count_adds_norms_and_bilinear_upsampling(layer: nn.Module, expected: int) -> None:
    assert multiply_adds(layer, (4, 10, 12)) == 0
    assert multiply_adds(layer, (4, 10, 12), count="published") == expected


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    multiply_adds(model, (3, 4, 4))
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_parameters_are_the_learnable_numbers() -> None:
    assert parameters(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))) == 16 + 8
