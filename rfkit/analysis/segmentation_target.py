"""A network of dense prediction as one score for each class, taken over a region of the image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from rfkit._checks import check_choice
from rfkit.analysis.images import as_batches
from rfkit.analysis.untouched import untouched
from rfkit.results.box import Box

__all__ = ["SegmentationTarget"]

# What networks of common packages call their class scores, in the order in which they are looked for.
_USUAL_KEYS = ("out", "logits")


class SegmentationTarget(nn.Module):
    """`model` with its class scores gathered over a region: N images in, N x classes scores out.

    Any method of captum takes it as its forward function, with the class as captum's `target`:
    ``captum.attr.Saliency(SegmentationTarget(model, image)).attribute(image, target=8)``. Each forward calls the
    network once, and the region is the same for all images of a batch, so that methods which expand the batch work.

    Regions are in pixels of the image: class maps smaller than the image (output stride above 1) are first resized to
    it, bilinearly with `align_corners=False`, as the networks of rfkit do themselves. The mode of the network is the
    user's: call `model.eval()` before.

    Args:
        model: gives class scores N classes H W; or N classes, for which there is no region and the scores pass through.
            With one class, a score above zero counts as predicted.
        image: the image to explain, C H W or 1 C H W, 8 bit or normalised as the model takes it. The network runs on
            it once, here, to learn the number of classes and the predicted region.
        region: "predicted", for each class the pixels that the network gives to that class on `image`, fixed from then
            on, whatever the images of a forward show; a boolean mask H W; one pixel (row, column); or a `Box`.
        reduce: "sum" or "mean" over the region.
        score: "logits", what the network gives; or "probabilities", its softmax over the classes (for one class,
            sigmoid).
        output: where in the network's output the class scores are, if it returns more than a tensor: a key or
            attribute, an index, or a function of the output. Without it, a single entry, "out" or "logits" is taken.

    Attributes:
        classes: number of classes.
        size: (height, width) of the image.
        is_map: whether the network gives maps of class scores; otherwise it has one score for each class.

    Raises:
        ValueError: the output is no map of class scores, the region is not known, is empty, has another shape than the
            image or lies outside of it.
        TypeError: the mask is not boolean.

    Example:
        >>> model = nn.Conv2d(3, 5, 1)
        >>> scores = SegmentationTarget(model, torch.zeros(3, 8, 8), region=(2, 3))
        >>> scores(torch.zeros(4, 3, 8, 8)).shape
        torch.Size([4, 5])
    """

    def __init__(
        self,
        model: nn.Module,
        image: Tensor,
        *,
        region: Any = "predicted",
        reduce: str = "sum",
        score: str = "logits",
        output: str | int | Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__()
        check_choice("reduce", reduce, ("sum", "mean"))
        check_choice("score", score, ("logits", "probabilities"))
        self.model, self.training = model, model.training
        self.reduce, self.score, self.output = reduce, score, output
        batches = as_batches(image, model)
        if len(batches) != 1:
            raise ValueError(f"image holds {len(batches)} images; give one.")
        self.size = (int(batches[0].shape[2]), int(batches[0].shape[3]))
        # What inference mode makes cannot be part of a gradient later. Cloned, as a network may write into its input.
        with torch.inference_mode(False), untouched(model):
            maps = self._maps(batches[0].clone())
        self.is_map, self.classes = maps.dim() == 4, int(maps.shape[1])
        if not self.is_map and not _is_predicted(region):
            raise ValueError(
                f"region={_short(region)}: this {type(model).__name__} gives one score for each class, "
                f"{tuple(maps.shape)}, and no map; leave the region out."
            )
        self.masks: Tensor
        with torch.inference_mode(False):
            masks = _regions(region, maps) if self.is_map else torch.zeros(0, *self.size, dtype=torch.bool)
            self.register_buffer("masks", masks.clone(), persistent=False)

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """The score of each class for each of `images`, which are normalised as the model takes them."""
        if tuple(images.shape[-2:]) != self.size:
            raise ValueError(
                f"images are {tuple(images.shape[-2:])} pixels; the region was made for an image of {self.size}."
            )
        maps = self._maps(images.clone())
        if self.score == "probabilities":
            maps = maps.sigmoid() if self.classes == 1 else maps.softmax(dim=1)
        if not self.is_map:
            return maps
        scores = (maps * self.masks).sum(dim=(2, 3))
        return scores / self.masks.sum(dim=(1, 2)).clamp(min=1) if self.reduce == "mean" else scores

    def mask(self, class_index: int) -> Bool[Tensor, "height width"]:
        """The region over which the score of a class is taken, in pixels of the image.

        Raises:
            ValueError: there is no such class, it is predicted nowhere, or the network gives no map.
        """
        if not self.is_map:
            raise ValueError(f"{type(self.model).__name__} gives one score for each class: there is no region.")
        if not 0 <= class_index < self.classes:
            raise ValueError(f"target: class {class_index} is not one of the {self.classes} classes of this network.")
        mask = self.masks[class_index if len(self.masks) > 1 else 0]
        if not mask.any():
            found = [
                f"{index} ({int(count)} pixels)" for index, count in enumerate(self.masks.sum(dim=(1, 2))) if count
            ]
            raise ValueError(
                f"target: class {class_index} is predicted nowhere on this image, so its region is empty; predicted: "
                f"{', '.join(found) or 'none'}. Give a region."
            )
        return mask

    def _maps(self, images: Tensor) -> Tensor:
        """What the network says of the classes: N classes H W at the size of the image, or N classes."""
        scores = _pick(self.model(images), self.output)
        if not isinstance(scores, Tensor):
            raise ValueError(
                f"the network's output is a {type(scores).__name__}, not a tensor of class scores; say where they are "
                "with output=."
            )
        if scores.dim() not in (2, 4) or len(scores) != len(images):
            raise ValueError(
                f"the network gives {tuple(scores.shape)} for {len(images)} image(s); attribution needs class scores "
                "N classes H W, or N classes. output= takes a function that makes them."
            )
        if scores.dim() == 4 and tuple(scores.shape[-2:]) != self.size:
            scores = F.interpolate(scores, size=self.size, mode="bilinear", align_corners=False)
        return scores


def _pick(result: Any, output: str | int | Callable[[Any], Any] | None) -> Any:
    """The class scores in what a network returns."""
    if output is None:
        if isinstance(result, Mapping):
            usual = [key for key in _USUAL_KEYS if key in result]
            keys = usual or list(result)
            if usual or len(result) == 1:
                return result[keys[0]]
            raise ValueError(
                f"the network returns a mapping with {', '.join(map(str, result))}; name one with output=."
            )
        if isinstance(result, list | tuple):
            if len(result) == 1:
                return result[0]
            raise ValueError(f"the network returns {len(result)} things; choose one with output=, an index from 0.")
        return result
    if callable(output):
        return output(result)
    try:
        if isinstance(output, str) and not isinstance(result, Mapping):
            return getattr(result, output)
        return result[output]
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        has = ", ".join(map(str, result)) if isinstance(result, Mapping) else f"a {type(result).__name__}"
        if isinstance(result, list | tuple):
            has = f"{len(result)} things"
        raise ValueError(f"output={output!r} is not in what the network returns: {has}.") from error


def _regions(region: Any, maps: Tensor) -> Tensor:
    """Masks, 1 H W for all classes alike or classes H W for each its own."""
    height, width = maps.shape[-2:]
    if _is_predicted(region):
        if maps.shape[1] == 1:
            return maps[0] > 0
        return maps[0].argmax(dim=0) == torch.arange(maps.shape[1], device=maps.device)[:, None, None]
    mask = torch.zeros(1, height, width, dtype=torch.bool, device=maps.device)
    if isinstance(region, Box):
        mask[0][region.clipped(int(height), int(width)).slices()] = True
    elif isinstance(region, tuple | list) and len(region) == 2 and all(map(_is_whole, region)):
        row, column = map(int, region)
        if not (0 <= row < height and 0 <= column < width):
            raise ValueError(
                f"region: pixel (row {row}, column {column}) is outside of the image of {height} x {width} pixels."
            )
        mask[0, row, column] = True
    elif isinstance(region, np.ndarray | Tensor):
        mask = _mask(torch.as_tensor(region), (int(height), int(width))).to(maps.device)[None]
    else:
        raise ValueError(
            f"region={_short(region)} is not known; allowed: 'predicted', a boolean mask, a pixel (row, column), a Box."
        )
    return mask


def _mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    if mask.dtype != torch.bool:
        raise TypeError(f"region: the mask is of {mask.dtype}; give a boolean one, such as labels == 8.")
    if tuple(mask.shape) != size:
        raise ValueError(f"region: the mask has shape {tuple(mask.shape)}; the image is {size}, (height, width).")
    if not mask.any():
        raise ValueError("region: the mask is empty; at least one pixel must be True.")
    return mask


def _is_predicted(region: Any) -> bool:
    return isinstance(region, str) and region == "predicted"


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _short(region: Any) -> str:
    return f"{type(region).__name__} of shape {tuple(region.shape)}" if hasattr(region, "shape") else repr(region)
