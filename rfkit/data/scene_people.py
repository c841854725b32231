"""People on foot and on two wheels: jointed figures with a stride."""

from __future__ import annotations

import numpy as np

from rfkit.data.scene_canvas import Canvas, Colour
from rfkit.data.scene_classes import Fine
from rfkit.data.scene_layout import Layout, Thing
from rfkit.data.scene_sketch import Frame, Sketch

__all__ = ["paint_cyclist", "paint_person"]


def _lit(layout: Layout, shadow: float, colour: Colour, share: float = 1.0) -> Colour:
    """Clothes scatter light from all round: the ambient light and half the sun."""
    light = layout.light
    return tuple(
        float(c * share * (a + 0.5 * s * (1 - shadow))) for c, a, s in zip(colour, light.ambient, light.sun, strict=True)
    )


def _shading(layout: Layout, shadow: float) -> Colour:
    strength = 0.10 + 0.28 * layout.light.sun[0] * (1 - shadow)
    towards = 1 if layout.light.direction[0] > 0 else -1
    return (-towards * strength, towards * strength, 0.12)


def paint_person(canvas: Canvas, layout: Layout, thing: Thing, *, owner: int, shadow: float) -> None:
    """Paint somebody who walks along or across the street, or stands."""
    sketch = Sketch(canvas.view, fine=thing.fine)
    scale = thing.height / 1.75
    swing = float(np.sin(thing.phase)) if thing.variant != 3 else 0.05
    # Seen from the side the legs part; from the front they hardly do.
    facing = float(np.sin(thing.heading))
    spread = abs(facing)

    def at(p: float, q: float) -> tuple[float, float, float]:
        return (thing.x + p * scale, q * scale, thing.z)

    def ink(colour: Colour, share: float = 1.0) -> Colour:
        return _lit(layout, shadow, colour, share)

    coat, legs = thing.colour, thing.accent
    skin = [(0.78, 0.58, 0.46), (0.62, 0.43, 0.32), (0.38, 0.25, 0.18), (0.85, 0.66, 0.54)][thing.seed % 4]
    hair = [(0.10, 0.07, 0.05), (0.25, 0.16, 0.09), (0.45, 0.34, 0.2), (0.5, 0.5, 0.5)][thing.seed // 4 % 4]
    wide = 0.20 - 0.05 * spread
    forward = 1 if facing > 0 else -1
    for number, phase in enumerate((-swing, swing)):
        apart = (0.09 if number else -0.09) * (1 - spread * 0.7)
        knee = at(apart + phase * 0.20 * spread * forward + 0.04 * spread * forward, 0.50)
        lift = max(0.0, -phase) * 0.10
        foot = at(apart + phase * 0.36 * spread * forward, 0.06 + lift + (0.03 * phase if spread < 0.5 else 0.0))
        shade = 0.8 if number == 0 else 1.0
        sketch.limb([at(apart * 0.8, 0.90), knee, foot], 0.145 * scale, ink(legs, shade))
        toe = at(apart + phase * 0.36 * spread * forward + 0.10 * spread * forward, 0.04 + lift)
        sketch.limb([foot, toe], 0.09 * scale, ink((0.08, 0.07, 0.07)))
    swinging = [(-1, -swing), (1, swing)]
    for number, (which, phase) in enumerate(swinging):
        shoulder = at(which * wide * (1 - spread * 0.6), 1.40)
        elbow = at(which * (wide + 0.05) * (1 - spread * 0.7) - phase * 0.14 * spread * forward, 1.13)
        hand = at(which * (wide + 0.04) * (1 - spread * 0.7) - phase * 0.26 * spread * forward + 0.05 * spread * forward, 0.88)
        if number == 1:
            _torso(sketch, at, wide, ink, coat, thing.variant)
        sketch.limb([shoulder, elbow, hand], 0.10 * scale, ink(coat, 0.78 if number == 0 else 0.92))
        sketch.blob(hand, (0.045 * scale, 0.05 * scale), ink(skin))
    sketch.limb([at(0, 1.44), at(0.01 * facing, 1.55)], 0.10 * scale, ink(skin, 0.85))
    head = at(0.03 * facing, 1.635)
    sketch.blob(head, (0.085 * scale, 0.115 * scale), ink(skin))
    away = float(np.cos(thing.heading)) > 0.2
    cap = at(0.03 * facing - 0.025 * facing, 1.68 if not away else 1.66)
    sketch.blob(cap, (0.092 * scale, (0.075 if not away else 0.105) * scale), ink(hair))
    if thing.variant == 1:
        sketch.blob(at(-0.14 * forward * spread - 0.22 * (1 - spread), 0.95), (0.10 * scale, 0.14 * scale), ink((0.25, 0.17, 0.12)))
    sketch.paint(canvas, depth=thing.z, owner=owner, shading=_shading(layout, shadow), grain=0.14)


def _torso(sketch: Sketch, at, wide: float, ink, coat: Colour, variant: int) -> None:
    hem = 0.62 if variant == 2 else 0.84
    flare = 0.05 if variant == 2 else 0.0
    sketch.polygon(
        [at(-wide, 1.44), at(wide, 1.44), at(wide * 0.85, 1.1), at(wide * 0.86 + flare, hem), at(-wide * 0.86 - flare, hem), at(-wide * 0.85, 1.1)],
        ink(coat),
    )
    sketch.limb([at(-wide + 0.05, 1.42), at(wide - 0.05, 1.42)], 0.12, ink(coat))


def paint_cyclist(canvas: Canvas, layout: Layout, thing: Thing, *, owner: int, shadow: float) -> None:
    """Paint a bicycle or a motorcycle with its rider."""
    sketch = Sketch(canvas.view, fine=thing.fine)
    frame = Frame(thing.x, thing.z, thing.heading)
    scale = thing.height / 1.78
    motor = thing.kind == "motorcycle"

    def at(s: float, t: float, y: float) -> tuple[float, float, float]:
        return frame.world(s * scale, t * scale, y * scale)

    def ink(colour: Colour, share: float = 1.0) -> Colour:
        return _lit(layout, shadow, colour, share)

    radius, base = (0.31, 0.68) if motor else (0.34, 0.52)
    tyre = 0.12 if motor else 0.045
    turn = [2 * np.pi * k / 18 for k in range(19)]
    for s in (-base, base):
        ring = [at(s + radius * float(np.cos(a)), 0.0, radius + radius * float(np.sin(a))) for a in turn]
        sketch.limb(ring, tyre * scale, ink((0.05, 0.05, 0.055)))
        sketch.limb([at(s, 0, 0.02), at(s, 0, 2 * radius)], tyre * scale * 1.1 if abs(frame.sine) < 0.5 else 0.012, ink((0.06, 0.06, 0.06)))
    _machine(sketch, at, ink, thing, motor, base, radius)
    _rider(sketch, at, ink, thing, motor)
    sketch.paint(canvas, depth=thing.z, owner=owner, shading=_shading(layout, shadow), grain=0.12)


def _machine(sketch: Sketch, at, ink, thing: Thing, motor: bool, base: float, radius: float) -> None:
    paint = ink(thing.accent)
    if motor:
        sketch.polygon([at(-0.75, 0, 0.72), at(-0.3, 0, 0.86), at(0.35, 0, 0.92), at(0.5, 0, 0.75), at(0.25, 0, 0.34), at(-0.3, 0, 0.34)], paint)
        sketch.limb([at(-0.2, 0, 0.5), at(0.2, 0, 0.5)], 0.34, ink((0.2, 0.2, 0.21)))
        sketch.limb([at(base, 0, radius), at(0.45, 0, 1.0)], 0.07, ink((0.35, 0.35, 0.36)))
        sketch.blob(at(-0.78, 0, 0.75), (0.07, 0.06), (0.6, 0.06, 0.05))
    else:
        crank = at(-0.02, 0, 0.30)
        for line in ([at(-base, 0, radius), crank, at(0.40, 0, 0.80), at(-0.18, 0, 0.82)], [at(-base, 0, radius), at(-0.18, 0, 0.82), crank], [at(base, 0, radius), at(0.38, 0, 0.95)]):
            sketch.limb(line, 0.045, paint)
        sketch.limb([at(-0.30, 0, 0.90), at(-0.08, 0, 0.91)], 0.07, ink((0.05, 0.05, 0.05)))
    sketch.limb([at(0.38, -0.27, 1.02), at(0.38, 0.27, 1.02)], 0.05, ink((0.10, 0.10, 0.10)))


def _rider(sketch: Sketch, at, ink, thing: Thing, motor: bool) -> None:
    rider = Fine.RIDER
    coat, legs = ink(thing.colour), (0.16, 0.18, 0.25)
    turn = thing.phase
    for side, angle in ((-1, turn), (1, turn + np.pi)):
        foot = at(-0.02 + 0.15 * float(np.cos(angle)), side * 0.11, 0.30 + 0.15 * float(np.sin(angle)))
        knee = at(0.20 + 0.06 * float(np.cos(angle)), side * 0.14, 0.64 + 0.10 * float(np.sin(angle)))
        if motor:
            foot, knee = at(-0.05, side * 0.26, 0.34), at(0.22, side * 0.28, 0.68)
        sketch.limb([at(-0.2, side * 0.1, 0.95), knee, foot], 0.14, ink(legs, 0.8 if side < 0 else 1.0), fine=rider)
        sketch.limb([foot, at(0.12, side * 0.12, 0.28)], 0.08, ink((0.06, 0.06, 0.06)), fine=rider)
    sketch.polygon(
        [at(-0.28, -0.17, 0.88), at(-0.28, 0.17, 0.88), at(0.10, 0.21, 1.44), at(0.10, -0.21, 1.44)], coat, fine=rider
    )
    sketch.limb([at(-0.18, 0, 0.96), at(0.08, 0, 1.40)], 0.27, coat, fine=rider)
    sketch.limb([at(0.08, -0.15, 1.42), at(0.08, 0.15, 1.42)], 0.14, coat, fine=rider)
    for side in (-1, 1):
        sketch.limb([at(0.10, side * 0.2, 1.38), at(0.22, side * 0.27, 1.14), at(0.38, side * 0.24, 1.04)], 0.09, ink(thing.colour, 0.85), fine=rider)
    sketch.limb([at(0.12, 0, 1.46), at(0.17, 0, 1.56)], 0.1, ink((0.7, 0.52, 0.42)), fine=rider)
    sketch.blob(at(0.20, 0, 1.64), (0.095, 0.115), ink((0.74, 0.55, 0.44)), fine=rider)
    helmet = [(0.85, 0.85, 0.85), (0.1, 0.1, 0.12), (0.6, 0.1, 0.1), (0.2, 0.15, 0.1)][thing.seed % 4]
    sketch.blob(at(0.18, 0, 1.68), (0.115, 0.14 if motor else 0.085), ink(helmet), fine=rider)
