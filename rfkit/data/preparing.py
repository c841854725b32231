"""A data set decoded once into plain files, which `rfkit.data.prepared.Prepared` reads without decoding."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from rfkit._checks import DataError, check_choice, check_folder, check_positive, data_error
from rfkit._files import write_text
from rfkit._progress import Bar
from rfkit.data.blocks import Block, fill
from rfkit.data.dataset import SPLITS, Dataset
from rfkit.data.opening import open_data, splits_of
from rfkit.data.pairs import PairedFiles
from rfkit.data.parallel import completed
from rfkit.data.prepared import FORMAT, PREPARED, Prepared, read_prepared

__all__ = ["prepare_data"]


def prepare_data(
    data: Dataset | str,
    root: str | Path | None = None,
    *,
    out: str | Path,
    splits: str | Sequence[str] | None = None,
    workers: int | None = None,
    progress: bool = True,
    **options: Any,
) -> dict[str, Prepared]:
    """The splits of a data set, decoded into a folder from which they are read without decoding.

    The folder then stands for the data set: ``open_data("cityscapes", out, split="train")`` reads it. Each frame is
    stored with its CRC-32, which `rfkit.data.check.check_data` compares.

    The same call after an interrupt of any kind goes on where it was: a frame whose checksum is in the journal and
    fits is kept, every other one is decoded again. ``prepared.json`` is written last; without it, nothing is read. A
    later call may add splits to a finished folder.

    Args:
        data: A data set, of which its one split is prepared, or a name that `open_data` knows.
        root: The folder of the data set, where a name is given.
        out: Folder for the result: 4 bytes a pixel, 25 GB for Cityscapes' 2975 training frames.
        splits: Which splits to prepare, where a name is given; by default train, val and test, as far as there are.
            ``"trainval"`` means train and val: it is read from them and not stored.
        workers: Threads that decode; None: one a processor.
        progress: Whether to show a bar with the time left.
        options: Passed to the data set's class, where a name is given, such as ``size=(512, 1024)``.

    Returns:
        The prepared splits.

    Raises:
        FileNotFoundError: If `root` does not exist.
        DataError: If a frame of the data set cannot be read.
        OSError: If the disk has not enough space, before anything is written where that can be foreseen.
        ValueError: If `out` is a file, or holds another data set, or frames of other files or of another size.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     prepared = prepare_data("scenes", out=folder, splits="val", progress=False, size=(24, 32), length=2)
        ...     tuple(prepared["val"][0].image.shape)
        (3, 24, 32)
    """
    out = Path(out)
    check_folder("out", out)
    if workers is not None:
        check_positive("workers", workers)
    if root is not None and out.resolve() == Path(root).resolve():
        raise ValueError(f"out={str(out)!r} is the folder of the data set; give another one.")
    sources = _sources(data, root, splits, options)
    tables = {split: _table(dataset, workers=workers, progress=progress) for split, dataset in sources.items()}
    finished = _finished(out, next(iter(sources.values())), tables)
    left = [split for split in sources if split not in finished]
    with _full_disk_named(out):
        out.mkdir(parents=True, exist_ok=True)
        _check_space(out, {split: tables[split] for split in left})
        for split in left:
            table = tables[split]
            block = Block(table["sizes"], table["labelled"])
            table["checksums"] = fill(
                sources[split], block, out, fingerprint=table["fingerprint"], workers=workers, progress=progress
            )
            finished[split] = table
        if left:
            _finish(out, data, root, sources[left[0]], finished, options)
        for leftover in (*out.glob("*.journal"), *out.glob(".*.journal"), *out.glob(".prepared.*.json")):
            leftover.unlink()
    return {split: Prepared(out, split) for split in sources}


def _sources(
    data: Dataset | str,
    root: str | Path | None,
    splits: str | Sequence[str] | None,
    options: Mapping[str, Any],
) -> dict[str, Dataset]:
    """The data sets to decode, by split."""
    if isinstance(data, Dataset):
        if root is not None or splits is not None or options:
            raise ValueError("root, splits and options belong to a name; a data set was given, which has its own.")
        found = {data.split: data}
    else:
        there = splits_of(data, root)
        wanted = (splits,) if isinstance(splits, str) else tuple(splits or there)
        for split in wanted:
            check_choice("splits", split, SPLITS)
        if "trainval" in wanted:
            wanted = (*(split for split in ("train", "val") if split in there), *wanted)
        chosen = [split for split in SPLITS[:3] if split in wanted]
        found = {split: open_data(data, root, split=split, **options) for split in chosen}
    for dataset in found.values():
        if isinstance(dataset, Prepared):
            raise ValueError(f"{dataset.root} is prepared already; give the folder that the data set came in.")
        if not len(dataset):
            raise ValueError(f"dataset {dataset.name} {dataset.split} has no samples; there is nothing to prepare.")
    return found


def _table(dataset: Dataset, *, workers: int | None, progress: bool) -> dict[str, Any]:
    """What `prepared.json` says of a split, before its frames are decoded."""
    frames = range(len(dataset))
    bar = {"total": len(frames), "desc": f"Listing {dataset.name} {dataset.split}", "disable": not progress}
    found = dict(Bar(completed(_lister(dataset), frames, workers=workers), unit="image", leave=False, **bar))
    sizes = [list(found[index][0]) for index in frames]
    files = [found[index][1] for index in frames]
    told = [dataset.name, dataset.split, list(dataset.classes), dataset.labelled, list(dataset.names), sizes, files]
    return {
        "labelled": dataset.labelled,
        "fingerprint": hashlib.sha256(json.dumps(told).encode()).hexdigest(),
        "names": list(dataset.names),
        "sizes": sizes,
    }


def _lister(dataset: Dataset) -> Callable[[int], tuple[tuple[int, int], list[int]]]:
    """What finds the size of a frame when it is read, and the lengths of its files in bytes."""

    def paired(index: int) -> tuple[tuple[int, int], list[int]]:
        assert isinstance(dataset, PairedFiles)
        pair = dataset.pairs[index]
        lengths = [path.stat().st_size for path in (pair.image, *([pair.label] if dataset.labelled else []))]
        if dataset.size is not None:
            return dataset.size, lengths
        try:
            # Opening reads the head of the file alone.
            with Image.open(pair.image) as image:
                return (image.height, image.width), lengths
        except (OSError, SyntaxError, ValueError) as error:
            raise data_error(pair.image, f"is not an image: {error}") from error

    def other(index: int) -> tuple[tuple[int, int], list[int]]:
        height, width = dataset[index].label.shape
        return (height, width), []

    return paired if isinstance(dataset, PairedFiles) else other


def _finished(out: Path, dataset: Dataset, tables: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The splits that are in the folder already, if they go together with those of `tables`."""
    if not (out / PREPARED).is_file():
        return {}
    content = read_prepared(out)
    for field, now in (("name", dataset.name), ("classes", list(dataset.classes)), ("note", dataset.note)):
        if content[field] != now:
            raise ValueError(f"out={str(out)!r} holds {field}={content[field]!r}, not {now!r}; give another folder.")
    splits: dict[str, dict[str, Any]] = content["splits"]
    for split, table in tables.items():
        if split in splits and splits[split]["fingerprint"] != table["fingerprint"]:
            raise ValueError(
                f"out={str(out)!r} holds the split {split!r} of other files or of another size; give another folder."
            )
    return splits


