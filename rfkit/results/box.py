"""A rectangle of pixels: where a unit's theoretical receptive field begins and ends."""

from __future__ import annotations

from dataclasses import dataclass

from rfkit.results.base import Result

__all__ = ["Box"]


@dataclass(frozen=True, eq=False)
class Box(Result):
    """A rectangle of pixels (or of units), first and last row and column both inside.

    Attributes:
        y0, x0: first row and column.
        y1, x1: last row and column.
        unclipped: the box as it would be in an image without borders; None where it is the same thing or unknown.

    Example:
        >>> box = Box(0, 2, 4, 6)
        >>> box.height, box.width, (4, 6) in box
        (5, 5, True)
    """

    y0: int
    x0: int
    y1: int
    x1: int
    unclipped: Box | None = None

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.y1 - self.y0 + 1

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.x1 - self.x0 + 1

    @property
    def centre(self) -> tuple[float, float]:
        """Middle of the box, (row, column); a half where a side is even."""
        return (self.y0 + self.y1) / 2, (self.x0 + self.x1) / 2

    def slices(self) -> tuple[slice, slice]:
        """The rows and columns of the box, to index an image: `image[..., *box.slices()]`."""
        return slice(self.y0, self.y1 + 1), slice(self.x0, self.x1 + 1)

    def clipped(self, height: int, width: int) -> Box:
        """The part of the box inside an image of `height` x `width`; this box becomes its `unclipped`.

        Raises:
            ValueError: no part of it is inside.
        """
        y0, x0, y1, x1 = max(self.y0, 0), max(self.x0, 0), min(self.y1, height - 1), min(self.x1, width - 1)
        if y0 > y1 or x0 > x1:
            raise ValueError(f"box {self} lies outside the image of {height} x {width} pixels.")
        return Box(y0, x0, y1, x1, self.unclipped or self)

    def __contains__(self, pixel: tuple[float, float]) -> bool:
        return self.y0 <= pixel[0] <= self.y1 and self.x0 <= pixel[1] <= self.x1

    def __str__(self) -> str:
        return f"rows {self.y0} to {self.y1}, columns {self.x0} to {self.x1} ({self.height} x {self.width})"
