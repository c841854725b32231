"""Two real processes, started as a user starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SCRIPT = Path(__file__).with_name("parallel_run.py")
ROOT = Path(__file__).parents[2]
OPTIONS = {
    "epochs": 4,
    "batch_size": 4,
    "frame_size": (16, 24),
    "crop_size": (16, 16),
    "learning_rate": 0.1,
    "device": "cpu",
    "threads": 1,
    "progress": False,
    "tensorboard": False,
}


def _start(count: int, job: dict[str, Any], folder: Path) -> subprocess.CompletedProcess[str]:
    path = folder / f"job{count}.json"
    path.write_text(json.dumps(job))
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{SCRIPT.parent}", "OMP_NUM_THREADS": "1"}
    launcher = [sys.executable]
    if count > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    return subprocess.run([*launcher, str(SCRIPT), str(path)], env=environment, capture_output=True, text=True)


def _reports(count: int, folder: Path, *, out: str | None = None, **options: Any) -> list[dict[str, Any]]:
    job = {
        "options": {**OPTIONS, "out": str(folder / (out or f"run{count}")), **options},
        "report": str(folder / f"report{count}-"),
    }
    done = _start(count, job, folder)
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"report{count}-{rank}").read_text()) for rank in range(count)]


def _assert_equal(first: dict[str, Any], second: dict[str, Any]) -> None:
    for name, value in first["state"].items():
        np.testing.assert_allclose(second["state"][name], value, rtol=2e-3, atol=2e-4, err_msg=name)
    np.testing.assert_allclose(second["log"]["loss"], first["log"]["loss"], rtol=1e-4)
    assert second["miou"] == pytest.approx(first["miou"], abs=5e-3)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"loss": "cross-entropy", "class_weights": [0.5, 1.0, 2.0], "label_smoothing": 0.1, "clip_norm": 0.5},
        {"loss": "cross-entropy", "class_uniform": 0.5, "colour_operations": 2},
    ],
    ids=["ohem", "weighted", "uniform"],
)
def test_two_processes_train_as_one_does(tmp_path: Path, options: dict[str, Any]) -> None:
    (alone,) = _reports(1, tmp_path, **options)
    together = _reports(2, tmp_path, **options)
    assert together[0]["state"] == together[1]["state"], "all processes hold the result"
    assert together[0]["confusion"] == together[1]["confusion"]
    assert (together[0]["images"], together[0]["steps"]) == (7, 12)
    assert np.sum(together[0]["confusion"]) == np.sum(alone["confusion"]), "every pixel is counted once"
    _assert_equal(alone, together[0])


def test_a_run_goes_on_with_another_number_of_processes(tmp_path: Path) -> None:
    changes = {"ema_decay": 0.9, "accumulate": 2, "loss": "cross-entropy"}
    (alone,) = _reports(1, tmp_path, **changes)
    for count, epochs in ((2, 1), (1, 3), (2, 4)):
        reports = _reports(count, tmp_path, out="changing", stop_after=epochs, **changes)
        assert reports[0]["steps"] == 3 * epochs
    sessions = json.loads((tmp_path / "changing" / "environment.json").read_text())["sessions"]
    assert [(session["processes"], session["step"]) for session in sessions] == [(2, 0), (1, 3), (2, 9)]
    # Batch norm sees the parts of a batch one after the other, so a part of two processes is not that of one.
    assert reports[0]["log"]["loss"] == pytest.approx(alone["log"]["loss"], rel=0.2)


def test_an_error_of_the_first_process_ends_all(tmp_path: Path) -> None:
    _reports(1, tmp_path, out="run", stop_after=1)
    job = {"options": {**OPTIONS, "out": str(tmp_path / "run"), "learning_rate": 0.2}, "report": str(tmp_path / "x")}
    failed = _start(2, job, tmp_path)
    assert failed.returncode != 0
    assert failed.stderr.count("recipe.learning_rate is 0.1 in the folder and 0.2 now") >= 2
    odd = _start(2, {**job, "options": {**job["options"], "batch_size": 5}}, tmp_path)
    assert "batch_size=5 cannot be divided equally among 2 processes" in odd.stderr
