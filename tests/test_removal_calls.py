"""The one-line call and the command around branches that are removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rfkit import api_removal
from rfkit.cli import main
from rfkit.data.opening import open_data
from rfkit.models.registry import create_model
from rfkit.models.weights import Card, save_weights
from rfkit.results.base import Result
from rfkit.results.removal import BranchRemoval

OPTIONS = {"blocks": (1, 1, 1)}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    classes = open_data("scenes", split="test").classes
    model = create_model("probe_dwrseg_l", num_classes=len(classes), seed=0, **OPTIONS)
    card = Card(
        model="probe_dwrseg_l", num_classes=len(classes), options=OPTIONS, class_names=classes, data="scenes",
        split="train", epochs=3, horizon_epochs=7, seed=5,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("run") / "weights.safetensors"
    save_weights(model, path, card=card)
    return path


def test_the_call_says_how_the_network_was_trained(weights: Path) -> None:
    model = create_model("probe_dwrseg_l", weights=weights)
    figure = api_removal.plot_branch_removal(model, "scenes", limit=1, size=(32, 64), resamples=5, progress=False)
    title = " ".join(figure.get_suptitle().split())
    assert title == "probe_dwrseg_l, scenes train, 3 of 7 epochs, seed 5; scenes test, 1 images at 64x32"
    with pytest.raises(ValueError, match=r"kind='pie' is not known"):
        api_removal.plot_branch_removal(model, "scenes", kind="pie")


def test_other_classes_are_refused(weights: Path) -> None:
    model = create_model("probe_dwrseg_l", weights=weights)
    data = open_data("scenes", split="test", num_classes=11)
    data.classes = tuple(f"other {name}" for name in data.classes)
    with pytest.raises(ValueError, match="their scores mean different things"):
        api_removal.measure_branch_removal(model, data, limit=1)


def test_the_command_prints_and_writes(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[BranchRemoval] = []
    measure = api_removal.measure_branch_removal

    def once(*given: Any, **options: Any) -> BranchRemoval:
        if not measured:
            measured.append(measure(*given, **options))
        return measured[0]

    monkeypatch.setattr(api_removal, "measure_branch_removal", once)
    common = ["removal", "--weights", str(weights), "--data", "scenes", "--limit", "1", "--size", "32", "64"]
    for name in ("removal.csv", "removal.npz", "removal.png"):
        assert main([*common, "--out", str(tmp_path / name)]) == 0
    out = capsys.readouterr().out
    assert "scenes test, 1 images at 64x32: mIoU" in out
    assert out.count("stage2       d1") == 3
    assert len(pd.read_csv(tmp_path / "removal.csv")) == len(measured[0].to_frame())
    assert Result.load(tmp_path / "removal.npz") == measured[0]
    assert (tmp_path / "removal.png").stat().st_size > 1000
    with pytest.raises(SystemExit):
        main([*common, "--out", str(tmp_path / "removal.txt")])
    assert "does not end in .csv or .npz or .png or .pdf or .svg" in capsys.readouterr().err
