"""A data set and a network that train in no time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rfkit.data.dataset import Dataset, Sample
from rfkit.training.loop import train
from rfkit.training.run import RunResult


class Patches(Dataset):
    """Squares of red, green and blue; the class is the colour, and a row of each frame is unlabelled."""

    root = None
    licence = "none needed"

    def __init__(self, count: int = 12, split: str = "train", size: tuple[int, int] = (16, 24)) -> None:
        self.name, self.split = "patches", split
        self.classes = ("red", "green", "blue")
        self.colours = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255)], dtype=np.uint8)
        self.names = tuple(f"{split}{index}" for index in range(count))
        self.size = size

    def __getitem__(self, index: int) -> Sample:
        if index >= len(self):
            raise IndexError(index)
        generator = np.random.default_rng([index, len(self.split)])
        height, width = self.size
        squares = generator.integers(0, 3, (height // 4, width // 4))
        label = squares.repeat(4, 0).repeat(4, 1).astype(np.uint8)
        image = self.colours[label] // 2 + generator.integers(0, 100, (height, width, 3)).astype(np.uint8)
        label[0] = 255
        return Sample(torch.from_numpy(image).permute(2, 0, 1).contiguous(), torch.from_numpy(label), self.names[index])


def tiny_network(seed: int = 0, classes: int = 3) -> nn.Module:
    """A convolution, a batch norm, a dropout and the scores."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout2d(0.2), nn.Conv2d(8, classes, 1)
        )


SMALL: dict[str, Any] = {
    "epochs": 3,
    "batch_size": 4,
    "frame_size": (16, 24),
    "crop_size": (16, 16),
    "threads": 1,
    "device": "cpu",
    "progress": False,
    "tensorboard": False,
}


@pytest.fixture
def patches() -> type[Patches]:
    return Patches


@pytest.fixture
def network() -> Callable[..., nn.Module]:
    return tiny_network


@pytest.fixture
def run(tmp_path: Any) -> Callable[..., RunResult]:
    """Train the tiny network on patches in a fresh folder; any argument can be replaced."""

    def start(model: Any = None, data: Any = None, **arguments: Any) -> RunResult:
        options = {**SMALL, "out": tmp_path / "run", **arguments}
        return train(tiny_network() if model is None else model, Patches() if data is None else data, **options)

    return start
