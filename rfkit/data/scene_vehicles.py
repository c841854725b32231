"""Cars, vans, trucks, buses and trams: a profile along the length, drawn out across the width."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from rfkit.data.scene_canvas import Canvas, Colour
from rfkit.data.scene_classes import Fine
from rfkit.data.scene_layout import Layout, Thing
from rfkit.data.scene_sketch import Frame, Point, Sketch

__all__ = ["VEHICLES", "Body", "paint_vehicle"]

# One point of a profile: along the length, up, half the width there (all in metres).
Station = tuple[float, float, float]


@dataclass(frozen=True)
class Body:
    """A kind of vehicle.

    The profile runs from the foot of the back over the roof to the foot of the front; `surfaces` says what lies
    between two stations. `sides` are polygons of stations on the flank.
    """

    profile: tuple[Station, ...]
    surfaces: tuple[str, ...]
    sides: tuple[tuple[str, tuple[Station, ...]], ...]
    axles: tuple[float, ...]
    wheel: float

    @property
    def length(self) -> float:
        """From end to end, in metres."""
        return self.profile[-1][0] - self.profile[0][0]

    @property
    def height(self) -> float:
        """From the road to the roof, in metres."""
        return max(y for _, y, _ in self.profile)

    @property
    def half_width(self) -> float:
        """Half the greatest width, in metres."""
        return max(w for _, _, w in self.profile)


def _car(
    rear: float, boot: float, belt: float, roof: tuple[float, float], screen: float, nose: float, tall: float, half: float
) -> Body:
    """A car: where the tailgate ends, the roof begins and ends, the windscreen ends, and the nose."""
    top = half * 0.74
    low = belt * 0.60
    back = [(rear + 0.07, 0.22, half * 0.90), (rear, 0.40, half * 0.97), (rear, low, half)]
    kinds = ["skirt", "bumper"]
    if boot > rear + 0.3:
        back += [(rear + 0.05, belt * 0.97, half * 0.96), (boot, belt, half * 0.96)]
        kinds += ["tail", "body"]
    else:
        back += [(boot, belt, half * 0.97)]
        kinds += ["tail"]
    ceiling = [(roof[0], tall - 0.08, top * 1.03), (roof[0] + 0.28, tall - 0.01, top), (roof[1], tall, top * 0.99), (roof[1] + 0.15, tall - 0.05, top * 1.02)]
    front = [
        (screen, belt + 0.03, half * 0.95), (nose - 0.22, belt * 0.84, half * 0.94), (nose - 0.05, belt * 0.76, half * 0.96),
        (nose, low * 0.9, half), (nose, 0.38, half * 0.97), (nose - 0.07, 0.22, half * 0.90),
    ]  # fmt: skip
    profile = tuple(back + ceiling + front)
    surfaces = (*kinds, "rear glass", "body", "body", "body", "glass", "body", "body", "head", "bumper", "skirt")
    flank = tuple(station for station in profile if station[1] <= belt + 0.04)
    cabin = (
        (boot, belt, half * 0.97), (roof[0], tall - 0.05, top), (roof[1], tall, top), (screen, belt + 0.03, half * 0.96),
    )  # fmt: skip
    middle = (roof[0] + roof[1]) / 2 + 0.15

    def window(start: float, stop: float) -> tuple[Station, ...]:
        low, high = belt + 0.03, tall - 0.10
        edge = half * 0.965, top * 1.03
        slope = min(1.0, (screen - roof[1]) * 0.82)
        back = (roof[0] - boot) * 0.82
        return (
            (start if start > boot + 0.3 else boot + 0.14, low, edge[0]),
            (start if start > boot + 0.3 else boot + 0.14 + back, high, edge[1]),
            (stop if stop < roof[1] else screen - 0.14 - slope, high, edge[1]),
            (stop if stop < roof[1] else screen - 0.14, low, edge[0]),
        )

    sides = (
        ("flank", flank), ("cabin", cabin), ("side glass", window(boot, middle - 0.04)), ("side glass", window(middle + 0.04, 9.0)),
    )  # fmt: skip
    return Body(profile, surfaces, sides, (rear + 0.72, nose - 0.78), 0.31 + 0.04 * (tall > 1.6))


def _box(length: float, tall: float, half: float, *, windows: tuple[float, float] | None, cab: float = 0.0, wheel: float = 0.48) -> Body:
    """A bus, a tram, or a truck whose load ends `cab` metres before its front."""
    rear, nose = -length / 2, length / 2
    low = 0.38
    if cab:
        start = nose - cab
        profile = (
            (rear, 0.75, half), (rear, tall, half), (start, tall, half), (start + 0.05, tall - 0.6, half * 0.96),
            (nose - 0.35, tall - 0.7, half * 0.94), (nose - 0.05, 1.45, half * 0.96), (nose, 0.9, half * 0.96), (nose, low, half * 0.94),
        )  # fmt: skip
        surfaces = ("load", "load", "body", "body", "glass", "head", "skirt")
        sides = (
            ("load", ((rear, 0.75, half), (rear, tall, half), (start, tall, half), (start, 0.75, half))),
            ("flank", ((start + 0.05, low, half * 0.96), (start + 0.05, tall - 0.6, half * 0.96), (nose - 0.35, tall - 0.7, half * 0.95), (nose, 1.4, half * 0.96), (nose, low, half * 0.95))),
            ("side glass", ((start + 0.35, 1.45, half * 0.965), (start + 0.35, tall - 0.85, half * 0.965), (nose - 0.45, tall - 0.9, half * 0.955), (nose - 0.2, 1.45, half * 0.965))),
            ("under", ((rear + 0.3, 0.42, half * 0.9), (rear + 0.3, 0.75, half * 0.9), (start, 0.75, half * 0.9), (start, 0.42, half * 0.9))),
        )  # fmt: skip
        return Body(profile, surfaces, sides, (rear + 1.1, rear + 2.2, nose - 0.9), wheel)
    profile = (
        (rear, low, half), (rear, 1.5, half), (rear + 0.06, tall - 0.5, half), (rear + 0.2, tall, half * 0.92),
        (nose - 0.25, tall, half * 0.92), (nose - 0.06, tall - 0.5, half), (nose, 1.15, half), (nose, 0.75, half), (nose, low, half),
    )  # fmt: skip
    surfaces = ("tail", "rear glass", "body", "body", "body", "glass", "head", "skirt")
    flank = ((rear, low, half), (rear + 0.04, tall - 0.4, half), (rear + 0.2, tall, half * 0.93), (nose - 0.25, tall, half * 0.93), (nose - 0.04, tall - 0.4, half), (nose, low, half))
    sides = [("flank", flank)]
    if windows is not None:
        at = rear + 0.5
        while at + 1.3 < nose:
            sides.append(("side glass", ((at, windows[0], half), (at, windows[1], half), (at + 1.25, windows[1], half), (at + 1.25, windows[0], half))))
            at += 1.38
    return Body(profile, surfaces, tuple(sides), (rear + 2.3, nose - 2.3), wheel)


VEHICLES: dict[str, Body] = {
    "hatchback": _car(-1.95, -1.82, 0.95, (-1.35, 0.15), 0.98, 1.98, 1.47, 0.85),
    "saloon": _car(-2.25, -1.45, 0.96, (-0.85, 0.25), 1.05, 2.25, 1.44, 0.88),
    "estate": _car(-2.3, -2.18, 0.97, (-1.85, 0.2), 1.0, 2.25, 1.48, 0.88),
    "off-roader": _car(-2.2, -2.12, 1.12, (-1.85, 0.2), 0.85, 2.2, 1.78, 0.94),
    "minivan": _car(-2.15, -2.06, 1.05, (-1.75, 0.35), 1.35, 2.15, 1.68, 0.91),
    "van": _car(-2.6, -2.58, 1.2, (-2.52, 0.9), 1.65, 2.55, 2.2, 0.98),
    "truck": _box(7.6, 3.3, 1.22, windows=None, cab=1.9),
    "bus": _box(10.8, 3.05, 1.26, windows=(1.25, 2.45)),
    "tram": _box(17.0, 3.4, 1.25, windows=(1.35, 2.6), wheel=0.3),
}
"""Kinds of vehicles by name."""

_GLASS: Colour = (0.10, 0.12, 0.14)


def paint_vehicle(canvas: Canvas, layout: Layout, thing: Thing, *, owner: int, shadow: float) -> None:
    """Paint a vehicle as seen from the camera; `shadow` is the share of the sun that is blocked."""
    _Vehicle(canvas, layout, thing, shadow).paint(owner)


class _Vehicle:
    def __init__(self, canvas: Canvas, layout: Layout, thing: Thing, shadow: float) -> None:
        self.canvas, self.light, self.thing, self.shadow = canvas, layout.light, thing, shadow
        self.body = VEHICLES[thing.kind]
        self.frame = Frame(thing.x, thing.z, thing.heading, stretch=thing.height / self.body.height)
        self.sketch = Sketch(canvas.view, self.frame, fine=thing.fine)
        self.camera = self.frame.camera()
        self.pixels = thing.height * canvas.view.focal / thing.z

    def paint(self, owner: int) -> None:
        if self.pixels > 8:
            self._undercarriage()
        body = self.body
        for (first, second), surface in zip(pairwise(body.profile), body.surfaces, strict=True):
            slope = (-(second[1] - first[1]), second[0] - first[0])
            towards = (self.camera[0] - first[0]) * slope[0] + (self.canvas.view.eye - first[1]) * slope[1]
            if towards > 0:
                self._surface(surface, first, second, slope)
        side = 1.0 if self.camera[1] > 0 else -1.0
        if abs(self.camera[1]) > body.half_width:
            for material, stations in body.sides:
                self._flank(material, stations, side)
            self._wheels(side)
        self.sketch.paint(self.canvas, owner=owner, shading=(0.0, 0.0, 0.10), grain=0.05)

    def _lit(self, colour: Colour, normal: Point, gloss: float = 0.0) -> Colour:
        length = math.sqrt(normal[0] * normal[0] + normal[1] * normal[1] + normal[2] * normal[2])
        s, t, y = normal[0] / length, normal[1] / length, normal[2] / length
        light = self.light.on(self.frame.normal(s, t, y), shadow=self.shadow)
        # Paint mirrors the sky above and the road below.
        mirror = gloss * (0.5 + 0.5 * y)
        sky = self.light.sky_low
        red, green, blue = (colour[k] * light[k] * (1 - mirror) + sky[k] * 0.75 * mirror for k in range(3))
        return red, green, blue

    def _undercarriage(self) -> None:
        half = self.body.half_width
        dark = (0.02, 0.02, 0.025)
        add = self.sketch.polygon
        for s in (self.body.axles[0], self.body.axles[-1]):
            for t in (-half * 0.94, half * 0.70):
                wide = t + 0.24 * half
                add([(s, t, 0.0), (s, wide, 0.0), (s, wide, 0.5), (s, t, 0.5)], dark)
        low = self.body.profile[0][1] + 0.1
        near = 0.9 * (self.body.profile[0][0] if self.camera[0] < 0 else self.body.profile[-1][0])
        add([(near, -half * 0.8, 0.16), (near, half * 0.8, 0.16), (near, half * 0.8, low), (near, -half * 0.8, low)], dark)

    def _surface(self, surface: str, first: Station, second: Station, slope: tuple[float, float]) -> None:
        normal = (slope[0], 0.0, slope[1])
        paint = self.thing.accent if surface == "load" else self.thing.colour
        add = self.sketch.polygon
        add(_quad(first, second, (0.0, 1.0), (-1.0, 1.0)), self._lit(paint, normal, 0.25))
        if surface in ("glass", "rear glass"):
            add(_quad(first, second, (0.06, 0.94), (-0.92, 0.92)), self._lit(_GLASS, normal, 0.25))
            if self.pixels < 14:
                return
            upper = (0.5, 0.94) if surface == "rear glass" else (0.06, 0.5)
            add(_quad(first, second, upper, (-0.92, 0.92)), self._lit(_GLASS, normal, 0.55))
        elif surface == "tail":
            glow = (0.85, 0.10, 0.08) if self.thing.variant % 2 else (0.42, 0.05, 0.05)
            for across in ((-0.98, -0.70), (0.70, 0.98)):
                add(_quad(first, second, (0.25, 0.92), across), glow)
            if self.pixels > 14:
                add(_quad(first, second, (0.20, 0.52), (-0.3, 0.3)), self._lit((0.82, 0.76, 0.40), normal))
        elif surface == "head":
            self._head(first, second, normal)
        elif surface == "skirt":
            add(_quad(first, second, (0.0, 1.0), (-1.0, 1.0)), self._lit((0.07, 0.07, 0.075), normal))
        elif surface == "bumper" and self.pixels > 14:
            rear = self.camera[0] < 0
            strip = (0.86, 1.0) if rear else (0.0, 0.14)
            add(_quad(first, second, strip, (-0.99, 0.99)), self._lit((0.09, 0.09, 0.09), normal))
            if not rear:
                add(_quad(first, second, (0.25, 0.75), (-0.32, 0.32)), self._lit((0.85, 0.85, 0.83), normal))
        elif surface == "load" and slope[0] < 0 and self.pixels > 14:
            add(_quad(first, second, (0.02, 0.98), (-0.01, 0.01)), (0.05, 0.05, 0.05))
            for across in ((-0.96, -0.80), (0.80, 0.96)):
                add(_quad(first, second, (0.0, 0.06), across), (0.45, 0.05, 0.05))

    def _head(self, first: Station, second: Station, normal: Point) -> None:
        glow = (1.5, 1.45, 1.25) if self.light.lamps > 0.05 else self._lit((0.80, 0.82, 0.84), normal, 0.3)
        for across in ((-0.96, -0.56), (0.56, 0.96)):
            self.sketch.polygon(_quad(first, second, (0.15, 0.95), across), glow)
        self.sketch.polygon(_quad(first, second, (0.2, 0.9), (-0.48, 0.48)), (0.035, 0.035, 0.04))

    def _flank(self, material: str, stations: tuple[Station, ...], side: float) -> None:
        points = [(s, w * side, y) for s, y, w in stations]
        normal = (0.0, side, 0.35 if material in ("cabin", "side glass") else 0.05)
        paint = self.thing.accent if material == "load" else self.thing.colour
        if material == "side glass":
            self.sketch.polygon(points, self._lit(_GLASS, normal, 0.5))
        elif material == "under":
            self.sketch.polygon(points, (0.03, 0.03, 0.035))
        else:
            self.sketch.polygon(points, self._lit(paint, normal, 0.22))
        if material == "flank" and self.pixels > 25:
            self.sketch.polygon([(s, t, min(y, 0.42)) for s, t, y in points], self._lit(_scaled(paint, 0.55), normal))
            self._doors(paint, normal, side)

    def _doors(self, paint: Colour, normal: Point, side: float) -> None:
        if self.body.height > 2.5:
            return
        rear, front = self.body.axles
        half, belt = self.body.half_width * side, 0.62 * self.body.height
        for s in (rear + 0.75, (rear + front) / 2 + 0.3, front - 0.55):
            self.sketch.limb([(s, half, 0.35), (s, half, belt)], 0.012, self._lit(_scaled(paint, 0.4), normal))
        for s in (rear + 1.1, (rear + front) / 2 + 0.55):
            self.sketch.limb([(s, half, belt - 0.1), (s + 0.16, half, belt - 0.1)], 0.03, self._lit(_scaled(paint, 0.5), normal))

    def _wheels(self, side: float) -> None:
        across = self.body.half_width * side * 1.005
        for s in self.body.axles:
            for share, colour in _WHEEL if self.pixels > 18 else _WHEEL[1:2]:
                radius = self.body.wheel * share
                # The arch is open below; only the tyre reaches the road.
                floor = 0.0 if share <= 1 else 0.2
                ring = [(s + radius * c, across, max(self.body.wheel + radius * d, floor)) for c, d in _CIRCLE]
                self.sketch.polygon(ring, self._lit(colour, (0.0, side, 0.0)) if share < 1 else colour)


_CIRCLE = tuple((math.cos(2 * math.pi * k / 14), math.sin(2 * math.pi * k / 14)) for k in range(14))
_WHEEL: tuple[tuple[float, Colour], ...] = (
    (1.18, (0.02, 0.02, 0.02)), (1.0, (0.045, 0.045, 0.05)), (0.62, (0.42, 0.43, 0.45)), (0.18, (0.1, 0.1, 0.1)),
)  # fmt: skip


def _scaled(colour: Colour, share: float) -> Colour:
    return colour[0] * share, colour[1] * share, colour[2] * share


def _quad(first: Station, second: Station, up: tuple[float, float], across: tuple[float, float]) -> list[Point]:
    """Part of the surface between two stations: shares of the way up, and across from -1 to 1."""
    corners: list[Point] = []
    for share, sides in ((up[0], across), (up[1], across[::-1])):
        s, y, w = (a + (b - a) * share for a, b in zip(first, second, strict=True))
        corners += [(s, w * side, y) for side in sides]
    return corners
