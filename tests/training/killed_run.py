"""Training runs for test_kill.py, to be killed.

Each line read is a job (JSON): "out", the run folder; "processes", how many train together; "average", the recipe's
`ema_decay`; "kill", the ranks to kill; "after", when, in seconds from the start, or from where the first process comes
to the phase "aim"; "room", bytes that a file may have.
The line printed then (JSON) says of each process its exit code ("codes") and its error ("errors"); what the first was
doing at the kill ("phase"); how long all took ("seconds"); and whether one that was left over had to be ended, as
torchrun does ("ended").
The processes are forked from this one, so that torch is imported once.
"""

from __future__ import annotations

import json
import mmap
import os
import resource
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

import rfkit.training.run as run
from rfkit.data.dataset import Dataset, Sample
from rfkit.training.loop import train

PHASES = ("start", "step", "checkpoint", "weights", "log", "end")
# What is left of processes that train together ends by itself within this time, or is made to.
PATIENCE = 1.0
# A phase that does not come, such as a checkpoint in a run that is done, is not waited for any longer.
LONGEST = 5.0
# Memory that outlives a process: its phase in the first byte, then its error.
ROOM = 4096


class Noise(Dataset):
    """Frames of noise with labels of noise."""

    name, split, root, licence = "noise", "train", None, ""
    classes = ("first", "second")
    colours = np.zeros((2, 3), dtype=np.uint8)

    def __init__(self, count: int) -> None:
        self.names = tuple(map(str, range(count)))

    def __getitem__(self, index: int) -> Sample:
        generator = torch.Generator().manual_seed(index)
        image = torch.randint(0, 256, (3, 16, 16), generator=generator).to(torch.uint8)
        return Sample(image, torch.randint(0, 2, (16, 16), generator=generator).to(torch.uint8), self.names[index])


def _train(job: dict[str, Any]) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout2d(0.2), nn.Conv2d(6, 2, 1)
    )
    train(
        network,
        Noise(10),
        out=job["out"],
        epochs=4,
        batch_size=2,
        ema_decay=job["average"],
        frame_size=(16, 16),
        crop_size=(12, 12),
        evaluation=Noise(6),
        evaluate_every=2,
        device="cpu",
        threads=1,
        checkpoint_minutes=0,
        progress=False,
        tensorboard=False,
    )


def _say_what_is_done(marks: mmap.mmap, place: int) -> None:
    """Write the phase this process is in to memory that outlives it."""

    def said(phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            before = marks[place]
            if before == PHASES.index("end"):
                return function(*arguments, **options)
            marks[place] = PHASES.index(phase)
            answer = function(*arguments, **options)
            if phase != "end":
                marks[place] = before
            return answer

        return call

    run.save_checkpoint = said("checkpoint", run.save_checkpoint)
    run.save_weights = said("weights", run.save_weights)
    run.write_log = said("log", run.write_log)
    run.Run.train = said("step", run.Run.train)
    run.Run.finish = said("end", run.Run.finish)


def _start(job: dict[str, Any], marks: mmap.mmap, rank: int, port: int) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        if job["processes"] > 1:
            names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
            values = (rank, rank, job["processes"], "127.0.0.1", port)
            os.environ.update({name: str(value) for name, value in zip(names, values, strict=True)})
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["room"] or resource.RLIM_INFINITY,) * 2)
        _say_what_is_done(marks, rank * ROOM)
        _train(job)
        code = 0
    except BaseException as error:
        said = f"{type(error).__name__}: {error}".encode()[: ROOM - 1]
        marks[rank * ROOM + 1 : rank * ROOM + 1 + len(said)] = said
        traceback.print_exc()
    finally:
        os._exit(code)


def _run(job: dict[str, Any]) -> dict[str, Any]:
    begun = time.monotonic()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    marks = mmap.mmap(-1, job["processes"] * ROOM)
    children = [_start(job, marks, rank, port) for rank in range(job["processes"])]
    if job["kill"]:
        _wait(job, marks, begun)
        for rank in job["kill"]:
            os.kill(children[rank], signal.SIGKILL)
    phase = PHASES[marks[0]]
    codes, ended = _await(children, patient=not job["kill"])
    said = [marks[rank * ROOM : (rank + 1) * ROOM] for rank in range(job["processes"])]
    return {
        "codes": codes,
        "phase": phase,
        "errors": [text[1:].rstrip(b"\0").decode() for text in said],
        "seconds": time.monotonic() - begun,
        "ended": ended,
    }


def _wait(job: dict[str, Any], marks: mmap.mmap, begun: float) -> None:
    """Wait for the moment to kill."""
    if job["aim"] is not None:
        while PHASES[marks[0]] != job["aim"] and time.monotonic() < begun + LONGEST:
            time.sleep(0.0002)
        begun = time.monotonic()
    time.sleep(max(0.0, begun + job["after"] - time.monotonic()))


def _await(children: list[int], *, patient: bool) -> tuple[list[int], bool]:
    """The exit codes, and whether processes that were left over had to be ended."""
    codes: dict[int, int] = {}
    begun = time.monotonic()
    signals = [] if patient else [(PATIENCE, signal.SIGTERM), (2 * PATIENCE, signal.SIGKILL)]
    ended = False
    while len(codes) < len(children):
        for child in children:
            if child not in codes:
                number, status = os.waitpid(child, os.WNOHANG)
                if number:
                    codes[child] = os.waitstatus_to_exitcode(status)
        if signals and time.monotonic() - begun > signals[0][0]:
            for child in children:
                if child not in codes:
                    os.kill(child, signals[0][1])
                    ended = True
            signals.pop(0)
        time.sleep(0.002)
    return [codes[child] for child in children], ended


# One run here first: what torch imports only when it is needed would take each process seconds.
with tempfile.TemporaryDirectory() as scratch:
    _train({"out": scratch, "average": 0.9})
for line in sys.stdin:
    print(json.dumps(_run(json.loads(line))), flush=True)
# What torch takes apart at its end takes seconds.
os._exit(0)
