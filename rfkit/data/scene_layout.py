"""What stands where in a procedural street: drawn once per scene, in metres, whatever the size of the picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from rfkit.data.scene_canvas import Colour, View
from rfkit.data.scene_classes import Fine

__all__ = ["Crossing", "Layout", "Light", "Lot", "Street", "Thing", "draw_layout"]

FAR = 170.0
"""Where the street ends, in metres."""


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
    """A building, wall or hedge along the street: an upright plane at x between two depths, and its near end."""

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
        """Height of the buildings on the side of the sun, by the quarter metre from z = -40: what casts the long shadows."""
        side = 1 if self.light.direction[0] > 0 else -1
        heights = np.full(1200, -50, dtype=np.float32)
        for lot in self.lots:
            if lot.kind in ("building", "wall", "hedge") and (lot.x > 0) == (side > 0):
                part = heights[max(0, int(4 * lot.start) + 160) : max(0, int(4 * lot.stop) + 160)]
                np.maximum(part, np.float32(lot.height + 0.7 * lot.roof_height), out=part)
        return heights

    def view(self, size: tuple[int, int]) -> View:
        """The camera for pictures of `size`; the angle of view follows the area, so that wide pictures see more."""
        height, width = size
        scale = float(np.sqrt(height * width * 4 / 3))
        return View(height, width, self.focal * scale, self.horizon * height, self.vanishing * width, self.eye)


class _Draw:
    """Short names for the draws that the layout is made of."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.generator = generator

    def number(self, low: float | int, high: float | int) -> float:
        return low + (high - low) * float(self.generator.random())

    def chance(self, probability: float) -> bool:
        return float(self.generator.random()) < probability

    def whole(self, low: int, high: int) -> int:
        return low + int(float(self.generator.random()) * (high - low))

    def pick(self, options):
        return options[self.whole(0, len(options))]

    def tint(self, colour: Colour, spread: float) -> Colour:
        shift = self.number(-spread, spread)
        return tuple(min(max(c + shift + self.number(-spread, spread) * 0.4, 0.02), 0.98) for c in colour)


def draw_layout(generator: np.random.Generator) -> Layout:
    """A scene drawn with `generator`; the draws do not depend on any size or number of classes."""
    draw = _Draw(generator)
    light = _draw_light(draw)
    street = _draw_street(draw)
    lots: list[Lot] = []
    things: list[Thing] = []
    for side in (-1, 1):
        side_lots, side_things = _draw_side(draw, street, side)
        lots += side_lots
        things += side_things
    lots += _draw_skyline(draw, street)
    things = _in_order(things + _draw_traffic(draw, street))
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


_WEATHER: tuple[tuple[str, float, dict], ...] = (
    ("noon", 0.30, dict(sky_top=(0.30, 0.50, 0.82), sky_low=(0.78, 0.88, 0.96), sun=(0.95, 0.90, 0.78), ambient=(0.40, 0.45, 0.54), cloud=0.45, cloud_colour=(1.0, 1.0, 1.0), visibility=420.0, lamps=0.0)),
    ("overcast", 0.28, dict(sky_top=(0.80, 0.83, 0.87), sky_low=(0.97, 0.97, 0.97), sun=(0.12, 0.12, 0.12), ambient=(0.72, 0.75, 0.78), cloud=0.8, cloud_colour=(0.72, 0.75, 0.79), visibility=260.0, lamps=0.04)),
    ("evening", 0.18, dict(sky_top=(0.40, 0.52, 0.74), sky_low=(1.0, 0.84, 0.62), sun=(1.05, 0.74, 0.42), ambient=(0.36, 0.37, 0.46), cloud=0.5, cloud_colour=(1.0, 0.80, 0.66), visibility=240.0, lamps=0.10)),
    ("dull", 0.14, dict(sky_top=(0.38, 0.43, 0.50), sky_low=(0.74, 0.77, 0.80), sun=(0.05, 0.05, 0.05), ambient=(0.42, 0.45, 0.50), cloud=0.9, cloud_colour=(0.62, 0.66, 0.71), visibility=200.0, lamps=0.22)),
    ("dusk", 0.10, dict(sky_top=(0.16, 0.21, 0.36), sky_low=(0.80, 0.58, 0.50), sun=(0.03, 0.03, 0.04), ambient=(0.27, 0.28, 0.37), cloud=0.5, cloud_colour=(0.52, 0.40, 0.46), visibility=220.0, lamps=0.45)),
)  # fmt: skip


