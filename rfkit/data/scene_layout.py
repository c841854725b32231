"""What a scene is made of: light, street, lots and things, in metres, whatever the size of the picture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rfkit.data.scene_canvas import Colour, View
from rfkit.data.scene_classes import Fine

__all__ = ["Crossing", "Layout", "Light", "Lot", "Street", "Thing"]


@dataclass(frozen=True)
class Light:
    """Time of day and weather."""

    name: str
    sky_top: Colour
    sky_low: Colour
    sun: Colour
    ambient: Colour
    direction: tuple[float, float, float]
    cloud: float
    cloud_colour: Colour
    visibility: float
    exposure: float
    blur: float
    lamps: float

    def on(self, normal: tuple[float, float, float], *, shadow: float = 0.0) -> Colour:
        """Light on a surface with a unit normal; `shadow` is the share of the sun that is blocked."""
        facing = normal[0] * self.direction[0] + normal[1] * self.direction[1] + normal[2] * self.direction[2]
        share = max(facing, 0.0) * (1.0 - shadow)
        red, green, blue = (self.ambient[k] + self.sun[k] * share for k in range(3))
        return red, green, blue


@dataclass(frozen=True)
class Crossing:
    """A side street that runs across, or a zebra crossing."""

    start: float
    stop: float
    zebra: bool


@dataclass(frozen=True)
class Street:
    """Cross section of the street; x in metres, left kerb first."""

    kerbs: tuple[float, float]
    lines: tuple[float, float]
    lanes: tuple[float, ...]
    centre: float
    edge_lines: int
    verge: tuple[float, float]
    asphalt: float
    slab: float
    slab_tint: Colour
    crossings: tuple[Crossing, ...]


@dataclass(frozen=True)
class Lot:
    """A building, wall, hedge or fence along the street: an upright plane at x between two depths, and its near end.

    `order` is its place in the painting order; by default its far end, since what stands in the street before that end
    is never behind it.
    """

    kind: str
    x: float
    start: float
    stop: float
    height: float
    depth: float
    colour: Colour
    trim: Colour
    roof: Colour
    roof_height: float
    storey: float
    ground_floor: float
    bay: float
    window: tuple[float, float]
    shop: Colour | None
    brick: float
    seed: int
    order: float | None = None


@dataclass(frozen=True)
class Thing:
    """An object: where it stands, which way it points, how big it is.

    `parts` lists the fine classes it is made of, each with its lower and upper end in metres, where they are more than
    `fine`; `order` takes the place of the depth in the painting order, for what stands behind a wall.
    """

    kind: str
    fine: Fine
    x: float
    z: float
    height: float
    heading: float = 0.0
    colour: Colour = (0.5, 0.5, 0.5)
    accent: Colour = (0.2, 0.2, 0.2)
    variant: int = 0
    phase: float = 0.0
    seed: int = 0
    parts: tuple[tuple[Fine, float, float], ...] = ()
    order: float | None = None


@dataclass(frozen=True)
class Layout:
    """A whole scene, without a size in pixels."""

    eye: float
    focal: float
    horizon: float
    vanishing: float
    light: Light
    street: Street
    lots: tuple[Lot, ...]
    things: tuple[Thing, ...]
    seed: int

    @cached_property
    def roof_line(self) -> np.ndarray:
        """Height of what casts the long shadows, the buildings on the side of the sun, every 25 cm from z = -40."""
        side = 1 if self.light.direction[0] > 0 else -1
        heights = np.full(1200, -50, dtype=np.float32)
        for lot in self.lots:
            if lot.kind in ("building", "wall", "hedge") and (lot.x > 0) == (side > 0):
                part = heights[max(0, int(4 * lot.start) + 160) : max(0, int(4 * lot.stop) + 160)]
                np.maximum(part, np.float32(lot.height + 0.7 * lot.roof_height), out=part)
        return heights

    def sun_blocked(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """How far, in metres, points lie below the edge of the shadow that the buildings cast; negative in the sun."""
        dx, dy, dz = self.light.direction
        away = (self.street.lines[1 if dx > 0 else 0] - x) / dx
        where = np.clip(((z + away * dz) * 4).astype(np.int32) + 160, 0, len(self.roof_line) - 1)
        return self.roof_line[where] - (y + away * dy)

    def view(self, size: tuple[int, int]) -> View:
        """The camera for pictures of `size`; the angle of view follows the area, so that wide pictures see more."""
        height, width = size
        scale = float(np.sqrt(height * width * 4 / 3))
        return View(height, width, self.focal * scale, self.horizon * height, self.vanishing * width, self.eye)
