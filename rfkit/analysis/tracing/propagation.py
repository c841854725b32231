"""From a recorded forward pass to the receptive field of every tensor in it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from rfkit.analysis.tracing import rules_mixing, rules_pointwise, rules_shape, rules_spatial  # noqa: F401 - they enter rules
from rfkit.analysis.tracing.fields import pixels
from rfkit.analysis.tracing.maps import Factor, Maps, UnsupportedError, other
from rfkit.analysis.tracing.recording import Node, Record, Value
from rfkit.analysis.tracing.rules import RULES, Operation, Result

__all__ = ["Propagation", "propagate"]


@dataclass
class Propagation:
    """The fields of the tensors of a forward pass.

    Attributes:
        known: tensor -> its fields. A tensor in neither mapping does not depend on the image.
        unknown: tensor -> why nothing is known of it.
    """

    known: dict[Value, Maps] = field(default_factory=dict)
    unknown: dict[Value, str] = field(default_factory=dict)


def propagate(record: Record) -> Propagation:
    """The fields of all tensors, from the image to the end of the record."""
    found = Propagation()
    assert record.image is not None
    found.known[record.image] = _image(record.image)
    for node in record.nodes:
        operands = node.operands
        blamed = next((found.unknown[value] for value in operands if value in found.unknown), None)
        if blamed is not None:
            for value in node.results:
                found.unknown[value] = blamed
        elif any(value in found.known for value in operands):
            _enter(node, found)
    return found


def _image(value: Value) -> Maps:
    batch, channels, height, width = value.shape
    dims = (other(batch), *((Factor(kind, size),) if size > 1 else ()
            for kind, size in (("channel", channels), ("row", height), ("column", width))))  # fmt: skip
    return Maps(dims, np.zeros(channels, dtype=np.int64), (pixels(height, width),))


def _enter(node: Node, found: Propagation) -> None:
    operation = Operation(node, found.known)
    try:
        results = _listed(_apply(operation), node)
    except UnsupportedError as error:
        results = [f"{operation.label}: {error}"] * len(node.results)
    for value, result in zip(node.results, results, strict=True):
        if isinstance(result, str):
            found.unknown[value] = result
        elif result is not None and result.shape != value.shape:
            found.unknown[value] = f"{operation.label}: its rule gives {result.shape}, the tensor is {value.shape}"
        elif result is not None:
            found.known[value] = result


def _apply(operation: Operation) -> Result:
    rule = RULES.get(operation.name)
    if rule is not None:
        return rule(operation)
    if operation.node.pointwise:
        return operation.same_place()
    raise UnsupportedError("there is no rule for this operator")


def _listed(result: Result, node: Node) -> list[Maps | str | None]:
    if result is None:
        return [None] * len(node.results)
    if isinstance(result, Maps):
        rest: list[Maps | str | None] = [f"{node.operator}: only its first result is followed"] * len(node.results)
        return [result, *rest[1:]]
    return list(result)
