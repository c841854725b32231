"""The effective receptive field: how much each pixel of the image really matters to a unit."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from rfkit._progress import Bar
from rfkit.analysis.image_stream import count_images, stream_images
from rfkit.analysis.input_gradients import GradientSum, check_channels, input_gradient, unit_value
from rfkit.analysis.outputs import Output, Reshape
from rfkit.analysis.passes import (
    Pass,
    PassLayer,
    Settings,
    check_settings,
    choose,
    full_precision,
    layer_names,
    listed,
    maps_of,
    plan_passes,
)
from rfkit.analysis.unit_fields import UnitFields, hull
from rfkit.analysis.units import Unit
from rfkit.analysis.untouched import untouched
from rfkit.results.box import Box
from rfkit.results.effective import EffectiveRF

__all__ = ["effective_rf", "result_of"]


def effective_rf(
    model: nn.Module,
    images: Tensor | Iterable[Any],
    *,
    layers: str | nn.Module | Sequence[str | nn.Module] | None = None,
    unit: Unit = "centre",
    reduce: str = "abs",
    crop: str | bool = "auto",
    channels: int | Sequence[int] | None = None,
    output: Output = None,
    reshape: Reshape | Mapping[str, Reshape] = None,
    rectify: bool = False,
    batch_size: int = 1,
    progress: bool = True,
) -> dict[str, EffectiveRF]:
    """The effective receptive field of units of any layers: layer name -> mean |d unit / d pixel| over images.

    One forward pass per batch serves all layers that run on the same part of the images, one backward pass each unit.
    Only a sum is kept, so memory does not grow with the number of images. The numbers are raw: logarithms and
    percentiles belong to plots. The model is left as it was found; it runs in evaluation mode and full precision.

    The centre unit is the one whose own field is centred nearest to the middle of the image, which need not be the
    middle unit of its map. Beware of a layer whose channels cancel: those of a LayerNorm without scale, or of a
    softmax, add up to a constant whatever the input; choose `channels` there.

    Args:
        model: any module that takes one batch of images. Half-precision models are refused, since rounded gradients
            are off by a percent; give `model.float()`.
        images: C H W or N C H W, a list of these, or anything that yields them (a generator, a `DataLoader`), of one
            size; 8 bit, or normalised as the model takes them. With (image, label) tuples the image is taken.
        layers: names, patterns, modules or a list of these, as for `rfkit.hooks.find_layers`; "output" (also the
            default, None) means what the model returns.
        unit: "centre"; (row, column) in the layer's map, negative from the end; a list of these, each differentiated by
            itself; or a boolean mask over the map, whose units are added up first. Ignored where there is no map.
        reduce: what is summed over the colour channels of the gradient: "abs", "relu" (positive part), "square", or
            "signed".
        crop: run only on the part of the images that the unit's theoretical field needs: "auto" where that gives the
            same numbers, True to insist on it, False never.
        channels: channel or channels of the unit to add up, such as a class; all of them by default.
        output: which part of the model's output, if it is not a single tensor: a key, an index or a function; the
            first tensor by default. It does not apply to inner layers, which give their first tensor.
        reshape: how layers that return tokens N L C or maps N H W C become N C H W: (height, width), "NHWC" or a
            function, or a mapping from layer name to one of these.
        rectify: put ReLU on the unit's channels before they are added, as RepLKNet's script does.
        batch_size: images in a forward pass.
        progress: whether to show a bar.

    Returns:
        One result per layer, in the order of the model, "output" last.

    Raises:
        ValueError: an argument is not allowed; a unit is outside its map; a gradient is zero everywhere, not finite, or
            cut off from the input; `crop=True` and cropping is not exact. The message says which and why.
        TypeError: images are neither 8 bit nor of a floating type.

    Example:
        >>> import torch
        >>> from rfkit.models.registry import create_model
        >>> fields = effective_rf(create_model("dwrseg_b", seed=0), torch.rand(2, 3, 64, 96), layers="stage2")
        >>> fields["stage2"].map.shape, fields["stage2"].images
        ((64, 96), 2)

    Reference: Luo et al., Understanding the Effective Receptive Field in Deep Convolutional Neural Networks, 2016.
    """
    check_settings(model, reduce=reduce, crop=crop, batch_size=batch_size)
    names = layer_names(model, layers)
    settings = Settings(unit, reduce, listed(channels), output, reshape, rectify)
    stream = stream_images(images, model, batch_size=batch_size)
    with untouched(model), full_precision():
        first = next(stream)
        fields = UnitFields(model, first.shape[1:], settings.output)
        passes = plan_passes(fields, names, settings, crop)
        with Bar(total=count_images(images), desc="Effective RF", unit="image", disable=not progress) as bar:
            for batch in itertools.chain([first], stream):
                for entry in passes:
                    _run(model, batch, entry, settings, fields)
                bar.update(len(batch))
    found = {layer.name: _result(layer, settings, fields) for entry in passes for layer in entry.layers}
    return {name: found[name] for name in names}


def _run(model: nn.Module, batch: Tensor, entry: Pass, settings: Settings, fields: UnitFields) -> None:
    """Add the gradients of one batch to the sums of all layers of a pass."""
    part = batch if entry.box is None else batch[..., *entry.box.slices()]
    image = part.detach().clone().requires_grad_()
    maps = maps_of(model, image, [layer.name for layer in entry.layers], settings)
    for layer in entry.layers:
        if not layer.sums:
            choose(layer, maps[layer.name], settings, fields)
    remaining = sum(len(layer.sums) for layer in entry.layers)
    for layer in entry.layers:
        for total in layer.sums:
            remaining -= 1
            value = unit_value(maps[layer.name], layer.on_part(total.units), settings.channels)
            summed = value.relu() if settings.rectify else value
            first = total.images == 0
            gradient = input_gradient(summed, image, name=total.name, retain=remaining > 0 or first)
            if first:
                check_channels(value, image, gradient, name=total.name)
            total.add(gradient, value.detach())


def _result(layer: PassLayer, settings: Settings, fields: UnitFields) -> EffectiveRF:
    for total in layer.sums:
        total.check_not_zero()
    parts = [result_of(layer, total, settings, fields) for total in layer.sums]
    if len(parts) == 1:
        return parts[0]
    return _mean(parts, fields)


def result_of(layer: PassLayer, total: GradientSum, settings: Settings, fields: UnitFields) -> EffectiveRF:
    """What a sum of gradients says about its unit."""
    known = fields.field(layer.name)
    if known is not None and tuple(known.size) != layer.map_size:
        known = None
    return EffectiveRF(
        layer=layer.name,
        units=total.units.units,
        map=_embedded(total.mean(), layer.crop.box, fields.image_size),
        reduce=settings.reduce,
        images=total.images,
        centre=total.units.centre,
        map_size=layer.map_size,
        channels=settings.channels,
        box=None if known is None else hull(known, total.units.units),
        is_global=known is not None and bool(known.is_global),
        stride=None if known is None else (float(known.output_stride[0]), float(known.output_stride[1])),
        placement=layer.placement,
        crop=layer.crop.box,
        reason=layer.reason,
    )


def _embedded(part: np.ndarray, box: Box | None, size: tuple[int, int]) -> np.ndarray:
    """`part` in its place in an image of `size`, zero around it."""
    if box is None:
        return part
    whole = np.zeros(size)
    whole[box.slices()] = part
    return whole


def _mean(parts: Sequence[EffectiveRF], fields: UnitFields) -> EffectiveRF:
    first = parts[0]
    units = tuple(unit for part in parts for unit in part.units)
    centres = np.array([part.centre for part in parts]).mean(axis=0)
    known = fields.field(first.layer) if first.box is not None else None
    return dataclasses.replace(
        first,
        units=units,
        map=np.mean([part.map for part in parts], axis=0),
        centre=(float(centres[0]), float(centres[1])),
        box=None if known is None else hull(known, units),
        parts=tuple(parts),
    )
