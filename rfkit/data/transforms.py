"""Augmentation of an image and its label together, and the scaling of pixels that a network reads.

What is random is drawn first, as a few numbers that depend on (seed, epoch, index) alone; what is done with them is
deterministic. So a run repeats itself whatever the number of workers, and goes on after an interruption without any
random state to save; the CPU and a GPU, frame by frame or in a batch, apply the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from rfkit._checks import check_positive
from rfkit.data.colours import change_colours, draw_operations
from rfkit.data.dataset import IGNORE

__all__ = [
    "LUMA",
    "MEAN",
    "STD",
    "Augmentation",
    "Parameters",
    "apply",
    "apply_batch",
    "colour_matrix",
    "denormalize",
    "mean_colour",
    "normalize",
    "resample",
]

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

LUMA = (0.299, 0.587, 0.114)
# Keep these draws apart from every other use of the same seed.
_STREAM = 1
_COLOUR_STREAM = 3


@dataclass(frozen=True)
class Parameters:
    """What was drawn for one frame: all that `apply` needs.

    Attributes:
        size: (height, width) that the frame is resampled to.
        offset: (row, column) of the crop in the resampled frame; negative where the frame is smaller than the crop.
        crop: (height, width) of the result.
        flip: Whether left and right are exchanged.
        brightness: Factor on all colours.
        contrast: Factor on the distance from the frame's mean gray.
        saturation: Factor on the distance from the pixel's own gray.
        hue: Rotation of the colours around the gray axis, in turns.
        operations: Colour operations with their strengths, done to the whole frame before all else; see
            `rfkit.data.colours.change_colours`.
    """

    size: tuple[int, int]
    offset: tuple[int, int]
    crop: tuple[int, int]
    flip: bool = False
    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    operations: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Augmentation:
    """The ranges that a frame's random resampling, crop, flip and color jitter are drawn from.

    The defaults are those of the paper's CamVid training at half size (DWRSeg, section 4.1). The paper names color
    jitter without numbers; 0.5 for brightness, contrast and saturation and no hue are this project's decision, the
    values common among real-time segmentation networks.

    Attributes:
        scale: Lowest and highest factor of the resampling, drawn uniformly.
        crop: (height, width) of the result.
        flip: Probability of a horizontal flip.
        brightness: The factor is drawn from [1 - brightness, 1 + brightness]; contrast and saturation likewise.
        contrast: See brightness.
        saturation: See brightness.
        hue: The rotation is drawn from [-hue, hue] turns.
        colour_operations: Number of colour operations in the manner of RandAugment.
        colour_magnitude: Their magnitude, 0 to 1; see `rfkit.data.colours.draw_operations`.

    Example:
        >>> augmentation = Augmentation(crop=(64, 64))
        >>> parameters = augmentation.draw(0, epoch=3, index=17, size=(120, 160))
        >>> parameters == augmentation.draw(0, epoch=3, index=17, size=(120, 160))
        True
    """

    scale: tuple[float, float] = (0.5, 1.5)
    crop: tuple[int, int] = (360, 480)
    flip: float = 0.5
    brightness: float = 0.5
    contrast: float = 0.5
    saturation: float = 0.5
    hue: float = 0.0
    colour_operations: int = 0
    colour_magnitude: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale={self.scale!r} must be (lowest, highest) with 0 < lowest <= highest.")
        for side in self.crop:
            check_positive("crop", side)
        for name in ("flip", "brightness", "contrast", "saturation", "colour_magnitude"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)!r} must be in [0, 1].")
        if not 0 <= self.hue <= 0.5:
            raise ValueError(f"hue={self.hue!r} must be in [0, 0.5] turns.")
        if self.colour_operations < 0:
            raise ValueError(f"colour_operations={self.colour_operations!r} must not be below 0.")

    def draw(
        self,
        seed: int,
        epoch: int,
        index: int,
        size: tuple[int, int],
        *,
        around: tuple[float, float] | None = None,
    ) -> Parameters:
        """The parameters of frame `index` in `epoch`: a pure function of its arguments.

        Args:
            seed: The seed of the training run.
            epoch: Number of the epoch, from 0.
            index: Place of the frame in its data set.
            size: (height, width) that scale 1 stands for.
            around: A point of the frame that the crop shall hold, (row, column) as shares of its height and width;
                where in the crop it lies is drawn. None: the crop is drawn from the whole frame.

        Returns:
            Parameters for `apply`.
        """
        entropy = np.random.SeedSequence(seed, spawn_key=(_STREAM, epoch, index))
        # Every number is drawn whether it is used or not: switching one kind of jitter off leaves the others.
        scale, row, column, flip, *jitter = np.random.Generator(np.random.Philox(entropy)).random(8).tolist()
        lowest, highest = self.scale
        factor = lowest + (highest - lowest) * scale
        height, width = (max(1, round(side * factor)) for side in size)
        offset = round(row * (height - self.crop[0])), round(column * (width - self.crop[1]))
        if around is not None:
            offset = (
                _offset_around(around[0], height, self.crop[0], row),
                _offset_around(around[1], width, self.crop[1], column),
            )
        brightness, contrast, saturation = (
            1 + reach * (2 * place - 1)
            for reach, place in zip((self.brightness, self.contrast, self.saturation), jitter, strict=False)
        )
        return Parameters(
            size=(height, width),
            offset=offset,
            crop=self.crop,
            flip=flip < self.flip,
            brightness=brightness,
            contrast=contrast,
            saturation=saturation,
            hue=self.hue * (2 * jitter[3] - 1),
            operations=self._draw_operations(seed, epoch, index),
        )

    def _draw_operations(self, seed: int, epoch: int, index: int) -> tuple[tuple[str, float], ...]:
        if not self.colour_operations:
            return ()
        entropy = np.random.SeedSequence(seed, spawn_key=(_COLOUR_STREAM, epoch, index))
        generator = np.random.Generator(np.random.Philox(entropy))
        return draw_operations(generator, count=self.colour_operations, magnitude=self.colour_magnitude)


def apply(
    image: UInt8[Tensor, "3 height width"], label: UInt8[Tensor, "height width"], parameters: Parameters
) -> tuple[UInt8[Tensor, "3 crop_height crop_width"], UInt8[Tensor, "crop_height crop_width"]]:
    """The augmented image and label, of size `parameters.crop`, on the device they came on.

    The image is resampled with anti-aliasing and rounded once, at the end; the label takes the nearest pixel. Where the
    crop reaches beyond the frame the image has the mean colour (zero once normalised) and the label is 255.

    Args:
        image: One frame.
        label: Its class ids, 255 where unlabelled.
        parameters: From `Augmentation.draw`.

    Returns:
        Image and label.
    """
    images, labels = apply_batch([image], [label], [parameters])
    return images[0], labels[0]


def apply_batch(
    images: Sequence[Tensor] | Tensor, labels: Sequence[Tensor] | Tensor, parameters: Sequence[Parameters]
) -> tuple[UInt8[Tensor, "batch 3 height width"], UInt8[Tensor, "batch height width"]]:
    """The augmented frames as one batch: what `apply` gives for each of them.

    Args:
        images: Frames (3, height, width) of uint8; their sizes may differ.
        labels: Their labels (height, width) of uint8.
        parameters: One for each frame; all with the same crop.

    Returns:
        Images (N, 3, *crop) and labels (N, *crop) of uint8.
    """
    height, width = parameters[0].crop
    device = images[0].device
    result = mean_colour(device).repeat(len(parameters), 1, height, width)
    targets = torch.full((len(parameters), height, width), IGNORE, dtype=torch.uint8, device=device)
    colours = torch.tensor([colour_matrix(drawn) for drawn in parameters], dtype=torch.float32)
    if device.type == "cuda":
        # From memory that is not pinned the copy would wait for all the work queued there.
        colours = colours.pin_memory().to(device, non_blocking=True)
    for place, drawn in enumerate(parameters):
        source, target = _windows(drawn)
        image = change_colours(images[place], drawn.operations)
        resampled = resample(image.float(), drawn.size)[:, *source]
        nearest = _nearest(labels[place], drawn.size)[source]
        coloured = _recolour(resampled, colours[place], drawn)
        if drawn.flip:
            coloured, nearest = coloured.flip(-1), nearest.flip(-1)
            target = (target[0], slice(width - target[1].stop, width - target[1].start))
        result[place][:, *target] = coloured
        targets[place][target] = nearest
    return result, targets


def resample(
    image: Float[Tensor, "*batch channels height width"], size: tuple[int, int]
) -> Float[Tensor, "*batch channels new_height new_width"]:
    """The image at `size` (height, width): bilinear, anti-aliased where it shrinks; itself if it has that size."""
    if tuple(image.shape[-2:]) == tuple(size):
        return image
    batched = image if image.ndim == 4 else image[None]
    resampled = F.interpolate(batched, size, mode="bilinear", antialias=True)
    return resampled if image.ndim == 4 else resampled[0]


def normalize(images: UInt8[Tensor, "*batch 3 height width"]) -> Float[Tensor, "*batch 3 height width"]:
    """Pixels of 0 to 255 as a network reads them: (value / 255 - MEAN) / STD, channel by channel, in float32."""
    mean, std = _pixel_statistics(images.device)
    return images.float().sub(mean).div_(std)


def denormalize(images: Float[Tensor, "*batch 3 height width"]) -> UInt8[Tensor, "*batch 3 height width"]:
    """The inverse of `normalize`, rounded, with values outside 0 to 255 cut off."""
    mean, std = _pixel_statistics(images.device)
    return images.float().mul(std).add_(mean).round_().clamp_(0, 255).to(torch.uint8)


# Constants are sent to a GPU once: sending them anew makes the host wait for all the work queued there.
@cache
def _pixel_statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    mean, std = (255 * torch.tensor(values, device=device)[:, None, None] for values in (MEAN, STD))
    return mean, std


@cache
def mean_colour(device: torch.device) -> UInt8[Tensor, "1 3 1 1"]:
    """The colour around a frame that is smaller than its crop: MEAN, as a pixel."""
    colour = torch.tensor([round(255 * value) for value in MEAN], dtype=torch.uint8, device=device)
    return colour[None, :, None, None]


@cache
def _luma(device: torch.device) -> Tensor:
    return torch.tensor(LUMA, device=device)


def _nearest(label: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(label.shape) == tuple(size):
        return label
    return F.interpolate(label[None, None], size, mode="nearest-exact")[0, 0]


def _offset_around(share: float, side: int, crop: int, place: float) -> int:
    """Where a crop begins that holds the point at `share` of a side, as far as the frame reaches."""
    if side <= crop:
        return round(place * (side - crop))
    first = min(side - 1, int(share * side)) - crop + 1
    return min(max(0, first + int(place * crop)), side - crop)


def _windows(parameters: Parameters) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where the crop lies in the resampled frame, and where that part lies in the result."""
    source, target = [], []
    for side, offset, crop in zip(parameters.size, parameters.offset, parameters.crop, strict=True):
        start, stop = max(0, offset), min(side, offset + crop)
        source.append(slice(start, stop))
        target.append(slice(start - offset, stop - offset))
    return (source[0], source[1]), (target[0], target[1])


