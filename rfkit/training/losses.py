"""Losses over the labelled pixels of a batch; a batch without any has loss 0."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from rfkit._checks import check_choice
from rfkit.data.dataset import IGNORE, Dataset

__all__ = ["cross_entropy", "ohem_cross_entropy", "weigh_classes"]


def cross_entropy(
    logits: Float[Tensor, "batch classes height width"],
    labels: Int[Tensor, "batch height width"] | UInt8[Tensor, "batch height width"],
    *,
    class_weights: Float[Tensor, " classes"] | None = None,
) -> Float[Tensor, ""]:
    """The mean cross-entropy over the pixels whose label is not 255, in float32.

    Args:
        logits: Scores of the classes.
        labels: Class ids, 255 where unlabelled.
        class_weights: Weight of each class; the mean is then weighted by them.

    Returns:
        The loss.
    """
    losses, labels = _pixel_losses(logits, labels)
    labelled = labels != IGNORE
    if class_weights is None:
        weights = labelled.float()
    else:
        weights = class_weights[labels.masked_fill(~labelled, 0)] * labelled
    # With no labelled pixel both sums are zero: the loss is 0, not 0 / 0.
    return (losses * weights).sum() / weights.sum().clamp(min=torch.finfo(torch.float32).tiny)


def ohem_cross_entropy(
    logits: Float[Tensor, "batch classes height width"],
    labels: Int[Tensor, "batch height width"] | UInt8[Tensor, "batch height width"],
    *,
    threshold: float = 0.7,
    min_kept: float = 1 / 16,
) -> Float[Tensor, ""]:
    """The mean cross-entropy over the hard pixels of the batch (online hard example mining), in float32.

    A labelled pixel is hard where its true class has a probability below `threshold`. Where fewer than the share
    `min_kept` of the labelled pixels are hard, that share with the highest losses is taken instead (with any pixels
    that tie with the last of them). The paper gives neither number; these are the ones usual in the field.

    Args:
        logits: Scores of the classes.
        labels: Class ids, 255 where unlabelled.
        threshold: Probability of the true class below which a pixel is hard.
        min_kept: Share of the labelled pixels that is kept at least.

    Returns:
        The loss.
    """
    losses, labels = _pixel_losses(logits, labels)
    labelled = labels != IGNORE
    hard = labelled & (losses.detach() > _hard_bound(losses.detach(), labelled, threshold, min_kept))
    return (losses * hard).sum() / hard.sum().clamp(min=1)


def _pixel_losses(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    labels = labels.long()
    return F.cross_entropy(logits.float(), labels, ignore_index=IGNORE, reduction="none"), labels


def _hard_bound(losses: Tensor, labelled: Tensor, threshold: float, min_kept: float) -> Tensor:
    """The loss above which a pixel is kept."""
    bound = torch.full((), -math.log(threshold), device=losses.device)
    wanted = (labelled.sum() * min_kept).ceil().long()
    # A glance at the numbers saves the sort, but would make a GPU wait for its own results.
    if losses.device.type == "cpu" and int((losses > bound).sum()) >= int(wanted):
        return bound
    hardest = losses.flatten().topk(math.ceil(losses.numel() * min_kept)).values
    last = hardest[(wanted - 1).clamp(min=0)]
    # Just below the last loss that is to be kept, as the comparison is strict.
    return torch.minimum(bound, torch.nextafter(last, torch.zeros_like(last)))


def weigh_classes(
    data: Dataset, kind: str | None, *, device: str | torch.device = "cpu"
) -> Float[Tensor, " classes"] | None:
    """The weight of each class by how often it is labelled in `data`, or None for kind None.

    Args:
        data: Every label of it is read.
        kind: "inverse-log": 1 / ln(1.10 + share), the share being that among all labelled pixels (Paszke et al. 2016,
            with the constant usual for CamVid). "median-frequency": the median frequency of the classes by their own,
            a frequency being that among the labelled pixels of the images that hold the class (Eigen and Fergus 2015).
        device: Where the weights are wanted.

    Returns:
        Float32 weights; of a class that never occurs it is 0 under "median-frequency".
    """
    if kind is None:
        return None
    check_choice("kind", kind, ("inverse-log", "median-frequency"))
    pixels, seen = _class_pixels(data)
    if kind == "inverse-log":
        weights = 1 / torch.log(1.10 + pixels / pixels.sum())
    else:
        present = seen > 0
        frequency = pixels / seen.clamp(min=1)
        weights = torch.where(present, frequency[present].median() / frequency, 0.0)
    return weights.float().to(device)


def _class_pixels(data: Dataset) -> tuple[Tensor, Tensor]:
    """For each class, its pixels, and the labelled pixels of the images that hold it."""
    classes = len(data.classes)
    pixels, seen = torch.zeros(classes, dtype=torch.float64), torch.zeros(classes, dtype=torch.float64)
    for index in range(len(data)):
        label = data[index].label
        counts = torch.bincount(label[label != IGNORE].long(), minlength=classes).double().cpu()
        pixels += counts
        seen += torch.where(counts > 0, counts.sum(), 0.0)
    return pixels, seen
