from __future__ import annotations

import pytest
import torch
from torch import nn

from rfkit.nn.single_step import DABModule, ESPModule


def _seen(model: nn.Module, channels: slice, width: int = 16) -> set[tuple[int, int]]:
    """Offsets of the pixels that reach the middle of these output channels, by random weights' gradients."""
    torch.manual_seed(0)
    x = torch.randn(2, width, 41, 41, requires_grad=True)
    model.eval()(x)[:, channels, 20, 20].sum().backward()
    rows, columns = torch.nonzero(x.grad.abs().sum((0, 1)), as_tuple=True)
    return {(int(row) - 20, int(column) - 20) for row, column in zip(rows, columns, strict=True)}


def _taps(*rates: int) -> set[tuple[int, int]]:
    return {(row, column) for rate in rates for row in (-rate, 0, rate) for column in (-rate, 0, rate)}


def test_esp_adds_its_branches_step_by_step_from_the_second_on() -> None:
    model = ESPModule(16, dilations=(1, 2, 4, 8))
    assert _seen(model, slice(0, 4)) == _taps(1)
    assert _seen(model, slice(4, 8)) == _taps(2)
    assert _seen(model, slice(8, 12)) == _taps(2, 4)
    assert _seen(model, slice(12, 16)) == _taps(2, 4, 8)


def test_channels_that_do_not_divide_go_to_the_first_branch() -> None:
    model = ESPModule(11, dilations=(1, 3, 5))
    assert [conv.out_channels for conv in model.branches] == [5, 3, 3]
    assert model(torch.zeros(1, 11, 5, 7)).shape == (1, 11, 5, 7)


def test_dab_has_a_near_and_a_far_branch_behind_a_3x3_convolution() -> None:
    model = DABModule(16, dilation=6)
    near = {(row + down, column + right) for row, column in _taps(1, 6) for down, right in _taps(1)}
    assert _seen(model, slice(None)) == near
    convs = [module for module in model.branches.modules() if isinstance(module, nn.Conv2d)]
    assert [(conv.kernel_size, conv.dilation, conv.groups) for conv in convs] == [
        ((3, 1), (1, 1), 8), ((1, 3), (1, 1), 8), ((3, 1), (6, 1), 8), ((1, 3), (1, 6), 8),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ESPModule(2, dilations=(1, 2, 4)), "channels=2 must be at least the number of rates, 3"),
        (lambda: ESPModule(8, dilations=(0, 2)), "whole numbers of at least 1"),
        (lambda: DABModule(7), "channels=7 must be even"),
        (lambda: DABModule(8, dilation=0), "whole numbers of at least 1"),
    ],
)  # fmt: skip
def test_what_is_not_allowed_is_named(build: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
