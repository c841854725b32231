"""What a data set is: samples of one split, classes with names and colours, and where it comes from."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from rfkit._progress import Bar

__all__ = ["IGNORE", "SPLITS", "Dataset", "InMemory", "Sample", "parts_of"]

# The value of a label pixel that is neither trained on nor scored, in every data set.
IGNORE = 255

# Every data set knows these; trainval is train followed by val.
SPLITS = ("train", "val", "test", "trainval")


def parts_of(split: str) -> tuple[str, ...]:
    """The splits that a split is read from: train and val for trainval, else itself."""
    return ("train", "val") if split == "trainval" else (split,)


@dataclass(frozen=True, eq=False)
class Sample:
    """One image with its label map.

    Attributes:
        image: RGB, 0 to 255.
        label: Class of each pixel, or `IGNORE`.
        name: Unique within its split.
    """

    image: UInt8[Tensor, "3 height width"]
    label: UInt8[Tensor, "height width"]
    name: str


class Dataset(ABC):
    """The samples of one split.

    A subclass sets the attributes and defines `__getitem__`. Asking twice for one index gives the same
    pixels: whatever is random belongs to the transforms.

    Attributes:
        name: The name `open_data` knows, such as ``"camvid"``.
        split: ``"train"``, ``"val"``, ``"test"`` or ``"trainval"``.
        root: The folder it was read from; None where nothing was read.
        classes: Class names; a label value is a position in this tuple, or `IGNORE`.
        colours: The RGB colour each class is drawn in.
        names: One name a sample, in order.
        licence: One line for the cards of weights trained on it.
        note: One line on how these files differ from the published ones (re-encoded, resized); empty if they
            do not.
        labelled: Whether the split has labels. Where it has none, as in the test splits that are scored by a
            server, every label pixel is `IGNORE`, and there is nothing to train on or to score.
    """

    name: str
    split: str
    root: Path | None
    classes: tuple[str, ...]
    colours: UInt8[np.ndarray, "classes 3"]
    names: tuple[str, ...]
    licence: str
    note: str = ""
    labelled: bool = True

    @abstractmethod
    def __getitem__(self, index: int) -> Sample:
        """The sample at `index`; IndexError past the end."""

    def check_usable(self) -> None:
        """Raise `ValueError` if there is nothing to train on or to score: no sample, or no labels."""
        if len(self) == 0:
            raise ValueError(f"dataset {self.name} {self.split} has no samples; at least 1 is needed.")
        if not self.labelled:
            raise ValueError(
                f"dataset {self.name} {self.split} has no labels to train on or to score; other splits have."
            )

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Sample]:
        for index in range(len(self)):
            yield self[index]

    @property
    def num_classes(self) -> int:
        """The number of classes, without the ignored one."""
        return len(self.classes)

    def __repr__(self) -> str:
        place = f", root={str(self.root)!r}" if self.root is not None else ""
        counts = f"{len(self)} samples, {self.num_classes} classes"
        return f"<{type(self).__name__} {self.name} {self.split}: {counts}{place}>"


class InMemory(Dataset):
    """A data set decoded once and kept as uint8, on any device.

    Every file is read here, so a damaged one is an error before training starts. Samples are views of
    `images` and `labels`: writing to them changes the data set.

    Args:
        dataset: The data set to decode.
        device: Where the pixels are kept. CamVid's 468 trainval frames at 480x360 take 0.32 GB.
        progress: Whether to show a bar with the time left.

    Attributes:
        images: One tensor N 3 H W when all samples have one size, else a list of tensors 3 H W.
        labels: One tensor N H W, or a list of tensors H W, to match.

    Raises:
        DataError: If a file cannot be read or holds what the data set does not allow.

    Example:
        >>> from rfkit.data.opening import open_data
        >>> data = InMemory(open_data("scenes", split="val", size=(24, 32), length=2), progress=False)
        >>> tuple(data.images.shape)
        (2, 3, 24, 32)
    """

    images: Tensor | list[Tensor]
    labels: Tensor | list[Tensor]

    def __init__(self, dataset: Dataset, *, device: str | torch.device = "cpu", progress: bool = True) -> None:
        self.name, self.split, self.root = dataset.name, dataset.split, dataset.root
        self.classes, self.colours, self.names = dataset.classes, dataset.colours, dataset.names
        self.licence, self.note, self.labelled = dataset.licence, dataset.note, dataset.labelled
        self.images, self.labels = [], []
        for index, sample in enumerate(_decoded(dataset, progress=progress)):
            self._place(index, sample, device)

    def __getitem__(self, index: int) -> Sample:
        """The sample at `index`, as views on the device."""
        return Sample(image=self.images[index], label=self.labels[index], name=self.names[index])

    @property
    def nbytes(self) -> int:
        """The memory that images and labels take, in bytes."""
        return sum(tensor.nbytes for part in (self.images, self.labels) for tensor in part)

    def _place(self, index: int, sample: Sample, device: str | torch.device) -> None:
        # One block is allocated from the first sample's size, because stacking at the end would need the
        # memory twice.
        if index == 0:
            count = len(self.names)
            self.images = torch.empty((count, *sample.image.shape), dtype=torch.uint8, device=device)
            self.labels = torch.empty((count, *sample.label.shape), dtype=torch.uint8, device=device)
        if isinstance(self.images, Tensor) and self.images.shape[1:] != sample.image.shape:
            self.images = [image.clone() for image in self.images[:index]]
            self.labels = [label.clone() for label in self.labels[:index]]
        if isinstance(self.images, list) and isinstance(self.labels, list):
            self.images.append(sample.image.to(device))
            self.labels.append(sample.label.to(device))
        else:
            self.images[index].copy_(sample.image)
            self.labels[index].copy_(sample.label)


def _decoded(dataset: Dataset, *, progress: bool) -> Iterator[Sample]:
    """The samples in order; image decoders release the interpreter lock, so threads help."""
    workers = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        samples = pool.map(dataset.__getitem__, range(len(dataset)))
        label = f"Decoding {dataset.name} {dataset.split}"
        yield from Bar(samples, total=len(dataset), desc=label, unit="image", disable=not progress)
