"""What a network loses on real images when it loses the branches of one dilation rate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from rfkit._checks import check_choice, check_positive
from rfkit.analysis.branch_removal import branch_means, without_branches
from rfkit.analysis.untouched import untouched
from rfkit.data.dataset import Dataset, Sample
from rfkit.data.transforms import normalize, resample
from rfkit.metrics import ConfusionMatrix
from rfkit.results.branches import branch_labels
from rfkit.results.removal import BranchMeans, BranchRemoval, Removal
from rfkit.training.evaluation import class_scores, sample_batches
from rfkit.training.prefetch import prefetch

__all__ = ["LEVELS", "branch_removal"]

LEVELS = ("stage", "block")


def branch_removal(
    model: nn.Module,
    data: Dataset,
    *,
    calibration: Dataset | Tensor | Iterable[Any] | None = None,
    level: str = "stage",
    stages: Mapping[str, str | Sequence[str]] | None = None,
    batch_size: int = 4,
    size: tuple[int, int] | None = None,
    device: str | torch.device | None = None,
    precision: str = "fp32",
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
    resample images. Each image is decoded once.

    Args:
        model: takes normalised images, gives class scores, has parallel dilated branches; left as it was found, but
            moved to `device`.
        data: labelled images; its classes are those of the network.
        calibration: images that the means are taken over: a data set, or tensors as `branch_means` takes them. None:
            `data` itself, which uses no label of it.
        level: "stage" takes the branch of one rate from all blocks of a stage at once; "block" from one block.
        stages: stage name -> names or patterns of modules that hold its blocks; see `rfkit.branch_weights`.
        batch_size: images in a forward pass.
        size: (height, width) that the network sees; None: each image's own. Labels are compared at their own size.
        device: where to run; None: where the model is.
        precision: "fp32", or "bf16" for autocast.
        resamples: bootstrap resamples of the images.
        seed: seed of the resampling.
        progress: whether to show a bar.

    Returns:
        The scores; `to_frame()` has the drops with their intervals.

    Raises:
        ValueError: an argument is not allowed, `data` is empty or without labels, the network has another number of
            classes, or no branches that can be removed.
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
    data.check_usable()
    model.to(torch.device(device) if device is not None else next(model.parameters()).device)
    network = _Network(model, size, precision)
    source = data if calibration is None else calibration
    means = network.means(source, stages=stages, batch_size=batch_size, progress=progress)
    plan = _plan(means, level)
    counts: list[np.ndarray] = []
    with (
        untouched(model),
        tqdm(total=len(data), desc=_title(data, plan), unit="image", disable=not progress, leave=False) as bar,
    ):
        # The next images are read while the network runs.
        for samples in prefetch(sample_batches(data, range(len(data)), batch_size)):
            counts.append(_counts(network, samples, plan, means, data))
            bar.update(len(samples))
    return BranchRemoval(
        level=level,
        removals=tuple(step.removal for step in plan),
        stages=means.stages,
        classes=tuple(data.classes),
        confusion=np.concatenate(counts, axis=1),
        data=data.name,
        split=data.split,
        size=None if size is None else (int(size[0]), int(size[1])),
        precision=precision,
        calibration=_words(source, means.images),
        resamples=resamples,
        seed=seed,
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
        total = len(source) if isinstance(source, Dataset) else None
        with tqdm(total=total, desc="Means of branches", unit="image", disable=not progress, leave=False) as bar:
            images = self._seen(source, batch_size, bar) if isinstance(source, Dataset) else source
            with self.autocast():
                return branch_means(self.model, images, stages=stages, batch_size=batch_size)

    def predict(self, images: Tensor) -> Tensor:
        with self.autocast():
            return class_scores(self.model, images, size=self.size)

    def _seen(self, source: Dataset, batch_size: int, bar: tqdm[Any]) -> Iterator[Tensor]:
        """The images of a data set as the network gets them to score it."""
        for samples in prefetch(sample_batches(source, range(len(source)), batch_size)):
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


def _counts(
    network: _Network, samples: Sequence[Sample], plan: Sequence[_Step], means: BranchMeans, data: Dataset
) -> np.ndarray:
    """Confusion matrices of the intact network and after each removal, (1 + removals, images, classes, classes)."""
    images = torch.stack([sample.image for sample in samples]).to(network.device)
    labels = torch.stack([sample.label for sample in samples]).to(network.device)
    found = [_matrices(network.predict(images), labels, data)]
    for step in plan:
        with without_branches(network.model, step.branches, means=means):
            found.append(_matrices(network.predict(images), labels, data))
    return np.stack(found)


def _matrices(logits: Tensor, labels: Tensor, data: Dataset) -> np.ndarray:
    """One confusion matrix per image."""
    if logits.shape[1] != data.num_classes:
        raise ValueError(f"model gives {logits.shape[1]} class scores; dataset {data.name} has {data.num_classes}.")
    matrices = []
    for prediction, label in zip(logits.argmax(1), labels, strict=True):
        confusion = ConfusionMatrix(data.num_classes)
        confusion.update(prediction, label)
        matrices.append(confusion.matrix)
    return np.stack(matrices)


def _title(data: Dataset, plan: Sequence[_Step]) -> str:
    return f"{len(plan)} removals on {data.name} {data.split}"


def _words(source: Any, images: int) -> str:
    kind = f"{source.name} {source.split}" if isinstance(source, Dataset) else "images given"
    return f"{kind}, {images} images"
