"""Class names and colours of the data sets, and colours for classes that have none."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

__all__ = ["CAMVID_CLASSES", "CAMVID_COLOURS", "CAMVID_ORIGINAL", "camvid_colour_codes", "default_colours"]

# The 11 classes of SegNet (Badrinarayanan, Kendall, Cipolla, PAMI 2017) in its order, and the colours of its
# demo.
CAMVID_CLASSES = (
    "Sky",
    "Building",
    "Pole",
    "Road",
    "Pavement",
    "Tree",
    "SignSymbol",
    "Fence",
    "Car",
    "Pedestrian",
    "Bicyclist",
)
CAMVID_COLOURS = np.array(
    [
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (60, 40, 222),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
    ],
    dtype=np.uint8,
)
CAMVID_COLOURS.setflags(write=False)

# The 32 classes of CamVid with the colours of its label_colors.txt
# (http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/data/label_colors.txt), and the class of the 11
# that each goes to, None for void. The grouping is SegNet's; MathWorks' SegNet example lists the same one.
CAMVID_ORIGINAL: dict[str, tuple[tuple[int, int, int], str | None]] = {
    "Animal": ((64, 128, 64), "Pedestrian"),
    "Archway": ((192, 0, 128), "Building"),
    "Bicyclist": ((0, 128, 192), "Bicyclist"),
    "Bridge": ((0, 128, 64), "Building"),
    "Building": ((128, 0, 0), "Building"),
    "Car": ((64, 0, 128), "Car"),
    "CartLuggagePram": ((64, 0, 192), "Pedestrian"),
    "Child": ((192, 128, 64), "Pedestrian"),
    "Column_Pole": ((192, 192, 128), "Pole"),
    "Fence": ((64, 64, 128), "Fence"),
    "LaneMkgsDriv": ((128, 0, 192), "Road"),
    "LaneMkgsNonDriv": ((192, 0, 64), "Road"),
    "Misc_Text": ((128, 128, 64), "SignSymbol"),
    "MotorcycleScooter": ((192, 0, 192), "Bicyclist"),
    "OtherMoving": ((128, 64, 64), "Car"),
    "ParkingBlock": ((64, 192, 128), "Pavement"),
    "Pedestrian": ((64, 64, 0), "Pedestrian"),
    "Road": ((128, 64, 128), "Road"),
    "RoadShoulder": ((128, 128, 192), "Pavement"),
    "Sidewalk": ((0, 0, 192), "Pavement"),
    "SignSymbol": ((192, 128, 128), "SignSymbol"),
    "Sky": ((128, 128, 128), "Sky"),
    "SUVPickupTruck": ((64, 128, 192), "Car"),
    "TrafficCone": ((0, 0, 64), "Pole"),
    "TrafficLight": ((0, 64, 64), "SignSymbol"),
    "Train": ((192, 64, 128), "Car"),
    "Tree": ((128, 128, 0), "Tree"),
    "Truck_Bus": ((192, 128, 192), "Car"),
    "Tunnel": ((64, 0, 64), "Building"),
    "VegetationMisc": ((192, 192, 0), "Tree"),
    "Void": ((0, 0, 0), None),
    "Wall": ((64, 192, 0), "Building"),
}


def camvid_colour_codes() -> dict[tuple[int, int, int], int | None]:
    """The class (a position in `CAMVID_CLASSES`, None for void) of each of CamVid's 32 label colours."""
    return {
        colour: None if group is None else CAMVID_CLASSES.index(group) for colour, group in CAMVID_ORIGINAL.values()
    }


def default_colours(count: int) -> UInt8[np.ndarray, "count 3"]:
    """Distinct colours for `count` classes, the same for the same position whatever the count.

    The bits of 1, 2, 3, ... are dealt to red, green and blue in turn, the lowest first and as the highest bit
    of the colour, so that neighbours differ most; black is left for what is ignored.
    """
    numbers = np.arange(1, count + 1)
    channels = np.zeros((count, 3), dtype=np.uint8)
    for bit in range(24):
        channels[:, bit % 3] |= (((numbers >> bit) & 1) << (7 - bit // 3)).astype(np.uint8)
    return channels
