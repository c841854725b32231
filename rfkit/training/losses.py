"""Losses over the labelled pixels of a batch; a batch without any has loss 0."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from rfkit._checks import check_choice
from rfkit.data.dataset import IGNORE, Dataset
from rfkit.data.frequencies import count_classes
from rfkit.training.processes import ALONE, Processes

__all__ = ["cross_entropy", "ohem_cross_entropy", "pixel_weights", "weigh_classes"]

_LOG_OFFSET = 1.10


def cross_entropy(
    logits: Float[Tensor, "batch classes height width"],
    labels: Int[Tensor, "batch height width"] | UInt8[Tensor, "batch height width"],
    *,
    class_weights: Float[Tensor, " classes"] | None = None,
    label_smoothing: float = 0.0,
    total: Float[Tensor, ""] | None = None,
) -> Float[Tensor, ""]:
    """The mean cross-entropy over the pixels whose label is not 255, in float32.

    Args:
        logits: Scores of the classes.
        labels: Class ids, 255 where unlabelled.
        class_weights: Weight of each class; the mean is then weighted by those of the true classes.
        label_smoothing: Share of the target that is spread evenly over all classes.
        total: Where these images are a part of a batch, the sum of `pixel_weights` over the whole batch: the losses of
            the parts then add up to the loss of the batch.

    Returns:
        The loss.
    """
    losses, _ = _pixel_losses(logits, labels, label_smoothing)
    weights = pixel_weights(labels, class_weights)
    return (losses * weights).sum() / _above_zero(weights.sum() if total is None else total)


def ohem_cross_entropy(
    logits: Float[Tensor, "batch classes height width"],
    labels: Int[Tensor, "batch height width"] | UInt8[Tensor, "batch height width"],
    *,
    threshold: float = 0.7,
    min_kept: float = 1 / 16,
    class_weights: Float[Tensor, " classes"] | None = None,
    label_smoothing: float = 0.0,
    processes: Processes = ALONE,
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
        class_weights: Weight of each class in the mean; they do not change which pixels are hard.
        label_smoothing: As for `cross_entropy`; it does not change which pixels are hard.
        processes: Each holds an equal part of the batch; the pixels that are hard are those of the whole batch.

    Returns:
        The loss; with several processes this one's part of it, the parts adding up to the loss of the batch.
    """
    losses, plain = _pixel_losses(logits, labels, label_smoothing)
    # The loss of an unlabelled pixel is 0, which is never above the bound.
    hard = plain > _hard_bound(plain, labels != IGNORE, threshold, min_kept, processes)
    weights = hard if class_weights is None else hard * pixel_weights(labels, class_weights)
    return (losses * weights).sum() / _above_zero(processes.add(weights.sum(dtype=torch.float32)))


def pixel_weights(
    labels: Int[Tensor, "batch height width"] | UInt8[Tensor, "batch height width"],
    class_weights: Float[Tensor, " classes"] | None = None,
) -> Float[Tensor, "batch height width"]:
    """What each pixel counts in the mean: the weight of its class (1 without weights), 0 where unlabelled."""
    labelled = labels != IGNORE
    if class_weights is None:
        return labelled.float()
    return labelled * class_weights[labels.long().masked_fill(~labelled, 0)]


def _above_zero(total: Tensor) -> Tensor:
    # With no pixel to count the sum of the losses is zero as well: the loss is 0, not 0 / 0.
    return total.clamp(min=torch.finfo(torch.float32).tiny)


def _pixel_losses(logits: Tensor, labels: Tensor, label_smoothing: float) -> tuple[Tensor, Tensor]:
    """The loss of each pixel, and its plain cross-entropy without gradient; 0 where unlabelled."""
    logits, labels = logits.float(), labels.long()
    if logits.is_cuda and torch.are_deterministic_algorithms_enabled():
        losses = _gathered(logits, labels)
    else:
        losses = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="none")
    plain = losses.detach()
    if label_smoothing:
        spread = -logits.log_softmax(1).mean(1) * (labels != IGNORE)
        losses = (1 - label_smoothing) * losses + label_smoothing * spread
    return losses, plain


def _gathered(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy out of operators that have a deterministic form on a GPU, which torch's own has not."""
    unlabelled = labels == IGNORE
    picked = logits.log_softmax(1).gather(1, labels.masked_fill(unlabelled, 0)[:, None])[:, 0]
    return -picked.masked_fill(unlabelled, 0)


def _hard_bound(
    losses: Tensor, labelled: Tensor, threshold: float, min_kept: float, processes: Processes = ALONE
) -> Tensor:
    """The loss above which a pixel is kept."""
    bound = torch.full((), -math.log(threshold), device=losses.device)
    counts = processes.add(torch.stack([labelled.sum(), (losses > bound).sum()]))
    wanted = (counts[0] * min_kept).ceil().long()
    # A glance at the numbers saves the sort, but would make a GPU wait for its own results.
    if losses.device.type == "cpu" and int(counts[1]) >= int(wanted):
        return bound
    most = math.ceil(losses.numel() * processes.count * min_kept)
    hardest = losses.flatten().topk(min(most, losses.numel())).values
    if processes.count > 1:
        hardest = processes.gather(hardest).topk(most).values
    last = hardest.take((wanted - 1).clamp(min=0))
    # Just below the last loss that is to be kept, as the comparison is strict.
    return torch.minimum(bound, torch.nextafter(last, torch.zeros_like(last)))


def weigh_classes(
    data: Dataset, kind: str | Sequence[float] | None, *, device: str | torch.device = "cpu"
) -> Float[Tensor, " classes"] | None:
    """The weight of each class, from how often it is labelled in `data` or as given; None for None.

    Args:
        data: For a named kind, every label of it is read.
        kind: "inverse-log": 1 / ln(1.10 + share of the labelled pixels), which is ENet's weighting with the constant
            that the small CamVid networks use. "median-frequency": SegNet's, 0 for a class that never occurs. Or the
            weights themselves, one a class.
        device: Where the weights are wanted.

    Returns:
        Float32 weights.

    Raises:
        ValueError: An unknown kind, or a number of weights that is not that of the classes.
    """
    if kind is None:
        return None
    if not isinstance(kind, str):
        if len(kind) != data.num_classes:
            raise ValueError(f"class_weights has {len(kind)} numbers; {data.name} has {data.num_classes} classes.")
        return torch.tensor(kind, dtype=torch.float32, device=device)
    check_choice("kind", kind, ("inverse-log", "median-frequency"))
    counted = count_classes(data)
    weights = (
        counted.logarithmic_weights(offset=_LOG_OFFSET) if kind == "inverse-log" else counted.median_frequency_weights()
    )
    return torch.from_numpy(weights).float().to(device)
