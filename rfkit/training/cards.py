"""The card of the weights a run leaves."""

from __future__ import annotations

import datetime
import math
from typing import Any

import torch
from torch import nn

from rfkit.data.dataset import Dataset
from rfkit.models.weights import Card
from rfkit.training.environment import device_name, software_versions
from rfkit.training.evaluation import Scores
from rfkit.training.recipe import Recipe

__all__ = ["make_card"]


def make_card(
    model: nn.Module,
    data: Dataset,
    recipe: Recipe,
    *,
    seed: int,
    step: int,
    steps_per_epoch: int,
    device: torch.device,
    scores: Scores | None = None,
) -> Card:
    """What is known of the weights of `model` after `step` steps of `recipe` on `data`."""
    return Card(
        model=getattr(model, "name", type(model).__name__),
        options=getattr(model, "options", {}),
        num_classes=len(data.classes),
        class_names=tuple(data.classes),
        data=data.name,
        split=data.split,
        recipe_name=recipe.name,
        recipe=recipe.to_dict(),
        seed=seed,
        steps=step,
        epochs=round(step / steps_per_epoch, 3),
        horizon_epochs=recipe.epochs,
        size=recipe.crop_size,
        scores={} if scores is None else _summary(scores),
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        device=device_name(device),
        software=software_versions(),
        licence=data.licence,
        notes=data.note,
    )


def _summary(scores: Scores) -> dict[str, Any]:
    return {
        "data": scores.data,
        "split": scores.split,
        "images": scores.images,
        "size": scores.size,
        "miou": _number(scores.miou),
        "class_iou": {name: _number(iou) for name, iou in scores.class_iou.items()},
        "pixel_accuracy": _number(scores.pixel_accuracy),
    }


def _number(value: float) -> float | None:
    # JSON has no NaN; a class that does not occur has no score.
    return None if math.isnan(value) else value
