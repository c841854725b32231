"""What a network loses on real images when it loses the branches of one dilation rate."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rfkit._checks import check_choice, check_positive, data_error
from rfkit._progress import Bar
from rfkit.analysis.branch_removal import branch_means, weights_digest, without_branches
from rfkit.analysis.untouched import untouched
from rfkit.data.dataset import Dataset, Sample
from rfkit.data.transforms import normalize, resample
from rfkit.hooks import recall
from rfkit.metrics import ConfusionMatrix
from rfkit.results.branches import branch_labels
from rfkit.results.removal import BranchMeans, BranchRemoval, Removal, RemovalProgress
from rfkit.studies.prefixes import Prefixes
from rfkit.training.evaluation import class_scores, sample_batches
from rfkit.training.prefetch import prefetch

__all__ = ["LEVELS", "branch_removal"]

LEVELS = ("stage", "block")

_SECONDS = 30.0  # between two savings of what is done


def branch_removal(
    model: nn.Module,
    data: Dataset,
    *,
    calibration: Dataset | Tensor | Iterable[Any] | None = None,
    level: str = "stage",
    stages: Mapping[str, str | Sequence[str]] | None = None,
    batch_size: int = 4,
    size: tuple[int, int] | None = None,
    limit: int | None = None,
    device: str | torch.device | None = None,
    precision: str = "fp32",
    resume: str | Path | None = None,
    resamples: int = 2000,
    seed: int = 0,
    progress: bool = True,
) -> BranchRemoval:
    """The drop in mIoU and in each class IoU when the branches of one dilation rate are taken from a network.

    A branch is removed by holding the channels with which it enters the 1x1 convolution at their mean
    (`rfkit.analysis.branch_removal`), so that what is lost is what it tells about the image. The network is not trained
    again: a drop says what this network relies on, not what another could do without. Drops do not add up, because
    branches can stand in for each other.

    One confusion matrix per image is kept for the intact network and for each removal, so that the intervals can
    resample images. Each image is decoded once, and what the network computes before the first removed branch is
    computed once, if on the first images that is found to give the same scores bit for bit.

    Args:
        model: takes normalised images, gives class scores, has parallel dilated branches; left as it was found, but
            moved to `device`.
        data: labelled images; its classes are those of the network.
        calibration: images that the means are taken over: a data set, or tensors as `branch_means` takes them. None:
            the images scored, of which no label is used.
        level: "stage" takes the branch of one rate from all blocks of a stage at once; "block" from one block.
        stages: stage name -> names or patterns of modules that hold its blocks; see `rfkit.branch_weights`.
        batch_size: images in a forward pass.
        size: (height, width) that the network sees; None: each image's own. Labels are compared at their own size.
        limit: how many images of `data`, spread evenly over it; None: all.
        device: where to run; None: where the model is.
        precision: "fp32", or "bf16" for autocast.
        resume: file in which finished images are kept every half minute and on Ctrl-C; the same call goes on with it,
            and removes it in the end. None: nothing is kept.
        resamples: bootstrap resamples of the images.
        seed: seed of the resampling.
        progress: whether to show a bar.

    Returns:
        The scores; `to_frame()` has the drops with their intervals.

    Raises:
        ValueError: an argument is not allowed, `data` is empty or without labels, the network has another number of
            classes, or no branches that can be removed.
        rfkit._checks.DataError: `resume` holds another measurement.
        KeyboardInterrupt: on Ctrl-C; the model is then as it was found.

    Example:
        >>> from rfkit.data.opening import open_data
        >>> from rfkit.models.registry import create_model
        >>> data = open_data("scenes", split="val", size=(32, 64), length=2)
        >>> model = create_model("probe_dwrseg_l", num_classes=data.num_classes, seed=0, blocks=(1, 1, 1))
        >>> frame = branch_removal(model, data, resamples=10, progress=False).to_frame()
        >>> frame[frame["class"] == ""][["stage", "branch"]].agg("".join, axis=1).tolist()[:4]
        ['stage2d1', 'stage2d3', 'stage2d5', 'stage3d1']
    """
    check_choice("level", level, LEVELS)
    check_choice("precision", precision, ("fp32", "bf16"))
    check_positive("batch_size", batch_size)
    check_positive("resamples", resamples)
    check_positive("limit", 1 if limit is None else limit)
    data.check_usable()
    model.to(torch.device(device) if device is not None else next(model.parameters()).device)
    network = _Network(model, size, precision)
    indices = _spread(len(data), limit)
    source = _Part(data, indices) if calibration is None else _whole(calibration)
    key = _key(model, data, indices, source, [level, stages, size, precision])
    kept = _Kept(resume, key)
    means = kept.means or network.means(source, stages=stages, batch_size=batch_size, progress=progress)
    plan = _plan(means, level)
    with (
        untouched(model),
        Bar(total=len(indices), desc=_title(data, plan), unit="image", disable=not progress, leave=False) as bar,
        kept.saving(means),
    ):
        bar.update(kept.images)
        run = _Run(network, plan, means, data.name, data.num_classes)
        # The next images are read while the network runs.
        for samples in prefetch(sample_batches(data, indices[kept.images :], batch_size)):
            kept.add(run.counts(samples))
            bar.update(len(samples))
    kept.remove()
    return BranchRemoval(
        level=level,
        removals=tuple(step.removal for step in plan),
        stages=means.stages,
        classes=tuple(data.classes),
        confusion=kept.confusion(),
        data=data.name,
        split=data.split,
        size=None if size is None else (int(size[0]), int(size[1])),
        precision=precision,
        calibration=_words(source, means.images),
        resamples=resamples,
        seed=seed,
        network=weights_digest(model),
    )


@dataclass(frozen=True, eq=False)
class _Step:
    """One removal and the branches that it takes, as (block, index) pairs."""

    removal: Removal
    branches: tuple[tuple[str, int], ...]


@dataclass(frozen=True, eq=False)
class _Network:
    """A model, and how it sees images."""

    model: nn.Module
    size: tuple[int, int] | None
    precision: str

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def means(
        self, source: Any, *, stages: Mapping[str, str | Sequence[str]] | None, batch_size: int, progress: bool
    ) -> BranchMeans:
        total = len(source.indices) if isinstance(source, _Part) else None
        with Bar(total=total, desc="Means of branches", unit="image", disable=not progress, leave=False) as bar:
            images = self._seen(source, batch_size, bar) if isinstance(source, _Part) else source
            with self.autocast():
                return branch_means(self.model, images, stages=stages, batch_size=batch_size)

    def predict(self, images: Tensor) -> Tensor:
        with self.autocast():
            return class_scores(self.model, images, size=self.size)

    def _seen(self, source: _Part, batch_size: int, bar: Bar) -> Iterator[Tensor]:
        """The images of a data set as the network gets them to score it."""
        for samples in prefetch(sample_batches(source.data, source.indices, batch_size)):
            pixels = normalize(torch.stack([sample.image for sample in samples]).to(self.device))
            yield pixels if self.size is None else resample(pixels, self.size)
            bar.update(len(samples))


def _plan(means: BranchMeans, level: str) -> tuple[_Step, ...]:
    """The removals, stage by stage (and block by block), the smallest dilation first."""
    taken: dict[tuple[str, str], dict[tuple[int, str], list[tuple[str, int]]]] = {}
    for stage in means.stages:
        for block in means.blocks:
            if block.stage == stage:
                place = taken.setdefault((stage, "" if level == "stage" else block.block), {})
                for index, label in enumerate(branch_labels(block.dilations)):
                    place.setdefault((block.dilations[index], label), []).append((block.block, index))
    return tuple(
        _Step(Removal(stage, block, label, dilation, len(branches)), tuple(branches))
        for (stage, block), place in taken.items()
        for (dilation, label), branches in sorted(place.items())
    )


class _Run:
    """The removals on one batch after the other."""

    def __init__(self, network: _Network, plan: Sequence[_Step], means: BranchMeans, data: str, classes: int) -> None:
        self._network, self._plan, self._means, self._data, self._classes = network, plan, means, data, classes
        merges = {block.block: block.merge for block in means.blocks}
        self._merges = [[merges[block] for block, _ in step.branches] for step in plan]
        self._prefixes = Prefixes(network.model, [block.merge for block in means.blocks])
        self._exact: bool | None = None

    def counts(self, samples: Sequence[Sample]) -> np.ndarray:
        """Confusion matrices of the intact network and after each removal, (1 + removals, images, classes, classes)."""
        network = self._network
        images = torch.stack([sample.image for sample in samples]).to(network.device)
        labels = torch.stack([sample.label for sample in samples])
        with self._prefixes.watch():
            intact = network.predict(images)
        if self._exact is None:
            self._exact = all(torch.equal(self._predict(images, merges), intact) for merges in self._starts())
        found = [self._matrices(intact, labels)]
        # The latest removal first: what a layer leaves behind on the side is then always of the intact network.
        for step, merges in zip(reversed(self._plan), reversed(self._merges), strict=True):
            with without_branches(network.model, step.branches, means=self._means):
                logits = self._predict(images, merges) if self._exact else network.predict(images)
            found.insert(1, self._matrices(logits, labels))
        return np.stack(found)

    def _starts(self) -> list[list[str]]:
        return list({tuple(merges): merges for merges in self._merges}.values())

    def _predict(self, images: Tensor, merges: Sequence[str]) -> Tensor:
        with recall(self._network.model, self._prefixes.before(merges)):
            return self._network.predict(images)

    def _matrices(self, logits: Tensor, labels: Tensor) -> np.ndarray:
        """One confusion matrix per image."""
        if logits.shape[1] != self._classes:
            raise ValueError(f"model gives {logits.shape[1]} class scores; dataset {self._data} has {self._classes}.")
        matrices = []
        for prediction, label in zip(logits.argmax(1), labels, strict=True):
            confusion = ConfusionMatrix(self._classes)
            confusion.update(prediction, label)
            matrices.append(confusion.matrix)
        return np.stack(matrices)


class _Kept:
    """The counts so far, and the file that keeps them."""

    def __init__(self, path: str | Path | None, key: str) -> None:
        self._path, self._key = None if path is None else Path(path), key
        self._counts: list[np.ndarray] = []
        self.means: BranchMeans | None = None
        self._saved = time.monotonic()
        if self._path is not None and self._path.exists():
            before = RemovalProgress.load(self._path)
            if before.key != key:
                raise data_error(self._path, "holds another measurement; remove it, or give resume another name.")
            self.means, self._counts = before.means, [before.confusion]

    @property
    def images(self) -> int:
        return sum(counts.shape[1] for counts in self._counts)

    def confusion(self) -> np.ndarray:
        return np.concatenate(self._counts, axis=1)

    def add(self, counts: np.ndarray) -> None:
        self._counts.append(counts)
        if time.monotonic() > self._saved + _SECONDS:
            self._save()

    @contextmanager
    def saving(self, means: BranchMeans) -> Iterator[None]:
        """While open, counts belong to these means; they are saved as well if what is done ends early."""
        self.means = means
        try:
            yield
        finally:
            self._save()

    def remove(self) -> None:
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _save(self) -> None:
        if self._path is not None and self.means is not None and self._counts:
            RemovalProgress(self._key, self.means, self.confusion()).save(self._path)
        self._saved = time.monotonic()


@dataclass(frozen=True, eq=False)
class _Part:
    """Some images of a data set."""

    data: Dataset
    indices: tuple[int, ...]


def _whole(source: Any) -> Any:
    return _Part(source, tuple(range(len(source)))) if isinstance(source, Dataset) else source


def _spread(count: int, limit: int | None) -> tuple[int, ...]:
    """At most `limit` of `count` indices, evenly spread."""
    wanted = count if limit is None else min(limit, count)
    return tuple(index * count // wanted for index in range(wanted))


def _key(model: nn.Module, data: Dataset, indices: Sequence[int], source: Any, options: Sequence[Any]) -> str:
    read = [(part.data.name, part.data.split, [part.data.names[index] for index in part.indices])
            for part in (_Part(data, tuple(indices)), source) if isinstance(part, _Part)]  # fmt: skip
    described = json.dumps([weights_digest(model), read, options], default=str)
    return hashlib.sha256(described.encode()).hexdigest()


def _title(data: Dataset, plan: Sequence[_Step]) -> str:
    return f"{len(plan)} removals on {data.name} {data.split}"


def _words(source: Any, images: int) -> str:
    kind = f"{source.data.name} {source.data.split}" if isinstance(source, _Part) else "images given"
    return f"{kind}, {images} images"
