"""Shadows on the ground: the dark under a thing, and the one that it casts away from the sun."""

from __future__ import annotations

import numpy as np

from rfkit.data.scene_bodies import VEHICLES
from rfkit.data.scene_canvas import Canvas
from rfkit.data.scene_layout import Layout, Thing
from rfkit.data.scene_noise import sample_points
from rfkit.data.scene_trees import crown

__all__ = ["cast_shadow"]


def cast_shadow(canvas: Canvas, layout: Layout, thing: Thing, *, blocked: float) -> None:
    """Darken the ground around the foot of a thing; `blocked` is the share of the sun that it does not get."""
    light = layout.light
    dx, dy, dz = light.direction
    slide = (-dx / dy, -dz / dy)
    sun = (1 - blocked) * light.sun[0] / (light.sun[0] + light.ambient[0])
    foot = (thing.x, thing.z)
    if thing.kind in VEHICLES:
        body = VEHICLES[thing.kind]
        half = body.half_width
        reach = body.length / 2 - half * 0.8
        ahead = (float(np.sin(thing.heading)) * reach, float(np.cos(thing.heading)) * reach)
        ends = (foot[0] - ahead[0], foot[1] - ahead[1]), (foot[0] + ahead[0], foot[1] + ahead[1])
        _capsule(canvas, *ends, half * 1.05, 0.30, 0.72)
        for share in (0.35, 0.75):
            drop = body.height * share
            moved = tuple((x + slide[0] * drop, z + slide[1] * drop) for x, z in ends)
            _capsule(canvas, moved[0], moved[1], half * (1.0 if share < 0.5 else 0.8), 0.15, 0.62 * sun)
    elif thing.kind in ("tree", "bush"):
        middle, half_width, _ = crown(thing)
        _capsule(canvas, foot, foot, 0.08 * thing.height, 0.3, 0.35)
        if sun > 0.1:
            at = (foot[0] + slide[0] * middle, foot[1] + slide[1] * middle)
            _capsule(canvas, at, at, half_width * 0.9, 0.8, (0.35 if thing.variant == 3 else 0.70) * sun, dapple=True)
            _capsule(canvas, foot, at, 0.02 * thing.height, 0.1, 0.55 * sun)
    else:
        wide = 0.28 if thing.kind in ("pedestrian", "bicyclist", "motorcycle") else 0.09
        _capsule(canvas, foot, foot, wide, 0.22, 0.45)
        if sun > 0.1:
            drop = min(thing.height, 6.0) * 0.9
            at = (foot[0] + slide[0] * drop, foot[1] + slide[1] * drop)
            _capsule(canvas, foot, at, wide * 0.65, 0.10, 0.60 * sun)


def _capsule(
    canvas: Canvas,
    start: tuple[float, float],
    stop: tuple[float, float],
    radius: float,
    soft: float,
    strength: float,
    *,
    dapple: bool = False,
) -> None:
    """Darken the ground within `radius` of the line from `start` to `stop`, all in (x, z) metres."""
    view = canvas.view
    pad = radius + soft
    near, far = max(0.8, min(start[1], stop[1]) - pad), max(start[1], stop[1]) + pad
    if far <= near or strength <= 0.02 or near > 90:
        return
    top = max(int(view.row(0.0, far)), int(view.horizon) + 1, 0)
    bottom = min(view.height, int(view.row(0.0, near)) + 1)
    sides = [
        view.column(x, z) for x in (min(start[0], stop[0]) - pad, max(start[0], stop[0]) + pad) for z in (near, far)
    ]
    left, right = max(0, int(min(sides))), min(view.width, int(max(sides)) + 1)
    if top >= bottom or left >= right:
        return
    drop = np.arange(top, bottom, dtype=np.float32) + (0.5 - view.horizon)
    z = ((view.eye * view.focal) / drop)[:, None]
    x = (np.arange(left, right, dtype=np.float32) + (0.5 - view.vanishing)) * z / view.focal
    along = (stop[0] - start[0]), (stop[1] - start[1])
    length = max(float(along[0] * along[0] + along[1] * along[1]), 1e-6)
    share = np.clip(((x - start[0]) * along[0] + (z - start[1]) * along[1]) / length, 0, 1)
    off_x, off_z = x - start[0] - share * along[0], z - start[1] - share * along[1]
    distance = np.sqrt(off_x * off_x + off_z * off_z)
    if dapple:
        distance = distance + sample_points(z * 18, x * 18) * (radius * 1.3)
    shade = np.clip(((radius + soft / 2) - distance) / soft, 0, 1) * strength
    canvas.darken((top, left), shade)
