"""Which classes a procedural scene has, for any number of classes from 2 to 20."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from jaxtyping import UInt8

__all__ = ["MAXIMUM_CLASSES", "MINIMUM_CLASSES", "ClassTable", "Fine", "class_table"]


class Fine(IntEnum):
    """What the renderer paints: the finest classes, of which every smaller set is a merger."""

    SKY = 0
    BUILDING = 1
    POLE = 2
    ROAD = 3
    PAVEMENT = 4
    TREE = 5
    SIGN = 6
    FENCE = 7
    CAR = 8
    PEDESTRIAN = 9
    BICYCLIST = 10
    TRAFFIC_LIGHT = 11
    TERRAIN = 12
    TRUCK = 13
    BUS = 14
    MOTORCYCLE = 15
    WALL = 16
    TRAIN = 17
    RIDER = 18
    LANE_MARKING = 19


MINIMUM_CLASSES = 2
MAXIMUM_CLASSES = len(Fine)

# Name, colour, and the class that takes this one in where there are fewer classes than it needs. The first eleven
# are CamVid's, with its colours; the others have the colours of Cityscapes.
_FINE: dict[Fine, tuple[str, tuple[int, int, int], Fine | None]] = {
    Fine.SKY: ("Sky", (128, 128, 128), None),
    Fine.BUILDING: ("Building", (128, 0, 0), None),
    Fine.POLE: ("Pole", (192, 192, 128), None),
    Fine.ROAD: ("Road", (128, 64, 128), None),
    Fine.PAVEMENT: ("Pavement", (60, 40, 222), None),
    Fine.TREE: ("Tree", (128, 128, 0), None),
    Fine.SIGN: ("SignSymbol", (192, 128, 128), None),
    Fine.FENCE: ("Fence", (64, 64, 128), None),
    Fine.CAR: ("Car", (64, 0, 128), None),
    Fine.PEDESTRIAN: ("Pedestrian", (64, 64, 0), None),
    Fine.BICYCLIST: ("Bicyclist", (0, 128, 192), None),
    Fine.TRAFFIC_LIGHT: ("TrafficLight", (250, 170, 30), Fine.SIGN),
    Fine.TERRAIN: ("Terrain", (152, 251, 152), Fine.TREE),
    Fine.TRUCK: ("Truck", (0, 0, 70), Fine.CAR),
    Fine.BUS: ("Bus", (0, 60, 100), Fine.CAR),
    Fine.MOTORCYCLE: ("Motorcycle", (0, 0, 230), Fine.BICYCLIST),
    Fine.WALL: ("Wall", (102, 102, 156), Fine.BUILDING),
    Fine.TRAIN: ("Train", (0, 80, 100), Fine.CAR),
    Fine.RIDER: ("Rider", (255, 0, 0), Fine.BICYCLIST),
    Fine.LANE_MARKING: ("LaneMarking", (255, 255, 255), Fine.ROAD),
}

# Below eleven classes one merger is made for each class less: (number of classes left, gone, kept, new name).
# Seven classes are the seven categories of Cityscapes; two are the ground and what stands on it.
_MERGERS: tuple[tuple[int, str, str, str], ...] = (
    (10, "Bicyclist", "Pedestrian", "Person"),
    (9, "SignSymbol", "Pole", "Pole"),
    (8, "Fence", "Building", "Construction"),
    (7, "Pavement", "Road", "Ground"),
    (6, "Person", "Car", "Traffic"),
    (5, "Pole", "Construction", "Construction"),
    (4, "Tree", "Construction", "Background"),
    (3, "Traffic", "Background", "Background"),
    (2, "Sky", "Background", "Background"),
)


@dataclass(frozen=True)
class ClassTable:
    """Names and colours of a set of classes, and the class of each `Fine` class in it."""

    names: tuple[str, ...]
    colours: UInt8[np.ndarray, "classes 3"]
    of_fine: UInt8[np.ndarray, "fine"]


def class_table(num_classes: int) -> ClassTable:
    """The set of `num_classes` classes.

    Eleven are CamVid's, in SegNet's order. More add, in this order: TrafficLight (out of SignSymbol), Terrain (out
    of Tree, where CamVid has its low vegetation), Truck and Bus (out of Car), Motorcycle (out of Bicyclist), Wall
    (out of Building), Train (out of Car), Rider (out of Bicyclist, which is then the bicycle alone) and LaneMarking
    (out of Road). Fewer merge, one pair for each class less: Bicyclist with Pedestrian (Person), SignSymbol into
    Pole, Fence into Building (Construction), Pavement into Road (Ground), Person with Car (Traffic), then Pole,
    Tree (Background), Traffic and Sky into what stands behind.

    Args:
        num_classes: from 2 to 20.

    Returns:
        Names, colours and the mapping from fine classes.

    Raises:
        ValueError: if `num_classes` is not a whole number from 2 to 20.
    """
    if isinstance(num_classes, bool) or num_classes not in range(MINIMUM_CLASSES, MAXIMUM_CLASSES + 1):
        raise ValueError(
            f"num_classes={num_classes!r} must be a whole number from {MINIMUM_CLASSES} to {MAXIMUM_CLASSES}."
        )
    count = max(int(num_classes), 11)
    names = [_FINE[fine][0] for fine in list(Fine)[:count]]
    colours = [_FINE[fine][1] for fine in list(Fine)[:count]]
    # Position in `names` of every fine class.
    target = [fine if fine < count else _FINE[fine][2] for fine in Fine]
    of_fine = [int(fine) for fine in target if fine is not None]
    for left, gone, kept, renamed in _MERGERS:
        if left < num_classes:
            break
        lost, into = names.index(gone), names.index(kept)
        names[into] = renamed
        del names[lost], colours[lost]
        of_fine = [into if index == lost else index for index in of_fine]
        of_fine = [index - (index > lost) for index in of_fine]
    return ClassTable(
        names=tuple(names),
        colours=np.array(colours, dtype=np.uint8),
        of_fine=np.array(of_fine, dtype=np.uint8),
    )
