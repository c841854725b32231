"""The camera of a scene, and the canvas that its surfaces are painted on from far to near."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int16, UInt8

__all__ = ["Canvas", "Colour", "View"]

Colour = tuple[float, float, float]
"""Red, green and blue; 1 is white at normal exposure."""


@dataclass(frozen=True)
class View:
    """A pinhole camera that looks along the street, at a given size of picture.

    The world is in metres: x to the right, y up from the road, z along the street, the camera above the origin.
    A tilt of the camera is a shift of the horizon, so upright lines stay upright.
    """

    height: int
    width: int
    focal: float
    horizon: float
    vanishing: float
    eye: float

    def column(self, x: float, z: float) -> float:
        """Column, in pixels from the left edge, of a point at (x, z)."""
        return self.vanishing + self.focal * x / z

    def row(self, y: float, z: float) -> float:
        """Row, in pixels from the upper edge, of a point at height y and distance z."""
        return self.horizon + self.focal * (self.eye - y) / z


class Canvas:
    """Colours, fine classes and object numbers of the pixels; painting order decides what hides what."""

    colour: Float32[np.ndarray, "3 height width"]
    fine: UInt8[np.ndarray, "height width"]
    owner: Int16[np.ndarray, "height width"]

    def __init__(self, view: View, *, haze: Colour, visibility: float) -> None:
        self.view = view
        self.haze = np.array(haze, dtype=np.float32)
        self.visibility = visibility
        shape = (view.height, view.width)
        self.colour = np.zeros((3, *shape), dtype=np.float32)
        self.fine = np.zeros(shape, dtype=np.uint8)
        self.owner = np.full(shape, -1, dtype=np.int16)

    def air(self, depth: np.ndarray | float) -> np.ndarray | np.float32:
        """Share of the light from `depth` metres that is lost in the haze, from 0 to 1.

        A rational curve in place of the exponential, whose last bit depends on the machine.
        """
        ratio = np.asarray(depth, dtype=np.float32) / self.visibility
        return ratio * ratio / (1 + ratio + ratio * ratio)

    def blend(
        self,
        origin: tuple[int, int],
        colour: Sequence[np.ndarray | float] | np.ndarray,
        *,
        alpha: np.ndarray,
        depth: np.ndarray | float,
        fine: np.ndarray | int | None = None,
        owner: int | None = None,
        solid: np.ndarray | None = None,
    ) -> None:
        """Paint a patch with its upper left corner at `origin`.

        Args:
            origin: row and column.
            colour: three planes, red, green and blue, each height x width or one number.
            alpha: height x width, how much of each pixel the surface covers.
            depth: metres, broadcast to height x width; sets the haze.
            fine: fine class of the surface; None paints colour alone (a shadow, a stain).
            owner: number of the object that the patch shows.
            solid: where the label is set; by default, where alpha is at least a half.
        """
        height, width = alpha.shape
        window = (slice(origin[0], origin[0] + height), slice(origin[1], origin[1] + width))
        air = self.air(depth)
        target = self.colour[:, window[0], window[1]]
        for channel in range(3):
            lit = colour[channel] + (self.haze[channel] - colour[channel]) * air
            target[channel] += (lit - target[channel]) * alpha
        if fine is None:
            return
        mask = alpha >= 0.5 if solid is None else solid
        values = np.broadcast_to(np.asarray(fine, dtype=np.uint8), mask.shape)
        np.copyto(self.fine[window], values, where=mask)
        np.copyto(self.owner[window], np.int16(-1 if owner is None else owner), where=mask)

    def darken(self, origin: tuple[int, int], shade: Float32[np.ndarray, "height width"]) -> None:
        """Take away a share of the light of a patch: 0 leaves it, 1 makes it black."""
        height, width = shade.shape
        self.colour[:, origin[0] : origin[0] + height, origin[1] : origin[1] + width] *= 1 - shade
