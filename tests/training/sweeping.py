"""A sweep that takes no time: frames on disk, a file, and an engine that runs a run when it is started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rfkit.training.sweep_engine import Outcome, train_one

FILE = """
name = "tiny"
seeds = [0, 1]

[run]
model = "dwrseg_b"
data = "folder"
root = "{root}"
split = "train"
evaluation = "val"
device = "cpu"
tensorboard = false
epochs = 1
batch_size = 2
frame_size = [32, 32]
crop_size = [32, 32]
model_options = {{ blocks = [1, 1, 1] }}
"""


def make_frames(root: Path) -> Path:
    """A folder data set of four and two frames of 32 x 32 pixels, two classes."""
    for split, count in (("train", 4), ("val", 2)):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for index in range(count):
            generator = np.random.default_rng([index, count])
            label = generator.integers(0, 2, (8, 8)).repeat(4, 0).repeat(4, 1).astype(np.uint8)
            noise = generator.integers(0, 50, (32, 32, 3)).astype(np.uint8)
            Image.fromarray(label).save(root / "labels" / split / f"{index}.png")
            Image.fromarray(label[..., None] * 200 + noise).save(root / "images" / split / f"{index}.png")
    (root / "classes.toml").write_text('[[classes]]\nname = "dark"\n[[classes]]\nname = "bright"\n', encoding="utf-8")
    return root


def write_sweep(folder: Path, more: str = "", **changes: str) -> Path:
    """A sweep file in `folder`, with its frames; `changes` replace lines by their key, `more` is added."""
    root = folder / "frames"
    lines = FILE.format(root=root if root.exists() else make_frames(root)).splitlines()
    for key, line in changes.items():
        lines = [line if old.startswith(f"{key} =") else old for old in lines]
    path = folder / "tiny.toml"
    path.write_text("\n".join(lines) + "\n" + more, encoding="utf-8")
    return path


class InProcess:
    """Runs each run when it is started, and remembers which."""

    jobs = 1

    def __init__(self, **outcomes: Outcome) -> None:
        self.started: list[str] = []
        self.settings: dict[str, dict[str, Any]] = {}
        self.interrupted = False
        self._outcomes, self._ended = outcomes, list[tuple[str, Outcome]]()

    def start(self, name: str, settings: dict[str, Any]) -> None:
        self.started.append(name)
        self.settings[name] = settings
        self._ended.append((name, train_one(settings)))

    def ended(self, seconds: float) -> list[tuple[str, Outcome]]:
        ended, self._ended = self._ended, []
        return ended

    def interrupt(self) -> None:
        self.interrupted = True
