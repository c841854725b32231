"""What a prepared data set saves: the time to read a frame from its PNG files against that from the prepared folder.

Frames of 2048x1024 are drawn, saved as Cityscapes lays them out, and prepared; then both are read in turns, one
processor at work. Every pixel is copied, since a memory mapping that nobody looks into costs nothing. Both kinds of
files come from the cache of the operating system.

    python benchmarks/prepared_data.py [--frames 8] [--turns 5]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from rfkit.data.cityscapes import Cityscapes
from rfkit.data.dataset import Dataset
from rfkit.data.preparing import prepare_data
from rfkit.data.scenes import Scenes


def draw_frames(root: Path, count: int) -> None:
    """Write procedural scenes with the noise of a camera in the layout of Cityscapes."""
    scenes, generator = Scenes("train", size=(1024, 2048), length=count), np.random.default_rng(0)
    for index in range(count):
        sample = scenes[index]
        noise = generator.integers(-2, 3, (1024, 2048, 3))
        pixels = (sample.image.permute(1, 2, 0).numpy() + noise).clip(0, 255).astype(np.uint8)
        label = np.where(sample.label == 255, 0, sample.label + 7).astype(np.uint8)
        for folder, array, ending in (("leftImg8bit", pixels, "leftImg8bit"), ("gtFine", label, "gtFine_labelIds")):
            path = root / folder / "train" / "drawn" / f"drawn_000000_{index:06d}_{ending}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path)


def milliseconds(data: Dataset, place: torch.Tensor) -> float:
    """The time of reading a frame of `data` and copying it to `place`."""
    begun = time.perf_counter()
    for sample in data:
        place[:3].copy_(sample.image)
        place[3].copy_(sample.label)
    return 1000 * (time.perf_counter() - begun) / len(data)


def main() -> None:
    """Print a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--turns", type=int, default=5, help="counted turns; one more comes first")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "source"
        draw_frames(root, arguments.frames)
        source = Cityscapes(root, "train")
        prepared = prepare_data(source, out=Path(folder) / "prepared", progress=False)["train"]
        size = sum(pair.image.stat().st_size for pair in source.pairs) / len(source) / 1e6
        place = torch.empty(4, 1024, 2048, dtype=torch.uint8)
        times = [(milliseconds(source, place), milliseconds(prepared, place)) for _ in range(arguments.turns + 1)][1:]
    png, cache = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(first / second for first, second in times)
    print(f"2048x1024 frame: {png:.1f} ms from PNG ({size:.1f} MB), {cache:.2f} ms prepared: {ratio:.0f} times as fast")


if __name__ == "__main__":
    main()
