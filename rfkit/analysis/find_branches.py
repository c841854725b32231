"""Where dilation rates work side by side in a network: the blocks whose branches a 1x1 convolution weighs.

A block counts if two or more spatial convolutions read the same tensor or parts of one split, their dilations are not
all equal, and they meet in a concatenation that reaches a 1x1 convolution through norm, activation or a per-channel
gate alone. Within a branch, norm, activation, gate and point-wise convolutions may follow the spatial convolution
(a depth-wise separable branch). A module that declares its branches (attributes `convs`, `dilations` and `shared`)
counts even if its dilations happen to be equal. A sum on the way, as in a hierarchical fusion of the branches, mixes
them, so such a block does not count.
"""

from __future__ import annotations

import os.path
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from rfkit.analysis.tracing.recording import Node, Record, Value, record

__all__ = ["Branch", "BranchBlock", "find_branch_blocks"]

_SAME = {"alias", "clone", "contiguous", "detach", "dropout", "expand", "lift_fresh", "native_dropout", "reshape", "to",
         "view", "_reshape_alias", "_to_copy", "_unsafe_view"}  # fmt: skip
_PARTS = {"chunk", "index_select", "narrow", "slice", "split", "split_with_sizes", "unsafe_split"}
_PADS = {"constant_pad_nd", "pad", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "replication_pad1d",
         "replication_pad2d", "replication_pad3d"}  # fmt: skip
# Operation -> which argument holds gamma.
_NORMS = {"batch_norm": 1, "native_batch_norm": 1, "_native_batch_norm_legit": 1, "cudnn_batch_norm": 1,
          "_native_batch_norm_legit_no_training": 1, "_batch_norm_no_update": 1, "_batch_norm_with_update": 1,
          "miopen_batch_norm": 1, "native_group_norm": 1}  # fmt: skip
# Activations that ATen does not mark as point-wise; their first argument is the map.
_ACTIVATIONS = {"hardswish", "log_sigmoid_forward", "prelu", "rrelu_with_noise", "_prelu_kernel"}


@dataclass(frozen=True)
class Branch:
    """One spatial convolution of a block.

    Attributes:
        name: full name of the convolution.
        dilation: its dilation rate; along the axis in which its kernel extends, the largest if they differ.
        kernel: its kernel size.
        channels: input channels of the 1x1 convolution that it feeds, in order.
    """

    name: str
    dilation: int
    kernel: tuple[int, ...]
    channels: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class BranchBlock:
    """Parallel branches and the 1x1 convolution that weighs them.

    Attributes:
        name: innermost module that holds the branches and the 1x1 convolution; the 1x1 convolution itself if only the
            whole network does.
        merge: full name of the 1x1 convolution.
        weight: its weight as used in the forward pass, (out_channels, in_channels / groups).
        groups: its number of groups.
        branches: the branches, in the order of their channels.
        gamma: per input channel the scale of the last norm before the 1x1 convolution; NaN without norm.
        gates: names of what scales channels between the branches and the 1x1 convolution (an attention's last layer,
            a learned scale).
        runs: how often it ran on the image.
    """

    name: str
    merge: str
    weight: Tensor
    groups: int
    branches: tuple[Branch, ...]
    gamma: Tensor
    gates: tuple[str, ...]
    runs: int = 1


@dataclass(frozen=True, eq=False)
class _Segment:
    """Neighbouring channels with a common origin: a spatial convolution, or (None) anything else."""

    width: int
    origin: Node | None = None
    gamma: Tensor | None = None
    gates: tuple[str, ...] = ()

    def agrees(self, other: _Segment) -> bool:
        return self.origin is not None and self.origin is other.origin and self.width == other.width


def find_branch_blocks(model: nn.Module, image: Tensor) -> list[BranchBlock]:
    """The blocks of `model` with parallel dilated branches, in the order in which they run.

    Call it inside `rfkit.analysis.untouched.untouched`.

    Args:
        model: any module that takes one image.
        image: input to run it on, in the form the model takes; small, but so large that no map before a 1x1
            convolution has shrunk to a single unit.
    """
    tracer = _Tracer(record(model, image), _declared(model))
    blocks: dict[tuple[str, ...], BranchBlock] = {}
    for block in tracer.blocks():
        # A block that runs several times is one block.
        key = (block.merge, *(branch.name for branch in block.branches))
        blocks[key] = replace(blocks[key], runs=blocks[key].runs + 1) if key in blocks else block
    return list(blocks.values())


