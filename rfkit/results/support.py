"""The pixels that a unit really reaches, and over how many paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rfkit.results.base import Result
from rfkit.results.box import Box

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Support"]


@dataclass(frozen=True, eq=False)
class Support(Result):
    """The pixels inside the box of one unit that can change it, and the number of paths from each of them.

    A path goes through one tap of each convolution or pooling window on its way; channels are not counted.

    Attributes:
        layer: name of the layer.
        unit: (row, column) of the unit on its map.
        box: the unit's box, clipped to the image.
        mask: True where a pixel of the box is reached, (box.height, box.width).
        log_paths: natural logarithm of the number of paths, same shape; -inf where there is none.
        size: (height, width) of the image.
    """

    layer: str
    unit: tuple[int, int]
    box: Box
    mask: np.ndarray
    log_paths: np.ndarray
    size: tuple[int, int]

    @property
    def coverage(self) -> float:
        """Share of the box that is reached."""
        return float(self.mask.mean())

    @property
    def largest_gap(self) -> tuple[int, int]:
        """Most neighbouring rows, and most neighbouring columns, of the box of which no pixel is reached."""
        return _longest_gap(np.any(self.mask, axis=1)), _longest_gap(np.any(self.mask, axis=0))

    def to_frame(self) -> pd.DataFrame:
        """One row per pixel of the box.

        Columns: row, column (of the pixel in the image); reached; log_paths (natural logarithm, -inf where none).
        """
        import pandas as pd

        row, column = np.indices(self.mask.shape)
        return pd.DataFrame(
            {
                "row": row.ravel() + self.box.y0,
                "column": column.ravel() + self.box.x0,
                "reached": self.mask.ravel(),
                "log_paths": self.log_paths.ravel(),
            }
        )


def _longest_gap(reached: Any) -> int:
    return max(len(run) for run in "".join("x" if there else "." for there in reached).split("x"))
