"""The one-line calls: what they compute, what they draw, what they hand on."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import nn

import rfkit
from rfkit import api
from rfkit.data.opening import open_image
from rfkit.data.scenes import Scenes
from rfkit.models.weights import Card, save_weights

SIZE = (32, 48)
TINY = {"batch_size": 2, "frame_size": SIZE, "crop_size": SIZE, "progress": False, "tensorboard": False}
SMALL = {"blocks": (1, 1, 1)}


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def probe() -> nn.Module:
    return rfkit.create_model("probe_dwrseg_l", num_classes=11, seed=0, **SMALL).eval()


def _with_card(model: nn.Module, folder: Path, **fields: object) -> nn.Module:
    """The model as it comes back from a weights file with a card."""
    card = Card(model=model.name, num_classes=model.num_classes, options=model.options, **fields)
    path = save_weights(model, folder / "weights.safetensors", card=card)
    return rfkit.create_model(model.name, weights=path).eval()


def test_branch_weights_are_drawn_with_a_panel_for_each_stage(probe: nn.Module) -> None:
    figure = api.plot_branch_weights(probe)
    assert isinstance(figure, Figure)
    assert len([axes for axes in figure.axes if axes.get_xlabel()]) >= 3


def test_a_card_brings_the_network_before_training_back(probe: nn.Module, tmp_path: Path) -> None:
    trained = _with_card(probe, tmp_path, seed=7)
    before = api._initial_model(trained)
    same = rfkit.create_model("probe_dwrseg_l", num_classes=11, seed=7, **SMALL)
    for one, other in zip(before.parameters(), same.parameters(), strict=True):
        assert torch.equal(one, other)
    assert api._initial_model(probe) is None


def test_the_distribution_before_training_is_dashed(probe: nn.Module, tmp_path: Path) -> None:
    trained = _with_card(probe, tmp_path, seed=7)
    figures = [api.plot_branch_weights(trained, initial=initial) for initial in ("auto", None)]
    counts = [
        len([patch for axes in figure.axes for patch in axes.patches if patch.get_label() == "initial"])
        for figure in figures
    ]
    assert counts == [3, 0]


def test_a_card_says_how_the_network_was_trained(probe: nn.Module, tmp_path: Path) -> None:
    card = {"data": "camvid", "split": "trainval", "epochs": 12, "horizon_epochs": 600, "steps": 348, "seed": 7}
    figure = api.plot_branch_weights(_with_card(probe, tmp_path, **card))
    expected = "probe_dwrseg_l, camvid trainval, 12 of 600 epochs, 348 steps, seed 7"
    assert " ".join(figure.get_suptitle().split()) == expected
    assert "undecided at 12 epochs" in figure.axes[0].get_xlabel()
    assert not api.plot_branch_weights(probe).get_suptitle()


def test_initial_is_a_network_or_auto(probe: nn.Module) -> None:
    with pytest.raises(ValueError, match="initial='before' must be a network, 'auto' or None"):
        api.plot_branch_weights(probe, initial="before")


def test_drawing_leaves_the_model_and_the_global_generator_alone(probe: nn.Module) -> None:
    probe.train()
    torch.manual_seed(3)
    state = torch.get_rng_state()
    api.plot_branch_weights(probe)
    api.plot_region_maps(probe, Scenes("test", size=SIZE, length=1)[0].image)
    assert torch.equal(torch.get_rng_state(), state)
    assert probe.training
    assert not [module for module in probe.modules() if module._forward_hooks]
    probe.eval()


def test_region_maps_take_a_tensor_a_sample_or_a_file(probe: nn.Module, tmp_path: Path) -> None:
    sample = Scenes("test", size=SIZE, length=1)[0]
    path = tmp_path / "street.png"
    Image.fromarray(sample.image.permute(1, 2, 0).numpy()).save(path)
    for image in (sample.image, sample, path, str(path)):
        assert torch.equal(open_image(image), sample.image)
        assert isinstance(api.plot_region_maps(probe, image, blocks="stage4.0"), Figure)


def test_without_an_image_a_scene_is_shown(probe: nn.Module) -> None:
    assert torch.equal(open_image(None), Scenes("test", length=1)[0].image)


def test_a_missing_image_is_named(probe: nn.Module) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png"):
        api.plot_region_maps(probe, "nowhere.png")


def test_training_draws_its_curves(tmp_path: Path) -> None:
    scenes = Scenes("train", size=SIZE, length=4)
    result = api.train("dwrseg_b", scenes, out=tmp_path, epochs=2, model_options=SMALL, **TINY)
    assert (result.epochs, result.steps) == (2, 4)
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size[0] > 200
    assert not plt.get_fignums(), "a figure nobody asked for would be shown in a notebook"


def test_an_error_in_training_stays_the_error_that_is_seen(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'camvid-papers' is not known"):
        api.train("dwrseg_b", Scenes(size=SIZE, length=4), out=tmp_path, recipe="camvid-papers", **TINY)


def test_scores_need_the_same_classes(tmp_path: Path) -> None:
    scenes = Scenes("val", size=SIZE, length=2)
    model = rfkit.create_model("dwrseg_b", num_classes=11, seed=0, **SMALL)
    right = _with_card(model, tmp_path, class_names=scenes.classes, data="scenes")
    assert 0 <= api.evaluate(right, scenes, progress=False).miou <= 1
    wrong = _with_card(model, tmp_path, class_names=tuple(reversed(scenes.classes)), data="other")
    with pytest.raises(ValueError, match="trained on other with the classes"):
        api.evaluate(wrong, scenes, progress=False)


def test_a_data_set_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rfkit.data import scenes

    monkeypatch.setitem(scenes._LENGTHS, "val", 1)
    model = rfkit.create_model("dwrseg_b", num_classes=11, seed=0, **SMALL)
    scores = api.evaluate(model, "scenes", split="val", size=SIZE, progress=False)
    assert (scores.data, scores.split, scores.images) == ("scenes", "val", 1)


def test_predictions_are_files_of_class_ids(tmp_path: Path) -> None:
    sample = Scenes("test", size=SIZE, length=1)[0]
    source = tmp_path / "street.png"
    Image.fromarray(sample.image.permute(1, 2, 0).numpy()).save(source)
    model = rfkit.create_model("dwrseg_b", num_classes=11, seed=0, **SMALL)
    predictions = rfkit.predict(model, source, out=tmp_path / "out", progress=False)
    with Image.open(predictions.labels[0]) as picture:
        label = np.array(picture)
    assert label.shape == SIZE
    assert label.max() < 11
    assert predictions.overlays[0].exists()


def test_figures_are_built_where_asked(tmp_path: Path) -> None:
    api.build_figures("table3", out=tmp_path, progress=False)
    assert (tmp_path / "table3.csv").exists()
    assert (tmp_path / "MANIFEST.json").exists()
    with pytest.raises(ValueError, match="'fig99' is not known"):
        api.build_figures(["fig99"], out=tmp_path, progress=False)
