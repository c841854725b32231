"""Level sets of a map that hold given shares of its mass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["mass_levels", "smoothed"]


def mass_levels(mass: np.ndarray, shares: Sequence[float]) -> list[float]:
    """For each share the value such that the pixels of at least that value hold that share of the mass, or more.

    Args:
        mass: values, nowhere negative, somewhere positive.
        shares: each above 0 and at most 1.

    Example:
        >>> mass_levels(np.array([4.0, 3.0, 2.0, 1.0]), (0.4, 0.9))
        [4.0, 2.0]
    """
    values = np.sort(mass, axis=None)[::-1]
    held = np.cumsum(values)
    # Up to rounding of the sum: a share that is met exactly takes no further pixel.
    places = np.searchsorted(held, (np.asarray(shares) - 1e-9) * held[-1])
    return values[np.minimum(places, len(values) - 1)].tolist()


def smoothed(mass: np.ndarray, sigma: float) -> np.ndarray:
    """`mass` convolved with a Gaussian of standard deviation `sigma` pixels; zeros are taken to lie around it."""
    reach = max(1, int(np.ceil(3 * sigma)))
    kernel = np.exp(-((np.arange(-reach, reach + 1) / sigma) ** 2) / 2)
    kernel /= kernel.sum()
    for axis in (0, 1):
        padded = np.moveaxis(np.pad(mass, [(reach, reach) if side == axis else (0, 0) for side in (0, 1)]), axis, 0)
        count = mass.shape[axis]
        summed = sum(weight * padded[start : start + count] for start, weight in enumerate(kernel))
        mass = np.moveaxis(np.asarray(summed), 0, axis)
    return mass
