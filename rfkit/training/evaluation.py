"""The score of a network on a data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from rfkit._checks import check_choice, check_positive
from rfkit._progress import Bar
from rfkit.data.dataset import Dataset, Sample
from rfkit.data.transforms import normalize, resample
from rfkit.metrics import ConfusionMatrix
from rfkit.training.prefetch import prefetch
from rfkit.training.processes import ALONE, Processes

__all__ = ["Scores", "check_classes", "class_scores", "evaluate", "sample_batches"]


@dataclass(frozen=True)
class Scores:
    """The scores of a network over a whole data set.

    Attributes:
        miou: Mean of the class IoUs over the classes that occur in labels or predictions.
        class_iou: IoU of each class; NaN for one that occurs in neither.
        pixel_accuracy: Share of the labelled pixels predicted right.
        confusion: Counts of pixels, rows by label, columns by prediction.
        classes: Names of the classes, in the order of the counts.
        size: (height, width) the network saw, or None where every image kept its own.
        images: Number of images.
        data: Name of the data set.
        split: Its split.
    """

    miou: float
    class_iou: dict[str, float]
    pixel_accuracy: float
    confusion: Int[np.ndarray, "classes classes"]
    classes: tuple[str, ...]
    size: tuple[int, int] | None
    images: int
    data: str
    split: str

    def to_frame(self) -> pd.DataFrame:
        """One row a class: class, iou, pixels (labelled so), predicted (pixels)."""
        return pd.DataFrame(
            {
                "class": list(self.classes),
                "iou": [self.class_iou[name] for name in self.classes],
                "pixels": self.confusion.sum(1),
                "predicted": self.confusion.sum(0),
            }
        )

    def __str__(self) -> str:
        size = "own size" if self.size is None else f"{self.size[1]}x{self.size[0]}"
        width = max(len(name) for name in self.classes)
        rows = [f"  {name:<{width}}  {100 * iou:5.1f}" for name, iou in self.class_iou.items()]
        means = f"mIoU {100 * self.miou:.2f}, pixel accuracy {100 * self.pixel_accuracy:.2f}"
        return "\n".join([f"{self.data} {self.split}, {self.images} images at {size}: {means}", *rows])


def evaluate(
    model: nn.Module,
    dataset: Dataset,
    *,
    batch_size: int = 4,
    device: str | torch.device | None = None,
    size: tuple[int, int] | None = None,
    precision: str = "fp32",
    progress: bool = True,
    processes: Processes = ALONE,
) -> Scores:
    """The mIoU of `model` on `dataset`, from one confusion matrix over all its labelled pixels.

    Pixels labelled 255 are left out. A class that neither the labels nor the predictions hold has no IoU (NaN) and is
    left out of the mean. No sliding window and no averaging over scales.

    With `size`, images are resized to it, and the class scores, as floating-point numbers, are resized back by bilinear
    interpolation before the highest is taken, so the labels are compared at their full size. So the paper scores
    Cityscapes: its "50" is 1024x512, here ``size=(512, 1024)``, and its "75" is 1536x768, ``size=(768, 1536)``, both
    compared at 2048x1024. How the paper shrinks the images it does not say. Here it is by bilinear interpolation with
    anti-aliasing, as in training (`rfkit.data.transforms.resample`): every pixel counts, and the network sees in the
    evaluation what it was trained on.

    Args:
        model: Takes normalised images (N, 3, H, W), gives class scores (N, classes, H, W). Left in the mode it was in.
        dataset: Its classes are those of the network.
        batch_size: Images a forward pass; those of one size follow each other in a batch.
        device: Where to run; None: where the model is. The model is moved there and stays there.
        size: (height, width) the network sees; None: each image's own.
        precision: "fp32", or "bf16" for autocast.
        progress: Whether to show a bar.
        processes: Those that share the work: each takes every so manyth sample, and all return the scores of the whole.

    Returns:
        Scores.

    Raises:
        ValueError: `dataset` is empty or without labels, or the network has another number of classes.
    """
    check_positive("batch_size", batch_size)
    check_choice("precision", precision, ("fp32", "bf16"))
    dataset.check_usable()
    device = torch.device(device) if device is not None else next(model.parameters()).device
    confusion = ConfusionMatrix(len(dataset.classes))
    model.to(device)
    label = f"Evaluating on {dataset.name} {dataset.split}"
    own = range(processes.rank, len(dataset), processes.count)
    with (
        _inference(model),
        Bar(total=len(own), desc=label, unit="image", disable=not progress, leave=False) as bar,
    ):
        # The next images are read while the network runs.
        for samples in prefetch(sample_batches(dataset, own, batch_size)):
            images = torch.stack([sample.image for sample in samples]).to(device)
            labels = torch.stack([sample.label for sample in samples]).to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                logits = _logits(model, images, size)
            if logits.shape[1] != len(dataset.classes):
                raise ValueError(
                    f"model gives {logits.shape[1]} class scores; dataset {dataset.name} has {dataset.num_classes}."
                )
            confusion.update(logits.argmax(1), labels)
            bar.update(len(samples))
            bar.set_postfix_str(f"mIoU {100 * confusion.miou():.1f}", refresh=False)
    confusion.exchange(processes.add)
    return _scores(confusion, dataset, size)


def class_scores(
    model: nn.Module, images: UInt8[Tensor, "batch 3 height width"], *, size: tuple[int, int] | None = None
) -> Float[Tensor, "batch classes height width"]:
    """The class scores of images, at the images' own size, without gradients and in evaluation mode.

    Args:
        model: As for `evaluate`.
        images: On the model's device.
        size: (height, width) the network sees; None: the images' own.

    Returns:
        Float32 scores (logits).
    """
    with _inference(model):
        return _logits(model, images, size)


def check_classes(model: nn.Module, dataset: Dataset) -> None:
    """Raise `ValueError` if the card of `model` names other classes than those of `dataset`."""
    card = getattr(model, "card", None)
    if card is None or not card.class_names or tuple(card.class_names) == tuple(dataset.classes):
        return
    raise ValueError(
        f"the weights were trained on {card.data} with the classes {', '.join(card.class_names)}; {dataset.name} has "
        f"{', '.join(dataset.classes)}: their scores mean different things."
    )


def sample_batches(dataset: Dataset, indices: Iterable[int], batch_size: int) -> Iterator[list[Sample]]:
    """The samples at `indices`, in order, in lists of at most `batch_size` that have one size."""
    batch: list[Sample] = []
    for index in indices:
        sample = dataset[index]
        if batch and (len(batch) == batch_size or sample.image.shape != batch[0].image.shape):
            yield batch
            batch = []
        batch.append(sample)
    if batch:
        yield batch


@contextmanager
def _inference(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards each module is in the mode it was in."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _logits(model: nn.Module, images: Tensor, size: tuple[int, int] | None) -> Tensor:
    own = images.shape[-2:]
    pixels = normalize(images)
    logits = model(pixels if size is None else resample(pixels, size)).float()
    if logits.shape[-2:] != own:
        logits = F.interpolate(logits, own, mode="bilinear", align_corners=False)
    return logits


def _scores(confusion: ConfusionMatrix, dataset: Dataset, size: tuple[int, int] | None) -> Scores:
    return Scores(
        miou=confusion.miou(),
        class_iou={name: float(iou) for name, iou in zip(dataset.classes, confusion.class_iou(), strict=True)},
        pixel_accuracy=confusion.pixel_accuracy(),
        confusion=confusion.matrix,
        classes=tuple(dataset.classes),
        size=None if size is None else (int(size[0]), int(size[1])),
        images=len(dataset),
        data=dataset.name,
        split=dataset.split,
    )
