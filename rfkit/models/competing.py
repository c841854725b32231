"""The probe for any network: its blocks replaced by competing branches."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rfkit.hooks import find_layers, observe
from rfkit.nn.branches import check_dilations
from rfkit.nn.probe import CompetingBranches

__all__ = ["block_shapes", "block_stride", "probe", "target_blocks"]


def probe(
    model: nn.Module,
    *,
    dilations: Sequence[int] = (1, 3, 5),
    stages: Mapping[str, str | Sequence[str]] | None = None,
    region_ratio: float = 1.0,
    input_size: Sequence[int] = (3, 128, 256),
    seed: int | None = None,
) -> nn.Module:
    """A copy of `model` in which blocks are replaced by `CompetingBranches` with the same inputs and outputs.

    Everything else keeps its weights; the new blocks are freshly initialised. Train the result, then look at
    `rfkit.branch_weights`.

    Args:
        model: any network; it is not changed.
        dilations: dilation rates that compete in every block.
        stages: stage name -> names or patterns of the blocks to replace; of what a pattern matches, the outermost
            modules. Default: the blocks in `model.stages`, all stages but the stem.
        region_ratio: region maps per output channel of a block.
        input_size: (channels, height, width) of the image with which the blocks' shapes are measured.
        seed: draws the new weights from this seed, leaving the global generator as it was.

    Returns:
        The new module, in training mode if `model` was. Its `stages` mapping of blocks is kept as
        `.probed_stages` (stage -> names of the new blocks).

    Raises:
        ValueError: no stages are known, a name matches nothing, a block lies inside another one, is never called or
            takes and returns something else than one map, or its stride is not the same whole number in height and
            width.

    Reference: Wei et al., DWRSeg, section 4.2.
    """
    rates = check_dilations(dilations)
    targets = target_blocks(model, stages)
    shapes = block_shapes(model, [name for names in targets.values() for name in names], input_size)
    result = copy.deepcopy(model)
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        for name, (inputs, outputs) in shapes.items():
            stride = block_stride(name, inputs, outputs)
            block = CompetingBranches(outputs[1], inputs[1], dilations=rates, stride=stride, region_ratio=region_ratio)
            reference = next(model.get_submodule(name).parameters(), None)
            if reference is not None:
                block.to(device=reference.device, dtype=reference.dtype)
            block.train(model.get_submodule(name).training)
            _replace(result, name, block)
    setattr(result, "probed_stages", {stage: tuple(names) for stage, names in targets.items()})  # noqa: B010 (mypy)
    return result


def target_blocks(model: nn.Module, stages: Mapping[str, str | Sequence[str]] | None) -> dict[str, list[str]]:
    """Stage name -> full names of the blocks that `stages` means, as `probe` replaces them.

    Raises:
        ValueError: as for `probe`.
    """
    if stages is None:
        known = getattr(model, "stages", None)
        if not known:
            raise ValueError(
                f"stages: {type(model).__name__} does not list its stages; give stages={{'stage name': 'block names'}}."
            )
        stages = {stage.name: stage.blocks for stage in known if stage.name != "stem"}
    targets = {
        stage: [
            name for pattern in ([blocks] if isinstance(blocks, str) else blocks) for name in _outermost(model, pattern)
        ]
        for stage, blocks in stages.items()
    }
    names = [name for blocks in targets.values() for name in blocks]
    for name in names:
        if name == "":
            raise ValueError("stages: the whole network cannot be one block.")
        if names.count(name) > 1:
            raise ValueError(f"stages: block {name!r} is named twice.")
        inside = [other for other in names if name.startswith(f"{other}.")]
        if inside:
            raise ValueError(f"stages: block {name!r} lies inside block {inside[0]!r}; name one of them.")
    return targets


def _outermost(model: nn.Module, pattern: str) -> list[str]:
    """What `pattern` matches, without what lies inside another match: "layer1.*" means the blocks, not their parts."""
    names = list(find_layers(model, pattern))
    return [name for name in names if not any(name.startswith(f"{other}.") for other in names)]


def block_shapes(
    model: nn.Module, names: Sequence[str], input_size: Sequence[int]
) -> dict[str, tuple[torch.Size, torch.Size]]:
    """Block -> the shapes of the map that it takes and of the one that it returns, for an image of `input_size`.

    Raises:
        ValueError: a block is never called, or not from one N C H W map to another.
    """
    shapes: dict[str, tuple[torch.Size, torch.Size]] = {}

    def measure(name: str, inputs: tuple[Any, ...], output: Any) -> None:
        maps = [value for value in (*inputs, output) if isinstance(value, Tensor) and value.dim() == 4]
        if len(inputs) != 1 or len(maps) != 2:
            raise ValueError(
                f"block {name!r} takes {len(inputs)} inputs and returns a {type(output).__name__}; "
                "only a block from one N C H W map to another can be replaced."
            )
        if name in shapes and shapes[name] != (maps[0].shape, maps[1].shape):
            raise ValueError(f"block {name!r} is called with different shapes: {shapes[name][0]} and {maps[0].shape}.")
        shapes[name] = (maps[0].shape, maps[1].shape)

    twin = copy.deepcopy(model).eval()
    reference = next(twin.parameters(), torch.empty(0))
    with torch.no_grad(), observe(twin, names, measure):
        twin(torch.zeros(1, *input_size, device=reference.device, dtype=reference.dtype))
    for name in names:
        if name not in shapes:
            raise ValueError(f"block {name!r} is never called in the forward pass of {type(model).__name__}.")
    return {name: shapes[name] for name in names}


def block_stride(name: str, inputs: torch.Size, outputs: torch.Size) -> int:
    """The stride with which block `name` makes a map of shape `outputs` from one of shape `inputs`.

    Raises:
        ValueError: there is no whole one, the same in height and width, with the size rounded up.
    """
    for stride in range(1, 1 + min(inputs[2:])):
        if tuple(-(-side // stride) for side in inputs[2:]) == tuple(outputs[2:]):
            return stride
    raise ValueError(
        f"block {name!r} turns {tuple(inputs)} into {tuple(outputs)}: that is no whole stride, the same in height and "
        "width, with the size rounded up."
    )


def _replace(model: nn.Module, name: str, block: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, block)
