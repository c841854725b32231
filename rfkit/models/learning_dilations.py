"""Dilation rates of any network made learnable, and turned back into whole numbers.

`rfkit.learn_dilations` puts bounds from the receptive field on top of this.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from rfkit.hooks import find_layers
from rfkit.models.regseg import RegSeg
from rfkit.models.stages import Network
from rfkit.nn.branches import ParallelDilations
from rfkit.nn.learned_dilation import LearnedDilation

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["clamp_rates", "dilation_rates", "freeze", "has_learned_rates", "learned_layers", "parameter_groups",
           "rate_parameters", "replace_dilated", "set_bounds"]  # fmt: skip


def replace_dilated(
    model: nn.Module,
    *,
    layers: str | nn.Module | Sequence[str | nn.Module] | None = None,
    start: float | Mapping[str, float] | None = None,
    bound: float = math.inf,
) -> nn.Module:
    """A copy of `model` whose dilated convolutions are `LearnedDilation` with the same weights; see `learn_dilations`.

    Raises:
        ValueError: no convolution is found, one cannot learn its rate, or a rate is out of range; the message names
            the layer.
    """
    result = copy.deepcopy(model)
    chosen = _all_dilated(result) if layers is None else _named(result, _twins(model, result, layers))
    rates = _starts(result, chosen, start)
    learned: dict[int, LearnedDilation] = {}
    for name, conv in chosen.items():
        try:
            learned[id(conv)] = LearnedDilation(conv, rate=rates.get(name), bound=bound)
        except ValueError as error:
            raise ValueError(f"layer {name!r}: {error} Name the layers to learn with `layers`.") from error
    return _exchanged(result, learned)


def learned_layers(model: nn.Module) -> dict[str, LearnedDilation]:
    """The convolutions of `model` with a learned rate, by their full names.

    Raises:
        ValueError: there is none.
    """
    found = {name: module for name, module in model.named_modules() if isinstance(module, LearnedDilation)}
    if not found:
        raise ValueError(f"model: {type(model).__name__} has no learned dilation rates; make it with learn_dilations.")
    return found


def has_learned_rates(model: nn.Module) -> bool:
    """Whether any convolution of `model` learns its dilation rate."""
    return any(isinstance(module, LearnedDilation) for module in model.modules())


def dilation_rates(model: nn.Module) -> pd.DataFrame:
    """The learned rates of `model` as they are now, one row per convolution.

    Columns: `layer` (full name of the convolution), `branch` (by the rate it had before, such as "d3"), `rate`, `bound`
    (the largest rate allowed).

    Raises:
        ValueError: the model has no learned rates.
    """
    import pandas as pd

    rows = [
        {"layer": name, "branch": layer.branch, "rate": float(layer.rate.detach()), "bound": layer.bound}
        for name, layer in learned_layers(model).items()
    ]
    return pd.DataFrame(rows)


def rate_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The learned rates of `model`, one scalar parameter per convolution.

    Raises:
        ValueError: the model has no learned rates.
    """
    return [layer.rate for layer in learned_layers(model).values()]


