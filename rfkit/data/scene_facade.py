"""Buildings, walls and hedges: upright planes along the street, with their near ends and roofs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rfkit.data.scene_canvas import Canvas
from rfkit.data.scene_classes import Fine
from rfkit.data.scene_ground import sun_blocked
from rfkit.data.scene_layout import Layout, Lot
from rfkit.data.scene_noise import sample_points

__all__ = ["paint_lot"]

_FINE = {"building": Fine.BUILDING, "front": Fine.BUILDING, "wall": Fine.WALL, "hedge": Fine.TREE, "railing": Fine.FENCE, "palisade": Fine.FENCE}


@dataclass(frozen=True)
class _Plane:
    """Columns of the picture that show one upright plane: depth, place along it and step per column."""

    first: int
    depth: np.ndarray
    along: np.ndarray
    step: np.ndarray
    cover: np.ndarray
    x: np.ndarray
    normal: tuple[float, float, float]


def paint_lot(canvas: Canvas, layout: Layout, lot: Lot) -> None:
    """Paint the near end, the roof and the front of a lot."""
    if lot.kind == "front":
        _paint_plane(canvas, layout, lot, _end(canvas, lot.start, lot.x, lot.x + lot.depth))
        return
    side = 1 if lot.x > 0 else -1
    if lot.start > 1:
        _paint_plane(canvas, layout, lot, _end(canvas, lot.start, lot.x, lot.x + side * lot.depth))
    _paint_plane(canvas, layout, lot, _front(canvas, lot))


def _front(canvas: Canvas, lot: Lot) -> _Plane | None:
    view = canvas.view
    near = max(lot.start, 0.4)
    if lot.stop <= near:
        return None
    edges = sorted((view.column(lot.x, near), view.column(lot.x, lot.stop)))
    first, last = max(0, int(np.floor(edges[0]))), min(view.width, int(np.ceil(edges[1])))
    if first >= last:
        return None
    column = np.arange(first, last, dtype=np.float32)
    offset = column + np.float32(0.5 - view.vanishing)
    offset = np.where(np.abs(offset) < 0.5, np.float32(0.5 if lot.x > 0 else -0.5), offset)
    depth = np.clip(np.float32(lot.x * view.focal) / offset, np.float32(near), np.float32(lot.stop))
    step = depth * depth / np.float32(view.focal * abs(lot.x))
    normal = (-1.0, 0.0, 0.0) if lot.x > 0 else (1.0, 0.0, 0.0)
    x = np.full_like(depth, lot.x)
    return _Plane(first, depth, depth - np.float32(lot.start), step, _cover(column, edges), x, normal)


def _end(canvas: Canvas, depth: float, x0: float, x1: float) -> _Plane | None:
    view = canvas.view
    edges = sorted((view.column(x0, depth), view.column(x1, depth)))
    first, last = max(0, int(np.floor(edges[0]))), min(view.width, int(np.ceil(edges[1])))
    if first >= last:
        return None
    column = np.arange(first, last, dtype=np.float32)
    step = np.float32(depth / view.focal)
    x = (column + np.float32(0.5 - view.vanishing)) * step
    along = np.abs(x - np.float32(x0))
    return _Plane(first, np.full_like(x, depth), along, np.full_like(x, step), _cover(column, edges), x, (0.0, 0.0, -1.0))


def _cover(column: np.ndarray, edges: list[float]) -> np.ndarray:
    return np.clip(np.minimum(column + 1, np.float32(edges[1])) - np.maximum(column, np.float32(edges[0])), 0, 1)


def _paint_plane(canvas: Canvas, layout: Layout, lot: Lot, plane: _Plane | None) -> None:
    if plane is None or lot.height * canvas.view.focal < 1.5 * float(plane.depth.min()):
        return
    view, light = canvas.view, layout.light
    scale = plane.depth / np.float32(view.focal)
    top = np.float32(view.horizon) - (np.float32(lot.height - view.eye)) / scale
    bottom = np.float32(view.horizon) + np.float32(view.eye) / scale
    ridge = top - np.float32(lot.roof_height * 0.55) / scale
    first = max(0, int(np.floor(float(ridge.min()))))
    last = min(view.height, int(np.ceil(float(bottom.max()))))
    if first >= last:
        return
    row = np.arange(first, last, dtype=np.float32)[:, None]
    height = np.float32(view.eye) - (row + np.float32(0.5 - view.horizon)) * scale
    alpha = np.clip(row + 1 - ridge, 0, 1) * np.clip(bottom - row, 0, 1) * plane.cover
    roof = np.clip(top - row, 0, 1) if lot.roof_height else None
    shadow = np.clip(sun_blocked(layout, plane.x, height, plane.depth) * 2 + np.float32(0.5), 0, 1)
    lit, dark = light.on(plane.normal), light.on(plane.normal, shadow=1.0)
    detail = _details(lot, plane, height, scale, light.lamps)
    texture, glass, glow, trim, shop = detail
    sky = np.float32(light.sky_low) * np.float32(0.45)
    colours = []
    for channel in range(3):
        illumination = lit[channel] + (dark[channel] - lit[channel]) * shadow
        wall = np.float32(lot.colour[channel]) * texture
        wall = wall + (np.float32(lot.trim[channel]) - wall) * trim
        if lot.shop is not None:
            wall = wall + (np.float32(lot.shop[channel]) - wall) * shop
        wall = wall * illumination
        pane = sky[channel] * glow[0] + np.float32((1.0, 0.8, 0.45)[channel]) * glow[1]
        wall += (pane - wall) * glass
        if roof is not None:
            wall += (np.float32(lot.roof[channel]) * illumination * texture - wall) * roof
        colours.append(wall)
    solid = alpha >= 0.5
    if lot.kind in ("railing", "palisade"):
        alpha = alpha * _bars(lot, plane, height, scale)
    canvas.blend((first, plane.first), colours, alpha=alpha, depth=plane.depth[None, :], fine=_FINE[lot.kind], solid=solid)


def _details(lot: Lot, plane: _Plane, height: np.ndarray, scale: np.ndarray, lamps: float) -> tuple:
    """Wall texture, share of glass, brightness and lamp light of the panes, share of trim and of shop front."""
    seed = lot.seed % 487
    along = plane.along[None, :]
    texture = 1 + np.float32(0.10) * sample_points(height * 22 + seed, along * 22 + seed)
    texture += np.float32(0.10) * sample_points(height * 3, along * 5 + seed)
    if lot.kind == "hedge":
        texture += np.float32(0.55) * sample_points(height * 90, along * 90)
    if lot.brick:
        courses = _band(height, scale, 0.25, 0.06)
        texture -= np.float32(0.20 * lot.brick) * courses * np.clip(2 - 60 * scale, 0, 1)
    # Less light reaches the foot of a wall and the strip below the eaves.
    texture *= 1 - np.float32(0.35) / (1 + height * height * 2)
    zero = np.zeros_like(height)
    if lot.window[0] <= 0:
        return texture, zero, (zero, zero), zero, zero
    wide, tall = lot.window
    upper = height - np.float32(lot.ground_floor)
    floors = np.clip(upper / scale + np.float32(0.5), 0, 1) * np.clip((np.float32(lot.height - 0.5) - height) / scale, 0, 1)
    sill = (lot.storey - tall) * 0.45
    margin = (lot.bay - wide) / 2
    frame = 0.09
    opening = _band(upper - np.float32(sill), scale, lot.storey, tall) * floors
    panes = _band(upper - np.float32(sill + frame), scale, lot.storey, tall - 2 * frame) * floors
    columns = _band(plane.along - np.float32(margin), plane.step, lot.bay, wide)
    inner = _band(plane.along - np.float32(margin + frame), plane.step, lot.bay, wide / 2 - 1.5 * frame)
    inner = inner + _band(plane.along - np.float32(margin + wide / 2 + frame / 2), plane.step, lot.bay, wide / 2 - 1.5 * frame)
    glass = panes * inner
    trim = opening * columns * (1 - glass)
    cornice = np.clip((height - np.float32(lot.height - 0.35)) / scale + np.float32(0.5), 0, 1)
    trim = np.maximum(trim, cornice)
    index = np.floor(plane.along / np.float32(lot.bay)).astype(np.int32) * 13 + (
        np.floor(upper / np.float32(lot.storey)).astype(np.int32) * 29
    )
    table = np.random.Generator(np.random.Philox(key=[lot.seed, 7])).random(64).astype(np.float32)
    chance = table[(index + seed) & 63]
    rest = upper - np.floor(upper / np.float32(lot.storey)) * np.float32(lot.storey)
    glow = (np.float32(0.35) + chance * np.float32(0.9)) * (np.float32(0.75) + np.float32(0.2) * rest)
    shop = zero
    if lot.shop is not None:
        ground = np.clip(-upper / scale, 0, 1)
        window = np.clip(np.minimum(height - np.float32(0.45), np.float32(lot.ground_floor - 0.85) - height) / scale, 0, 1)
        fronts = _band(plane.along, plane.step, lot.bay * 2, lot.bay * 2 - 0.35)
        glass = np.maximum(glass, window * ground * fronts)
        shop = ground
        trim = trim * (1 - ground)
    lamp = (table[(index * 5 + seed + 31) & 63] < np.float32(lamps)) * (np.float32(0.5) + np.float32(0.5) * chance)
    return texture, glass, (glow, lamp), trim, shop


def _bars(lot: Lot, plane: _Plane, height: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Share of each pixel that the bars, rails and posts of a fence cover."""
    pitch, wide = (0.15, 0.028) if lot.kind == "railing" else (0.16, 0.115)
    bars = np.maximum(_band(plane.along, plane.step, pitch, wide), _band(plane.along, plane.step, 2.4, 0.09))[None, :]
    rails = np.zeros_like(height)
    for level in (0.12, lot.height - 0.06) if lot.kind == "railing" else (0.3, lot.height - 0.3):
        rails = np.maximum(rails, np.clip((np.float32(0.035) - np.abs(height - np.float32(level))) / scale + np.float32(0.5), 0, 1))
    return np.maximum(bars, rails)


def _band(position: np.ndarray, width: np.ndarray, period: float, length: float) -> np.ndarray:
    return (_ramp(position + width / 2, period, length) - _ramp(position - width / 2, period, length)) / width


def _ramp(position: np.ndarray, period: float, length: float) -> np.ndarray:
    whole = np.floor(position / np.float32(period))
    rest = position - whole * np.float32(period)
    return whole * np.float32(length) + np.minimum(rest, np.float32(length))