def _draw_light(draw: _Draw) -> Light:
    chosen, name, options = draw.number(0, 1), "", {}
    for name, share, options in _WEATHER:
        chosen -= share
        if chosen < 0:
            break
    side = draw.number(0.35, 0.85) * (1 if draw.chance(0.5) else -1)
    height = draw.number(0.22, 0.45) if name == "evening" else draw.number(0.5, 0.9)
    along = draw.number(-0.8, 0.35)
    length = float(np.sqrt(side * side + height * height + along * along))
    return Light(
        name=name,
        direction=(side / length, height / length, along / length),
        exposure=draw.number(0.95, 1.45),
        blur=draw.number(0.02, 0.10),
        **options,
    )


def _draw_street(draw: _Draw) -> Street:
    lane = draw.number(2.7, 3.2)
    own, other = draw.pick([(1, 1), (1, 1), (1, 1), (2, 1), (2, 2)])
    parking = tuple(draw.number(1.9, 2.2) if draw.chance(0.45) else 0.25 for _ in range(2))
    # Traffic keeps to the left, as in CamVid, or to the right; the camera is in the middle of its own lane.
    left_hand = draw.chance(0.5)
    outer = -(own - 0.5) * lane - parking[0]
    inner = 0.5 * lane + other * lane + parking[1]
    kerbs = (outer, inner) if left_hand else (-inner, -outer)
    centre = 0.5 * lane if left_hand else -0.5 * lane
    forward = [-i * lane for i in range(own)]
    backward = [(1 + i) * lane for i in range(other)]
    lanes = forward + backward if left_hand else [-x for x in forward + backward]
    crossings = []
    at = draw.number(9, 40)
    if draw.chance(0.3):
        crossings.append(Crossing(at, at + draw.number(2.5, 4), True))
        at += 12
    if draw.chance(0.55):
        start = at + draw.number(4, 30)
        crossings.append(Crossing(start, start + draw.number(6, 9), False))
    tint = draw.tint((0.56, 0.55, 0.53), 0.06)
    return Street(
        kerbs=kerbs,
        lines=(kerbs[0] - draw.number(2.0, 5.0), kerbs[1] + draw.number(2.0, 5.0)),
        lanes=tuple(lanes),
        centre=centre,
        edge_lines=draw.whole(0, 3),
        verge=(draw.number(0.8, 1.6) if draw.chance(0.25) else 0.0, draw.number(0.8, 1.6) if draw.chance(0.25) else 0.0),
        asphalt=draw.number(0.24, 0.42),
        slab=draw.number(0.45, 1.0),
        slab_tint=tint,
        crossings=tuple(crossings),
    )


_FACADES: tuple[tuple[Colour, float], ...] = (
    ((0.56, 0.33, 0.25), 1.0), ((0.47, 0.28, 0.22), 1.0), ((0.66, 0.55, 0.40), 1.0), ((0.72, 0.62, 0.45), 1.0),
    ((0.84, 0.81, 0.73), 0.0), ((0.76, 0.72, 0.66), 0.0), ((0.87, 0.84, 0.80), 0.0), ((0.82, 0.72, 0.56), 0.0),
    ((0.62, 0.64, 0.66), 0.2), ((0.50, 0.51, 0.53), 0.2), ((0.73, 0.60, 0.52), 0.3), ((0.62, 0.66, 0.66), 0.0),
)  # fmt: skip
_SHOPS: tuple[Colour, ...] = (
    (0.62, 0.10, 0.10), (0.10, 0.22, 0.48), (0.08, 0.33, 0.20), (0.12, 0.12, 0.13), (0.80, 0.62, 0.12),
    (0.85, 0.85, 0.82), (0.45, 0.12, 0.35), (0.10, 0.42, 0.50),
)  # fmt: skip


