"""What can be said of a suggestion without training it: its cost, its bounds, its holes, its receptive field."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from rfkit.analysis.coverage import gridding
from rfkit.analysis.dilation_bounds import dilation_bound
from rfkit.analysis.theoretical import Graph, trace
from rfkit.cost import multiply_adds
from rfkit.models.competing import block_shapes
from rfkit.results.dilation_bounds import DilationBounds
from rfkit.results.found_stages import FoundStage, FoundStages

__all__ = ["Structure", "compare"]


@dataclass(frozen=True)
class Structure:
    """One stage, in the network as it is, in the probe, and with the suggested blocks; see `StageAdvice`."""

    bound: float
    bound_kept: bool | None
    contiguous: bool | None
    coverage: float
    field_before: float
    field_after: float
    cost_before: int
    cost_probe: int
    cost_after: int


def compare(
    found: FoundStages,
    networks: tuple[nn.Module, nn.Module, nn.Module],
    rates: Mapping[str, Sequence[int]],
    input_size: Sequence[int],
) -> dict[str, Structure]:
    """Stage -> what its blocks are like.

    Args:
        found: the stages.
        networks: yours, the probe, and the suggested one; blocks have the same names in all.
        rates: stage -> suggested dilation rates.
        input_size: (channels, height, width) of the image.
    """
    own, probe, suggested = networks
    names = [block.name for stage in found.stages for block in stage.blocks]
    shapes = block_shapes(own, names, input_size)
    before, after = trace(own, input_size), trace(suggested, input_size)
    bounds = dilation_bound(suggested, input_size)
    result = {}
    for stage in found.stages:
        costs = [
            sum(multiply_adds(network.get_submodule(block.name), shapes[block.name][0]) for block in stage.blocks)
            for network in (own, probe, suggested)
        ]
        result[stage.name] = Structure(
            **_bounds(stage, bounds),
            **_holes(stage, bounds, rates[stage.name]),
            field_before=_field(before, stage),
            field_after=_field(after, stage),
            cost_before=costs[0],
            cost_probe=costs[1],
            cost_after=costs[2],
        )
    return result


def _of_stage(stage: FoundStage, bounds: DilationBounds) -> list[Any]:
    prefixes = tuple(f"{block.name}." for block in stage.blocks)
    return [layer for layer in bounds.layers if layer.layer.startswith(prefixes)]


def _bounds(stage: FoundStage, bounds: DilationBounds) -> dict[str, Any]:
    dilated = [layer for layer in _of_stage(stage, bounds) if layer.rate > 1]
    kept = [layer.kept for layer in dilated]
    least = min((layer.bound for layer in dilated), default=math.nan)
    return {"bound": least, "bound_kept": False if False in kept else None if None in kept else True}


def _holes(stage: FoundStage, bounds: DilationBounds, rates: Sequence[int]) -> dict[str, Any]:
    """Whether the stack of blocks leaves pixels out along an axis, the field before it taken as without holes."""
    layers = _of_stage(stage, bounds)
    if not layers or layers[0].reason:
        return {"contiguous": None, "coverage": math.nan}
    stack: list[Any] = []
    strides: list[int] = []
    for block in stage.blocks:
        stack += [1, *([tuple(rates)] if tuple(rates) != (1,) else [])]
        strides += [block.stride, *([1] if tuple(rates) != (1,) else [])]
    found = gridding(
        stack, strides=strides, field=int(layers[0].size), stride=round(layers[0].output_stride), plane=False
    )
    return {"contiguous": found.contiguous, "coverage": float(found.coverage)}


def _field(graph: Graph, stage: FoundStage) -> float:
    """Receptive field behind the last block, in pixels; NaN where it is not known."""
    fields = graph[stage.blocks[-1].name]
    return math.nan if fields.status == "unknown" else float(fields.measures(0)["size_max"])  # type: ignore[arg-type]
