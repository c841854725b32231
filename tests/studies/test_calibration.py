from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from rfkit._checks import DataError
from rfkit.data.distance_tasks import DistanceTask
from rfkit.results.calibration import COLUMNS, Calibration
from rfkit.studies import calibration, calibration_runs
from rfkit.studies.calibration import calibrate, planned_runs
from rfkit.studies.calibration_runs import (
    RATES,
    CalibrationRun,
    Schedule,
    calibration_network,
    measure_run,
    pixel_accuracy,
    train_run,
)
from rfkit.training.locks import locked

SHORT = Schedule(steps=40, images=32, test_images=8, field_images=2)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four runs of two steps."""
    tiny = dataclasses.replace(SHORT, steps=2, images=8, test_images=4)
    monkeypatch.setattr(calibration, "Schedule", lambda: tiny)


def _seen(model: nn.Module) -> set[tuple[int, int]]:
    """Offsets of the pixels whose gradient is not zero."""
    x = torch.randn(1, 3, 61, 61, requires_grad=True, generator=torch.Generator().manual_seed(0))
    model.eval()(x)[0, 1, 30, 30].backward()
    rows, columns = torch.nonzero(x.grad.abs().sum((0, 1)), as_tuple=True)
    return {(int(row) - 30, int(column) - 30) for row, column in zip(rows, columns, strict=True)}


@pytest.mark.parametrize("rate", [1, 5, 11])
def test_a_branch_of_one_block_sees_the_distance_of_its_rate_and_the_centre(rate: int) -> None:
    taps = {(row, column) for row in (-rate, 0, rate) for column in (-rate, 0, rate)}
    assert _seen(calibration_network("alone", (rate,))) == taps
    whole = {(row, column) for each in RATES for row in (-each, 0, each) for column in (-each, 0, each)}
    assert _seen(calibration_network("one block")) == whole


def test_two_blocks_add_their_rates_up() -> None:
    reach = max(max(abs(row), abs(column)) for row, column in _seen(calibration_network("two blocks", (1, 3, 5, 7))))
    assert reach == 2 * (7 + 1)


@pytest.mark.parametrize("network", ["one block", "two blocks", "learned", "ESP", "DAB"])
def test_networks_follow_from_their_seed(network: str) -> None:
    rates = (4, 8) if network == "learned" else RATES
    one, same, other = (calibration_network(network, rates, seed=seed) for seed in (3, 3, 4))
    weights = [torch.cat([parameter.flatten() for parameter in model.parameters()]) for model in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert one(torch.zeros(1, 3, 24, 24)).shape == (1, 2, 24, 24)


def test_a_short_training_finds_the_branch_that_is_needed() -> None:
    run = CalibrationRun("one block", "cue", 5)
    schedule = dataclasses.replace(SHORT, steps=100)
    rows = measure_run(run, schedule, train_run(run, schedule))
    assert tuple(rows[0]) == COLUMNS
    assert [row["rate"] for row in rows] == list(RATES)
    assert {row["needed"] for row in rows} == {5}
    assert rows[0]["accuracy"] > 0.9
    # The bound without rounding to gray values and with one branch; the others see nothing or next to nothing.
    assert [round(row["ceiling"], 2) for row in rows] == [0.5, 0.54, 1.0, 0.54, 0.5, 0.5]
    for measure in ("weight", "gain", "contribution", "lost", "moved"):
        assert int(np.argmax([row[measure] for row in rows])) == 2, measure
    assert int(np.argmin([row["still"] for row in rows])) == 2
    assert rows[2]["lost"] == pytest.approx(rows[2]["accuracy"] - 0.5, abs=0.06)
    assert rows[0]["radius"] == 5


def test_the_same_run_gives_the_same_numbers() -> None:
    run, schedule = CalibrationRun("one block", "null", 0, (1, 3)), dataclasses.replace(SHORT, steps=3)
    one, again = (measure_run(run, schedule, train_run(run, schedule)) for _ in range(2))
    for first, second in zip(one, again, strict=True):
        assert str(first) == str(second)


def test_taps_beside_the_centre_are_compared_with_the_initial_ones() -> None:
    run = CalibrationRun("ESP", "cue", 3)
    model = calibration_network("ESP", seed=0)
    first = model.stage[1].branches[1].weight
    with torch.no_grad():
        first[:, :, 1, 1] += 5.0  # the centre, which does not count
        first[:, :, 0, 0] += 1.0
    rows = measure_run(run, SHORT, model.eval())
    assert [row["still"] for row in rows] == [1, pytest.approx(7 / 8), 1, 1, 1, 1]
    outer = calibration_network("ESP", seed=0).stage[1].branches[1].weight.detach().flatten(2)
    outer = outer[..., torch.arange(9) != 4]
    assert rows[1]["moved"] == pytest.approx(float(outer[..., 0].numel() ** 0.5 / outer.norm()), rel=1e-4)


def test_accuracy_is_that_of_the_labelled_pixels() -> None:
    task = DistanceTask("null", 0, split="val", length=3, size=(30, 30))
    images = torch.stack([sample.image for sample in task])
    labels = torch.stack([sample.label for sample in task])
    bright = nn.Conv2d(3, 2, 1)
    nn.init.zeros_(bright.weight)
    bright.bias.data = torch.tensor([0.0, 1.0])
    assert pixel_accuracy(bright, images, labels) == (labels == 1).sum() / (labels != 255).sum()


def test_what_is_needed() -> None:
    assert CalibrationRun("one block", "cue", 7).needed() == 7
    assert CalibrationRun("one block", "noise", 2).needed() == 1
    assert CalibrationRun("one block", "noise", 4).needed() == 3
    assert np.isnan(CalibrationRun("one block", "mixture", {3: 0.5, 9: 0.5}).needed())
    assert np.isnan(CalibrationRun("one block", "null", 0).ceiling(2.5))
    assert CalibrationRun("one block", "mixture", {3: 0.5, 9: 0.5}, seed=2).name == (
        "one_block-mixture-3x0.5_9x0.5-rates1,3,5,7,9,11-seed2"
    )
    with pytest.raises(ValueError, match="network='three' is not known"):
        CalibrationRun("three", "cue", 3)
    with pytest.raises(ValueError, match="kind='texture' is not known"):
        CalibrationRun("alone", "texture", 3)
    with pytest.raises(ValueError, match="network='three' is not known"):
        calibration_network("three")


def test_the_plan_has_what_was_promised() -> None:
    runs = planned_runs()
    assert len({run.name for run in runs}) == len(runs)
    cues = [run for run in runs if run.network == "one block" and run.kind == "cue"]
    assert {run.distance for run in cues} == set(RATES)
    assert {run.seed for run in cues} == {0, 1, 2}
    assert {"null", "mixture", "size", "noise"} <= {run.kind for run in runs}
    assert {run.network for run in runs} == set(calibration_runs.NETWORKS)


def test_finished_runs_are_read_and_never_repeated(
    short: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = calibrate(out=tmp_path, quick=True, progress=False)
    assert len(result) == 4 * len(RATES)
    assert Calibration.read(tmp_path / "calibration.csv").columns["kind"][-1] == "null"

    def refuse(*_: object) -> None:
        raise AssertionError("a finished run was repeated")

    monkeypatch.setattr(calibration, "train_run", refuse)
    (tmp_path / "measured" / f"{planned_runs(quick=True)[1].name}.json").unlink()
    assert calibrate(out=tmp_path, quick=True, progress=False) == result
    monkeypatch.setattr(calibration, "measure_run", refuse)
    assert calibrate(out=tmp_path, quick=True, progress=False) == result


def test_two_calibrations_are_never_in_one_folder(short: None, tmp_path: Path) -> None:
    message = r"another calibration is at work there \(process "
    with locked(tmp_path / ".lock"), pytest.raises(ValueError, match=message):
        calibrate(out=tmp_path, quick=True, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    calibrate(out=tmp_path, quick=True, progress=False)


def test_an_interrupt_says_how_to_go_on(short: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(calibration, "measure_run", interrupt)
    with pytest.raises(KeyboardInterrupt, match=f"is in {tmp_path}: make the same call again to go on"):
        calibrate(out=tmp_path, quick=True, progress=False)


def test_what_is_in_the_way_is_named(short: None, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="threads=0 must be above 0"):
        calibrate(out=tmp_path, quick=True, threads=0)
    calibrate(out=tmp_path, quick=True, progress=False, threads=1)
    name = planned_runs(quick=True)[0].name
    measured = tmp_path / "measured" / f"{name}.json"
    whole = measured.read_text(encoding="utf-8")
    measured.write_text(whole[:50], encoding="utf-8")
    with pytest.raises(DataError, match=r"seed0.json: is damaged"):
        calibrate(out=tmp_path, quick=True, progress=False)
    measured.unlink()
    (tmp_path / "trained" / f"{name}.safetensors").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"seed0.safetensors: is damaged"):
        calibrate(out=tmp_path, quick=True, progress=False)
    (tmp_path / "schedule.json").write_text(json.dumps({"steps": 7}), encoding="utf-8")
    with pytest.raises(ValueError, match="holds runs with another schedule"):
        calibrate(out=tmp_path, quick=True, progress=False)
