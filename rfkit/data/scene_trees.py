"""Trees and bushes: crowns cut out of noise, on trunks, in leaf or bare."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rfkit.data.scene_canvas import Canvas, View
from rfkit.data.scene_layout import Layout, Thing
from rfkit.data.scene_noise import sample_grid
from rfkit.data.scene_sketch import Frame, Sketch

__all__ = ["crown", "paint_tree"]


def paint_tree(canvas: Canvas, layout: Layout, thing: Thing, *, owner: int, shadow: float) -> None:
    """Paint a tree (variants: 0 and 1 in leaf, 2 slender, 3 bare) or a bush."""
    light = layout.light
    ambient = [float(a + 0.45 * s * (1 - shadow)) for a, s in zip(light.ambient, light.sun, strict=True)]
    if thing.kind == "tree":
        _paint_wood(canvas, thing, ambient, owner)
    _paint_crown(canvas, layout, thing, shadow, owner)


def crown(thing: Thing) -> tuple[float, float, float]:
    """Height of the middle of the crown, half its width, half its height, in metres."""
    if thing.kind == "bush":
        return thing.height * 0.45, thing.height * 0.75, thing.height * 0.62
    share = {2: (0.58, 0.20, 0.46)}.get(thing.variant, (0.66, 0.36, 0.38))
    return thing.height * share[0], thing.height * share[1], thing.height * share[2]


def _paint_wood(canvas: Canvas, thing: Thing, ambient: list[float], owner: int) -> None:
    """Trunk and branches, forking at random; in leaf, only the first fork."""
    sketch = Sketch(canvas.view, Frame(thing.x, thing.z, scale=thing.height), fine=thing.fine)
    generator = np.random.Generator(np.random.Philox(key=[thing.seed, 11]))
    red, green, blue = (b * a for b, a in zip(thing.accent, ambient, strict=True))
    bark = (red, green, blue)
    bare = thing.variant == 3
    fork, thick = (0.30 if bare else 0.42), 0.036
    outline = [(-0.75, 0.0), (-0.45, 0.3), (-0.36, 1.0), (0.36, 1.0), (0.45, 0.3), (0.75, 0.0)]
    sketch.polygon([(0.0, t * thick, y * fork) for t, y in outline], bark)
    # No more branches than can be seen.
    pixels = thing.height * canvas.view.focal / thing.z
    levels = (5 if pixels > 150 else 4 if pixels > 60 else 3) if bare else 1
    tips = [(0.0, fork, 0.0, thick * 0.6)]
    for level in range(levels):
        grown = []
        for t, y, tilt, width in tips:
            for turn in (-1, 0, 1) if level == 0 else (-1, 1):
                a, b, c = generator.random(3).tolist()
                angle = tilt + turn * (0.30 + 0.35 * a) + 0.2 * (b - 0.5)
                reach = (0.24 if level == 0 else 0.20 * 0.78**level) * (0.7 + 0.6 * c)
                end = (t + reach * math.sin(angle), y + reach * math.cos(angle) * 0.95)
                sketch.limb([(0.0, t, y), (0.0, *end)], width * 0.72, bark)
                grown.append((*end, angle, width * 0.62))
        tips = grown
    sketch.paint(canvas, owner=owner, shading=(0.1, -0.1, 0.0), grain=0.25)


@dataclass(frozen=True)
class _Window:
    """The pixels around a crown: upper left corner, and metres from the middle of the crown (up and to the right)."""

    origin: tuple[int, int]
    up: np.ndarray
    across: np.ndarray


def _window(view: View, thing: Thing, half_width: float, half_height: float, middle: float) -> _Window | None:
    scale = view.focal / thing.z
    column, row = view.column(thing.x, thing.z), view.row(middle, thing.z)
    # The noise reaches beyond the ellipse.
    wide, high = 1.25 * half_width * scale, 1.25 * half_height * scale
    left, right = max(0, int(column - wide)), min(view.width, int(column + wide) + 1)
    top, bottom = max(0, int(row - high)), min(view.height, int(row + high) + 1)
    if left >= right or top >= bottom:
        return None
    across = (np.arange(left, right, dtype=np.float32) + (0.5 - column)) / scale
    up = (row - 0.5 - np.arange(top, bottom, dtype=np.float32)) / scale
    return _Window((top, left), up, across)


def _paint_crown(canvas: Canvas, layout: Layout, thing: Thing, shadow: float, owner: int) -> None:
    """Paint what is above a threshold: an ellipse plus noise, lit from the side of the sun."""
    light = layout.light
    middle, half_width, half_height = crown(thing)
    window = _window(canvas.view, thing, half_width, half_height, middle)
    if window is None:
        return
    # The noise is measured from the middle of the tree, so that a tree is the same at any distance and size.
    seed, coarse, fine = thing.seed % 503, 130 / thing.height, 900 / thing.height
    y, x = window.up, window.across
    clump = sample_grid(y * coarse + seed, x * coarse + seed * 3)
    leaf = sample_grid(y * fine + seed, x * fine)
    towards = 1.0 if light.direction[0] > 0 else -1.0
    # A point is lit if it is denser than what is before it on the way to the sun.
    before = sample_grid(y * coarse + seed + 1.8, x * coarse + seed * 3 + towards * 2.0)
    v = (y / half_height)[:, None]
    u = (x / half_width)[None, :] * (1.0 if thing.variant == 2 else 1 + 0.16 * v)
    inside = 0.80 - (u * u + v * v)
    if thing.variant == 3:
        lace = sample_grid(y * fine * 2 + seed, x * fine * 2) + 0.6 * leaf
        # Twigs: thin broken lines where a fine noise crosses zero.
        broken = np.clip(leaf * 3 + 0.6, 0, 1) * np.clip(1 - np.abs(lace) * 4.5, 0, 1)
        alpha, solid = np.clip(inside * 3, 0, 1) * broken * 0.62, inside + 0.5 * clump > 0.18
    else:
        body = inside + 1.05 * clump + 0.45 * leaf
        sharp = min(max(0.2 * canvas.view.focal / thing.z, 1.5), 9.0)
        alpha, solid = np.clip(body * sharp + 0.5, 0, 1), body > 0
    relief = np.clip((clump - before) * 2.0, -0.5, 0.6)
    ambient = 0.62 + 0.25 * v + 0.10 * towards * u + 0.42 * leaf
    sun = (1 - shadow) * max(light.direction[1], 0.2)
    paint = thing.accent if thing.variant == 3 else thing.colour
    colours = [
        paint[k] * np.maximum(light.ambient[k] * ambient + light.sun[k] * sun * (0.75 * ambient + relief), 0.08)
        for k in range(3)
    ]
    canvas.blend(window.origin, colours, alpha=alpha, depth=thing.z, fine=int(thing.fine), owner=owner, solid=solid)
