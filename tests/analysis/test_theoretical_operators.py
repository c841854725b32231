"""Operators one by one: the theoretical receptive field against gradients, or an honest "unknown"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from analysis import oracle
from torch import Tensor, nn

from rfkit.analysis.theoretical import trace

SIZE = (13, 10)

# What the specification asks for by name: these have to be exact.
EXACT: dict[str, Callable[[Tensor], Any]] = {
    "relu": F.relu,
    "in place": lambda x: x.clone().mul_(2).add_(1).relu_(),
    "gate of itself": lambda x: x * torch.sigmoid(x),
    "softmax over channels": lambda x: x.softmax(1),
    "argumentless arithmetic": lambda x: (1 - x) / 2 + x**2 - x.abs().clamp(0, 6).sqrt(),
    "where": lambda x: torch.where(x > 0, x, x.flip(3)),
    "maximum": lambda x: torch.maximum(x, x.roll(2, 3)),
    "masked fill": lambda x: x.masked_fill(x < 0, 0.0),
    "normalise over channels": lambda x: F.normalize(x, dim=1),
    "constant": lambda x: x + torch.ones(4, 1, 1),
    "row added to all rows": lambda x: x + x[:, :, 3:4],
    "dropout": lambda x: F.dropout2d(x, 0.5, training=False),
    "local response norm": lambda x: F.local_response_norm(x, 2),
    "cat channels": lambda x: torch.cat([x, x.flip(2)], 1),
    "cat rows": lambda x: torch.cat([x[:, :, 4:], x[:, :, :2]], 2),
    "cat columns": lambda x: torch.cat([x, x.flip(3)], -1),
    "stack": lambda x: torch.stack([x, x.roll(1, 2)]).sum(0),
    "split rows": lambda x: torch.add(*x[:, :, :12].split(6, 2)),
    "chunk columns": lambda x: torch.mul(*x.chunk(2, 3)),
    "unbind": lambda x: x.unbind(1)[2].unsqueeze(1),
    "slice": lambda x: x[:, 1:3, 2:-1, ::3],
    "select a row": lambda x: x[:, :, 5].unsqueeze(2),
    "narrow": lambda x: x.narrow(2, 3, 7),
    "flip": lambda x: torch.flip(x, (2, 3)),
    "transpose": lambda x: x.transpose(2, 3),
    "there and back": lambda x: x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
    "tokens and back": lambda x: x.flatten(2).transpose(1, 2).transpose(1, 2).reshape(x.shape),
    "channels in front": lambda x: x.reshape(len(x), 2, 2, *x.shape[2:]).transpose(1, 2).reshape(x.shape),
    "channel shuffle": lambda x: F.channel_shuffle(x, 2),
    "space to depth by hand": lambda x: (
        x[:, :, :12].reshape(len(x), 4, 6, 2, 5, 2).permute(0, 1, 3, 5, 2, 4).reshape(len(x), 16, 6, 5)
    ),
    "depth to space by hand": lambda x: (
        x.reshape(len(x), 1, 2, 2, 13, 10).permute(0, 1, 4, 2, 5, 3).reshape(len(x), 1, 26, 20)
    ),
    "pixel shuffle": lambda x: F.pixel_shuffle(x, 2),
    "pixel unshuffle": lambda x: F.pixel_unshuffle(x[:, :, :12], 2),
    "roll": lambda x: x.roll((2, -3), (2, 3)),
    "repeat interleave": lambda x: x.repeat_interleave(2, 2),
    "repeat": lambda x: x.repeat(1, 1, 2, 1),
    "expand": lambda x: x[:, :, :1].expand(-1, -1, 5, -1),
    "linear over channels": lambda x: F.linear(x.movedim(1, -1), x.new_ones(3, 4)).movedim(-1, 1),
    "einsum over channels": lambda x: torch.einsum("nchw,cd->ndhw", x, x.new_ones(4, 2)),
    "layer norm over channels": lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (4,)).permute(0, 3, 1, 2),
    "max pool": lambda x: F.max_pool2d(x, 3, 2, 1),
    "max pool, indices": lambda x: F.max_pool2d(x, 2, return_indices=True)[0],
    "max pool, dilated": lambda x: F.max_pool2d(x, 2, 1, 0, 3),
    "max pool, ceil": lambda x: F.max_pool2d(x, 2, 2, ceil_mode=True),
    "max pool, ceil, last window dropped": lambda x: F.max_pool2d(x, 2, 3, 1, ceil_mode=True),
    "avg pool": lambda x: F.avg_pool2d(x, (3, 2), (2, 1), (1, 0), count_include_pad=False),
    "avg pool of everything": lambda x: F.avg_pool2d(x, x.shape[2:]),
    "lp pool": lambda x: F.lp_pool2d(x, 2, 3, 2),
    "adaptive avg": lambda x: F.adaptive_avg_pool2d(x, (4, 7)),
    "adaptive max": lambda x: F.adaptive_max_pool2d(x, (3, None)),
    "global pooling, channels last": lambda x: F.adaptive_avg_pool2d(x.to(memory_format=torch.channels_last), 1),
    "adaptive larger": lambda x: F.adaptive_avg_pool2d(x, (17, 11)),
    "nearest": lambda x: F.interpolate(x, scale_factor=2),
    "nearest, odd": lambda x: F.interpolate(x, size=(29, 7)),
    "nearest-exact": lambda x: F.interpolate(x, size=(29, 7), mode="nearest-exact"),
    "bilinear": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "bilinear by three": lambda x: F.interpolate(x, scale_factor=3, mode="bilinear"),
    "bilinear, corners": lambda x: F.interpolate(x, size=(25, 28), mode="bilinear", align_corners=True),
    "bilinear, one row": lambda x: F.interpolate(x, size=(1, 5), mode="bilinear", align_corners=True),
    "bilinear, factor": lambda x: F.interpolate(x, scale_factor=1.7, mode="bilinear"),
    "bilinear, factor recomputed": lambda x: F.interpolate(
        x, scale_factor=1.7, mode="bilinear", recompute_scale_factor=True
    ),
    "bilinear down": lambda x: F.interpolate(x, size=(4, 3), mode="bilinear"),
    "bicubic": lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"),
    "pad": lambda x: F.pad(x, (1, 2, -1, 3)),
    "reflect": lambda x: F.pad(x, (3, 1, 2, 4), mode="reflect"),
    "replicate": lambda x: F.pad(x, (3, 1, 2, 4), mode="replicate"),
    "circular": lambda x: F.pad(x, (3, 1, 2, 4), mode="circular"),
    "convolution": lambda x: F.conv2d(x, x.new_ones(2, 4, 2, 3), stride=(2, 3), padding=(3, 0), dilation=(2, 1)),
    "same": lambda x: F.conv2d(x, x.new_ones(4, 1, 3, 5), padding="same", dilation=2, groups=4),
    "transposed": lambda x: F.conv_transpose2d(x, x.new_ones(4, 2, 3, 3), stride=2, padding=1, output_padding=1),
    "transposed with gaps": lambda x: F.conv_transpose2d(x, x.new_ones(4, 2, 2, 2), stride=3),
    "transposed, dilated": lambda x: F.conv_transpose2d(x, x.new_ones(4, 2, 2, 3), dilation=3, stride=2),
}

# A rule may be missing here, or bound the field; a wrong answer may not be given.
HONEST: dict[str, Callable[[Tensor], Any]] = {
    "cumsum": lambda x: x.cumsum(2),
    "some rows": lambda x: x[:, :, [0, 2, 7]],
    "index select": lambda x: x.index_select(3, torch.tensor([1, 1, 8], device=x.device)),
    "take": lambda x: x.flatten(2)[:, :, torch.tensor([3, 14], device=x.device)].unsqueeze(3),
    "rows mixed by weights": lambda x: torch.matmul(x.new_ones(6, 13), x),
    "columns mixed by weights": lambda x: x @ x.new_ones(10, 4),
    "mean of each row": lambda x: x + x.mean(3, keepdim=True),
    "maximum of each column": lambda x: x * x.amax(2, keepdim=True),
    "softmax of each row": lambda x: x.softmax(3),
    "variance": lambda x: x / x.std((2, 3), keepdim=True),
    "mean": lambda x: x - x.mean((2, 3), keepdim=True),
    "unfold": lambda x: F.unfold(x, 3, padding=1).reshape(len(x), 36, 13, 10),
    "windows by unfold": lambda x: x.unfold(2, 3, 2).sum(-1),
    "layer norm over everything": lambda x: F.layer_norm(x, x.shape[1:]),
    "rotation": lambda x: torch.rot90(x, 1, (2, 3)),
    "attention over rows": lambda x: torch.matmul((x @ x.transpose(2, 3)).softmax(-1), x),
    "self-attention": lambda x: _attention(x),
    "class token": lambda x: _class_token(x)[:, 1:].transpose(1, 2).reshape(x.shape),
    "class token with attention": lambda x: (
        F.scaled_dot_product_attention(*[_class_token(x)] * 3)[:, 1:].transpose(1, 2).reshape(x.shape)
    ),
    "half of the channels of a concatenation": lambda x: torch.cat([x, x.roll(3, 2)], 1)[:, :4],
    "shuffle of a concatenation, half of it": lambda x: torch.cat([x, x.roll(3, 2)], 1)[:, ::4],
    "sort": lambda x: x.sort(2).values,
    "topk": lambda x: x.topk(4, 3).values,
    "grid": lambda x: F.grid_sample(x, x[:, :2, :4, :4].permute(0, 2, 3, 1).tanh(), align_corners=False),
    "fourier": lambda x: torch.fft.rfft2(x).abs(),
    "cumulative product": lambda x: x.cumprod(3),
    "written rows": lambda x: _write(x),
    "antialiased bicubic": lambda x: F.interpolate(x, size=(5, 14), mode="bicubic", antialias=True),
    "one value": lambda x: x.sum().reshape(1, 1, 1, 1),
    "fully connected": lambda x: F.linear(x.flatten(1), x.new_ones(3, 520))[:, :, None, None],
}  # fmt: skip

_NO_GRADIENTS = {"sort", "topk", "grid", "fourier"}


def _attention(x: Tensor) -> Tensor:
    tokens = x.flatten(2).transpose(1, 2)
    return F.scaled_dot_product_attention(tokens, tokens, tokens).transpose(1, 2).reshape(x.shape)


def _class_token(x: Tensor) -> Tensor:
    return torch.cat([x.new_ones(len(x), 1, 4), x.flatten(2).transpose(1, 2)], 1)


def _write(x: Tensor) -> Tensor:
    written = torch.zeros_like(x)
    written[:, :, 2:5] = x[:, :, 7:10]
    return written


class Between(nn.Module):
    """A convolution, then the operator."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, (3, 2), padding=(1, 0))
        self.function = function

    def forward(self, image: Tensor) -> Any:
        return self.function(self.convolution(F.pad(image, (0, 1))))


