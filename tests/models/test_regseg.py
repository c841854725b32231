"""RegSeg: published sizes, counts by closed form, receptive fields by recursion, what the analyses make of it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from rfkit.analysis.branches import branch_weights
from rfkit.analysis.regions import region_maps
from rfkit.cost import multiply_adds, parameters
from rfkit.data.scenes import Scenes
from rfkit.hooks import observe
from rfkit.models.competing import probe
from rfkit.models.registry import create_model
from rfkit.models.regseg import DILATIONS, RegSeg
from rfkit.models.weights import read_card
from rfkit.nn.probe import CompetingBranches
from rfkit.training.loop import train

GOLDEN = tomllib.loads((Path(__file__).parents[1] / "golden" / "regseg.toml").read_text())
MAIN = "(1)(1,2)4x(1,4)7x(1,14)"
TINY: dict[str, Any] = {"blocks": (1, 1), "dilations": ((1,), (1, 2))}


@pytest.mark.parametrize(
    ("name", "classes", "count"),
    [(name, int(classes), count) for name, counts in GOLDEN["parameters"].items() for classes, count in counts.items()],
)
def test_published_parameters(name: str, classes: int, count: int) -> None:
    assert parameters(create_model(name, num_classes=classes)) == count


def test_published_multiply_adds() -> None:
    model = create_model("regseg")
    convolutions = multiply_adds(model, (3, 1024, 2048)) / 1e9
    assert round(convolutions, 3) == GOLDEN["multiply_adds"]["convolutions"]
    # The convention that was fitted to DWRSeg (8 per element of an upsampling) does not give the published 39.1.
    assert multiply_adds(model, (3, 1024, 2048), count="published") / 1e9 == pytest.approx(39.238, abs=5e-4)
    extra = 2 * _elements(model, nn.BatchNorm2d) + _elements(model, nn.AdaptiveAvgPool2d) + 4 * _upsampled(19)
    assert convolutions + extra / 1e9 == pytest.approx(39.077, abs=5e-4)
    assert round(convolutions + extra / 1e9, 1) == GOLDEN["multiply_adds"]["published"]


def _elements(model: nn.Module, kind: type[nn.Module]) -> int:
    """Elements that go into all layers of a kind at 1024x2048."""
    counts: list[int] = []
    names = [name for name, module in model.named_modules() if isinstance(module, kind)]
    twin = RegSeg().to("meta").eval()
    with torch.no_grad(), observe(twin, names, lambda _name, inputs, _output: counts.append(inputs[0].numel())):
        twin(torch.empty(1, 3, 1024, 2048, device="meta"))
    return sum(counts)


def _upsampled(classes: int) -> int:
    return 128 * 128 * 256 + 64 * 256 * 512 + classes * 1024 * 2048


@pytest.mark.parametrize(
    ("name", "group", "stages"),
    [
        ("regseg", 16, [(32, [48]), (48, [128] * 3), (128, [256] * 13 + [320])]),
        ("regseg_l", 24, [(32, [48] * 2), (48, [120] * 6), (120, [336] * 13 + [384])]),
    ],
)
def test_counts_block_by_block(name: str, group: int, stages: list[tuple[int, list[int]]]) -> None:
    model = create_model(name)
    assert parameters(model.stem) == 27 * 32 + 2 * 32
    for stage, (inputs, widths) in zip(model.stages[1:], stages, strict=True):
        assert len(stage.blocks) == len(widths)
        for index, (block, outputs) in enumerate(zip(stage.blocks, widths, strict=True)):
            hidden = inputs // 4
            expected = inputs * outputs + 9 * outputs * group + outputs**2 + 6 * outputs
            expected += 2 * outputs * hidden + hidden + outputs
            expected += inputs * outputs + 2 * outputs if index == 0 or inputs != outputs else 0
            assert parameters(model.get_submodule(block)) == expected, block
            inputs = outputs


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # 1x1 to the heads, 3x3, 3x3, each with norm, and the scores with bias.
        ("regseg", 320 * 128 + 128 * 128 + 48 * 8 + 2 * 264 + 9 * 128 * 64 + 128 + 9 * 72 * 64 + 128 + 65 * 19),
        ("regseg_l", 384 * 256 + 120 * 256 + 48 * 16 + 2 * 528 + 9 * 256 * 128 + 256 + 9 * 144 * 128 + 256 + 129 * 19),
    ],
)
def test_counts_of_the_decoder(name: str, expected: int) -> None:
    assert parameters(create_model(name).decoder) == expected


def _field(model: RegSeg) -> tuple[int, int]:
    """Receptive field and output stride by k <- k + (k' - 1) s, s <- s s', with the largest rate of every block."""
    size, stride = 3, 2
    for stage in model.stages[1:]:
        for block in stage.blocks:
            module = model.get_submodule(block)
            size += 2 * max(module.dilations) * stride
            stride *= module.stride
    return size, stride


@pytest.mark.parametrize("row", GOLDEN["ablation"])
def test_receptive_fields_of_the_ablation(row: str) -> None:
    model = create_model("regseg", dilations=DILATIONS[row])
    assert _field(model) == (GOLDEN["ablation"][row]["field"], 16)
    # The number of branches changes no count.
    assert parameters(model) == GOLDEN["parameters"]["regseg"]["19"]


def test_the_searched_rates() -> None:
    model = create_model("regseg", dilations=DILATIONS["searched"])
    assert _field(model) == (GOLDEN["searched"]["field"], 16)
    # Two branches with the same rate are still two branches.
    assert [conv.dilation for conv in model.get_submodule("stage4.1").branches.convs] == [(1, 1), (1, 1)]


def test_every_list_of_rates_is_a_row_or_the_searched_one() -> None:
    assert set(DILATIONS) == {*GOLDEN["ablation"], "searched"}
    assert all(len(rates) == 13 for rates in DILATIONS.values())


def test_the_field_before_dilation_begins() -> None:
    # 63 pixels at stride 16: the bound on the first dilation rate is 63 / 16 = 3.94.
    assert _field(RegSeg(dilations=((1,),))) == (63 + 2 * 16, 16)


def test_the_last_block_is_wider_and_the_rates_are_in_order() -> None:
    model = create_model("regseg")
    assert [model.get_submodule(block).dilations for block in model.stages[3].blocks] == [(1,), *DILATIONS[MAIN]]
    assert [model.get_submodule(block).out_channels for block in model.stages[3].blocks[-2:]] == [256, 320]
    assert model.stages[3].dilations == (1, 2, 4, 14)
    assert create_model("regseg", dilations=[[1], [1, 2]]).stages[3].blocks == ("stage4.0", "stage4.1", "stage4.2")


def test_only_gates_and_scores_have_biases() -> None:
    model = create_model("regseg")
    biased = [name for name, part in model.named_modules() if isinstance(part, nn.Conv2d) and part.bias is not None]
    assert {name.rpartition(".")[2] for name in biased} == {"squeeze", "excite", "classifier"}
    assert len(biased) == 2 * 18 + 1


@pytest.mark.parametrize("scheme", ["torch", "he"])
def test_initialisation_is_an_option(scheme: str) -> None:
    model = create_model("regseg", seed=0, initialisation=scheme)
    weight = model.get_submodule("stage4.5").first.conv.weight
    variance = {"torch": 1 / 3, "he": 2.0}[scheme] / weight[0].numel()
    assert weight.var().item() == pytest.approx(variance, rel=0.05)


def test_branch_weights_find_the_d_blocks_with_several_branches() -> None:
    model = create_model("regseg", seed=0)
    weights = branch_weights(model)
    assert weights.stages == ("stage4",)
    assert [block.block for block in weights.blocks] == [f"stage4.{index}" for index in range(2, 14)]
    assert [block.dilations for block in weights.blocks] == list(DILATIONS[MAIN][1:])
    for block in weights.blocks:
        assert block.gates == (f"{block.block}.gate.excite",)
        half = model.get_submodule(block.block).out_channels // 2
        assert block.branch_of_input.tolist() == [0] * half + [1] * half
    assert list(weights.pooled("stage4", "weight")) == ["d1", "d2", "d4", "d14"]


def test_declared_branches_count_with_equal_rates() -> None:
    weights = branch_weights(create_model("regseg", dilations=((1, 1), (2, 2)), blocks=(1, 1), seed=0))
    assert [block.dilations for block in weights.blocks] == [(1, 1), (2, 2)]


def test_contributions_are_measured_behind_the_gate() -> None:
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    weights = branch_weights(create_model("regseg", seed=0, **TINY), measure="contribution", images=images)
    assert all((block.contribution > 0).any() for block in weights.blocks)


def test_the_probe_of_regseg() -> None:
    probed = probe(create_model("regseg", **TINY), dilations=(1, 3))
    blocks = [module for module in probed.modules() if isinstance(module, CompetingBranches)]
    assert [(block.in_channels, block.out_channels, block.stride) for block in blocks] == [
        (32, 48, 2), (48, 128, 2), (128, 256, 2), (256, 256, 1), (256, 320, 1),
    ]  # fmt: skip
    assert branch_weights(probed).stages == ("stage2", "stage3", "stage4")


def test_region_maps_need_named_layers() -> None:
    model, image = create_model("regseg", seed=0, **TINY), torch.zeros(3, 64, 64, dtype=torch.uint8)
    with pytest.raises(ValueError, match="RegSeg has no blocks with `region`; name layers"):
        region_maps(model, image)
    maps = region_maps(model, image, layers={"stage4.2.first": "stage4.2.branches"})
    assert (maps.maps[0].stage, maps.maps[0].region.shape) == ("stage4", (4, 4))


def test_it_trains_and_comes_back_from_its_weights(tmp_path: Path) -> None:
    result = train(
        "regseg",
        Scenes(size=(32, 48), length=4),
        out=tmp_path,
        recipe="regseg-camvid",
        epochs=1,
        batch_size=2,
        warmup_steps=0,
        frame_size=(32, 48),
        crop_size=(32, 48),
        model_options=TINY,
        threads=1,
        device="cpu",
        progress=False,
        tensorboard=False,
    )
    assert (result.steps, result.epochs) == (2, 1)
    assert read_card(result.weights).recipe_name == "regseg-camvid"
    again = create_model("regseg", weights=result.weights)
    assert [block.dilations for block in again.stage4] == [(1,), (1,), (1, 2)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dilations": ()}, r"dilations=\(\) must be a list of dilation rates for each block"),
        ({"dilations": (1, 2)}, r"dilations=\(1, 2\) must be a list of dilation rates for each block"),
        ({"dilations": ((1, 0),)}, r"dilations=\(1, 0\)"),
        ({"dilations": ((1, 2, 4),)}, r"channels=320 cannot be split into 3 branches"),
        ({"widths": (48, 128, 256)}, r"widths=\(48, 128, 256\) must be four"),
        ({"blocks": (1, 0)}, r"blocks=\(1, 0\) must be two numbers of at least 1"),
        ({"blocks": (1, 1, 1)}, r"blocks=\(1, 1, 1\) must be two numbers"),
        ({"group_width": 5}, r"channels=48 cannot be split .* group_width=5"),
        ({"stem_width": 0}, r"stem_width=0 must be above 0"),
        ({"num_classes": 0}, r"num_classes=0 must be above 0"),
        ({"initialisation": "xavier"}, r"initialisation='xavier' is not known"),
        ({"stem": "wide"}, r"option of regseg='stem' is not known; allowed: dilations, widths"),
    ],
)
def test_errors_name_the_argument(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_model("regseg", **options)
