"""VAN's parts and the pyramid: counts, shapes, reach, values, errors."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rfkit.cost import parameters
from rfkit.nn.fpn import FPNDecoder
from rfkit.nn.norms import ChannelNorm, make_norm
from rfkit.nn.van import LargeKernelAttention, VANBlock, VANStage


def test_large_kernel_attention_reaches_23_units_without_holes() -> None:
    attention = LargeKernelAttention(2).double()
    for convolution in (attention.near, attention.far, attention.mix):
        nn.init.ones_(convolution.weight)
    x = torch.rand(1, 2, 41, 41, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(attention(x)[0, 0, 20, 20], x)
    reached = gradient[0, 1] != 0
    assert reached[9:32, 9:32].all()
    assert reached.sum() == 23 * 23


def test_large_kernel_attention_multiplies_its_input() -> None:
    attention = LargeKernelAttention(3)
    x = torch.randn(2, 3, 9, 11)
    torch.testing.assert_close(attention(x), x * attention.mix(attention.far(attention.near(x))))


@pytest.mark.parametrize(("channels", "ratio"), [(32, 8), (160, 4)])
def test_parameters_of_a_block(channels: int, ratio: int) -> None:
    hidden = ratio * channels
    attention = 3 * channels * (channels + 1) + channels * (25 + 1) + channels * (49 + 1)
    mlp = channels * hidden + hidden + 10 * hidden + hidden * channels + channels
    norms_and_scales = 2 * 2 * channels + 2 * channels
    assert parameters(VANBlock(channels, mlp_ratio=ratio)) == attention + mlp + norms_and_scales


def test_a_block_is_two_scaled_residuals() -> None:
    torch.manual_seed(0)
    block = VANBlock(4, mlp_ratio=2, layer_scale=0.5).eval()
    x = torch.randn(2, 4, 7, 8)
    inner = block.attention.norm(x)
    part = block.attention.attention
    first = x + 0.5 * (inner + part.leave(part.attention(F.gelu(part.enter(inner)))))
    hidden = block.mlp.depthwise(block.mlp.enter(block.mlp.norm(first)))
    torch.testing.assert_close(block(x), first + 0.5 * block.mlp.leave(F.gelu(hidden)))


@pytest.mark.parametrize("size", [(1, 1), (45, 67), (64, 96)])
@pytest.mark.parametrize(("kernel_size", "stride"), [(7, 4), (3, 2)])
def test_a_stage_rounds_its_size_up(kernel_size: int, stride: int, size: tuple[int, int]) -> None:
    stage = VANStage(3, 8, depth=2, kernel_size=kernel_size, stride=stride).eval()
    assert stage(torch.randn(1, 3, *size)).shape == (1, 8, -(-size[0] // stride), -(-size[1] // stride))


def test_channel_norm_normalises_each_position_by_itself() -> None:
    x = torch.randn(2, 16, 3, 4)
    normed = ChannelNorm(16)(x)
    assert normed.mean(1).abs().max() < 1e-5
    assert (normed.var(1, unbiased=False) - 1).abs().max() < 1e-3
    changed = x.clone()
    changed[:, :, 0, 0] += 10 * torch.randn(16)
    assert torch.equal(ChannelNorm(16)(changed)[:, :, 1:], normed[:, :, 1:])
    assert isinstance(make_norm("none", 3), nn.Identity)


@pytest.mark.parametrize("upsampling", ["nearest", "bilinear"])
def test_the_pyramid_adds_what_comes_from_above(upsampling: str) -> None:
    torch.manual_seed(0)
    decoder = FPNDecoder((2, 3, 4), 5, width=6, head_width=8, upsampling=upsampling).eval()
    maps = [torch.randn(1, 2, 17, 22), torch.randn(1, 3, 9, 11), torch.randn(1, 4, 5, 6)]

    def up(x: torch.Tensor, like: torch.Tensor, mode: str = "bilinear") -> torch.Tensor:
        return F.interpolate(x, like.shape[-2:], mode=mode)

    top = decoder.lateral[2](maps[2])
    middle = decoder.lateral[1](maps[1]) + up(top, maps[1], upsampling)
    fine = decoder.lateral[0](maps[0]) + up(middle, maps[0], upsampling)
    fine, middle, top = (smooth(level) for smooth, level in zip(decoder.smooth, (fine, middle, top), strict=True))
    high = up(decoder.climb[2][1](up(decoder.climb[2][0](top), middle)), fine)
    total = decoder.climb[0][0](fine) + up(decoder.climb[1][0](middle), fine) + high
    expected = F.interpolate(decoder.classifier(total), (66, 86), mode="bilinear")
    torch.testing.assert_close(decoder(maps, (66, 86)), expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: VANStage(3, 8, depth=0), r"depth=0 must be above 0"),
        (lambda: VANStage(3, 8, depth=1, norm="group"), r"norm='group' is not known; allowed: batch, layer, none"),
        (lambda: VANBlock(8, mlp_ratio=0), r"mlp_ratio=0 must be above 0"),
        (lambda: FPNDecoder((2, 3), 5, upsampling="cubic"), r"upsampling='cubic' is not known"),
    ],
)
def test_errors_name_the_argument(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