def _check_space(out: Path, tables: Mapping[str, Mapping[str, Any]]) -> None:
    needed = 0
    for split, table in tables.items():
        path = out / f"{split}.bin"
        # Blocks of 512 bytes whatever the file system; what was not written yet takes none.
        present = path.stat().st_blocks * 512 if path.exists() else 0
        needed += max(0, int(Block(table["sizes"], table["labelled"]).offsets()[-1]) - present)
    free = shutil.disk_usage(out).free
    if needed > free:
        raise OSError(f"{out}: {_gigabytes(needed)} are needed, and {_gigabytes(free)} are free; nothing was decoded.")


def _finish(
    out: Path,
    data: Dataset | str,
    root: str | Path | None,
    dataset: Dataset,
    splits: Mapping[str, Mapping[str, Any]],
    options: Mapping[str, Any],
) -> None:
    content = {
        "format": FORMAT,
        "name": dataset.name,
        "classes": list(dataset.classes),
        "colours": dataset.colours.tolist(),
        "licence": dataset.licence,
        "note": dataset.note,
        "checksum": "CRC-32 of each frame",
        "splits": {split: splits[split] for split in SPLITS if split in splits},
        "joined": _joined(data, root, splits, options) if isinstance(data, str) else {},
    }
    write_text(out / PREPARED, json.dumps(content) + "\n")


def _joined(
    name: str, root: str | Path | None, splits: Mapping[str, Mapping[str, Any]], options: Mapping[str, Any]
) -> dict[str, Any]:
    """For trainval the stored splits that it consists of, and its names, which may differ from theirs."""
    parts = [split for split in ("train", "val") if split in splits]
    try:
        names = list(open_data(name, root, split="trainval", **options).names)
    except DataError:
        return {}
    stored = [name for part in parts for name in splits[part]["names"]]
    # A folder's trainval puts the split before each name, because both may have the same ones.
    whole = len(names) == len(stored) and all(map(str.endswith, names, stored))
    return {"trainval": {"parts": parts, "names": names}} if whole else {}


@contextmanager
def _full_disk_named(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OSError(
            f"{out}: the disk is full ({_gigabytes(shutil.disk_usage(out).free)} free). The frames that are done are "
            "kept: free some space, and make the same call again."
        ) from error


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
