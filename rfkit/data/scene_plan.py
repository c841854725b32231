"""Drawing a whole scene: its weather, its street, and all that stands there."""

from __future__ import annotations

import math

import numpy as np

from rfkit.data.scene_draw import Draw
from rfkit.data.scene_layout import Crossing, Layout, Light, Lot, Street, Thing
from rfkit.data.scene_lots import draw_skyline
from rfkit.data.scene_side import draw_side
from rfkit.data.scene_traffic import draw_traffic, in_order

__all__ = ["draw_layout"]


def draw_layout(generator: np.random.Generator) -> Layout:
    """A scene drawn with `generator`; the draws do not depend on any size or number of classes."""
    draw = Draw(generator)
    light = _draw_light(draw)
    street = _draw_street(draw)
    lots: list[Lot] = []
    things: list[Thing] = []
    for side in (-1, 1):
        side_lots, side_things = draw_side(draw, street, side)
        lots += side_lots
        things += side_things
    lots += draw_skyline(draw)
    lots, things = in_order(lots, things + draw_traffic(draw, street))
    return Layout(
        eye=draw.number(1.25, 1.75),
        focal=draw.number(0.85, 1.1),
        horizon=draw.number(0.46, 0.60),
        vanishing=draw.number(0.30, 0.70),
        light=light,
        street=street,
        lots=tuple(lots),
        things=tuple(things),
        seed=draw.whole(0, 1 << 20),
    )


# How often each kind of light comes, how high its sun may stand (as the upward part of its direction), and the light.
_WEATHER: tuple[tuple[float, tuple[float, float], dict[str, Any]], ...] = (
    (
        0.30,
        (0.5, 0.9),
        {
            "name": "noon",
            "sky_top": (0.30, 0.50, 0.82),
            "sky_low": (0.78, 0.88, 0.96),
            "sun": (0.95, 0.90, 0.78),
            "ambient": (0.40, 0.45, 0.54),
            "cloud": 0.45,
            "cloud_colour": (1.0, 1.0, 1.0),
            "visibility": 420.0,
            "lamps": 0.0,
        },
    ),
    (
        0.28,
        (0.5, 0.9),
        {
            "name": "overcast",
            "sky_top": (0.80, 0.83, 0.87),
            "sky_low": (0.97, 0.97, 0.97),
            "sun": (0.12, 0.12, 0.12),
            "ambient": (0.72, 0.75, 0.78),
            "cloud": 0.8,
            "cloud_colour": (0.72, 0.75, 0.79),
            "visibility": 260.0,
            "lamps": 0.04,
        },
    ),
    (
        0.18,
        (0.22, 0.45),
        {
            "name": "evening",
            "sky_top": (0.40, 0.52, 0.74),
            "sky_low": (1.0, 0.84, 0.62),
            "sun": (1.05, 0.74, 0.42),
            "ambient": (0.36, 0.37, 0.46),
            "cloud": 0.5,
            "cloud_colour": (1.0, 0.80, 0.66),
            "visibility": 240.0,
            "lamps": 0.10,
        },
    ),
    (
        0.14,
        (0.5, 0.9),
        {
            "name": "dull",
            "sky_top": (0.38, 0.43, 0.50),
            "sky_low": (0.74, 0.77, 0.80),
            "sun": (0.05, 0.05, 0.05),
            "ambient": (0.42, 0.45, 0.50),
            "cloud": 0.9,
            "cloud_colour": (0.62, 0.66, 0.71),
            "visibility": 200.0,
            "lamps": 0.22,
        },
    ),
    (
        0.10,
        (0.5, 0.9),
        {
            "name": "dusk",
            "sky_top": (0.16, 0.21, 0.36),
            "sky_low": (0.80, 0.58, 0.50),
            "sun": (0.03, 0.03, 0.04),
            "ambient": (0.27, 0.28, 0.37),
            "cloud": 0.5,
            "cloud_colour": (0.52, 0.40, 0.46),
            "visibility": 220.0,
            "lamps": 0.45,
        },
    ),
)


def _draw_light(draw: Draw) -> Light:
    """Weather, and a sun somewhere beside the street."""
    chosen, options = draw.number(0, 1), _WEATHER[0]
    for options in _WEATHER:
        chosen -= options[0]
        if chosen < 0:
            break
    _, heights, weather = options
    side, height, along = draw.number(0.35, 0.85) * draw.sign(), draw.number(*heights), draw.number(-0.8, 0.35)
    length = math.sqrt(side * side + height * height + along * along)
    direction = (side / length, height / length, along / length)
    return Light(direction=direction, exposure=draw.number(0.95, 1.45), blur=draw.number(0.02, 0.10), **weather)


def _draw_street(draw: Draw) -> Street:
    """Lanes, parking strips and pavements around the camera, which is at x = 0 in the middle of its own lane."""
    lane = draw.number(2.7, 3.2)
    own, other = draw.pick([(1, 1), (1, 1), (1, 1), (2, 1), (2, 2)])
    parking = [draw.number(1.9, 2.2) if draw.chance(0.45) else 0.25 for _ in range(2)]
    verge = [draw.number(0.8, 1.6) if draw.chance(0.25) else 0.0 for _ in range(2)]
    # Traffic keeps to the left, as in CamVid, or to the right.
    left_hand = draw.chance(0.5)
    outer = -(own - 0.5) * lane - parking[0]
    inner = 0.5 * lane + other * lane + parking[1]
    kerbs = (outer, inner) if left_hand else (-inner, -outer)
    centre = 0.5 * lane if left_hand else -0.5 * lane
    forward = [-i * lane for i in range(own)]
    backward = [(1 + i) * lane for i in range(other)]
    lanes = forward + backward if left_hand else [-x for x in forward + backward]
    tint = draw.tint((0.56, 0.55, 0.53), 0.06)
    return Street(
        kerbs=kerbs,
        lines=(kerbs[0] - draw.number(2.0, 5.0), kerbs[1] + draw.number(2.0, 5.0)),
        lanes=tuple(lanes),
        centre=centre,
        edge_lines=draw.whole(0, 3),
        verge=(verge[0], verge[1]),
        asphalt=draw.number(0.24, 0.42),
        slab=draw.number(0.45, 1.0),
        slab_tint=tint,
        crossings=_draw_crossings(draw),
    )


def _draw_crossings(draw: Draw) -> tuple[Crossing, ...]:
    """Perhaps a zebra crossing, and perhaps a side street beyond it."""
    crossings = []
    at = draw.number(9, 40)
    if draw.chance(0.3):
        crossings.append(Crossing(at, at + draw.number(2.5, 4), True))
        at += 12
    if draw.chance(0.55):
        start = at + draw.number(4, 30)
        crossings.append(Crossing(start, start + draw.number(6, 9), False))
    return tuple(crossings)
