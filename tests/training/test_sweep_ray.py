"""Sweeps through Ray itself, in a process of their own that is interrupted and killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from training.sweeping import write_sweep

from rfkit.results.sweep import SweepResults
from rfkit.training.sweep_engine import using_ray

ROOT = Path(__file__).parents[2]
CODE = """
import sys
from rfkit.training.sweeps import sweep
sweep(sys.argv[1], out=sys.argv[2], jobs=2, threads=1)
"""
PATIENCE = 300.0


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[Path], subprocess.Popen[str]]]:
    """Start a sweep into tmp_path/out, in a group of its own as a terminal does."""
    pytest.importorskip("ray")
    begun: list[subprocess.Popen[str]] = []

    def run(path: Path) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        with (tmp_path / f"log{len(begun)}").open("w", encoding="utf-8") as log:
            begun.append(
                subprocess.Popen(
                    [sys.executable, "-c", CODE, str(path), str(tmp_path / "out")],
                    env=environment, stdout=log, stderr=log, text=True, process_group=0,
                )
            )  # fmt: skip
        return begun[-1]

    yield run
    for process in begun:
        process.kill()
        process.wait()


def _epochs(out: Path) -> list[int]:
    return [len(path.read_text(encoding="utf-8").splitlines()) - 1 for path in sorted(out.glob("*/log.csv"))]


def _wait(process: subprocess.Popen[str], done: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert process.poll() is None, log.read_text(encoding="utf-8")
        assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
        time.sleep(0.05)


@pytest.mark.slow
def test_interrupted_killed_and_started_again_it_ends_with_all_runs_finished(tmp_path: Path, start: Callable) -> None:
    out = tmp_path / "out"
    more = '[[variants]]\nlabel = "long"\nepochs = 600\n[[variants]]\nlabel = "bad"\nlearning_rate = 1e30\n'
    path = write_sweep(tmp_path, more, seeds="seeds = [0, 1]")

    # Ctrl-C: the terminal sends it to the whole group.
    process = start(path)
    _wait(process, lambda: sum(_epochs(out)) > 20, tmp_path / "log0")
    os.killpg(process.pid, signal.SIGINT)
    process.wait(timeout=PATIENCE)
    said = (tmp_path / "log0").read_text(encoding="utf-8")
    assert "0 of 4 runs are finished. Everything is in" in said
    assert SweepResults.read(out / "results.csv").columns["status"] == ("waiting",) * 4
    steps = {path.parent.name: json.loads(path.read_text())["steps"] for path in out.glob("long*/weights.json")}
    assert len(steps) == 2
    assert min(steps.values()) > 2, "a checkpoint was written on the way out, and the runs had gone on"

    process = start(path)
    before = sum(_epochs(out))
    _wait(process, lambda: sum(_epochs(out)) > before + 20, tmp_path / "log1")
    process.kill()
    process.wait()

    # Those that are killed live on for seconds; what is started now waits for them.
    process = start(path)
    assert process.wait(timeout=PATIENCE) == 0, (tmp_path / "log2").read_text(encoding="utf-8")
    results = SweepResults.read(out / "results.csv")
    assert results.columns["status"] == ("finished", "finished", "failed", "failed")
    assert results.columns["epochs"][:2] == (600, 600)
    assert results.columns["steps"][:2] == (1200, 1200)
    sessions = json.loads((out / "long-seed0" / "environment.json").read_text())["sessions"]
    begun = [session["step"] for session in sessions]
    assert len(begun) == 3
    assert begun[1] >= steps["long-seed0"], "went on where the checkpoint of the Ctrl-C was"
    assert all(session["threads"] == 1 for session in sessions)


def test_without_ray_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(ModuleNotFoundError, match=r'pip install "rfkit\[sweep\]"'),
        using_ray(address=None, jobs=1, threads=1, gpus_per_run=1.0),
    ):
        pass
