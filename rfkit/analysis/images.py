"""Images in the form a network takes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["MEAN", "STANDARD_DEVIATION", "as_batches", "as_picture"]

# The usual statistics of ImageNet's red, green and blue, for values from 0 to 1.
MEAN = (0.485, 0.456, 0.406)
STANDARD_DEVIATION = (0.229, 0.224, 0.225)


def as_batches(images: Tensor | Sequence[Tensor], model: nn.Module) -> list[Tensor]:
    """`images` as batches of one, on the device and of the type of `model`.

    One image at a time, because sizes may differ and a forward pass then needs no more memory than it must.

    Args:
        images: C H W or N C H W, or a list of these. 8-bit images are normalised with `MEAN` and
            `STANDARD_DEVIATION`; images of a floating type are taken as normalised already.
        model: whose parameters tell device and type.

    Raises:
        ValueError: there is no image, or one has another number of axes, or an 8-bit image has not three channels.
        TypeError: an image is neither 8-bit nor of a floating type.
    """
    listed = [images] if isinstance(images, Tensor) else list(images)
    batches = [single for image in listed for single in _checked(image).split(1)]
    if not batches:
        raise ValueError("images: got none; give at least one.")
    reference = next(model.parameters(), torch.empty(0))
    return [_normalised(batch.to(reference.device)).to(reference.dtype) for batch in batches]


def as_picture(image: Tensor) -> Tensor:
    """The 8-bit picture, H W 3, of one image in either form that `as_batches` takes.

    Raises:
        ValueError, TypeError: see `as_batches`; or the image has not three channels.
    """
    image = _checked(image)[0]
    if len(image) != 3:
        raise ValueError(f"image has {len(image)} channels; a picture needs 3.")
    if image.dtype != torch.uint8:
        mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STANDARD_DEVIATION))
        values = image.detach().float().cpu() * deviation + mean
        image = (values * 255).round().clamp(0, 255).to(torch.uint8)
    return image.cpu().permute(1, 2, 0).contiguous()


def _checked(image: Tensor) -> Tensor:
    if image.dtype != torch.uint8 and not image.is_floating_point():
        raise TypeError(f"images are of {image.dtype}; give 8-bit images, or normalised ones of a floating type.")
    batch = image[None] if image.dim() == 3 else image
    if batch.dim() != 4 or not len(batch):
        raise ValueError(f"images: got shape {tuple(image.shape)}; each must be C H W or N C H W with N at least 1.")
    if image.dtype == torch.uint8 and batch.shape[1] != 3:
        raise ValueError(f"images: an 8-bit image must have 3 channels, got shape {tuple(image.shape)}.")
    return batch


def _normalised(batch: Tensor) -> Tensor:
    if batch.dtype != torch.uint8:
        return batch
    mean, deviation = (
        torch.tensor(values, device=batch.device).view(1, 3, 1, 1) for values in (MEAN, STANDARD_DEVIATION)
    )
    return (batch / 255 - mean) / deviation