def colour_matrix(parameters: Parameters) -> list[list[float]]:
    """Brightness, contrast, saturation and hue as one 3x3 matrix; only contrast also needs the frame's mean gray."""
    turn = 2 * math.pi * parameters.hue
    cosine, sine = math.cos(turn), math.sin(turn)
    # Rotation around the axis (1, 1, 1): diagonal, and the two off-diagonals in cyclic order.
    diagonal = (1 + 2 * cosine) / 3
    after, before = (1 - cosine) / 3 - sine / math.sqrt(3), (1 - cosine) / 3 + sine / math.sqrt(3)
    hue = np.array([[diagonal, after, before], [before, diagonal, after], [after, before, diagonal]])
    saturation = parameters.saturation * np.eye(3) + (1 - parameters.saturation) * np.tile(LUMA, (3, 1))
    return (parameters.brightness * parameters.contrast * saturation @ hue).tolist()


def _recolour(image: Tensor, matrix: Tensor, parameters: Parameters) -> Tensor:
    """The part of a frame with its colours changed, rounded to uint8."""
    pixels = image.reshape(3, -1)
    gray = (pixels.mean(1) * _luma(image.device)).sum()
    shift = parameters.brightness * (1 - parameters.contrast) * gray
    coloured = torch.addmm(shift.expand(3, 1), matrix, pixels)
    return coloured.round_().clamp_(0, 255).to(torch.uint8).reshape(image.shape)
