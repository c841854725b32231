"""Dilation rates learned together with the weights, bounded by the receptive field before them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor, nn

from rfkit._checks import check_choice
from rfkit.analysis.dilation_bounds import dilation_bound
from rfkit.models.learning_dilations import freeze, learned_layers, replace_dilated, set_bounds
from rfkit.results.dilation_rates import RateTrajectory

__all__ = ["RateRecorder", "learn_dilations", "update_bounds"]


def learn_dilations(
    model: nn.Module,
    *,
    layers: str | nn.Module | Sequence[str | nn.Module] | None = None,
    start: float | Mapping[str, float] | None = None,
    bound: str | float = "field",
    input_size: Sequence[int] | Tensor = (3, 256, 512),
) -> nn.Module:
    """A copy of `model` in which dilation rates are real numbers that are learned, one for each convolution.

    Its convolutions keep their weights, names and sizes; at their own rates the copy computes what `model` does. Train
    it with `parameter_groups` and call `clamp_rates` after every step; `dilation_rates` shows the rates, `RateRecorder`
    keeps them, `freeze` makes an ordinary network of it.

    Args:
        model: any network; it is not changed.
        layers: names or patterns of convolutions, or of modules in which all convolutions with more than one tap are
            meant. Default: all dilated convolutions, and all branches of parallel blocks of this package, also those
            with rate 1.
        start: the rate to begin with, for all or by name or pattern; each layer's own if not given.
        bound: largest rate: a number for all, or "field": for each convolution k / s, of the receptive field and output
            stride before it (`dilation_bound`) with the rates to begin with, rounded. Rates to begin with that are
            above are moved to the bound. As rates grow, so do the fields and bounds of later layers: `update_bounds`.
        input_size: (channels, height, width) for which the receptive field is traced; used for "field" only.

    Raises:
        ValueError: no convolution is found, one cannot learn its rate (even kernel, padding that is too small or not of
            zeros), a rate or bound is out of range, or the field before a layer is not known; the message names it.

    Example:
        >>> convs = [nn.Conv2d(3, 3, 3, padding=rate, dilation=rate) for rate in (1, 2, 4)]
        >>> model = learn_dilations(nn.Sequential(*convs), input_size=(3, 32, 32))
        >>> [(name, layer.rate.item(), layer.bound) for name, layer in learned_layers(model).items()]
        [('1', 2.0, 3.0), ('2', 4.0, 7.0)]

    Reference: Gao, Rethinking Dilated Convolution for Real-time Semantic Segmentation, arXiv 2111.09957.
    """
    if isinstance(bound, str):
        check_choice("bound", bound, ("field",))
        learned = replace_dilated(model, layers=layers, start=start)
        update_bounds(learned, input_size)
        return learned
    return replace_dilated(model, layers=layers, start=start, bound=bound)


def update_bounds(model: nn.Module, input_size: Sequence[int] | Tensor = (3, 256, 512)) -> dict[str, float]:
    """Bound the learned rates of `model` by k / s at its present rates, in place, and return layer -> bound.

    The fields are those of the network with all rates rounded to whole ones. Rates above a new bound are moved to it.

    Args:
        model: network with learned rates.
        input_size: see `dilation_bound`.

    Raises:
        ValueError: the model has no learned rates, or the field before one is not known.
    """
    layers = learned_layers(model)
    # Two passes in general are not enough to move every start below a bound that itself falls with the starts before
    # it; each pass settles at least the first layer that is still too high.
    for _ in range(len(layers) + 1):
        found = dilation_bound(freeze(model), input_size).bounds()
        bounds = {}
        for name in layers:
            if math.isnan(found.get(name, math.nan)):
                raise ValueError(f"the receptive field before {name!r} is not known; give a number as bound.")
            bounds[name] = max(1.0, found[name])
        moved = any(float(layer.rate.detach()) > bounds[name] for name, layer in layers.items())
        set_bounds(model, bounds)
        if not moved:
            break
    return bounds


class RateRecorder:
    """Keeps the learned dilation rates of a network while it is trained.

    Args:
        model: network with learned rates.

    Raises:
        ValueError: the model has no learned rates.

    Example:
        >>> model = replace_dilated(nn.Sequential(nn.Conv2d(3, 3, 3, padding=2, dilation=2)))
        >>> recorder = RateRecorder(model)
        >>> recorder.record(0)
        >>> recorder.trajectory().to_frame().to_dict("records")
        [{'step': 0, 'layer': '0', 'branch': 'd2', 'rate': 2.0, 'bound': inf}]
    """

    def __init__(self, model: nn.Module) -> None:
        self._layers = learned_layers(model)
        self._steps: list[int] = []
        self._rates: list[list[float]] = []
        self._bounds: list[list[float]] = []

    def record(self, step: int) -> None:
        """Keep the rates as they are now, as those after `step` steps.

        Raises:
            ValueError: `step` is not above the one before.
        """
        if self._steps and step <= self._steps[-1]:
            raise ValueError(f"step={step} must be above the last one recorded, {self._steps[-1]}.")
        self._steps.append(step)
        self._rates.append([float(layer.rate.detach()) for layer in self._layers.values()])
        self._bounds.append([layer.bound for layer in self._layers.values()])

    def trajectory(self) -> RateTrajectory:
        """What has been recorded.

        Raises:
            ValueError: that is nothing.
        """
        if not self._steps:
            raise ValueError("nothing has been recorded; call record(step) during training.")
        return RateTrajectory(
            np.array(self._steps),
            tuple(self._layers),
            tuple(layer.branch for layer in self._layers.values()),
            np.array(self._rates),
            np.array(self._bounds),
        )
