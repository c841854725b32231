"""The sky and the ground of a scene: what is behind and below everything else."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from rfkit.data.scene_canvas import Canvas
from rfkit.data.scene_classes import Fine
from rfkit.data.scene_layout import Layout, Street
from rfkit.data.scene_noise import sample_points

__all__ = ["paint_ground", "paint_sky", "sun_blocked"]


def paint_sky(canvas: Canvas, layout: Layout) -> None:
    """Gradient, clouds on a flat layer, and a glow around the sun, down to the horizon."""
    view, light = canvas.view, layout.light
    rows = min(view.height, max(1, int(view.horizon) + 1))
    rise = (view.horizon - np.arange(rows, dtype=np.float32) - np.float32(0.5)) / np.float32(view.focal)
    rise = np.maximum(rise, np.float32(0.004))[:, None]
    across = (np.arange(view.width, dtype=np.float32) + np.float32(0.5 - view.vanishing)) / np.float32(view.focal)
    # The higher in the sky, the more of the upper colour; 0.55 is about as high as a street camera sees.
    mix = np.minimum(rise * np.float32(1.8), 1)
    mix = mix * (2 - mix)
    plane = 1 / (rise + np.float32(0.12))
    shift = layout.seed % 509
    drift = plane * 55 + shift
    cloud = sample_points(drift, across * plane * 60 + shift * 3)
    cloud += np.float32(0.35) * sample_points(drift * 4, across * plane * 200)
    cover = np.clip((cloud + np.float32(1.1 * light.cloud - 0.45)) * np.float32(2.2), 0, 1)
    cover = cover * cover * (3 - 2 * cover) * np.minimum(rise * 9, 1)
    dx, dy, dz = light.direction
    # Only a sun before the camera shows.
    near = 1 / (1 + 14 * ((across - dx / max(dz, 0.25)) ** 2 + (rise - dy / max(dz, 0.25)) ** 2))
    lower, upper = np.float32(light.sky_low), np.float32(light.sky_top)
    relief = np.float32(0.88) + np.float32(0.16) * cloud
    for channel in range(3):
        sky = lower[channel] + (upper[channel] - lower[channel]) * mix
        sky = sky + (np.float32(light.cloud_colour[channel]) * relief - sky) * cover * np.float32(0.85)
        canvas.colour[channel, :rows] = sky + np.float32(0.25 * light.sun[channel]) * near
    canvas.colour[:, rows:] = canvas.haze[:, None, None]
    canvas.fine[:rows] = Fine.SKY


STEP = 1 / 96
REACH = 48.0


def paint_ground(canvas: Canvas, layout: Layout) -> None:
    """Road, markings, kerbs and pavements by their cross section, averaged over the footprint of each pixel."""
    view, street, light = canvas.view, layout.street, layout.light
    first = max(0, int(np.floor(view.horizon + 0.51)))
    if first >= view.height:
        return
    drop = (np.arange(first, view.height, dtype=np.float32) + np.float32(0.5 - view.horizon)) / np.float32(view.focal)
    depth = np.minimum(np.float32(view.eye) / drop, np.float32(500))
    wide = depth / np.float32(view.focal)
    deep = depth * depth / np.float32(view.focal * view.eye)
    across = np.arange(view.width, dtype=np.float32) + np.float32(0.5 - view.vanishing)
    x = across[None, :] * wide[:, None]
    section = _cross_section(street)
    low, high = _footprint(x, wide)
    albedo = [_average(section[channel], low, high) for channel in range(3)]
    fine = section["fine"][np.clip(((x + np.float32(REACH)) / np.float32(STEP)).astype(np.int32), 0, len(section["fine"]) - 1)]
    joints = _pulse(depth, deep, street.slab * 1.5, 0.025)[:, None] * _average(section["slabs"], low, high)
    joints += _average(section["joints"], low, high)
    marks = _average(section["solid"], low, high)
    marks += _average(section["dashed"], low, high) * _pulse(depth + 1, deep, 9.0, 4.0)[:, None]
    for crossing in street.crossings:
        inside = np.clip(np.minimum(depth - crossing.start, crossing.stop - depth) / deep + np.float32(0.5), 0, 1)[:, None]
        if crossing.zebra:
            marks = np.maximum(marks * (1 - inside), inside * _average(section["zebra"], low, high))
        else:
            albedo = [plane + (np.float32(street.asphalt) - plane) * inside for plane in albedo]
            marks *= 1 - inside
            joints *= 1 - inside
            fine = np.where(inside > 0.5, np.uint8(Fine.ROAD), fine)
    for crossing in street.crossings:
        stop = np.clip((np.float32(0.2) - np.abs(depth - np.float32(crossing.start - 1.6))) / deep + np.float32(0.5), 0, 1)
        marks = np.maximum(marks, stop[:, None] * _average(section["own"], low, high))
    shift = layout.seed % 499
    z = depth[:, None]
    coarse = sample_points(z * 6 + shift, x * 12 + shift)
    grit = sample_points(z * 310, x * 330) / (1 + (wide * 50) ** 2)[:, None]
    patches = np.clip(sample_points(z * 2.2 + 2 * shift, x * 5) * 3 - np.float32(0.9), 0, 1)
    wear = 1 + np.float32(0.14) * coarse + np.float32(0.28) * grit - np.float32(0.12) * patches
    marks = np.clip(marks * (np.float32(0.82) + np.float32(0.35) * coarse), 0, 1)
    shadow = _soft(sun_blocked(layout, x, 0.0, z))
    up = light.on((0.0, 1.0, 0.0)), light.on((0.0, 1.0, 0.0), shadow=1.0)
    colours = []
    for channel in range(3):
        plane = albedo[channel] * wear * (1 - np.float32(0.45) * joints)
        plane += (np.float32(0.86) - plane) * marks
        colours.append(plane * (up[0][channel] + (up[1][channel] - up[0][channel]) * shadow))
    fine = np.where((marks > 0.5) & (fine == Fine.ROAD), np.uint8(Fine.LANE_MARKING), fine)
    alpha = np.ones_like(x)
    canvas.blend((first, 0), colours, alpha=alpha, depth=z, fine=fine)


def sun_blocked(
    layout: Layout, x: np.ndarray | float, y: np.ndarray | float, z: np.ndarray | float
) -> Float32[np.ndarray, "..."]:
    """How far, in metres, points lie below the edge of the shadow that the buildings cast; negative in the sun."""
    dx, dy, dz = layout.light.direction
    side = 1 if dx > 0 else -1
    line = layout.street.lines[0 if side < 0 else 1]
    heights = layout.roof_line
    away = (np.float32(line) - x) / np.float32(dx)
    where = np.clip(((z + away * np.float32(dz)) * 4).astype(np.int32) + 160, 0, len(heights) - 1)
    return heights[where] - (y + away * np.float32(dy))


def _soft(metres: np.ndarray) -> np.ndarray:
    return np.clip(metres * np.float32(3) + np.float32(0.5), 0, 1)


def _cross_section(street: Street) -> dict:
    """Albedo, class and markings along x, in steps of `STEP`; all but the class as running sums."""
    x = (np.arange(int(2 * REACH / STEP), dtype=np.float64) + 0.5) * STEP - REACH
    left, right = street.kerbs
    road = (x > left) & (x < right)
    albedo = np.zeros((3, x.size))
    fine = np.full(x.size, Fine.PAVEMENT, dtype=np.uint8)
    albedo[:] = np.array(street.slab_tint)[:, None]
    fine[road] = Fine.ROAD
    albedo[:, road] = street.asphalt * np.array([0.98, 1.0, 1.03])[:, None]
    for lane in street.lanes:
        # Wheels polish two tracks in each lane.
        for track in (lane - 0.8, lane + 0.8):
            albedo[:, np.abs(x - track) < 0.28] *= 1.04
        albedo[:, np.abs(x - lane) < 0.2] *= 0.95
    for side, kerb, verge, line in zip((-1, 1), street.kerbs, street.verge, street.lines, strict=True):
        outward = (x - kerb) * side
        albedo[:, (outward > -0.30) & (outward < 0)] *= 0.78
        albedo[:, (outward >= 0) & (outward < 0.07)] *= 0.5
        albedo[:, (outward >= 0.07) & (outward < 0.22)] = np.array([0.72, 0.71, 0.69])[:, None]
        grass = (outward > 0.22) & (outward < verge) if verge else np.zeros(x.size, dtype=bool)
        grass |= (x - line) * side > 0.3
        albedo[:, grass] = np.array([0.27, 0.33, 0.14])[:, None]
        fine[grass] = Fine.TERRAIN
    solid = np.zeros(x.size)
    dashed = np.zeros(x.size)
    for side, kerb in zip((-1, 1), street.kerbs, strict=True):
        for number in range(street.edge_lines):
            solid[np.abs(x - kerb + side * (0.35 + 0.25 * number)) < 0.05] = 1
    dashed[np.abs(x - street.centre) < 0.06] = 1
    for first, second in zip(street.lanes, street.lanes[1:], strict=False):
        between = (first + second) / 2
        if abs(first - second) < 4 and abs(between - street.centre) > 0.5:
            dashed[np.abs(x - between) < 0.05] = 1
    slabs = (fine == Fine.PAVEMENT).astype(np.float64)
    joints = slabs * ((x / street.slab) % 1 < 0.025 / street.slab)
    zebra = road * ((x % 1.1) < 0.55)
    own = road * ((x - street.centre) * street.centre < 0)
    profiles = {0: albedo[0], 1: albedo[1], 2: albedo[2], "solid": solid, "dashed": dashed}
    profiles |= {"slabs": slabs, "joints": joints, "zebra": zebra, "own": own}
    sums: dict = {key: np.concatenate([[0.0], np.cumsum(profile)]) for key, profile in profiles.items()}
    sums["fine"] = fine
    return sums


def _footprint(x: np.ndarray, wide: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last step of the cross section under each pixel."""
    half = (wide * np.float32(0.5))[:, None]
    low = ((x - half + np.float32(REACH)) / np.float32(STEP)).astype(np.int32)
    high = ((x + half + np.float32(REACH)) / np.float32(STEP)).astype(np.int32)
    limit = int(2 * REACH / STEP)
    low = np.clip(low, 0, limit - 1)
    return low, np.clip(high, low + 1, limit)


def _average(sums: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return ((sums[high] - sums[low]) / (high - low)).astype(np.float32)


def _pulse(position: np.ndarray, width: np.ndarray, period: float, length: float) -> np.ndarray:
    """Share of [position - width/2, position + width/2] that is within `length` after a multiple of `period`."""
    return (_ramp(position + width / 2, period, length) - _ramp(position - width / 2, period, length)) / width


def _ramp(position: np.ndarray, period: float, length: float) -> np.ndarray:
    whole = np.floor(position / np.float32(period))
    rest = position - whole * np.float32(period)
    return whole * np.float32(length) + np.minimum(rest, np.float32(length))
