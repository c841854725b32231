"""The effective receptive field by branch: the parts make up the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rfkit.analysis.effective import effective_rf
from rfkit.analysis.effective_branches import branch_effective_rf
from rfkit.models.registry import create_model
from rfkit.nn.dwr import DWR
from rfkit.results.effective import EffectiveRF

IMAGES = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model() -> nn.Module:
    return create_model("dwrseg_b", seed=0, blocks=(1, 1, 3))


def fields(model: nn.Module, images: Tensor, **options: object) -> dict[str, EffectiveRF]:
    return branch_effective_rf(model, images, progress=False, **options)


def _sum(found: dict[str, EffectiveRF]) -> np.ndarray:
    return sum(entry.map for label, entry in found.items() if label != "whole")


@pytest.mark.parametrize("layer", [None, "stage4.1", "stage4.2.region", "output"])
def test_branches_and_rest_add_up_to_the_whole(model: nn.Module, layer: str | None) -> None:
    found = fields(model, IMAGES, block="stage4.1", layer=layer, reduce="signed", batch_size=2)
    labels = ["whole", "d1", "d3", "d5"]
    # The 1x1 convolution reads the branches and nothing else.
    assert list(found) == (labels if layer is None else [*labels, "rest"])
    assert [entry.branch for entry in found.values()] == ["", *list(found)[1:]]
    scale = np.abs(found["whole"].map).max()
    np.testing.assert_allclose(_sum(found), found["whole"].map, atol=1e-5 * scale)
    name = layer or "stage4.1.merge.conv"
    whole = effective_rf(model, IMAGES, layers=name, reduce="signed", progress=False)[name]
    np.testing.assert_allclose(found["whole"].map, whole.map, atol=1e-5 * scale)
    assert all(entry.units == whole.units and entry.centre == whole.centre for entry in found.values())


def test_a_branch_is_the_gradient_with_the_others_held_constant() -> None:
    torch.manual_seed(0)
    block = DWR(12, 3, dilations=(1, 3, 5)).eval()
    image = IMAGES[:1, :, :30, :30].clone().requires_grad_()

    class Held(nn.Module):
        def __init__(self, conv: nn.Module) -> None:
            super().__init__()
            self.conv = conv

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x).detach()

    found = fields(block, image.detach(), unit=(14, 15), reduce="abs")
    convs = block.semantic.branches.convs
    for index, label in ((0, "d1"), (1, "d3"), (2, "d5")):
        kept = list(convs)
        for other in range(3):
            if other != index:
                convs[other] = Held(kept[other])
        value = block.merge(block.semantic(block.region(image)))[0, :, 14, 15].sum()
        (gradient,) = torch.autograd.grad(value, image)
        for other in range(3):
            convs[other] = kept[other]
        np.testing.assert_allclose(found[label].map, gradient[0].abs().sum(0), rtol=1e-4, atol=1e-7)


def test_wider_branches_reach_further() -> None:
    found = fields(DWR(12, 3, dilations=(1, 3, 5)), IMAGES[:, :, :40, :40], unit=(20, 20))
    # 3x3 region convolution, then a 3x3 convolution of dilation d: 2 d + 3 pixels in all.
    for label, reach in (("d1", 5), ("d3", 9), ("d5", 13)):
        rows, columns = np.nonzero(found[label].map)
        assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (reach, reach)


def test_a_branch_of_zeros_has_a_map_of_zeros(model: nn.Module) -> None:
    nn.init.zeros_(model.get_submodule("stage4.1.semantic.branches.convs.1").weight)
    found = fields(model, IMAGES, block="stage4.1")
    assert not found["d3"].map.any()
    assert found["d3"].measures()["value"].drop(found["d3"].measures().index[-2:]).isna().all()
    assert found["d1"].map.any()


def test_an_operation_in_place_after_a_branch_changes_nothing() -> None:
    class Parallel(nn.Module):
        def __init__(self, inplace: bool) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.one, self.two = (nn.Conv2d(3, 4, 3, padding=rate, dilation=rate) for rate in (1, 2))
            self.merge, self.inplace = nn.Conv2d(8, 2, 1), inplace

        def forward(self, x: Tensor) -> Tensor:
            parts = [F.relu(conv(x), inplace=self.inplace) for conv in (self.one, self.two)]
            return self.merge(torch.cat(parts, dim=1))

    plain, inplace = (fields(Parallel(flag), IMAGES) for flag in (False, True))
    assert list(plain) == ["whole", "d1", "d2"]
    for label in plain:
        np.testing.assert_array_equal(plain[label].map, inplace[label].map)


def test_the_crop_gives_the_same() -> None:
    block = DWR(12, 3, dilations=(1, 3, 5))
    cropped = fields(block, IMAGES, unit=(30, 40), layer="output", crop="auto")
    whole = fields(block, IMAGES, unit=(30, 40), layer="output", crop=False)
    assert cropped["d5"].cropped
    for label in whole:
        np.testing.assert_allclose(cropped[label].map, whole[label].map, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"block=None: the model has \d+ blocks; name one of stage3\.0"),
        ({"block": "stage9"}, "block='stage9' is not known; allowed: stage3.0"),
        ({"block": "stage4"}, r"block='stage4' holds \d blocks"),
        ({"block": "stage4.1", "layer": "stage2"}, "unit does not depend on the block's branches"),
        ({"block": "stage4.1", "layer": "stage4.*.region"}, r"layer='stage4\.\*\.region' means \d layers"),
        ({"block": "stage4.1", "unit": [(0, 0), (1, 1)]}, "unit: 2 units; the fields of branches are those of one"),
    ],
)
def test_bad_arguments_are_named(model: nn.Module, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fields(model, IMAGES, **options)
    assert not any(module._forward_hooks for module in model.modules())


def test_a_network_without_branches_is_an_error() -> None:
    with pytest.raises(ValueError, match="no block with parallel dilated branches"):
        fields(nn.Conv2d(3, 3, 3), IMAGES)


def test_the_model_is_left_as_it_was_found(model: nn.Module) -> None:
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    fields(model, IMAGES, block="stage4.1")
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training and not module._forward_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)