def _draw_building(draw: _Draw, x: float, start: float, stop: float, character: str) -> Lot:
    colour, brick = draw.pick(_FACADES)
    house = character == "houses"
    storey = draw.number(2.7, 3.1) if house else draw.number(3.0, 3.8)
    storeys = draw.whole(2, 4) if house else draw.whole(3, 7)
    shop = draw.pick(_SHOPS) if draw.chance(0.1 if house else 0.5) else None
    ground = 0.4 if shop is None and house else draw.number(3.1, 3.9)
    bay = draw.number(1.9, 3.4)
    wide = draw.number(0.38, 0.62) * bay
    tall = draw.number(0.48, 0.66) * storey
    if draw.chance(0.12) and not house:
        wide, tall, brick = bay * 0.9, storey * 0.8, 0.0
        colour = draw.pick([(0.45, 0.48, 0.52), (0.70, 0.71, 0.72), (0.30, 0.32, 0.35)])
    pitched = house or draw.chance(0.35)
    return Lot(
        kind="building",
        x=x,
        start=start,
        stop=stop,
        height=ground + storeys * storey + draw.number(0.3, 0.9) - (storey if ground > 1 else 0),
        depth=draw.number(8, 13),
        colour=draw.tint(colour, 0.07),
        trim=draw.tint((0.86, 0.85, 0.82), 0.08) if draw.chance(0.7) else draw.tint((0.35, 0.33, 0.32), 0.08),
        roof=draw.tint(draw.pick([(0.34, 0.22, 0.18), (0.27, 0.27, 0.29), (0.45, 0.26, 0.18)]), 0.04),
        roof_height=draw.number(1.8, 3.4) if pitched else 0.0,
        storey=storey,
        ground_floor=ground,
        bay=bay,
        window=(wide, tall),
        shop=shop,
        brick=brick,
        seed=draw.whole(0, 1 << 20),
    )


def _draw_barrier(draw: _Draw, kind: str, x: float, start: float, stop: float) -> Lot:
    colour = draw.pick([(0.56, 0.36, 0.28), (0.62, 0.58, 0.52), (0.75, 0.72, 0.66), (0.50, 0.33, 0.27)])
    if kind == "hedge":
        colour = draw.pick([(0.20, 0.30, 0.12), (0.25, 0.33, 0.15)])
    if kind == "railing":
        colour = draw.pick([(0.10, 0.11, 0.11), (0.12, 0.22, 0.16), (0.55, 0.57, 0.58), (0.80, 0.80, 0.78)])
    if kind == "palisade":
        colour = draw.pick([(0.45, 0.30, 0.18), (0.55, 0.42, 0.28), (0.82, 0.80, 0.76), (0.30, 0.22, 0.16)])
    return Lot(
        kind=kind,
        x=x,
        start=start,
        stop=stop,
        height=draw.number(1.0, 2.4) if kind == "wall" else draw.number(0.8, 1.8),
        depth=0.3 if kind == "wall" else 1.0,
        colour=draw.tint(colour, 0.05),
        trim=(0.7, 0.68, 0.64),
        roof=(0.3, 0.3, 0.3),
        roof_height=0.0,
        storey=3.0,
        ground_floor=9.0,
        bay=2.0,
        window=(0.0, 0.0),
        shop=None,
        brick=0.9 if kind == "wall" else 0.0,
        seed=draw.whole(0, 1 << 20),
    )


def _draw_skyline(draw: _Draw, street: Street) -> list[Lot]:
    """Houses that close the view where the street ends."""
    lots = []
    x = -90.0
    while x < 90:
        wide = draw.number(12, 34)
        lot = _draw_building(draw, x, FAR + draw.number(5, 60), 0.0, "houses" if draw.chance(0.6) else "town")
        lots.append(replace(lot, kind="front", stop=lot.start + 1, depth=wide))
        x += wide * draw.number(0.7, 1.3)
    return lots


def _draw_side(draw: _Draw, street: Street, side: int) -> tuple[list[Lot], list[Thing]]:
    """Lots along one side of the street, with the trees, posts, fences and people that go with them."""
    return _Side(draw, street, side).build()


