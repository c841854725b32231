"""Runs that are really killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from rfkit.models.weights import read_weights

SCRIPT = Path(__file__).with_name("killed_run.py")
ROOT = Path(__file__).parents[2]
KILLS = 3
STEPS = 30


class Runs:
    """Starts training processes one after the other."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self._source = subprocess.Popen(
            [sys.executable, str(SCRIPT)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, out: Path, *, pause: float) -> int:
        """The number of a process that trains into `out`, resting a while in each step."""
        self._source.stdin.write(f"{out}\t{pause}\n")
        self._source.stdin.flush()
        return int(self._source.stdout.readline())

    def exit_code(self) -> int:
        """How the process started last has ended; waits for it."""
        return int(self._source.stdout.readline())

    def close(self) -> None:
        self._source.communicate(timeout=60)


def _step(out: Path) -> int:
    """The step that the card of the weights states, which is written after every checkpoint."""
    card = out / "weights.json"
    return json.loads(card.read_text())["steps"] if card.exists() else -1


def test_killed_at_any_moment_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    runs = Runs()
    runs.start(whole, pause=0)
    assert runs.exit_code() == 0
    generator = np.random.default_rng(0)
    for kill in range(KILLS):
        process = runs.start(broken, pause=0.02)
        aim = (kill + 1) * STEPS // (KILLS + 2)
        deadline = time.monotonic() + 60
        while _step(broken) < aim:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        # Any part of a step: forward, backward, the writing of the checkpoint, of the weights, of the log.
        time.sleep(generator.uniform(0, 0.05))
        os.kill(process, signal.SIGKILL)
        assert runs.exit_code() == -signal.SIGKILL
        assert _step(broken) < STEPS
    runs.start(broken, pause=0)
    assert runs.exit_code() == 0
    runs.close()

    sessions = json.loads((broken / "environment.json").read_text())["sessions"]
    steps = [session["step"] for session in sessions]
    assert len(steps) == KILLS + 1
    assert steps == sorted(set(steps)), "each part went on where the last one had come to"
    first, second = (torch.load(folder / "checkpoint.pt", weights_only=True) for folder in (whole, broken))
    assert first["step"] == second["step"] == STEPS
    for name, value in first["model"].items():
        assert value.numpy().tobytes() == second["model"][name].numpy().tobytes(), name
    shipped = [read_weights(folder / "weights.safetensors").tensors for folder in (whole, broken)]
    assert all(value.numpy().tobytes() == shipped[1][name].numpy().tobytes() for name, value in shipped[0].items())
    logs = [[(row["epoch"], row["step"], row["loss"]) for row in state["log"]] for state in (first, second)]
    assert logs[0] == logs[1]
    # What a killed writer leaves is a temporary file, which the next start removes.
    assert not [path.name for path in broken.iterdir() if path.name.startswith(".")]
