"""The code of the suggested blocks runs as it is printed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from rfkit.analysis.theoretical import trace
from rfkit.cost import multiply_adds
from rfkit.hooks import capture
from rfkit.loading import load_network
from rfkit.nn.dwr import DWR
from rfkit.results.advice import Advice
from rfkit.results.found_stages import FoundBlock, FoundStage, FoundStages
from rfkit.studies.adviser.blocks import PLAIN_TORCH, suggested_code

from .conftest import SIZE, STREET_NET


def _run(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(code, names)
    return names


def test_the_printed_code_rebuilds_the_network(advice: Advice) -> None:
    network = load_network(STREET_NET, seed=0)
    new = _run(advice.code)["rebuild"](network)
    image = torch.randn(2, 3, *SIZE)
    blocks = [name for names in advice.found.names().values() for name in names]
    with capture(network, blocks) as before, capture(new, blocks) as after:
        assert new(image).shape == network(image).shape
    assert {name: value.shape for name, value in before.items()} == {name: value.shape for name, value in after.items()}
    assert all(isinstance(new.get_submodule(name), DWR) for name in blocks)
    assert new.layer1[0].dilations == (1, 3)
    assert type(network.layer1[0]).__name__ == "Basic"
    assert torch.equal(new.classifier.weight, network.classifier.weight)


def test_the_numbers_of_the_advice_are_those_of_the_printed_code(advice: Advice) -> None:
    network = load_network(STREET_NET, seed=0)
    new = _run(advice.code)["rebuild"](network)
    assert advice.cost["after"] == multiply_adds(new, (3, *SIZE))
    last = advice.stages[1]
    for model, field in ((network, last.field_before), (new, last.field_after)):
        assert trace(model, (3, *SIZE))["layer2"].measures(0)["size_max"] == field
    # What stands beside the stages costs the same before and after.
    changes = sum(stage.cost_after - stage.cost_before for stage in advice.stages)
    assert advice.cost["after"] - advice.cost["before"] == changes


def _code(block: FoundBlock, rates: tuple[int, ...], alpha: tuple[int, ...]) -> nn.Module:
    found = FoundStages("given", (FoundStage("s", 8, (block,)),))
    return _run(suggested_code(found, {"s": (rates, alpha)}, title='with """ in it'))["BLOCKS"][block.name]()


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels", [8, 7])
@pytest.mark.parametrize(
    ("rates", "alpha"), [((1,), (1,)), ((3,), (1,)), ((1, 3), (3, 1)), ((1, 2, 4, 8), (1, 1, 1, 1))]
)
def test_any_block_has_a_suggestion_of_its_shape(
    stride: int, channels: int, rates: tuple[int, ...], alpha: tuple[int, ...]
) -> None:
    block = _code(FoundBlock("a.b", 6, channels, stride), rates, alpha)
    assert block(torch.zeros(2, 6, 9, 11)).shape == (2, channels, -(-9 // stride), -(-11 // stride))
    assert type(block).__name__ == ("SIR" if rates == (1,) else "DWR")
    if rates != (1,):
        assert block.dilations == rates
        assert block.semantic.branches.out_widths == tuple((channels + 1) // 2 * factor for factor in alpha)


def test_the_block_in_plain_torch_is_the_dwr_block() -> None:
    plain = _run(PLAIN_TORCH)["DilatedBlock"](8, 6, (1, 3, 5), (2, 1, 1), stride=2)
    ours = DWR(8, 6, dilations=(1, 3, 5), alpha=(2, 1, 1), stride=2)
    values = list(ours.state_dict().values())
    plain.load_state_dict(dict(zip(plain.state_dict(), values, strict=True)))
    image = torch.randn(2, 6, 20, 24)
    assert torch.equal(plain.eval()(image), ours.eval()(image))
