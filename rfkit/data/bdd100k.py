"""BDD100K's semantic segmentation, with the 19 classes of Cityscapes."""

from __future__ import annotations

from pathlib import Path

from rfkit._checks import check_choice, data_error
from rfkit.data.cityscapes_labels import CITYSCAPES_CLASSES, CITYSCAPES_COLOURS, TRAIN_IDS
from rfkit.data.dataset import SPLITS, parts_of
from rfkit.data.layouts import contents_of, find_layout, splits_in
from rfkit.data.pairs import Pair, PairedFiles, files_by_name
from rfkit.data.published import Published

__all__ = ["BDD100K", "bdd100k_splits"]

# One line, for the cards of weights.
_LICENCE = "BDD100K (Regents of the University of California): educational, research and not-for-profit purposes"

_SIGNS = {"official": ("images/10k",), "seg": ("seg/images",), "compact": ("images", "labels")}
_IMAGES = {"official": "images/10k", "seg": "seg/images", "compact": "images"}
_LABELS = {"official": "labels/sem_seg/masks", "seg": "seg/labels", "compact": "labels"}
_PUBLISHED = Published(counts={"train": 7000, "val": 1000, "test": 2000}, size=(720, 1280))


class BDD100K(PairedFiles):
    """BDD100K's 10 000 frames for semantic segmentation (train 7000, val 1000, test 2000) of 1280x720, 19 classes.

    The layout is recognised by what the folder holds, in this order:

    - *official*: ``images/10k/train/NAME.jpg`` and ``labels/sem_seg/masks/train/NAME.png`` (likewise val, test).
    - *seg* (the release of 2018): ``seg/images/train/NAME.jpg``, ``seg/labels/train/NAME_train_id.png``.
    - *compact*: ``images/train/NAME.jpg`` and ``labels/train/NAME.png`` or ``NAME_train_id.png``.

    or one of them inside ``root/bdd100k/``. A label holds 0 to 18, in Cityscapes' order of classes, or 255 for
    what is ignored. The colour maps (``colormaps``, ``color_labels``) are not read. The labels of test are
    withheld: every label pixel of test is 255, and `labelled` is False.

    Args:
        root: The folder that holds one of the layouts, or ``bdd100k`` with one.
        split: ``"train"``, ``"val"``, ``"test"`` or ``"trainval"``.
        size: Height and width to resize frames to; by default they keep the size they are stored in.
        strict: False keeps the whole pairs where a file is missing and lists the others in `problems`.

    Attributes:
        layout: ``"official"``, ``"seg"`` or ``"compact"``.

    Raises:
        FileNotFoundError: If `root` does not exist.
        DataError: If `root` holds none of the layouts, the split is not there or empty, or a file is missing; on
            reading a sample, if a file is damaged or holds what BDD100K does not.

    Example:
        ``BDD100K("data/bdd100k", "val")`` holds 1000 samples of 1280x720.

    Yu, Chen, Wang, Xian, Chen, Liu, Madhavan, Darrell, "BDD100K: A Diverse Driving Dataset for Heterogeneous
    Multitask Learning", CVPR 2020.
    """

    layout: str
    published = _PUBLISHED

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        size: tuple[int, int] | None = None,
        strict: bool = True,
    ) -> None:
        check_choice("split", split, SPLITS)
        self.name, self.split, self.licence = "bdd100k", split, _LICENCE
        self.classes, self.colours, self.code = CITYSCAPES_CLASSES, CITYSCAPES_COLOURS, TRAIN_IDS
        self.root, self.layout = find_layout(root, _SIGNS, title="BDD100K", nested="bdd100k")
        self.labelled = split != "test"
        parts = parts_of(split)
        pairs = [pair for part in parts for pair in _pairs(self.root, self.layout, part)]
        self._take(pairs, size=size, strict=strict)
        if size is not None:
            self.note = f"frames resized to {size[1]}x{size[0]}"


def bdd100k_splits(root: str | Path) -> tuple[str, ...]:
    """Which of train, val and test a copy of BDD100K has images of."""
    folder, layout = find_layout(root, _SIGNS, title="BDD100K", nested="bdd100k")
    return splits_in(folder / _IMAGES[layout])


def _pairs(root: Path, layout: str, split: str) -> list[Pair]:
    images, labels = root / _IMAGES[layout] / split, root / _LABELS[layout] / split
    for folder, what in ((images, "images"), (labels, "labels")):
        if not folder.is_dir() and not (split == "test" and what == "labels"):
            raise data_error(
                folder,
                f"no such folder; the {what} of {split} are read from it. {folder.parent} holds: "
                f"{contents_of(folder.parent)}",
            )
    ending = "_train_id.png" if layout == "seg" else ".png"
    stored = files_by_name(images)
    labelled = {} if split == "test" else _labels(labels)
    return [
        Pair(
            name,
            stored.get(name, images / f"{name}.jpg"),
            labelled.get(name, labels / f"{name}{ending}"),
            source=str(images),
        )
        for name in sorted({*stored, *labelled})
    ]


def _labels(folder: Path) -> dict[str, Path]:
    """The label files in a folder by the name of their image."""
    return {name.removesuffix("_train_id"): path for name, path in files_by_name(folder).items()}
