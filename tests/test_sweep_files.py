"""The sweep files of Table 2 say what `ABLATIONS` and `MATCHED_BLOCKS` say, and cover every row."""

from __future__ import annotations

import inspect
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch

from rfkit.models.ablations import ABLATIONS, ablation_options
from rfkit.models.registry import create_model
from rfkit.training.loop import train
from rfkit.training.recipe import get_recipe

FOLDER = Path(__file__).parents[1] / "rfkit" / "sweeps"
EXPERIMENTS = ("I", "II", "III", "IV", "V", "VI", "VII")
NAMES = ("table2", *(f"table2-{experiment}" for experiment in EXPERIMENTS))


def read(name: str) -> dict[str, Any]:
    return tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_a_sweep_names_itself_and_what_it_runs(name: str) -> None:
    sweep = read(name)
    assert set(sweep) == {"name", "seeds", "run", "variants"}
    assert (sweep["name"], sweep["seeds"]) == (name, [0, 1, 2])
    assert set(sweep["run"]) <= set(inspect.signature(train).parameters)
    run = sweep["run"]
    assert (run["model"], run["data"], run["split"], run["evaluation"]) == ("dwrseg_l", "camvid", "trainval", "test")
    assert get_recipe(run["recipe"]).epochs == 600


@pytest.mark.parametrize("name", NAMES)
def test_its_variants_are_the_rows_of_table_2(name: str) -> None:
    variants = read(name)["variants"]
    for variant in variants:
        assert set(variant) == {"label", "model_options"}
        assert variant["model_options"] == json.loads(json.dumps(ablation_options(variant["label"])))
    labels = [variant["label"] for variant in variants]
    experiment = name.removeprefix("table2-")
    wanted = [row for row in ABLATIONS if name == "table2" or row.split("-")[0] in ("baseline", experiment)]
    assert labels == wanted


def test_no_row_is_missing() -> None:
    assert {path.stem for path in FOLDER.glob("table2*")} == set(NAMES)
    labels = {variant["label"] for name in NAMES[1:] for variant in read(name)["variants"]}
    assert labels == set(ABLATIONS)


@pytest.mark.parametrize("variant", read("table2")["variants"], ids=lambda variant: variant["label"])
def test_every_variant_builds_and_runs(variant: dict[str, Any]) -> None:
    with torch.device("meta"):
        model = create_model("dwrseg_l", num_classes=11, **variant["model_options"]).eval()
        assert model(torch.empty(1, 3, 64, 64)).shape == (1, 11, 64, 64)
