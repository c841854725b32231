"""Which tensor came from which: one forward pass, recorded operation by operation.

The record is taken below autograd, where modules, functional calls and tensor methods all end in the same few
operations. So it does not matter how a network is written, and no part of it has to be traceable in the sense of
`torch.fx`: it only has to run. On the meta device it runs without computing anything.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import keystr, tree_flatten_with_path, tree_leaves, tree_map
from torch.utils.weak import WeakTensorKeyDictionary

from rfkit.hooks import follow

__all__ = ["Node", "Record", "Value", "record"]


@dataclass(frozen=True, eq=False)
class Value:
    """One tensor at one moment. An operation in place gives its tensor a new value.

    Attributes:
        node: the operation that made it; None for parameters, buffers, inputs and constants.
        index: which output of the operation it is.
        shape: its shape.
        name: full name of the parameter or buffer it is, else "".
        tensor: the tensor itself where no operation made it, or where an operation made it of parameters alone.
    """

    node: Node | None = field(repr=False)
    index: int
    shape: tuple[int, ...]
    name: str = ""
    tensor: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Node:
    """One operation.

    Attributes:
        name: its name in ATen, without overload and without the underscore of operations in place.
        pointwise: whether every output element depends on the input elements at its own place alone.
        args: its arguments, with `Value` in place of tensors.
        operator: its full name without overload, such as "aten::convolution".
        arguments: its arguments by name, defaults included, with `Value` in place of tensors.
        layer: full name of the innermost module that runs it.
        call: how many times that module had been called before.
        results: the tensors that it returns.
    """

    name: str
    pointwise: bool
    args: tuple[Any, ...]
    operator: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    layer: str = ""
    call: int = 0
    results: list[Value] = field(default_factory=list, repr=False)

    @property
    def operands(self) -> list[Value]:
        """Its tensor arguments, in order."""
        return [leaf for leaf in tree_leaves(self.args) if isinstance(leaf, Value)]


@dataclass
class Record:
    """All operations of a forward pass, in order.

    Attributes:
        nodes: the operations.
        results: (module, call) -> what the module returned: path inside the returned structure -> tensor. The whole
            network is the module "".
        image: the value of the input image.
        meta: whether nothing was computed, so that no value of the image can have played a part.
        last: the operation that was begun last, as "layer: operator"; it is the one at fault after an error.
    """

    nodes: list[Node] = field(default_factory=list)
    results: dict[tuple[str, int], dict[str, Value]] = field(default_factory=dict)
    image: Value | None = None
    meta: bool = False
    last: str = ""

    def named(self, name: str) -> Iterator[Node]:
        """The operations called `name`."""
        return (node for node in self.nodes if node.name == name)


class _Recorder(TorchDispatchMode):
    def __init__(self, record: Record, names: dict[int, str]) -> None:
        super().__init__()
        self.record = record
        self._names = names
        self._values: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self._running: list[tuple[str, int]] = []
        self._calls: dict[str, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        schema = func._schema
        if "upsample" not in schema.name:
            # In inference mode composite operations arrive whole. The parts of resampling would be indexing.
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        layer, call = self._running[-1] if self._running else ("", 0)
        self.record.last = f"{layer}: {schema.name}" if layer else schema.name
        inputs = tree_map(self.value, (*args, *kwargs.values()))
        outputs = func(*_on_meta(args, kwargs)[0], **_on_meta(args, kwargs)[1])
        tensors = [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]
        node = Node(
            schema.name.split("::")[-1].removesuffix("_"),
            torch.Tag.pointwise in func.tags,
            inputs,
            schema.name.removesuffix("_"),
            _named(schema, inputs[: len(args)], dict(zip(kwargs, inputs[len(args) :], strict=True))),
            layer,
            call,
        )
        self.record.nodes.append(node)
        constant = all(value.tensor is not None for value in node.operands)
        for index, tensor in enumerate(tensors):
            kept = tensor if constant else None
            self._values[tensor] = Value(node, index, tuple(tensor.shape), "", kept)
            node.results.append(self._values[tensor])
        if schema.is_mutable and tensors:
            self._see_again(tensors)
        return outputs

    def value(self, argument: Any) -> Any:
        """The value of a tensor; anything else as it is."""
        if not isinstance(argument, Tensor):
            return argument
        if argument not in self._values:
            name = self._names.get(id(argument), "")
            self._values[argument] = Value(None, 0, tuple(argument.shape), name, argument if name else None)
        return self._values[argument]

    def _see_again(self, written: list[Tensor]) -> None:
        """What shares memory with a tensor that was written to has a new value as well."""
        new = self._values[written[0]]
        for tensor in list(self._values.keys()):
            known = self._values[tensor]
            itself = any(tensor is result for result in written)
            if itself or known.name or _storage(tensor) is None or _storage(tensor) != _storage(written[0]):
                continue
            node = _seen_again(tensor, written[0], known, new)
            self._values[tensor] = Value(node, 0, tuple(tensor.shape))
            node.results.append(self._values[tensor])
            self.record.nodes.append(node)

    def enter(self, name: str, _inputs: tuple[Any, ...]) -> None:
        """A module begins."""
        call = self._calls.get(name, 0)
        self._calls[name] = call + 1
        self._running.append((name, call))

    def leave(self, name: str, output: Any) -> None:
        """A module has ended; one that ended by an error, which somebody caught, is taken off too."""
        while self._running:
            ended, call = self._running.pop()
            if ended == name:
                self.record.results[name, call] = {path: self.value(tensor) for path, tensor in _tensors(output)}
                return


def record(model: nn.Module, image: Tensor, *, meta: bool = False, into: Record | None = None) -> Record:
    """Run `model` on `image` and return every operation with where its arguments came from.

    Call it inside `rfkit.analysis.untouched.untouched`.

    Args:
        model: any module that takes one image.
        image: the input, with a batch axis.
        meta: whether to run with parameters and image on the meta device: nothing is computed, and it costs the same
            for a wide network as for a narrow one. A network that looks at values fails there.
        into: record to fill; after an error it holds the operations up to there.
    """
    into = Record() if into is None else into
    into.meta = meta
    tensors: dict[str, Tensor] = {}
    for prefix, module in model.named_modules():
        for name, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is not None:
                tensors.setdefault(f"{prefix}.{name}" if prefix else name, tensor)
    if meta:
        of_tensor: dict[int, Tensor] = {}
        for tensor in tensors.values():
            of_tensor.setdefault(id(tensor), torch.empty_like(tensor, device="meta"))
        tensors = {name: of_tensor[id(tensor)] for name, tensor in tensors.items()}
        image = torch.empty_like(image, device="meta")
    else:
        # A network in training writes to its buffers: to copies of them.
        tensors |= {name: buffer.clone() for name, buffer in model.named_buffers()}
    names: dict[int, str] = {}
    for name, tensor in tensors.items():
        names.setdefault(id(tensor), name)
    recorder = _Recorder(into, names)
    into.image = recorder.value(image)
    with recorder, follow(model, recorder.enter, recorder.leave):
        torch.func.functional_call(model, tensors, (image,))
    return into


def _on_meta(args: Any, kwargs: Any) -> tuple[Any, Any]:
    """The arguments, all on the meta device if one of them is: constants of a network stay where they were made."""
    leaves = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    metas = [leaf.is_meta for leaf in leaves]
    if not any(metas) or all(metas):
        return args, kwargs
    return tree_map(lambda leaf: leaf.to("meta") if isinstance(leaf, Tensor) else leaf, (args, kwargs))


def _named(schema: Any, positional: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for index, argument in enumerate(schema.arguments):
        if index < len(positional) and not argument.kwarg_only:
            found[argument.name] = positional[index]
        elif argument.name in named:
            found[argument.name] = named[argument.name]
        elif argument.has_default_value():
            found[argument.name] = argument.default_value
    return found


def _seen_again(tensor: Tensor, written: Tensor, known: Value, new: Value) -> Node:
    """The operation by which `tensor` gets its value from what was written to memory that it shares."""
    if tensor.numel() == written.numel() and tensor.is_contiguous() and written.is_contiguous():
        return Node("view", False, (new,), "aten::view", {"self": new})
    inside = _region(written, tensor)
    if inside is not None:
        return Node("read", False, (new,), "a read through a view", {"self": new, "region": inside})
    arguments = {"self": known, "src": new, "region": _region(tensor, written)}
    return Node("write", False, (known, new), "a write through a view", arguments)


def _region(base: Tensor, view: Tensor) -> tuple[tuple[int, int, int], ...] | None:
    """(start, step, count) along each axis of the part of `base` that `view` is; None if it is no such part."""
    if base.dim() != view.dim() or not base.is_contiguous():
        return None
    offset = int(view.storage_offset()) - int(base.storage_offset())
    region = []
    for size, stride, count, own in zip(base.shape, base.stride(), view.shape, view.stride(), strict=True):
        start, offset = divmod(offset, max(stride, 1)) if size > 1 else (0, offset)
        step = own // stride if count > 1 else 1
        if (count > 1 and own % stride) or start < 0 or start + (count - 1) * step >= size or step < 1:
            return None
        region.append((start, step, count))
    return None if offset else tuple(region)


def _storage(tensor: Tensor) -> int | None:
    try:
        return tensor.untyped_storage()._cdata
    except (NotImplementedError, RuntimeError):
        return None


def _tensors(output: Any) -> Iterator[tuple[str, Tensor]]:
    """The tensors in what a module returned, each with its path, such as "['out']" or "[0]"."""
    if dataclasses.is_dataclass(output) and not isinstance(output, Mapping | type):
        output = {entry.name: getattr(output, entry.name) for entry in dataclasses.fields(output)}
    for path, leaf in tree_flatten_with_path(output)[0]:
        if isinstance(leaf, Tensor):
            yield keystr(path), leaf
