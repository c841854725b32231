"""Sums over images of the gradient of units with respect to the input, whatever the number of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from rfkit.analysis.units import UnitSet

__all__ = ["REDUCTIONS", "GradientSum", "check_channels", "input_gradient", "unit_value"]

# Relative size of what float32 leaves of a sum that is constant.
_CANCELLED = 1e-4

REDUCTIONS = ("abs", "relu", "square", "signed")


class GradientSum:
    """The running sum of one unit's reduced gradient, in double precision.

    Args:
        layer: name of the layer, for errors.
        units: the unit, or the units added up before differentiating.
        reduce: one of `REDUCTIONS`.
    """

    def __init__(self, layer: str, units: UnitSet, reduce: str) -> None:
        self.layer, self.units, self.reduce = layer, units, reduce
        self.images = 0
        self._sum: Tensor | None = None
        self._largest = 0.0
        self._values_zero = True

    @property
    def name(self) -> str:
        """The unit and its layer, as errors call them."""
        of = {0: "the scores", 1: f"unit {self.units.units[0]}" if self.units.units else ""}
        return f"{of.get(len(self.units.units), f'the {len(self.units.units)} units')} of layer {self.layer!r}"

    def add(self, gradient: Tensor, value: Tensor | None = None) -> None:
        """Add the gradients of a batch, N C H W.

        Raises:
            ValueError: a gradient is not finite.
        """
        finite = gradient.flatten(1).isfinite().all(dim=1)
        if not finite.all():
            index = self.images + int((~finite).nonzero()[0, 0])
            raise ValueError(
                f"the gradient of {self.name} is NaN or infinite on image {index}: look for a division by zero, a root "
                "or a logarithm of zero, or an overflow in the network."
            )
        reduced = _reduced(gradient.double(), self.reduce).sum(dim=0)
        self._sum = reduced if self._sum is None else self._sum.add_(reduced)
        self._largest = max(self._largest, float(gradient.abs().max()))
        self._values_zero &= value is not None and not value.any()
        self.images += len(gradient)

    def mean(self) -> np.ndarray:
        """The mean over images, (height, width)."""
        if self._sum is None:
            raise ValueError("images: got none; give at least one.")
        return (self._sum / self.images).cpu().numpy()

    @property
    def is_zero(self) -> bool:
        """Whether no image had any gradient."""
        return self._largest == 0

    def check_not_zero(self) -> None:
        """Raise `ValueError`, with the likely reason, if no image had any gradient."""
        if self.is_zero:
            why = (
                "its value is zero on all images too, as behind a dead ReLU; use other images, another unit, or the "
                "layer before the activation"
                if self._values_zero
                else "something between the input and it passes no gradient back (a dead or saturated activation, an "
                "argmax or rounding, zero weights, an output that no pixel can reach)"
            )
            raise ValueError(f"the gradient of {self.name} is zero at every pixel of all {self.images} images: {why}.")
        if self.reduce == "relu" and self._sum is not None and not self._sum.any():
            raise ValueError(f"the gradient of {self.name} is nowhere positive, so reduce='relu' leaves nothing of it.")


def unit_value(maps: Tensor, units: UnitSet, channels: Sequence[int] | None) -> Tensor:
    """The channels of the units of an N C H W map, N x channels x units, whose sum is differentiated."""
    picked = maps if channels is None else maps[:, list(channels)]
    rows, columns = zip(*(units.units or ((0, 0),)), strict=True)
    return picked[:, :, list(rows), list(columns)]


def input_gradient(value: Tensor, image: Tensor, *, name: str, retain: bool) -> Tensor:
    """The gradient of the sum of `value` with respect to `image`.

    The images of a batch do not see each other in evaluation mode, so the gradient holds that of each by itself.

    Raises:
        ValueError: `value` is not connected to `image`.
    """
    gradient = None
    if value.requires_grad:
        (gradient,) = torch.autograd.grad(value.sum(), image, retain_graph=retain, allow_unused=True)
    if gradient is None:
        raise ValueError(
            f"{name} is not connected to the input by gradients: look for torch.no_grad, inference_mode, .detach() or "
            ".data in the network, or a layer that does not read the image."
        )
    return gradient


def check_channels(value: Tensor, image: Tensor, gradient: Tensor, *, name: str) -> None:
    """Raise `ValueError` if the channels of `value` cancel, so that `gradient`, of their sum, is rounding noise.

    That is so behind a LayerNorm without scale (the sum is 0) and behind a softmax (the sum is 1). Only where the sum
    is suspicious a second gradient is taken, of a sum in which the channels have unequal weights.
    """
    sums, sizes = value.detach().sum(dim=1), value.detach().abs().sum(dim=1)
    suspicious = (sums.abs() <= _CANCELLED * sizes).all() or ((sums - 1).abs() <= _CANCELLED).all()
    if value.shape[1] < 2 or not suspicious or not sizes.any():
        return
    weights = torch.linspace(-1, 1, value.shape[1], dtype=value.dtype, device=value.device)[:, None]
    (unequal,) = torch.autograd.grad((value * weights).sum(), image, retain_graph=True)
    if gradient.abs().max() < _CANCELLED * unequal.abs().max():
        raise ValueError(
            f"the channels of {name} add up to a constant, as behind a softmax or a LayerNorm without scale, so their "
            "sum has no gradient; choose one or some of them with channels=."
        )


def _reduced(gradient: Tensor, reduce: str) -> Tensor:
    """N H W: over the colour channels the sum of what `reduce` makes of each entry."""
    if reduce == "abs":
        gradient = gradient.abs()
    elif reduce == "relu":
        gradient = gradient.clamp(min=0)
    elif reduce == "square":
        gradient = gradient.square()
    return gradient.sum(dim=1)
