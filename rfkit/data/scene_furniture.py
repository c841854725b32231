"""Lamp posts, signs, traffic lights, bollards: thin things on posts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from rfkit.data.scene_canvas import Canvas, Colour
from rfkit.data.scene_classes import Fine
from rfkit.data.scene_layout import Layout, Thing
from rfkit.data.scene_sketch import Frame, Sketch

__all__ = ["paint_post"]

Ink = Callable[[Colour], Colour]

_BLACK: Colour = (0.05, 0.05, 0.05)
_WHITE: Colour = (0.92, 0.92, 0.90)
_RED: Colour = (0.72, 0.07, 0.07)
_BLUE: Colour = (0.07, 0.20, 0.60)
_YELLOW: Colour = (0.88, 0.68, 0.08)
_GREEN: Colour = (0.05, 0.32, 0.20)

# What is painted on a sign: a colour, and a disc (its radius) or a polygon (across, up) around the middle, in metres.
_FACES: tuple[tuple[tuple[Colour, float | tuple[tuple[float, float], ...]], ...], ...] = (
    (
        (_RED, 0.36), (_WHITE, 0.27), (_BLACK, ((-0.10, -0.12), (-0.02, -0.12), (-0.02, 0.14), (-0.10, 0.14))),
        (_BLACK, ((0.04, -0.12), (0.14, -0.12), (0.14, 0.14), (0.04, 0.14))),
    ),
    ((_RED, ((-0.42, -0.32), (0.42, -0.32), (0.0, 0.40))), (_WHITE, ((-0.26, -0.22), (0.26, -0.22), (0.0, 0.22)))),
    (
        (_WHITE, 0.36), (_BLUE, 0.335),
        (_WHITE, ((-0.05, -0.2), (0.05, -0.2), (0.05, 0.05), (0.14, 0.05), (0.0, 0.22), (-0.14, 0.05), (-0.05, 0.05))),
    ),
    ((_RED, 0.36), (_WHITE, ((-0.24, -0.06), (0.24, -0.06), (0.24, 0.06), (-0.24, 0.06)))),
    (
        (_BLUE, ((-0.36, -0.36), (0.36, -0.36), (0.36, 0.36), (-0.36, 0.36))),
        (_WHITE, ((-0.12, -0.25), (-0.02, -0.25), (-0.02, 0.25), (-0.12, 0.25))),
        (_WHITE, ((-0.05, 0.0), (0.16, 0.0), (0.16, 0.25), (-0.05, 0.25))),
    ),
    (
        (_WHITE, ((-0.75, -0.30), (0.75, -0.30), (0.75, 0.36), (-0.75, 0.36))),
        (_GREEN, ((-0.71, -0.26), (0.71, -0.26), (0.71, 0.32), (-0.71, 0.32))),
        (_WHITE, ((-0.55, 0.08), (0.45, 0.08), (0.45, 0.17), (-0.55, 0.17))),
        (_WHITE, ((-0.55, -0.16), (0.25, -0.16), (0.25, -0.07), (-0.55, -0.07))),
    ),
    (
        (_BLACK, ((-0.62, -0.26), (0.62, -0.26), (0.62, 0.34), (-0.62, 0.34))),
        (_YELLOW, ((-0.58, -0.22), (0.58, -0.22), (0.58, 0.30), (-0.58, 0.30))),
        (_BLACK, ((-0.45, 0.0), (0.35, 0.0), (0.35, 0.09), (-0.45, 0.09))),
    ),
)  # fmt: skip
_LAMPS: tuple[Colour, ...] = ((1.6, 0.15, 0.1), (1.5, 0.85, 0.1), (0.15, 1.5, 0.75))


def paint_post(canvas: Canvas, layout: Layout, thing: Thing, *, owner: int, shadow: float) -> None:
    """Paint a lamp post, a sign, a traffic light or a bollard."""
    sketch = Sketch(canvas.view, Frame(thing.x, thing.z), fine=Fine.POLE)
    _PAINTERS[thing.kind](sketch, thing, partial(_lit, layout, shadow), layout.light.lamps)
    sketch.paint(canvas, owner=owner, shading=(0.25, -0.2, 0.0), grain=0.05)


def _lit(layout: Layout, shadow: float, colour: Colour) -> Colour:
    ambient, sun = layout.light.ambient, layout.light.sun
    red, green, blue = (colour[k] * (ambient[k] + 0.55 * sun[k] * (1 - shadow)) for k in range(3))
    return red, green, blue


def _post(sketch: Sketch, width: float, low: float, high: float, colour: Colour) -> None:
    sketch.limb([(0.0, 0.0, low), (0.0, 0.0, high)], width, colour)


def _lamp_post(sketch: Sketch, thing: Thing, ink: Ink, lamps: float) -> None:
    tall = thing.height
    # The arm reaches over the road.
    arm = -1.6 if thing.x > 0 else 1.6
    colour = ink(thing.colour)
    _post(sketch, 0.21, 0.0, 1.1, colour)
    _post(sketch, 0.13, 1.0, tall * 0.95, colour)
    sketch.limb([(0.0, 0.0, tall * 0.94), (0.0, arm * 0.3, tall * 0.985), (0.0, arm, tall)], 0.10, colour)
    head = (1.8, 1.5, 1.0) if lamps > 0.3 else ink((0.5, 0.5, 0.5))
    sketch.limb([(0.0, arm * 0.8, tall), (0.0, arm * 1.25, tall)], 0.17, head)


def _sign(sketch: Sketch, thing: Thing, ink: Ink, lamps: float) -> None:
    _post(sketch, 0.085, 0.0, thing.height - 0.1, ink((0.45, 0.46, 0.47)))
    middle = thing.height - 0.36
    for colour, outline in _FACES[thing.variant]:
        if isinstance(outline, float):
            sketch.blob((0.0, 0.0, middle), (outline, outline), ink(colour), fine=Fine.SIGN)
        else:
            sketch.polygon([(0.0, t, middle + y) for t, y in outline], ink(colour), fine=Fine.SIGN)
    if thing.seed % 3 == 0:
        below = [(0.0, t, middle + y) for t, y in ((-0.22, -0.66), (0.22, -0.66), (0.22, -0.42), (-0.22, -0.42))]
        sketch.polygon(below, ink(_WHITE), fine=Fine.SIGN)


def _traffic_light(sketch: Sketch, thing: Thing, ink: Ink, lamps: float) -> None:
    tall = thing.height
    _post(sketch, 0.12, 0.0, tall - 0.2, ink((0.22, 0.23, 0.24)))
    board = ink((0.80, 0.80, 0.78)) if thing.seed % 2 else ink((0.04, 0.04, 0.04))
    for half, edge, colour in ((0.26, 0.06, board), (0.20, 0.0, ink(_BLACK))):
        low, high = tall - 1.05 - edge, tall + edge
        box = [(0.0, -half, low), (0.0, half, low), (0.0, half, high), (0.0, -half, high)]
        sketch.polygon(box, colour, fine=Fine.TRAFFIC_LIGHT)
    for place, colour in enumerate(_LAMPS):
        glow = colour if thing.variant % 3 == place else (0.12 * colour[0], 0.12 * colour[1], 0.12 * colour[2])
        sketch.blob((0.0, 0.0, tall - 0.18 - 0.34 * place), (0.125, 0.125), glow, fine=Fine.TRAFFIC_LIGHT)


def _bollard(sketch: Sketch, thing: Thing, ink: Ink, lamps: float) -> None:
    _post(sketch, 0.15, 0.0, thing.height, ink(thing.colour))
    _post(sketch, 0.16, thing.height * 0.72, thing.height * 0.84, ink((0.85, 0.85, 0.82)))


_PAINTERS = {"lamp post": _lamp_post, "sign": _sign, "traffic light": _traffic_light, "bollard": _bollard}
