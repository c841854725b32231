"""Trees and bushes: crowns cut out of noise, on trunks, in leaf or bare."""

from __future__ import annotations

import math

import numpy as np

from rfkit.data.scene_canvas import Canvas
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


def _paint_crown(canvas: Canvas, layout: Layout, thing: Thing, shadow: float, owner: int) -> None:
    view, light = canvas.view, layout.light
    middle, half_width, half_height = crown(thing)
    scale = view.focal / thing.z
    centre = view.column(thing.x, thing.z), view.row(middle, thing.z)
    reach = 1.25
    left, right = max(0, int(centre[0] - reach * half_width * scale)), min(view.width, int(centre[0] + reach * half_width * scale) + 1)
    top, bottom = max(0, int(centre[1] - reach * half_height * scale)), min(view.height, int(centre[1] + reach * half_height * scale) + 1)
    if left >= right or top >= bottom:
        return
    # Metres from the middle of the crown; noise is fixed to the tree, so that it does not crawl with the size.
    x = (np.arange(left, right, dtype=np.float32) + np.float32(0.5 - centre[0])) / np.float32(scale)
    y = (np.float32(centre[1]) - np.arange(top, bottom, dtype=np.float32) - np.float32(0.5)) / np.float32(scale)
    seed = thing.seed % 503
    size = np.float32(5.0 / thing.height)
    clump = sample_grid(y * 26 * size + seed, x * 26 * size + seed * 3)
    fine = np.float32(900.0 / thing.height)
    leaf = sample_grid(y * fine + seed, x * fine)
    towards = np.float32(-2.2 if light.direction[0] > 0 else 2.2)
    lit_clump = sample_grid((y + np.float32(0.07 / size)) * 26 * size + seed, (x - towards * np.float32(0.035) / size) * 26 * size + seed * 3)
    u, v = x / np.float32(half_width), y / np.float32(half_height)
    if thing.variant != 2:
        # A crown is wider below its middle than above it.
        u = u[None, :] * (1 + np.float32(0.16) * v[:, None])
    else:
        u = u[None, :]
    inside = np.float32(0.80) - (u * u + (v * v)[:, None])
    body = inside + np.float32(1.05) * clump + np.float32(0.45) * leaf
    sharp = np.float32(min(max(scale * 0.2, 1.5), 9.0))
    alpha = np.clip(body * sharp + np.float32(0.5), 0, 1)
    solid = body > 0
    if thing.variant == 3:
        # Twigs: thin broken lines where a fine noise crosses zero.
        lace = sample_grid(y * fine * 2 + seed, x * fine * 2) + np.float32(0.6) * leaf
        broken = np.clip(leaf * 3 + np.float32(0.6), 0, 1)
        alpha = np.clip(inside * 3, 0, 1) * np.clip(1 - np.abs(lace) * np.float32(4.5), 0, 1) * broken * np.float32(0.62)
        solid = (inside + np.float32(0.5) * clump) > 0.18
    relief = np.clip((clump - lit_clump) * np.float32(2.0), np.float32(-0.5), np.float32(0.6))
    depth = np.float32(0.62) + np.float32(0.25) * v[:, None] - np.float32(0.10 if towards > 0 else -0.10) * u + np.float32(0.42) * leaf
    sun = (1 - shadow) * max(light.direction[1], 0.2)
    colours = []
    for channel in range(3):
        bright = np.float32(light.ambient[channel]) * depth + np.float32(light.sun[channel] * sun) * (depth * np.float32(0.75) + relief)
        shade = np.maximum(bright, np.float32(0.08))
        colours.append(np.float32(thing.colour[channel] if thing.variant != 3 else thing.accent[channel]) * shade)
    canvas.blend((top, left), colours, alpha=alpha, depth=thing.z, fine=int(thing.fine), owner=owner, solid=solid)
