"""The ground: road and markings, kerbs, pavements and grass."""

from __future__ import annotations

import numpy as np

from rfkit.data.scene_bands import band, cover
from rfkit.data.scene_canvas import Canvas
from rfkit.data.scene_classes import Fine
from rfkit.data.scene_layout import Layout
from rfkit.data.scene_noise import sample_points
from rfkit.data.scene_section import Section

__all__ = ["paint_ground"]

_MARKING = 0.86


def paint_ground(canvas: Canvas, layout: Layout) -> None:
    """Paint the ground from the horizon down."""
    view = canvas.view
    first = max(0, int(np.floor(view.horizon + 0.51)))
    if first >= view.height:
        return
    drop = (np.arange(first, view.height, dtype=np.float32) + (0.5 - view.horizon)) / view.focal
    depth = np.minimum(view.eye / drop, 500)
    wide, deep = depth / view.focal, depth * depth / (view.focal * view.eye)
    across = np.arange(view.width, dtype=np.float32) + (0.5 - view.vanishing)
    x, z = across[None, :] * wide[:, None], depth[:, None]
    albedo, marks, joints, fine = _surface(layout, Section(layout.street, x, wide), depth, deep)
    coarse, wear = _wear(layout, x, z, wide[:, None])
    marks = np.clip(marks * (0.82 + 0.35 * coarse), 0, 1)
    shadow = cover(layout.sun_blocked(x, np.zeros_like(x), z), 0.33)
    lit, dark = layout.light.on((0.0, 1.0, 0.0)), layout.light.on((0.0, 1.0, 0.0), shadow=1.0)
    colours = []
    for channel, plane in enumerate(albedo):
        plane = plane * wear * (1 - 0.45 * joints)
        plane += (_MARKING - plane) * marks
        colours.append(plane * (lit[channel] + (dark[channel] - lit[channel]) * shadow))
    fine = np.where((marks > 0.5) & (fine == Fine.ROAD), np.uint8(Fine.LANE_MARKING), fine)
    canvas.blend((first, 0), colours, alpha=np.ones_like(x), depth=z, fine=fine)


def _surface(
    layout: Layout, section: Section, depth: np.ndarray, deep: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray, np.ndarray]:
    """Albedo, share of markings, share of joints, and fine class of each pixel."""
    street = layout.street
    albedo = [section.average(name) for name in ("red", "green", "blue")]
    fine = section.fine
    joints = band(depth, deep, period=street.slab * 1.5, length=0.025)[:, None] * section.average("slabs")
    joints += section.average("joints")
    marks = section.average("dashed") * band(depth, deep, period=9.0, length=4.0, start=-1.0)[:, None]
    marks += section.average("solid")
    for crossing in street.crossings:
        inside = cover(np.minimum(depth - crossing.start, crossing.stop - depth), deep)[:, None]
        marks *= 1 - inside
        if crossing.zebra:
            marks += inside * section.average("zebra")
        else:
            albedo = [plane + (street.asphalt - plane) * inside for plane in albedo]
            joints *= 1 - inside
            fine = np.where(inside > 0.5, np.uint8(Fine.ROAD), fine)
        stop_line = cover(0.2 - np.abs(depth - (crossing.start - 1.6)), deep)[:, None]
        marks = np.maximum(marks, stop_line * section.average("own"))
    return albedo, marks, joints, fine


def _wear(layout: Layout, x: np.ndarray, z: np.ndarray, wide: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coarse stains, and the brightness of the surface with its grit and patches."""
    shift = layout.seed % 499
    coarse = sample_points(z * 6 + shift, x * 12 + shift)
    # Grit fades where it gets finer than the pixels.
    grit = sample_points(z * 310, x * 330) / (1 + (wide * 50) ** 2)
    patches = np.clip(sample_points(z * 2.2 + 2 * shift, x * 5) * 3 - 0.9, 0, 1)
    return coarse, 1 + 0.14 * coarse + 0.28 * grit - 0.12 * patches
