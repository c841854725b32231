"""Training runs for test_kill.py, to be killed.

Each line read, "FOLDER PAUSE", starts a process that trains into the folder; its number is printed, then its exit code.
The processes are forked from this one, so that torch is imported once.
"""

from __future__ import annotations

import os
import sys
import time
import traceback

import numpy as np
import torch
from torch import nn

from rfkit.data.dataset import Dataset, Sample
from rfkit.training.loop import train


class Noise(Dataset):
    """Frames of noise with labels of noise."""

    name, split, root, licence = "noise", "train", None, ""
    classes = ("first", "second")
    colours = np.zeros((2, 3), dtype=np.uint8)
    names = tuple(map(str, range(10)))

    def __getitem__(self, index: int) -> Sample:
        generator = torch.Generator().manual_seed(index)
        image = torch.randint(0, 256, (3, 16, 16), generator=generator).to(torch.uint8)
        return Sample(image, torch.randint(0, 2, (16, 16), generator=generator).to(torch.uint8), self.names[index])


class Slow(nn.Module):
    """Passes on what it is given, taking its time, so that a step lasts long enough to be killed in."""

    def __init__(self, pause: float) -> None:
        super().__init__()
        self.pause = pause

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        time.sleep(self.pause)
        return features


def _train(out: str, pause: float) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), Slow(pause), nn.Dropout2d(0.2), nn.Conv2d(6, 2, 1)
    )
    train(
        network,
        Noise(),
        out=out,
        epochs=6,
        batch_size=2,
        frame_size=(16, 16),
        crop_size=(12, 12),
        device="cpu",
        threads=1,
        checkpoint_minutes=0,
        progress=False,
        tensorboard=False,
    )


for line in sys.stdin:
    folder, pause = line.split("\t")
    child = os.fork()
    if child == 0:
        try:
            _train(folder, float(pause))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
