"""What moves or parks: people, vehicles, bicycles; and who hides whom where they stand side by side."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

from rfkit.data.scene_canvas import Colour
from rfkit.data.scene_classes import Fine
from rfkit.data.scene_draw import Draw
from rfkit.data.scene_layout import Lot, Street, Thing

__all__ = ["draw_person", "draw_traffic", "in_order"]

_CLOTHES: tuple[Colour, ...] = (
    (0.08, 0.08, 0.10), (0.12, 0.14, 0.25), (0.35, 0.33, 0.30), (0.55, 0.10, 0.10), (0.15, 0.30, 0.20),
    (0.75, 0.73, 0.68), (0.45, 0.30, 0.18), (0.20, 0.35, 0.60), (0.75, 0.55, 0.15), (0.50, 0.20, 0.40),
)  # fmt: skip
_PAINTS: tuple[Colour, ...] = (
    (0.62, 0.63, 0.65), (0.40, 0.41, 0.43), (0.06, 0.06, 0.07), (0.85, 0.85, 0.84), (0.45, 0.05, 0.06),
    (0.08, 0.14, 0.36), (0.10, 0.24, 0.18), (0.16, 0.17, 0.19), (0.55, 0.50, 0.42), (0.20, 0.35, 0.55),
    (0.70, 0.12, 0.08), (0.80, 0.66, 0.12),
)  # fmt: skip
_CAR_KINDS = ("hatchback", "hatchback", "saloon", "estate", "off-roader", "minivan", "van")
_CAR_HEIGHTS = {"hatchback": 1.47, "saloon": 1.44, "estate": 1.48, "off-roader": 1.78, "minivan": 1.68, "van": 2.2}
_LARGE = {"truck": (Fine.TRUCK, 3.3, 4.0), "bus": (Fine.BUS, 3.05, 5.6), "tram": (Fine.TRAIN, 3.4, 8.7)}
_VEHICLES = (Fine.CAR, Fine.TRUCK, Fine.BUS, Fine.TRAIN)


def draw_person(draw: Draw, x: float, z: float) -> Thing:
    """Somebody at (x, z), now and then a child, going somewhere."""
    tall = draw.number(1.0, 1.4) if draw.chance(0.08) else draw.number(1.55, 1.9)
    heading = draw.pick([0.0, math.pi, 0.5, 2.6, -0.5, math.pi / 2, -math.pi / 2]) + draw.number(-0.2, 0.2)
    trousers = draw.pick([(0.10, 0.12, 0.20), (0.07, 0.07, 0.08), (0.30, 0.27, 0.22), (0.18, 0.24, 0.38)])
    return Thing(
        "pedestrian", Fine.PEDESTRIAN, x, z, tall, heading=heading, colour=draw.tint(draw.pick(_CLOTHES), 0.04),
        accent=draw.tint(trousers, 0.03), variant=draw.whole(0, 4), phase=draw.number(0, 6.28), seed=draw.whole(0, 600),
    )  # fmt: skip


def _draw_car(draw: Draw, x: float, z: float, heading: float) -> Thing:
    kind = draw.pick(_CAR_KINDS)
    tall = _CAR_HEIGHTS[kind] * draw.number(0.96, 1.04)
    return Thing(
        kind,
        Fine.CAR,
        x,
        z,
        tall,
        heading=heading,
        colour=draw.tint(draw.pick(_PAINTS), 0.04),
        variant=draw.whole(0, 2),
        seed=draw.whole(0, 600),
    )


def _draw_large(draw: Draw, x: float, z: float, heading: float) -> Thing:
    kind = draw.pick(["truck", "truck", "bus", "bus", "tram"])
    fine, tall, _ = _LARGE[kind]
    colour = draw.pick(
        [(0.68, 0.10, 0.09), (0.12, 0.30, 0.52), (0.82, 0.80, 0.74), (0.15, 0.42, 0.28), (0.85, 0.65, 0.12)]
    )
    load = draw.pick([(0.85, 0.85, 0.83), (0.75, 0.72, 0.62), (0.35, 0.42, 0.55)])
    return Thing(
        kind,
        fine,
        x,
        z,
        tall * draw.number(0.97, 1.03),
        heading=heading,
        colour=draw.tint(colour, 0.04),
        accent=draw.tint(load, 0.04),
        variant=draw.whole(0, 2),
        seed=draw.whole(0, 600),
    )


def draw_traffic(draw: Draw, street: Street) -> list[Thing]:
    """Vehicles in the lanes, at the kerbs and in the side street; bicycles; people who cross."""
    things: list[Thing] = []
    busy = draw.pick([0.35, 0.7, 1.0])
    for lane in street.lanes:
        things += _draw_lane(draw, street, lane, busy)
    things += _draw_parked(draw, street)
    things += _draw_riders(draw, street)
    for crossing in street.crossings:
        middle = (crossing.start + crossing.stop) / 2
        if not crossing.zebra and draw.chance(0.6):
            heading = draw.sign() * math.pi / 2
            things.append(_draw_car(draw, draw.number(-9, 9), middle + draw.number(-1, 1), heading))
        if draw.chance(0.55):
            for _ in range(draw.whole(1, 4)):
                person = draw_person(draw, draw.number(*street.kerbs), crossing.start + draw.number(0, 1.5))
                things.append(replace(person, heading=math.pi / 2 * draw.sign()))
    return _apart(things)


def _oncoming(street: Street, lane: float) -> bool:
    """Whether the traffic of a lane comes towards us: it is beyond the centre line."""
    return (lane - street.centre) * street.centre > 0


def _draw_lane(draw: Draw, street: Street, lane: float, busy: float) -> list[Thing]:
    things = []
    heading = math.pi if _oncoming(street, lane) else 0.0
    z = draw.number(7, 45) if lane == 0 else draw.number(5, 40)
    while z < 130:
        if draw.chance(busy):
            large = draw.chance(0.10)
            build, room = (_draw_large, 6.0) if large else (_draw_car, 0.0)
            x, turn = lane + draw.number(-0.25, 0.25), draw.number(-0.02, 0.02)
            things.append(build(draw, x, z + room, heading + turn))
            z += 2 * room
        z += draw.number(7, 32) + z / 12
    return things


def _draw_parked(draw: Draw, street: Street) -> list[Thing]:
    things = []
    for side, kerb in zip((-1, 1), street.kerbs, strict=True):
        outermost = max(street.lanes, key=lambda lane: lane * side)
        if abs(kerb - outermost) < 2.8:
            continue
        z = draw.number(4.5, 14)
        share = draw.pick([0.4, 0.75, 0.95])
        while z < 95:
            blocked = any(c.start - 4 < z < c.stop + 4 for c in street.crossings)
            if draw.chance(share) and not blocked:
                heading = (0.0 if draw.chance(0.7) else math.pi) + draw.number(-0.03, 0.03)
                things.append(_draw_car(draw, kerb - side * draw.number(1.0, 1.2), z, heading))
            z += draw.number(5.4, 6.8)
    return things


def _draw_riders(draw: Draw, street: Street) -> list[Thing]:
    things = []
    for _ in range(draw.pick([0, 1, 1, 2, 3, 4])):
        z = draw.near(4.5, 45)
        motor = draw.chance(0.2)
        lane = draw.pick(street.lanes)
        x = lane + (1.2 if lane > 0 else -1.2) + draw.number(-0.2, 0.2)
        heading = (math.pi if _oncoming(street, lane) else 0.0) + draw.number(-0.15, 0.15)
        if draw.chance(0.25):
            heading = math.pi / 2 * draw.sign() + draw.number(-0.3, 0.3)
            x = draw.number(*street.kerbs)
        tall = draw.number(1.68, 1.88)
        machine = Fine.MOTORCYCLE if motor else Fine.BICYCLIST
        things.append(
            Thing(
                "motorcycle" if motor else "bicyclist",
                machine,
                x,
                z,
                tall,
                heading=heading,
                colour=draw.tint(draw.pick(_CLOTHES), 0.04),
                accent=draw.tint(draw.pick(_PAINTS), 0.03),
                phase=draw.number(0, 6.28),
                seed=draw.whole(0, 600),
                parts=((machine, 0.0, 0.6 * tall), (Fine.RIDER, 0.08 * tall, tall)),
            )
        )
    return things


def _apart(things: list[Thing]) -> list[Thing]:
    """Leave out what would stand inside something drawn earlier."""
    kept: list[Thing] = []
    for thing in things:
        long, wide = _room(thing)
        if all(
            abs(thing.z - other.z) > (long + _room(other)[0]) or abs(thing.x - other.x) > (wide + _room(other)[1])
            for other in kept
        ):
            kept.append(thing)
    return kept


def _room(thing: Thing) -> tuple[float, float]:
    """Half the length and half the width on the ground that a thing needs."""
    if thing.kind in _LARGE:
        long, wide = _LARGE[thing.kind][2], 1.35
    elif thing.fine == Fine.CAR:
        long, wide = 2.5, 1.0
    elif thing.fine == Fine.PEDESTRIAN:
        return 0.25, 0.25
    else:
        long, wide = 1.0, 0.35
    return (wide, long) if abs(math.sin(thing.heading)) > 0.7 else (long, wide)


def in_order(lots: list[Lot], things: list[Thing]) -> tuple[list[Lot], list[Thing]]:
    """Set the painting order where the depth alone is wrong: beside a vehicle.

    Of two things side by side, the one farther from the line of sight can be hidden by the other, never the other way
    round; so it is painted first, even if its middle is nearer. From the inside out, each finds its neighbours settled.
    """
    vehicles: list[_Vehicle] = []
    ordered: list[Thing] = []
    for thing in sorted(things, key=lambda thing: abs(thing.x)):
        order = thing.z if thing.order is None else thing.order
        long, wide = _room(thing)
        for other in vehicles:
            # Rooms are a little larger than things, so that neighbours may seem to overlap.
            outside = abs(thing.x) - wide > abs(other.x) + other.wide - 0.6
            if outside and thing.x * other.x > 0 and abs(thing.z - other.z) < long + other.long:
                order = max(order, other.order + 0.01)
        ordered.append(replace(thing, order=order))
        if thing.fine in _VEHICLES and thing.z < 60:
            vehicles.append(_Vehicle(thing.x, thing.z, long, wide, order))
    return [replace(lot, order=_lot_order(lot, vehicles)) for lot in lots], ordered


class _Vehicle(NamedTuple):
    """Where a vehicle stands, half its length and width, and when it is painted."""

    x: float
    z: float
    long: float
    wide: float
    order: float


def _lot_order(lot: Lot, vehicles: list[_Vehicle]) -> float:
    order = lot.stop
    for other in vehicles:
        # Only a railing at the kerb is near enough to a vehicle to matter.
        close = 0 < abs(lot.x) - abs(other.x) < 2 and lot.x * other.x > 0
        if close and abs(lot.stop - other.z) < other.long:
            order = max(order, other.order + 0.005)
    return order
