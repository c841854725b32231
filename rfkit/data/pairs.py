"""Data sets of image and label files in pairs: found, checked for company, read one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from rfkit._checks import DataError, data_error
from rfkit.data.dataset import Dataset, Sample
from rfkit.data.decoding import LabelCode, read_image, read_label, resize

__all__ = ["Pair", "PairedFiles", "Problem"]

_SHOWN = 5


@dataclass(frozen=True)
class Pair:
    """Where one sample's image and label should be; `source` says who says so."""

    name: str
    image: Path
    label: Path
    source: str


@dataclass(frozen=True)
class Problem:
    """What is wrong with one file."""

    path: Path
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class PairedFiles(Dataset):
    """A data set whose samples are files. Subclasses find the pairs and give the code of their labels.

    That every image has its label, and every label its image, is checked when the data set is made; pixels are checked
    when they are read.

    Attributes:
        pairs: The files of each sample.
        code: What the values or colours of the label files mean.
        size: Height and width that samples are resized to; None leaves them as stored.
        problems: Files without their partner; always empty if `strict`.
    """

    pairs: tuple[Pair, ...]
    code: LabelCode
    size: tuple[int, int] | None
    problems: tuple[Problem, ...]

    def _take(self, pairs: Sequence[Pair], *, size: tuple[int, int] | None, strict: bool) -> None:
        """Keep the pairs that are whole; the others are an error, or with `strict=False` listed in `problems`."""
        if size is not None and (len(size) != 2 or min(size) < 1):
            raise ValueError(f"size={size!r} must be (height, width), both at least 1.")
        problems = [(pair, _what_is_missing(pair)) for pair in pairs]
        self.problems = tuple(problem for _, problem in problems if problem is not None)
        self.pairs = tuple(pair for pair, problem in problems if problem is None)
        self.names = tuple(pair.name for pair in self.pairs)
        self.size = size
        if strict:
            _raise_first(self.problems)
            if not self.pairs:
                raise data_error(self.root or "", f"split {self.split!r} is empty")

    def __getitem__(self, index: int) -> Sample:
        """The sample at `index`, read from its files.

        Raises:
            DataError: If a file cannot be read, image and label differ in size, or the label holds a value that the
                data set does not know.
        """
        pair = self.pairs[index]
        image, label = read_image(pair.image), read_label(pair.label, self.code)
        if image.shape[:2] != label.shape:
            raise data_error(pair.label, different_sizes(label.shape, image.shape[:2], pair.image))
        if self.size is not None:
            image, label = resize(image, label, size=self.size)
        pixels = torch.from_numpy(image).permute(2, 0, 1).contiguous()
        return Sample(image=pixels, label=torch.from_numpy(label), name=pair.name)


def different_sizes(label: tuple[int, ...], image: tuple[int, ...], path: Path) -> str:
    """The message for a label whose size is not its image's; sizes are (height, width)."""
    return f"the label is {label[1]}x{label[0]}, but its image {path} is {image[1]}x{image[0]} (width x height)"


def _what_is_missing(pair: Pair) -> Problem | None:
    image, label = pair.image.is_file(), pair.label.is_file()
    if image and label:
        return None
    if image:
        return Problem(pair.image, f"image without label: {pair.label} does not exist")
    if label:
        return Problem(pair.label, f"label without image: {pair.image} does not exist")
    return Problem(pair.image, f"does not exist, nor does its label {pair.label}; {pair.source} names it")


def _raise_first(problems: Sequence[Problem]) -> None:
    if not problems:
        return
    lines = [str(problem) for problem in problems[:_SHOWN]]
    if len(problems) > _SHOWN:
        lines.append(f"and {len(problems) - _SHOWN} more; check_data lists them all")
    raise DataError("\n".join(lines))
