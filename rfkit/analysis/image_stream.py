"""Images from wherever they come, a few at a time, so that memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rfkit.analysis.images import as_batches

__all__ = ["count_images", "stream_images"]


def stream_images(
    images: Tensor | Iterable[Any], model: nn.Module, *, batch_size: int, one_size: bool = True
) -> Iterator[Tensor]:
    """`images` as N C H W batches of at most `batch_size`, in the form that `model` takes.

    Args:
        images: C H W or N C H W, or anything that yields these: a list, a generator, a `DataLoader`. What it yields may
            also be a tuple or list that starts with the images, a mapping with "image" or "pixel_values", or an object
            with `image`. 8-bit images are normalised as in `rfkit.analysis.images`.
        model: whose parameters tell device and type.
        batch_size: most images in a batch.
        one_size: whether all images must have one size; if not, those of a batch have.

    Yields:
        Batches, in the order of the images.

    Raises:
        ValueError: there is no image, or sizes differ, or one is not an image.
        TypeError: an entry holds no images, or they are of another type.
    """
    held: list[Tensor] = []
    shape: tuple[int, ...] | None = None
    for entry in [images] if isinstance(images, Tensor) else images:
        for single in as_batches(_tensor(entry), model):
            size = tuple(single.shape[1:])
            if one_size and shape not in (None, size):
                raise ValueError(f"images: sizes differ, {shape} and {size}; a mean needs images of one size.")
            if held and shape != size:
                yield torch.cat(held)
                held = []
            shape = size
            held.append(single)
            if len(held) == batch_size:
                yield torch.cat(held)
                held = []
    if held:
        yield torch.cat(held)
    if shape is None:
        raise ValueError("images: got none; give at least one.")


def count_images(images: Any) -> int | None:
    """How many images there are, where that can be told without reading them."""
    if isinstance(images, Tensor):
        return 1 if images.dim() == 3 else len(images)
    if isinstance(images, list | tuple) and all(isinstance(entry, Tensor) for entry in images):
        return sum(1 if entry.dim() == 3 else len(entry) for entry in images)
    return None


def _tensor(entry: Any) -> Tensor:
    if isinstance(entry, Tensor):
        return entry
    found = None
    if isinstance(entry, Mapping):
        found = next((entry[name] for name in ("image", "pixel_values") if name in entry), None)
    elif hasattr(entry, "image"):
        found = entry.image
    elif isinstance(entry, tuple | list) and entry:
        found = entry[0]
    if not isinstance(found, Tensor):
        raise TypeError(
            f"images: an entry is a {type(entry).__name__}; give tensors, or tuples, mappings or objects that hold the "
            "image first, under 'image' or 'pixel_values', or as .image."
        )
    return found
