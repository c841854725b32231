"""A study of learned rates: a run folder a start and seed, never made twice, what it says, the table that ships."""

from __future__ import annotations

import argparse
import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from rfkit._checks import DataError
from rfkit.analysis.branches import branch_weights
from rfkit.analysis.ratios import branch_magnitudes
from rfkit.cli_rates import add_rates
from rfkit.data.scenes import Scenes
from rfkit.models.competing import probe
from rfkit.models.learning_dilations import dilation_rates, freeze
from rfkit.models.registry import create_model
from rfkit.paper.measured import rates as measured
from rfkit.results.dilation_rates import RateTrajectory
from rfkit.results.learned_rates import LearnedRates, RateRun
from rfkit.results.magnitudes import BranchMagnitudes
from rfkit.studies import rate_runs
from rfkit.studies.learned_rates import learn_dilations
from rfkit.studies.rate_runs import learn_rates
from rfkit.training.loop import train
from rfkit.training.rate_folders import places_of, read_rate_run

DATA = Scenes(size=(32, 48), length=4, num_classes=11)
TINY: dict[str, Any] = {"blocks": (1, 1), "dilations": ((1,), (1, 2), (1, 4)), "widths": (16, 16, 32, 32),
                        "head_widths": (8, 8, 8), "decoder_width": 8}  # fmt: skip
RECIPE: dict[str, Any] = {"epochs": 2, "batch_size": 2, "frame_size": (32, 48), "crop_size": (32, 48)}
QUIET: dict[str, Any] = {"threads": 1, "device": "cpu", "progress": False, "tensorboard": False}
STUDY: dict[str, Any] = {"model_options": TINY, "starts": ("own", 3), "probe": (1, 3), **RECIPE, **QUIET}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LearnedRates]:
    out = tmp_path_factory.mktemp("rates")
    return out, learn_rates("regseg", DATA, out=out, **STUDY)


def test_a_run_folder_a_start_and_one_for_the_probe(study: tuple[Path, LearnedRates]) -> None:
    out, found = study
    assert {path.name for path in out.iterdir()} == {
        "regseg-start-own-seed0", "regseg-start-3-seed0", "regseg-probe-seed0"
    }  # fmt: skip
    frame = found.to_frame()
    assert len(frame) == 2 * 3 * 4
    assert frame["epoch"].unique().tolist() == [0, 1, 2]
    assert frame["block"].unique().tolist() == ["stage4.2", "stage4.3"]
    assert set(frame["stage"]) == {"stage4"}
    first = frame[frame["step"] == 0].groupby("start", sort=False)["rate"].apply(list)
    assert first["own"] == [1, 2, 1, 4]
    assert first["3"] == [3, 3, 3, 3]
    # The probe is one of the blocks that learn, and no other.
    assert found.probe is not None
    assert list(found.probe.profile().index) == ["stage4.2", "stage4.3"]


def test_each_run_is_what_a_user_would_train(study: tuple[Path, LearnedRates], tmp_path: Path) -> None:
    model = learn_dilations(create_model("regseg", num_classes=11, seed=0, **TINY), start=3.0)
    result = train(model, DATA, out=tmp_path, rate_learning_rate=10.0, **RECIPE, **QUIET)
    assert (tmp_path / "rates.csv").read_bytes() == (study[0] / "regseg-start-3-seed0" / "rates.csv").read_bytes()
    last = study[1].final().query("start == '3'")
    assert last["rate"].tolist() == pytest.approx(dilation_rates(result.model)["rate"].tolist())
    assert [conv.dilation[0] for conv in freeze(result.model).get_submodule("stage4.3").branches.convs] == [
        int(np.floor(rate + 0.5)) for rate in last["rate"][2:]
    ]


