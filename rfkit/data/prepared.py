"""Data sets that were decoded once: frames as plain bytes, read through memory mapping."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from rfkit._checks import data_error
from rfkit.data.blocks import Block, checksum
from rfkit.data.cityscapes_labels import CITYSCAPES_CLASSES
from rfkit.data.classes import CAMVID_CLASSES
from rfkit.data.dataset import IGNORE, Dataset, Sample

__all__ = ["FORMAT", "PREPARED", "Prepared", "is_prepared", "open_prepared", "prepared_splits", "read_prepared"]

PREPARED = "prepared.json"
# Raised when older versions could no longer read what is written.
FORMAT = 1

# Data sets whose classes are always the same.
_CLASSES = {"camvid": CAMVID_CLASSES, "cityscapes": CITYSCAPES_CLASSES, "bdd100k": CITYSCAPES_CLASSES}
_FIELDS = {"name": str, "classes": list, "colours": list, "licence": str, "note": str, "splits": dict, "joined": dict}


class Prepared(Dataset):
    """A split of a data set that `rfkit.data.preparing.prepare_data` decoded.

    Samples are views of the files through memory mapping: nothing is decoded, only the pixels that are used are read,
    and processes share one copy in memory. Writing to a sample changes neither the files nor other samples. The split
    trainval is read from train and val; it is not stored.

    Args:
        root: The folder that `prepare_data` filled.
        split: One of the splits in it, or ``"trainval"``.

    Attributes:
        sizes: Height and width of each frame.

    Raises:
        FileNotFoundError: If `root` holds no ``prepared.json``.
        DataError: If the folder is of a newer format, is damaged or cut short, or does not hold the split.

    Example:
        ``Prepared("cityscapes-1024x512", "trainval")[0].image.shape`` is ``(3, 512, 1024)``.
    """

    def __init__(self, root: str | Path, split: str = "train") -> None:
        self.root = Path(root)
        content = read_prepared(self.root)
        self.name, self.split = content["name"], split
        self.classes, self.licence, self.note = tuple(content["classes"]), content["licence"], content["note"]
        self.colours = np.array(content["colours"], dtype=np.uint8)
        splits, joined = content["splits"], content["joined"]
        if split in splits:
            parts, names = [split], splits[split]["names"]
        elif split in joined:
            parts, names = joined[split]["parts"], joined[split]["names"]
        else:
            there = ", ".join([*splits, *joined])
            raise data_error(self.root, f"split={split!r} is not prepared here; there is {there}")
        self.names = tuple(names)
        self.labelled = all(splits[part]["labelled"] for part in parts)
        self.sizes = tuple((height, width) for part in parts for height, width in splits[part]["sizes"])
        self._checksums = tuple(value for part in parts for value in splits[part]["checksums"])
        self._files = [self.root / f"{part}.bin" for part in parts]
        self._places: list[tuple[int, int]] = []
        for number, part in enumerate(parts):
            offsets = Block(splits[part]["sizes"], splits[part]["labelled"]).offsets().tolist()
            _check_length(self._files[number], offsets[-1])
            self._places += [(number, offset) for offset in offsets[:-1]]

    def __getitem__(self, index: int) -> Sample:
        """The sample at `index`, as views of its file.

        Raises:
            DataError: If the file has become shorter since the data set was opened.
        """
        index = range(len(self))[index]
        planes = torch.from_numpy(self._planes(index))
        label = planes[3] if self.labelled else torch.full(planes.shape[1:], IGNORE, dtype=torch.uint8)
        return Sample(image=planes[:3], label=label, name=self.names[index])

    def check_frame(self, index: int) -> None:
        """Raise `DataError`, which names the frame, if its bytes are not those that were written."""
        found, written = checksum(self._planes(index).data), self._checksums[index]
        if found != written:
            raise data_error(
                self._files[self._places[index][0]],
                f"frame {self.names[index]} is damaged: its CRC-32 is {found:08x}, and {written:08x} was written",
            )

    def _planes(self, index: int) -> UInt8[np.ndarray, "planes height width"]:
        number, offset = self._places[index]
        # Copy-on-write, because torch warns of memory that cannot be written to. One frame at a time, because a
        # system may refuse such a mapping of more than it has memory.
        shape = (4 if self.labelled else 3, *self.sizes[index])
        try:
            return np.memmap(self._files[number], np.uint8, mode="c", offset=offset, shape=shape)
        except (OSError, ValueError) as error:
            raise data_error(self._files[number], f"frame {self.names[index]} cannot be read: {error}") from error


def is_prepared(root: str | Path) -> bool:
    """Whether a folder was filled by `rfkit.data.preparing.prepare_data`.

    Raises:
        DataError: If it is being filled, or that was interrupted.
    """
    root = Path(root)
    if (root / PREPARED).is_file():
        return True
    begun = sorted(root.glob("*.journal"))
    if begun:
        raise data_error(root, f"is not fully prepared ({begun[0].name}): make the call that prepares it again")
    return False


def open_prepared(name: str, root: str | Path, *, split: str, **options: Any) -> Prepared:
    """The split of a prepared folder, which must hold the data set called `name`.

    Raises:
        DataError: If it holds another one.
        ValueError: If there are options; those belong to `rfkit.data.preparing.prepare_data`.
    """
    if options:
        raise ValueError(f"{next(iter(options))} cannot be given for {root}: it is prepared, and read as it is.")
    found = read_prepared(Path(root))["name"]
    if found != name:
        raise data_error(root, f"holds the prepared data set {found!r}, not {name!r}")
    return Prepared(root, split)


def prepared_splits(root: str | Path) -> tuple[str, ...]:
    """The splits that a prepared folder stores."""
    return tuple(read_prepared(Path(root))["splits"])


def read_prepared(root: Path) -> dict[str, Any]:
    """The content of ``prepared.json``.

    Raises:
        FileNotFoundError: If there is none.
        DataError: If it is damaged, of a newer format, or its classes are not those of the data set that it names.
    """
    path = root / PREPARED
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: no such file; {root} is no prepared data set") from error
    except (OSError, ValueError) as error:
        raise data_error(path, f"cannot be read: {error}") from error
    version = content.get("format") if isinstance(content, dict) else None
    if not isinstance(version, int):
        raise data_error(path, f"has format={version!r}; it should be a number up to {FORMAT}")
    if version > FORMAT:
        raise data_error(path, f"has format {version}; this rfkit reads up to {FORMAT}: use a newer one")
    for field, kind in _FIELDS.items():
        if not isinstance(content.get(field), kind):
            raise data_error(path, f"has {field}={content.get(field)!r}; it should be a {kind.__name__}")
    _check_classes(path, content)
    _check_tables(path, content["splits"], content["joined"])
    return content


def _check_classes(path: Path, content: Mapping[str, Any]) -> None:
    wanted = _CLASSES.get(content["name"])
    if wanted is not None and tuple(content["classes"]) != wanted:
        raise data_error(
            path,
            f"names the data set {content['name']!r} and the classes {', '.join(map(str, content['classes']))}; "
            f"those of {content['name']} are {', '.join(wanted)}",
        )
    if np.shape(content["colours"]) != (len(content["classes"]), 3):
        raise data_error(path, f"has {len(content['colours'])} colours for {len(content['classes'])} classes")


def _check_tables(path: Path, splits: Mapping[str, Any], joined: Mapping[str, Any]) -> None:
    for split in (*splits, *joined):
        try:
            sound = _is_table(splits[split]) if split in splits else _is_join(joined[split], splits)
        except (KeyError, TypeError, ValueError):
            sound = False
        if not sound:
            raise data_error(path, f"the table of split {split!r} is damaged")


def _is_table(part: Mapping[str, Any]) -> bool:
    count = len(Block(part["sizes"], part["labelled"]).offsets()) - 1
    return isinstance(part["labelled"], bool) and len(part["names"]) == len(part["checksums"]) == count


def _is_join(part: Mapping[str, Any], splits: Mapping[str, Any]) -> bool:
    return len(part["names"]) == sum(len(splits[name]["names"]) for name in part["parts"])


def _check_length(path: Path, wanted: int) -> None:
    try:
        found = path.stat().st_size
    except OSError as error:
        raise data_error(path, f"cannot be read: {error.strerror}") from error
    if found != wanted:
        what = "is cut short" if found < wanted else "is too long"
        raise data_error(path, f"{what}: it has {found:,} bytes of {wanted:,}")
