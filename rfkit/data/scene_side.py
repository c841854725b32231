"""One side of a street: the lots along it, and what stands on its pavement."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rfkit.data.scene_canvas import Colour
from rfkit.data.scene_classes import Fine
from rfkit.data.scene_draw import Draw
from rfkit.data.scene_layout import Lot, Street, Thing
from rfkit.data.scene_lots import FAR, draw_barrier, draw_building
from rfkit.data.scene_traffic import draw_person

__all__ = ["draw_side"]

_GREENS: tuple[Colour, ...] = (
    (0.26, 0.36, 0.12), (0.34, 0.42, 0.14), (0.20, 0.30, 0.13),
    (0.28, 0.38, 0.15), (0.42, 0.40, 0.13), (0.50, 0.34, 0.12),
)  # fmt: skip
_STEELS: tuple[Colour, ...] = ((0.40, 0.42, 0.43), (0.18, 0.20, 0.20), (0.30, 0.34, 0.30), (0.55, 0.55, 0.53))


def draw_side(draw: Draw, street: Street, side: int) -> tuple[list[Lot], list[Thing]]:
    """Lots along one side (-1 left, 1 right), with the trees, posts, fences and people that go with them."""
    return _Side(draw, street, side).build()


class _Side:
    """One side of the street: lots first, then what stands on the pavement and at the kerb."""

    def __init__(self, draw: Draw, street: Street, side: int) -> None:
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
            self._park(start, stop)
            return
        setback = draw.number(2.5, 6) if character == "houses" else draw.number(0, 0.6)
        self.lots.append(draw_building(draw, self.line + side * setback, start, stop, character))
        if setback > 2 and draw.chance(0.75):
            self._garden(start, stop, setback)

    def _park(self, start: float, stop: float) -> None:
        draw, side = self.draw, self.side
        kind = draw.pick(["wall", "hedge", "railing", "railing", "palisade"])
        self.lots.append(draw_barrier(draw, kind, self.line, start, stop))
        for _ in range(draw.whole(1, 3)):
            x = self.line + side * draw.number(2, 12)
            # What stands behind a barrier is painted before it.
            self._tree(x, draw.number(start, stop), draw.number(5, 13), order=stop + 0.01)
        if draw.chance(0.5):
            far = self.line + side * draw.number(16, 26)
            self.lots.append(draw_building(draw, far, start, stop + 0.02, "houses"))

    def _garden(self, start: float, stop: float, deep: float) -> None:
        """A barrier before a house, with bushes and perhaps a tree behind it."""
        draw, side = self.draw, self.side
        kind = draw.pick(["wall", "hedge", "palisade", "palisade", "railing"])
        barrier = draw_barrier(draw, kind, self.line, start, stop - draw.number(0.5, 2))
        self.lots.append(replace(barrier, height=min(barrier.height, draw.number(0.8, 1.3))))
        if draw.chance(0.5):
            z = draw.number(start + 1, stop)
            self._tree(self.line + side * deep * 0.5, z, draw.number(2.5, 5), order=stop + 0.01)
        for _ in range(draw.whole(0, 3)):
            x, z = self.line + side * draw.number(0.5, deep - 0.8), draw.number(start + 0.5, stop - 0.5)
            if z > 2:
                self._bush(x, z, order=stop + 0.01)

    def _tree(self, x: float, z: float, tall: float, *, order: float | None = None) -> None:
        draw = self.draw
        if z < 6.5:
            return
        variant = 3 if self.bare and draw.chance(0.8) else draw.pick([0, 0, 1, 1, 2])
        wood = draw.tint((0.30, 0.25, 0.20), 0.05)
        self._add("tree", Fine.TREE, x, z, tall, colour=self._green(), accent=wood, variant=variant, order=order)

    def _bush(self, x: float, z: float, *, order: float | None = None) -> None:
        self._add("bush", Fine.TREE, x, z, self.draw.number(0.8, 1.9), colour=self._green(), order=order)

    def _green(self) -> Colour:
        return self.draw.tint(self.draw.pick(_GREENS), 0.05)

    def _add(self, kind: str, fine: Fine, x: float, z: float, tall: float, **options: Any) -> None:
        self.things.append(Thing(kind, fine, x, z, tall, seed=self.draw.whole(0, 1 << 20), **options))

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
        steel = draw.pick(_STEELS)
        if draw.chance(0.85):
            z, pitch, tall = draw.number(6, 26), draw.number(20, 34), draw.number(5.5, 9)
            while z < 130:
                self._add("lamp post", Fine.POLE, self._at_kerb(0.5), z, tall, colour=steel)
                z += pitch
        for _ in range(draw.whole(1, 4)):
            x, z, tall = self._at_kerb(draw.number(0.4, 0.9)), draw.near(6, 60), draw.number(2.2, 3.1)
            parts = ((Fine.POLE, 0.0, tall - 0.1), (Fine.SIGN, tall - 1.02, tall + 0.04))
            self._add("sign", Fine.SIGN, x, z, tall, variant=draw.whole(0, 7), parts=parts)
        for crossing in self.street.crossings:
            if draw.chance(0.65):
                x, z, tall = self._at_kerb(0.4), crossing.start - 0.8, draw.number(2.9, 3.6)
                parts = ((Fine.POLE, 0.0, tall - 1.0), (Fine.TRAFFIC_LIGHT, tall - 1.11, tall + 0.06))
                self._add("traffic light", Fine.TRAFFIC_LIGHT, x, z, tall, variant=draw.whole(0, 3), parts=parts)
        if draw.chance(0.22):
            z, pitch = draw.number(5, 12), draw.number(1.6, 2.6)
            for number in range(draw.whole(5, 12)):
                self._add("bollard", Fine.POLE, self._at_kerb(0.35), z + number * pitch, 0.95, colour=steel)

    def _railing(self) -> None:
        """A guard rail at the kerb, in panels, so that people behind it are painted before it."""
        draw = self.draw
        if not draw.chance(0.5):
            return
        z, number = draw.number(3, 25), draw.whole(4, 12)
        barrier = draw_barrier(draw, "railing", self._at_kerb(0.25), z, z + 2.4)
        for panel in range(number):
            start = z + 2.5 * panel
            if not self._in_crossing(start + 1.2):
                self.lots.append(replace(barrier, start=start, stop=start + 2.4, height=1.05))

    def _people(self) -> None:
        draw = self.draw
        for _ in range(draw.pick([1, 2, 3, 4, 6, 8])):
            z = draw.near(4.5, 60)
            x = self.kerb + self.side * draw.number(0.6, max(self.pavement - 0.4, 0.8))
            person = draw_person(draw, x, z)
            self.things.append(person)
            if draw.chance(0.3):
                friend = draw_person(draw, x + 0.55, z + draw.number(-0.3, 0.3))
                self.things.append(replace(friend, heading=person.heading))
