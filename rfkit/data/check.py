"""Everything that is wrong with a data set, found before training starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8

from rfkit._checks import DataError, check_choice
from rfkit._progress import Bar
from rfkit.data.dataset import IGNORE, SPLITS, Dataset
from rfkit.data.decoding import read_image, read_label, verify
from rfkit.data.frequencies import Tally, label_counts
from rfkit.data.opening import open_data, splits_of
from rfkit.data.pairs import PairedFiles, different_sizes
from rfkit.data.parallel import completed
from rfkit.data.prepared import Prepared, is_prepared
from rfkit.data.report import DataReport, SplitReport

__all__ = ["check_data"]


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
    and a file that two splits use. Files are checked as stored, whatever size the data set resizes to; of a prepared
    data set, the CRC-32 of each frame is compared. Where the published counts and size are known (Cityscapes,
    BDD100K), a part of the data set or resized frames are a warning, not a problem: the report is `ok`.

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
        opened = _open_all(dataset_or_name, root, chosen or splits_of(dataset_or_name, root), options)
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
    whole = name == "scenes" or (root is not None and is_prepared(root))
    lenient = {} if whole else {"strict": False}
    opened: dict[str, Dataset | DataError] = {}
    for split in splits:
        try:
            opened[split] = open_data(name, root, split=split, **{**lenient, **options})
        except DataError as error:
            opened[split] = error
    return opened


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
    bar = Bar(
        completed(lambda index: _check_sample(dataset, index), range(len(dataset))),
        total=len(dataset),
        desc=f"Checking {dataset.name} {dataset.split}",
        unit="image",
        disable=not progress,
    )
    for _, sample in sorted(bar):
        problems += sample.problems
        if sample.counts is not None:
            sizes[sample.size] += 1
            tally.add(sample.counts)
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


@dataclass(frozen=True, eq=False)
class _Checked:
    """A sample: its problems, or where there are none its size and the pixels of each label value."""

    problems: list[str]
    size: tuple[int, int] = (0, 0)
    counts: Int64[np.ndarray, " 256"] | None = None


def _check_sample(dataset: Dataset, index: int) -> _Checked:
    found, label = _check_files(dataset, index) if isinstance(dataset, PairedFiles) else _check_pixels(dataset, index)
    if found or label is None:
        return _Checked(found)
    return _Checked([], (label.shape[0], label.shape[1]), label_counts(torch.from_numpy(label)))


def _check_pixels(dataset: Dataset, index: int) -> tuple[list[str], UInt8[np.ndarray, "height width"] | None]:
    """The problems of a sample of which there are no files of its own, and its label map if it could be read."""
    try:
        if isinstance(dataset, Prepared):
            dataset.check_frame(index)
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
