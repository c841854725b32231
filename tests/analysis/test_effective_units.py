"""One forward pass and a backward pass for each unit give what the calls for single units give."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from rfkit.analysis.effective import effective_rf
from rfkit.analysis.effective_branches import branch_effective_rf
from rfkit.analysis.effective_units import UnitGradients
from rfkit.analysis.find_branches import find_branch_blocks
from rfkit.analysis.images import as_batches
from rfkit.analysis.untouched import untouched
from rfkit.hooks import observe
from rfkit.models.registry import create_model


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return create_model("dwrseg_b", seed=0)


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    return torch.randint(0, 256, (3, 64, 96), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


@pytest.mark.parametrize(("layer", "unit", "channels"), [("stage2", (1, 2), None), ("output", (40, 3), [4])])
def test_equals_the_call_for_one_unit(model, image, layer, unit, channels) -> None:
    units = UnitGradients(model, image, layer)
    for asked in (unit, (0, -1)):
        found = units.field(asked, channels=channels)
        wanted = effective_rf(model, image, layers=layer, unit=asked, channels=channels, crop=False, progress=False)
        wanted = wanted[layer]
        np.testing.assert_allclose(found.map, wanted.map, rtol=1e-4, atol=1e-9 * wanted.map.max())
        assert (found.units, found.channels, found.centre) == (wanted.units, wanted.channels, wanted.centre)
        assert str(found.box) == str(wanted.box)


def test_equals_the_call_for_branches(model, image) -> None:
    with untouched(model):
        blocks = find_branch_blocks(model, as_batches(image, model)[0])
    block = next(entry for entry in blocks if entry.merge.startswith("stage4.2."))
    units = UnitGradients(model, image, "stage4.2", block=block)
    wanted = branch_effective_rf(
        model, image, block="stage4.2", layer="stage4.2", unit=(0, 1), crop=False, progress=False
    )
    assert units.branches == ("d1", "d3", "d5")
    for label in ("", *units.branches):
        found = units.field((0, 1), branch=label)
        expected = wanted[label or "whole"]
        np.testing.assert_allclose(found.map, expected.map, rtol=1e-3, atol=1e-7 * expected.map.max())
        assert found.branch == label


def test_another_unit_runs_no_forward_pass_and_the_model_is_as_found(model, image) -> None:
    model.train()
    units = UnitGradients(model, image, "stage3")
    calls: list[str] = []
    with observe(model, "*", lambda name, _inputs, _output: calls.append(name)):
        first, second = units.field((0, 0)), units.field((2, 3))
    assert not calls
    assert not np.array_equal(first.map, second.map)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_what_cannot_be_is_named(model, image) -> None:
    units = UnitGradients(model, image, "stage3")
    with pytest.raises(ValueError, match=r"unit=\(99, 0\) is outside the map of layer 'stage3', 4 x 6 units"):
        units.field((99, 0))
    with pytest.raises(ValueError, match="channels: 999 is not a channel of layer 'stage3'"):
        units.field((0, 0), channels=[999])
    with pytest.raises(ValueError, match="branch='d3' is not known"):
        units.field((0, 0), branch="d3")
    with pytest.raises(ValueError, match="image holds 2 images"):
        UnitGradients(model, torch.zeros(2, 3, 64, 96), "stage3")
    with pytest.raises(ValueError, match=r"layer='stage\?' means 3 layers"):
        UnitGradients(model, image, "stage?")
