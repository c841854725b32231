"""What each operation reads: the registry of rules, and what a rule has to say.

A rule is a function of an `Operation` (for several results, a list of them; None for one that does not depend on the
image). It returns what the operation's result reads, by one of the methods of the
operation: `same_place`, `window`, `everything`, `unknown`. An operation without a rule is unknown, and so is everything
that follows from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rfkit.analysis.tracing.fields import Field, Read
from rfkit.analysis.tracing.maps import KINDS, Dimension, Factor, Maps, UnsupportedError, join, mixed
from rfkit.analysis.tracing.recording import Node, Value
from rfkit.analysis.tracing.taps import IDENTITY, Taps, window

__all__ = ["RULES", "Operation", "Rule", "rule", "whole"]

Result = Maps | Sequence[Maps | None] | None
Rule = Callable[["Operation"], Result]

RULES: dict[str, Rule] = {}
"""Operator name, such as "aten::convolution", -> its rule."""


def rule(*operators: str) -> Callable[[Rule], Rule]:
    """A decorator that makes a function the rule of one or more operators, in place of any rule they have.

    The name is that of the operator in its library, without overload: "aten::convolution", or "mylib::blur" for an
    operator of your own, registered with `torch.library`. A table of `rfkit.trace` names the operators that have no
    rule. The function takes an `Operation` and returns what one of its methods gives.

    Args:
        *operators: names of the form "namespace::operator".

    Raises:
        ValueError: a name is not of that form.

    Example:
        >>> @rule("mylib::blur")
        ... def blur(operation):
        ...     return operation.window(kernel=5, padding=2, channels="same")
    """
    for operator in operators:
        namespace, separator, name = operator.partition("::")
        if " " not in operator and not (separator and namespace and name):
            raise ValueError(f"operators: {operator!r} is not of the form 'namespace::operator'.")

    def enter(function: Rule) -> Rule:
        for operator in operators:
            RULES[operator] = function
        return function

    return enter


@dataclass(frozen=True)
class Operation:
    """One call of an operator, as a rule sees it.

    Attributes:
        node: the recorded call.
        known: tensors that depend on the image -> their fields.
    """

    node: Node
    known: dict[Value, Maps]

    @property
    def name(self) -> str:
        """The operator, such as "aten::convolution"."""
        return self.node.operator

    @property
    def label(self) -> str:
        """Layer and operator, for messages."""
        return f"{self.node.layer}: {self.name}" if self.node.layer else self.name

    def argument(self, name: str, default: Any = None) -> Any:
        """An argument of the call by its name, a tensor as a `Value`."""
        value = self.node.arguments.get(name, default)
        return default if value is None else value

    def maps(self, value: Any) -> Maps | None:
        """The fields of a tensor; None if it does not depend on the image."""
        return self.known.get(value) if isinstance(value, Value) else None

    @property
    def input(self) -> Maps:
        """The fields of the first tensor argument that depends on the image."""
        found = [self.known[value] for value in self.node.operands if value in self.known]
        return found[0]

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of the first tensor that it returns."""
        return self.node.results[0].shape

    # -- what a rule returns -------------------------------------------------------------------------------------------

    def same_place(self) -> Maps:
        """Every element reads the elements at its own place in all tensor arguments (with broadcasting)."""
        values = [value for value in self.node.operands if value.shape or value in self.known]
        parts = [self.known.get(value) for value in values]
        return join(parts, [value.shape for value in values], label=self.label)

    def window(
        self,
        *,
        kernel: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        channels: str = "mix",
    ) -> Maps:
        """Every unit reads a window of units: a convolution or a pooling of the first tensor argument, N C H W.

        Args:
            kernel: taps of the window, for both axes or (vertical, horizontal); so are the next three.
            stride: units from one window to the next.
            padding: units before the first one.
            dilation: distance between taps.
            channels: "mix" if every output channel reads all input channels, "same" if it reads its own.
        """
        pairs = [_pair(value) for value in (kernel, stride, padding, dilation)]
        taps = [
            window(k, stride=s, padding=p, dilation=d) for k, s, p, d in zip(*pairs, strict=True)
        ]  # fmt: skip
        groups = 1 if channels == "mix" else None
        return self.spatial(self.input, taps, groups=groups)

    def everything(self) -> Maps:
        """Every unit of the result reads every unit of the first tensor argument: a global path."""
        return mixed(self.input, range(len(self.input.dims)), keep=True, label=self.label)

    def unknown(self, reason: str) -> Maps:
        """Nothing is known of the result; `reason` says why, in the table."""
        raise UnsupportedError(reason)

    def spatial(self, maps: Maps, taps: Sequence[Taps], *, groups: int | None) -> Maps:
        """What reads `maps` with `taps` along its last axes.

        Args:
            maps: what is read, channels in the axis before the last `len(taps)`.
            taps: one for each of the last axes of the tensor.
            groups: groups of channels, each mixed (a convolution); None if each channel reads itself.

        Raises:
            UnsupportedError: these axes are not rows, columns and channels.
        """
        shape, axes = self.output_shape, len(taps)
        maps, kinds = maps.as_images(axes)
        along = {kind: (IDENTITY, maps.length(kind)) for kind in KINDS}
        along |= {kind: (taps[i], shape[len(shape) - axes + i]) for i, kind in enumerate(kinds)}
        channels = shape[-axes - 1] if len(shape) > axes else 1
        if groups is not None and len(maps.classes) > 1 and "channel" not in maps.kinds(len(maps.dims) - axes - 1):
            # The channels were moved into the batch, so that each is filtered alone.
            if channels > 1:
                raise UnsupportedError("several filters for channels that were moved into the batch")
            groups = None
        classes, sets = _grouped(maps, channels, groups)
        pair = (along["row"][0], along["column"][0])
        size = (along["row"][1], along["column"][1])
        fields = tuple(Field(size, [Read(maps.fields[index], pair) for index in group], self.label) for group in sets)
        dims = list(maps.dims)
        for index, kind in enumerate(kinds):
            dims[len(dims) - axes + index] = whole(kind, along[kind][1])
        if groups is not None:
            dims[-axes - 1] = whole("channel", channels)
        return replace(maps, dims=tuple(dims), classes=classes, fields=fields)


def whole(kind: str, length: int) -> Dimension:
    """An axis of a tensor that holds all rows (columns, channels) and nothing else."""
    return (Factor(kind, length),) if length > 1 else ()


def _grouped(maps: Maps, channels: int, groups: int | None) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    """For each output channel which set of fields it reads, and the different sets."""
    if groups is None:
        return maps.classes, [(index,) for index in range(len(maps.fields))]
    sets = [tuple(np.unique(part).tolist()) for part in maps.classes.reshape(min(groups, len(maps.classes)), -1)]
    distinct = list(dict.fromkeys(sets))
    numbers = [distinct.index(found) for found in sets]
    return np.repeat(numbers, channels // len(sets)), distinct


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values[0], values[-1]
