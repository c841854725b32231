"""The two steps of a block made visible: region maps (RR), what the dilated convolutions make of them (SR)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from rfkit.analysis.connected import label_regions
from rfkit.analysis.images import as_batches, as_picture
from rfkit.analysis.stages import stages_of
from rfkit.analysis.untouched import untouched
from rfkit.hooks import capture, find_layers
from rfkit.results.regions import RegionMap, RegionMaps, RegionStatistics

__all__ = ["region_maps", "region_statistics"]

# A channel that is active nowhere or everywhere shows no region.
_ACTIVE_SHARE = (0.05, 0.60)
_RULE = (
    "for each branch, of the region channels active on 5 to 60 % of the units, those with the largest spatial standard "
    "deviation"
)


@dataclass(frozen=True)
class _Steps:
    """Where a block's two steps are, and which channels of one belong to which of the other.

    `reads` holds, for each branch, the region channels it reads; `writes` for each of them its semantic channels.
    """

    name: str
    region: str
    semantic: str | None
    dilations: tuple[int, ...]
    reads: tuple[np.ndarray, ...]
    writes: tuple[np.ndarray, ...]


def region_maps(
    model: nn.Module,
    image: Tensor,
    *,
    blocks: str | Sequence[str] | None = None,
    dilations: int | Sequence[int] | None = None,
    channels: int | Sequence[int] = 1,
    layers: Mapping[str, str | None] | None = None,
) -> RegionMaps:
    """Region and semantic maps of one image, as raw numbers, for chosen channels of chosen blocks.

    Which channels are shown decides what the figure seems to say, so the choice follows a rule, which the result
    states: for each branch, of the region channels that are active (above zero) on 5 to 60 % of the units, those with
    the largest standard deviation over the map; if there are too few, the others follow in the same order; ties go to
    the lower index. Where a region channel has several semantic channels (channel multiplier 2 of d1), the one with the
    larger standard deviation is taken. The model is left as it was found.

    Args:
        model: a network whose blocks have `region` and `semantic` (DWRSeg and the probe), or, with `layers`, any.
        image: 3 H W or 1 3 H W; 8 bit, or normalised as the model takes it.
        blocks: names or patterns of blocks; by default the last block of every stage.
        dilations: dilation rates of the branches to show; all by default.
        channels: how many channels per branch, or the indices of region channels; an index that a branch does not read
            is skipped for that branch.
        layers: for other networks, name of a layer that gives region maps -> name of the layer that filters each of
            them by itself, or None.

    Returns:
        The maps, block by block and branch by branch.

    Raises:
        ValueError: no such block, branch or channel; a layer does not return one map per channel.

    Example:
        >>> import torch
        >>> from rfkit.models.registry import create_model
        >>> image = torch.zeros(3, 64, 96, dtype=torch.uint8)
        >>> maps = region_maps(create_model("dwrseg_b", seed=0), image, blocks="stage4.2")
        >>> [entry.dilation for entry in maps.maps]
        [1, 3, 5]

    Reference: Wei et al., DWRSeg, section 3.2, Fig. 5.
    """
    batches = as_batches(image, model)
    if len(batches) != 1:
        raise ValueError(f"image holds {len(batches)} images; give one.")
    wanted = (dilations,) if isinstance(dilations, int) else dilations
    chosen = _named_steps(model, layers) if layers is not None else _steps(model, blocks, last=True)
    outputs = _run(model, batches[0], chosen)
    _, stages = stages_of(model, [steps.name for steps in chosen])
    maps = [
        entry
        for steps, stage in zip(chosen, stages, strict=True)
        for entry in _maps(_with_channels(steps, outputs), str(stage), outputs, batches[0].shape, wanted, channels)
    ]
    if not maps:
        raise ValueError(
            f"no map is left: blocks {', '.join(steps.name for steps in chosen)} have no branch with "
            f"dilations={dilations!r} that reads channels={channels!r}."
        )
    rule = _RULE if isinstance(channels, int) else "channels named by hand"
    return RegionMaps(as_picture(image).numpy(), tuple(maps), rule)


def region_statistics(
    model: nn.Module,
    images: Tensor | Sequence[Tensor],
    *,
    blocks: str | Sequence[str] | None = None,
    layers: Sequence[str] | None = None,
    threshold: float = 0.0,
    connectivity: int = 4,
    seed: int = 0,
) -> RegionStatistics:
    """Number, size and compactness of the activated regions of region maps: "concise maps of region form" as numbers.

    A unit is activated if its value is above `threshold`; regions are connected sets of such units. As a yardstick, the
    same number of activated units is also scattered at random over each map; where more than about 60 % of the units
    are active (40 % with 8 neighbours), scattered units all touch each other, and that yardstick says nothing. Behind
    batch norm about half of them are, hence 4 neighbours by default. The model is left as it was found.

    Args:
        model: a network whose blocks have `region`, or, with `layers`, any.
        images: 3 H W or N 3 H W, or a list of these; 8 bit, or normalised as the model takes them.
        blocks: names or patterns of blocks; all by default.
        layers: for other networks, names or patterns of the layers whose outputs are looked at.
        threshold: in units of the feature map. 0 is what ReLU leaves; without ReLU it still means "above zero".
        connectivity: 4 (side neighbours) or 8 (also diagonal ones).
        seed: seed of the scattering.

    Returns:
        One entry per image, block and channel; `to_frame()` and `summary()` give them as tables.

    Raises:
        ValueError: no such block or layer, or `connectivity` is neither 4 nor 8.
    """
    chosen = (
        _named_steps(model, {name: None for name in find_layers(model, list(layers))})
        if layers is not None
        else _steps(model, blocks, last=False)
    )
    _, stages = stages_of(model, [steps.name for steps in chosen])
    generator = np.random.default_rng(seed)
    columns: list[dict[str, np.ndarray]] = []
    for index, batch in enumerate(as_batches(images, model)):
        outputs = _run(model, batch, chosen)
        for steps, stage in zip(chosen, stages, strict=True):
            maps = outputs[steps.region]
            measured = _measure(maps, threshold, connectivity, generator)
            branch, dilation = _branch_of_channel(steps, len(maps))
            columns.append(
                {
                    "stage": np.full(len(maps), stage),
                    "block": np.full(len(maps), steps.name),
                    "branch": branch,
                    "dilation": dilation,
                    "image": np.full(len(maps), index),
                    "channel": np.arange(len(maps)),
                    "units": np.full(len(maps), maps[0].size),
                    "stride": np.full(len(maps), np.sqrt(batch[0, 0].numel() / maps[0].size)),
                    **measured,
                }
            )
    joined = {name: np.concatenate([entry[name] for entry in columns]) for name in columns[0]}
    return RegionStatistics(**joined, threshold=threshold, connectivity=connectivity)


def _steps(model: nn.Module, blocks: str | Sequence[str] | None, *, last: bool) -> list[_Steps]:
    """The blocks meant by `blocks`; without it all, or (`last`) the last of every stage."""
    candidates = {
        name: module for name, module in model.named_modules() if isinstance(getattr(module, "region", None), nn.Module)
    }
    if not candidates:
        raise ValueError(f"{type(model).__name__} has no blocks with `region`; name layers with layers=...")
    if blocks is not None:
        found = find_layers(model, blocks if isinstance(blocks, str) else list(blocks))
        candidates = {name: module for name, module in candidates.items() if name in found}
        if not candidates:
            raise ValueError(f"blocks={blocks!r} names {', '.join(list(found)[:4])}: none of them has `region`.")
    elif last:
        order, stages = stages_of(model, list(candidates))
        final = {stage: name for name, stage in zip(candidates, stages, strict=True)}
        candidates = {final[stage]: candidates[final[stage]] for stage in order}
    return [_of_block(name, module) for name, module in candidates.items()]


def _of_block(name: str, block: nn.Module) -> _Steps:
    prefix = f"{name}." if name else ""
    semantic = getattr(block, "semantic", None)
    branches = getattr(semantic, "branches", None)
    if branches is None:
        return _Steps(name, f"{prefix}region", None, (), (), ())
    reads, writes, start, out = [], [], 0, 0
    for width, out_width in zip(branches.in_widths, branches.out_widths, strict=True):
        reads.append(np.arange(start, start + width))
        writes.append(np.arange(out, out + out_width).reshape(width, -1))
        start, out = (0 if branches.shared else start + width), out + out_width
    return _Steps(name, f"{prefix}region", f"{prefix}semantic", tuple(branches.dilations), tuple(reads), tuple(writes))


def _named_steps(model: nn.Module, layers: Mapping[str, str | None]) -> list[_Steps]:
    find_layers(model, [name for pair in layers.items() for name in pair if name is not None])
    return [_Steps(region, region, semantic, (), (), ()) for region, semantic in layers.items()]


def _with_channels(steps: _Steps, outputs: Mapping[str, np.ndarray]) -> _Steps:
    """For steps without declared branches, one "branch" that reads all channels."""
    if steps.reads:
        return steps
    width = len(outputs[steps.region])
    reads = (np.arange(width),)
    if steps.semantic is None:
        return _Steps(steps.name, steps.region, None, (0,), reads, (np.zeros((width, 0), int),))
    out = len(outputs[steps.semantic])
    if out % width:
        raise ValueError(
            f"layers: {steps.semantic!r} returns {out} channels for the {width} of {steps.region!r}; it does not "
            "filter each of them by itself."
        )
    return _Steps(steps.name, steps.region, steps.semantic, (0,), reads, (np.arange(out).reshape(width, -1),))


def _run(model: nn.Module, image: Tensor, chosen: Sequence[_Steps]) -> dict[str, np.ndarray]:
    """The outputs, (channels, height, width), of all layers in `chosen`."""
    names = [name for steps in chosen for name in (steps.region, steps.semantic) if name is not None]
    with untouched(model), capture(model, names) as records:
        model(image)
    outputs = {}
    for name in names:
        output = records.get(name)
        if not isinstance(output, Tensor) or output.dim() != 4:
            came = "did not run" if output is None else "does not return one N C H W map"
            raise ValueError(f"layer {name!r} {came}; it cannot be shown as maps.")
        outputs[name] = output[0].float().cpu().numpy()
    return outputs


def _maps(
    steps: _Steps,
    stage: str,
    outputs: Mapping[str, np.ndarray],
    image_shape: Sequence[int],
    dilations: Sequence[int] | None,
    channels: int | Sequence[int],
) -> list[RegionMap]:
    region = outputs[steps.region]
    semantic = None if steps.semantic is None else outputs[steps.semantic]
    _check_channels(channels, len(region), steps.name)
    stride = (image_shape[2] / region.shape[1], image_shape[3] / region.shape[2])
    entries = []
    for branch, dilation in enumerate(steps.dilations):
        if dilation and dilations is not None and dilation not in dilations:
            continue
        reads, writes = steps.reads[branch], steps.writes[branch]
        picked = (
            _strongest(region[reads], channels)
            if isinstance(channels, int)
            else np.flatnonzero(np.isin(reads, channels))
        )
        for position in picked:
            out, filtered = -1, np.zeros((0, 0), np.float32)
            if semantic is not None:
                own = writes[position]
                out = int(own[np.argmax(semantic[own].std(axis=(1, 2)))])
                filtered = semantic[out]
            entries.append(
                RegionMap(
                    stage=stage,
                    block=steps.name,
                    branch=branch if dilation else -1,
                    dilation=dilation,
                    channel=int(reads[position]),
                    semantic_channel=out,
                    region=region[reads[position]],
                    semantic=filtered,
                    stride=stride,
                )
            )
    return entries


def _check_channels(channels: int | Sequence[int], width: int, name: str) -> None:
    if isinstance(channels, int):
        if channels < 1:
            raise ValueError(f"channels={channels} must be at least 1, or a list of region channels.")
        return
    for channel in channels:
        if not 0 <= channel < width:
            raise ValueError(f"channels: {channel} is not a region channel of {name!r}, which has 0 to {width - 1}.")


def _strongest(maps: np.ndarray, count: int) -> np.ndarray:
    """Indices of `count` of `maps` by the rule in `region_maps`, the strongest first."""
    share = (maps > 0).mean(axis=(1, 2))
    unfit = (share < _ACTIVE_SHARE[0]) | (share > _ACTIVE_SHARE[1])
    # The last key counts most; lexsort is stable, so ties keep the order of the channels.
    return np.lexsort((-maps.std(axis=(1, 2)), unfit))[:count]


def _measure(
    maps: np.ndarray, threshold: float, connectivity: int, generator: np.random.Generator
) -> dict[str, np.ndarray]:
    active = maps > threshold
    labels = label_regions(active, connectivity=connectivity)
    scattered = generator.permuted(active.reshape(len(maps), -1), axis=1).reshape(active.shape)
    return {
        "active": active.sum(axis=(1, 2)),
        "regions": labels.max(axis=(1, 2)),
        "largest": _largest(labels),
        "scattered": label_regions(scattered, connectivity=connectivity).max(axis=(1, 2)),
        "concentration": _concentration(maps),
    }


def _largest(labels: np.ndarray) -> np.ndarray:
    """Units of the largest region of each map."""
    most = int(labels.max()) + 1
    sizes = np.bincount((labels + most * np.arange(len(labels))[:, None, None]).ravel(), minlength=most * len(labels))
    sizes = sizes.reshape(len(labels), most)
    sizes[:, 0] = 0  # Background.
    return sizes.max(axis=1)


def _concentration(maps: np.ndarray) -> np.ndarray:
    """Share of each map's positive values that its strongest tenth of units holds; NaN where there are none."""
    values = np.sort(np.maximum(maps.reshape(len(maps), -1), 0).astype(float), axis=1)
    total = values.sum(axis=1)
    strongest = values[:, -max(1, round(values.shape[1] / 10)) :].sum(axis=1)
    return np.divide(strongest, total, out=np.full(len(maps), np.nan), where=total > 0)


def _branch_of_channel(steps: _Steps, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Branch and dilation of each region channel; -1 and 0 where several branches or none read it."""
    readers = [[branch for branch, reads in enumerate(steps.reads) if channel in reads] for channel in range(width)]
    branch = np.array([found[0] if len(found) == 1 else -1 for found in readers])
    dilation = np.array([steps.dilations[found[0]] if len(found) == 1 else 0 for found in readers])
    return branch, dilation