@pytest.mark.parametrize("name", EXACT)
def test_operators_with_a_rule_agree_with_gradients(name: str) -> None:
    model = Between(EXACT[name])
    output = trace(model, SIZE, global_paths="include").output
    assert output.status == "exact"
    assert output.size == oracle.map_size(model, SIZE)
    units = oracle.all_units(output.size)
    assert oracle.disagreements(output, oracle.gradients(model, SIZE, units, batch=400), units) == []


@pytest.mark.parametrize("name", HONEST)
def test_operators_that_are_harder_are_right_or_unknown(name: str) -> None:
    model = Between(HONEST[name])
    output = trace(model, SIZE, global_paths="include").output
    if output.status == "unknown":
        with pytest.raises(ValueError, match=r"unknown|rule"):
            output[0, 0]
        return
    assert name not in _NO_GRADIENTS
    assert output.size == oracle.map_size(model, SIZE)
    units = oracle.some_units(output.size, 40)
    assert oracle.disagreements(output, oracle.gradients(model, SIZE, units, batch=40), units) == []


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(5, 4), (13, 3), (20, 10)])
def test_antialiased_resampling_reads_what_it_weighs(mode: str, size: tuple[int, int]) -> None:
    class Resample(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return F.interpolate(image, size=size, mode=mode, antialias=True)

    output = trace(Resample(), (1, *SIZE)).output
    image = torch.zeros(1, 1, *SIZE, dtype=torch.float64, requires_grad=True)
    resampled = Resample()(image)
    for unit in oracle.all_units(size):
        (gradient,) = torch.autograd.grad(resampled[0, 0][unit], image, retain_graph=True)
        # Weights that vanish are only about zero in floating point.
        rows, columns = (gradient[0, 0].abs() > 1e-12).nonzero(as_tuple=True)
        box = output[unit]
        assert (box.y0, box.x0, box.y1, box.x1) == (rows.min(), columns.min(), rows.max(), columns.max())
