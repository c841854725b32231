"""Cityscapes with its 19 classes, in the official layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from rfkit._checks import DataError, check_choice, data_error
from rfkit.data.cityscapes_labels import (
    CITYSCAPES_CLASS_IDS,
    CITYSCAPES_CLASSES,
    CITYSCAPES_COLOURS,
    LABEL_IDS,
    TRAIN_IDS,
)
from rfkit.data.dataset import SPLITS, parts_of
from rfkit.data.decoding import read_label
from rfkit.data.layouts import contents_of, find_layout, splits_in
from rfkit.data.pairs import Pair, PairedFiles
from rfkit.data.published import Published

__all__ = ["Cityscapes", "cityscapes_splits"]

# One line, for the cards of weights.
_LICENCE = (
    "Cityscapes terms of use: non-commercial purposes only (research, teaching, publications, personal experiments)"
)

_IMAGE_ENDING = "_leftImg8bit.png"
_KINDS = {"labelIds": LABEL_IDS, "labelTrainIds": TRAIN_IDS}
_SIGNS = {"official": ("leftImg8bit",)}
_PUBLISHED = Published(
    counts={"train": 2975, "val": 500, "test": 1525},
    size=(1024, 2048),
    folders={
        "train": (
            "aachen",
            "bochum",
            "bremen",
            "cologne",
            "darmstadt",
            "dusseldorf",
            "erfurt",
            "hamburg",
            "hanover",
            "jena",
            "krefeld",
            "monchengladbach",
            "strasbourg",
            "stuttgart",
            "tubingen",
            "ulm",
            "weimar",
            "zurich",
        ),
        "val": ("frankfurt", "lindau", "munster"),
        "test": ("berlin", "bielefeld", "bonn", "leverkusen", "mainz", "munich"),
    },
)


class Cityscapes(PairedFiles):
    """Cityscapes' 5000 finely labelled frames (train 2975, val 500, test 1525) of 2048x1024 in 19 classes.

    ::

        root/leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png       likewise val, test
        root/gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png        or _gtFine_labelTrainIds.png

    or the same inside ``root/cityscapes/``. Labels are read from the ``labelIds`` files, which Cityscapes
    ships, mapped to the 19 classes. Where a split has none of them, the ``labelTrainIds`` files are read, which
    cityscapesScripts makes. Where a frame has both they must agree; `rfkit.data.check.check_data` compares them.

    The labels of test are withheld, and the files in ``gtFine/test`` are dummies: they are never read, every
    label pixel of test is 255, and `labelled` is False. Score test on Cityscapes' evaluation server, which takes
    the ids that `rfkit.data.cityscapes_labels.to_label_ids` gives.

    Args:
        root: The folder that holds ``leftImg8bit`` and ``gtFine``, or ``cityscapes`` with both.
        split: ``"train"``, ``"val"``, ``"test"`` or ``"trainval"``.
        size: Height and width to resize frames to; by default they keep the size they are stored in.
        strict: False keeps the whole pairs where a file is missing and lists the others in `problems`.

    Attributes:
        labels: Which files the labels come from: ``"labelIds"`` or ``"labelTrainIds"``; ``"none"`` in test.
        class_ids: The official label id of each class.

    Raises:
        FileNotFoundError: If `root` does not exist.
        DataError: If `root` does not hold the layout, the split is not there or empty, or a file is missing; on
            reading a sample, if a file is damaged or holds what Cityscapes does not.

    Example:
        ``Cityscapes("data/cityscapes", "val", size=(512, 1024))`` holds 500 samples of 1024x512.

    Cordts, Omran, Ramos, Rehfeld, Enzweiler, Benenson, Franke, Roth, Schiele, "The Cityscapes Dataset for
    Semantic Urban Scene Understanding", CVPR 2016.
    """

    labels: str
    class_ids = CITYSCAPES_CLASS_IDS
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
        self.name, self.split, self.licence = "cityscapes", split, _LICENCE
        self.classes, self.colours = CITYSCAPES_CLASSES, CITYSCAPES_COLOURS
        self.root, _ = find_layout(root, _SIGNS, title="Cityscapes", nested="cityscapes")
        self.labelled = split != "test"
        parts = parts_of(split)
        self.labels = _kind(self.root, parts) if self.labelled else "none"
        self.code = _KINDS.get(self.labels, LABEL_IDS)
        pairs = [pair for part in parts for pair in _pairs(self.root, part, self.labels)]
        self._take(pairs, size=size, strict=strict)
        if size is not None:
            self.note = f"frames resized to {size[1]}x{size[0]}"

    def further_problems(self, index: int, label: UInt8[np.ndarray, "height width"]) -> list[str]:
        """How the ``labelTrainIds`` file of a sample differs from its ``labelIds`` file, where both are there."""
        path = self.pairs[index].label
        other = path.with_name(path.name.replace("_labelIds.png", "_labelTrainIds.png"))
        if self.labels != "labelIds" or not other.is_file():
            return []
        try:
            second = read_label(other, TRAIN_IDS)
        except (DataError, OSError) as error:
            return [str(error)]
        if second.shape != label.shape:
            return [
                f"{other}: is {second.shape[1]}x{second.shape[0]}, but {path.name} {label.shape[1]}x{label.shape[0]}"
            ]
        differ = label != second
        if not differ.any():
            return []
        row, column = (int(place) for place in np.unravel_index(int(differ.argmax()), differ.shape))
        return [
            f"{other}: {int(differ.sum())} pixels differ from {path.name}, the first at row {row}, column {column}: "
            f"train id {second[row, column]}, not {label[row, column]}"
        ]


def cityscapes_splits(root: str | Path) -> tuple[str, ...]:
    """Which of train, val and test a copy of Cityscapes has images of."""
    folder, _ = find_layout(root, _SIGNS, title="Cityscapes", nested="cityscapes")
    return splits_in(folder / "leftImg8bit")


def _kind(root: Path, parts: tuple[str, ...]) -> str:
    """The kind of label files to read, the official one if there is any."""
    for part in parts:
        if not (root / "gtFine" / part).is_dir():
            raise data_error(
                root / "gtFine" / part,
                f"no such folder; the labels of {part} are read from it. {root} holds: {contents_of(root)}",
            )
    for kind in _KINDS:
        if any(_files(root / "gtFine" / part, f"_gtFine_{kind}.png") for part in parts):
            return kind
    if any(_files(root / "leftImg8bit" / part, _IMAGE_ENDING) for part in parts):
        first = root / "gtFine" / parts[0]
        raise data_error(
            first,
            "no CITY/*_gtFine_labelIds.png and no CITY/*_gtFine_labelTrainIds.png in it; it holds: "
            f"{contents_of(first)}",
        )
    return "labelIds"


def _pairs(root: Path, split: str, kind: str) -> list[Pair]:
    images = root / "leftImg8bit" / split
    if not images.is_dir():
        raise data_error(images, f"no such folder; {images.parent} holds: {contents_of(images.parent)}")
    labels, ending = root / "gtFine" / split, f"_gtFine_{kind}.png"
    stored = _files(images, _IMAGE_ENDING)
    labelled = _files(labels, ending) if kind != "none" else {}
    return [
        Pair(
            Path(name).name,
            stored.get(name, images / f"{name}{_IMAGE_ENDING}"),
            labelled.get(name, labels / f"{name}{ending}"),
            source=str(images),
        )
        for name in sorted({*stored, *labelled})
    ]


def _files(folder: Path, ending: str) -> dict[str, Path]:
    """The files CITY/FRAME + `ending`, by CITY/FRAME."""
    return {
        f"{path.parent.name}/{path.name.removesuffix(ending)}": path
        for path in folder.glob(f"*/*{ending}")
        if not path.name.startswith(".")
    }
