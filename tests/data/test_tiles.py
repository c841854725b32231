"""Where classes lie, tile by tile, against the definition, and how often each is drawn."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from rfkit.data.dataset import Dataset, Sample
from rfkit.data.tiles import ClassTiles, find_tiles


class Labels(Dataset):
    """A data set of given labels."""

    root = None

    def __init__(self, *labels: np.ndarray, classes: int = 3) -> None:
        self.labels = labels
        self.name, self.split = "labels", "train"
        self.classes = tuple("abcdef"[:classes])
        self.names = tuple(str(number) for number in range(len(labels)))

    def __getitem__(self, index: int) -> Sample:
        label = torch.from_numpy(self.labels[index].astype(np.uint8))
        return Sample(torch.zeros(3, *label.shape, dtype=torch.uint8), label, self.names[index])


def _by_hand(label: np.ndarray, classes: int) -> list[tuple[int, float, float]]:
    """Class and centre, as shares of the frame, of each class in each tile, from the definition."""
    height, width = label.shape
    side, found = min(height, width), []
    for top in range(0, height, side):
        for left in range(0, width, side):
            for name in range(classes):
                rows, columns = np.nonzero(label[top : top + side, left : left + side] == name)
                if len(rows):
                    found.append((name, (top + rows.mean() + 0.5) / height, (left + columns.mean() + 0.5) / width))
    return found


@pytest.mark.parametrize("size", [(8, 8), (8, 16), (8, 19), (21, 8)])
def test_tiles_are_those_of_the_definition(size: tuple[int, int]) -> None:
    labels = np.random.default_rng(0).choice([0, 1, 2, 255], (3, *size), p=[0.9, 0.06, 0.01, 0.03])
    tiles = find_tiles(Labels(*labels))
    expected = [(index, *entry) for index, label in enumerate(labels) for entry in _by_hand(label, 3)]
    assert tiles.frames.tolist() == [entry[0] for entry in expected]
    assert tiles.classes.tolist() == [entry[1] for entry in expected]
    assert tiles.centres == pytest.approx(np.array([entry[2:] for entry in expected]))


def test_a_frame_of_cityscapes_proportions_has_two_tiles() -> None:
    tiles = find_tiles(Labels(np.zeros((32, 64))))
    assert tiles.centres.tolist() == [[0.5, 0.25], [0.5, 0.75]]


def test_classes_take_turns_and_tiles_come_equally_often() -> None:
    # Class 0 in four tiles, class 2 in two; class 1 does not occur.
    frames = np.array([0, 1, 2, 3, 0, 3])
    tiles = ClassTiles(frames, np.array([0, 0, 0, 0, 2, 2]), np.full((6, 2), 0.5))
    for count in (0, 1, 7):
        counts = Counter(tiles.classes[tiles.draw(np.random.default_rng(count), count)].tolist())
        assert sum(counts.values()) == count
        assert max(counts.values(), default=0) - min(counts[0], counts[2]) <= 1
    drawn = np.bincount(tiles.draw(np.random.default_rng(0), 8000), minlength=6)
    # 4000 a class: 1000 or 2000 a tile, within four standard deviations.
    assert abs(drawn[:4] - 1000).max() < 4 * np.sqrt(4000 * 3 / 16)
    assert abs(drawn[4:] - 2000).max() < 4 * np.sqrt(4000 / 4)


def test_nothing_labelled_is_an_error() -> None:
    with pytest.raises(ValueError, match="dataset labels train has no labelled pixel to draw classes from"):
        find_tiles(Labels(np.full((4, 4), 255)))
