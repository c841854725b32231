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
    return _gaussian(mass.shape[0], sigma) @ mass @ _gaussian(mass.shape[1], sigma)


def _gaussian(count: int, sigma: float) -> np.ndarray:
    """The matrix that convolves `count` values with a Gaussian, which ends at three standard deviations."""
    reach = max(1, int(np.ceil(3 * sigma)))
    kernel = np.exp(-((np.arange(reach + 1) / sigma) ** 2) / 2)
    kernel /= 2 * kernel.sum() - kernel[0]
    distances = np.abs(np.subtract.outer(np.arange(count), np.arange(count)))
    return np.where(distances <= reach, kernel[np.minimum(distances, reach)], 0.0)