class _Side:
    """One side of the street: lots first, then what stands on the pavement and at the kerb."""

    def __init__(self, draw: _Draw, street: Street, side: int) -> None:
        self.draw, self.street, self.side = draw, street, side
        self.kerb = street.kerbs[0 if side < 0 else 1]
        self.line = street.lines[0 if side < 0 else 1]
        self.pavement = abs(self.line - self.kerb)
        self.lots: list[Lot] = []
        self.things: list[Thing] = []
        self.bare = draw.chance(0.3)

    def build(self) -> tuple[list[Lot], list[Thing]]:
        draw = self.draw
        character = draw.pick(["town", "town", "houses", "houses", "park"])
        z = draw.number(-6, 2)
        while z < FAR:
            length = draw.number(9, 24) if character == "town" else draw.number(8, 20)
            # Far lots are longer: nobody sees where one ends.
            z, stop = self._next_lot(z, length * (1 + max(z, 0.0) / 120))
            if stop - z > 2:
                self._lot(character, z, stop)
            z = stop + (0.0 if draw.chance(0.7 if character == "town" else 0.4) else draw.number(1, 5))
            if draw.chance(0.08):
                character = draw.pick(["town", "houses", "park"])
        self._row_of_trees()
        self._posts()
        self._railing()
        self._people()
        return self.lots, self.things

    def _next_lot(self, start: float, length: float) -> tuple[float, float]:
        """Room for a lot that keeps out of side streets."""
        stop = start + length
        for crossing in self.street.crossings:
            if crossing.zebra:
                continue
            if crossing.start - 1.5 < start < crossing.stop + 1:
                start, stop = crossing.stop + 1.5, crossing.stop + 1.5 + length
            elif start < crossing.start < stop:
                stop = crossing.start - 1
        return start, stop

    def _lot(self, character: str, start: float, stop: float) -> None:
        draw, side = self.draw, self.side
        if character == "park" or draw.chance(0.06):
            kind = draw.pick(["wall", "hedge", "railing", "railing", "palisade"])
            self.lots.append(_draw_barrier(draw, kind, self.line, start, stop))
            for _ in range(draw.whole(1, 3)):
                x = self.line + side * draw.number(2, 12)
                self._tree(x, draw.number(start, stop), draw.number(5, 13), order=stop + 0.01)
            if draw.chance(0.5):
                far = self.line + side * draw.number(16, 26)
                self.lots.append(_draw_building(draw, far, start, stop + 0.02, "houses"))
            return
        setback = draw.number(2.5, 6) if character == "houses" else draw.number(0, 0.6)
        self.lots.append(_draw_building(draw, self.line + side * setback, start, stop, character))
        if setback > 2 and draw.chance(0.75):
            kind = draw.pick(["wall", "hedge", "palisade", "palisade", "railing"])
            barrier = _draw_barrier(draw, kind, self.line, start, stop - draw.number(0.5, 2))
            self.lots.append(replace(barrier, height=min(barrier.height, draw.number(0.8, 1.3))))
            if draw.chance(0.5):
                self._tree(self.line + side * setback * 0.5, draw.number(start + 1, stop), draw.number(2.5, 5), order=stop + 0.01)
            for _ in range(draw.whole(0, 3)):
                x, z = self.line + side * draw.number(0.5, setback - 0.8), draw.number(start + 0.5, stop - 0.5)
                if z > 2:
                    self._bush(x, z, order=stop + 0.01)

    def _tree(self, x: float, z: float, tall: float, *, order: float | None = None) -> None:
        draw = self.draw
        if z < 6.5:
            return
        variant = 3 if self.bare and draw.chance(0.8) else draw.pick([0, 0, 1, 1, 2])
        green = draw.pick([(0.26, 0.36, 0.12), (0.34, 0.42, 0.14), (0.20, 0.30, 0.13), (0.28, 0.38, 0.15), (0.42, 0.40, 0.13), (0.50, 0.34, 0.12)])
        self.things.append(
            Thing("tree", Fine.TREE, x, z, tall, colour=draw.tint(green, 0.05), accent=draw.tint((0.30, 0.25, 0.20), 0.05), variant=variant, seed=draw.whole(0, 1 << 20), order=order)
        )  # fmt: skip

    def _bush(self, x: float, z: float, *, order: float | None = None) -> None:
        draw = self.draw
        green = draw.tint((0.26, 0.36, 0.14), 0.06)
        self.things.append(Thing("bush", Fine.TREE, x, z, draw.number(0.8, 1.9), colour=green, seed=draw.whole(0, 1 << 20), order=order))

    def _at_kerb(self, inward: float) -> float:
        return self.kerb + self.side * min(inward, self.pavement * 0.5)

    def _row_of_trees(self) -> None:
        draw = self.draw
        if not draw.chance(0.5):
            return
        z, pitch = draw.number(5, 14), draw.number(8, 22)
        while z < 110:
            if not self._in_crossing(z):
                self._tree(self._at_kerb(0.8), z + draw.number(-0.8, 0.8), draw.number(4.5, 10))
            z += pitch * (1 + z / 100)

    def _in_crossing(self, z: float) -> bool:
        return any(c.start - 1 < z < c.stop + 1 for c in self.street.crossings)

    def _posts(self) -> None:
        draw = self.draw
        steel = draw.pick([(0.40, 0.42, 0.43), (0.18, 0.20, 0.20), (0.30, 0.34, 0.30), (0.55, 0.55, 0.53)])
        if draw.chance(0.85):
            z, pitch, tall = draw.number(6, 26), draw.number(20, 34), draw.number(5.5, 9)
            while z < 130:
                self.things.append(Thing("lamp post", Fine.POLE, self._at_kerb(0.5), z, tall, colour=steel))
                z += pitch
        for _ in range(draw.whole(1, 4)):
            z = 6 + 55 * draw.number(0, 1) ** 1.5
            tall = draw.number(2.2, 3.1)
            variant = draw.whole(0, 7)
            parts = ((Fine.POLE, 0.0, tall - 0.1), (Fine.SIGN, tall - 1.02, tall + 0.04))
            self.things.append(Thing("sign", Fine.SIGN, self._at_kerb(draw.number(0.4, 0.9)), z, tall, variant=variant, seed=draw.whole(0, 600), parts=parts))
        for crossing in self.street.crossings:
            if draw.chance(0.65):
                tall, variant = draw.number(2.9, 3.6), draw.whole(0, 3)
                parts = ((Fine.POLE, 0.0, tall - 1.0), (Fine.TRAFFIC_LIGHT, tall - 1.11, tall + 0.06))
                self.things.append(Thing("traffic light", Fine.TRAFFIC_LIGHT, self._at_kerb(0.4), crossing.start - 0.8, tall, variant=variant, seed=draw.whole(0, 600), parts=parts))
        if draw.chance(0.22):
            z, pitch = draw.number(5, 12), draw.number(1.6, 2.6)
            for number in range(draw.whole(5, 12)):
                self.things.append(Thing("bollard", Fine.POLE, self._at_kerb(0.35), z + number * pitch, 0.95, colour=steel))

    def _railing(self) -> None:
        """A guard rail at the kerb, in panels, so that people behind it are painted before it."""
        draw = self.draw
        if not draw.chance(0.5):
            return
        z, number = draw.number(3, 25), draw.whole(4, 12)
        barrier = _draw_barrier(draw, "railing", self._at_kerb(0.25), z, z + 2.4)
        for panel in range(number):
            start = z + 2.5 * panel
            if not self._in_crossing(start + 1.2):
                self.lots.append(replace(barrier, start=start, stop=start + 2.4, height=1.05))

    def _people(self) -> None:
        draw = self.draw
        for _ in range(draw.pick([1, 2, 3, 4, 6, 8])):
            z = 4.5 + 55 * draw.number(0, 1) ** 1.9
            x = self.kerb + self.side * draw.number(0.6, max(self.pavement - 0.4, 0.8))
            person = _draw_person(draw, x, z)
            self.things.append(person)
            if draw.chance(0.3):
                self.things.append(replace(_draw_person(draw, x + 0.55, z + draw.number(-0.3, 0.3)), heading=person.heading))


