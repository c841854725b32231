"""Which blocks of a network can be replaced by competing branches, and to which stage each belongs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from rfkit.analysis.tracing.recording import Node, Record, Value, record
from rfkit.analysis.untouched import untouched
from rfkit.hooks import follow
from rfkit.models.competing import block_shapes, block_stride, target_blocks
from rfkit.results.found_stages import FoundBlock, FoundStage, FoundStages

__all__ = ["find_stages"]

_CONVOLUTIONS = {"conv2d", "convolution", "_convolution", "cudnn_convolution", "mkldnn_convolution"}
_JOINS = {"add", "cat"}
# What can make a map larger, beside "upsample_...". Padding does so too, but is no step of a decoder.
_ENLARGING = {"col2im", "grid_sampler", "grid_sampler_2d", "max_unpool2d", "pixel_shuffle"}


def find_stages(
    model: nn.Module,
    *,
    stages: Mapping[str, str | Sequence[str]] | None = None,
    input_size: Sequence[int] = (3, 128, 256),
) -> FoundStages:
    """The stages of a network and the blocks in them that `rfkit.probe` can replace.

    A network that publishes `stages` is taken at its word, except for its stem. Of any other the blocks are found in
    a forward pass: the outermost modules that take one map and return one, at most halve its size, hold a convolution
    with more than one tap, and join paths of their own by a sum or a concatenation (residual blocks and their kin).
    Where there are none, they are the innermost modules that hold one such convolution with what follows it. What
    reads the image itself (the stem), or maps that were enlarged before (the decoder), is left out. Blocks are grouped
    by the output stride of what they return; the stages are called "stride4", "stride8" and so on.

    Args:
        model: any network that takes one image; it is left as it was found.
        stages: stage name -> names or patterns of its blocks, instead of what is found.
        input_size: (channels, height, width) of the image on which it runs.

    Returns:
        The stages; `skipped` says what was left out, and why.

    Raises:
        ValueError: a name in `stages` matches nothing or no block, or there is no block that could be replaced.

    Example:
        >>> from rfkit.models.registry import create_model
        >>> [stage.name for stage in find_stages(create_model("dwrseg_b")).stages]
        ['stage2', 'stage3', 'stage4']
    """
    published = getattr(model, "stages", None)
    if stages is not None or published:
        names = target_blocks(model, stages)
        return FoundStages("given" if stages is not None else "published", _measured(model, names, input_size))
    found, skipped = _search(model, input_size)
    if not found:
        reasons = "; ".join(f"{name} {reason}" for name, reason in skipped)
        raise ValueError(
            f"stages: no block of {type(model).__name__} can be replaced by competing branches "
            f"({reasons or 'it has no convolution with more than one tap'}); name them, "
            "stages={'stage name': 'block names'}."
        )
    # Grouped by what they return: a block that halves the size belongs to the stage that it begins.
    groups: dict[str, list[str]] = {}
    for name, stride in found:
        groups.setdefault(f"stride{stride}", []).append(name)
    return FoundStages("found", _measured(model, groups, input_size), tuple(skipped))


def _measured(
    model: nn.Module, stages: Mapping[str, Sequence[str]], input_size: Sequence[int]
) -> tuple[FoundStage, ...]:
    """The stages with the channels and strides of their blocks."""
    shapes = block_shapes(model, [name for names in stages.values() for name in names], input_size)
    found = []
    for stage, names in stages.items():
        blocks = []
        for name in names:
            inputs, outputs = shapes[name]
            blocks.append(FoundBlock(name, inputs[1], outputs[1], block_stride(name, inputs, outputs)))
        found.append(FoundStage(stage, _output_stride(shapes[names[-1]][1], input_size), tuple(blocks)))
    return tuple(found)


def _output_stride(shape: Sequence[int], input_size: Sequence[int]) -> int:
    """Pixels between neighbouring units of a map, where sizes were rounded up on the way: a power of two if it can."""
    fitting = [
        stride
        for stride in range(1, 1 + max(input_size[1:]))
        if all(-(-side // stride) == units for side, units in zip(input_size[1:], shape[2:], strict=True))
    ]
    powers = [stride for stride in fitting if stride & (stride - 1) == 0]
    return (powers or fitting or [round(input_size[1] / shape[2])])[0]


# ---- the search -----------------------------------------------------------------------------------------------------


@dataclass
class _Call:
    """What a module was called with, and what it returned."""

    count: int = 0
    inputs: list[tuple[int, ...]] = field(default_factory=list)
    plain: bool = True
    output: tuple[int, ...] | None = None


def _search(model: nn.Module, input_size: Sequence[int]) -> tuple[list[tuple[str, int]], list[tuple[str, str]]]:
    """(block, output stride) in the order in which they run, and (module, reason) for what was left out."""
    with untouched(model):
        calls, found = _watched(model, input_size)
    facts = _Facts(found, calls)
    spatial = facts.modules_of(facts.spatial)
    joined = facts.own_layers(_JOINS)
    reasons = {name: facts.refusal(name) for name in calls if name in spatial}
    fit = [name for name, reason in reasons.items() if not reason]
    blocks = _outermost([name for name in fit if name in joined])
    if not blocks:
        blocks = _innermost([name for name in fit if not isinstance(model.get_submodule(name), nn.Conv2d)])
    blocks.sort(key=lambda name: facts.order[name])
    skipped = [(name, reason) for name, reason in reasons.items() if reason and not _related(name, blocks)]
    names = [name for name, _ in skipped]
    skipped = [(name, reason) for name, reason in skipped if not any(name.startswith(f"{other}.") for other in names)]
    return [(name, _output_stride(calls[name].output or (), input_size)) for name in blocks], skipped


def _watched(model: nn.Module, input_size: Sequence[int]) -> tuple[dict[str, _Call], Record]:
    """One forward pass: what every module took and returned, and every operation."""
    reference = next(model.parameters(), torch.empty(0))
    image = torch.zeros(1, *input_size, device=reference.device, dtype=reference.dtype)
    try:
        return _followed(model, image, meta=True)
    except Exception:
        # A network that looks at values cannot run where nothing is computed.
        try:
            return _followed(model, image, meta=False)
        except RuntimeError as error:
            raise ValueError(
                f"{type(model).__name__} does not run on an image of {tuple(input_size)} (channels, height, width): "
                f"{error}"
            ) from error


def _followed(model: nn.Module, image: Tensor, *, meta: bool) -> tuple[dict[str, _Call], Record]:
    calls: dict[str, _Call] = {}

    def enter(name: str, inputs: tuple[Any, ...]) -> None:
        call = calls.setdefault(name, _Call())
        call.count += 1
        call.inputs = [tuple(value.shape) for value in inputs if isinstance(value, Tensor)]
        call.plain = len(inputs) == 1

    def leave(name: str, output: Any) -> None:
        calls[name].output = tuple(output.shape) if isinstance(output, Tensor) else None

    with follow(model, enter, leave):
        return calls, record(model, image, meta=meta)


class _Facts:
    """What a forward pass tells of the modules of a network."""

    def __init__(self, found: Record, calls: Mapping[str, _Call]) -> None:
        self.calls = calls
        self.nodes = found.nodes
        self.order = {name: place for place, name in enumerate(calls)}
        # Values that depend on the image, and of those the ones behind an enlargement.
        self.local: set[Value] = {found.image} if found.image is not None else set()
        self.enlarged: set[Value] = set()
        self.spatial: list[Node] = []
        self._readers: dict[str, set[str]] = {}
        for node in found.nodes:
            self._follow(node, found.image)

    def _follow(self, node: Node, image: Value | None) -> None:
        maps = [value for value in node.operands if value in self.local]
        if not maps:
            return
        self.local.update(node.results)
        if any(value in self.enlarged for value in maps) or _enlarges(node, maps):
            self.enlarged.update(node.results)
        if node.name in _CONVOLUTIONS and _taps(node) > 1:
            self.spatial.append(node)
            for name in _holders(node.layer):
                marks = self._readers.setdefault(name, set())
                marks.update({"image"} if maps[0] is image else set())
                marks.update({"enlarged"} if maps[0] in self.enlarged else set())

    def modules_of(self, nodes: Sequence[Node]) -> set[str]:
        """The modules that run these operations, themselves or in a part of theirs; not the network."""
        return {name for node in nodes for name in _holders(node.layer) if name}

    def own_layers(self, names: set[str]) -> set[str]:
        """The modules that themselves run such an operation on two or more maps."""
        return {
            node.layer
            for node in self.nodes
            if node.name in names and sum(value in self.local for value in node.operands) > 1
        }

    def refusal(self, name: str) -> str:
        """Why a module that holds spatial convolutions cannot be a block; "" if it can."""
        call = self.calls[name]
        if call.count > 1:
            return f"runs {call.count} times"
        if not call.plain or len(call.inputs) != 1:
            return "does not take one map"
        if call.output is None or len(call.output) != 4 or len(call.inputs[0]) != 4:
            return "does not return one map"
        marks = self._readers.get(name, set())
        if "image" in marks:
            return "reads the image: the stem"
        if "enlarged" in marks:
            return "reads maps that were enlarged: the decoder"
        if call.output[2] > call.inputs[0][2]:
            return "enlarges its map"
        try:
            stride = block_stride(name, torch.Size(call.inputs[0]), torch.Size(call.output))
        except ValueError:
            return "has no whole stride"
        return "" if stride <= 2 else f"makes the map {stride} times smaller: more than a block"


def _enlarges(node: Node, maps: Sequence[Value]) -> bool:
    sides = [value.shape[2] for value in maps if len(value.shape) == 4]
    made = [value.shape[2] for value in node.results if len(value.shape) == 4]
    can = node.name in _ENLARGING or node.name.startswith("upsample") or bool(node.arguments.get("transposed"))
    return can and bool(sides and made) and max(made) > max(sides)


def _taps(node: Node) -> int:
    shape = node.arguments["weight"].shape
    return max(shape[2:]) if len(shape) == 4 and not node.arguments.get("transposed") else 1


def _holders(layer: str) -> list[str]:
    """The layer and all modules around it, innermost first."""
    parts = layer.split(".") if layer else []
    return [".".join(parts[:count]) for count in range(len(parts), -1, -1)]


def _outermost(names: Sequence[str]) -> list[str]:
    return [name for name in names if not any(name.startswith(f"{other}.") for other in names)]


def _innermost(names: Sequence[str]) -> list[str]:
    return [name for name in names if not any(other.startswith(f"{name}.") for other in names)]


def _related(name: str, blocks: Sequence[str]) -> bool:
    return any(f"{block}.".startswith(f"{name}.") or name.startswith(f"{block}.") for block in blocks)
