"""From one choice to the next: what a new unit, pixel or layer brings along, and whether it is there."""

from __future__ import annotations

import dataclasses
import operator
from typing import Any

from rfkit._checks import check_choice, unknown_name
from rfkit.analysis.stages import published_stages
from rfkit.analysis.unit_fields import OUTPUT
from rfkit.explorer.choice import METHODS, Choice
from rfkit.explorer.menu import Menu

__all__ = ["changed_choice", "first_choice"]


def first_choice(menu: Menu, *, layer: str | None = None, pixel: tuple[int, int] | None = None) -> Choice:
    """The choice to begin with: by default the last stage before the output, and the middle of the image.

    Raises:
        ValueError: there is no such layer, or the pixel is outside of the image.
    """
    if layer is None:
        published = [stage for stage in published_stages(menu.model) if stage in menu.stages]
        inner = published or [stage for stage in menu.stages if stage != OUTPUT] or [OUTPUT]
        layer = menu.stages[inner[-1]][0 if published else -1]
    if pixel is None:
        height, width = menu.picture.shape[:2]
        pixel = ((height - 1) // 2, (width - 1) // 2)
    # The unit is that of the pixel.
    return changed_choice(menu, Choice("", (0, 0), (0, 0)), layer=layer, pixel=pixel)


def changed_choice(menu: Menu, choice: Choice, **changes: Any) -> Choice:
    """`choice` with some fields changed, and with what follows from that.

    A unit takes its pixel along, and a pixel or a layer the unit whose field is centred nearest to the pixel. A channel
    or branch that another layer does not have is dropped.

    Raises:
        ValueError: there is no such layer, unit, pixel, channel, branch, class or method.
        TypeError: `Choice` has no such field.
    """
    fields = [field.name for field in dataclasses.fields(Choice)]
    for name in changes:
        if name not in fields:
            raise TypeError(f"{name} is nothing that can be chosen; allowed: {', '.join(fields)}.")
    found = dataclasses.replace(choice, **changes)
    if found.layer not in menu.shapes:
        raise unknown_name("layer", found.layer, menu.shapes)
    if found.layer != choice.layer:
        found = _without_what_is_gone(menu, choice, found, changes)
    size = menu.picture.shape[:2]
    found = dataclasses.replace(found, pixel=_place("pixel", found.pixel, size, "pixels of the image"))
    if "unit" not in changes and ("pixel" in changes or found.layer != choice.layer):
        found = dataclasses.replace(found, unit=menu.place(found.layer).unit(*found.pixel))
    unit = _place("unit", found.unit, menu.shapes[found.layer][1:], f"units of {found.layer}")
    found = dataclasses.replace(found, unit=unit)
    if "unit" in changes and "pixel" not in changes:
        found = dataclasses.replace(found, pixel=menu.pixel_of(found.layer, unit))
    return _checked(menu, found)


def _without_what_is_gone(menu: Menu, before: Choice, found: Choice, changes: dict[str, Any]) -> Choice:
    """`found`, whose layer is another one, without the channel and branch of the layer before, if it lacks them."""
    gone: dict[str, Any] = {}
    if not 0 <= (before.channel or 0) < menu.shapes[found.layer][0]:
        gone["channel"] = None
    if before.branch not in menu.branches(found.layer):
        gone["branch"] = ""
    if menu.region_block(found.layer) != menu.region_block(before.layer):
        gone["region_channel"] = None
    return dataclasses.replace(found, **{name: value for name, value in gone.items() if name not in changes})


def _place(name: str, place: Any, size: tuple[int, ...], of: str) -> tuple[int, int]:
    try:
        row, column = (_whole(at) for at in place)
    except (TypeError, ValueError):
        raise ValueError(f"{name}={place!r} is not a place; allowed: two whole numbers, (row, column).") from None
    if not (0 <= row < size[0] and 0 <= column < size[1]):
        raise ValueError(f"{name}=({row}, {column}) is outside of the {size[0]} x {size[1]} {of}.")
    return row, column


def _checked(menu: Menu, choice: Choice) -> Choice:
    numbers: dict[str, Any] = {}
    for name, count in (
        ("channel", menu.shapes[choice.layer][0]),
        ("region_channel", menu.region_channels(choice.layer)),
        ("class_index", len(menu.class_names)),
    ):
        value = getattr(choice, name)
        try:
            numbers[name] = None if value is None else _whole(value)
        except TypeError:
            raise ValueError(f"{name}={value!r} is not a whole number; allowed: {_numbers(count)}.") from None
        if value is not None and not 0 <= value < count:
            raise ValueError(f"{name}={value} is out of range; allowed: {_numbers(count)}.")
    if choice.branch != "":
        check_choice("branch", choice.branch, menu.branches(choice.layer))
    if not isinstance(choice.whole_class, bool):
        raise ValueError(f"whole_class={choice.whole_class!r} is not known; allowed: True, False.")
    check_choice("method", choice.method, METHODS)
    return dataclasses.replace(choice, **numbers)


def _numbers(count: int) -> str:
    return f"0 to {count - 1}" if count else "none here"


def _whole(value: Any) -> int:
    """`value` as an int, if it is a whole number of any type.

    Raises:
        TypeError: it is none.
    """
    if isinstance(value, bool):
        raise TypeError
    return operator.index(value)
