"""From a layout to pixels: painted from far to near, then seen through a camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int16, UInt8

from rfkit.data.scene_canvas import Canvas
from rfkit.data.scene_classes import Fine
from rfkit.data.scene_facade import paint_lot
from rfkit.data.scene_ground import paint_ground, paint_sky
from rfkit.data.scene_layout import Layout, Lot, Thing

__all__ = ["Picture", "render"]


@dataclass(frozen=True, eq=False)
class Picture:
    """A rendered scene: the image, the fine class of each pixel, and the thing it belongs to (-1 for none)."""

    image: UInt8[np.ndarray, "height width 3"]
    fine: UInt8[np.ndarray, "height width"]
    owner: Int16[np.ndarray, "height width"]


def render(layout: Layout, size: tuple[int, int], *, noise: np.random.Generator) -> Picture:
    """Render a layout.

    Args:
        layout: what stands where.
        size: (height, width) in pixels.
        noise: where the noise of the camera is drawn from.

    Returns:
        Image, fine classes and owners.
    """
    view = layout.view(size)
    light = layout.light
    haze = tuple(0.92 * low for low in light.sky_low)
    canvas = Canvas(view, haze=haze, visibility=light.visibility)
    paint_sky(canvas, layout)
    paint_ground(canvas, layout)
    for _, number, item in _by_depth(layout):
        if isinstance(item, Lot):
            paint_lot(canvas, layout, item)
    return Picture(_expose(canvas, layout, noise), canvas.fine, canvas.owner)


def _by_depth(layout: Layout) -> list[tuple[float, int, Lot | Thing]]:
    """Everything in painting order: a lot by its far end, since things before it never stand behind it."""
    items: list[tuple[float, int, Lot | Thing]] = [(lot.stop, -1, lot) for lot in layout.lots]
    items += [(thing.z, number, thing) for number, thing in enumerate(layout.things)]
    return sorted(items, key=lambda item: -item[0])


def _expose(canvas: Canvas, layout: Layout, noise: np.random.Generator) -> np.ndarray:
    """What a camera makes of the light: vignette, exposure, a shoulder for highlights, blur and noise."""
    view = canvas.view
    colour = canvas.colour
    grain = noise.integers(0, 256, size=(2, 3, view.height, view.width), dtype=np.uint8)
    row = (np.arange(view.height, dtype=np.float32) / view.height - np.float32(0.5))[:, None]
    column = np.arange(view.width, dtype=np.float32) / view.width - np.float32(0.5)
    gain = np.float32(layout.light.exposure) * (1 - np.float32(0.45) * (row * row + column * column))
    colour = np.clip(colour * gain, 0, 4)
    colour = colour * (1 + colour * np.float32(0.25)) / (1 + colour * np.float32(0.42))
    colour = colour * 255
    colour += (grain[0].astype(np.float32) - grain[1]) * np.float32(0.02)
    return np.clip(colour + np.float32(0.5), 0, 255).astype(np.uint8).transpose(1, 2, 0)
