"""Data sets of image and label files in pairs: found, checked for company, read one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from rfkit._checks import DataError, data_error
from rfkit.data.dataset import IGNORE, Dataset, Sample
from rfkit.data.decoding import IMAGE_SUFFIXES, LabelCode, read_image, read_label, resize
from rfkit.data.published import Published

__all__ = ["Pair", "PairedFiles", "different_sizes", "files_by_name", "lines_of", "names_in"]

_SHOWN = 5


@dataclass(frozen=True)
class Pair:
    """Where one sample's image and label should be; `source` says who says so. Without labels, none is read."""

    name: str
    image: Path
    label: Path
    source: str


class PairedFiles(Dataset):
    """A data set whose samples are files. Subclasses find the pairs and give the code of their labels.

    That every image has its label, and every label its image, is checked when the data set is made; pixels
    are checked when they are read, all of them by `rfkit.data.check.check_data`.

    Attributes:
        pairs: The files of each sample.
        code: What the values or colours of the label files mean.
        size: Height and width that samples are resized to; None leaves them as stored.
        problems: One line for each file without its partner, starting with its path; always empty if
            `strict`.
        published: What a whole copy holds, where that is known.
    """

    pairs: tuple[Pair, ...]
    code: LabelCode
    size: tuple[int, int] | None
    problems: tuple[str, ...]
    published: Published | None = None

    def __getitem__(self, index: int) -> Sample:
        """The sample at `index`, read from its files.

        Raises:
            DataError: If a file cannot be read, image and label differ in size, or the label holds a value
                that the data set does not know.
        """
        pair = self.pairs[index]
        image = read_image(pair.image)
        label = read_label(pair.label, self.code) if self.labelled else np.full(image.shape[:2], IGNORE, dtype=np.uint8)
        if image.shape[:2] != label.shape:
            raise data_error(pair.label, different_sizes(label.shape, image.shape[:2], path=pair.image))
        if self.size is not None:
            image, label = resize(image, label, size=self.size)
        pixels = torch.from_numpy(image).permute(2, 0, 1).contiguous()
        return Sample(image=pixels, label=torch.from_numpy(label), name=pair.name)

    def further_problems(self, index: int, label: UInt8[np.ndarray, "height width"]) -> list[str]:
        """What else is wrong with the files of a sample whose label is sound, one line a problem; for subclasses."""
        return []

    def _take(self, pairs: Sequence[Pair], *, size: tuple[int, int] | None, strict: bool) -> None:
        """Keep the whole pairs; the others are an error, or with `strict=False` listed in `problems`."""
        if size is not None and (len(size) != 2 or min(size) < 1):
            raise ValueError(f"size={size!r} must be (height, width), both at least 1.")
        missing = [_what_is_missing(pair, labelled=self.labelled) for pair in pairs]
        self.problems = tuple(problem for problem in missing if problem is not None)
        self.pairs = tuple(pair for pair, problem in zip(pairs, missing, strict=True) if problem is None)
        self.names = tuple(pair.name for pair in self.pairs)
        self.size = size
        if strict and self.problems:
            raise DataError(_first_of(self.problems))
        if strict and not self.pairs:
            raise data_error(str(self.root), f"split {self.split!r} is empty")


def different_sizes(label: tuple[int, ...], image: tuple[int, ...], *, path: Path) -> str:
    """The message for a label whose size is not that of its image, `path`; sizes are (height, width)."""
    return f"the label is {label[1]}x{label[0]}, but its image {path} is {image[1]}x{image[0]} (width x height)"


def files_by_name(folder: Path) -> dict[str, Path]:
    """The image files in a folder and its folders, in order, by their path from `folder` without suffix.

    Raises:
        DataError: If two files differ only in their suffix.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*") if folder.is_dir() else ()):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
            continue
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise data_error(path, f"has the name of {found[name].name} beside it; only the suffix differs")
        found[name] = path
    return found


def lines_of(path: Path) -> list[str]:
    """The lines of a split list.

    Raises:
        DataError: If it is not text.
    """
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise data_error(path, f"is not a text file in UTF-8: {error.reason} at byte {error.start}") from error


def names_in(path: Path) -> list[str]:
    """The names in a split list, one a line, with or without the suffix of an image.

    Raises:
        DataError: If it is not text, or a name occurs twice.
    """
    names: dict[str, int] = {}
    for number, line in enumerate(lines_of(path), start=1):
        entry = line.strip().replace("\\", "/")
        suffix = next((suffix for suffix in IMAGE_SUFFIXES if entry.lower().endswith(suffix)), "")
        name = entry[: len(entry) - len(suffix)]
        if name in names:
            raise data_error(path, f"line {number} names {name!r} again, after line {names[name]}")
        if name:
            names[name] = number
    return list(names)


def _what_is_missing(pair: Pair, *, labelled: bool) -> str | None:
    image, label = pair.image.is_file(), not labelled or pair.label.is_file()
    if image and label:
        return None
    if image:
        return f"{pair.image}: image without label: {pair.label} does not exist"
    if label:
        return f"{pair.label}: label without image: {pair.image} does not exist"
    return f"{pair.image}: no such file, and no label {pair.label}; {pair.source} names it"


def _first_of(problems: Sequence[str]) -> str:
    left = len(problems) - _SHOWN
    more = [f"and {left} more such files; check_data lists them all"] if left > 0 else []
    return "\n".join([*problems[:_SHOWN], *more])
