"""Data sets by name, and single images."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from rfkit._checks import unknown_name
from rfkit.data.dataset import SPLITS, Dataset, Sample
from rfkit.data.prepared import is_prepared, open_prepared, prepared_splits

__all__ = ["DATASETS", "open_data", "open_image", "splits_of"]

# Name -> module and class. Imported when asked for, so that reading frames does not load what draws scenes.
DATASETS = {
    "camvid": ("rfkit.data.camvid", "CamVid"),
    "cityscapes": ("rfkit.data.cityscapes", "Cityscapes"),
    "bdd100k": ("rfkit.data.bdd100k", "BDD100K"),
    "folder": ("rfkit.data.folder", "Folder"),
    "scenes": ("rfkit.data.scenes", "Scenes"),
}
_WITHOUT_ROOT = {"scenes"}
# Data sets of which a copy may lack splits: the module and the function that says which are there.
_SPLITS_IN = {
    "folder": ("rfkit.data.folder", "folder_splits"),
    "cityscapes": ("rfkit.data.cityscapes", "cityscapes_splits"),
    "bdd100k": ("rfkit.data.bdd100k", "bdd100k_splits"),
}


def open_data(name: str, root: str | Path | None = None, *, split: str, **options: Any) -> Dataset:
    """The data set called `name`.

    A folder that `rfkit.data.preparing.prepare_data` filled stands for the data set that was decoded into it.

    Args:
        name: ``"camvid"``, ``"cityscapes"``, ``"bdd100k"``, ``"folder"`` (your own images) or ``"scenes"``
            (procedural, reads no files).
        root: The folder of the data set, as it came or prepared; none for scenes.
        split: ``"train"``, ``"val"``, ``"test"`` or ``"trainval"``.
        options: Passed to the data set's class, such as ``size=(360, 480)``.

    Raises:
        ValueError: If the name or an option is unknown, an option is given for a prepared folder, or `root` is missing
            where one is needed.
        FileNotFoundError: If `root` does not exist.
        DataError: If the folder does not hold what the data set should, or is prepared from another one.

    Example:
        >>> open_data("scenes", split="val", size=(24, 32), length=2).split
        'val'
    """
    if root is not None and is_prepared(root):
        return open_prepared(name, root, split=split, **options)
    if name not in DATASETS:
        raise unknown_name("name", name, DATASETS)
    module, attribute = DATASETS[name]
    builder = getattr(importlib.import_module(module), attribute)
    if name in _WITHOUT_ROOT:
        if root is not None:
            raise ValueError(f"root={str(root)!r} was given, but {name!r} reads no files; leave root out.")
        arguments: tuple[Any, ...] = ()
    else:
        if root is None:
            raise ValueError(f"root=None: {name!r} is read from files; give the folder that holds it as root.")
        arguments = (root,)
    known = [name for name in inspect.signature(builder).parameters if name not in ("root", "split")]
    for option in options:
        if option not in known:
            raise unknown_name("option", option, known)
    return builder(*arguments, split=split, **options)


def splits_of(name: str, root: str | Path | None) -> tuple[str, ...]:
    """Which of train, val and test a copy of a data set has; all three if none can be told."""
    if root is not None and is_prepared(root):
        return prepared_splits(root)
    if name in _SPLITS_IN and root is not None:
        module, function = _SPLITS_IN[name]
        return getattr(importlib.import_module(module), function)(root) or SPLITS[:3]
    return SPLITS[:3]


def open_image(image: Any) -> Tensor:
    """The image that `image` means, C H W; for None, a procedural scene.

    Args:
        image: A tensor, which is left as it is; a sample of a data set; the name of an image file; an image of Pillow;
            an array of 8 bit, height x width x 3, as most libraries read files; or None.

    Raises:
        FileNotFoundError, DataError: If the file cannot be read.
        ValueError: If it is an array of another shape or type.
        TypeError: If it is nothing of these.

    Example:
        >>> open_image(None).shape[0]
        3
    """
    import torch

    if image is None:
        from rfkit.data.scenes import Scenes

        return Scenes("test", length=1)[0].image
    if isinstance(image, Tensor):
        return image
    if isinstance(image, Sample):
        return image.image
    if isinstance(image, str | Path):
        from rfkit.data.decoding import read_image

        pixels = read_image(Path(image))
    elif isinstance(image, Image.Image):
        pixels = np.array(image.convert("RGB"))
    elif isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(
                f"image is an array {image.shape} of {image.dtype}; allowed: height x width x 3, of uint8. Anything "
                "else as a tensor, 3 x height x width."
            )
        pixels = image.copy()
    else:
        raise TypeError(
            f"image is a {type(image).__name__}; allowed: a tensor, a sample of a data set, a file name, an image of "
            "Pillow, an array, or None for a procedural scene."
        )
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
