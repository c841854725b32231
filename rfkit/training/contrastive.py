"""A contrastive loss between pixels: embeddings of one class attract each other and repel those of the others."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from rfkit._checks import check_positive

__all__ = ["find_classifier", "pixel_contrast"]

# Far below any similarity, and finite: the gradient of a sum over nothing but minus infinity is not a number.
_NOTHING = -1e4


def pixel_contrast(
    embeddings: Float[Tensor, "batch width rows columns"],
    labels: Int[Tensor, "batch height width_"] | UInt8[Tensor, "batch height width_"],
    *,
    logits: Float[Tensor, "batch classes height width_"],
    anchors: int = 50,
    temperature: float = 0.1,
    generator: torch.Generator | None = None,
) -> Float[Tensor, ""]:
    """The mean InfoNCE loss of sampled pixels, in float32; 0 where no class has two of them.

    Of each class, up to half of `anchors` are drawn from the positions that are predicted wrong (hard examples) and up
    to half from the others. For an anchor i and each other sampled position p of its class the loss is
    -log(exp(s_ip) / (exp(s_ip) + sum over the sampled n of other classes of exp(s_in))), s the cosine similarity over
    the temperature. Memory is that of (classes x anchors)^2 similarities, whatever the size of the images, beside a
    number for each class and position.

    Args:
        embeddings: One vector a position.
        labels: Class ids at the images' size, 255 where unlabelled; the nearest label counts for a position.
        logits: Class scores at the images' size, which say what is predicted wrong.
        anchors: Most positions of a class.
        temperature: Divides the similarities.
        generator: Draws the positions, on the embeddings' device.

    Raises:
        ValueError: `anchors` is below 2, or the temperature not above 0.

    Reference: van den Oord et al., arXiv 1807.03748 (InfoNCE); Wang et al., Exploring Cross-Image Pixel Contrast for
    Semantic Segmentation, ICCV 2021 (between pixels, hard anchors).
    """
    if anchors < 2:
        raise ValueError(f"anchors={anchors!r} must be at least 2.")
    check_positive("temperature", temperature)
    classes = logits.shape[1]
    truth = _at_positions(labels, embeddings)
    wrong = _at_positions(logits.detach().argmax(1), embeddings) != truth
    chosen, valid = _drawn(truth, wrong, classes=classes, anchors=anchors, generator=generator)
    vectors = F.normalize(embeddings.float().permute(0, 2, 3, 1).flatten(0, 2)[chosen], dim=1)
    similar = vectors @ vectors.T / temperature
    owner = torch.arange(classes, device=labels.device).repeat_interleave(len(chosen) // classes)
    both = valid[:, None] & valid
    same = owner[:, None] == owner
    others = torch.logsumexp(similar.masked_fill(~(both & ~same), _NOTHING), dim=1)
    positive = both & same & ~torch.eye(len(chosen), dtype=torch.bool, device=labels.device)
    losses = F.softplus(others[:, None] - similar) * positive
    count = positive.sum(1)
    return (losses.sum(1) / count.clamp(min=1)).sum() / (count > 0).sum().clamp(min=1)


def find_classifier(model: nn.Module) -> str:
    """The name of the last convolution with a channel for each of `model.num_classes`: it reads the embeddings.

    Raises:
        ValueError: There is none, or the network does not say how many classes it has.
    """
    classes = getattr(model, "num_classes", None)
    found = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d) and module.out_channels == classes
    ]
    if not found:
        raise ValueError(
            f"contrastive_weight: {type(model).__name__} has num_classes={classes!r} and no convolution with a channel "
            "for each class, whose input could serve as embedding."
        )
    return found[-1]


def _at_positions(values: Tensor, embeddings: Tensor) -> Int[Tensor, " positions"]:
    """The value nearest to each position of the embeddings."""
    size = embeddings.shape[-2:]
    return F.interpolate(values[:, None].float(), size, mode="nearest-exact").long().flatten()


def _drawn(
    truth: Tensor, wrong: Tensor, *, classes: int, anchors: int, generator: torch.Generator | None
) -> tuple[Int[Tensor, " drawn"], Bool[Tensor, " drawn"]]:
    """Positions, as many of each class, and which of them are of that class: one may have too few."""
    member = truth == torch.arange(classes, device=truth.device)[:, None]
    luck = torch.rand(truth.shape, generator=generator, device=truth.device)
    places, real = [], []
    for kind, count in ((wrong, anchors // 2), (~wrong, anchors - anchors // 2)):
        # Fixed numbers of them, so that a GPU need not be waited for.
        found = torch.where(member & kind, luck, -1.0).topk(min(count, len(truth)), dim=1)
        places.append(found.indices)
        real.append(found.values >= 0)
    return torch.cat(places, 1).flatten(), torch.cat(real, 1).flatten()
