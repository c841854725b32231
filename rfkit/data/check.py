"""Everything that is wrong with a data set, found before training starts."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import UInt8
from tqdm.auto import tqdm

from rfkit._checks import DataError, check_choice
from rfkit.data.dataset import IGNORE, SPLITS, Dataset
from rfkit.data.decoding import read_image, read_label, verify
from rfkit.data.frequencies import ClassFrequencies, Tally
from rfkit.data.opening import open_data
from rfkit.data.pairs import PairedFiles, different_sizes

__all__ = ["DataReport", "SplitReport", "check_data"]


# Data sets of which a copy may lack splits: the module and the function that says which are there.
_SPLITS_IN = {
    "folder": ("rfkit.data.folder", "folder_splits"),
    "cityscapes": ("rfkit.data.cityscapes", "cityscapes_splits"),
    "bdd100k": ("rfkit.data.bdd100k", "bdd100k_splits"),
}


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


def check_data(
    dataset_or_name: Dataset | str,
    root: str | Path | None = None,
    *,
    splits: str | Sequence[str] | None = None,
    progress: bool = True,
    **options: Any,
) -> DataReport:
    """Every problem of a data set, and what it holds, from reading all of it.

    Looked for: an image without label and a label without image, image and label of different sizes, label
    values or colours that are no class, files that are truncated, damaged or of a wrong mode, an empty split,
    and a file that two splits use. Files are checked as stored, whatever size the data set resizes to. Where
    the published counts and size are known (Cityscapes, BDD100K), a part of the data set or resized frames are a
    warning, not a problem: the report is `ok`.

    Args:
        dataset_or_name: A data set, of which its one split is checked, or a name that `open_data` knows.
        root: The folder, where a name is given.
        splits: Which splits to check, where a name is given; by default train, val and test, as far as there
            are.
        progress: Whether to show a bar with the time left.
        options: Passed to the data set's class, where a name is given.

    Raises:
        FileNotFoundError: If `root` does not exist.
        DataError: If no split can be opened at all, for the reason that the first one gives.

    Example:
        >>> report = check_data("scenes", splits=["val"], progress=False, size=(24, 32), length=2)
        >>> report.ok, report.splits["val"].count
        (True, 2)
    """
    if isinstance(dataset_or_name, Dataset):
        if root is not None or splits is not None or options:
            raise ValueError("root, splits and options belong to a name; a data set was given, which has its own.")
        opened: dict[str, Dataset | DataError] = {dataset_or_name.split: dataset_or_name}
    else:
        chosen = (splits,) if isinstance(splits, str) else tuple(splits or ())
        for split in chosen:
            check_choice("splits", split, SPLITS)
        opened = _open_all(dataset_or_name, root, chosen or _splits_of(dataset_or_name, root), options)
    sound = [dataset for dataset in opened.values() if isinstance(dataset, Dataset)]
    if not sound:
        raise next(error for error in opened.values() if isinstance(error, DataError))
    shared = _used_twice(sound)
    reports = {
        split: _check_split(dataset, shared, progress=progress)
        if isinstance(dataset, Dataset)
        else _unopened(dataset, sound[0].num_classes)
        for split, dataset in opened.items()
    }
    absent = _absent(sound[0], opened) if isinstance(dataset_or_name, str) and not splits else ()
    return DataReport(name=sound[0].name, root=sound[0].root, classes=sound[0].classes, splits=reports, absent=absent)


def _open_all(
    name: str, root: str | Path | None, splits: Sequence[str], options: Mapping[str, Any]
) -> dict[str, Dataset | DataError]:
    lenient = {} if name == "scenes" else {"strict": False}
    opened: dict[str, Dataset | DataError] = {}
    for split in splits:
        try:
            opened[split] = open_data(name, root, split=split, **{**lenient, **options})
        except DataError as error:
            opened[split] = error
    return opened


def _splits_of(name: str, root: str | Path | None) -> tuple[str, ...]:
    if name in _SPLITS_IN and root is not None:
        module, function = _SPLITS_IN[name]
        return getattr(importlib.import_module(module), function)(root) or SPLITS[:3]
    return SPLITS[:3]


def _absent(dataset: Dataset, splits: Collection[str]) -> tuple[str, ...]:
    if not isinstance(dataset, PairedFiles) or dataset.published is None:
        return ()
    return tuple(dataset.published.absent(dataset.root, splits))


def _check_split(dataset: Dataset, shared: Mapping[Path, str], *, progress: bool) -> SplitReport:
    problems = list(dataset.problems) if isinstance(dataset, PairedFiles) else []
    sizes: Counter[tuple[int, int]] = Counter()
    tally = Tally(dataset.num_classes)
    if not len(dataset) and not problems:
        problems.append(f"{dataset.root}: split {dataset.split!r} is empty")
    bar = tqdm(
        range(len(dataset)),
        desc=f"Checking {dataset.name} {dataset.split}",
        unit="image",
        disable=not progress,
    )
    for index in bar:
        found, label = _check_sample(dataset, index)
        problems += found
        if label is not None and not found:
            sizes[label.shape[0], label.shape[1]] += 1
            tally.add(torch.from_numpy(label))
    problems += _shared_files(dataset, shared)
    return SplitReport(
        count=sum(sizes.values()),
        sizes=dict(sizes),
        frequencies=tally.result(),
        problems=tuple(problems),
        warnings=_differences(dataset, sizes),
    )


def _differences(dataset: Dataset, sizes: Mapping[tuple[int, int], int]) -> tuple[str, ...]:
    if not isinstance(dataset, PairedFiles) or dataset.published is None:
        return ()
    images = [pair.image for pair in dataset.pairs]
    return tuple(dataset.published.differences(dataset.root, dataset.split, images=images, sizes=sizes))


def _check_sample(dataset: Dataset, index: int) -> tuple[list[str], UInt8[np.ndarray, "height width"] | None]:
    """The problems of one sample, and its label map where it could be read."""
    if isinstance(dataset, PairedFiles):
        return _check_files(dataset, index)
    try:
        sample = dataset[index]
    except (DataError, OSError) as error:
        return [str(error)], None
    label = sample.label.cpu().numpy()
    wrong = np.unique(label[(label >= dataset.num_classes) & (label != IGNORE)])
    found = []
    if len(wrong):
        found.append(f"{sample.name}: label ids {wrong.tolist()} outside the {dataset.num_classes} classes")
    if sample.image.shape[1:] != sample.label.shape:
        found.append(f"{sample.name}: image {tuple(sample.image.shape)} and label {label.shape} differ in size")
    return found, label


def _check_files(dataset: PairedFiles, index: int) -> tuple[list[str], UInt8[np.ndarray, "height width"] | None]:
    """Image and label on their own, so that trouble with one does not hide trouble with the other."""
    pair = dataset.pairs[index]
    found: list[str] = []
    image: np.ndarray | None = None
    label: np.ndarray | None = None
    try:
        image = read_image(pair.image)
        verify(pair.image)
    except (DataError, OSError) as error:
        found.append(str(error))
    if not dataset.labelled:
        return found, None if image is None else np.full(image.shape[:2], IGNORE, dtype=np.uint8)
    try:
        label = read_label(pair.label, dataset.code)
        verify(pair.label)
        found += dataset.further_problems(index, label)
    except (DataError, OSError) as error:
        found.append(str(error))
    if image is not None and label is not None and image.shape[:2] != label.shape:
        found.append(f"{pair.label}: {different_sizes(label.shape, image.shape[:2], path=pair.image)}")
    return found, label


def _used_twice(datasets: Sequence[Dataset]) -> dict[Path, str]:
    """The image files that more than one split uses, with those splits; trainval shares files by nature."""
    users: dict[Path, list[str]] = {}
    for dataset in datasets:
        if isinstance(dataset, PairedFiles) and dataset.split != "trainval":
            for pair in dataset.pairs:
                users.setdefault(pair.image, []).append(dataset.split)
    return {path: " and ".join(splits) for path, splits in users.items() if len(splits) > 1}


def _shared_files(dataset: Dataset, shared: Mapping[Path, str]) -> Iterator[str]:
    if isinstance(dataset, PairedFiles) and dataset.split != "trainval":
        for pair in dataset.pairs:
            if pair.image in shared:
                yield f"{pair.image}: used twice: by {shared[pair.image]}"


def _unopened(error: DataError, num_classes: int) -> SplitReport:
    return SplitReport(count=0, sizes={}, frequencies=Tally(num_classes).result(), problems=(str(error),))


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
