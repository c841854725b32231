"""How far each pixel is from a region."""

from __future__ import annotations

import numpy as np

from rfkit._checks import check_choice

__all__ = ["distance_to_region"]


def distance_to_region(
    region: np.ndarray, *, metric: str = "euclidean", rows: np.ndarray | None = None, columns: np.ndarray | None = None
) -> np.ndarray:
    """The distance of positions from the nearest pixel of a region, in pixels; exact, and 0 inside.

    Args:
        region: boolean mask, (height, width).
        metric: "euclidean"; or "chebyshev", the larger of the distances in rows and in columns, for which the pixels
            within distance r of a pixel fill a square of side 2r + 1, as a receptive field does.
        rows: row coordinates of the grid of positions to measure at (real numbers are fine); every row by default.
        columns: column coordinates of that grid; every column by default.

    Returns:
        Distances, (rows, columns).

    Raises:
        ValueError: the region is empty, or `metric` is not known.

    Example:
        >>> mask = np.zeros((1, 4), bool)
        >>> mask[0, 1] = True
        >>> distance_to_region(mask)
        array([[1., 0., 1., 2.]])
    """
    check_choice("metric", metric, ("euclidean", "chebyshev"))
    mask = np.asarray(region, bool)
    if not mask.any():
        raise ValueError("region is empty: there is no distance from it.")
    down = np.arange(mask.shape[0]) if rows is None else np.asarray(rows)
    across = np.arange(mask.shape[1]) if columns is None else np.asarray(columns)
    best = np.full((len(down), len(across)), np.inf)
    for column in np.flatnonzero(mask.any(axis=0)):
        # Within a column, the nearest pixel of the region settles every position of a row.
        vertical = _nearest(np.flatnonzero(mask[:, column]), down)[:, None]
        horizontal = np.abs(across - column)[None]
        if metric == "chebyshev":
            np.minimum(best, np.maximum(vertical, horizontal), out=best)
        else:
            np.minimum(best, vertical**2 + horizontal**2, out=best)
    return best if metric == "chebyshev" else np.sqrt(best)


def _nearest(members: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Distance of each position from the nearest of the sorted `members`."""
    after = np.searchsorted(members, positions).clip(0, len(members) - 1)
    before = (after - 1).clip(0)
    return np.minimum(np.abs(members[after] - positions), np.abs(members[before] - positions)).astype(float)
