"""The decoded frames of a split in one file, written in any order, with a journal of those that are done."""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from rfkit._checks import data_error
from rfkit._files import write_text
from rfkit._progress import Bar
from rfkit.data.dataset import Dataset
from rfkit.data.parallel import completed

__all__ = ["Block", "checksum", "fill"]


@dataclass(frozen=True)
class Block:
    """Where the frames of one split lie in its file, one after the other.

    A frame is its image, three planes of height x width bytes, then, in a split with labels, the plane of its label.

    Attributes:
        sizes: Height and width of each frame.
        labelled: Whether there is a label plane.
    """

    sizes: Sequence[Sequence[int]]
    labelled: bool

    @property
    def planes(self) -> int:
        """Planes of a frame."""
        return 4 if self.labelled else 3

    def offsets(self) -> Int64[np.ndarray, " one_more"]:
        """The byte at which each frame begins, and the length of the whole."""
        areas = np.array(self.sizes, dtype=np.int64).reshape(-1, 2).prod(1)
        return np.concatenate([[0], np.cumsum(self.planes * areas)])


def checksum(planes: bytes | memoryview) -> int:
    """The CRC-32 of a frame's bytes."""
    return zlib.crc32(planes)


def fill(
    dataset: Dataset, block: Block, folder: Path, *, fingerprint: str, workers: int | None, progress: bool
) -> list[int]:
    """The checksum of each frame of `dataset`, all of which are then in ``SPLIT.bin``.

    ``SPLIT.journal`` begins with the fingerprint and has a line for each frame that is written. Where both files are
    there, frames whose bytes have the checksum of their line are kept; the others are decoded again.

    Args:
        dataset: What is decoded.
        block: The layout of the file.
        folder: Where the files are.
        fingerprint: Of the files that the frames come from.
        workers: Threads; None: one a processor.
        progress: Whether to show bars.

    Raises:
        DataError: The journal has another fingerprint, or a frame cannot be decoded or has another size than in
            `block`.
    """
    path, journal = folder / f"{dataset.split}.bin", folder / f"{dataset.split}.journal"
    noted = _noted(journal, fingerprint)
    path.touch()
    with path.open("r+b", buffering=0) as file:
        filling = _Filling(dataset, block, file.fileno(), journal)
        name = f"{dataset.name} {dataset.split}"
        bar = Bar(
            completed(filling.stored, noted, workers=workers),
            total=len(noted),
            desc=f"Checking what is there of {name}",
            unit="image",
            disable=not (progress and noted),
        )
        done = {index: found for index, found in bar if found == noted[index]}
        write_text(journal, "\n".join([fingerprint, *(_line(*item) for item in done.items())]) + "\n")
        left = [index for index in range(len(dataset)) if index not in done]
        bar = Bar(
            completed(filling.store, left, workers=workers),
            total=len(dataset),
            initial=len(done),
            desc=f"Preparing {name}",
            unit="image",
            disable=not progress,
        )
        done.update(bar)
        file.truncate(filling.length)
        os.fsync(file.fileno())
    return [done[index] for index in range(len(dataset))]


class _Filling:
    """Frames on their way into an open file, from several threads."""

    def __init__(self, dataset: Dataset, block: Block, descriptor: int, journal: Path) -> None:
        self.dataset, self.block, self.descriptor, self.journal = dataset, block, descriptor, journal
        *self.offsets, self.length = block.offsets().tolist()
        self.turn = threading.Lock()

    def stored(self, index: int) -> int:
        """The checksum of what is in the file."""
        height, width = self.block.sizes[index]
        return checksum(os.pread(self.descriptor, self.block.planes * height * width, self.offsets[index]))

    def store(self, index: int) -> int:
        """Decode a frame, write it and note it in the journal; its checksum."""
        planes = self._decoded(index)
        rest, offset = planes.reshape(-1).data, self.offsets[index]
        # A disk that is nearly full takes a part.
        while rest:
            written = os.pwrite(self.descriptor, rest, offset)
            rest, offset = rest[written:], offset + written
        found = checksum(planes.data)
        with self.turn, self.journal.open("a", encoding="utf-8") as notes:
            notes.write(_line(index, found) + "\n")
        return found

    def _decoded(self, index: int) -> UInt8[np.ndarray, "planes height width"]:
        sample = self.dataset[index]
        height, width = self.block.sizes[index]
        image, label = sample.image.cpu().numpy(), sample.label.cpu().numpy()
        if image.shape != (3, height, width) or label.shape != (height, width):
            place = f"{self.dataset.root}: " if self.dataset.root is not None else ""
            raise ValueError(f"{place}frame {sample.name} is not {width}x{height}, as it was when it was listed.")
        return np.concatenate([image, label[None]]) if self.block.labelled else np.ascontiguousarray(image)


def _line(index: int, value: int) -> str:
    return f"{index} {value:08x}"


def _noted(journal: Path, fingerprint: str) -> dict[int, int]:
    """The checksums that a journal lists. Where a line was cut short, it has none, or one that will not fit."""
    if not journal.exists():
        return {}
    first, *lines = journal.read_text(encoding="utf-8").splitlines()
    if first != fingerprint:
        raise data_error(
            journal, "was begun from other files or for another size; give another folder, or remove this file"
        )
    found = {}
    for line in lines:
        index, _, value = line.partition(" ")
        with suppress(ValueError):
            found[int(index)] = int(value, 16)
    return found