_CLOTHES: tuple[Colour, ...] = (
    (0.08, 0.08, 0.10), (0.12, 0.14, 0.25), (0.35, 0.33, 0.30), (0.55, 0.10, 0.10), (0.15, 0.30, 0.20), (0.75, 0.73, 0.68),
    (0.45, 0.30, 0.18), (0.20, 0.35, 0.60), (0.75, 0.55, 0.15), (0.50, 0.20, 0.40),
)  # fmt: skip


def _draw_person(draw: _Draw, x: float, z: float) -> Thing:
    tall = draw.number(1.0, 1.4) if draw.chance(0.08) else draw.number(1.55, 1.9)
    heading = draw.pick([0.0, float(np.pi), 0.5, 2.6, -0.5, float(np.pi / 2), float(-np.pi / 2)]) + draw.number(-0.2, 0.2)
    trousers = draw.pick([(0.10, 0.12, 0.20), (0.07, 0.07, 0.08), (0.30, 0.27, 0.22), (0.18, 0.24, 0.38)])
    return Thing(
        "pedestrian", Fine.PEDESTRIAN, x, z, tall, heading=heading, colour=draw.tint(draw.pick(_CLOTHES), 0.04),
        accent=draw.tint(trousers, 0.03), variant=draw.whole(0, 4), phase=draw.number(0, 6.28), seed=draw.whole(0, 600),
    )  # fmt: skip