def _declared(model: nn.Module) -> list[set[str]]:
    """For each module that declares parallel branches, the names of their weights."""
    found = []
    for name, module in model.named_modules():
        convs, dilations = getattr(module, "convs", None), getattr(module, "dilations", None)
        if isinstance(convs, nn.ModuleList) and isinstance(dilations, Sequence) and hasattr(module, "shared"):
            prefix = f"{name}.convs" if name else "convs"
            found.append({f"{prefix}.{index}" for index in range(len(convs))})
    return found


@dataclass
class _Tracer:
    record: Record
    declared: list[set[str]]
    _seen: dict[Value, list[_Segment]] = field(default_factory=dict)

    def blocks(self) -> Iterator[BranchBlock]:
        for node in self.record.nodes:
            if _is_pointwise_convolution(node):
                segments = self.segments(node.args[0])
                for origins in self._groups(segments):
                    yield _block(node, segments, origins)

    def _groups(self, segments: list[_Segment]) -> Iterator[list[Node]]:
        """Sets of convolutions among the origins that read the same tensor, where they count."""
        groups: dict[tuple[object, int], list[Node]] = {}
        for segment in segments:
            if segment.origin is not None:
                group = groups.setdefault(_source(segment.origin.args[0]), [])
                if segment.origin not in group:
                    group.append(segment.origin)
        for group in groups.values():
            names = {_weight_name(node) for node in group}
            declared = any(names <= names_of_block for names_of_block in self.declared)
            if len(group) > 1 and (declared or len({_dilation(node) for node in group}) > 1):
                yield group

    def segments(self, value: Value) -> list[_Segment]:
        """The channels of `value` by origin."""
        if value not in self._seen:
            self._seen[value] = self._find_segments(value)
        return self._seen[value]

    def _find_segments(self, value: Value) -> list[_Segment]:
        node, unknown = value.node, [_Segment(value.shape[1] if len(value.shape) > 1 else 1)]
        if node is None or value.index > 0 or len(value.shape) < 3:
            return unknown
        if node.name == "convolution":
            return self._convolution(node, unknown)
        if node.name == "cat":
            return self._concatenation(node, unknown)
        first = node.operands[0] if node.operands else value
        if node.name in _NORMS:
            return _scaled(self.segments(first), _gamma(node, first.shape[1]))
        if node.name in _SAME | _ACTIVATIONS and first.shape == value.shape:
            return self.segments(first)
        return self._pointwise(node, value) or unknown

    def _convolution(self, node: Node, unknown: list[_Segment]) -> list[_Segment]:
        if _is_pointwise_convolution(node):
            inner = self.segments(node.args[0])
            # Behind a single spatial convolution it still belongs to that branch (depth-wise separable).
            same = all(segment.agrees(inner[0]) for segment in inner)
            return [_Segment(unknown[0].width, inner[0].origin, gates=inner[0].gates)] if same else unknown
        return unknown if node.args[6] else [_Segment(unknown[0].width, node)]

    def _concatenation(self, node: Node, unknown: list[_Segment]) -> list[_Segment]:
        values = node.args[0]
        axis = node.args[1] if len(node.args) > 1 else 0
        if axis not in (1, 1 - len(values[0].shape)):
            return unknown
        return [segment for value in values for segment in self.segments(value)]

    def _pointwise(self, node: Node, value: Value) -> list[_Segment] | None:
        """Through an activation or a per-channel gate; None if `node` is neither."""
        if not node.pointwise:
            return None
        maps: list[Value] = []
        scales: list[Value] = []
        for operand in map(_before_expansion, node.operands):
            (maps if _is_map(operand, value.shape) else scales).append(operand)
        if not maps or any(not _is_per_channel(scale, value.shape) for scale in scales):
            return None
        found = [self.segments(operand) for operand in maps]
        # x * sigmoid(x): several operands, one origin.
        if any(len(other) != len(found[0]) or not all(map(_Segment.agrees, other, found[0])) for other in found[1:]):
            return None
        gates = tuple(_gate_name(scale) for scale in scales) if node.name in ("mul", "div") else ()
        gates = tuple(gate for gate in gates if gate)
        return [replace(segment, gates=(*segment.gates, *gates)) for segment in found[0]]


