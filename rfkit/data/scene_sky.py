"""The sky: a gradient, clouds on a flat layer, and a glow around the sun."""

from __future__ import annotations

import numpy as np

from rfkit.data.scene_canvas import Canvas
from rfkit.data.scene_classes import Fine
from rfkit.data.scene_layout import Layout
from rfkit.data.scene_noise import sample_points

__all__ = ["paint_sky"]


def paint_sky(canvas: Canvas, layout: Layout) -> None:
    """Paint the sky down to the horizon, and haze below it."""
    view, light = canvas.view, layout.light
    rows = min(view.height, max(1, int(view.horizon) + 1))
    rise = (view.horizon - np.arange(rows, dtype=np.float32) - 0.5) / view.focal
    rise = np.maximum(rise, 0.004)[:, None]
    across = (np.arange(view.width, dtype=np.float32) + (0.5 - view.vanishing)) / view.focal
    # The higher, the more of the upper colour; 0.55 is about as high as a street camera sees.
    mix = np.minimum(rise * 1.8, 1)
    mix = mix * (2 - mix)
    cloud, cover = _clouds(layout, rise, across)
    dx, dy, dz = light.direction
    ahead = max(dz, 0.25)
    near = 1 / (1 + 14 * ((across - dx / ahead) ** 2 + (rise - dy / ahead) ** 2))
    for channel in range(3):
        sky = light.sky_low[channel] + (light.sky_top[channel] - light.sky_low[channel]) * mix
        sky = sky + (light.cloud_colour[channel] * (0.88 + 0.16 * cloud) - sky) * cover
        canvas.colour[channel, :rows] = sky + 0.25 * light.sun[channel] * near
    canvas.colour[:, rows:] = canvas.haze[:, None, None]
    canvas.fine[:rows] = Fine.SKY


def _clouds(layout: Layout, rise: np.ndarray, across: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Thickness of the clouds, and how much of the sky they cover."""
    # A layer at a fixed height: towards the horizon it is far away and seen at a flat angle.
    plane = 1 / (rise + 0.12)
    shift = layout.seed % 509
    drift = plane * 55 + shift
    cloud = sample_points(drift, across * plane * 60 + shift * 3)
    cloud += 0.35 * sample_points(drift * 4, across * plane * 200)
    cover = np.clip((cloud + (1.1 * layout.light.cloud - 0.45)) * 2.2, 0, 1)
    return cloud, cover * cover * (3 - 2 * cover) * np.minimum(rise * 9, 1) * 0.85
