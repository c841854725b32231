"""Which tensor came from which: one real forward pass, recorded operation by operation.

The record is taken below autograd, where modules, functional calls and tensor methods all end in the same few
operations. So it does not matter how a network is written, and no part of it has to be traceable in the sense of
`torch.fx`: it only has to run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

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

    node: Node | None
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
    """

    name: str
    pointwise: bool
    args: tuple[Any, ...]

    @property
    def operands(self) -> list[Value]:
        """Its tensor arguments, in order."""
        return [leaf for leaf in tree_leaves(self.args) if isinstance(leaf, Value)]


@dataclass
class Record:
    """All operations of a forward pass, in order."""

    nodes: list[Node] = field(default_factory=list)

    def named(self, name: str) -> Iterator[Node]:
        """The operations called `name`."""
        return (node for node in self.nodes if node.name == name)


class _Recorder(TorchDispatchMode):
    def __init__(self, names: dict[int, str]) -> None:
        super().__init__()
        self.record = Record()
        self._names = names
        self._values: dict[int, Value] = {}
        # Tensors are kept alive, because the id of a freed one is given to the next.
        self._alive: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        # In inference mode composite operations arrive whole.
        with self:
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        inputs = tree_map(self._value, (*args, *kwargs.values()))
        outputs = func(*args, **kwargs)
        name = func._schema.name.split("::")[-1]
        node = Node(name.removesuffix("_"), torch.Tag.pointwise in func.tags, inputs)
        self.record.nodes.append(node)
        constant = all(value.tensor is not None for value in node.operands)
        for index, tensor in enumerate(leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)):
            kept = tensor if constant and node.operands else None
            self._values[id(tensor)] = Value(node, index, tuple(tensor.shape), "", kept)
            self._alive.append(tensor)
        return outputs

    def _value(self, argument: Any) -> Any:
        if not isinstance(argument, Tensor):
            return argument
        if id(argument) not in self._values:
            name = self._names.get(id(argument), "")
            self._values[id(argument)] = Value(None, 0, tuple(argument.shape), name, argument if name else None)
            self._alive.append(argument)
        return self._values[id(argument)]


def record(model: nn.Module, image: Tensor) -> Record:
    """Run `model` on `image` and return every operation with where its arguments came from.

    Call it inside `rfkit.analysis.untouched.untouched`, on a small image: the outputs of all layers are held until the
    record is complete.
    """
    names: dict[int, str] = {}
    for prefix, module in model.named_modules():
        for name, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is not None:
                names.setdefault(id(tensor), f"{prefix}.{name}" if prefix else name)
    with _Recorder(names) as recorder:
        model(image)
    return recorder.record
