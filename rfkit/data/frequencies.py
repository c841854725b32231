"""How often each class occurs, and the loss weights that follow from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int64, UInt8

from rfkit._progress import Bar
from rfkit.data.dataset import IGNORE, Dataset

__all__ = ["ClassFrequencies", "count_classes"]


@dataclass(frozen=True, eq=False)
class ClassFrequencies:
    """Pixels of each class in a set of label maps.

    Attributes:
        pixels: Pixels of each class.
        images: Number of images in which each class occurs.
        present: All pixels, ignored ones too, of the images in which each class occurs.
        ignored: Pixels of no class.
    """

    pixels: Int64[np.ndarray, " classes"]
    images: Int64[np.ndarray, " classes"]
    present: Int64[np.ndarray, " classes"]
    ignored: int

    def share(self) -> Float64[np.ndarray, " classes"]:
        """The fraction each class has of all labelled pixels; NaN where nothing is labelled."""
        with np.errstate(invalid="ignore"):
            return self.pixels / self.pixels.sum()

    def median_frequency_weights(self) -> Float64[np.ndarray, " classes"]:
        """Median of the class frequencies over each class's own; 0 for a class that does not occur.

        The frequency of a class is its pixels over all pixels of the images in which it occurs (Eigen and
        Fergus, ICCV 2015, section 6.3.2); SegNet weights its loss so.
        """
        weights = np.zeros(len(self.pixels))
        occurs = self.pixels > 0
        frequency = self.pixels[occurs] / self.present[occurs]
        weights[occurs] = np.median(frequency) / frequency if occurs.any() else 0.0
        return weights

    def logarithmic_weights(self, *, offset: float = 1.02) -> Float64[np.ndarray, " classes"]:
        """1 / ln(offset + share) for each class, so that no weight passes 1 / ln(offset).

        Paszke et al., "ENet", 2016, section 5.2, with offset 1.02 (at most 50.5).
        """
        if not offset > 1:
            raise ValueError(f"offset={offset!r} must be above 1.")
        return 1 / np.log(offset + self.share())


class Tally:
    """Adds up what label maps hold, one at a time."""

    def __init__(self, num_classes: int) -> None:
        self._pixels = np.zeros(num_classes, dtype=np.int64)
        self._images = np.zeros(num_classes, dtype=np.int64)
        self._present = np.zeros(num_classes, dtype=np.int64)
        self._ignored = 0

    def add(self, counts: Int64[np.ndarray, " 256"]) -> None:
        """Count one label map, given by `label_counts`; its values are classes or `IGNORE`."""
        classes = counts[: len(self._pixels)]
        self._pixels += classes
        self._images += classes > 0
        self._present += (classes > 0) * counts.sum()
        self._ignored += int(counts[IGNORE])

    def result(self) -> ClassFrequencies:
        """The counts so far."""
        return ClassFrequencies(
            pixels=self._pixels.copy(),
            images=self._images.copy(),
            present=self._present.copy(),
            ignored=self._ignored,
        )


def label_counts(label: UInt8[torch.Tensor, "height width"]) -> Int64[np.ndarray, " 256"]:
    """The pixels of each value, 0 to 255, in a label map."""
    return torch.bincount(label.flatten().int(), minlength=256).cpu().numpy()


def count_classes(dataset: Dataset, *, progress: bool = False) -> ClassFrequencies:
    """How often each class occurs in a data set.

    Every sample is read, so pass an `InMemory` where there is one.

    Args:
        dataset: Any data set.
        progress: Whether to show a bar with the time left.

    Example:
        >>> from rfkit.data.opening import open_data
        >>> scenes = open_data("scenes", split="val", size=(24, 32), length=2)
        >>> int(count_classes(scenes).pixels.sum()) <= 2 * 24 * 32
        True
    """
    tally = Tally(dataset.num_classes)
    label = f"Counting {dataset.name} {dataset.split}"
    for sample in Bar(dataset, total=len(dataset), desc=label, unit="image", disable=not progress):
        tally.add(label_counts(sample.label))
    return tally.result()
