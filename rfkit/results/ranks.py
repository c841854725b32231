"""Whether two measures put things in the same order."""

from __future__ import annotations

import numpy as np

__all__ = ["rank_correlation"]


def rank_correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation along the last axis, ties at their mean rank; NaN where all of either are equal.

    Example:
        >>> float(rank_correlation(np.array([1, 2, 3]), np.array([10, 30, 20])))
        0.5
    """
    centred = []
    for values in (one, other):
        # Mean ranks by counting: samples are small, and a resampling asks for thousands of them at once.
        below = (values[..., None, :] < values[..., :, None]).sum(axis=-1)
        equal = (values[..., None, :] == values[..., :, None]).sum(axis=-1)
        ranks = below + (equal + 1) / 2
        centred.append(ranks - ranks.mean(axis=-1, keepdims=True))
    first, second = centred
    scale = np.sqrt((first**2).sum(axis=-1) * (second**2).sum(axis=-1))
    with np.errstate(invalid="ignore"):
        return np.round((first * second).sum(axis=-1) / np.where(scale > 0, scale, np.nan), 12)