_PAINTS: tuple[Colour, ...] = (
    (0.62, 0.63, 0.65), (0.40, 0.41, 0.43), (0.06, 0.06, 0.07), (0.85, 0.85, 0.84), (0.45, 0.05, 0.06), (0.08, 0.14, 0.36),
    (0.10, 0.24, 0.18), (0.16, 0.17, 0.19), (0.55, 0.50, 0.42), (0.20, 0.35, 0.55), (0.70, 0.12, 0.08), (0.80, 0.66, 0.12),
)  # fmt: skip
_CAR_KINDS = ("hatchback", "hatchback", "saloon", "estate", "off-roader", "minivan", "van")
_CAR_HEIGHTS = {"hatchback": 1.47, "saloon": 1.44, "estate": 1.48, "off-roader": 1.78, "minivan": 1.68, "van": 2.2}
_LARGE = {"truck": (Fine.TRUCK, 3.3, 4.0), "bus": (Fine.BUS, 3.05, 5.6), "tram": (Fine.TRAIN, 3.4, 8.7)}


def _draw_car(draw: _Draw, x: float, z: float, heading: float) -> Thing:
    kind = draw.pick(_CAR_KINDS)
    tall = _CAR_HEIGHTS[kind] * draw.number(0.96, 1.04)
    return Thing(kind, Fine.CAR, x, z, tall, heading=heading, colour=draw.tint(draw.pick(_PAINTS), 0.04), variant=draw.whole(0, 2), seed=draw.whole(0, 600))


def _draw_large(draw: _Draw, x: float, z: float, heading: float) -> Thing:
    kind = draw.pick(["truck", "truck", "bus", "bus", "tram"])
    fine, tall, _ = _LARGE[kind]
    colour = draw.pick([(0.68, 0.10, 0.09), (0.12, 0.30, 0.52), (0.82, 0.80, 0.74), (0.15, 0.42, 0.28), (0.85, 0.65, 0.12)])
    return Thing(
        kind, fine, x, z, tall * draw.number(0.97, 1.03), heading=heading, colour=draw.tint(colour, 0.04),
        accent=draw.tint(draw.pick([(0.85, 0.85, 0.83), (0.75, 0.72, 0.62), (0.35, 0.42, 0.55)]), 0.04), variant=draw.whole(0, 2), seed=draw.whole(0, 600),
    )  # fmt: skip


