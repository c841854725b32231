"""The shapes of vehicles: a profile along the length, drawn out across the width, and polygons on the flanks."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["VEHICLES", "Body", "Side", "Station"]

Station = tuple[float, float, float]
"""One point of a profile: along the length, up, half the width there, in metres."""

Side = tuple[str, tuple[Station, ...]]
"""A polygon on the flank, and what it is made of."""


@dataclass(frozen=True)
class Body:
    """A kind of vehicle.

    The profile runs from the foot of the back over the roof to the foot of the front; `surfaces` says what lies
    between two stations, `sides` what is on the flanks, from the bottom layer up.
    """

    profile: tuple[Station, ...]
    surfaces: tuple[str, ...]
    sides: tuple[Side, ...]
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


@dataclass(frozen=True)
class _Car:
    """Where the parts of a car begin and end along its length; heights of the waist and the roof; half its width."""

    rear: float
    boot: float
    roof: tuple[float, float]
    screen: float
    nose: float
    belt: float
    tall: float
    half: float

    def body(self) -> Body:
        back, kinds = self._back()
        profile = (*back, *self._ceiling(), *self._front())
        surfaces = (*kinds, "rear glass", "body", "body", "body", "glass", "body", "body", "head", "bumper", "skirt")
        waist = tuple(station for station in profile if station[1] <= self.belt + 0.04)
        start, stop = self.roof
        corners = (
            (self.boot, self.belt),
            (start, self.tall - 0.05),
            (stop, self.tall),
            (self.screen, self.belt + 0.03),
        )
        cabin = tuple((s, y, self.half * (0.74 if y > self.belt + 0.1 else 0.965)) for s, y in corners)
        sides = (("flank", waist), ("cabin", cabin), *(("side glass", pane) for pane in self._panes()))
        return Body(profile, surfaces, sides, (self.rear + 0.72, self.nose - 0.78), 0.35 if self.tall > 1.6 else 0.31)

    def _back(self) -> tuple[list[Station], list[str]]:
        rear, belt, half = self.rear, self.belt, self.half
        stations = [(rear + 0.07, 0.22, half * 0.90), (rear, 0.40, half * 0.97), (rear, belt * 0.60, half)]
        if self.boot > rear + 0.3:
            stations += [(rear + 0.05, belt * 0.97, half * 0.96), (self.boot, belt, half * 0.96)]
            return stations, ["skirt", "bumper", "tail", "body"]
        return [*stations, (self.boot, belt, half * 0.97)], ["skirt", "bumper", "tail"]

    def _ceiling(self) -> list[Station]:
        (start, stop), tall, top = self.roof, self.tall, self.half * 0.74
        return [
            (start, tall - 0.08, top * 1.03),
            (start + 0.28, tall - 0.01, top),
            (stop, tall, top * 0.99),
            (stop + 0.15, tall - 0.05, top * 1.02),
        ]

    def _front(self) -> list[Station]:
        nose, belt, half = self.nose, self.belt, self.half
        return [
            (self.screen, belt + 0.03, half * 0.95),
            (nose - 0.22, belt * 0.84, half * 0.94),
            (nose - 0.05, belt * 0.76, half * 0.96),
            (nose, belt * 0.54, half),
            (nose, 0.38, half * 0.97),
            (nose - 0.07, 0.22, half * 0.90),
        ]

    def _panes(self) -> list[tuple[Station, ...]]:
        """Two side windows, with a post between them."""
        low, high = self.belt + 0.03, self.tall - 0.10
        below, above = self.half * 0.965, self.half * 0.762
        start, stop = self.roof
        middle = (start + stop) / 2 + 0.15
        back, front = self.boot + 0.14, self.screen - 0.14
        lean_back, lean_front = (start - self.boot) * 0.82, min(1.0, (self.screen - stop) * 0.82)
        rear_pane = ((back, low), (back + lean_back, high), (middle - 0.04, high), (middle - 0.04, low))
        front_pane = ((middle + 0.04, low), (middle + 0.04, high), (front - lean_front, high), (front, low))
        return [tuple((s, y, below if y == low else above) for s, y in pane) for pane in (rear_pane, front_pane)]


def _coach(length: float, tall: float, half: float, *, windows: tuple[float, float], wheel: float) -> Body:
    """A bus or a tram: a box with a row of windows between two heights."""
    rear, nose, low = -length / 2, length / 2, 0.38
    profile = (
        (rear, low, half),
        (rear, 1.5, half),
        (rear + 0.06, tall - 0.5, half),
        (rear + 0.2, tall, half * 0.92),
        (nose - 0.25, tall, half * 0.92),
        (nose - 0.06, tall - 0.5, half),
        (nose, 1.15, half),
        (nose, 0.75, half),
        (nose, low, half),
    )
    surfaces = ("tail", "rear glass", "body", "body", "body", "glass", "head", "skirt")
    outline = ((rear, low), (rear + 0.04, tall - 0.4), (nose - 0.04, tall - 0.4), (nose, low))
    edge = (
        (rear + 0.04, tall - 0.4, 1.0),
        (rear + 0.2, tall, 0.93),
        (nose - 0.25, tall, 0.93),
        (nose - 0.04, tall - 0.4, 1.0),
    )
    cant = tuple((s, y, half * share) for s, y, share in edge)
    sides: list[Side] = [("flank", tuple((s, y, half) for s, y in outline)), ("cabin", cant)]
    for number in range(int((length - 0.6) / 1.38)):
        at = rear + 0.5 + 1.38 * number
        pane = ((at, windows[0]), (at, windows[1]), (at + 1.25, windows[1]), (at + 1.25, windows[0]))
        sides.append(("side glass", tuple((s, y, half) for s, y in pane)))
    return Body(profile, surfaces, tuple(sides), (rear + 2.3, nose - 2.3), wheel)


def _lorry(length: float, tall: float, half: float, *, cab: float) -> Body:
    """A truck whose load ends `cab` metres before its front."""
    rear, nose = -length / 2, length / 2
    start, narrow = nose - cab, half * 0.96
    profile = (
        (rear, 0.75, half),
        (rear, tall, half),
        (start, tall, half),
        (start + 0.05, tall - 0.6, narrow),
        (nose - 0.35, tall - 0.7, narrow),
        (nose - 0.05, 1.45, narrow),
        (nose, 0.9, narrow),
        (nose, 0.38, narrow),
    )
    surfaces = ("load", "load", "body", "body", "glass", "head", "skirt")
    load = ((rear, 0.75), (rear, tall), (start, tall), (start, 0.75))
    cabin = ((start + 0.05, 0.38), (start + 0.05, tall - 0.6), (nose - 0.35, tall - 0.7), (nose, 1.4), (nose, 0.38))
    pane = ((start + 0.35, 1.45), (start + 0.35, tall - 0.85), (nose - 0.45, tall - 0.9), (nose - 0.2, 1.45))
    under = ((rear + 0.3, 0.42), (rear + 0.3, 0.75), (start, 0.75), (start, 0.42))
    parts = (("load", load, half), ("flank", cabin, narrow), ("side glass", pane, narrow), ("under", under, half * 0.9))
    sides = tuple((material, tuple((s, y, wide) for s, y in outline)) for material, outline, wide in parts)
    return Body(profile, surfaces, sides, (rear + 1.1, rear + 2.2, nose - 0.9), 0.48)


VEHICLES: dict[str, Body] = {
    "hatchback": _Car(-1.95, -1.82, (-1.35, 0.15), 0.98, 1.98, 0.95, 1.47, 0.85).body(),
    "saloon": _Car(-2.25, -1.45, (-0.85, 0.25), 1.05, 2.25, 0.96, 1.44, 0.88).body(),
    "estate": _Car(-2.3, -2.18, (-1.85, 0.2), 1.0, 2.25, 0.97, 1.48, 0.88).body(),
    "off-roader": _Car(-2.2, -2.12, (-1.85, 0.2), 0.85, 2.2, 1.12, 1.78, 0.94).body(),
    "minivan": _Car(-2.15, -2.06, (-1.75, 0.35), 1.35, 2.15, 1.05, 1.68, 0.91).body(),
    "van": _Car(-2.6, -2.58, (-2.52, 0.9), 1.65, 2.55, 1.2, 2.2, 0.98).body(),
    "truck": _lorry(7.6, 3.3, 1.22, cab=1.9),
    "bus": _coach(10.8, 3.05, 1.26, windows=(1.25, 2.45), wheel=0.48),
    "tram": _coach(17.0, 3.4, 1.25, windows=(1.35, 2.6), wheel=0.3),
}
"""Kinds of vehicles by name."""
