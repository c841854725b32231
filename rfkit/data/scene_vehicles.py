"""Painting vehicles: what is seen of a body from where the camera is."""

from __future__ import annotations

import math
from itertools import pairwise

from rfkit.data.scene_bodies import VEHICLES, Station
from rfkit.data.scene_canvas import Canvas, Colour
from rfkit.data.scene_layout import Layout, Thing
from rfkit.data.scene_sketch import Frame, Point, Sketch

__all__ = ["paint_vehicle"]

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
        add(
            [(near, -half * 0.8, 0.16), (near, half * 0.8, 0.16), (near, half * 0.8, low), (near, -half * 0.8, low)],
            dark,
        )

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
            self.sketch.limb(
                [(s, half, belt - 0.1), (s + 0.16, half, belt - 0.1)], 0.03, self._lit(_scaled(paint, 0.5), normal)
            )

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
