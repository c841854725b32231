"""Where the mass of a map lies: the smallest disc and the smallest square around a point that hold a share of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["SHARES", "radius_holding", "replknet_areas", "square_side_holding"]

SHARES = (0.20, 0.50, 0.80, 0.95, 0.99)

# Shares are sums of rounded numbers: a share that is met up to rounding is met.
_ROUNDING = 1e-9


def radius_holding(mass: np.ndarray, centre: tuple[float, float], shares: Sequence[float] = SHARES) -> np.ndarray:
    """The radius of the smallest disc around `centre` that holds each share of `mass`, in pixels.

    A pixel belongs to a disc if its own centre does, so a map with one non-zero pixel, at `centre`, has radius 0.

    Args:
        mass: (height, width), nowhere negative.
        centre: (row, column).
        shares: parts of the whole, above 0 and at most 1.

    Returns:
        One radius per share; NaN where `mass` is zero everywhere.

    Raises:
        ValueError: a share is not above 0 and at most 1.
    """
    rows, columns, values = _pixels(mass)
    return _holding(np.hypot(rows - centre[0], columns - centre[1]), values, shares)


def square_side_holding(mass: np.ndarray, centre: tuple[float, float], shares: Sequence[float] = SHARES) -> np.ndarray:
    """The side of the smallest square centred on `centre` that holds each share of `mass`, in pixels.

    The square of side s reaches (s - 1) / 2 pixels from `centre` to each of its four sides, also beyond the border of
    the image, where there is no mass. Sides are odd around a pixel, even around a corner between pixels.

    Args:
        mass: (height, width), nowhere negative.
        centre: (row, column).
        shares: parts of the whole, above 0 and at most 1.

    Returns:
        One side per share; NaN where `mass` is zero everywhere.

    Raises:
        ValueError: a share is not above 0 and at most 1.
    """
    rows, columns, values = _pixels(mass)
    reach = np.maximum(np.abs(rows - centre[0]), np.abs(columns - centre[1]))
    return 2 * _holding(reach, values, shares) + 1


def replknet_areas(scores: np.ndarray, thresholds: Sequence[float] = (0.20, 0.30, 0.50, 0.99)) -> np.ndarray:
    """Side and area ratio of the centred square that holds more than each threshold of log10(scores + 1).

    The published procedure of RepLKNet, step by step: log10 of the scores plus one, divided by their maximum; squares
    of side 3, 5, 7, ... around pixel (height // 2, width // 2), up to half the height; the first whose sum is more than
    the threshold times the sum of all; its area divided by that of the map. Because of the logarithm the answer depends
    on the scale of the scores: it can be compared only between maps made in one and the same way.

    Args:
        scores: (height, width), above -1: with `reduce="relu"` or `"abs"`.
        thresholds: parts of the whole.

    Returns:
        (thresholds, 2): side in pixels and area ratio; NaN where no square of that series is large enough.

    Raises:
        ValueError: a score is not above -1.

    Reference: Ding et al., Scaling Up Your Kernels to 31x31, CVPR 2022, section 5 and Table 10, and its script.
    """
    if not (scores > -1).all():
        raise ValueError(f"scores reach {scores.min():g}; log10(scores + 1) needs all of them above -1.")
    height, width = scores.shape
    logs = np.log10(scores + 1)
    found = np.full((len(thresholds), 2), np.nan)
    total = logs.sum()
    if total == 0:
        return found
    logs = logs / logs.max()
    total = logs.sum()
    row, column = height // 2, width // 2
    for reach in range(1, height // 2):
        # A square wider than the map starts at a negative index, which is no slice: the series ends there.
        if column - reach < 0:
            break
        inside = logs[row - reach : row + reach + 1, column - reach : column + reach + 1].sum() / total
        side = 2 * reach + 1
        for index, threshold in enumerate(thresholds):
            if np.isnan(found[index, 0]) and inside > threshold:
                found[index] = side, side / height * side / width
    return found


def _pixels(mass: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows, columns = np.nonzero(mass)
    return rows, columns, mass[rows, columns]


def _holding(distances: np.ndarray, values: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    wanted = np.asarray(shares, float)
    if not ((wanted > 0) & (wanted <= 1)).all():
        raise ValueError(f"share={shares!r} must be above 0 and at most 1.")
    if not len(values):
        return np.full(wanted.shape, np.nan)
    order = np.argsort(distances, kind="stable")
    held = np.cumsum(values[order])
    position = np.searchsorted(held, (wanted - _ROUNDING) * held[-1])
    return distances[order][np.minimum(position, len(held) - 1)]
