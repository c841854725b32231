"""Buildings, and the walls, hedges and fences between them and the street."""

from __future__ import annotations

from dataclasses import replace

from rfkit.data.scene_canvas import Colour
from rfkit.data.scene_draw import Draw
from rfkit.data.scene_layout import Lot

__all__ = ["FAR", "draw_barrier", "draw_building", "draw_skyline"]

FAR = 170.0
"""Where the street ends, in metres."""

_FACADES: tuple[tuple[Colour, float], ...] = (
    ((0.56, 0.33, 0.25), 1.0), ((0.47, 0.28, 0.22), 1.0), ((0.66, 0.55, 0.40), 1.0), ((0.72, 0.62, 0.45), 1.0),
    ((0.84, 0.81, 0.73), 0.0), ((0.76, 0.72, 0.66), 0.0), ((0.87, 0.84, 0.80), 0.0), ((0.82, 0.72, 0.56), 0.0),
    ((0.62, 0.64, 0.66), 0.2), ((0.50, 0.51, 0.53), 0.2), ((0.73, 0.60, 0.52), 0.3), ((0.62, 0.66, 0.66), 0.0),
)  # fmt: skip
_SHOPS: tuple[Colour, ...] = (
    (0.62, 0.10, 0.10), (0.10, 0.22, 0.48), (0.08, 0.33, 0.20), (0.12, 0.12, 0.13), (0.80, 0.62, 0.12),
    (0.85, 0.85, 0.82), (0.45, 0.12, 0.35), (0.10, 0.42, 0.50),
)  # fmt: skip


def draw_building(draw: Draw, x: float, start: float, stop: float, character: str) -> Lot:
    """A building whose front is at x; low where the character is "houses", else higher and with shops."""
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


def draw_barrier(draw: Draw, kind: str, x: float, start: float, stop: float) -> Lot:
    """A "wall", "hedge", "railing" or "palisade"."""
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


def draw_skyline(draw: Draw) -> list[Lot]:
    """Houses that close the view where the street ends."""
    lots = []
    x = -90.0
    while x < 90:
        wide = draw.number(12, 34)
        lot = draw_building(draw, x, FAR + draw.number(5, 60), 0.0, "houses" if draw.chance(0.6) else "town")
        lots.append(replace(lot, kind="front", stop=lot.start + 1, depth=wide))
        x += wide * draw.number(0.7, 1.3)
    return lots
