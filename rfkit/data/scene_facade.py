"""Buildings, walls and hedges: upright planes along the street, with their near ends and roofs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rfkit.data.scene_bands import band, cover
from rfkit.data.scene_canvas import Canvas
from rfkit.data.scene_classes import Fine
from rfkit.data.scene_layout import Layout, Lot
from rfkit.data.scene_noise import sample_points

__all__ = ["paint_lot"]

_FINE = {
    "building": Fine.BUILDING,
    "front": Fine.BUILDING,
    "wall": Fine.WALL,
    "hedge": Fine.TREE,
    "railing": Fine.FENCE,
    "palisade": Fine.FENCE,
}

_LAMP = (1.0, 0.8, 0.45)


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
    offset = column + (0.5 - view.vanishing)
    offset = np.where(np.abs(offset) < 0.5, (0.5 if lot.x > 0 else -0.5), offset)
    depth = np.clip((lot.x * view.focal) / offset, near, lot.stop)
    step = depth * depth / (view.focal * abs(lot.x))
    normal = (-1.0, 0.0, 0.0) if lot.x > 0 else (1.0, 0.0, 0.0)
    x = np.full_like(depth, lot.x)
    return _Plane(first, depth, depth - lot.start, step, _cover(column, edges), x, normal)


def _end(canvas: Canvas, depth: float, x0: float, x1: float) -> _Plane | None:
    view = canvas.view
    edges = sorted((view.column(x0, depth), view.column(x1, depth)))
    first, last = max(0, int(np.floor(edges[0]))), min(view.width, int(np.ceil(edges[1])))
    if first >= last:
        return None
    column = np.arange(first, last, dtype=np.float32)
    step = depth / view.focal
    x = (column + (0.5 - view.vanishing)) * step
    along = np.abs(x - x0)
    return _Plane(
        first, np.full_like(x, depth), along, np.full_like(x, step), _cover(column, edges), x, (0.0, 0.0, -1.0)
    )


def _cover(column: np.ndarray, edges: list[float]) -> np.ndarray:
    return np.clip(np.minimum(column + 1, edges[1]) - np.maximum(column, edges[0]), 0, 1)


@dataclass(frozen=True)
class _Patch:
    """The pixels of a plane: their first row, the height they show, and metres per pixel in each column."""

    first: int
    height: np.ndarray
    scale: np.ndarray
    alpha: np.ndarray
    roof: np.ndarray


def _patch(canvas: Canvas, lot: Lot, plane: _Plane) -> _Patch | None:
    view = canvas.view
    scale = plane.depth / view.focal
    top = view.horizon - (lot.height - view.eye) / scale
    bottom = view.horizon + view.eye / scale
    # The roof leans back, so that less than its height shows.
    ridge = top - lot.roof_height * 0.55 / scale
    first, last = max(0, int(np.floor(ridge.min()))), min(view.height, int(np.ceil(bottom.max())))
    if first >= last:
        return None
    row = np.arange(first, last, dtype=np.float32)[:, None]
    height = view.eye - (row + (0.5 - view.horizon)) * scale
    alpha = np.clip(row + 1 - ridge, 0, 1) * np.clip(bottom - row, 0, 1) * plane.cover
    return _Patch(first, height, scale, alpha, np.clip(top - row, 0, 1) * (lot.roof_height > 0))


def _paint_plane(canvas: Canvas, layout: Layout, lot: Lot, plane: _Plane | None) -> None:
    # Planes lower than a pixel and a half are not worth their time.
    if plane is None or lot.height * canvas.view.focal < 1.5 * float(plane.depth.min()):
        return
    patch = _patch(canvas, lot, plane)
    if patch is None:
        return
    light = layout.light
    shadow = cover(layout.sun_blocked(plane.x, patch.height, plane.depth), 0.5)
    lit, dark = light.on(plane.normal), light.on(plane.normal, shadow=1.0)
    texture = _texture(lot, plane, patch)
    windows = _windows(lot, plane, patch, light.lamps) if lot.window[0] > 0 else None
    colours = []
    for channel in range(3):
        illumination = lit[channel] + (dark[channel] - lit[channel]) * shadow
        wall = lot.colour[channel] * texture
        if windows is not None:
            wall += (lot.trim[channel] - wall) * windows.trim
            if lot.shop is not None:
                wall += (lot.shop[channel] - wall) * windows.shop
        wall *= illumination
        if windows is not None:
            pane = 0.45 * light.sky_low[channel] * windows.sky + _LAMP[channel] * windows.lamp
            wall += (pane - wall) * windows.glass
            wall += (lot.roof[channel] * illumination * texture - wall) * patch.roof
        colours.append(wall)
    solid = patch.alpha >= 0.5
    alpha = patch.alpha * _bars(lot, plane, patch) if lot.kind in ("railing", "palisade") else patch.alpha
    depth = plane.depth[None, :]
    canvas.blend((patch.first, plane.first), colours, alpha=alpha, depth=depth, fine=_FINE[lot.kind], solid=solid)


def _texture(lot: Lot, plane: _Plane, patch: _Patch) -> np.ndarray:
    """Brightness of the wall: stains, bricks or leaves."""
    seed = lot.seed % 487
    height, along = patch.height, plane.along[None, :]
    texture = 1 + 0.10 * sample_points(height * 22 + seed, along * 22 + seed)
    texture += 0.10 * sample_points(height * 3, along * 5 + seed)
    if lot.kind == "hedge":
        texture += 0.55 * sample_points(height * 90, along * 90)
    if lot.brick:
        courses = band(height, patch.scale, period=0.25, length=0.06)
        texture -= 0.20 * lot.brick * courses * np.clip(2 - 60 * patch.scale, 0, 1)
    # Less light reaches the foot of a wall.
    return texture * (1 - 0.35 / (1 + height * height * 2))


@dataclass(frozen=True)
class _Windows:
    """Share of glass, frames and shop front in each pixel; how much sky a pane mirrors, and how much lamp it shows."""

    glass: np.ndarray
    trim: np.ndarray
    shop: np.ndarray
    sky: np.ndarray
    lamp: np.ndarray


def _windows(lot: Lot, plane: _Plane, patch: _Patch, lamps: float) -> _Windows:
    (wide, tall), frame, scale = lot.window, 0.09, patch.scale
    upper = patch.height - lot.ground_floor
    floors = cover(upper, scale) * cover(lot.height - 0.5 - patch.height, scale)
    sill, margin, pane = (lot.storey - tall) * 0.45, (lot.bay - wide) / 2, wide / 2 - 1.5 * frame
    opening = floors * band(upper, scale, period=lot.storey, length=tall, start=sill)
    panes = floors * band(upper, scale, period=lot.storey, length=tall - 2 * frame, start=sill + frame)
    columns = band(plane.along, plane.step, period=lot.bay, length=wide, start=margin)
    inner = band(plane.along, plane.step, period=lot.bay, length=pane, start=margin + frame)
    inner = inner + band(plane.along, plane.step, period=lot.bay, length=pane, start=margin + (wide + frame) / 2)
    glass = panes * inner
    cornice = cover(patch.height - (lot.height - 0.35), scale)
    trim = np.maximum(opening * columns * (1 - glass), cornice)
    shop = np.zeros_like(glass)
    if lot.shop is not None:
        shop = cover(-upper, scale)
        display = np.minimum(patch.height - 0.45, lot.ground_floor - 0.85 - patch.height)
        fronts = band(plane.along, plane.step, period=lot.bay * 2, length=lot.bay * 2 - 0.35)
        glass = np.maximum(glass, cover(display, scale) * shop * fronts)
        trim = trim * (1 - shop)
    storey = np.floor(upper / lot.storey)
    bay = np.floor(plane.along / lot.bay).astype(np.int32)
    chance, other = _rooms(lot, bay, storey.astype(np.int32))
    # The upper part of a pane mirrors more of the sky.
    sky = (0.35 + 0.9 * chance) * (0.75 + 0.2 * (upper - storey * lot.storey))
    return _Windows(glass, trim, shop, sky, (other < lamps) * (0.5 + 0.5 * chance))


def _rooms(lot: Lot, bay: np.ndarray, storey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two random numbers from 0 to 1 for the room behind each window."""
    table = np.random.Generator(np.random.Philox(key=[lot.seed, 7])).random(64).astype(np.float32)
    room = bay * 13 + storey * 29
    return table[(room + lot.seed) & 63], table[(room * 5 + lot.seed + 31) & 63]


def _bars(lot: Lot, plane: _Plane, patch: _Patch) -> np.ndarray:
    """Share of each pixel that the bars, rails and posts of a fence cover."""
    pitch, wide = (0.15, 0.028) if lot.kind == "railing" else (0.16, 0.115)
    bars = band(plane.along, plane.step, period=pitch, length=wide)
    posts = band(plane.along, plane.step, period=2.4, length=0.09)
    levels = (0.12, lot.height - 0.06) if lot.kind == "railing" else (0.3, lot.height - 0.3)
    rails = [cover(0.035 - np.abs(patch.height - level), patch.scale) for level in levels]
    return np.maximum(np.maximum(bars, posts)[None, :], np.maximum(rails[0], rails[1]))
