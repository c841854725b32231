"""People on foot and on two wheels: jointed figures with a stride."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from rfkit.data.scene_canvas import Canvas, Colour
from rfkit.data.scene_classes import Fine
from rfkit.data.scene_layout import Layout, Thing
from rfkit.data.scene_sketch import Frame, Sketch

__all__ = ["paint_cyclist", "paint_person"]

Ink = Callable[..., Colour]

_SKIN: tuple[Colour, ...] = ((0.78, 0.58, 0.46), (0.62, 0.43, 0.32), (0.38, 0.25, 0.18), (0.85, 0.66, 0.54))
_HAIR: tuple[Colour, ...] = ((0.10, 0.07, 0.05), (0.25, 0.16, 0.09), (0.45, 0.34, 0.2), (0.5, 0.5, 0.5))
_HELMETS: tuple[Colour, ...] = ((0.85, 0.85, 0.85), (0.1, 0.1, 0.12), (0.6, 0.1, 0.1), (0.2, 0.15, 0.1))
_CIRCLE = tuple((math.cos(2 * math.pi * k / 18), math.sin(2 * math.pi * k / 18)) for k in range(19))


def _lit(layout: Layout, shadow: float, colour: Colour, share: float = 1.0) -> Colour:
    """Clothes scatter light from all round: the ambient light and half the sun."""
    ambient, sun = layout.light.ambient, layout.light.sun
    red, green, blue = (colour[k] * share * (ambient[k] + 0.5 * sun[k] * (1 - shadow)) for k in range(3))
    return red, green, blue


def _shading(layout: Layout, shadow: float) -> Colour:
    strength = 0.10 + 0.28 * layout.light.sun[0] * (1 - shadow)
    towards = 1 if layout.light.direction[0] > 0 else -1
    return (-towards * strength, towards * strength, 0.12)


def paint_person(canvas: Canvas, layout: Layout, thing: Thing, *, owner: int, shadow: float) -> None:
    """Paint somebody who walks along or across the street, or stands.

    The figure is flat and faces the camera: t is across the picture. Seen from the side its legs part; seen from the
    front or the back they hardly do.
    """
    sketch = Sketch(canvas.view, Frame(thing.x, thing.z, scale=thing.height / 1.75), fine=thing.fine)
    ink = partial(_lit, layout, shadow)
    swing = math.sin(thing.phase) if thing.variant != 3 else 0.05
    facing = math.sin(thing.heading)
    skin = _SKIN[thing.seed % 4]
    _legs(sketch, ink, thing.accent, facing, swing)
    wide = 0.20 - 0.05 * abs(facing)
    _arm(sketch, ink, thing.colour, skin, facing, (-1, -swing), 0.78)
    _torso(sketch, wide, ink(thing.colour), thing.variant)
    _arm(sketch, ink, thing.colour, skin, facing, (1, swing), 0.92)
    sketch.limb([(0.0, 0.0, 1.44), (0.0, 0.01 * facing, 1.55)], 0.10, ink(skin, 0.85))
    sketch.blob((0.0, 0.03 * facing, 1.635), (0.085, 0.115), ink(skin))
    away = math.cos(thing.heading) > 0.2
    sketch.blob(
        (0.0, 0.005 * facing, 1.66 if away else 1.68),
        (0.092, 0.105 if away else 0.075),
        ink(_HAIR[thing.seed // 4 % 4]),
    )
    if thing.variant == 1:
        sketch.blob((0.0, -0.14 * facing - 0.22 * (1 - abs(facing)), 0.95), (0.10, 0.14), ink((0.25, 0.17, 0.12)))
    sketch.paint(canvas, owner=owner, shading=_shading(layout, shadow), grain=0.14)


def _legs(sketch: Sketch, ink: Ink, colour: Colour, facing: float, swing: float) -> None:
    spread = abs(facing)
    for number, phase in enumerate((-swing, swing)):
        apart = (0.09 if number else -0.09) * (1 - spread * 0.7)
        lift = max(0.0, -phase) * 0.10
        knee = (0.0, apart + phase * 0.20 * facing + 0.04 * facing, 0.50)
        foot = (0.0, apart + phase * 0.36 * facing, 0.06 + lift + (0.03 * phase if spread < 0.5 else 0.0))
        toe = (0.0, foot[1] + 0.10 * facing, 0.04 + lift)
        sketch.limb([(0.0, apart * 0.8, 0.90), knee, foot], 0.145, ink(colour, 1.0 if number else 0.8))
        sketch.limb([foot, toe], 0.09, ink((0.08, 0.07, 0.07)))


def _arm(
    sketch: Sketch, ink: Ink, coat: Colour, skin: Colour, facing: float, swing: tuple[int, float], share: float
) -> None:
    side, phase = swing
    spread = abs(facing)
    wide = (0.20 - 0.05 * spread) * side
    shoulder = (0.0, wide * (1 - spread * 0.6), 1.40)
    elbow = (0.0, (wide + 0.05 * side) * (1 - spread * 0.7) - phase * 0.14 * facing, 1.13)
    hand = (0.0, (wide + 0.04 * side) * (1 - spread * 0.7) - phase * 0.26 * facing + 0.05 * facing, 0.88)
    sketch.limb([shoulder, elbow, hand], 0.10, ink(coat, share))
    sketch.blob(hand, (0.045, 0.05), ink(skin))


def _torso(sketch: Sketch, wide: float, colour: Colour, variant: int) -> None:
    hem, flare = (0.62, 0.05) if variant == 2 else (0.84, 0.0)
    outline = [(wide, 1.44), (wide * 0.85, 1.1), (wide * 0.86 + flare, hem)]
    right = [(0.0, t, y) for t, y in outline]
    left = [(0.0, -t, y) for t, y in outline[::-1]]
    sketch.polygon(right + left, colour)
    sketch.limb([(0.0, -wide + 0.05, 1.42), (0.0, wide - 0.05, 1.42)], 0.12, colour)


def paint_cyclist(canvas: Canvas, layout: Layout, thing: Thing, *, owner: int, shadow: float) -> None:
    """Paint a bicycle or a motorcycle with its rider."""
    frame = Frame(thing.x, thing.z, thing.heading, scale=thing.height / 1.78)
    sketch = Sketch(canvas.view, frame, fine=thing.fine)
    ink = partial(_lit, layout, shadow)
    motor = thing.kind == "motorcycle"
    radius, base, tyre = (0.31, 0.68, 0.12) if motor else (0.34, 0.52, 0.045)
    for s in (-base, base):
        sketch.limb([(s + radius * c, 0.0, radius + radius * d) for c, d in _CIRCLE], tyre, ink((0.05, 0.05, 0.055)))
        # Seen along the street a wheel is a line.
        along = abs(frame.sine) < 0.5
        sketch.limb([(s, 0.0, 0.02), (s, 0.0, 2 * radius)], tyre * 1.1 if along else 0.012, ink((0.06, 0.06, 0.06)))
    _machine(sketch, ink, ink(thing.accent), motor, base, radius)
    _rider(sketch, ink, thing, motor)
    sketch.paint(canvas, owner=owner, shading=_shading(layout, shadow), grain=0.12)


def _machine(sketch: Sketch, ink: Ink, paint: Colour, motor: bool, base: float, radius: float) -> None:
    if motor:
        outline = [(-0.75, 0.72), (-0.3, 0.86), (0.35, 0.92), (0.5, 0.75), (0.25, 0.34), (-0.3, 0.34)]
        sketch.polygon([(s, 0.0, y) for s, y in outline], paint)
        sketch.limb([(-0.2, 0.0, 0.5), (0.2, 0.0, 0.5)], 0.34, ink((0.2, 0.2, 0.21)))
        sketch.limb([(base, 0.0, radius), (0.45, 0.0, 1.0)], 0.07, ink((0.35, 0.35, 0.36)))
        sketch.blob((-0.78, 0.0, 0.75), (0.07, 0.06), (0.6, 0.06, 0.05))
    else:
        crank, seat, hub = (-0.02, 0.0, 0.30), (-0.18, 0.0, 0.82), (-base, 0.0, radius)
        sketch.limb([hub, crank, (0.40, 0.0, 0.80), seat], 0.045, paint)
        sketch.limb([hub, seat, crank], 0.045, paint)
        sketch.limb([(base, 0.0, radius), (0.38, 0.0, 0.95)], 0.045, paint)
        sketch.limb([(-0.30, 0.0, 0.90), (-0.08, 0.0, 0.91)], 0.07, ink((0.05, 0.05, 0.05)))
    sketch.limb([(0.38, -0.27, 1.02), (0.38, 0.27, 1.02)], 0.05, ink((0.10, 0.10, 0.10)))


def _rider(sketch: Sketch, ink: Ink, thing: Thing, motor: bool) -> None:
    rider, coat, skin = Fine.RIDER, ink(thing.colour), _SKIN[thing.seed // 4 % 4]
    for side, angle in ((-1, thing.phase), (1, thing.phase + math.pi)):
        c, d = math.cos(angle), math.sin(angle)
        foot, knee = (-0.02 + 0.15 * c, side * 0.11, 0.30 + 0.15 * d), (0.20 + 0.06 * c, side * 0.14, 0.64 + 0.10 * d)
        if motor:
            foot, knee = (-0.05, side * 0.26, 0.34), (0.22, side * 0.28, 0.68)
        legs = ink((0.16, 0.18, 0.25), 0.8 if side < 0 else 1.0)
        sketch.limb([(-0.2, side * 0.1, 0.95), knee, foot], 0.14, legs, fine=rider)
        sketch.limb([foot, (foot[0] + 0.14, side * 0.12, foot[2] - 0.02)], 0.08, ink((0.06, 0.06, 0.06)), fine=rider)
    back = [(-0.28, -0.17, 0.88), (-0.28, 0.17, 0.88), (0.10, 0.21, 1.44), (0.10, -0.21, 1.44)]
    sketch.polygon(back, coat, fine=rider)
    sketch.limb([(-0.18, 0.0, 0.96), (0.08, 0.0, 1.40)], 0.27, coat, fine=rider)
    sketch.limb([(0.08, -0.15, 1.42), (0.08, 0.15, 1.42)], 0.14, coat, fine=rider)
    for side in (-1, 1):
        arm = [(0.10, side * 0.2, 1.38), (0.22, side * 0.27, 1.14), (0.38, side * 0.24, 1.04)]
        sketch.limb(arm, 0.09, ink(thing.colour, 0.85), fine=rider)
    sketch.limb([(0.12, 0.0, 1.46), (0.17, 0.0, 1.56)], 0.1, ink(skin, 0.9), fine=rider)
    sketch.blob((0.20, 0.0, 1.64), (0.095, 0.115), ink(skin), fine=rider)
    sketch.blob((0.18, 0.0, 1.68), (0.115, 0.14 if motor else 0.085), ink(_HELMETS[thing.seed % 4]), fine=rider)