def _draw_traffic(draw: _Draw, street: Street) -> list[Thing]:
    """Vehicles in the lanes, at the kerbs and in the side street; bicycles; people who cross."""
    things: list[Thing] = []
    busy = draw.pick([0.35, 0.7, 1.0])
    for lane in street.lanes:
        # Lanes beyond the centre line come towards us.
        oncoming = (lane - street.centre) * street.centre > 0
        heading = float(np.pi) if oncoming else 0.0
        z = draw.number(7, 45) if lane == 0 else draw.number(5, 40)
        while z < 130:
            if draw.chance(busy):
                large = draw.chance(0.10)
                build = _draw_large if large else _draw_car
                if large:
                    z += 6
                things.append(build(draw, lane + draw.number(-0.25, 0.25), z, heading + draw.number(-0.02, 0.02)))
                z += 6 if large else 0
            z += draw.number(7, 32) + z / 12
    things += _draw_parked(draw, street)
    things += _draw_riders(draw, street)
    for crossing in street.crossings:
        middle = (crossing.start + crossing.stop) / 2
        if not crossing.zebra and draw.chance(0.6):
            way = 1 if draw.chance(0.5) else -1
            things.append(_draw_car(draw, draw.number(-9, 9), middle + draw.number(-1, 1), way * float(np.pi / 2)))
        if draw.chance(0.55):
            for _ in range(draw.whole(1, 4)):
                person = _draw_person(draw, draw.number(*street.kerbs), crossing.start + draw.number(0, 1.5))
                things.append(replace(person, heading=float(np.pi / 2) * (1 if draw.chance(0.5) else -1)))
    return _apart(things)


def _draw_parked(draw: _Draw, street: Street) -> list[Thing]:
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
                heading = (0.0 if draw.chance(0.7) else float(np.pi)) + draw.number(-0.03, 0.03)
                things.append(_draw_car(draw, kerb - side * draw.number(1.0, 1.2), z, heading))
            z += draw.number(5.4, 6.8)
    return things


def _draw_riders(draw: _Draw, street: Street) -> list[Thing]:
    things = []
    for _ in range(draw.pick([0, 1, 1, 2, 3, 4])):
        z = 4.5 + 40 * draw.number(0, 1) ** 1.9
        motor = draw.chance(0.2)
        lane = draw.pick(street.lanes)
        oncoming = (lane - street.centre) * street.centre > 0
        x = lane + (1.2 if lane > 0 else -1.2) + draw.number(-0.2, 0.2)
        heading = (float(np.pi) if oncoming else 0.0) + draw.number(-0.15, 0.15)
        if draw.chance(0.25):
            heading = float(np.pi / 2) * (1 if draw.chance(0.5) else -1) + draw.number(-0.3, 0.3)
            x = draw.number(*street.kerbs)
        tall = draw.number(1.68, 1.88)
        machine = Fine.MOTORCYCLE if motor else Fine.BICYCLIST
        things.append(
            Thing(
                "motorcycle" if motor else "bicyclist", machine, x, z, tall, heading=heading,
                colour=draw.tint(draw.pick(_CLOTHES), 0.04), accent=draw.tint(draw.pick(_PAINTS), 0.03), phase=draw.number(0, 6.28),
                seed=draw.whole(0, 600), parts=((machine, 0.0, 0.6 * tall), (Fine.RIDER, 0.08 * tall, tall)),
            )
        )  # fmt: skip
    return things


def _apart(things: list[Thing]) -> list[Thing]:
    """Leave out what would stand inside something drawn earlier."""
    kept: list[Thing] = []
    for thing in things:
        long, wide = _room(thing)
        if all(abs(thing.z - other.z) > (long + _room(other)[0]) or abs(thing.x - other.x) > (wide + _room(other)[1]) for other in kept):
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
    return (wide, long) if abs(np.sin(thing.heading)) > 0.7 else (long, wide)


def _in_order(things: list[Thing]) -> list[Thing]:
    """Set the painting order where the depth alone is wrong: beside a vehicle.

    Of two things side by side, the one farther from the line of sight can be hidden by the other, never the other way
    round; so it is painted first, even if its middle is nearer.
    """
    long = [thing for thing in things if thing.fine in (Fine.CAR, Fine.TRUCK, Fine.BUS, Fine.TRAIN) and thing.z < 60]
    ordered = []
    for thing in things:
        order = thing.z if thing.order is None else thing.order
        half = _room(thing)
        for other in long:
            room = _room(other)
            beside = abs(thing.z - other.z) < half[0] + room[0] and thing.x * other.x > 0
            outside = abs(thing.x) - half[1] > abs(other.x) + room[1] - 0.6
            if beside and outside and order <= other.z:
                order = other.z + 0.01
        ordered.append(replace(thing, order=order))
    return ordered
