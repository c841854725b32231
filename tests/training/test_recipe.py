from __future__ import annotations

import dataclasses
import json

import pytest

from rfkit.training.recipe import RECIPES, Recipe, get_recipe


def test_the_paper_recipe_is_the_paper_s() -> None:
    # DWRSeg, section 4.1, "Implementation Details".
    paper = get_recipe("camvid-paper")
    assert (paper.optimizer, paper.momentum, paper.weight_decay) == ("sgd", 0.9, 5e-4)
    assert (paper.batch_size, paper.learning_rate, paper.poly_power) == (16, 0.02, 0.9)
    assert (paper.epochs, paper.scale, paper.crop_size, paper.loss) == (600, (0.5, 1.5), (720, 960), "ohem")
    assert (paper.warmup_steps, paper.clip_norm, paper.class_weights) == (0, None, None)
    assert (paper.ohem_threshold, paper.ohem_min_kept) == (0.7, 1 / 16)
    cityscapes = get_recipe("cityscapes-paper")
    assert (cityscapes.epochs, cityscapes.scale, cityscapes.crop_size) == (1000, (0.25, 1.5), (640, 1280))


def test_half_differs_in_size_only() -> None:
    whole, half = get_recipe("camvid-paper").to_dict(), get_recipe("camvid-paper-half").to_dict()
    assert {field for field in whole if whole[field] != half[field]} == {"name", "frame_size", "crop_size"}
    assert half["frame_size"] == half["crop_size"] == [360, 480]


def test_adam_recipe() -> None:
    adam = get_recipe("camvid-adam")
    assert (adam.optimizer, adam.learning_rate, adam.weight_decay) == ("adam", 1e-3, 2e-4)
    assert (adam.epochs, adam.batch_size, adam.scale) == (1000, 16, (0.75, 2.0))
    assert (adam.loss, adam.class_weights) == ("cross-entropy", "inverse-log")


def test_regseg_recipes() -> None:
    # Gao, arXiv 2111.09957: Cityscapes from scratch, CamVid from Cityscapes weights.
    cityscapes, camvid = get_recipe("regseg-cityscapes"), get_recipe("regseg-camvid")
    for recipe in (cityscapes, camvid):
        assert (recipe.optimizer, recipe.momentum, recipe.weight_decay, recipe.decay_norms) == ("sgd", 0.9, 1e-4, False)
        assert (recipe.loss, recipe.poly_power, recipe.flip, recipe.precision) == ("cross-entropy", 0.9, 0.5, "bf16")
    assert (cityscapes.learning_rate, cityscapes.batch_size, cityscapes.epochs) == (0.05, 8, 1000)
    assert (cityscapes.warmup_steps, cityscapes.crop_size) == (3000, (768, 768))
    assert [1024 * factor for factor in cityscapes.scale] == [400, 1600]
    # Half of each epoch class by class, colour operations for color jitter.
    assert (cityscapes.class_uniform, cityscapes.augmentation.colour_operations) == (0.5, 2)
    assert (cityscapes.brightness, cityscapes.contrast, cityscapes.saturation) == (0, 0, 0)
    assert (camvid.class_uniform, camvid.colour_operations) == (0, 0)
    assert (camvid.learning_rate, camvid.batch_size, camvid.epochs) == (0.005, 12, 200)
    assert (camvid.warmup_steps, camvid.crop_size, camvid.frame_size) == (1000, (720, 960), (720, 960))
    assert [720 * factor for factor in camvid.scale] == pytest.approx([288, 1152])


@pytest.mark.parametrize("name", RECIPES)
def test_survives_json(name: str) -> None:
    recipe = get_recipe(name)
    assert recipe.name == name
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_overrides_replace_and_leave_the_recipe_alone() -> None:
    changed = get_recipe("camvid-paper-half", epochs=100, crop_size=[64, 64])
    assert (changed.epochs, changed.crop_size, changed.augmentation.crop) == (100, (64, 64), (64, 64))
    assert RECIPES["camvid-paper-half"].epochs == 600
    assert get_recipe(changed, epochs=7).crop_size == (64, 64)
    with pytest.raises(dataclasses.FrozenInstanceError):
        changed.epochs = 3  # type: ignore[misc]


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"recipe='camvid_paper' is not known.*Did you mean 'camvid-paper'"):
        get_recipe("camvid_paper")
    with pytest.raises(ValueError, match=r"recipe field='learning_rat' is not known.*Did you mean 'learning_rate'"):
        get_recipe("camvid-paper", learning_rat=0.1)
    with pytest.raises(ValueError, match="recipe field='name' is not known"):
        get_recipe(RECIPES["camvid-paper"], name="mine")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "sdg"}, "optimizer='sdg' is not known.*'sgd'"),
        ({"epochs": 0}, "epochs=0 must be above 0"),
        ({"clip_norm": -1.0}, "clip_norm=-1.0 must be above 0"),
        ({"ohem_threshold": 1.5}, "ohem_threshold=1.5 must be above 0 and at most 1"),
        ({"weight_decay": -0.1}, "weight_decay=-0.1 must not be below 0"),
        ({"class_weights": "inverse"}, "class_weights='inverse' is not known; allowed: inverse-log"),
        ({"class_weights": (0.0, 0.0)}, "must not be below 0, and not all be 0"),
        ({"class_weights": (1.0, -1.0)}, "must not be below 0"),
        ({"label_smoothing": 1.0}, r"label_smoothing=1.0 must be in \[0, 1\)"),
        ({"ema_decay": 1.0}, "ema_decay=1.0 must be above 0 and below 1"),
        ({"accumulate": 3}, "accumulate=3 must divide the batch into equal parts; batch_size=16"),
        ({"scale": (2.0, 1.0)}, "scale="),
        ({"momentum": 1.0}, r"momentum=1.0 must be in \[0, 1\)"),
        ({"class_uniform": 1.5}, r"class_uniform=1.5 must be in \[0, 1\]"),
        ({"colour_operations": -1}, r"colour_operations=-1 must not be below 0"),
        ({"colour_magnitude": 2.0}, r"colour_magnitude=2.0 must be in \[0, 1\]"),
    ],
)
def test_values_are_checked(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        get_recipe("camvid-paper", **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": "100"}, "epochs='100' must be int"),
        ({"batch_size": 2.5}, "batch_size=2.5 must be int"),
        ({"channels_last": 1}, "channels_last=1 must be bool"),
        ({"crop_size": 360}, r"crop_size=360 must be tuple\[int, int\]"),
    ],
)
def test_types_are_checked(changes: dict[str, object], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        get_recipe("camvid-paper", **changes)
