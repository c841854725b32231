"""Repeated bands (bricks, windows, dashes), averaged over the footprint of a pixel so that far ones do not flicker."""

from __future__ import annotations

import numpy as np

__all__ = ["band", "cover"]


def band(position: np.ndarray, width: np.ndarray, *, period: float, length: float, start: float = 0.0) -> np.ndarray:
    """Share of each interval of `width` around `position` that lies in bands `length` long, one every `period`."""
    low = _inside(position - start - width / 2, period, length)
    return (_inside(position - start + width / 2, period, length) - low) / width


def cover(distance: np.ndarray, width: np.ndarray | float) -> np.ndarray:
    """Share of each pixel on the inner side of an edge; `distance` is that of its middle, positive inside."""
    return np.clip(distance / width + 0.5, 0, 1)


def _inside(position: np.ndarray, period: float, length: float) -> np.ndarray:
    """Length of bands between zero and `position`."""
    whole = np.floor(position / period)
    return whole * length + np.minimum(position - whole * period, length)
