"""The structure of a built module, read from its own forward pass."""

from __future__ import annotations

import copy
import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import torch
from torch import fx, nn

from rfkit.plots.diagram import Diagram, Edge, Node, Region

__all__ = ["Group", "describe"]

# Operations that hand on a tensor, or a part of it, unchanged.
_PASSING = {"split", "split_with_sizes", "chunk", "getitem", "clone", "alias", "detach"}
_DROPPED = {"dropout"}
# Fractions of c with a larger denominator are printed as plain numbers.
_LARGEST_DENOMINATOR = 4
# Kinds of boxes that norms and activations are written into.
_CONVOLUTIONS = ("conv", "pointwise", "depthwise")
_HOSTS = {"norm": _CONVOLUTIONS, "activation": (*_CONVOLUTIONS, "norm")}


@dataclass(frozen=True)
class Group:
    """How a submodule is shown as one box.

    Attributes:
        label: first line of the box.
        detail: second line.
        dilations: dilation rates shown as chips.
        kind: kind of the box.
        place: (rank, lane) of the box; None places it by the flow.
    """

    label: str
    detail: str = ""
    dilations: tuple[int, ...] = ()
    kind: str = "stage"
    place: tuple[float, float] | None = None


@dataclass(frozen=True)
class _Step:
    """One operation of the forward pass, or one group of them."""

    node: Node
    inputs: tuple[tuple[str, str], ...]  # (name of the step that is read, text on the arrow)
    path: str = ""
    parts: tuple[str, ...] = field(default=())


def describe(
    module: nn.Module,
    input_size: Sequence[int],
    *,
    title: str = "",
    base: int | None = None,
    symbols: Mapping[int, str] | None = None,
    sizes: bool = False,
    groups: Mapping[str, Group] | None = None,
    regions: Mapping[str, str] | None = None,
    inferred: Sequence[str] = (),
    maps: str | None = None,
    input_label: str = "Input",
    output_label: str = "Output",
    notes: Sequence[str] = (),
) -> Diagram:
    """The diagram of what `module` does to one input, with a box for each operation and an arrow for each tensor.

    The operations, their order and every number of channels come from the exported graph of the module
    (`torch.export`), not from what its author says of it: another option, another diagram. Batch norm and activation
    are written into the box of the convolution that alone feeds them. An operation without a symbol of its own is
    shown under its name.

    Args:
        module: any module with one tensor in and one out; it is not changed.
        input_size: (channels, height, width) of the input.
        title: title of the diagram.
        base: number of channels written as "c"; other numbers become multiples of it. None writes numbers.
        symbols: further numbers of channels written as a letter, such as the number of classes.
        sizes: write the output stride beside the channels, relative to the input.
        groups: name of a submodule -> how to show it as one box.
        regions: label -> name of the submodule whose boxes are bracketed under that label.
        inferred: names or patterns of submodules that are not given in the paper; their boxes are dashed.
        maps: show the input and the parts of a split as feature maps; this is the label of the parts.
        input_label: label of the input.
        output_label: label of the output.
        notes: lines below the diagram.
    """
    groups = dict(groups or {})
    graph, modules = _export(module, input_size)
    label = _edge_label(base, symbols or {}, input_size[-2:] if sizes else None)
    steps = _read(graph, modules, groups, label, maps=maps, ends=(input_label, output_label))
    steps = _fold(steps)
    dashed = [step.node.name for step in steps if _matches(step.path, inferred)]
    nodes = [replace(step.node, inferred=step.node.name in dashed) for step in steps]
    edges = [Edge(source, step.node.name, text) for step in steps for source, text in step.inputs]
    return Diagram(
        title=title,
        nodes=tuple(nodes),
        edges=tuple(edges),
        regions=tuple(_region(text, prefix, steps) for text, prefix in (regions or {}).items()),
        notes=tuple(notes),
    )


def _export(module: nn.Module, input_size: Sequence[int]) -> tuple[fx.Graph, dict[str, nn.Module]]:
    twin = copy.deepcopy(module).eval()
    program = torch.export.export(twin, (torch.empty(1, *input_size),), strict=False)
    return program.graph, dict(twin.named_modules())


def _read(
    graph: fx.Graph,
    modules: Mapping[str, nn.Module],
    groups: Mapping[str, Group],
    label: Any,
    *,
    maps: str | None,
    ends: tuple[str, str],
) -> list[_Step]:
    steps: dict[str, _Step] = {}
    producer: dict[str, str] = {}  # graph node -> step that made its tensor
    for node in graph.nodes:
        sources = [source for source in node.all_input_nodes if source.name in producer]
        inputs = tuple((producer[source.name], label(source)) for source in sources)
        operation = _operation(node)
        path = _path(node)
        prefix = next((name for name in groups if path == name or path.startswith(f"{name}.")), None)
        if node.op == "placeholder":
            if _is_parameter(node):
                continue
            steps[node.name] = _Step(Node(node.name, ends[0], "input" if maps is None else "maps"), ())
        elif node.op == "output":
            steps["output"] = _Step(Node("output", ends[1], "output"), inputs)
        elif prefix is not None:
            _add_to_group(steps, prefix, groups[prefix], inputs)
            producer[node.name] = prefix
            continue
        elif operation in _PASSING or operation in _DROPPED:
            if maps is not None and operation == "getitem":
                steps[node.name] = _Step(Node(node.name, maps, "maps"), ((inputs[0][0], label(node)),), path)
            else:
                producer[node.name] = producer[sources[0].name]
                continue
        else:
            box = _box(node, operation, path, modules)
            box = replace(box, name=node.name) if box.name in steps else box  # a module that runs twice
            steps[box.name] = _Step(box, inputs, path)
            producer[node.name] = box.name
            continue
        producer[node.name] = node.name
    return list(steps.values())


