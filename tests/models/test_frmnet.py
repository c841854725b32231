"""FRMNet and DWRSeg-L with FRM: what is known of their sizes, and what refinement does to the receptive field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from rfkit.analysis.branches import branch_weights
from rfkit.cost import multiply_adds, parameters
from rfkit.data.scenes import Scenes
from rfkit.hooks import capture
from rfkit.models.registry import create_model
from rfkit.training.loop import train

SMALL: dict[str, dict[str, Any]] = {
    "frmnet": {"depths": (1, 1, 1, 1), "widths": (8, 8, 16, 16), "pyramid_width": 16, "head_width": 8},
    "dwrseg_l_frm": {"blocks": (1, 1, 1)},
}


def test_the_backbone_is_van_b0() -> None:
    # Guo et al., Visual Attention Network: 4.1 M parameters and 0.9 G at 224x224; 4.11 M and 0.88 G in mmpretrain's
    # table. The classifier has 257 000 of them, biases of the embeddings' convolutions (left out here) 512.
    model = create_model("frmnet")
    backbone = torch.nn.Sequential(model.stem, model.stage2, model.stage3, model.stage4)
    assert round((parameters(backbone) + 512 + 257_000) / 1e6, 2) == 4.11
    assert round(multiply_adds(backbone, (3, 224, 224)) / 1e9, 1) == 0.9


def test_the_cost_is_near_the_published_one() -> None:
    # Wang et al., arXiv 2412.08670: 214.82 GFLOPs. Not reached exactly: backbone size and head are assumptions.
    cost = multiply_adds(create_model("frmnet"), (3, 1024, 2048)) / 1e9
    assert cost == pytest.approx(211.05, abs=0.01)
    assert cost == pytest.approx(214.82, rel=0.02)


def test_dwrseg_keeps_its_own_parts() -> None:
    plain, refined = create_model("dwrseg_l"), create_model("dwrseg_l_frm")
    assert parameters(refined) == parameters(plain) + parameters(refined.frm)
    assert {key.split(".")[0] for key in refined.state_dict().keys() - plain.state_dict().keys()} == {"frm"}
    assert refined.frm.in_channels == (64, 128, 128)


@pytest.mark.parametrize("scheme", ["torch", "he"])
def test_initialisation_reaches_the_refinement(scheme: str) -> None:
    for merge in ("add", "top"):
        model = create_model("dwrseg_l_frm", seed=0, initialisation=scheme, merge=merge, blocks=(1, 1, 1))
        weight = model.frm.context[0].mlp.enter.weight
        assert weight.var().item() * weight[0].numel() == pytest.approx({"torch": 1 / 3, "he": 2.0}[scheme], rel=0.05)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize(
    "options",
    [{"merge": "top"}, {"merge": "add"}, {"pool": "max"}, {"context_norm": "layer"}, {"context_depth": 2}],
    ids=str,
)
def test_every_assumption_is_an_option(name: str, options: dict[str, Any]) -> None:
    model = create_model(name, num_classes=3, **SMALL[name], **options)
    scores = model(torch.randn(2, 3, 45, 67))
    scores.square().mean().backward()
    assert scores.shape == (2, 3, 45, 67)
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("options", [{"stage_norm": "none"}, {"upsampling": "bilinear"}, {"layer_scale": 1.0}], ids=str)
def test_options_of_frmnet_alone(options: dict[str, Any]) -> None:
    model = create_model("frmnet", num_classes=3, **SMALL["frmnet"], **options).eval()
    with torch.no_grad():
        assert model(torch.randn(1, 3, 33, 65)).shape == (1, 3, 33, 65)


@pytest.mark.parametrize("name", SMALL)
def test_refinement_makes_the_receptive_field_the_whole_image(name: str) -> None:
    model = create_model(name, seed=0, **SMALL[name]).eval()
    image = torch.randn(1, 3, 320, 320, requires_grad=True)
    with capture(model, ["stage2", "frm"]) as outputs:
        model(image)
    refined = outputs["frm"][-1]
    (before,) = torch.autograd.grad(outputs["stage2"][0, :, 0, 0].sum(), image, retain_graph=True)
    (after,) = torch.autograd.grad(refined[0, :, 0, 0].sum(), image)
    assert before[0, :, -32:, -32:].abs().sum() == 0
    assert after[0, :, -32:, -32:].abs().sum() > 0


def test_branch_weights() -> None:
    weights = branch_weights(create_model("dwrseg_l_frm", seed=0, blocks=(1, 2, 1)))
    assert weights.stages == ("stage3", "stage4")
    with pytest.raises(ValueError, match="FRMNet has no parallel dilated branches"):
        branch_weights(create_model("frmnet", seed=0, **SMALL["frmnet"]))


@pytest.mark.parametrize("name", SMALL)
def test_they_train_and_come_back_from_their_weights(name: str, tmp_path: Path) -> None:
    result = train(
        name,
        Scenes(size=(32, 64), length=4),
        out=tmp_path,
        epochs=1,
        batch_size=2,
        frame_size=(32, 64),
        crop_size=(32, 64),
        model_options=SMALL[name],
        threads=1,
        device="cpu",
        progress=False,
        tensorboard=False,
    )
    assert result.steps == 2
    assert create_model(name, weights=result.weights).num_classes == result.model.num_classes


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("frmnet", {"widths": (8, 8)}, r"widths=\(8, 8\) must be four numbers, for stem, stage2, stage3, stage4"),
        ("frmnet", {"depths": (1, 1, 1, 0)}, r"depth=0 must be above 0"),
        ("frmnet", {"mlp_ratios": (8,)}, r"mlp_ratios=\(8,\) must be four numbers"),
        ("frmnet", {"blocks": (1, 1, 1)}, r"option of frmnet='blocks' is not known"),
        ("frmnet", {"num_classes": 0}, r"num_classes=0 must be above 0"),
        ("dwrseg_l_frm", {"merge": "replace"}, r"merge='replace' is not known"),
        ("dwrseg_l_frm", {"alfa": 1}, r"option of dwrseg_l_frm='alfa' is not known.*Did you mean 'alpha'"),
    ],
)
def test_errors_name_the_argument(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_model(name, **options)
