"""The augmentation of a whole batch at once, for a GPU: a few large operations instead of some thirty a frame.

What is done is said in `rfkit.data.transforms`, which does it frame by frame; here resampling, crop and flip are one
matrix for the rows and one for the columns of each frame.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from rfkit.data.dataset import IGNORE
from rfkit.data.transforms import LUMA, Parameters, colour_matrix, mean_colour

__all__ = ["apply_together", "pack"]


def pack(parameters: Sequence[Parameters]) -> Float[Tensor, "batch 15"]:
    """What was drawn for the frames of a batch as one tensor, which reaches a GPU in one piece.

    Colour operations are no part of it: `change_colours` does them to the frames before `apply_together`.

    Args:
        parameters: From `Augmentation.draw`, one for each frame.

    Returns:
        Float32 rows for `apply_together`: size, offset, flip, brightness * (1 - contrast), colour matrix row by row.
    """
    rows = [
        [
            *drawn.size,
            *drawn.offset,
            float(drawn.flip),
            drawn.brightness * (1 - drawn.contrast),
            *(value for row in colour_matrix(drawn) for value in row),
        ]
        for drawn in parameters
    ]
    return torch.tensor(rows, dtype=torch.float32)


def apply_together(
    images: UInt8[Tensor, "batch 3 height width"],
    labels: UInt8[Tensor, "batch height width"],
    packed: Float[Tensor, "batch 15"],
    *,
    crop: tuple[int, int],
) -> tuple[UInt8[Tensor, "batch 3 crop_height crop_width"], UInt8[Tensor, "batch crop_height crop_width"]]:
    """The augmented frames as `apply_batch` makes them, to within a level of 256; the host waits for nothing.

    Args:
        images: Frames of one size.
        labels: Their labels.
        packed: From `pack`.
        crop: (height, width) that the parameters were drawn with.

    Returns:
        Images (N, 3, *crop) and labels (N, *crop).

    Example:
        >>> from rfkit.data.transforms import Augmentation
        >>> drawn = Augmentation(crop=(8, 8)).draw(0, epoch=0, index=0, size=(12, 16))
        >>> frames, labels = torch.zeros(1, 3, 12, 16, dtype=torch.uint8), torch.zeros(1, 12, 16, dtype=torch.uint8)
        >>> tuple(apply_together(frames, labels, pack([drawn]), crop=(8, 8))[0].shape)
        (1, 3, 8, 8)
    """
    height, width, top, left, flip, shift = packed[:, :6, None].unbind(1)
    down, across = (torch.arange(side, device=images.device) for side in crop)
    places = torch.where(flip > 0, crop[1] - 1 - across, across)
    row_weights, rows, row_inside = _along(down + top, height, images.shape[2])
    column_weights, columns, column_inside = _along(places + left, width, images.shape[3])
    inside = row_inside[:, :, None] & column_inside[:, None, :]

    narrow = images.float().flatten(1, 2) @ column_weights.mT
    pixels = (row_weights[:, None] @ narrow.unflatten(1, images.shape[1:3])).flatten(2)
    means = pixels.sum(2) / inside.flatten(1).sum(1, keepdim=True)
    gray = sum(share * means[:, channel : channel + 1] for channel, share in enumerate(LUMA))
    coloured = torch.baddbmm((shift * gray)[:, :, None], packed[:, 6:].unflatten(1, (3, 3)), pixels)
    coloured = coloured.round_().clamp_(0, 255).to(torch.uint8).unflatten(2, crop)

    frames = torch.arange(len(images), device=images.device)[:, None, None]
    nearest = labels[frames, rows[:, :, None], columns[:, None, :]]
    return torch.where(inside[:, None], coloured, mean_colour(images.device)), nearest.masked_fill_(~inside, IGNORE)


def _along(places: Tensor, size: Tensor, old: int) -> tuple[Tensor, Tensor, Tensor]:
    """Along one axis of `old` pixels, resampled to `size`, for each of `places` (batch, crop) there.

    Returns:
        The weights (batch, crop, old) of the pixels in it, zero for a place outside; the nearest pixel (batch, crop);
        and whether the place is inside.
    """
    step = old / size
    centre = (places + 0.5) * step
    inside = (places >= 0) & (places < size)
    distance = torch.arange(0.5, old, device=places.device) - centre[:, :, None]
    # A triangle that is as wide as the step where the frame shrinks: that of `F.interpolate` with anti-aliasing.
    weights = (1 - distance.abs() / step.clamp(min=1)[:, :, None]).clamp_(min=0)
    weights *= (inside / weights.sum(2).clamp(min=1e-6))[:, :, None]
    return weights, centre.floor().clamp(0, old - 1).long(), inside