def _is_pointwise_convolution(node: Node) -> bool:
    return node.name == "convolution" and not node.args[6] and all(side == 1 for side in node.args[1].shape[2:])


def _dilation(node: Node) -> int:
    kernel, dilations = node.args[1].shape[2:], node.args[5]
    rates = [rate for side, rate in zip(kernel, dilations, strict=True) if side > 1]
    return max(rates)


def _source(value: Value) -> tuple[object, int]:
    """What a convolution reads, looking through splits along the channels and through padding."""
    node = value.node
    while node is not None and (
        (node.name in _SAME and node.operands[0].shape == value.shape)
        or (node.name in _PARTS and node.operands[0].shape[2:] == value.shape[2:])
        or (node.name in _PADS and node.operands[0].shape[1] == value.shape[1])
    ):
        value, node = node.operands[0], node.operands[0].node
    return (value, 0) if node is None else (node, value.index)


def _gamma(node: Node, width: int) -> Tensor:
    gamma = node.args[_NORMS[node.name]]
    if gamma is None:
        return torch.ones(width)
    return gamma.tensor.detach() if gamma.tensor is not None else torch.full((width,), torch.nan)


def _scaled(segments: list[_Segment], gamma: Tensor) -> list[_Segment]:
    parts = gamma.split([segment.width for segment in segments])
    return [replace(segment, gamma=part) for segment, part in zip(segments, parts, strict=True)]


def _before_expansion(value: Value) -> Value:
    while value.node is not None and value.node.name == "expand":
        value = value.node.operands[0]
    return value


def _is_map(value: Value, shape: tuple[int, ...]) -> bool:
    return value.shape == shape and value.tensor is None


def _is_per_channel(value: Value, shape: tuple[int, ...]) -> bool:
    spatial = len(shape) - 2
    return len(value.shape) < spatial or all(side == 1 for side in value.shape[-spatial:])


def _gate_name(value: Value) -> str:
    """The parameter or the layer that `value` comes from; "" for a plain number."""
    if value.tensor is None and value.node is None:
        return ""
    queue = [value]
    for value in queue:
        if value.name:
            return value.name.removesuffix(".weight").removesuffix(".bias")
        if value.node is not None:
            # Weights come after the map they are applied to: look at them first.
            queue.extend(reversed(value.node.operands))
    return "per-channel scale"


def _weight_name(node: Node) -> str:
    """Full name of the convolution that `node` is, by the parameters its weight is made of."""
    queue = [node.args[1]]
    for value in queue:
        if value.name:
            name = value.name.split(".parametrizations.")[0]
            return name.rpartition(".")[0] if name == value.name else name
        if value.node is not None:
            queue.extend(value.node.operands)
    return "convolution without a name"


def _block(node: Node, segments: list[_Segment], origins: list[Node]) -> BranchBlock:
    channels: dict[int, list[int]] = {index: [] for index in range(len(origins))}
    gammas: list[Tensor] = []
    gates: list[str] = []
    start = 0
    for segment in segments:
        gammas.append(torch.full((segment.width,), torch.nan) if segment.gamma is None else segment.gamma.float().cpu())
        if segment.origin in origins:
            channels[origins.index(segment.origin)].extend(range(start, start + segment.width))
            gates.extend(segment.gates)
        start += segment.width
    branches = tuple(
        Branch(_weight_name(origin), _dilation(origin), origin.args[1].shape[2:], tuple(channels[index]))
        for index, origin in enumerate(origins)
    )
    merge, weight = _weight_name(node), node.args[1].tensor
    if weight is None:
        raise ValueError(f"the weight of the 1x1 convolution {merge!r} is computed from the input: nothing to report.")
    return BranchBlock(
        _common_module([merge, *(branch.name for branch in branches)]),
        merge,
        weight.detach().flatten(1),
        node.args[8],
        branches,
        torch.cat(gammas),
        tuple(dict.fromkeys(gates)),
    )


def _common_module(names: list[str]) -> str:
    # os.path.commonpath compares whole parts, unlike commonprefix.
    common = os.path.commonpath([name.replace(".", "/") for name in names]).replace("/", ".")
    return common or names[0]
