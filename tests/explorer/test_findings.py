"""What the explorer shows is what the analyses say; it is kept, and the network is left alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from explorer.networks import Dictionary, Gated, Strange, image, plain, small_dwrseg, untouched_state
from torch import nn

import rfkit
from rfkit.explorer.choice import Choice
from rfkit.explorer.choosing import changed_choice, first_choice
from rfkit.explorer.findings import Findings
from rfkit.explorer.menu import Menu
from rfkit.hooks import observe


@pytest.fixture(scope="module")
def dwrseg() -> Findings:
    return Findings(Menu(small_dwrseg(), image(64, 96)))


@pytest.fixture(scope="module")
def simple() -> Findings:
    return Findings(Menu(plain(), image()))


def test_layers_are_listed_by_stage_down_to_the_steps_of_blocks(dwrseg: Findings) -> None:
    assert list(dwrseg.menu.stages) == ["stem", "stage2", "stage3", "stage4", "decoder", "output"]
    assert dwrseg.menu.stages["stage4"][:2] == ("stage4", "stage4.0")
    assert "stage4.2.semantic" in dwrseg.menu.stages["stage4"]
    assert not any(name.startswith("stage4.2.semantic.") for name in dwrseg.menu.stages["stage4"])
    assert dwrseg.menu.shapes["output"] == (5, 64, 96)
    assert first_choice(dwrseg.menu).layer == "stage4"
    assert dwrseg.menu.stage_of("stage4.2.semantic") == "stage4"


def test_layers_of_a_network_without_stages_are_those_that_ran(simple: Findings) -> None:
    assert simple.menu.stages == {str(index): (str(index),) for index in range(5)} | {"output": ("output",)}
    assert simple.menu.shapes["2"] == (5, 16, 24)
    assert first_choice(simple.menu) == Choice("4", (7, 11), (15, 23))
    assert simple.menu.branches("2") == ()
    assert simple.menu.region_channels("2") == 0


def test_each_panel_is_the_result_of_its_analysis(dwrseg: Findings) -> None:
    model, picture = dwrseg.menu.model, image(64, 96)
    choice = changed_choice(dwrseg.menu, first_choice(dwrseg.menu), layer="stage4.2", unit=(0, 1), class_index=3)
    graph = rfkit.trace(model, (3, 64, 96))
    assert str(dwrseg.get("box", choice)) == str(graph["stage4.2"][0, 1])
    support = graph["stage4.2"].support(0, 1)
    found = dwrseg.get("support", choice)
    np.testing.assert_array_equal(found.mask, support.mask)
    assert found.layer == "stage4.2"
    with rfkit.capture(model, "stage4.2") as outputs, torch.no_grad():
        model(rfkit_batch(picture, model))
    np.testing.assert_allclose(dwrseg.get("map", choice), outputs["stage4.2"][0].mean(dim=0).numpy(), atol=1e-5)
    field = rfkit.effective_rf(model, picture, layers="stage4.2", unit=(0, 1), crop=False, progress=False)["stage4.2"]
    np.testing.assert_allclose(dwrseg.get("effective", choice).map, field.map, rtol=1e-4, atol=1e-9)
    attribution = rfkit.attribute(model, picture, target=(3, choice.pixel), method="saliency", progress=False)
    np.testing.assert_allclose(dwrseg.get("attribution", choice).values, attribution.values, rtol=1e-4, atol=1e-9)
    maps = rfkit.region_maps(model, picture, blocks="stage4.2").maps
    region = dwrseg.get("region", choice)
    assert (region.channel, region.dilation) == (maps[0].channel, maps[0].dilation)
    np.testing.assert_allclose(region.semantic, maps[0].semantic, atol=1e-5)
    assert dwrseg.get("semantic", choice) is region


def rfkit_batch(picture: torch.Tensor, model: nn.Module) -> torch.Tensor:
    from rfkit.analysis.images import as_batches

    return as_batches(picture, model)[0]


def test_a_branch_and_a_channel_are_looked_at_alone(dwrseg: Findings) -> None:
    choice = changed_choice(dwrseg.menu, first_choice(dwrseg.menu), layer="stage4.2", unit=(1, 1))
    assert dwrseg.menu.branches("stage4.2") == dwrseg.menu.branches("stage4") == ("d1", "d3", "d5")
    assert dwrseg.menu.branches("stage4.2.region") == ()
    through = changed_choice(dwrseg.menu, choice, branch="d3")
    parts = rfkit.branch_effective_rf(
        dwrseg.menu.model, image(64, 96), block="stage4.2", layer="stage4.2", unit=(1, 1), crop=False, progress=False
    )
    np.testing.assert_allclose(dwrseg.get("effective", through).map, parts["d3"].map, rtol=1e-3, atol=1e-9)
    assert dwrseg.get("region", through).dilation == 3
    single = changed_choice(dwrseg.menu, choice, channel=2)
    assert dwrseg.get("effective", single).channels == (2,)
    assert not np.array_equal(dwrseg.get("map", single), dwrseg.get("map", choice))


def test_what_is_kept_is_not_computed_again(simple: Findings) -> None:
    choice = changed_choice(simple.menu, first_choice(simple.menu), layer="2", unit=(3, 4))
    first = simple.get("effective", choice)
    assert simple.has("effective", choice)
    calls: list[str] = []
    with observe(simple.menu.model, "*", lambda name, _inputs, _output: calls.append(name)):
        assert simple.get("effective", choice) is first
        # Another unit of a layer whose gradients are kept needs no forward pass either.
        simple.get("effective", changed_choice(simple.menu, choice, unit=(5, 6)))
        simple.get("map", choice)
    assert not calls


def test_the_oldest_results_are_dropped() -> None:
    findings = Findings(Menu(plain(), image()), kept=3)
    choice = changed_choice(findings.menu, first_choice(findings.menu), layer="2", unit=(0, 0))
    for column in range(5):
        findings.get("box", changed_choice(findings.menu, choice, unit=(0, column)))
    assert not findings.has("box", choice)
    assert findings.has("box", changed_choice(findings.menu, choice, unit=(0, 4)))


def test_changed_weights_are_noticed() -> None:
    findings = Findings(Menu(plain(), image()))
    choice = changed_choice(findings.menu, first_choice(findings.menu), layer="2", unit=(3, 4))
    before = findings.get("effective", choice).map
    with torch.no_grad():
        findings.menu.model[0].weight.mul_(-2)
    assert findings.changed()
    after = findings.get("effective", choice).map
    assert not findings.changed()
    assert not np.allclose(before, after)


@pytest.mark.parametrize("change", [nn.Module.double, lambda model: model.load_state_dict(plain().state_dict())])
def test_another_type_and_loaded_weights_are_noticed(change: Callable[[nn.Module], object]) -> None:
    model = plain()
    findings = Findings(Menu(model, image()))
    choice = changed_choice(findings.menu, first_choice(findings.menu), layer="2", unit=(3, 4))
    findings.get("effective", choice)
    change(model)
    assert findings.changed()
    assert findings.get("effective", changed_choice(findings.menu, choice, unit=(3, 5))).map.any()
    assert not findings.changed()


def test_a_network_of_inference_tensors_has_boxes() -> None:
    with torch.inference_mode():
        findings = Findings(Menu(nn.Sequential(nn.Conv2d(3, 4, 3)), image()))
    assert str(findings.get("box", first_choice(findings.menu, pixel=(9, 9)))).endswith("(3 x 3)")


def test_the_model_is_left_as_it_was_found() -> None:
    model = small_dwrseg().train()
    before = untouched_state(model)
    findings = Findings(Menu(model, image(64, 96)))
    choice = first_choice(findings.menu)
    for panel in ("box", "map", "support", "effective", "region", "attribution"):
        findings.get(panel, choice)
    assert untouched_state(model) == before


def test_units_and_pixels_follow_each_other(simple: Findings) -> None:
    choice = changed_choice(simple.menu, first_choice(simple.menu), layer="2", pixel=(10, 20))
    assert choice.unit == (5, 10)
    assert changed_choice(simple.menu, choice, unit=(0, 3)).pixel == (0, 6)
    deeper = changed_choice(simple.menu, choice, layer="output")
    assert deeper.pixel == (10, 20)
    assert deeper.unit == (5, 10)
    assert changed_choice(simple.menu, choice, layer="4", channel=3).channel == 3
    assert changed_choice(simple.menu, changed_choice(simple.menu, choice, channel=4), layer="4").channel is None


def test_a_branch_that_another_layer_lacks_is_dropped(dwrseg: Findings) -> None:
    choice = changed_choice(dwrseg.menu, first_choice(dwrseg.menu), branch="d5", region_channel=3)
    assert changed_choice(dwrseg.menu, choice, layer="stage4.2").branch == "d5"
    other = changed_choice(dwrseg.menu, choice, layer="stage2")
    assert (other.branch, other.region_channel) == ("", None)


def test_boxes_beside_a_global_path_are_those_of_local_paths() -> None:
    findings = Findings(Menu(Gated(), image()))
    choice = changed_choice(findings.menu, first_choice(findings.menu), layer="output", unit=(8, 12))
    assert str(findings.get("box", choice)) == str(rfkit.trace(Gated(), (3, 32, 48)).output[8, 12])
    assert findings.get("box", choice).height < 32
    assert findings.menu.has_global_path("output")
    assert not findings.menu.has_global_path("body.2")


def test_an_unknown_field_is_an_error_and_the_rest_goes_on() -> None:
    findings = Findings(Menu(Strange(), image()))
    assert rfkit.trace(Strange(), (3, 32, 48)).output.status == "unknown"
    choice = changed_choice(findings.menu, first_choice(findings.menu), layer="output", unit=(8, 12))
    with pytest.raises(ValueError, match=r"the theoretical field of 'output' is unknown: .*sort"):
        findings.get("box", choice)
    assert findings.get("effective", choice).map.any()


def test_an_output_under_a_name() -> None:
    findings = Findings(Menu(Dictionary(), image(), output="out"))
    assert findings.menu.shapes["output"] == (4, 16, 24)
    assert len(findings.menu.class_names) == 4
    choice = changed_choice(findings.menu, first_choice(findings.menu), layer="output", unit=(3, 4))
    assert findings.get("attribution", choice).class_index == findings.menu.class_at(choice.pixel)


def test_a_network_without_class_scores_says_so() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = plain()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.body(images).flatten(2).mT

    findings = Findings(Menu(Tokens(), image()))
    assert "output" not in findings.menu.stages
    assert findings.menu.class_names == ()
    with pytest.raises(ValueError, match="this network gives no class scores: the network gives"):
        findings.get("attribution", first_choice(findings.menu))


def test_one_score_a_class_has_no_pixel() -> None:
    model = nn.Sequential(*plain(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    findings = Findings(Menu(model, image()))
    choice = first_choice(findings.menu, layer="2")
    assert findings.get("attribution", choice).region is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer": "7"}, "layer='7' is not known; allowed: 0, 1, 2, 3, 4, output"),
        ({"unit": (16, 0)}, r"unit=\(16, 0\) is outside of the 16 x 24 units of 4"),
        ({"pixel": (0, 48)}, r"pixel=\(0, 48\) is outside of the 32 x 48 pixels of the image"),
        ({"channel": 4}, "channel=4 is out of range; allowed: 0 to 3"),
        ({"region_channel": 0}, "region_channel=0 is out of range; allowed: none here"),
        ({"class_index": -1}, "class_index=-1 is out of range; allowed: 0 to 3"),
        ({"branch": "d2"}, "branch='d2' is not known; allowed: none"),
        ({"method": "shap"}, "method='shap' is not known"),
        ({"layer": None}, "layer=None is not known"),
        ({"unit": 3}, r"unit=3 is not a place; allowed: two whole numbers, \(row, column\)"),
        ({"unit": (1, 2, 3)}, r"unit=\(1, 2, 3\) is not a place"),
        ({"pixel": (1.5, 2)}, r"pixel=\(1.5, 2\) is not a place"),
        ({"channel": "3"}, "channel='3' is not a whole number; allowed: 0 to 3"),
        ({"class_index": "Car"}, "class_index='Car' is not a whole number; allowed: 0 to 3"),
        ({"branch": None}, "branch=None is not known; allowed: none"),
        ({"whole_class": "yes"}, "whole_class='yes' is not known; allowed: True, False"),
    ],
)
def test_what_is_not_there_is_named(simple: Findings, changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        changed_choice(simple.menu, first_choice(simple.menu), **changes)


def test_a_field_that_no_choice_has_is_named(simple: Findings) -> None:
    with pytest.raises(TypeError, match="row is nothing that can be chosen; allowed: layer, unit, pixel, channel"):
        changed_choice(simple.menu, first_choice(simple.menu), row=3)


def test_numbers_of_numpy_are_numbers(simple: Findings) -> None:
    row, column = np.argwhere(np.eye(16, 24))[3]
    choice = changed_choice(simple.menu, first_choice(simple.menu), unit=(row, column), channel=np.int64(2))
    assert (choice.unit, choice.channel) == ((3, 3), 2)
    assert [type(number) for number in (*choice.unit, choice.channel)] == [int, int, int]


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="image holds 2 images; give one"):
        Findings(Menu(plain(), torch.zeros(2, 3, 32, 48)))
    with pytest.raises(ValueError, match="class_names has 2 names; the network has 4 classes"):
        Findings(Menu(plain(), image(), class_names=("a", "b")))
    with pytest.raises(ValueError, match="no layer of this Flatten returns a map N C H W"):
        Findings(Menu(nn.Flatten(2, 3), image()))
    with pytest.raises(ValueError, match="panel='trf' is not known"):
        Findings(Menu(plain(), image())).get("trf", Choice("2", (0, 0), (0, 0)))
    findings = Findings(Menu(plain(), image()))
    with pytest.raises(ValueError, match="4 has no block with the steps `region` and `semantic`; nor has any"):
        findings.get("region", first_choice(findings.menu))


def test_where_the_steps_of_blocks_are_is_said(dwrseg: Findings) -> None:
    with pytest.raises(ValueError, match=r"output has no block .*; they are in stage2, stage3, stage4"):
        dwrseg.get("region", first_choice(dwrseg.menu, layer="output"))
