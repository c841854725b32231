"""Which part of the image a plot of an effective receptive field shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rfkit._checks import unknown_name

if TYPE_CHECKING:
    from rfkit.results.effective import EffectiveRF

__all__ = ["View", "view_of"]

_HELD = 0.999
_LEAST = 9  # pixels a side
_TOO_WIDE = 5  # a theoretical field so many times as wide as the mass would leave the mass a speck


@dataclass(frozen=True)
class View:
    """The pixels shown: first and last row and column, both inside."""

    y0: int
    x0: int
    y1: int
    x1: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, in pixels."""
        return self.y1 - self.y0 + 1, self.x1 - self.x0 + 1

    @property
    def slices(self) -> tuple[slice, slice]:
        """To index a map with."""
        return slice(self.y0, self.y1 + 1), slice(self.x0, self.x1 + 1)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top of the outer edges of its pixels, as matplotlib wants them."""
        return self.x0 - 0.5, self.x1 + 0.5, self.y1 + 0.5, self.y0 - 0.5


def view_of(rf: EffectiveRF, zoom: bool | str) -> View:
    """The pixels to show of a field: see `rfkit.plots.receptive_field.plot_effective_rf`.

    Raises:
        ValueError: `zoom` is neither True, False, "box" nor "mass", or is "box" where no box is known.
    """
    height, width = rf.map.shape
    if zoom is False:
        return View(0, 0, height - 1, width - 1)
    if zoom not in (True, "box", "mass"):
        raise unknown_name("zoom", str(zoom), ("True", "False", "box", "mass"))
    if zoom == "box" and rf.box is None:
        raise ValueError(f"zoom='box' needs a theoretical field, and that of layer {rf.layer!r} is not known.")
    side = max(rf.square_sides((_HELD,))[_HELD], 1.0)
    if rf.box is not None and (
        zoom == "box" or (zoom is True and max(rf.box.height, rf.box.width) <= _TOO_WIDE * side)
    ):
        box = rf.box
        pad = max(1, round(0.06 * max(box.height, box.width)))
        edges = (box.y0 - pad, box.x0 - pad, box.y1 + pad, box.x1 + pad)
    else:
        half = 0.6 * side
        y, x = rf.centre
        edges = (round(y - half), round(x - half), round(y + half), round(x + half))
    return _inside(edges, rf.map.shape[0], rf.map.shape[1])


def _inside(edges: tuple[int, int, int, int], height: int, width: int) -> View:
    """The part of the image inside `edges`, at least a few pixels a side where the image has them."""
    y0, x0, y1, x1 = edges
    (y0, y1), (x0, x1) = _grown(y0, y1), _grown(x0, x1)
    return View(max(y0, 0), max(x0, 0), min(y1, height - 1), min(x1, width - 1))


def _grown(first: int, last: int) -> tuple[int, int]:
    lacking = max(0, _LEAST - (last - first + 1))
    return first - (lacking + 1) // 2, last + (lacking + 1) // 2
