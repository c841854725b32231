"""What one of several processes does in test_processes.py: `torchrun parallel_run.py JOB`, a JSON file."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
from conftest import Patches, tiny_network
from torch import nn

from rfkit.training.checkpoint import CHECKPOINT
from rfkit.training.loop import train


def main(job: dict) -> None:
    network = tiny_network()
    if job.get("no_dropout", True):
        network[3] = nn.Identity()
    scored = Patches(count=7, split="val")
    options = {name: tuple(value) if isinstance(value, list) else value for name, value in job["options"].items()}
    result = train(network, Patches(count=14), evaluation=scored, **options)
    # Every process has the result, and it is one result.
    rank = os.environ.get("RANK", "0")
    state = {name: value.tolist() for name, value in result.model.state_dict().items()}
    report = {"miou": result.scores.miou, "images": result.scores.images, "log": result.log.to_dict("list")}
    report |= {"confusion": result.scores.confusion.tolist(), "state": state, "steps": result.steps}
    Path(job["report"] + rank).write_text(json.dumps(report))
    assert (result.out / CHECKPOINT).exists()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(json.loads(Path(sys.argv[1]).read_text()))
