"""The adviser from end to end, on a network that rfkit does not ship and a handful of small scenes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from rfkit.analysis.branch_removal import branch_means, without_branches
from rfkit.data.scenes import Scenes
from rfkit.data.transforms import normalize
from rfkit.loading import load_network
from rfkit.results.advice import Advice
from rfkit.studies.adviser import budget, evidence, trainings
from rfkit.studies.adviser.advising import advise, prepare
from rfkit.studies.adviser.evidence import drop_together, trained_probe
from rfkit.training.evaluation import evaluate

from .conftest import STREET_NET

SIZE = (32, 48)
DATA = Scenes("train", size=SIZE, length=4)
VALIDATION = Scenes("val", size=SIZE, length=3)
SETTINGS: dict[str, Any] = {
    "validation": VALIDATION, "options": {"width": 4}, "size": SIZE, "batch_size": 2, "epochs": 2, "seeds": 2,
    "device": "cpu", "progress": False,
}  # fmt: skip
TASK = {name: value for name, value in SETTINGS.items() if name not in {"epochs", "progress"}}
FILES = {"report.html", "advice.csv", "evidence.csv", "suggested_blocks.py", "advice.npz"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Advice, Path]:
    """An advice and its folder."""
    out = tmp_path_factory.mktemp("advice")
    return advise(STREET_NET, DATA, out=out, **SETTINGS), out


def _no_training(*_arguments: object, **_options: object) -> None:
    raise AssertionError("a finished training was repeated")


def test_the_folder_holds_what_was_promised(finished: tuple[Advice, Path]) -> None:
    advice, out = finished
    assert {path.name for path in out.iterdir()} >= FILES
    assert Advice.load(out / "advice.npz") == advice
    table = pd.read_csv(out / "advice.csv")
    assert table[["stage", "dilation"]].agg(lambda row: f"{row['stage']} {row['dilation']}", axis=1).tolist() == [
        f"stride{stride} {rate}" for stride in (4, 8) for rate in (1, 3, 5)
    ]
    assert (table.groupby("stage")["share"].sum() == 1).all()
    assert len(pd.read_csv(out / "evidence.csv")) == 2 * 6
    assert [training.steps for training in advice.trainings] == [4, 4]
    assert "refine" in dict(advice.found.skipped)


def test_four_steps_are_no_evidence_and_the_advice_says_so(finished: tuple[Advice, Path]) -> None:
    advice, out = finished
    assert {stage.strength for stage in advice.stages} <= {"none", "weak"}
    for stage in advice.stages:
        assert {"seeds", "epochs"} <= {criterion.name for criterion in stage.criteria if not criterion.met}
    assert "Weak evidence for every stage" in (out / "report.html").read_text(encoding="utf-8")
    assert "2 epochs a training, seeds 0, 1" in str(advice)


def test_the_cost_of_a_removal_is_the_difference_of_two_scores(finished: tuple[Advice, Path]) -> None:
    advice, out = finished
    task, _ = prepare(STREET_NET, DATA, out=out, **TASK)
    probe = trained_probe(task, 1)
    means = branch_means(probe, [normalize(VALIDATION[index].image[None]) for index in range(3)])
    scores = evaluate(probe, VALIDATION, progress=False).miou
    assert advice.trainings[1].miou == pytest.approx(scores)
    for place, dilation in enumerate((1, 3, 5)):
        with without_branches(probe, [("layer2.0", place), ("layer2.1", place)], means=means):
            without = evaluate(probe, VALIDATION, progress=False).miou
        assert advice.evidence("stride8", dilation)[1].drop == pytest.approx(scores - without, abs=1e-6)
        assert drop_together(task, 1, {"stride8": [dilation]}) == pytest.approx(scores - without, abs=1e-6)


def test_the_weights_are_those_of_the_trained_and_of_the_fresh_probe(finished: tuple[Advice, Path]) -> None:
    advice, out = finished
    task, _ = prepare(STREET_NET, DATA, out=out, **TASK)
    for network, name in ((trained_probe(task, 0), "weight"), (task.probe(0), "initial")):
        merges = torch.cat([block.merge.conv.weight for block in network.layer1]).abs()
        means = torch.stack([part.mean() for part in merges.split(4, dim=1)])
        shares = [getattr(advice.evidence("stride4", rate)[0], name) for rate in (1, 3, 5)]
        assert shares == pytest.approx((means / means.sum()).tolist(), rel=1e-5)


def test_the_same_call_repeats_nothing(finished: tuple[Advice, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    advice, out = finished
    monkeypatch.setattr(trainings, "train", _no_training)
    assert advise(STREET_NET, DATA, out=out, **SETTINGS) == advice


def test_more_seeds_add_trainings_to_those_that_are_there(
    finished: tuple[Advice, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seeds: list[int] = []
    train = trainings.train

    def noted(*arguments: Any, **options: Any) -> Any:
        seeds.append(options["seed"])
        return train(*arguments, **options)

    monkeypatch.setattr(trainings, "train", noted)
    first = advise(STREET_NET, DATA, out=tmp_path, **{**SETTINGS, "seeds": 1})
    both = advise(STREET_NET, DATA, out=tmp_path, **SETTINGS)
    assert seeds == [0, 1]
    assert len(first.trainings) == 1
    # The second network was made anew from its own seed, as in the folder that was made at once.
    assert both == finished[0]


def test_after_an_interruption_it_ends_as_if_there_was_none(
    finished: tuple[Advice, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    train = trainings.train

    def interrupted(*arguments: Any, on_step: Callable[[int], None], **options: Any) -> Any:
        def step(number: int) -> None:
            on_step(number)
            if options["seed"] == 1 and number == 3:
                os.kill(os.getpid(), signal.SIGINT)

        return train(*arguments, on_step=step, **options)

    monkeypatch.setattr(trainings, "train", interrupted)
    with pytest.raises(KeyboardInterrupt, match=r"Stopped in training 2 of 2. Everything is in .*the same call again"):
        advise(STREET_NET, DATA, out=tmp_path, **SETTINGS)
    assert not (tmp_path / "report.html").exists()
    monkeypatch.setattr(trainings, "train", train)
    assert advise(STREET_NET, DATA, out=tmp_path, **SETTINGS) == finished[0]


def test_an_interrupted_measurement_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupt(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(evidence, "branch_removal", interrupt)
        with pytest.raises(KeyboardInterrupt, match=r"What is finished is in .*: make the same call again to go on"):
            advise(STREET_NET, DATA, out=tmp_path, **{**SETTINGS, "seeds": 1})
    monkeypatch.setattr(trainings, "train", _no_training)
    assert len(advise(STREET_NET, DATA, out=tmp_path, **{**SETTINGS, "seeds": 1}).trainings) == 1


def test_a_module_and_what_makes_one_are_taken_too(tmp_path: Path) -> None:
    network = load_network(STREET_NET, {"width": 4}, seed=3)
    settings = {**SETTINGS, "options": None, "epochs": 1, "seeds": [5]}
    before = {name: value.clone() for name, value in network.state_dict().items()}
    one = advise(network, DATA, out=tmp_path / "module", stages={"early": "layer1.?"}, dilations=(4, 2), **settings)
    assert one.network == "StreetNet"
    assert [(stage.stage, stage.tested) for stage in one.stages] == [("early", (2, 4))]
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    made = advise(lambda: load_network(STREET_NET, {"width": 4}), DATA, out=tmp_path / "factory", **settings)
    assert [training.seed for training in made.trainings] == [5]


# ---- the budget -----------------------------------------------------------------------------------------------------


def test_minutes_become_epochs_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = {**SETTINGS, "epochs": None, "seeds": 1}
    monkeypatch.setattr(budget, "_seconds_per_step", lambda _task: 2.0)
    advice = advise(STREET_NET, DATA, out=tmp_path, minutes=0.2, **settings)
    # 12 seconds are three epochs of two steps of two seconds.
    assert (advice.epochs, advice.minutes) == (3, 0.2)
    monkeypatch.setattr(budget, "_seconds_per_step", _no_training)
    assert advise(STREET_NET, DATA, out=tmp_path, minutes=0.2, **settings).epochs == 3
    with pytest.raises(ValueError, match=r"minutes=7, but .* holds an advice with minutes=0.2"):
        advise(STREET_NET, DATA, out=tmp_path, minutes=7, **settings)
    with pytest.raises(ValueError, match=r"epochs=3, but .* holds an advice with minutes=0.2"):
        advise(STREET_NET, DATA, out=tmp_path, **{**settings, "epochs": 3})


def test_a_step_is_measured_on_as_many_frames_as_it_takes(tmp_path: Path) -> None:
    task, _ = prepare(STREET_NET, DATA, out=tmp_path, validation=VALIDATION, size=SIZE, batch_size=4, device="cpu")
    assert 0 < budget._seconds_per_step(task) < 60
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": None}, r"epochs=None, minutes=None: give one of them"),
        ({"minutes": 3}, r"epochs=2, minutes=3: give one of them"),
        ({"epochs": 0}, r"epochs=0 must be above 0"),
        ({"seeds": 0}, r"seeds=0 must be above 0"),
        ({"seeds": [1, 1]}, r"seeds=\(1, 1\) must be one or more different whole numbers"),
        ({"dilations": (3,)}, r"dilations=\(3,\) must be two or more different rates"),
        ({"options": {"num_classes": 5}}, r"returns \(1, 5, 32, 48\) .* must return class scores \(1, 11, 32, 48\)"),
        ({"validation": "val"}, r"validation='val' names a split, but data is a data set"),
        ({"validation": Scenes("val", size=SIZE, length=1, num_classes=5)}, r"validation has the classes .* be equal"),
        ({"stages": {"low": "nothing"}}, r"'nothing' is not known"),
        ({"batch_sise": 2}, r"'batch_sise' is not known"),
    ],
)  # fmt: skip
def test_what_is_not_allowed_is_said_before_anything_is_trained(
    options: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainings, "train", _no_training)
    with pytest.raises(ValueError, match=message):
        advise(STREET_NET, DATA, out=tmp_path, **{**SETTINGS, **options})


def test_a_network_without_scores_at_the_size_of_the_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"model returns \(1, 11, 16, 24\)"):
        advise(nn.Conv2d(3, 11, 3, 2, 1), DATA, out=tmp_path, **{**SETTINGS, "options": None})


def test_a_folder_with_another_advice_is_refused(finished: tuple[Advice, Path]) -> None:
    with pytest.raises(ValueError, match=r"another run: .*dilations is \[1, 3, 5\] in the folder and \[1, 2\] now"):
        advise(STREET_NET, DATA, out=finished[1], **{**SETTINGS, "dilations": (1, 2)})


# ---- killed ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set of small pictures on disk."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 4)):
        for part in ("images", "labels"):
            (tmp_path / "data" / part / split).mkdir(parents=True)
        for index in range(count):
            label = generator.integers(0, 2, (4, 6)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
            picture = np.stack([90 * label + 60] * 3, axis=-1)
            Image.fromarray(picture).save(tmp_path / "data/images" / split / f"{index}.png")
            Image.fromarray(label).save(tmp_path / "data/labels" / split / f"{index}.png")
    classes = '[[classes]]\nname = "dark"\n\n[[classes]]\nname = "bright"\n'
    (tmp_path / "data/classes.toml").write_text(classes)
    return tmp_path


def test_frames_that_are_trained_on_are_no_validation(folder: Path, tmp_path: Path) -> None:
    settings = {**SETTINGS, "options": {"num_classes": 2}, "root": folder / "data", "split": "trainval"}
    with pytest.raises(ValueError, match=r"validation is folder val, and trainval is trained on"):
        advise(STREET_NET, "folder", out=tmp_path / "out", **{**settings, "validation": "val"})
    with pytest.raises(ValueError, match=r"validation='test': .* Branches are removed on frames that were not trained"):
        advise(STREET_NET, "folder", out=tmp_path / "out", **{**settings, "validation": "test"})


@pytest.mark.slow
def test_a_killed_command_goes_on_and_ends_the_same(folder: Path) -> None:
    command = [
        sys.executable, "-m", "rfkit", "advise", STREET_NET, "--option", "num_classes=2", "--option", "width=4",
        "--data", "folder", "--root", str(folder / "data"), "--epochs", "30", "--seeds", "2", "--size", "32", "48",
        "--set", "batch_size=2", "--device", "cpu", "--threads", "1",
    ]  # fmt: skip
    subprocess.run([*command, "--out", str(folder / "whole")], check=True, capture_output=True)
    out = folder / "killed"
    for seed in (0, 1):
        # Each training is killed once, as soon as it has written the row of an epoch.
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen([*command, "--out", str(out)], **quiet) as process:
            log = out / f"seed{seed}" / "log.csv"
            while not (log.exists() and len(log.read_text().splitlines()) > 1):
                assert process.poll() is None
                time.sleep(0.01)
            process.kill()
    done = subprocess.run([*command, "--out", str(out)], check=True, capture_output=True, text=True)
    assert "multiply-adds" in done.stdout
    assert Advice.load(out / "advice.npz") == Advice.load(folder / "whole" / "advice.npz")
    sessions = json.loads((out / "seed0" / "environment.json").read_text())["sessions"]
    assert len(sessions) == 2


@pytest.mark.slow
def test_real_frames(camvid_root: Path, tmp_path: Path) -> None:
    advice = advise(
        STREET_NET, "camvid", root=camvid_root, out=tmp_path, epochs=2, seeds=1, size=(60, 80), batch_size=16,
        recipe="camvid-adam", device="cpu", threads=1, progress=False,
    )  # fmt: skip
    assert (advice.images, advice.validation, advice.trainings[0].images) == (367, "camvid val", 101)
    assert {stage.strength for stage in advice.stages} <= {"none", "weak"}
    assert (tmp_path / "report.html").is_file()
