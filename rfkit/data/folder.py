"""The user's own images and label maps, from one folder."""

from __future__ import annotations

from pathlib import Path

from rfkit._checks import check_choice, data_error
from rfkit.data.class_file import read_class_file
from rfkit.data.dataset import SPLITS
from rfkit.data.pairs import Pair, PairedFiles, files_by_name, names_in

__all__ = ["Folder", "folder_splits"]


class Folder(PairedFiles):
    """Images with label maps of the same name, and a TOML file that names the classes.

    ::

        root/classes.toml
        root/images/NAME.jpg          jpg, jpeg, png, webp or bmp, 8 bits a channel, opaque
        root/labels/NAME.png          one value a pixel (gray or palette), or colour-coded RGB

    Splits, if any, are folders (``images/train/``, ``labels/train/``, likewise val and test) or lists
    (``train.txt``, ``val.txt``, ``test.txt``: one name a line). Without either, everything is the split
    ``train``. trainval is train followed by val, and train alone where there is no val. NAME may contain
    folders. A label map is read by its values if it has one channel, by its colours if it is RGB;
    `rfkit.data.class_file.read_class_file` describes the class file. Pixels are taken as stored: an EXIF
    rotation is not applied.

    Args:
        root: The folder.
        split: ``"train"``, ``"val"``, ``"test"`` or ``"trainval"``.
        size: Height and width to resize samples to; by default they keep their own.
        class_file: The class file, if it is not ``classes.toml`` in `root`.
        strict: False keeps the whole pairs where a file is missing and lists the others in `problems`.

    Raises:
        FileNotFoundError: If `root` or the class file does not exist.
        DataError: If the class file is wrong, the split does not exist or is empty, or an image or a label
            lacks its partner; on reading a sample, if a file is damaged or does not fit the class file.

    Example:
        ``Folder("my-street", "val").classes`` is ``("road", "car")``.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        size: tuple[int, int] | None = None,
        class_file: str | Path | None = None,
        strict: bool = True,
    ) -> None:
        check_choice("split", split, SPLITS)
        self.split, self.root = split, Path(root)
        _check_layout(self.root)
        content = read_class_file(class_file if class_file is not None else self.root / "classes.toml")
        self.name = "folder"
        self.licence = content.licence or "not stated"
        self.classes, self.colours, self.code = content.classes, content.colours, content.code
        if size is not None:
            self.note = f"images resized to {size[1]}x{size[0]}"
        self._take(_split_pairs(self.root, split), size=size, strict=strict)


def folder_splits(root: str | Path) -> tuple[str, ...]:
    """Which of train, val and test a folder has; all of an undivided folder is train."""
    root = Path(root)
    return _split_folders(root) or _split_lists(root) or ("train",)


def _check_layout(root: Path) -> None:
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder (root of the data)")
    for part in ("images", "labels"):
        if not (root / part).is_dir():
            raise FileNotFoundError(
                f"{root / part}: no such folder; the data is read from images/ and labels/ in {root}"
            )


def _split_folders(root: Path) -> tuple[str, ...]:
    return tuple(name for name in SPLITS[:3] if any((root / part / name).is_dir() for part in ("images", "labels")))


def _split_lists(root: Path) -> tuple[str, ...]:
    return tuple(name for name in SPLITS[:3] if (root / f"{name}.txt").is_file())


def _split_pairs(root: Path, split: str) -> list[Pair]:
    known = folder_splits(root)
    if split == "trainval":
        # Names may repeat between the folders of two splits, so the split becomes part of them.
        prefix = bool(_split_folders(root))
        return [
            Pair(f"{part}/{pair.name}" if prefix else pair.name, pair.image, pair.label, pair.source)
            for part in ("train", "val")
            if part in known or part == "train"
            for pair in _split_pairs(root, part)
        ]
    if split not in known:
        missing = f"neither images/{split}/ nor {split}.txt exists"
        raise data_error(root, f"has no split {split!r}: {missing}; there is {', '.join(known)}")
    inner = split if _split_folders(root) else ""
    return _pairs_in(root / "images" / inner, root / "labels" / inner, root / f"{split}.txt")


def _pairs_in(images: Path, labels: Path, listed: Path) -> list[Pair]:
    stored, labelled = files_by_name(images), files_by_name(labels)
    names = names_in(listed) if listed.is_file() else sorted({*stored, *labelled})
    return [
        Pair(
            name,
            stored.get(name, images / f"{name}.jpg"),
            labelled.get(name, labels / f"{name}.png"),
            source=str(listed),
        )
        for name in names
    ]
