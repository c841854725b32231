"""RegSeg's D block: counts, shapes, what each part reads, errors."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rfkit.cost import parameters
from rfkit.nn.branches import ParallelDilations
from rfkit.nn.dblock import DBlock, DownsamplingShortcut, SqueezeExcite
from rfkit.nn.decoders import RegSegDecoder


def _expected(inputs: int, outputs: int, group: int, *, stride: int) -> int:
    """Weights of a block, part by part."""
    hidden = inputs // 4
    convolutions = inputs * outputs + 9 * outputs * group + outputs * outputs
    norms = 3 * 2 * outputs
    gate = outputs * hidden + hidden + hidden * outputs + outputs
    shortcut = inputs * outputs + 2 * outputs if stride == 2 or inputs != outputs else 0
    return convolutions + norms + gate + shortcut


@pytest.mark.parametrize("dilations", [(1,), (1, 14), (1, 2, 4, 8)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("inputs", "outputs", "group"), [(32, 64, 16), (128, 128, 16), (48, 480, 24)])
def test_parameters(inputs: int, outputs: int, group: int, stride: int, dilations: tuple[int, ...]) -> None:
    block = DBlock(outputs, inputs, group_width=group, stride=stride, dilations=dilations)
    assert parameters(block) == _expected(inputs, outputs, group, stride=stride)


@pytest.mark.parametrize("size", [(1, 1), (7, 10), (16, 33)])
@pytest.mark.parametrize(("inputs", "stride"), [(8, 1), (16, 1), (8, 2), (16, 2)])
def test_blocks_keep_the_size_or_halve_it(inputs: int, stride: int, size: tuple[int, int]) -> None:
    block = DBlock(16, inputs, group_width=4, dilations=(1, 3), stride=stride).eval()
    assert block(torch.randn(2, inputs, *size)).shape == (2, 16, -(-size[0] // stride), -(-size[1] // stride))
    assert (block.in_channels, block.out_channels, block.stride, block.dilations) == (inputs, 16, stride, (1, 3))


def test_a_block_is_the_sum_of_its_parts() -> None:
    torch.manual_seed(0)
    block = DBlock(16, group_width=4, dilations=(1, 3)).eval()
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    x = torch.randn(2, 16, 9, 11)
    first = torch.relu(block.first.norm(block.first.conv(x)))
    parts = [
        nn.functional.conv2d(part, conv.weight, padding=rate, dilation=rate, groups=2)
        for part, conv, rate in zip(first.chunk(2, 1), block.branches.convs, (1, 3), strict=True)
    ]
    merged = torch.relu(block.norm(torch.cat(parts, 1)))
    hidden = torch.relu(block.gate.squeeze(merged.mean((2, 3), keepdim=True)))
    gated = merged * torch.sigmoid(block.gate.excite(hidden))
    expected = torch.relu(block.last.norm(block.last.conv(gated)) + x)
    torch.testing.assert_close(block(x), expected)


def test_the_input_of_a_block_is_not_overwritten() -> None:
    x = torch.randn(2, 16, 5, 5)
    before = x.clone()
    DBlock(16, group_width=4)(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("rate", [1, 4, 14])
def test_each_branch_reads_its_share_as_far_as_its_rate(rate: int) -> None:
    branches = DBlock(16, group_width=4, dilations=(1, rate)).branches
    x = torch.randn(1, 16, 41, 41, requires_grad=True)
    # The first channel of the second branch: one group of four channels, nine units.
    (gradient,) = torch.autograd.grad(branches(x)[0, 8, 20, 20], x)
    read = gradient[0].abs()
    assert read.sum((1, 2)).nonzero().flatten().tolist() == [8, 9, 10, 11]
    assert read.sum((0, 2)).nonzero().flatten().tolist() == [20 - rate, 20, 20 + rate]
    assert read.sum((0, 1)).nonzero().flatten().tolist() == [20 - rate, 20, 20 + rate]


def test_the_width_of_a_gate_follows_what_comes_into_the_block() -> None:
    assert DBlock(128, 48).gate.squeeze.out_channels == 12
    assert DBlock(128, 48, squeeze=0.5).gate.squeeze.out_channels == 24
    block = DBlock(128, 48)
    assert block.gate.squeeze.bias is not None
    assert block.gate.excite.bias is not None


def test_only_the_gate_has_biases() -> None:
    block = DBlock(32, 16, stride=2)
    biased = [
        name for name, module in block.named_modules() if isinstance(module, nn.Conv2d) and module.bias is not None
    ]
    assert biased == ["gate.squeeze", "gate.excite"]


def test_a_gate_reaches_every_unit() -> None:
    gate = SqueezeExcite(4, width=2)
    with torch.no_grad():
        gate.squeeze.bias.fill_(10.0)  # keeps the ReLU open
    x = torch.randn(1, 4, 6, 7, requires_grad=True)
    (gradient,) = torch.autograd.grad(gate(x)[0, 0, 0, 0], x)
    assert (gradient != 0).all()


def test_the_shortcut_averages_what_is_left_of_the_last_window() -> None:
    shortcut = DownsamplingShortcut(1, 1)
    pooled = shortcut.pool(torch.tensor([[[[0.0, 2.0, 7.0], [4.0, 6.0, 9.0], [1.0, 3.0, 5.0]]]]))
    assert pooled.tolist() == [[[[3.0, 8.0], [2.0, 5.0]]]]


def test_the_shortcut_is_the_identity_where_it_can_be() -> None:
    assert isinstance(DBlock(16).shortcut, nn.Identity)
    assert isinstance(DBlock(16, 32).shortcut.conv, nn.Conv2d)
    assert isinstance(DBlock(16, stride=2).shortcut, DownsamplingShortcut)


def test_depthwise_branches_are_the_engine_with_groups_of_one() -> None:
    depthwise = ParallelDilations([4, 4], [2, 1], dilations=(1, 3))
    assert [(conv.groups, conv.out_channels) for conv in depthwise.convs] == [(4, 8), (4, 4)]
    grouped = ParallelDilations([4, 4], [2, 1], dilations=(1, 3), group_width=2, stride=2)
    assert [(conv.groups, conv.out_channels, conv.stride) for conv in grouped.convs] == [(2, 8, (2, 2)), (2, 4, (2, 2))]


def test_the_decoder_adds_the_coarse_map_and_concatenates_the_fine_one() -> None:
    decoder = RegSegDecoder((2, 3, 4), 5, head_widths=(4, 6, 6), width=8).eval()
    fine, middle, coarse = (
        torch.randn(2, channels, height, width) for channels, height, width in ((2, 18, 23), (3, 9, 12), (4, 5, 6))
    )
    scores = decoder((fine, middle, coarse), (70, 90))

    def resize(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return nn.functional.interpolate(x, size, mode="bilinear", align_corners=False)

    summed = decoder.middle(middle) + resize(decoder.coarse(coarse), (9, 12))
    joined = torch.cat([resize(decoder.fuse(summed), (18, 23)), decoder.fine(fine)], dim=1)
    assert joined.shape[1] == 12
    torch.testing.assert_close(scores, resize(decoder.head(joined), (70, 90)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DBlock(48, dilations=(1, 2)), r"channels=48 cannot be split into 2 branches.*multiple of 32"),
        (lambda: DBlock(32, dilations=()), r"dilations=\(\) must be one or more"),
        (lambda: DBlock(32, dilations=(1, 0)), r"dilations=\(1, 0\).*at least 1"),
        (lambda: DBlock(32, stride=3), r"stride=3 must be 1 or 2"),
        (lambda: DBlock(32, group_width=0), r"group_width=0 must be above 0"),
        (lambda: DBlock(32, squeeze=0.001), r"squeeze=0\.001 leaves no channel in the gate for in_channels=32"),
        (lambda: SqueezeExcite(4, width=0), r"width=0 must be above 0"),
        (lambda: ParallelDilations([6], [1], dilations=(1,), group_width=4), r"group_width=4 must divide"),
        (lambda: RegSegDecoder((1, 2, 3), 5, head_widths=(8, 64, 128)), r"head_widths=\(8, 64, 128\).*two equal"),
        (lambda: RegSegDecoder((1, 2), 5), r"in_channels=\(1, 2\) must be three"),
    ],
)
def test_errors_name_the_argument(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
