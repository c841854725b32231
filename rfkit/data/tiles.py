"""Where each class lies in the frames of a data set, tile by tile, so that crops can be drawn class by class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int64, UInt8

from rfkit._progress import Bar
from rfkit.data.dataset import Dataset

__all__ = ["ClassTiles", "find_tiles"]


@dataclass(frozen=True, eq=False)
class ClassTiles:
    """The centres of classes in tiles of frames, one entry for each class that a tile holds.

    Attributes:
        frames: Index of the frame in its data set.
        classes: The class.
        centres: Mean place of the class's pixels in the tile, (row, column) as shares of the frame's height and width.
            Where a class surrounds another one the centre may be a pixel of that.
    """

    frames: Int64[np.ndarray, " tiles"]
    classes: Int64[np.ndarray, " tiles"]
    centres: Float64[np.ndarray, "tiles 2"]

    def draw(self, generator: np.random.Generator, count: int) -> Int64[np.ndarray, " count"]:
        """The numbers of `count` tiles: the classes take turns in an order that is drawn, each with any of its tiles.

        In any `count` the numbers of times that two classes that occur have their turn differ by at most one.
        """
        present = np.unique(self.classes)
        rounds = -(-count // len(present))
        turns = [name for _ in range(rounds) for name in generator.permutation(present).tolist()]
        of_class = {name: np.flatnonzero(self.classes == name) for name in present.tolist()}
        return np.array([generator.choice(of_class[name]) for name in turns[:count]], dtype=np.int64)


def find_tiles(dataset: Dataset, *, progress: bool = False) -> ClassTiles:
    """The class tiles of a data set: frames are cut into squares as high as their shorter side, the last one cut off.

    At Cityscapes' 2048x1024 these are the two tiles of 1024x1024 a frame of the published sampling. Every label is
    read, so pass an `InMemory` where there is one.

    Args:
        dataset: Any data set with labels.
        progress: Whether to show a bar with the time left.

    Raises:
        ValueError: No pixel is labelled.

    Example:
        >>> from rfkit.data.scenes import Scenes
        >>> tiles = find_tiles(Scenes(size=(24, 48), length=2))
        >>> bool((tiles.frames < 2).all()), bool((tiles.centres < 1).all())
        (True, True)

    Reference: Zhu et al., Improving Semantic Segmentation via Video Propagation and Label Relaxation, arXiv 1812.01593,
    section 4.1 (class uniform sampling, after Rota Bulo et al., CVPR 2018).
    """
    found = [np.empty((0, 4))]
    label = f"Finding the classes of {dataset.name} {dataset.split}"
    for index in Bar(range(len(dataset)), desc=label, unit="image", disable=not progress):
        tiles = _of_label(dataset[index].label, dataset.num_classes)
        found.append(np.column_stack([np.full(len(tiles), index), tiles]))
    rows = np.concatenate(found)
    if not len(rows):
        raise ValueError(f"dataset {dataset.name} {dataset.split} has no labelled pixel to draw classes from.")
    return ClassTiles(rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64), rows[:, 2:])


def _of_label(label: UInt8[torch.Tensor, "height width"], classes: int) -> Float64[np.ndarray, "tiles 3"]:
    """Class, row and column (shares of the frame) of each class in each tile."""
    height, width = label.shape
    side = min(height, width)
    found = [np.empty((0, 3))]
    for top in range(0, height, side):
        for left in range(0, width, side):
            tile = label[top : top + side, left : left + side].cpu().numpy().astype(np.int64)
            rows = _counts(tile, classes)
            columns = _counts(tile.T, classes)
            present = np.flatnonzero(rows.sum(0))
            total = rows.sum(0)[present]
            centres = (
                (start + (np.arange(len(counts)) + 0.5) @ counts[:, present] / total) / extent
                for counts, start, extent in ((rows, top, height), (columns, left, width))
            )
            found.append(np.column_stack([present, *centres]))
    return np.concatenate(found)


def _counts(label: Int64[np.ndarray, "rows columns"], classes: int) -> Int64[np.ndarray, "rows classes"]:
    """The pixels of each class in each row."""
    keys = label + 256 * np.arange(len(label))[:, None]
    return np.bincount(keys.ravel(), minlength=256 * len(label)).reshape(len(label), 256)[:, :classes]
