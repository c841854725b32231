"""Cityscapes' table of labels: its ids, the 19 classes that are trained and scored, and the way back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Integer, UInt8
from torch import Tensor

from rfkit.data.dataset import IGNORE
from rfkit.data.decoding import LabelCode

__all__ = [
    "CITYSCAPES_CLASSES",
    "CITYSCAPES_CLASS_IDS",
    "CITYSCAPES_COLOURS",
    "CITYSCAPES_LABELS",
    "LABEL_IDS",
    "TRAIN_IDS",
    "CityscapesLabel",
    "to_label_ids",
]


class CityscapesLabel(NamedTuple):
    """One row of the table.

    Attributes:
        name: The label's name.
        id: Its value in ``*_gtFine_labelIds.png`` and in submissions; -1 occurs in no file.
        train_id: Its class, 0 to 18; 255 and -1 are ignored in training and scoring.
        category: The group that the label belongs to.
        colour: The RGB colour it is drawn in.
    """

    name: str
    id: int
    train_id: int
    category: str
    colour: tuple[int, int, int]


# The 35 labels of cityscapesScripts (github.com/mcordts/cityscapesScripts, cityscapesscripts/helpers/labels.py);
# Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene Understanding", CVPR 2016, names the 19 classes.
CITYSCAPES_LABELS = (
    CityscapesLabel("unlabeled", 0, 255, "void", (0, 0, 0)),
    CityscapesLabel("ego vehicle", 1, 255, "void", (0, 0, 0)),
    CityscapesLabel("rectification border", 2, 255, "void", (0, 0, 0)),
    CityscapesLabel("out of roi", 3, 255, "void", (0, 0, 0)),
    CityscapesLabel("static", 4, 255, "void", (0, 0, 0)),
    CityscapesLabel("dynamic", 5, 255, "void", (111, 74, 0)),
    CityscapesLabel("ground", 6, 255, "void", (81, 0, 81)),
    CityscapesLabel("road", 7, 0, "flat", (128, 64, 128)),
    CityscapesLabel("sidewalk", 8, 1, "flat", (244, 35, 232)),
    CityscapesLabel("parking", 9, 255, "flat", (250, 170, 160)),
    CityscapesLabel("rail track", 10, 255, "flat", (230, 150, 140)),
    CityscapesLabel("building", 11, 2, "construction", (70, 70, 70)),
    CityscapesLabel("wall", 12, 3, "construction", (102, 102, 156)),
    CityscapesLabel("fence", 13, 4, "construction", (190, 153, 153)),
    CityscapesLabel("guard rail", 14, 255, "construction", (180, 165, 180)),
    CityscapesLabel("bridge", 15, 255, "construction", (150, 100, 100)),
    CityscapesLabel("tunnel", 16, 255, "construction", (150, 120, 90)),
    CityscapesLabel("pole", 17, 5, "object", (153, 153, 153)),
    CityscapesLabel("polegroup", 18, 255, "object", (153, 153, 153)),
    CityscapesLabel("traffic light", 19, 6, "object", (250, 170, 30)),
    CityscapesLabel("traffic sign", 20, 7, "object", (220, 220, 0)),
    CityscapesLabel("vegetation", 21, 8, "nature", (107, 142, 35)),
    CityscapesLabel("terrain", 22, 9, "nature", (152, 251, 152)),
    CityscapesLabel("sky", 23, 10, "sky", (70, 130, 180)),
    CityscapesLabel("person", 24, 11, "human", (220, 20, 60)),
    CityscapesLabel("rider", 25, 12, "human", (255, 0, 0)),
    CityscapesLabel("car", 26, 13, "vehicle", (0, 0, 142)),
    CityscapesLabel("truck", 27, 14, "vehicle", (0, 0, 70)),
    CityscapesLabel("bus", 28, 15, "vehicle", (0, 60, 100)),
    CityscapesLabel("caravan", 29, 255, "vehicle", (0, 0, 90)),
    CityscapesLabel("trailer", 30, 255, "vehicle", (0, 0, 110)),
    CityscapesLabel("train", 31, 16, "vehicle", (0, 80, 100)),
    CityscapesLabel("motorcycle", 32, 17, "vehicle", (0, 0, 230)),
    CityscapesLabel("bicycle", 33, 18, "vehicle", (119, 11, 32)),
    CityscapesLabel("license plate", -1, -1, "vehicle", (0, 0, 142)),
)

_SCORED = sorted((label for label in CITYSCAPES_LABELS if 0 <= label.train_id < IGNORE), key=lambda row: row.train_id)

CITYSCAPES_CLASSES = tuple(label.name for label in _SCORED)
CITYSCAPES_COLOURS = np.array([label.colour for label in _SCORED], dtype=np.uint8)
CITYSCAPES_COLOURS.setflags(write=False)

# The label id of each class: position 0 (road) holds 7.
CITYSCAPES_CLASS_IDS = tuple(label.id for label in _SCORED)

# What the two kinds of label files mean. License plates have no pixels of their own in either.
LABEL_IDS = LabelCode(
    ids={label.id: label.train_id if label in _SCORED else None for label in CITYSCAPES_LABELS if label.id >= 0}
)
TRAIN_IDS = LabelCode(ids={**{number: number for number in range(len(_SCORED))}, IGNORE: None})


def to_label_ids(label: Tensor | Integer[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """Classes as the official label ids, which the evaluation server takes; `IGNORE` becomes 0, unlabeled.

    Args:
        label: Classes 0 to 18 or `IGNORE`, integers of any shape, on any device.

    Raises:
        ValueError: If `label` is not of integers or holds another value.

    Example:
        >>> to_label_ids(np.array([[0, 13, 255]], dtype=np.uint8)).tolist()
        [[7, 26, 0]]
    """
    values = label.detach().cpu().numpy() if isinstance(label, Tensor) else np.asarray(label)
    if values.dtype.kind not in "iu":
        raise ValueError(f"label has dtype {values.dtype}; it must hold integers: classes 0 to 18, or {IGNORE}.")
    wrong = np.unique(values[((values < 0) | (values >= len(_SCORED))) & (values != IGNORE)])
    if len(wrong):
        raise ValueError(f"label holds {wrong.tolist()[:8]}; allowed: classes 0 to 18, and {IGNORE} for unlabeled.")
    table = np.zeros(IGNORE + 1, dtype=np.uint8)
    table[: len(_SCORED)] = CITYSCAPES_CLASS_IDS
    return table[values]
