"""What a whole copy of a data set holds, and what a part of it lacks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rfkit.data.dataset import parts_of

__all__ = ["Published"]


@dataclass(frozen=True)
class Published:
    """What a data set holds as published.

    Attributes:
        counts: Images of train, val and test.
        size: Height and width of every image.
        folders: The folders that the images of each split lie in, where it has several.
    """

    counts: Mapping[str, int]
    size: tuple[int, int]
    folders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def count(self, split: str) -> int:
        """Images of a split."""
        return sum(self.counts[part] for part in parts_of(split))

    def differences(
        self, root: Path | None, split: str, *, images: Collection[Path], sizes: Mapping[tuple[int, int], int]
    ) -> Iterator[str]:
        """One line for each way in which a split differs.

        Args:
            root: The folder of the data set, for the lines.
            split: ``"train"``, ``"val"``, ``"test"`` or ``"trainval"``.
            images: The image files of the split.
            sizes: The number of images of each size (height, width).
        """
        if len(images) != self.count(split):
            present = {path.parent.name for path in images}
            absent = [name for part in parts_of(split) for name in self.folders.get(part, ()) if name not in present]
            folders = f"; none from {', '.join(absent)}" if absent else ""
            yield f"{root}: split {split!r} has {len(images)} of the {self.count(split)} published images{folders}"
        others = sum(count for size, count in sizes.items() if size != self.size)
        if others:
            images_of = f"{others} image{'' if others == 1 else 's'} of"
            height, width = self.size
            yield f"{root}: split {split!r} has {images_of} another size than the published {width}x{height}"

    def absent(self, root: Path | None, splits: Collection[str]) -> Iterator[str]:
        """One line for each of train, val and test that is not among `splits`."""
        for split, count in self.counts.items():
            if split not in splits:
                yield f"{root}: split {split!r} is not there; published are {count} images"
