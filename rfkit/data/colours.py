"""Colour operations drawn at random in the manner of RandAugment; labels are not touched.

They act on whole frames of uint8 before anything else is done to them, in whole numbers or in one float operation
after the other, so that a CPU and a GPU give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from rfkit._checks import check_choice

__all__ = ["COLOUR_OPERATIONS", "change_colours", "draw_operations"]

_Frame = UInt8[Tensor, "3 height width"]

# Pillow's gray: parts of 65536 for red, green and blue.
_GRAY = (19595, 38470, 7471)
# Pillow's SMOOTH filter counts the pixel itself five times, its eight neighbours once.
_CENTRE, _NEIGHBOURS = 5, 8
# At magnitude 1: factors 0.1 and 1.9, 4 of 8 bits, and all but black inverted.
_REACH, _BITS, _LEVELS = 0.9, 4, 256


def draw_operations(
    generator: np.random.Generator, *, count: int, magnitude: float
) -> tuple[tuple[str, float], ...]:
    """`count` colour operations with their strengths, each drawn from all, as `change_colours` takes them.

    A strength is the factor of "color", "contrast", "brightness" and "sharpness" (1 - 0.9 m or 1 + 0.9 m for magnitude
    m, with equal chances), the bits that "posterize" keeps (8 - 4 m, rounded), the level from which "solarize" inverts
    (256 - 256 m, rounded), and 0 for "autocontrast" and "equalize", which have none.

    Args:
        generator: Source of randomness; two numbers are taken for each operation.
        count: Number of operations.
        magnitude: 0 to 1.

    Reference: Cubuk et al., RandAugment, arXiv 1909.13719, section 3: its operations that leave every pixel in its
    place, without the identity.
    """
    drawn = []
    for kind, sign in generator.random((count, 2)).tolist():
        name = COLOUR_OPERATIONS[int(kind * len(COLOUR_OPERATIONS))]
        if name in _FACTORS:
            strength = 1 + (_REACH if sign < 0.5 else -_REACH) * magnitude
        elif name == "posterize":
            strength = float(8 - round(_BITS * magnitude))
        else:
            strength = float(round(_LEVELS * (1 - magnitude))) if name == "solarize" else 0.0
        drawn.append((name, strength))
    return tuple(drawn)


def change_colours(image: _Frame, operations: Sequence[tuple[str, float]]) -> _Frame:
    """The frame after `operations`, one after the other: each what Pillow's ImageOps or ImageEnhance makes of it.

    Args:
        image: One frame, on any device; it is not changed.
        operations: Names in `COLOUR_OPERATIONS`, with their strengths, see `draw_operations`.

    Raises:
        ValueError: There is no operation of that name.

    Example:
        >>> frame = torch.tensor([3, 100, 200], dtype=torch.uint8).reshape(3, 1, 1)
        >>> change_colours(frame, [("solarize", 128), ("posterize", 4)]).flatten().tolist()
        [0, 96, 48]
    """
    for name, strength in operations:
        check_choice("operations", name, COLOUR_OPERATIONS)
        image = _OPERATIONS[name](image, strength)
    return image


def _autocontrast(image: _Frame, _strength: float) -> _Frame:
    """Each channel stretched over all levels."""
    low, high = image.flatten(1).aminmax(dim=1)
    low, high = low.double()[:, None], high.double()[:, None]
    # A number over a tensor would be rounded twice, as the product with a reciprocal.
    scale = torch.full_like(low, 255.0) / (high - low).clamp(min=1)
    levels = torch.arange(256, device=image.device, dtype=torch.float64)
    stretched = levels * scale + -low * scale
    return _looked_up(image, torch.where(high > low, stretched.clamp(0, 255).trunc(), levels))


def _equalize(image: _Frame, _strength: float) -> _Frame:
    """Each channel with its levels spread so that all are about equally frequent."""
    levels = torch.arange(256, device=image.device)
    places = (image.flatten(1).long() + 256 * torch.arange(3, device=image.device)[:, None]).flatten()
    counts = torch.zeros(3 * 256, dtype=torch.long, device=image.device)
    counts = counts.scatter_add_(0, places, torch.ones_like(places)).reshape(3, 256)
    last = counts.gather(1, torch.where(counts > 0, levels, 0).amax(1, keepdim=True))
    step = (counts.sum(1, keepdim=True) - last) // 255
    before = counts.cumsum(1) - counts
    spread = (before + step // 2) // step.clamp(min=1)
    return _looked_up(image, torch.where(step > 0, spread.clamp(max=255), levels))


def _posterize(image: _Frame, bits: float) -> _Frame:
    return image & (0xFF & ~(2 ** (8 - int(bits)) - 1))


def _solarize(image: _Frame, threshold: float) -> _Frame:
    # As whole numbers: 256 is no level.
    return torch.where(image.int() < int(threshold), image, 255 - image)


def _color(image: _Frame, factor: float) -> _Frame:
    """Away from each pixel's own gray, or towards it."""
    return _blended(_gray(image), image, factor)


def _contrast(image: _Frame, factor: float) -> _Frame:
    """Away from the frame's mean gray, or towards it."""
    gray = _gray(image)
    # The mean rounded to a level, in whole numbers.
    return _blended((2 * gray.long().sum() + gray.numel()) // (2 * gray.numel()), image, factor)


def _brightness(image: _Frame, factor: float) -> _Frame:
    return _blended(torch.zeros((), device=image.device), image, factor)


def _sharpness(image: _Frame, factor: float) -> _Frame:
    """Away from a smoothed copy, or towards it; pixels at the border are their own copy."""
    if min(image.shape[1:]) < 3:
        return image
    pixels = image.int()
    rows = pixels[:, :-2] + pixels[:, 1:-1] + pixels[:, 2:]
    around = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    weight = _CENTRE + _NEIGHBOURS
    smooth = pixels.clone()
    # The sum over the weight, rounded; it never lies half-way, as the weight is odd.
    smooth[:, 1:-1, 1:-1] = (2 * (around + (_CENTRE - 1) * pixels[:, 1:-1, 1:-1]) + weight) // (2 * weight)
    return _blended(smooth, image, factor)


def _gray(image: _Frame) -> Tensor:
    red, green, blue = (share * channel for share, channel in zip(_GRAY, image.int(), strict=True))
    return (red + green + blue + 0x8000) >> 16


def _blended(other: Tensor, image: _Frame, factor: float) -> _Frame:
    """`other` at factor 0, the image at 1, and beyond; fractions of a level are cut off, as Pillow does."""
    start = other.float()
    # Two operations, not one fused: that would round otherwise on other devices.
    moved = (image.float() - start) * factor
    return (moved + start).clamp_(0, 255).to(torch.uint8)


def _looked_up(image: _Frame, tables: Tensor) -> _Frame:
    """The frame with each level replaced by that of its channel's table (3, 256)."""
    return tables.to(torch.uint8).gather(1, image.flatten(1).long()).reshape(image.shape)


_FACTORS = ("color", "contrast", "brightness", "sharpness")
_OPERATIONS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "posterize": _posterize,
    "solarize": _solarize,
    "color": _color,
    "contrast": _contrast,
    "brightness": _brightness,
    "sharpness": _sharpness,
}
COLOUR_OPERATIONS = tuple(_OPERATIONS)
"""The names of the colour operations, in the order in which they are drawn."""
