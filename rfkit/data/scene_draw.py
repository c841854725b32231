"""The random draws that scenes are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from rfkit.data.scene_canvas import Colour

__all__ = ["Draw"]

Option = TypeVar("Option")


class Draw:
    """Short names for draws. All come from `random()`, whose bits numpy keeps the same from version to version."""

    def __init__(self, generator: np.random.Generator) -> None:
        self._random = generator.random

    def number(self, low: float | int, high: float | int) -> float:
        """A number between `low` and `high`."""
        return low + (high - low) * float(self._random())

    def near(self, low: float | int, high: float | int) -> float:
        """A number between `low` and `high`, more often near `low`."""
        share = float(self._random())
        return low + (high - low) * share * share

    def chance(self, probability: float) -> bool:
        """True with a probability."""
        return float(self._random()) < probability

    def whole(self, low: int, high: int) -> int:
        """A whole number from `low` to `high - 1`."""
        return low + int(float(self._random()) * (high - low))

    def pick(self, options: Sequence[Option]) -> Option:
        """One of `options`, all as likely."""
        return options[self.whole(0, len(options))]

    def sign(self) -> int:
        """1 or -1."""
        return 1 if self.chance(0.5) else -1

    def tint(self, colour: Colour, spread: float) -> Colour:
        """A colour near `colour`: lighter or darker, and a little off in hue."""
        shift = self.number(-spread, spread)
        red, green, blue = (min(max(c + shift + self.number(-0.4, 0.4) * spread, 0.02), 0.98) for c in colour)
        return red, green, blue
