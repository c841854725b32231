"""Scores of a segmentation over one confusion matrix of a whole data set."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

__all__ = ["ConfusionMatrix"]


class ConfusionMatrix:
    """Counts of pixels by label (rows) and prediction (columns), over as many images as it is shown.

    mIoU is that of the usual protocol: one matrix over the whole set, not a mean over images. Pixels whose label is
    `ignore_index` count nowhere. A class that occurs neither in the labels nor in the predictions has no IoU: it is
    NaN, and left out of the mean.

    Args:
        num_classes: Number of classes.
        ignore_index: Label of pixels that are left out.

    Example:
        >>> import torch
        >>> confusion = ConfusionMatrix(2)
        >>> confusion.update(torch.tensor([[0, 1, 1]]), torch.tensor([[0, 0, 255]]))
        >>> confusion.matrix.tolist()
        [[1, 1], [0, 0]]
    """

    def __init__(self, num_classes: int, ignore_index: int = 255) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes={num_classes!r} must be at least 1.")
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self._counts = torch.zeros(num_classes, num_classes, dtype=torch.int64)

    @property
    def matrix(self) -> Int[np.ndarray, "classes classes"]:
        """The counts: rows are labels, columns predictions."""
        return self._counts.cpu().numpy().copy()

    def update(
        self,
        prediction: Int[Tensor, "*batch height width"] | UInt8[Tensor, "*batch height width"],
        label: Int[Tensor, "..."] | UInt8[Tensor, "..."],
    ) -> None:
        """Count one batch.

        Args:
            prediction: Class ids.
            label: Class ids of the same shape, `ignore_index` where unlabelled.

        Raises:
            ValueError: A label is neither a class nor `ignore_index`, or a prediction is not a class.
        """
        if prediction.shape != label.shape:
            raise ValueError(
                f"prediction has shape {tuple(prediction.shape)}; label {tuple(label.shape)}: they must be equal."
            )
        classes = self.num_classes
        # One row more than there are classes takes the ignored pixels; int16 halves the memory that bincount reads.
        kind = torch.int16 if (classes + 1) * classes < 2**15 else torch.int64
        label = label.to(prediction.device)
        ignored = label == self.ignore_index
        rows = label.to(kind).masked_fill(ignored, classes).flatten()
        columns = prediction.to(kind).flatten()
        for name, values, allowed in (("label", rows, classes), ("prediction", columns, classes - 1)):
            if values.numel() and not (int(values.min()) >= 0 and int(values.max()) <= allowed):
                raise ValueError(
                    f"{name} holds values from {int(values.min())} to {int(values.max())}; "
                    f"allowed: 0 to {classes - 1}, and {self.ignore_index} as a label."
                )
        counts = torch.bincount(rows * classes + columns, minlength=(classes + 1) * classes)
        self._counts += counts[: classes * classes].reshape(classes, classes).cpu()

    def exchange(self, add: Callable[[Tensor], Tensor]) -> None:
        """Replace the counts by what `add` makes of them, such as their sum over processes."""
        self._counts = add(self._counts)

    def class_iou(self) -> Float[np.ndarray, " classes"]:
        """Intersection over union of each class; NaN for a class that neither labels nor predictions hold."""
        matrix = self.matrix.astype(np.float64)
        union = matrix.sum(0) + matrix.sum(1) - np.diag(matrix)
        return np.divide(np.diag(matrix), union, out=np.full(self.num_classes, np.nan), where=union > 0)

    def miou(self) -> float:
        """Mean of `class_iou` over the classes that have one; NaN if nothing was counted."""
        present = self.class_iou()
        present = present[~np.isnan(present)]
        return float(present.mean()) if present.size else float("nan")

    def pixel_accuracy(self) -> float:
        """Share of the labelled pixels that are predicted right; NaN if nothing was counted."""
        matrix = self.matrix
        return float(np.trace(matrix) / matrix.sum()) if matrix.sum() else float("nan")

    def __add__(self, other: ConfusionMatrix) -> ConfusionMatrix:
        """The counts of both."""
        if (self.num_classes, self.ignore_index) != (other.num_classes, other.ignore_index):
            raise ValueError(
                f"other counts {other.num_classes} classes and ignores {other.ignore_index}; "
                f"this one {self.num_classes} and {self.ignore_index}: they must be equal."
            )
        total = ConfusionMatrix(self.num_classes, self.ignore_index)
        total._counts = self._counts + other._counts
        return total
