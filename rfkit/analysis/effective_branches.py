"""The effective receptive field of a unit, split by the branch of a block through which the gradient flows."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from rfkit._checks import unknown_name
from rfkit._progress import Bar
from rfkit.analysis.effective import result_of
from rfkit.analysis.find_branches import BranchBlock, find_branch_blocks
from rfkit.analysis.image_stream import count_images, stream_images
from rfkit.analysis.input_gradients import GradientSum, input_gradient, unit_value
from rfkit.analysis.outputs import Output, pick_tensor
from rfkit.analysis.passes import (
    Pass,
    Settings,
    check_settings,
    choose,
    full_precision,
    layer_names,
    listed,
    maps_of,
    plan_passes,
)
from rfkit.analysis.unit_fields import UnitFields
from rfkit.analysis.units import Unit
from rfkit.analysis.untouched import untouched
from rfkit.hooks import replace
from rfkit.results.effective import EffectiveRF

__all__ = ["branch_effective_rf", "branch_labels", "gradient_through"]


def branch_effective_rf(
    model: nn.Module,
    images: Tensor | Iterable[Any],
    *,
    block: str | None = None,
    layer: str | None = None,
    unit: Unit = "centre",
    reduce: str = "abs",
    crop: str | bool = "auto",
    channels: int | list[int] | tuple[int, ...] | None = None,
    output: Output = None,
    batch_size: int = 1,
    progress: bool = True,
) -> dict[str, EffectiveRF]:
    """The effective receptive field of one unit through each branch of a block: branch label -> field.

    The same unit of the same forward pass throughout; the gradient is let through one branch's convolution at a time.
    "whole" is the field without such a restriction and "rest" what goes through none of the branches (a shortcut, an
    image-wide gate); "rest" is missing where there is nothing of it. With `reduce="signed"` the branches and the rest
    add up to the whole; with other reductions they need not, since signs cancel. A branch that contributes nothing has
    a map of zeros, for which measures are NaN.

    Args:
        model: any module with a block of parallel dilated branches, as `rfkit.analysis.find_branches` finds them.
        images: as for `rfkit.effective_rf`.
        block: name of the block; may be left out if there is only one.
        layer: layer whose unit is looked at, the block's 1x1 convolution or one after it, or "output". Default: the 1x1
            convolution.
        unit: "centre", (row, column), or a mask over the map, as for `rfkit.effective_rf`; one unit only.
        reduce: "abs", "relu", "square" or "signed".
        crop: "auto", True or False.
        channels: channels of the unit to add up; all of them by default.
        output: which part of the model's output, for `layer="output"`.
        batch_size: images in a forward pass.
        progress: whether to show a bar.

    Returns:
        The fields by label: "whole", the branches as "d1", "d3", ... (with the convolution's name where two have the
        same dilation), and "rest".

    Raises:
        ValueError: there is no such block or it is not clear which, a branch's convolution is not a module of its own
            or runs more than once, several units are given, or as for `rfkit.effective_rf`.

    Example:
        >>> import torch
        >>> from rfkit.models.registry import create_model
        >>> model = create_model("dwrseg_b", seed=0)
        >>> list(branch_effective_rf(model, torch.rand(3, 64, 96), block="stage4.2", layer="stage4.2", progress=False))
        ['whole', 'd1', 'd3', 'd5', 'rest']
    """
    check_settings(model, reduce=reduce, crop=crop, batch_size=batch_size)
    settings = Settings(unit, reduce, listed(channels), output, None, False)
    stream = stream_images(images, model, batch_size=batch_size)
    with untouched(model):
        first = next(stream)
        found = _block(find_branch_blocks(model, first[:1]), block)
        labels = branch_labels(model, found)
        with full_precision():
            fields = UnitFields(model, first.shape[1:], output)
            names = layer_names(model, layer or found.merge)
            if len(names) != 1:
                raise ValueError(f"layer={layer!r} means {len(names)} layers: {', '.join(names[:4])}; name one.")
            (entry,) = plan_passes(fields, names, settings, crop)
            sums: dict[str, GradientSum] = {}
            with Bar(total=count_images(images), desc="Effective RF", unit="image", disable=not progress) as bar:
                for batch in itertools.chain([first], stream):
                    _run(model, batch, entry, settings, fields, labels, sums)
                    bar.update(len(batch))
    sums["whole"].check_not_zero()
    order = ["whole", *labels.values(), *(["rest"] if not sums["rest"].is_zero else [])]
    return {
        label: dataclasses.replace(
            result_of(entry.layers[0], sums[label], settings, fields), branch="" if label == "whole" else label
        )
        for label in order
    }


def _block(blocks: list[BranchBlock], wanted: str | None) -> BranchBlock:
    if not blocks:
        raise ValueError("model has no block with parallel dilated branches, see rfkit.analysis.find_branches.")
    names = [entry.name for entry in blocks]
    if wanted is None:
        if len(blocks) > 1:
            raise ValueError(f"block=None: the model has {len(blocks)} blocks; name one of {', '.join(names)}.")
        return blocks[0]
    # A block's name as rfkit reports it may lie inside the module that a reader calls the block, or around it.
    fitting = [entry for entry in blocks if wanted in (entry.name, entry.merge) or entry.merge.startswith(f"{wanted}.")]
    if not fitting:
        raise unknown_name("block", wanted, names)
    if len(fitting) > 1:
        raise ValueError(f"block={wanted!r} holds {len(fitting)} blocks; name one of {', '.join(names)}.")
    return fitting[0]


def branch_labels(model: nn.Module, block: BranchBlock) -> dict[str, str]:
    """Name of each branch's convolution -> label, "d3", with the name where two have one dilation.

    Raises:
        ValueError: a branch's convolution is not a module of its own, or two branches use the same.
    """
    modules = dict(model.named_modules())
    counts = Counter(branch.dilation for branch in block.branches)
    labels = {}
    for branch in block.branches:
        if branch.name not in modules:
            raise ValueError(
                f"block {block.name!r}: branch {branch.name!r} is no module whose output can be held back."
            )
        twice = counts[branch.dilation] > 1
        labels[branch.name] = f"d{branch.dilation} ({branch.name})" if twice else f"d{branch.dilation}"
    if len(labels) != len(block.branches):
        raise ValueError(f"block {block.name!r}: two branches use one convolution, so they cannot be told apart.")
    return labels


def _run(
    model: nn.Module,
    batch: Tensor,
    entry: Pass,
    settings: Settings,
    fields: UnitFields,
    labels: dict[str, str],
    sums: dict[str, GradientSum],
) -> None:
    """Add the gradients of one batch through each branch, through all paths, and through no branch."""
    (layer,) = entry.layers
    part = batch if entry.box is None else batch[..., *entry.box.slices()]
    image = part.detach().clone().requires_grad_()
    outputs: dict[str, Tensor] = {}

    def note(name: str, _inputs: tuple[Any, ...], output: Any) -> Any:
        if name in outputs:
            raise ValueError(f"branch {name!r} runs more than once in a forward pass; its part cannot be told apart.")
        outputs[name] = pick_tensor(output)
        # What goes on is a copy, so that an operation in place leaves the branch's own output alone.
        return output.clone()

    with replace(model, list(labels), note):
        maps = maps_of(model, image, [layer.name], settings)[layer.name]
    if not layer.sums:
        choose(layer, maps, settings, fields)
        if len(layer.sums) != 1:
            raise ValueError(
                f"unit: {len(layer.sums)} units; the fields of branches are those of one unit or one mask."
            )
        units = layer.sums[0].units
        sums |= {name: GradientSum(layer.name, units, settings.reduce) for name in ("whole", *labels.values(), "rest")}
    units = layer.on_part(sums["whole"].units)
    value = unit_value(maps, units, settings.channels)
    name = sums["whole"].name
    sums["whole"].add(input_gradient(value, image, name=name, retain=True), value.detach())
    for branch, label in labels.items():
        sums[label].add(gradient_through(value, outputs[branch], image))
    with replace(model, list(labels), lambda _name, _inputs, output: output.detach()):
        maps = maps_of(model, image, [layer.name], settings)[layer.name]
    sums["rest"].add(_or_zero(unit_value(maps, units, settings.channels), image))


def gradient_through(value: Tensor, middle: Tensor, image: Tensor) -> Tensor:
    """The part of the gradient of the sum of `value` with respect to `image` that passes through `middle`.

    Raises:
        ValueError: `value` does not depend on `middle`.
    """
    (at,) = torch.autograd.grad(value.sum(), middle, retain_graph=True, allow_unused=True)
    if at is None:
        raise ValueError("layer: its unit does not depend on the block's branches; name the 1x1 convolution or later.")
    (gradient,) = torch.autograd.grad(middle, image, at, retain_graph=True)
    return gradient


def _or_zero(value: Tensor, image: Tensor) -> Tensor:
    found = None
    if value.requires_grad:
        (found,) = torch.autograd.grad(value.sum(), image, allow_unused=True)
    return torch.zeros_like(image) if found is None else found
