"""What one trained probe says of each rate of each stage: what its removal costs, and how it is weighed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rfkit._checks import DataError
from rfkit.analysis.branch_removal import branch_means, without_branches
from rfkit.analysis.branches import branch_weights
from rfkit.analysis.ratios import resampled_means
from rfkit.data.transforms import normalize, resample
from rfkit.models.weights import load_weights, read_card
from rfkit.results.advice import BranchEvidence, TrainingEvidence
from rfkit.results.branches import BranchWeights
from rfkit.results.removal import BranchRemoval
from rfkit.studies.adviser.task import Task
from rfkit.studies.removal import branch_removal
from rfkit.training.evaluation import evaluate
from rfkit.training.folder import WEIGHTS

__all__ = ["drop_together", "gather_evidence", "summarise", "trained_probe"]

_FILE, _UNFINISHED = "evidence.npz", "removal.npz"
_RESAMPLES = 2000
_LEVELS = (2.5, 97.5)
# Images that the means of branches are taken over where many are removed at once.
_CALIBRATION = 64


def gather_evidence(task: Task, seed: int, *, progress: bool = True) -> TrainingEvidence:
    """The evidence of the training with `seed`, measured on its weights file as it lies there, or read if it was.

    Args:
        task: what was trained.
        seed: which training; it is finished.
        progress: whether to show a bar.
    """
    path = task.folder(seed) / _FILE
    try:
        return TrainingEvidence.load(path)
    except (FileNotFoundError, DataError):
        pass  # Not measured yet, or by another version.
    model = trained_probe(task, seed)
    removal = branch_removal(
        model,
        task.validation,
        size=task.evaluation_size,
        resume=path.with_name(_UNFINISHED),
        resamples=_RESAMPLES,
        progress=progress,
    )
    card = read_card(task.folder(seed) / WEIGHTS)
    found = summarise(
        removal,
        branch_weights(model, input_size=task.input_size),
        branch_weights(task.probe(seed), input_size=task.input_size),
        seed=seed,
        epochs=card.epochs,
        steps=card.steps,
    )
    found.save(path)
    return found


def trained_probe(task: Task, seed: int) -> nn.Module:
    """The probe with the weights that the training with `seed` left, on the device that is used."""
    model = task.probe(seed)
    load_weights(model, task.folder(seed) / WEIGHTS)
    return model.to(task.device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()


def summarise(
    removal: BranchRemoval,
    weights: BranchWeights,
    initial: BranchWeights,
    *,
    seed: int,
    epochs: float,
    steps: int,
) -> TrainingEvidence:
    """The evidence in the results of the analyses.

    Args:
        removal: of whole stages.
        weights: of the trained probe.
        initial: of the same probe before training.
        seed: of the training.
        epochs: epochs trained.
        steps: steps taken.
    """
    frame = removal.to_frame()
    drops = frame[frame["class"] == ""].set_index(["stage", "dilation"])
    branches = []
    for stage in weights.stages:
        shares, gains = _shares(weights, stage, "weight"), _shares(weights, stage, "gain")
        before = _shares(initial, stage, "weight")
        for dilation, values in shares.items():
            row = drops.loc[(stage, dilation)]
            low, high = np.percentile(values[1:], _LEVELS)
            branches.append(
                BranchEvidence(
                    stage=stage,
                    dilation=dilation,
                    drop=float(row["drop"]),
                    drop_low=float(row["low"]),
                    drop_high=float(row["high"]),
                    weight=float(values[0]),
                    weight_low=float(low),
                    weight_high=float(high),
                    gain=float(gains[dilation][0]),
                    initial=float(before[dilation][0]),
                )
            )
    labelled = removal.confusion[0].sum(axis=(0, 2))
    present = int((labelled > 0).sum())
    return TrainingEvidence(
        seed=seed,
        epochs=epochs,
        steps=steps,
        miou=removal.intact()[""],
        constant=float(labelled.max() / labelled.sum() / present),
        images=removal.images,
        branches=tuple(branches),
    )


def drop_together(task: Task, seed: int, removed: Mapping[str, Sequence[int]]) -> float:
    """The drop in mIoU when several rates are removed at once.

    Branches may stand in for each other, so that two can each be spared and not both.

    Args:
        task: what was trained.
        seed: which training.
        removed: stage -> dilation rates that its blocks lose.
    """
    model = trained_probe(task, seed)
    settings: dict[str, Any] = {"size": task.evaluation_size, "progress": False}
    intact = evaluate(model, task.validation, **settings).miou
    count = min(_CALIBRATION, len(task.validation))
    images = (_seen(task, task.validation[index].image[None]) for index in range(count))
    means = branch_means(model, images)
    branches = [
        (block.block, index)
        for block in means.blocks
        for index, dilation in enumerate(block.dilations)
        if dilation in removed.get(block.stage, ())
    ]
    with without_branches(model, branches, means=means):
        return intact - evaluate(model, task.validation, **settings).miou


def _seen(task: Task, image: Tensor) -> Tensor:
    pixels = normalize(image)
    return pixels if task.evaluation_size is None else resample(pixels, task.evaluation_size)


def _shares(weights: BranchWeights, stage: str, measure: str) -> dict[int, np.ndarray]:
    """Rate -> its share of the mean magnitudes of the stage's rates; first as they are, then resampled."""
    means = resampled_means(
        weights.in_stage(stage), measure, resamples=_RESAMPLES, generator=np.random.default_rng(0)
    )
    total = sum(means.values())
    return {int(label.removeprefix("d")): values / total for label, values in means.items()}
