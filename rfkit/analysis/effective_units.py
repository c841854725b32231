"""The effective receptive fields of the units of one layer: one forward pass, then a backward pass for each of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
from torch import Tensor, nn

from rfkit._checks import unknown_name
from rfkit.analysis.crops import Crop
from rfkit.analysis.effective import result_of
from rfkit.analysis.effective_branches import branch_labels, gradient_through
from rfkit.analysis.find_branches import BranchBlock
from rfkit.analysis.images import as_batches
from rfkit.analysis.input_gradients import check_channels, input_gradient, unit_value
from rfkit.analysis.outputs import Output, pick_tensor
from rfkit.analysis.passes import PassLayer, Settings, check_settings, choose, full_precision, layer_names, maps_of
from rfkit.analysis.unit_fields import UnitFields
from rfkit.analysis.untouched import untouched
from rfkit.hooks import replace
from rfkit.results.effective import EffectiveRF

__all__ = ["UnitGradients"]


class UnitGradients:
    """A layer's map of one image, from which the effective field of any unit is one backward pass away.

    The numbers are those of `rfkit.effective_rf` and `rfkit.branch_effective_rf` for one image. What the gradients need
    is kept as long as the object is, so that asking for another unit runs no forward pass. The network must not be
    changed meanwhile: torch refuses gradients after a weight was overwritten.

    Args:
        model: any module that takes one image; it is left as it was found.
        image: C H W or 1 C H W, 8 bit or normalised as the model takes it.
        layer: full name of a layer, or "output" for what the network returns.
        fields: the theoretical fields of the model for images of this size, if they are there already.
        block: a block with branches, at or before the layer, see `rfkit.analysis.find_branches`; allows fields through
            one of its branches.
        reduce: what is summed over the colour channels of the gradient: "abs", "relu", "square" or "signed".
        output: which part of the network's output is meant by "output", see `rfkit.analysis.outputs.pick_tensor`.

    Attributes:
        maps: the layer's map, (channels, rows, columns).
        branches: labels of the branches of `block`, "d1", "d3", ...

    Raises:
        ValueError: there is no such layer, or it returns no map; several images; the model has half precision.

    Example:
        >>> import torch
        >>> model = nn.Conv2d(3, 8, 5, padding=2)
        >>> units = UnitGradients(model, torch.rand(3, 16, 16), "output")
        >>> units.maps.shape, int((units.field((0, 8)).map > 0).sum())
        ((8, 16, 16), 15)
    """

    def __init__(
        self,
        model: nn.Module,
        image: Tensor,
        layer: str,
        *,
        fields: UnitFields | None = None,
        block: BranchBlock | None = None,
        reduce: str = "abs",
        output: Output = None,
    ) -> None:
        check_settings(model, reduce=reduce, crop=False, batch_size=1)
        batches = as_batches(image, model)
        if len(batches) != 1:
            raise ValueError(f"image holds {len(batches)} images; give one.")
        names = layer_names(model, layer)
        if len(names) != 1:
            raise ValueError(f"layer={layer!r} means {len(names)} layers: {', '.join(names[:4])}; name one.")
        self._name, self._reduce, self._output = names[0], reduce, output
        self._fields = fields if fields is not None else UnitFields(model, batches[0].shape[1:], output)
        self._fields.graph()  # Traced now, so that no unit has to wait for it.
        self._middles: dict[str, Tensor] = {}
        labels = {} if block is None else branch_labels(model, block)
        self.branches = tuple(labels.values())

        def keep(name: str, _inputs: tuple[Any, ...], found: Any) -> Any:
            self._middles[labels[name]] = pick_tensor(found)
            # What goes on is a copy, so that an operation in place leaves the branch's own output alone.
            return found.clone()

        with ExitStack() as stack:
            for context in (untouched(model), full_precision(), replace(model, list(labels), keep)):
                stack.enter_context(context)
            self._image = batches[0].detach().clone().requires_grad_()
            self._maps = maps_of(model, self._image, names, self._settings("centre", None))[self._name]
        self.maps: np.ndarray = self._maps.detach()[0].float().cpu().numpy()

    def field(
        self, unit: tuple[int, int], *, channels: Sequence[int] | None = None, branch: str = ""
    ) -> EffectiveRF:
        """The effective field of a unit; with `branch`, only of what flows through that branch's convolution.

        Args:
            unit: (row, column), negative from the end.
            channels: channels of the unit to add up; all of them by default.
            branch: one of `branches`.

        Raises:
            ValueError: there is no such unit, channel or branch; or the gradient is zero, not finite, or cut off.
        """
        if branch and branch not in self.branches:
            raise unknown_name("branch", branch, self.branches)
        count = len(self.maps)
        chosen = None if channels is None else tuple(int(channel) for channel in channels)
        for channel in chosen or ():
            if not -count <= channel < count:
                raise ValueError(
                    f"channels: {channel} is not a channel of layer {self._name!r}, which has 0 to {count - 1}."
                )
        settings = self._settings(unit, chosen)
        layer = PassLayer(self._name, Crop(), "crop=False")
        with full_precision():
            choose(layer, self._maps, settings, self._fields)
            (total,) = layer.sums
            value = unit_value(self._maps, total.units, chosen)
            if branch:
                gradient = gradient_through(value, self._middles[branch], self._image)
            else:
                gradient = input_gradient(value, self._image, name=total.name, retain=True)
                check_channels(value, self._image, gradient, name=total.name)
            total.add(gradient, value.detach())
        total.check_not_zero()
        found = result_of(layer, total, settings, self._fields)
        return found if not branch else dataclasses.replace(found, branch=branch)

    def _settings(self, unit: Any, channels: tuple[int, ...] | None) -> Settings:
        return Settings(unit, self._reduce, channels, self._output, None, False)
