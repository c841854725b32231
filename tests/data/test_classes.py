from __future__ import annotations

import re

import numpy as np

from rfkit.data.classes import (
    CAMVID_CLASSES,
    CAMVID_COLOURS,
    CAMVID_ORIGINAL,
    camvid_colour_codes,
    default_colours,
)

# CamVid's label_colors.txt, as its users keep copies of it.
LABEL_COLORS = """
64 128 64 Animal, 192 0 128 Archway, 0 128 192 Bicyclist, 0 128 64 Bridge, 128 0 0 Building, 64 0 128 Car,
64 0 192 CartLuggagePram, 192 128 64 Child, 192 192 128 Column_Pole, 64 64 128 Fence, 128 0 192 LaneMkgsDriv,
192 0 64 LaneMkgsNonDriv, 128 128 64 Misc_Text, 192 0 192 MotorcycleScooter, 128 64 64 OtherMoving,
64 192 128 ParkingBlock, 64 64 0 Pedestrian, 128 64 128 Road, 128 128 192 RoadShoulder, 0 0 192 Sidewalk,
192 128 128 SignSymbol, 128 128 128 Sky, 64 128 192 SUVPickupTruck, 0 0 64 TrafficCone, 0 64 64 TrafficLight,
192 64 128 Train, 128 128 0 Tree, 192 128 192 Truck_Bus, 64 0 64 Tunnel, 192 192 0 VegetationMisc, 0 0 0 Void,
64 192 0 Wall
"""

# SegNet's grouping, class by class.
GROUPS = {
    "Sky": {"Sky"},
    "Building": {"Bridge", "Building", "Wall", "Tunnel", "Archway"},
    "Pole": {"Column_Pole", "TrafficCone"},
    "Road": {"Road", "LaneMkgsDriv", "LaneMkgsNonDriv"},
    "Pavement": {"Sidewalk", "ParkingBlock", "RoadShoulder"},
    "Tree": {"Tree", "VegetationMisc"},
    "SignSymbol": {"SignSymbol", "Misc_Text", "TrafficLight"},
    "Fence": {"Fence"},
    "Car": {"Car", "SUVPickupTruck", "Truck_Bus", "Train", "OtherMoving"},
    "Pedestrian": {"Pedestrian", "Child", "CartLuggagePram", "Animal"},
    "Bicyclist": {"Bicyclist", "MotorcycleScooter"},
}


def test_the_32_colours_are_those_of_label_colors() -> None:
    listed = re.findall(r"(\d+) (\d+) (\d+) (\w+)", LABEL_COLORS)
    assert {name: tuple(map(int, colour)) for *colour, name in listed} == {
        name: colour for name, (colour, _) in CAMVID_ORIGINAL.items()
    }
    assert len({colour for colour, _ in CAMVID_ORIGINAL.values()}) == 32


def test_the_32_classes_go_to_11_as_in_segnet() -> None:
    assert tuple(GROUPS) == CAMVID_CLASSES
    for group, members in GROUPS.items():
        assert {name for name, (_, into) in CAMVID_ORIGINAL.items() if into == group} == members
    assert [name for name, (_, into) in CAMVID_ORIGINAL.items() if into is None] == ["Void"]


def test_colour_codes_are_positions_in_the_class_list() -> None:
    codes = camvid_colour_codes()
    assert codes[128, 128, 128] == 0
    assert codes[192, 0, 192] == CAMVID_CLASSES.index("Bicyclist") == 10
    assert codes[0, 0, 0] is None


def test_camvid_has_a_colour_a_class() -> None:
    assert CAMVID_COLOURS.shape == (11, 3)
    assert len(np.unique(CAMVID_COLOURS, axis=0)) == 11


def test_default_colours_are_distinct_and_do_not_depend_on_the_count() -> None:
    colours = default_colours(253)
    assert len(np.unique(colours, axis=0)) == 253
    assert not (colours == 0).all(axis=1).any()
    assert colours[:3].tolist() == [[128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert np.array_equal(default_colours(7), colours[:7])
