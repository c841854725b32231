"""What a data set holds and what is wrong with it, as a page to read or a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rfkit.data.frequencies import ClassFrequencies

__all__ = ["DataReport", "SplitReport"]


@dataclass(frozen=True, eq=False)
class SplitReport:
    """What one split holds.

    Attributes:
        count: Samples that could be read and are sound.
        sizes: Number of them by (height, width), as stored.
        frequencies: Pixels of each class over the sound label maps.
        problems: One line a problem, starting with the file's path.
        warnings: One line for each way in which the split differs from the published one (fewer images, another
            size), which is no mistake.
    """

    count: int
    sizes: Mapping[tuple[int, int], int]
    frequencies: ClassFrequencies
    problems: tuple[str, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class DataReport:
    """What a data set holds and what is wrong with it; `str()` is a page to read.

    Attributes:
        name: The data set's name.
        root: Its folder; None where nothing is read.
        classes: Class names.
        splits: One report a split.
        absent: One line for each published split that is not there at all.
    """

    name: str
    root: Path | None
    classes: tuple[str, ...]
    splits: Mapping[str, SplitReport]
    absent: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """The problems of all splits, each a line that starts with the file's path."""
        return tuple(dict.fromkeys(problem for split in self.splits.values() for problem in split.problems))

    @property
    def warnings(self) -> tuple[str, ...]:
        """How the data differs from what is published: a part of it, another size. Nothing of this is wrong."""
        return (*(warning for split in self.splits.values() for warning in split.warnings), *self.absent)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; a warning is not wrong."""
        return not self.problems

    def to_frame(self) -> pd.DataFrame:
        """One row for each split and class.

        Columns: split, id, class, pixels, share (of the split's labelled pixels, 0 to 1), images (that hold
            the class).
        """
        return pd.DataFrame(
            [
                (split, number, name, int(counts.pixels[number]), float(share), int(counts.images[number]))
                for split, report in self.splits.items()
                for counts in [report.frequencies]
                for number, (name, share) in enumerate(zip(self.classes, counts.share(), strict=True))
            ],
            columns=["split", "id", "class", "pixels", "share", "images"],
        )

    def __str__(self) -> str:
        place = f" at {self.root}" if self.root is not None else ""
        classes = f"{len(self.classes)} class{'' if len(self.classes) == 1 else 'es'}"
        warnings = f", {_counted(len(self.warnings), 'warning')}" if self.warnings else ""
        lines = [f"{self.name}{place}: {classes}, {_counted(len(self.problems), 'problem')}{warnings}"]
        lines += [f"  {name:<9}{_summary(split)}" for name, split in self.splits.items()]
        lines += ["", *_share_table(self)]
        if self.warnings:
            lines += ["", "Warnings:", *(f"  {warning}" for warning in self.warnings)]
        if not self.ok:
            lines += ["", "Problems:", *(f"  {problem}" for problem in self.problems)]
        return "\n".join(lines)


def _counted(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"


def _summary(split: SplitReport) -> str:
    """`2 sound images: 480x360 (1), 960x720 (1); 1 problem`: width x height, the most common first."""
    common = sorted(split.sizes.items(), key=lambda item: -item[1])
    sizes = [f"{width}x{height}" + (f" ({count})" if len(common) > 1 else "") for (height, width), count in common]
    if len(sizes) > 4:
        sizes[4:] = [f"{len(sizes) - 4} more sizes"]
    line = _counted(split.count, "sound image")
    if sizes:
        line += f": {', '.join(sizes)}"
    return f"{line}; {_counted(len(split.problems), 'problem')}" if split.problems else line


def _share_table(report: DataReport) -> list[str]:
    """Percent of labelled pixels by class, a column a split, and the ignored percent of all pixels."""
    width = max([len(name) for name in report.classes] + [len("ignored, of all")])
    header = f"{'% of labelled':<{width + 2}}" + "".join(f"{split:>10}" for split in report.splits)
    shares = [split.frequencies.share() for split in report.splits.values()]
    rows = [
        f"  {name:<{width}}" + "".join(_percent(float(share[number])) for share in shares)
        for number, name in enumerate(report.classes)
    ]
    ignored = "".join(
        _percent(counts.ignored / total if (total := counts.ignored + int(counts.pixels.sum())) else float("nan"))
        for counts in (split.frequencies for split in report.splits.values())
    )
    return [header, *rows, f"  {'ignored, of all':<{width}}{ignored}"]


def _percent(share: float) -> str:
    return f"{'-':>10}" if np.isnan(share) else f"{100 * share:>10.3f}"
