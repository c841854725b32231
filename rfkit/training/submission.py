"""The files that Cityscapes' evaluation server takes."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from rfkit.data.cityscapes_labels import CITYSCAPES_CLASSES, to_label_ids

__all__ = ["check_submitted_classes", "submission_name", "submission_picture"]

# cityscapesScripts (evaluation/evalPixelLevelSemanticLabeling.py, getPrediction) takes the one file of this name,
# whatever follows it, in any folder below that of the results.
_FRAME = re.compile(r"[A-Za-z-]+_\d{6}_\d{6}(?=_|$)")
_SIZE = (1024, 2048)


def check_submitted_classes(classes: Sequence[str], count: int = len(CITYSCAPES_CLASSES)) -> None:
    """Raise `ValueError` unless a network gives scores for the 19 classes of Cityscapes.

    Args:
        classes: The names of its classes; empty where they are not known.
        count: Their number.
    """
    if (classes and tuple(classes) != CITYSCAPES_CLASSES) or count != len(CITYSCAPES_CLASSES):
        found = ", ".join(classes) or f"{count} classes"
        raise ValueError(f"submission=True needs a network for the 19 classes of Cityscapes; model has {found}.")


def submission_name(image: str) -> str:
    """The name of the file to submit, without suffix, for a frame of Cityscapes.

    Raises:
        ValueError: If the image is not named as a frame is.

    Example:
        >>> submission_name("berlin_000000_000019_leftImg8bit")
        'berlin_000000_000019'
    """
    frame = _FRAME.match(image)
    if frame is None:
        raise ValueError(
            f"{image} is not named as a frame of Cityscapes is: CITY_123456_123456, alone or before a '_'."
        )
    return frame.group()


def submission_picture(label: UInt8[np.ndarray, "height width"], *, name: str) -> Image.Image:
    """A picture of one channel of 8 bits that holds the official label ids.

    Args:
        label: Classes 0 to 18.
        name: Of the frame, for the error.

    Raises:
        ValueError: If the frame is not of 2048x1024, the size that the server compares.
    """
    if label.shape != _SIZE:
        height, width = label.shape
        raise ValueError(
            f"{name} is {width}x{height}; the server takes 2048x1024. Give the frames at that size, and what the "
            "network is to see as size."
        )
    return Image.fromarray(to_label_ids(label))
