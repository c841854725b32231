from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rfkit.analysis.connected import label_regions


def flood(active: np.ndarray, connectivity: int) -> np.ndarray:
    """Brute force: flood fill, unit by unit in reading order."""
    labels = np.zeros(active.shape, int)
    height, width = active.shape
    number = 0
    for start in zip(*np.nonzero(active), strict=True):
        if labels[start]:
            continue
        number += 1
        todo = [start]
        while todo:
            row, column = todo.pop()
            if not (0 <= row < height and 0 <= column < width) or not active[row, column] or labels[row, column]:
                continue
            labels[row, column] = number
            steps = [(0, 1), (1, 0), (0, -1), (-1, 0)]
            if connectivity == 8:
                steps += [(1, 1), (1, -1), (-1, 1), (-1, -1)]
            todo += [(row + down, column + right) for down, right in steps]
    return labels


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 4),
    st.integers(1, 9),
    st.integers(1, 9),
    st.floats(0, 1),
    st.sampled_from([4, 8]),
)
def test_labels_are_those_of_a_flood_fill(
    seed: int, maps: int, height: int, width: int, share: float, connectivity: int
) -> None:
    active = np.random.default_rng(seed).random((maps, height, width)) < share
    expected = np.stack([flood(one, connectivity) for one in active])
    np.testing.assert_array_equal(label_regions(active, connectivity=connectivity), expected)


def test_diagonal_neighbours_join_with_eight_and_not_with_four() -> None:
    active = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]]], bool)
    assert label_regions(active, connectivity=8).max(axis=(1, 2)).tolist() == [1, 1]
    assert label_regions(active, connectivity=4).max(axis=(1, 2)).tolist() == [2, 2]


def test_a_spiral_is_one_region_and_maps_do_not_touch() -> None:
    spiral = np.zeros((61, 61), bool)
    row, column, length = 0, 0, 60
    spiral[0, 0] = True
    for turn in range(40):
        down, right = ((0, 1), (1, 0), (0, -1), (-1, 0))[turn % 4]
        for _ in range(length):
            row, column = row + down, column + right
            spiral[row, column] = True
        if turn > 1 and turn % 2 == 0:
            length -= 2
        if length < 2:
            break
    labels = label_regions(np.stack([spiral, spiral, np.ones_like(spiral)]), connectivity=4)
    assert labels.max(axis=(1, 2)).tolist() == [1, 1, 1]


def test_empty_stacks_and_bad_arguments() -> None:
    assert label_regions(np.zeros((0, 3, 3), bool)).shape == (0, 3, 3)
    assert not label_regions(np.zeros((2, 3, 3), bool)).any()
    with pytest.raises(ValueError, match="connectivity=6 must be 4 or 8"):
        label_regions(np.zeros((1, 2, 2), bool), connectivity=6)
    with pytest.raises(ValueError, match=r"active has shape \(2, 2\); it must be \(maps, height, width\)"):
        label_regions(np.zeros((2, 2), bool))
