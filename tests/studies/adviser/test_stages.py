"""Blocks and stages found in networks that say nothing of themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rfkit.loading import load_network
from rfkit.models.competing import probe
from rfkit.models.registry import create_model
from rfkit.studies.adviser.stages import find_stages

STREET_NET = f"{Path(__file__).parent / 'street_net.py'}:make"


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.ReLU())


def test_residual_blocks_are_grouped_by_output_stride_and_the_rest_is_named_with_its_reason() -> None:
    found = find_stages(load_network(STREET_NET))
    assert found.how == "found"
    assert found.names() == {"stride4": ["layer1.0", "layer1.1"], "stride8": ["layer2.0", "layer2.1"]}
    assert [stage.output_stride for stage in found.stages] == [4, 8]
    first = found.stages[1].blocks[0]
    assert (first.in_channels, first.channels, first.stride) == (8, 16, 2)
    assert found.skipped == (
        ("stem", "reads the image: the stem"),
        ("refine", "reads maps that were enlarged: the decoder"),
    )
    assert found.to_frame()["block"].tolist() == ["layer1.0", "layer1.1", "layer2.0", "layer2.1"]
    assert "skipped refine: reads maps that were enlarged: the decoder" in str(found)


def test_a_size_that_strides_do_not_divide_gives_the_same_stages() -> None:
    found = find_stages(load_network(STREET_NET), input_size=(3, 90, 122))
    assert [stage.name for stage in found.stages] == ["stride4", "stride8"]


def test_the_network_is_left_as_it_was() -> None:
    network = load_network(STREET_NET, seed=0).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    find_stages(network)
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_a_network_without_joins_is_taken_apart_into_its_convolutions() -> None:
    network = nn.Sequential(_conv(3, 4, 2), _conv(4, 6, 2), _conv(6, 6), _conv(6, 8, 2), nn.Conv2d(8, 2, 1))
    assert find_stages(network).names() == {"stride4": ["1", "2"], "stride8": ["3"]}


@pytest.mark.parametrize(("name", "stages"), [("dwrseg_b", 3), ("regseg", 3), ("frmnet", 3)])
def test_the_blocks_of_our_networks_are_found_without_their_word(name: str, stages: int) -> None:
    model = create_model(name, seed=0)
    published = find_stages(model)
    assert published.how == "published"
    blocks = [block.name for stage in published.stages for block in stage.blocks]
    model.stages = ()
    found = find_stages(model)
    assert found.how == "found"
    assert [block.name for stage in found.stages[-stages:] for block in stage.blocks] == blocks


def test_given_stages_win_over_what_the_network_says() -> None:
    found = find_stages(create_model("dwrseg_b", seed=0), stages={"late": ["stage4.*"]})
    assert (found.how, list(found.names())) == ("given", ["late"])


def test_what_is_found_can_be_probed() -> None:
    network = load_network(STREET_NET, seed=0)
    probed = probe(network, stages=find_stages(network).names(), seed=0)
    assert probed(torch.zeros(2, 3, 32, 32)).shape == (2, 11, 32, 32)


class _Odd(nn.Module):
    """A block that runs twice, one that wants two maps, one that gives two, and one that is more than a block."""

    def __init__(self) -> None:
        super().__init__()
        self.first = _conv(3, 4)
        self.again, self.leap = _conv(4, 4), _Leap()
        self.two, self.pair = _Two(), _Pair()

    def forward(self, image: Tensor) -> Tensor:
        x = self.again(self.again(self.first(image)))
        x = self.leap(x)
        left, right = self.pair(x)
        return self.two(left, right)


class _Leap(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) + F.avg_pool2d(x, 4)


class _Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.conv(left) + right


class _Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.conv(x), x


def test_without_a_block_that_can_be_replaced_every_reason_is_given() -> None:
    with pytest.raises(ValueError, match=r"no block of _Odd can be replaced") as error:
        find_stages(_Odd())
    for reason in (
        "first reads the image: the stem", "again runs 2 times", "two does not take one map",
        "leap makes the map 4 times smaller: more than a block", "pair does not return one map",
    ):  # fmt: skip
        assert reason in str(error.value)


def test_a_network_that_does_not_run_is_an_error_with_the_size() -> None:
    with pytest.raises(ValueError, match=r"does not run on an image of \(4, 128, 256\)"):
        find_stages(load_network(STREET_NET), input_size=(4, 128, 256))
