"""Lamp posts, signs, traffic lights, bollards: thin things on posts."""

from __future__ import annotations

import numpy as np

from rfkit.data.scene_canvas import Canvas, Colour
from rfkit.data.scene_classes import Fine
from rfkit.data.scene_layout import Layout, Thing
from rfkit.data.scene_sketch import Sketch

__all__ = ["paint_post"]


def paint_post(canvas: Canvas, layout: Layout, thing: Thing, *, owner: int, shadow: float) -> None:
    """Paint a lamp post, a sign, a traffic light or a bollard."""
    light = layout.light
    bright = [float(a + 0.55 * s * (1 - shadow)) for a, s in zip(light.ambient, light.sun, strict=True)]

    def ink(colour: Colour) -> Colour:
        return tuple(c * b for c, b in zip(colour, bright, strict=True))

    sketch = Sketch(canvas.view, fine=Fine.POLE)
    _PAINTERS[thing.kind](sketch, layout, thing, ink)
    sketch.paint(canvas, depth=thing.z, owner=owner, shading=(0.25, -0.2, 0.0), grain=0.05)


def _lamp_post(sketch: Sketch, layout: Layout, thing: Thing, ink) -> None:
    x, z, tall = thing.x, thing.z, thing.height
    arm = -1.6 if x > 0 else 1.6
    colour = ink(thing.colour)
    sketch.limb([(x, 0.0, z), (x, 1.1, z)], 0.21, colour)
    sketch.limb([(x, 1.0, z), (x, tall * 0.95, z)], 0.13, colour)
    sketch.limb([(x, tall * 0.94, z), (x + arm * 0.3, tall * 0.985, z), (x + arm, tall, z)], 0.10, colour)
    sketch.limb([(x + arm * 0.8, tall, z), (x + arm * 1.25, tall, z)], 0.17, ink((0.5, 0.5, 0.5)) if layout.light.lamps < 0.3 else (1.8, 1.5, 1.0))


def _sign(sketch: Sketch, layout: Layout, thing: Thing, ink) -> None:
    x, z, tall = thing.x, thing.z, thing.height
    radius = 0.36
    middle = tall - radius
    sketch.limb([(x, 0.0, z), (x, tall - 0.1, z)], 0.085, ink((0.45, 0.46, 0.47)))
    red, white, blue, yellow = ink((0.72, 0.07, 0.07)), ink((0.92, 0.92, 0.90)), ink((0.07, 0.20, 0.60)), ink((0.88, 0.68, 0.08))

    def disc(share: float, colour: Colour) -> None:
        sketch.blob((x, middle, z), (radius * share, radius * share), colour, fine=Fine.SIGN)

    def plate(points: list[tuple[float, float]], colour: Colour) -> None:
        sketch.polygon([(x + p, middle + q, z) for p, q in points], colour, fine=Fine.SIGN)

    if thing.variant == 0:
        disc(1.0, red), disc(0.74, white)
        plate([(-0.10, -0.12), (-0.02, -0.12), (-0.02, 0.14), (-0.10, 0.14)], ink((0.05, 0.05, 0.05)))
        plate([(0.04, -0.12), (0.14, -0.12), (0.14, 0.14), (0.04, 0.14)], ink((0.05, 0.05, 0.05)))
    elif thing.variant == 1:
        plate([(-0.42, -0.32), (0.42, -0.32), (0.0, 0.40)], red)
        plate([(-0.26, -0.22), (0.26, -0.22), (0.0, 0.22)], white)
    elif thing.variant == 2:
        disc(1.0, white), disc(0.93, blue)
        plate([(-0.05, -0.2), (0.05, -0.2), (0.05, 0.05), (0.14, 0.05), (0.0, 0.22), (-0.14, 0.05), (-0.05, 0.05)], white)
    elif thing.variant == 3:
        disc(1.0, red)
        plate([(-0.24, -0.06), (0.24, -0.06), (0.24, 0.06), (-0.24, 0.06)], white)
    elif thing.variant == 4:
        plate([(-0.36, -0.36), (0.36, -0.36), (0.36, 0.36), (-0.36, 0.36)], blue)
        plate([(-0.12, -0.25), (-0.02, -0.25), (-0.02, 0.25), (-0.12, 0.25)], white)
        plate([(-0.05, 0.0), (0.16, 0.0), (0.16, 0.25), (-0.05, 0.25)], white)
    else:
        plate([(-0.75, -0.30), (0.75, -0.30), (0.75, 0.36), (-0.75, 0.36)], white)
        plate([(-0.71, -0.26), (0.71, -0.26), (0.71, 0.32), (-0.71, 0.32)], ink((0.05, 0.32, 0.20)) if thing.seed % 2 else yellow)
        for level in (-0.12, 0.12):
            plate([(-0.55, level - 0.04), (0.45, level - 0.04), (0.45, level + 0.05), (-0.55, level + 0.05)], white if thing.seed % 2 else ink((0.05, 0.05, 0.05)))
    if thing.seed % 3 == 0:
        plate([(-0.22, -0.66), (0.22, -0.66), (0.22, -0.42), (-0.22, -0.42)], white)


def _traffic_light(sketch: Sketch, layout: Layout, thing: Thing, ink) -> None:
    x, z, tall = thing.x, thing.z, thing.height
    sketch.limb([(x, 0.0, z), (x, tall - 0.2, z)], 0.12, ink((0.22, 0.23, 0.24)))
    low, high = tall - 1.05, tall

    def box(a: float, b: float, c: float, d: float, colour: Colour) -> None:
        sketch.polygon([(x + a, b, z), (x + c, b, z), (x + c, d, z), (x + a, d, z)], colour, fine=Fine.TRAFFIC_LIGHT)

    box(-0.26, low - 0.06, 0.26, high + 0.06, ink((0.80, 0.80, 0.78)) if thing.seed % 2 else ink((0.04, 0.04, 0.04)))
    box(-0.20, low, 0.20, high, ink((0.05, 0.05, 0.055)))
    glow = [(1.6, 0.15, 0.1), (1.5, 0.85, 0.1), (0.15, 1.5, 0.75)]
    for place, colour in enumerate(glow):
        dim = tuple(0.12 * c for c in colour)
        at = (x, high - 0.18 - 0.34 * place, z)
        sketch.blob(at, (0.125, 0.125), colour if thing.variant % 3 == place else dim, fine=Fine.TRAFFIC_LIGHT)


def _bollard(sketch: Sketch, layout: Layout, thing: Thing, ink) -> None:
    x, z, tall = thing.x, thing.z, thing.height
    sketch.limb([(x, 0.0, z), (x, tall, z)], 0.15, ink(thing.colour))
    sketch.limb([(x, tall * 0.72, z), (x, tall * 0.84, z)], 0.16, ink((0.85, 0.85, 0.82)))


_PAINTERS = {"lamp post": _lamp_post, "sign": _sign, "traffic light": _traffic_light, "bollard": _bollard}
