"""Losses over the labelled pixels of a batch; a batch without any has loss 0."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from rfkit._checks import check_choice
from rfkit.data.dataset import IGNORE, Dataset
from rfkit.data.frequencies import count_classes

__all__ = ["cross_entropy", "ohem_cross_entropy", "weigh_classes"]

_LOG_OFFSET = 1.10


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
    weights = labelled.float()
    if class_weights is not None:
        weights = weights * class_weights[labels.masked_fill(~labelled, 0)]
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
    # The loss of an unlabelled pixel is 0, which is never above the bound.
    hard = losses.detach() > _hard_bound(losses.detach(), labels != IGNORE, threshold, min_kept)
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
    last = hardest.take((wanted - 1).clamp(min=0))
    # Just below the last loss that is to be kept, as the comparison is strict.
    return torch.minimum(bound, torch.nextafter(last, torch.zeros_like(last)))


def weigh_classes(
    data: Dataset, kind: str | None, *, device: str | torch.device = "cpu"
) -> Float[Tensor, " classes"] | None:
    """The weight of each class by how often it is labelled in `data`, or None for kind None.

    Args:
        data: Every label of it is read.
        kind: "inverse-log": 1 / ln(1.10 + share of the labelled pixels), which is ENet's weighting with the constant
            that the small CamVid networks use. "median-frequency": SegNet's, 0 for a class that never occurs.
        device: Where the weights are wanted.

    Returns:
        Float32 weights.
    """
    if kind is None:
        return None
    check_choice("kind", kind, ("inverse-log", "median-frequency"))
    counted = count_classes(data)
    weights = (
        counted.logarithmic_weights(offset=_LOG_OFFSET) if kind == "inverse-log" else counted.median_frequency_weights()
    )
    return torch.from_numpy(weights).float().to(device)
