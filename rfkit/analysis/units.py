"""Which units of a map are meant, and where in the image each of them looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

__all__ = ["Place", "Placement", "Unit", "UnitSet", "choose_units"]

# "centre", (row, column), a list of these, or a mask.
Unit = str | Sequence[Any] | np.ndarray | Tensor


@runtime_checkable
class Place(Protocol):
    """What is needed of a layer's theoretical receptive field to place its units."""

    def pixel(self, row: int, column: int) -> tuple[float, float]:
        """Middle of a unit's field, (row, column) in pixels."""

    def unit(self, y: float, x: float) -> tuple[int, int]:
        """The unit whose field's middle is nearest to a pixel."""


@dataclass(frozen=True)
class Placement:
    """Units spread evenly over the image: what is left to assume where a layer's field is unknown."""

    map_size: tuple[int, int]
    image_size: tuple[int, int]

    def pixel(self, row: int, column: int) -> tuple[float, float]:
        """Middle of the part of the image that the unit stands for."""
        (height, width), (rows, columns) = self.image_size, self.map_size
        return (row + 0.5) * height / rows - 0.5, (column + 0.5) * width / columns - 0.5

    def unit(self, y: float, x: float) -> tuple[int, int]:
        """The unit whose part of the image has its middle nearest to a pixel; the lower one of two."""
        found = []
        for position, units, pixels in zip((y, x), self.map_size, self.image_size, strict=True):
            middles = (np.arange(units) + 0.5) * pixels / units - 0.5
            found.append(int(np.argmin(np.abs(middles - position))))
        return found[0], found[1]


@dataclass(frozen=True)
class UnitSet:
    """Units that are added up before differentiating: one, or those of a mask."""

    units: tuple[tuple[int, int], ...]
    centre: tuple[float, float]


def choose_units(
    unit: Unit, *, layer: str, map_size: tuple[int, int], image_size: tuple[int, int], place: Place
) -> list[UnitSet]:
    """The sets of units that `unit` means: one for a unit or a mask, several for a list of units.

    Args:
        unit: "centre", (row, column), a list of these, or a boolean mask over the map; negative indices count from the
            end.
        layer: name of the layer, for errors.
        map_size: (height, width) of its map.
        image_size: (height, width) of the image.
        place: where its units look.

    Raises:
        ValueError: `unit` is none of these, a unit is outside the map, or a mask has another size or is empty.
    """
    if isinstance(unit, str):
        if unit != "centre":
            raise ValueError(f"unit={unit!r} is not known; allowed: 'centre', (row, column), a list of them, a mask.")
        middle = ((image_size[0] - 1) / 2, (image_size[1] - 1) / 2)
        found = place.unit(*middle)
        return [_unit_set([(int(found[0]), int(found[1]))], place)]
    if _is_mask(unit):
        return [_unit_set(_of_mask(unit, layer, map_size), place)]
    listed: list[Any] = list(unit)
    single = len(listed) == 2 and all(_is_index(entry) for entry in listed)
    pairs = [tuple(listed)] if single else [tuple(entry) if hasattr(entry, "__len__") else (entry,) for entry in listed]
    if not pairs:
        raise ValueError("unit=[] names no unit; give at least one (row, column).")
    return [_unit_set([_inside(pair, layer, map_size)], place) for pair in pairs]


def _unit_set(units: list[tuple[int, int]], place: Place) -> UnitSet:
    centres = np.array([place.pixel(*unit) for unit in units], float).mean(axis=0)
    return UnitSet(tuple(units), (float(centres[0]), float(centres[1])))


def _is_index(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _is_mask(unit: Any) -> bool:
    if isinstance(unit, Tensor):
        return unit.dtype == torch.bool
    return isinstance(unit, np.ndarray) and unit.dtype == bool


def _of_mask(unit: Any, layer: str, map_size: tuple[int, int]) -> list[tuple[int, int]]:
    mask = unit.detach().cpu().numpy() if isinstance(unit, Tensor) else np.asarray(unit)
    if mask.shape != tuple(map_size):
        raise ValueError(
            f"unit: the mask is {mask.shape}, but the map of layer {layer!r} is {map_size[0]} x {map_size[1]}."
        )
    if not mask.any():
        raise ValueError("unit: the mask holds no unit; set at least one to True.")
    return [(int(row), int(column)) for row, column in np.argwhere(mask)]


def _inside(pair: tuple[Any, ...], layer: str, map_size: tuple[int, int]) -> tuple[int, int]:
    if len(pair) != 2 or not all(_is_index(entry) for entry in pair):
        raise ValueError(f"unit: {pair!r} is not a (row, column) of whole numbers.")
    row, column = (int(entry) + size if entry < 0 else int(entry) for entry, size in zip(pair, map_size, strict=True))
    if not (0 <= row < map_size[0] and 0 <= column < map_size[1]):
        raise ValueError(f"unit={pair} is outside the map of layer {layer!r}, {map_size[0]} x {map_size[1]} units.")
    return row, column