def parameter_groups(model: nn.Module, *, rate_learning_rate: float) -> list[dict[str, Any]]:
    """Groups for an optimiser: all other parameters that are trained, then the rates with a learning rate of their own.

    Rates are not decayed: decay would pull them towards zero. Call `clamp_rates` after every step.

    Args:
        model: network with learned rates.
        rate_learning_rate: learning rate of the rates.

    Raises:
        ValueError: the model has no learned rates.

    Example:
        >>> import torch
        >>> model = replace_dilated(nn.Sequential(nn.Conv2d(3, 3, 3, padding=2, dilation=2)))
        >>> optimizer = torch.optim.SGD(parameter_groups(model, rate_learning_rate=0.5), lr=0.01, weight_decay=1e-4)
        >>> [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups]
        [(0.01, 0.0001), (0.5, 0.0)]
    """
    rates = [rate for rate in rate_parameters(model) if rate.requires_grad]
    known = {id(rate) for rate in rate_parameters(model)}
    others = [parameter for parameter in model.parameters() if parameter.requires_grad and id(parameter) not in known]
    groups: list[dict[str, Any]] = [
        {"params": others},
        {"params": rates, "lr": rate_learning_rate, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def clamp_rates(model: nn.Module) -> None:
    """Move every learned rate of `model` into [1, its bound], in place. To be called after every optimiser step.

    Raises:
        ValueError: the model has no learned rates.
    """
    for layer in learned_layers(model).values():
        layer.clamp()


def set_bounds(model: nn.Module, bounds: float | Mapping[str, float]) -> None:
    """Give the learned rates of `model` new bounds, in place; a rate above its bound is moved to it.

    Args:
        model: network with learned rates.
        bounds: one for all, or layer -> bound. Bounds below 1, which no rate can keep, count as 1. Layers that are not
            named keep their bounds.

    Raises:
        ValueError: the model has no learned rates, or a layer that is named has none.
    """
    layers = learned_layers(model)
    each = bounds if isinstance(bounds, Mapping) else dict.fromkeys(layers, bounds)
    for name, bound in each.items():
        if name not in layers:
            raise ValueError(f"bounds: {name!r} is no layer with a learned rate; there are {', '.join(layers)}.")
        if math.isnan(bound):
            raise ValueError(f"bounds: the bound of {name!r} is not a number.")
        layers[name].set_bound(max(1.0, bound))


def freeze(model: nn.Module) -> nn.Module:
    """An ordinary copy of `model`: every learned rate is rounded to the nearest whole one that its bound allows.

    Halves go up. The copy has the modules and parameter names of the network that the rates were learned for, and no
    parameter for a rate; its paddings follow the rates, so that all sizes stay. What a network publishes of its
    dilation rates (`stages`, `dilations` of blocks) is brought up to date. To train it anew, draw its weights anew.

    A network of the registry also says so in its options: RegSeg by its option `dilations`, with which `create_model`
    builds the same; others by `learned_dilations` (layer -> rate), which `create_model` refuses, so that weights saved
    from it are never read into a network with other rates unnoticed. `load_weights` reads them into another copy.

    Raises:
        ValueError: the model has no learned rates, or one is NaN.

    Example:
        >>> model = replace_dilated(nn.Sequential(nn.Conv2d(3, 3, 3, padding=2, dilation=2)), start=4.3)
        >>> freeze(model)
        Sequential(
          (0): Conv2d(3, 3, kernel_size=(3, 3), stride=(1, 1), padding=(4, 4), dilation=(4, 4))
        )
    """
    result = copy.deepcopy(model)
    layers = learned_layers(result)
    result = _exchanged(result, {id(layer): layer.frozen() for layer in layers.values()})
    for module in result.modules():
        if isinstance(module, ParallelDilations):
            module.dilations = tuple(_rate(conv) for conv in module.convs)
    if isinstance(result, Network):
        changed = {name: _rate(result.get_submodule(name)) for name in layers}
        _publish(result, {name: rate for name, rate in changed.items() if rate != _rate(layers[name])})
    return result


def _publish(model: Network, changed: Mapping[str, int]) -> None:
    """Bring what a network says of its dilation rates up to date: the rates of `changed` layers are new."""
    stages = []
    for stage in model.stages:
        mine = any(name.startswith(f"{block}.") for name in changed for block in stage.blocks)
        found = {rate for block in stage.blocks for rate in getattr(model.get_submodule(block), "dilations", ())}
        stages.append(dataclasses.replace(stage, dilations=tuple(sorted(found))) if mine and found else stage)
    model.stages = tuple(stages)
    if not changed or not hasattr(model, "options"):
        return
    dilated = model.stages[-1].blocks[1:]
    inside = tuple(f"{block}.branches." for block in dilated)
    if isinstance(model, RegSeg) and all(name.startswith(inside) for name in changed):
        rates = [list(model.get_submodule(block).dilations) for block in dilated]  # type: ignore[arg-type]
        model.options = {**model.options, "dilations": rates}
    else:
        model.options = {**model.options, "learned_dilations": dict(changed)}


def _rate(conv: nn.Module) -> int:
    assert isinstance(conv, nn.Conv2d)
    return max(conv.dilation)


def _all_dilated(model: nn.Module) -> dict[str, nn.Conv2d]:
    """Every dilated convolution, and every branch of a declared parallel block with several."""
    branches = {
        id(conv)
        for module in model.modules()
        if isinstance(module, ParallelDilations) and len(module.convs) > 1
        for conv in module.convs
    }
    found = {
        name: module
        for name, module in _spatial(model).items()
        if not isinstance(module, LearnedDilation) and (_rate(module) > 1 or id(module) in branches)
    }
    if not found:
        raise ValueError(
            f"model: {type(model).__name__} has no dilated convolution; name those that shall learn with `layers`."
        )
    return found


def _named(model: nn.Module, layers: str | nn.Module | Sequence[str | nn.Module]) -> dict[str, nn.Conv2d]:
    """The spatial convolutions that `layers` means, or that lie inside what it means."""
    inside = tuple(name for name in find_layers(model, layers))
    found = {
        name: conv
        for name, conv in _spatial(model).items()
        if any(name == other or other == "" or name.startswith(f"{other}.") for other in inside)
    }
    if not found:
        raise ValueError(f"layers: there is no convolution with more than one tap in {', '.join(inside)}.")
    return found


def _spatial(model: nn.Module) -> dict[str, nn.Conv2d]:
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d) and max(module.kernel_size) > 1
    }


def _twins(
    model: nn.Module, twin: nn.Module, layers: str | nn.Module | Sequence[str | nn.Module]
) -> list[str | nn.Module]:
    """`layers` with the modules of `model` replaced by those of its copy."""
    wanted = [layers] if isinstance(layers, str | nn.Module) else list(layers)
    return [
        layer if isinstance(layer, str) else twin.get_submodule(next(iter(find_layers(model, layer))))
        for layer in wanted
    ]


def _starts(
    model: nn.Module, chosen: Mapping[str, nn.Conv2d], start: float | Mapping[str, float] | None
) -> dict[str, float]:
    """Layer -> rate to begin with, where it is not the layer's own."""
    if start is None:
        return {}
    if not isinstance(start, Mapping):
        return dict.fromkeys(chosen, float(start))
    rates: dict[str, float] = {}
    for pattern, rate in start.items():
        matched = [name for name in find_layers(model, pattern) if name in chosen]
        if not matched:
            raise ValueError(f"start: {pattern!r} names no layer that learns its rate; there are {', '.join(chosen)}.")
        rates |= dict.fromkeys(matched, float(rate))
    return rates


def _exchanged(model: nn.Module, modules: Mapping[int, nn.Module]) -> nn.Module:
    """`model`, in place, with modules exchanged: id of the old one -> the new one, under every name it has."""
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if id(module) in modules:
            if not name:
                return modules[id(module)]
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, modules[id(module)])
    return model
