"""From a layout to pixels: painted from far to near, then seen through a camera."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int16, UInt8

from rfkit.data.scene_bodies import VEHICLES
from rfkit.data.scene_canvas import Canvas, View
from rfkit.data.scene_facade import paint_lot
from rfkit.data.scene_furniture import paint_post
from rfkit.data.scene_ground import paint_ground
from rfkit.data.scene_layout import Layout, Lot, Thing
from rfkit.data.scene_people import paint_cyclist, paint_person
from rfkit.data.scene_shadows import cast_shadow
from rfkit.data.scene_sky import paint_sky
from rfkit.data.scene_trees import paint_tree
from rfkit.data.scene_vehicles import paint_vehicle

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
    red, green, blue = light.sky_low
    canvas = Canvas(view, haze=(0.92 * red, 0.92 * green, 0.92 * blue), visibility=light.visibility)
    paint_sky(canvas, layout)
    paint_ground(canvas, layout)
    blocked = {number: _blocked(layout, thing) for number, thing in enumerate(layout.things) if _in_view(view, thing)}
    for number, share in blocked.items():
        cast_shadow(canvas, layout, layout.things[number], blocked=share)
    for item in _by_depth(layout):
        if isinstance(item, Lot):
            paint_lot(canvas, layout, item)
        elif item in blocked:
            thing = layout.things[item]
            _PAINTERS[thing.kind](canvas, layout, thing, owner=item, shadow=blocked[item])
    return Picture(_expose(canvas, layout, noise), canvas.fine, canvas.owner)


_PAINTERS: dict[str, Callable] = {
    **dict.fromkeys(VEHICLES, paint_vehicle),
    **dict.fromkeys(("lamp post", "sign", "traffic light", "bollard"), paint_post),
    **dict.fromkeys(("tree", "bush"), paint_tree),
    **dict.fromkeys(("bicyclist", "motorcycle"), paint_cyclist),
    "pedestrian": paint_person,
}


def _by_depth(layout: Layout) -> list[Lot | int]:
    """Lots and the numbers of things in painting order; of two lots with one end, the one farther out comes first."""
    items: list[tuple[float, float, Lot | int]] = []
    items += [(-(lot.stop if lot.order is None else lot.order), -abs(lot.x), lot) for lot in layout.lots]
    for number, thing in enumerate(layout.things):
        items.append((-(thing.z if thing.order is None else thing.order), 0.0, number))
    return [item for _, _, item in sorted(items, key=lambda item: item[:2])]


def _in_view(view: View, thing: Thing) -> bool:
    """Whether any of a thing can be in the picture, judged by a box around it."""
    reach = VEHICLES[thing.kind].length / 2 if thing.kind in VEHICLES else max(2.2, 0.6 * thing.height)
    near, far = max(thing.z - reach, 0.5), thing.z + reach
    left = min(view.column(thing.x - reach, near), view.column(thing.x - reach, far))
    right = max(view.column(thing.x + reach, near), view.column(thing.x + reach, far))
    return left < view.width and right > 0


def _blocked(layout: Layout, thing: Thing) -> float:
    """Share of the sun that buildings keep from a thing, measured at two heights."""
    heights = np.array([0.25, 0.75], dtype=np.float32) * thing.height
    depths = layout.sun_blocked(np.full_like(heights, thing.x), heights, np.full_like(heights, thing.z))
    return float((depths[0] > 0) + (depths[1] > 0)) / 2


def _expose(canvas: Canvas, layout: Layout, noise: np.random.Generator) -> np.ndarray:
    """What a camera makes of the light: vignette, exposure, a shoulder for highlights, blur and noise."""
    view = canvas.view
    colour = canvas.colour
    _blur(colour, layout.light.blur)
    row = (np.arange(view.height, dtype=np.float32) / view.height - 0.5)[:, None]
    column = np.arange(view.width, dtype=np.float32) / view.width - 0.5
    colour *= layout.light.exposure * (1 - 0.45 * (row * row + column * column))
    np.clip(colour, 0, 4, out=colour)
    colour /= 1 + colour * 0.18
    # Between linear and a square root: the root is exact on every machine, a power is not.
    root = np.sqrt(colour)
    root *= 0.3 * 255
    colour *= 0.7 * 255
    colour += root
    grain = noise.integers(0, 256, size=(3, view.height, view.width + 1), dtype=np.uint8).astype(np.float32)
    grain *= 0.022
    colour += grain[:, :, 1:]
    colour -= grain[:, :, :-1]
    colour += 0.5
    np.clip(colour, 0, 255, out=colour)
    return colour.astype(np.uint8).transpose(1, 2, 0)


def _blur(colour: np.ndarray, strength: float) -> None:
    """Mix each pixel with its neighbours, in place; a lens is never quite sharp."""
    k = strength
    for plane in colour:
        across = plane[:, 2:] + plane[:, :-2]
        plane[:, 1:-1] *= 1 - 2 * k
        plane[:, 1:-1] += k * across
        down = plane[2:] + plane[:-2]
        plane[1:-1] *= 1 - 2 * k
        plane[1:-1] += k * down