def test_what_is_finished_is_not_made_again(
    study: tuple[Path, LearnedRates], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = shutil.copytree(study[0], tmp_path / "copy")
    made: list[str] = []

    def counted(*arguments: Any, **options: Any) -> Any:
        made.append(Path(options["out"]).name)
        return train(*arguments, **options)

    monkeypatch.setattr(rate_runs, "train", counted)
    assert learn_rates("regseg", DATA, out=out, **STUDY) == study[1]
    assert made == []
    # A run that was stopped goes on, and ends as if it had not been; scores that are asked for later are taken.
    shutil.rmtree(out / "regseg-start-own-seed0")
    learn_rates("regseg", DATA, out=out, **{**STUDY, "stop_after": 1, "starts": ("own",), "probe": None})
    assert learn_rates("regseg", DATA, out=out, **STUDY) == study[1]
    assert made == ["regseg-start-own-seed0"] * 2
    with pytest.raises(ValueError, match=r"holds another run: recipe.learning_rate is 0.02 in the folder and 0.1 now"):
        learn_rates("regseg", DATA, out=out, learning_rate=0.1, **STUDY)


def test_any_network_that_learns(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=2, dilation=2), nn.ReLU(), nn.Conv2d(4, 11, 1))
    before = network[0].weight.detach().clone()
    found = learn_rates(
        network, DATA, out=tmp_path, starts=(1.5,), seeds=(0, 1), bound=6.0, evaluation=Scenes(
            "val", size=(32, 48), length=2, num_classes=11
        ), **RECIPE, **QUIET,
    )  # fmt: skip
    assert torch.equal(network[0].weight, before)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "Sequential-start-1.5-seed0", "Sequential-start-1.5-seed1"
    ]  # fmt: skip
    assert (found.stages, found.blocks, found.layers) == (("0",), ("0",), ("0",))
    assert all(0 <= run.miou <= 1 for run in found.runs)
    assert found.final()["bound"].tolist() == [6, 6]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"starts": ()}, r"starts=\[\] must be at least one, each once"),
        ({"starts": (3, 3.0)}, r"starts=\['3', '3'\] must be at least one, each once"),
        ({"starts": ("mine",)}, r"starts: 'mine' must be a rate of at least 1, or 'own'"),
        ({"starts": (0.5,)}, "starts: 0.5 must be a rate of at least 1"),
        ({"seeds": (1, 1)}, r"seeds=\[1, 1\] must be at least one, each once"),
        ({"probe_stages": "some"}, "probe_stages='some' must be stage -> blocks, 'all' or None"),
        ({"evaluation": "val"}, "evaluation='val' names a split, but data is a data set"),
        ({"learning_rat": 1.0}, "recipe field='learning_rat' is not known"),
        ({"probe": (3, -3)}, "dilations"),
    ],
)
def test_errors_name_the_argument(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        learn_rates("regseg", DATA, out=tmp_path, **{**STUDY, "probe": None, **options})
    assert not list(tmp_path.iterdir())


def test_layers_lie_in_the_innermost_published_block() -> None:
    model = create_model("regseg", seed=0)
    assert places_of(model, ["stage4.13.branches.convs.1", "stage4.1.first.conv", "decoder.classifier"]) == (
        ("stage4", "stage4", "decoder"), ("stage4.13", "stage4.1", "decoder.classifier")
    )  # fmt: skip


def _result() -> LearnedRates:
    """Two layers, two starts: the first layer's rates meet, the second's stay apart."""

    def run(start: str, rates: list[list[float]]) -> RateRun:
        path = RateTrajectory(np.array([0, 4, 8]), ("a.x", "b.y"), ("d1", "d3"), np.array(rates), np.full((3, 2), 9.0))
        return RateRun(start, 0, 0.5, path)

    runs = (run("own", [[1, 3], [2, 4], [4, 3]]), run("9", [[9, 9], [5, 9], [4, 6]]))
    return LearnedRates("net", "camvid trainval", 180, 240, 2, 4, ("stage3", "stage4"), ("a", "b"), runs)


def test_convergence_and_summary_by_hand() -> None:
    found = _result()
    assert found.convergence().to_dict("records") == [
        {"stage": "stage3", "apart": 8, "ended": 0, "share": 0},
        {"stage": "stage4", "apart": 6, "ended": 3, "share": 0.5},
    ]
    summary = found.summary().set_index(["stage", "start"])
    assert summary.loc[("stage4", "9")].to_dict() == {"mean": 6, "lowest": 6, "highest": 6, "first": 9, "moved": 3}
    assert found.thinned(2).runs[0].trajectory.steps.tolist() == [0, 8]


def test_branches_that_change_places_have_met() -> None:
    def run(start: str, rates: list[list[float]]) -> RateRun:
        path = RateTrajectory(np.array([0, 4]), ("a.x", "a.y"), ("d1", "d3"), np.array(rates), np.full((2, 2), 9.0))
        return RateRun(start, 0, 0.5, path)

    runs = (run("own", [[1, 3], [2, 5]]), run("9", [[9, 9], [5, 2]]))
    found = LearnedRates("net", "camvid trainval", 180, 240, 2, 2, ("stage3",) * 2, ("a", "a"), runs)
    assert found.convergence().to_dict("records") == [{"stage": "stage3", "apart": 7, "ended": 0, "share": 0}]
    assert runs[1].trajectory.rates[1].tolist() == [5, 2]


def test_a_table_gives_the_rates_back() -> None:
    found = _result()
    written = io.StringIO(found.to_frame().to_csv(index=False))
    assert LearnedRates.from_frame(pd.read_csv(written)) == found
    with pytest.raises(ValueError, match="frame lacks rate; it must have rows with model"):
        LearnedRates.from_frame(found.to_frame().drop(columns="rate"))
    other = found.to_frame().assign(model="other")
    with pytest.raises(ValueError, match="frame holds 2 networks or schedules"):
        LearnedRates.from_frame(pd.concat([found.to_frame(), other]))
    with pytest.raises(ValueError, match="runs must hold at least one"):
        LearnedRates("net", "", 1, 1, 1, 1, (), (), ())
    with pytest.raises(ValueError, match="run start=own, seed=0 has other layers"):
        LearnedRates("net", "", 1, 1, 1, 1, ("stage3",), ("a",), found.runs)


def test_branch_magnitudes_are_means() -> None:
    model = probe(create_model("regseg", seed=0, **TINY), dilations=(1, 3, 9), seed=0)
    with torch.no_grad():
        # The first block listens to d9 alone, at 2, and its norm has gains of 3.
        block = model.get_submodule("stage4.2")
        merge = block.merge.conv.weight
        merge.zero_()[:, -merge.shape[1] // 3 :] = 2.0
        for module in block.semantic.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.fill_(3.0)
    weights = branch_weights(model)
    found = branch_magnitudes(weights, resamples=200)
    frame = found.to_frame().set_index(["stage", "block", "dilation", "measure"])
    for block in weights.blocks:
        for index, dilation in enumerate(block.dilations):
            row = frame.loc[(block.stage, block.block, dilation, "weight")]
            assert row["mean"] == pytest.approx(block.values(index, "weight").mean())
            assert row["low"] <= row["mean"] <= row["high"]
    for stage in weights.stages:
        for label, values in weights.pooled(stage).items():
            assert frame.loc[(stage, "", int(label[1:]), "weight")]["mean"] == pytest.approx(values.mean())
    assert found.profile("gain").loc["stage4.2"].tolist() == pytest.approx([0, 0, 6])
    assert found.mean_dilation("gain")["stage4.2"] == pytest.approx(9)
    # Untrained branches weigh the same: the plain mean.
    assert found.mean_dilation()["stage4.3"] == pytest.approx(13 / 3, rel=0.02)
    again = pd.read_csv(io.StringIO(found.to_frame().to_csv(index=False)))
    assert BranchMagnitudes.from_frame(again).to_frame().equals(found.to_frame())
    with pytest.raises(ValueError, match="measure='contribution' is not known; allowed: weight, gain"):
        found.profile("contribution")
    with pytest.raises(ValueError, match="frame lacks mean"):
        BranchMagnitudes.from_frame(again.drop(columns="mean"))


def test_the_shipped_tables_are_written_from_run_folders(
    study: tuple[Path, LearnedRates],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = shutil.copytree(study[0], tmp_path / "runs")
    tables = tmp_path / "learned_rates.csv", tmp_path / "probe_weights.csv"
    monkeypatch.setattr(measured, "LEARNED_RATES", tables[0])
    monkeypatch.setattr(measured, "PROBE_WEIGHTS", tables[1])
    assert measured.main([str(out), "--probe", "1", "3"]) == 0
    assert "2 runs of 1 networks" in capsys.readouterr().out
    before = [table.read_bytes() for table in tables]
    assert measured.main([str(out), "--probe", "1", "3"]) == 0
    assert [table.read_bytes() for table in tables] == before
    (found,) = measured.read_rates(*tables)
    expected = study[1]
    assert np.allclose(found.final()["rate"], expected.final()["rate"], atol=1e-5)
    assert (found.model, found.height, found.width, found.epochs) == ("regseg", 32, 48, 2)
    assert found.probe is not None
    assert expected.probe is not None
    assert np.allclose(found.probe.profile(), expected.probe.profile(), atol=1e-5)
    # The first and the last step are always kept.
    assert [run.trajectory.steps.tolist() for run in found.runs] == [[0, 4]] * 2

    shutil.rmtree(out / "regseg-start-3-seed0")
    half = learn_rates("regseg", DATA, out=out, **{**STUDY, "starts": (3,), "stop_after": 1, "probe": None})
    assert half.runs[0].trajectory.steps.tolist() == [0, 2]
    (out / "regseg-start-own-seed0").rename(out / "regseg-start-own")
    assert measured.main([str(out), "--probe", "1", "3", "5"]) == 1
    printed = capsys.readouterr().out
    assert "refused: regseg-start-3-seed0: not finished: 1 of 2 epochs" in printed
    assert "is not named MODEL-start-START-seedN" in printed
    assert "refused: regseg-probe-seed0: no block has 3 branches" in printed
    assert [table.read_bytes() for table in tables] == before


def test_a_folder_without_rates_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "net-start-own-seed0"
    folder.mkdir()
    with pytest.raises(DataError, match=r"net-start-own-seed0: holds no rates.csv"):
        read_rate_run(folder)


def test_the_command_hands_its_arguments_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: dict[str, Any] = {}

    def found(model: str, data: str, **options: Any) -> LearnedRates:
        given.update(model=model, data=data, **options)
        return _result()

    monkeypatch.setattr(rate_runs, "learn_rates", found)
    parser = argparse.ArgumentParser()
    add_rates(parser.add_subparsers())
    line = "rates --model dwrseg_l --data camvid --root x --starts own 9 --probe 1 3 --set batch_size=8 --epochs 4"
    arguments = parser.parse_args([*line.split(), "--out", str(tmp_path)])
    assert arguments.run(arguments) is None
    assert (given["model"], given["data"]) == ("dwrseg_l", "camvid")
    assert (given["starts"], given["probe"]) == (["own", 9.0], [1, 3])
    assert (given["batch_size"], given["epochs"], given["probe_stages"]) == (8, 4, None)
    printed = capsys.readouterr().out
    assert [line.split() for line in printed.splitlines()[1:3]] == [
        ["stage3", "own", "4.00", "4.00", "4.00", "1.00", "3.00"],
        ["stage3", "9", "4.00", "4.00", "4.00", "9.00", "5.00"],
    ]
    assert (tmp_path / "net-rates.csv").read_text() == _result().to_frame().to_csv(index=False)
    with pytest.raises(SystemExit):
        parser.parse_args([*line.split(), "--out", str(tmp_path), "--starts", "mine"])
