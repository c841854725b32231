"""Gradients of dilated depth-wise convolutions under bfloat16 autocast."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from rfkit.nn.learned_dilation import LearnedDilation
from rfkit.training.precision import depthwise_in_single_precision


def _gradient(
    conv: nn.Conv2d, x: torch.Tensor, upstream: torch.Tensor, *, bf16: bool, channels_last: bool
) -> torch.Tensor:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    conv = copy.deepcopy(conv).to(memory_format=layout)
    with depthwise_in_single_precision(conv), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        output = conv(x.contiguous(memory_format=layout))
    output.float().backward(upstream)
    return conv.weight.grad


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("rate", [3, 5])
def test_the_weight_gradient_is_right_in_both_layouts(rate: int, channels_last: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    conv = nn.Conv2d(64, 64, 3, padding=rate, dilation=rate, groups=64, bias=False)
    nn.init.normal_(conv.weight, generator=generator)
    x, upstream = (torch.randn(4, 64, 45, 60, generator=generator) for _ in range(2))
    expected = _gradient(conv, x, upstream, bf16=False, channels_last=False)
    found = _gradient(conv, x, upstream, bf16=True, channels_last=channels_last)
    assert ((found - expected).norm() / expected.norm()).item() < 1e-3


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(
        nn.Conv2d(4, 4, 3, dilation=2, groups=4), nn.Conv2d(4, 4, 3, dilation=2), nn.Conv2d(4, 4, 3, groups=4)
    )
    with depthwise_in_single_precision(model):
        assert ["forward" in vars(module) for module in model] == [True, False, False]
        with torch.autocast("cpu", torch.bfloat16):
            types = [layer(torch.randn(1, 4, 9, 9)).dtype for layer in model]
        assert types == [torch.float32, torch.bfloat16, torch.bfloat16]
    assert not any("forward" in vars(module) for module in model)


def test_a_learned_rate_may_leave_one() -> None:
    layer = LearnedDilation(nn.Conv2d(4, 4, 3, padding=1, groups=4))
    with depthwise_in_single_precision(layer), torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.randn(1, 4, 9, 9)).dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.randn(1, 4, 9, 9)).dtype == torch.bfloat16
