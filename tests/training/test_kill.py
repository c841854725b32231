"""Runs that are really killed, at moments that are spread over the whole of a run."""

from __future__ import annotations

import collections
import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rfkit.models.weights import read_weights
from rfkit.training.checkpoint import load_checkpoint

SCRIPT = Path(__file__).with_name("killed_run.py")
ROOT = Path(__file__).parents[2]
PHASES = ("start", "step", "checkpoint", "weights", "log", "end")
EPOCHS = 4
STEPS_PER_EPOCH = 5
STEPS = EPOCHS * STEPS_PER_EPOCH
# What else than its name may differ in a log: how long it took.
MEASURED = {"seconds", "total_seconds", "images_per_second"}


class Runs:
    """Starts training processes; see killed_run.py."""

    def __init__(self, errors: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self._errors = errors.open("w")
        self._source = subprocess.Popen(
            [sys.executable, str(SCRIPT)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def train(self, out: Path, **job: Any) -> dict[str, Any]:
        """How the processes ended that trained into `out`."""
        job = {
            "out": str(out),
            "processes": 1,
            "average": None,
            "kill": [],
            "after": 0.0,
            "aim": None,
            "room": None,
            **job,
        }
        self._source.stdin.write(json.dumps(job) + "\n")
        self._source.stdin.flush()
        return json.loads(self._source.stdout.readline())

    def close(self) -> None:
        self._source.communicate(timeout=60)
        self._errors.close()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    started = Runs(tmp_path_factory.mktemp("runs") / "errors.txt")
    yield started
    started.close()


@pytest.mark.parametrize(("processes", "average"), [(1, 0.9), (2, None)], ids=["one", "two"])
def test_killed_at_any_moment_ends_with_the_same_weights(
    runs: Runs, tmp_path: Path, processes: int, average: float | None
) -> None:
    _kill(runs, tmp_path, kills=3, processes=processes, average=average)


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "average"), [(1, None), (2, 0.9)], ids=["one", "two"])
def test_killed_a_hundred_times_ends_with_the_same_weights(
    runs: Runs, tmp_path: Path, processes: int, average: float | None, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = time.monotonic()
    report = _kill(runs, tmp_path, kills=100, processes=processes, average=average)
    with capsys.disabled():
        print(f"\n{processes} process(es), {time.monotonic() - begun:.0f} s: {json.dumps(report)}")
    # The log is written in so short a time that a kill may miss it.
    assert {*report["phases"], "log"} == set(PHASES), "no part of a run was left out"


def test_a_full_disk_ends_all_processes(runs: Runs, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert runs.train(whole, processes=2)["codes"] == [0, 0]
    # The first checkpoint holds no momentum yet, and fits.
    life = runs.train(broken, processes=2, room=(whole / "checkpoint.pt").stat().st_size - 2000)
    assert life["codes"] == [1, 1]
    assert not life["ended"], "both end by themselves"
    said = f"OSError: {broken / 'checkpoint.pt'} could not be written: File too large ("
    assert all(error.startswith(said) for error in life["errors"])
    assert all("The checkpoint of step 0 is intact" in error for error in life["errors"])
    assert runs.train(broken, processes=2)["codes"] == [0, 0]
    _assert_same(whole, broken)


def _kill(runs: Runs, folder: Path, *, kills: int, processes: int, average: float | None) -> dict[str, Any]:
    """Train again and again, killed at random until `kills` have hit; each run that gets to its end is compared."""
    generator = np.random.default_rng(processes)
    job = {"processes": processes, "average": average}
    whole = folder / "whole"
    # A run that is done stays as it is.
    lives = [runs.train(whole, **job) for _ in range(2)]
    assert [code for life in lives for code in life["codes"]] == [0] * 2 * processes
    phases, ended, finished, out, step = collections.Counter(), 0, 0, folder / "run0", 0
    while phases.total() < kills:
        victims = _victims(generator, processes)
        if phases.total() % 2:
            # Some parts of a run are short, and are hit by aiming at them alone.
            moment = {"aim": PHASES[phases.total() // 2 % len(PHASES)], "after": generator.uniform(0, 0.01)}
        else:
            # A run that has less left than that gets to its end, and another one is begun.
            moment = {"after": generator.uniform(0, lives[0]["seconds"])}
        life = runs.train(out, **job, kill=victims, **moment)
        hit = [rank for rank in victims if life["codes"][rank] == -signal.SIGKILL]
        if hit:
            phases[life["phase"]] += 1
            ended += life["ended"]
        step = _look_at(out, at_least=step)
        if not any(life["codes"]):
            _assert_same(whole, out)
            finished += 1
            out, step = folder / f"run{finished}", 0
        elif not hit:
            raise AssertionError(f"a process failed that was not killed: {life}")
    if out.exists() or not finished:
        assert runs.train(out, **job)["codes"] == [0] * processes
        _assert_same(whole, out)
        finished += 1
    return {"kills": phases.total(), "phases": dict(phases), "runs": finished, "left over and ended": ended}


def _victims(generator: np.random.Generator, processes: int) -> list[int]:
    """One of the processes, or all of them."""
    number = int(generator.integers(processes + 1)) if processes > 1 else 0
    return list(range(processes)) if number == processes else [number]


def _look_at(out: Path, *, at_least: int) -> int:
    """The step that a killed run goes on from, after a look at everything that it left."""
    state = load_checkpoint(out)  # a damaged one is a warning, which is an error here
    if state is None:
        assert at_least == 0
        return 0
    assert state["step"] >= at_least, "no step that was in a checkpoint is lost"
    epochs = [row["epoch"] for row in state["log"]]
    assert epochs == list(range(1, state["step"] // STEPS_PER_EPOCH + 1))
    if (out / "log.csv").exists():
        rows = [int(row["epoch"]) for row in _log(out)]
        assert rows == list(range(1, len(rows) + 1))
        # The row of an epoch is written before the checkpoint of its last step.
        assert len(epochs) <= len(rows) <= len(epochs) + 1
    if (out / "environment.json").exists():
        steps = [session["step"] for session in json.loads((out / "environment.json").read_text())["sessions"]]
        assert steps == sorted(steps), "each part went on where the last one had come to, or further"
        assert steps[-1] <= state["step"]
    return state["step"]


def _log(out: Path) -> list[dict[str, str]]:
    with (out / "log.csv").open() as file:
        return list(csv.DictReader(file))


def _assert_same(whole: Path, broken: Path) -> None:
    first, second = (torch.load(folder / "checkpoint.pt", weights_only=True) for folder in (whole, broken))
    assert first["step"] == second["step"] == STEPS
    assert first.keys() == second.keys()
    for part in ("model", "average"):
        for name, value in first.get(part, {}).items():
            assert value.numpy().tobytes() == second[part][name].numpy().tobytes(), (part, name)
    files = [read_weights(folder / "weights.safetensors") for folder in (whole, broken)]
    for name, value in files[0].tensors.items():
        assert value.numpy().tobytes() == files[1].tensors[name].numpy().tobytes(), name
    assert files[0].card.scores == files[1].card.scores != {}
    logs = [_log(folder) for folder in (whole, broken)]
    assert len(logs[0]) == EPOCHS
    kept = [[{name: row[name] for name in row.keys() - MEASURED} for row in log] for log in logs]
    assert kept[0] == kept[1]
    # What a killed writer leaves is a temporary file, which the next start removes.
    assert {path.name for path in broken.iterdir()} == {path.name for path in whole.iterdir()}