def _add_to_group(steps: dict[str, _Step], name: str, group: Group, inputs: tuple[tuple[str, str], ...]) -> None:
    outside = tuple(entry for entry in inputs if entry[0] != name)
    if name in steps:
        known = steps[name]
        steps[name] = replace(known, inputs=known.inputs + tuple(item for item in outside if item not in known.inputs))
        return
    node = Node(name, group.label, group.kind, detail=group.detail, dilations=group.dilations, place=group.place)
    steps[name] = _Step(node, outside, name)


def _box(node: fx.Node, operation: str, path: str, modules: Mapping[str, nn.Module]) -> Node:
    module = modules.get(path)
    name = path if module is not None and not list(module.children()) and path else node.name
    if isinstance(module, nn.Conv2d):
        return _convolution(name, module)
    if isinstance(module, nn.MaxPool2d):
        return Node(name, f"{_square(module.kernel_size)} MPooling", "pool", detail=_stride(module.stride))
    if operation == "batch_norm":
        return Node(name, "BN", "norm")
    if operation in ("relu", "prelu", "hardswish", "gelu", "silu"):
        return Node(name, {"relu": "ReLU", "prelu": "PReLU"}.get(operation, operation), "activation")
    if operation == "cat":
        return Node(name, "C", "concat")
    if operation == "add":
        return Node(name, "+", "add")
    if operation.startswith("upsample"):
        before, after = _shape(node.all_input_nodes[0])[-1], _shape(node)[-1]
        return Node(name, "Upsample", "resize", detail=f"×{Fraction(after, before)}")
    return Node(name, operation, "other")


def _convolution(name: str, conv: nn.Conv2d) -> Node:
    side = _square(conv.kernel_size)
    stride = _stride(conv.stride)
    if conv.groups == 1:
        kind = "pointwise" if side == "1×1" else "conv"
        return Node(name, f"{side} Conv", kind, detail=stride, dilations=_rates(conv) if conv.dilation[0] > 1 else ())
    if conv.groups == conv.in_channels:
        rate = f"D-{conv.dilation[0]}"
        return Node(name, f"{side} DConv", "depthwise", detail=_join(rate, stride), dilations=_rates(conv))
    return Node(name, f"{side} Conv", "conv", detail=_join(f"{conv.groups} groups", stride), dilations=_rates(conv))


def _fold(steps: list[_Step]) -> list[_Step]:
    """Norms and activations become the second line of the box that alone feeds them."""
    readers: dict[str, int] = {}
    for step in steps:
        for source, _ in step.inputs:
            readers[source] = readers.get(source, 0) + 1
    kept: dict[str, _Step] = {}
    moved: dict[str, str] = {}
    for step in steps:
        inputs = tuple((moved.get(source, source), text) for source, text in step.inputs)
        host = kept.get(inputs[0][0]) if len(inputs) == 1 else None
        if host and host.node.kind in _HOSTS.get(step.node.kind, ()) and readers[step.inputs[0][0]] == 1:
            detail = _join(host.node.detail, step.node.label)
            kept[host.node.name] = replace(
                host, node=replace(host.node, detail=detail), parts=(*host.parts, step.node.name)
            )
            moved[step.node.name] = host.node.name
        else:
            kept[step.node.name] = replace(step, inputs=inputs)
    return list(kept.values())


def _region(text: str, prefix: str, steps: Sequence[_Step]) -> Region:
    inside = [step.node.name for step in steps if step.path == prefix or step.path.startswith(f"{prefix}.")]
    return Region(text, tuple(inside))


def _edge_label(base: int | None, symbols: Mapping[int, str], image: Sequence[int] | None) -> Any:
    def label(node: fx.Node) -> str:
        shape = _shape(node)
        text = symbols.get(shape[1]) or _channels(shape[1], base)
        if image is None:
            return text
        stride = Fraction(image[1], shape[-1])
        return f"{text}, 1/{stride}" if stride > 1 else text

    return label


def _channels(count: int, base: int | None) -> str:
    if base is None:
        return str(count)
    ratio = Fraction(count, base)
    if ratio.denominator > _LARGEST_DENOMINATOR:
        return str(count)
    top = "c" if ratio.numerator == 1 else f"{ratio.numerator}c"
    return top if ratio.denominator == 1 else f"{top}/{ratio.denominator}"


def _operation(node: fx.Node) -> str:
    if node.op != "call_function":
        return node.op
    name = getattr(node.target, "_opname", None) or getattr(node.target, "__name__", str(node.target))
    return name.split(".")[0].strip("_").removesuffix("_kernel")


def _path(node: fx.Node) -> str:
    stack = node.meta.get("nn_module_stack")
    return list(stack.values())[-1][0] if stack else ""


def _shape(node: fx.Node) -> tuple[int, ...]:
    value = node.meta["val"]
    value = value[0] if isinstance(value, list | tuple) else value
    return tuple(int(side) for side in value.shape)


def _is_parameter(node: fx.Node) -> bool:
    return node.name.startswith(("p_", "b_", "c_"))


def _matches(path: str, patterns: Sequence[str]) -> bool:
    return bool(path) and any(fnmatch.fnmatch(path, pattern) for pattern in patterns)


def _rates(conv: nn.Conv2d) -> tuple[int, ...]:
    return (int(conv.dilation[0]),)


def _square(size: Any) -> str:
    sides = size if isinstance(size, tuple) else (size, size)
    return f"{sides[0]}×{sides[1]}"


def _stride(stride: Any) -> str:
    step = stride[0] if isinstance(stride, tuple) else stride
    return f"stride {step}" if step > 1 else ""


def _join(*parts: str) -> str:
    return ", ".join(part for part in parts if part)
