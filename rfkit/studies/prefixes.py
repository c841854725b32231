"""What of a forward pass need not run again when only something late in it changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from rfkit.hooks import follow

__all__ = ["Prefixes"]


class Prefixes:
    """The outputs of layers in one forward pass, and which of them were there before a given layer began.

    They are kept of layers between the given ones, not of what stands inside a part of the network that holds only one
    of them: so memory stays small, and little is computed twice.

    Args:
        model: any module that computes the same whenever it gets the same.
        layers: names of the layers before which something changes.
    """

    def __init__(self, model: nn.Module, layers: Sequence[str]) -> None:
        holders = {""} | {
            name for name, _ in model.named_modules() if sum(layer.startswith(f"{name}.") for layer in layers) > 1
        }
        self._model, self._layers = model, frozenset(layers)
        self._kept = {
            name for name, _ in model.named_modules() if name and name.rpartition(".")[0] in holders
        } - self._layers
        self._outputs: dict[str, Any] = {}
        self._ended: dict[str, int] = {}
        self._begun: dict[str, int] = {}
        self._clock = 0

    @contextmanager
    def watch(self) -> Iterator[None]:
        """While open, keep the outputs of one forward pass; those of the pass before are dropped."""
        self._outputs, self._ended, self._begun, self._clock = {}, {}, {}, 0
        with follow(self._model, self._enter, self._leave):
            yield

    def before(self, layers: Sequence[str]) -> dict[str, Tensor]:
        """The outputs of layers that had ended when the first of `layers` began, and that ran once."""
        start = min(self._begun[layer] for layer in layers)
        return {
            name: output
            for name, output in self._outputs.items()
            if isinstance(output, Tensor) and self._ended[name] < start
        }

    def _enter(self, name: str, _inputs: Any) -> None:
        self._clock += 1
        if name in self._layers:
            self._begun.setdefault(name, self._clock)

    def _leave(self, name: str, output: Any) -> None:
        self._clock += 1
        # What ends after all layers have begun is of no use.
        if name in self._kept and len(self._begun) < len(self._layers):
            again = name in self._outputs
            self._ended[name] = self._clock
            # A layer that runs several times has several outputs: none is kept.
            self._outputs[name] = output.clone() if isinstance(output, Tensor) and not again else None
