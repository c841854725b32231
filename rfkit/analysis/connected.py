"""Connected regions in stacks of binary maps."""

from __future__ import annotations

import numpy as np

__all__ = ["label_regions"]

# Half of the neighbours: each pair of units is met once.
_STEPS = {4: ((0, 1), (1, 0)), 8: ((0, 1), (1, 0), (1, 1), (1, -1))}


def label_regions(active: np.ndarray, *, connectivity: int = 8) -> np.ndarray:
    """The regions of each map of a stack, numbered from 1 in reading order of their first units; 0 is background.

    All maps are worked on at once: neighbouring active units are the edges of a graph, whose trees are hooked onto each
    other and flattened until no edge joins two of them.

    Args:
        active: booleans, (maps, height, width).
        connectivity: 4 (side neighbours) or 8 (also diagonal ones).

    Returns:
        Labels of the same shape.

    Raises:
        ValueError: `connectivity` is neither 4 nor 8, or `active` has not three axes.

    Example:
        >>> label_regions(np.array([[[True, False, True]]]))
        array([[[1, 0, 2]]])
    """
    if connectivity not in _STEPS:
        raise ValueError(f"connectivity={connectivity!r} must be 4 or 8.")
    if active.ndim != 3:
        raise ValueError(f"active has shape {active.shape}; it must be (maps, height, width).")
    root = _roots(active, connectivity)
    first = active & (root == np.arange(active.size).reshape(active.shape))
    # Numbers run on from map to map; subtract what came before.
    number = np.cumsum(first).reshape(active.shape)
    before = np.concatenate([[0], np.cumsum(first.sum(axis=(1, 2)))[:-1]]) if len(active) else np.zeros(0, int)
    return np.where(active, number.ravel()[root] - before[:, None, None], 0)


def _roots(active: np.ndarray, connectivity: int) -> np.ndarray:
    """For every unit the first unit, in reading order, of its region (itself where it is not active)."""
    parent = np.arange(active.size)
    one, other = _edges(active, connectivity)
    while len(one):
        low, high = np.minimum(parent[one], parent[other]), np.maximum(parent[one], parent[other])
        apart = low != high
        one, other, low, high = one[apart], other[apart], low[apart], high[apart]
        # All are roots here; a root takes the lowest of the roots it touches, so no cycle can arise.
        np.minimum.at(parent, high, low)
        flat = parent[parent]
        while not np.array_equal(flat, parent):
            parent, flat = flat, flat[flat]
    return parent.reshape(active.shape)


def _edges(active: np.ndarray, connectivity: int) -> tuple[np.ndarray, np.ndarray]:
    index = np.arange(active.size).reshape(active.shape)
    ones, others = [np.zeros(0, int)], [np.zeros(0, int)]
    _, height, width = active.shape
    for down, right in _STEPS[connectivity]:
        here = (slice(None), slice(0, height - down), slice(max(0, -right), width - max(0, right)))
        there = (slice(None), slice(down, height), slice(max(0, right), width + min(0, right)))
        both = active[here] & active[there]
        ones.append(index[here][both])
        others.append(index[there][both])
    return np.concatenate(ones), np.concatenate(others)
