"""A small folder data set whose frames differ in size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = (
    'licence = "ours"\n[[classes]]\nname = "road"\ncolour = [1, 2, 3]\n[[classes]]\nname = "car"\ncolour = [4, 5, 6]\n'
)
SIZES = {"train": [(4, 6), (5, 3), (4, 6), (7, 9), (2, 2)], "val": [(6, 6), (3, 8)]}


def make_folder(root: Path) -> Path:
    """Images of noise, labels of two classes and ignored pixels, under names that both splits use."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "classes.toml").write_text(CLASSES)
    generator = np.random.default_rng(0)
    for split, sizes in SIZES.items():
        for number, size in enumerate(sizes):
            image = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
            label = generator.choice(np.array([0, 1, 255], dtype=np.uint8), size)
            for kind, pixels in (("images", image), ("labels", label)):
                path = root / kind / split / f"frame{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    return root
