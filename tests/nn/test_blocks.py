"""The building blocks: published sizes, shapes, gradients, options and errors."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rfkit.nn.branches import ParallelDilations
from rfkit.nn.conv import ConvNorm, initialise, make_activation
from rfkit.nn.decoders import ConcatDecoder
from rfkit.nn.dwr import DWR, SIR
from rfkit.nn.probe import CompetingBranches
from rfkit.nn.stem import Stem


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("block", "published"),
    [
        # Two equations with two unknowns from Table 1 of the DWRSeg paper: L - B = 1 SIR + 5 two-branch DWR.
        (SIR(64), 123_264),
        (DWR(128, dilations=(1, 3)), 174_400),
        (DWR(128, dilations=(1, 3, 5)), 257_152),
    ],
)
def test_parameters_are_those_that_table_1_implies(block: nn.Module, published: int) -> None:
    assert _count(block) == published


@pytest.mark.parametrize("size", [(1, 1), (7, 10), (16, 33)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("make", [DWR, SIR, CompetingBranches])
def test_blocks_keep_the_size_or_halve_it(make: type, stride: int, size: tuple[int, int]) -> None:
    block = make(12, 6, stride=stride).eval()
    output = block(torch.randn(2, 6, *size))
    assert output.shape == (2, 12, -(-size[0] // stride), -(-size[1] // stride))


def test_dwr_is_region_semantic_merge_plus_input() -> None:
    block = DWR(12).eval()
    initialise(block)
    x = torch.randn(2, 12, 9, 11)
    region = torch.relu(block.region.norm(block.region.conv(x)))
    maps = region.split(6, dim=1)
    filtered = torch.cat([conv(part) for conv, part in zip(block.semantic.branches.convs, maps, strict=True)], dim=1)
    expected = block.merge.conv(block.semantic.norm(filtered)) + x
    torch.testing.assert_close(block(x), expected)


def test_each_branch_of_a_dwr_reads_only_its_own_region_maps() -> None:
    branches = DWR(12).semantic.branches
    x = torch.randn(1, 18, 9, 9, requires_grad=True)
    outputs = branches(x).split(branches.out_widths, dim=1)
    assert branches.out_widths == (12, 6, 6)
    for index, output in enumerate(outputs):
        (gradient,) = torch.autograd.grad(output.sum(), x, retain_graph=True)
        read = gradient.abs().sum(dim=(0, 2, 3)) > 0
        assert read.nonzero().flatten().tolist() == list(range(6 * index, 6 * index + 6))


def test_competing_branches_all_read_the_whole_region_map() -> None:
    branches = CompetingBranches(8, dilations=(1, 2, 7, 9)).semantic.branches
    x = torch.randn(1, 8, 21, 21, requires_grad=True)
    for output in branches(x).split(branches.out_widths, dim=1):
        (gradient,) = torch.autograd.grad(output.sum(), x, retain_graph=True)
        assert (gradient.abs().sum(dim=(0, 2, 3)) > 0).all()


@pytest.mark.parametrize("rate", [1, 3, 5])
def test_a_branch_reaches_as_far_as_its_dilation_rate(rate: int) -> None:
    block = CompetingBranches(4, dilations=(rate,))
    x = torch.randn(1, 4, 31, 31, requires_grad=True)
    (gradient,) = torch.autograd.grad(block.semantic.branches(x)[0, 0, 15, 15], x)
    rows = gradient.abs().sum(dim=(0, 1, 3)).nonzero().flatten().tolist()
    assert rows == [15 - rate, 15, 15 + rate]


def test_dwr_with_multiple_fields_is_the_probe_of_the_same_width() -> None:
    multiple = DWR(128, dilations=(1, 3, 5), multiple=True)
    competing = CompetingBranches(128, dilations=(1, 3, 5), region_ratio=1.5)
    assert _count(multiple) == _count(competing)
    assert multiple.semantic.branches.shared


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"alpha": (1, 1, 1)}, 257_152 - 64 * 9 - 2 * 64 - 64 * 128),
        ({"alpha": (3, 1, 1)}, 257_152 + 64 * 9 + 2 * 64 + 64 * 128),
        ({"beta": 3.0}, 9 * 128 * 384 + 2 * 384 + 9 * 4 * 128 + 2 * 512 + 512 * 128),
        ({"activation": "none"}, 257_152),
        ({"activation": "prelu"}, 257_152 + 1),
        ({"region_norm": False}, 257_152 - 192),
        ({"semantic_norm": False}, 257_152 - 512),
        ({"semantic_activation": "relu"}, 257_152),
        ({"merge_norm": True}, 257_152 + 256),
    ],
)
def test_ablations_change_what_they_name(options: dict, expected: int) -> None:
    assert _count(DWR(128, **options)) == expected


def test_switches_of_table_2_iv_are_seen_in_the_parts() -> None:
    block = DWR(
        12, activation="none", region_norm=False, semantic_norm=False, semantic_activation="relu", merge_norm=True
    )
    assert isinstance(block.region.activation, nn.Identity)
    assert isinstance(block.region.norm, nn.Identity)
    assert block.region.conv.bias is not None
    assert isinstance(block.semantic.norm, nn.Identity)
    assert isinstance(block.semantic.activation, nn.ReLU)
    assert isinstance(block.merge.norm, nn.BatchNorm2d)


def test_sir_options() -> None:
    assert SIR(64).semantic is None
    assert _count(SIR(64, depthwise=True)) == 123_264 + 192 * 9 + 2 * 192
    for ratio in (1, 2, 4):
        assert _count(SIR(64, expansion=ratio)) == ratio * (64 * 64 * 10 + 128)


@pytest.mark.parametrize("size", [(1, 1), (33, 47), (64, 64)])
@pytest.mark.parametrize("layout", ["wide", "narrow"])
def test_stem_gives_a_quarter_of_the_size(layout: str, size: tuple[int, int]) -> None:
    output = Stem(layout).eval()(torch.randn(1, 3, *size))
    assert output.shape == (1, 64, -(-size[0] // 4), -(-size[1] // 4))


def test_stem_has_no_activation_after_its_first_convolution() -> None:
    assert isinstance(Stem().first.activation, nn.Identity)


def test_decoder_brings_all_maps_to_the_first_ones_size() -> None:
    decoder = ConcatDecoder((4, 6), 5, width=8).eval()
    scores = decoder((torch.randn(2, 4, 9, 12), torch.randn(2, 6, 3, 4)), (70, 90))
    assert scores.shape == (2, 5, 70, 90)


@pytest.mark.parametrize(("scheme", "variance"), [("torch", 1 / 3), ("he", 2.0)])
def test_initialisation_scales_with_the_inputs_of_depthwise_and_full_convolutions(scheme: str, variance: float) -> None:
    torch.manual_seed(0)
    block = DWR(128)
    initialise(block, scheme)
    for conv in (block.region.conv, *block.semantic.branches.convs):
        assert conv.weight.var().item() == pytest.approx(variance / conv.weight[0].numel(), rel=0.2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DWR(128, dilations=()), r"dilations=\(\) must be one or more"),
        (lambda: DWR(128, dilations=(1, 0)), r"dilations=\(1, 0\).*at least 1"),
        (lambda: CompetingBranches(8, dilations=(1, -3)), r"dilations=\(1, -3\)"),
        (lambda: DWR(64, beta=1.6), r"channels=64 times beta=1\.6"),
        (lambda: DWR(64, alpha=(0, 1)), r"alpha=\(0, 1\)"),
        (lambda: SIR(64, expansion=0), r"expansion=0"),
        (lambda: CompetingBranches(8, region_ratio=0.01), r"region_ratio=0\.01 leaves no region map for channels=8"),
        (lambda: Stem("tall"), r"stem='tall' is not known; allowed: wide, narrow"),
        (lambda: initialise(Stem(), "xavier"), r"initialisation='xavier' is not known; allowed: torch, he"),
        (lambda: make_activation("gelu"), r"activation='gelu'.*relu, prelu, none"),
        (lambda: ParallelDilations([4, 8], [1, 1], dilations=(1, 3), shared=True), r"must all be equal when shared"),
        (lambda: ParallelDilations([4], [1, 1], dilations=(1, 3)), r"one entry a branch"),
    ],
)
def test_errors_name_the_argument(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_convnorm_pads_to_keep_the_size() -> None:
    assert ConvNorm(3, 4, kernel_size=5)(torch.randn(2, 3, 7, 8)).shape == (2, 4, 7, 8)
