"""Results of a sweep go to the table that ships; rows that are no finished row of Table 2 are refused with a reason."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from rfkit._checks import DataError
from rfkit.models.ablations import ablation_options
from rfkit.models.registry import create_model
from rfkit.models.weights import Card, save_weights
from rfkit.paper.ablation_runs import read_runs, write_runs
from rfkit.paper.measured import __main__ as measured
from rfkit.paper.measured.__main__ import add_results, main

ROW = {
    "sweep": "table2", "run": "r", "label": "I-MS", "model": "dwrseg_l", "overrides": "{}", "seed": "0",
    "model_options": json.dumps(ablation_options("I-MS")), "status": "finished", "miou": "0.5", "epochs": "30",
    "horizon_epochs": "30", "steps": "870", "height": "360", "width": "480", "data": "camvid", "split": "trainval",
    "evaluated": "test", "recipe": "camvid-paper-half", "seconds": "1", "folder": "run", "error": "",
}  # fmt: skip


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "ablations.csv"
    write_runs(path, [])
    monkeypatch.setattr(measured, "ABLATION_RUNS", path)
    return path


def results(folder: Path, *changes: dict[str, str]) -> Path:
    path = folder / "results.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(ROW))
        writer.writeheader()
        writer.writerows({**ROW, **change} for change in changes)
    return path


def test_finished_runs_are_added_once(shipped: Path) -> None:
    # pandas writes a column with an empty cell as decimals.
    table = results(shipped.parent, {}, {"seed": "1", "height": "360.0", "steps": "870.0"})
    for _ in range(2):
        added, refused = add_results(table, shipped, device="a GPU")
        assert (len(added), refused) == (2, {})
    runs = read_runs(shipped)
    assert [(run.ablation, run.seed, run.device) for run in runs] == [("I-MS", 0, "a GPU"), ("I-MS", 1, "a GPU")]
    run = runs[1]
    assert (run.blocks, run.macs, run.height, run.steps) == ("8 7 3", 16_083_156_992, 360, 870)
    assert (run.epochs, run.horizon_epochs, run.recipe) == (30.0, 30, "camvid-paper-half")


def test_the_same_run_takes_its_new_score_and_others_stay(shipped: Path) -> None:
    add_results(results(shipped.parent, {}, {"seed": "1"}), shipped, device="d")
    add_results(results(shipped.parent, {"miou": "0.75"}), shipped, device="d")
    assert [(run.seed, run.miou) for run in read_runs(shipped)] == [(0, 0.75), (1, 0.5)]


@pytest.mark.parametrize(("change", "reason"), [
    ({"status": "failed"}, "status='failed' is not 'finished'"),
    ({"status": "running"}, "status='running' is not 'finished'"),
    ({"label": "dwrseg_l"}, "label='dwrseg_l' is not in ABLATIONS"),
    ({"model_options": '{"multiple": true}'}, "is not the network of I-MS with matched block counts"),
    ({"model_options": "{"}, "Expecting"),
    ({"model": "dwrseg_b"}, "dwrseg_b with .* is not the network of I-MS"),
    ({"miou": ""}, "miou='' must be a number from 0 to 1"),
    ({"miou": "50.1"}, "miou='50.1' must be a number from 0 to 1"),
])  # fmt: skip
def test_a_row_is_refused_with_the_reason_and_the_others_are_added(
    change: dict[str, str], reason: str, shipped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = results(shipped.parent, {"seed": "4", **change}, {})
    assert main([str(table), "--device", "d"]) == 1
    assert [run.seed for run in read_runs(shipped)] == [0]
    printed = capsys.readouterr().out
    assert "1 runs are in" in printed
    assert re.search(reason, printed)
    assert f"refused: {change.get('label', 'I-MS')}, seed 4: " in printed


def test_nothing_refused_is_success(shipped: Path) -> None:
    assert main([str(results(shipped.parent, {})), "--device", "d"]) == 0


def test_device_and_recipe_come_from_the_card_of_the_run(shipped: Path) -> None:
    add, refused = add_results(results(shipped.parent, {}), shipped)
    assert add == []
    assert "folder='run' holds no weights; name the device with --device" in refused["I-MS, seed 0"]
    card = Card(model="dwrseg_l", num_classes=2, device="one GPU", recipe={"learning_rate": 0.01, "epochs": 30})
    save_weights(create_model("dwrseg_l", num_classes=2, blocks=(1, 1, 1)),
                 shipped.parent / "run" / "weights.safetensors", card=card)  # fmt: skip
    (run,), refused = add_results(results(shipped.parent, {}), shipped)
    assert (run.device, run.recipe, refused) == ("one GPU", "camvid-paper-half, learning_rate=0.01", {})


def test_what_varied_in_a_sweep_is_in_the_recipe(shipped: Path) -> None:
    (run,), _ = add_results(results(shipped.parent, {"overrides": '{"learning_rate": 0.04}'}), shipped, device="d")
    assert run.recipe == "camvid-paper-half, learning_rate=0.04"


def test_another_table_is_refused_whole(tmp_path: Path, shipped: Path) -> None:
    (tmp_path / "other.csv").write_text("label,miou\nI-MS,0.5\n")
    with pytest.raises(DataError, match=r"other.csv: lacks the columns model, model_options.*no table of a sweep"):
        add_results(tmp_path / "other.csv", shipped, device="d")
