"""Multi-octave value noise on a periodic tile, the texture of every surface of a scene."""

from __future__ import annotations

from functools import cache

import numpy as np
from jaxtyping import Float32, Shaped

__all__ = ["TILE", "fractal_tile", "sample_grid", "sample_points"]

TILE = 512
"""Side of the tile in texels, a power of two, so that wrapping round is a mask."""


@cache
def fractal_tile() -> Float32[np.ndarray, "512 512"]:
    """The tile: seven octaves of value noise, each about half as strong as the one before, between -1 and 1.

    It is the same for every scene; a scene shifts it by amounts of its own. Only additions, multiplications and
    divisions are used, so that machines with different vector units get the same bits.
    """
    generator = np.random.Generator(np.random.Philox(key=[0x5CE7E5, 1]))
    tile = np.zeros((TILE, TILE), dtype=np.float32)
    amplitude = 1.0
    for cells in (8, 16, 32, 64, 128, 256, 512):
        lattice = generator.random((cells, cells)).astype(np.float32) * 2 - 1
        tile += amplitude * _upsample(_upsample(lattice).T).T
        amplitude *= 0.55
    tile /= max(float(tile.max()), -float(tile.min()))
    tile.setflags(write=False)
    return tile


def sample_grid(
    rows: Shaped[np.ndarray, "height"], columns: Shaped[np.ndarray, "width"]
) -> Float32[np.ndarray, "height width"]:
    """Noise at every pair of a row and a column, in texels, of any sign and size."""
    return fractal_tile()[np.ix_(_wrap(rows), _wrap(columns))]


def sample_points(rows: Shaped[np.ndarray, "..."], columns: Shaped[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
    """Noise at points, in texels; rows and columns are broadcast together."""
    return fractal_tile().ravel().take(_wrap(rows) * TILE + _wrap(columns))


def _wrap(texels: np.ndarray) -> np.ndarray:
    # Conversion to integers rounds towards zero; the shift keeps it from folding the noise over at zero.
    return (texels + (64 * TILE)).astype(np.int32) & (TILE - 1)


def _upsample(lattice: np.ndarray) -> np.ndarray:
    """Rows of a periodic lattice, smoothly interpolated to `TILE` of them."""
    cells = lattice.shape[0]
    position = np.arange(TILE, dtype=np.float32) * (cells / TILE)
    index = position.astype(np.int64)
    fraction = position - index
    weight = (fraction * fraction * (3 - 2 * fraction))[:, None]
    return lattice[index] * (1 - weight) + lattice[(index + 1) % cells] * weight
