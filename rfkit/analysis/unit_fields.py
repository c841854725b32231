"""What the theoretical receptive field tells about units: where they look, and the box of pixels that reach them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from rfkit.analysis.outputs import Output, pick_tensor
from rfkit.analysis.theoretical import Graph, TraceError, trace
from rfkit.analysis.tracing.field_map import FieldMap
from rfkit.analysis.units import Place, Placement
from rfkit.results.box import Box

__all__ = ["OUTPUT", "PREFIX", "UnitFields", "hull"]

# What the model itself returns is called by this name among the layers.
OUTPUT = "output"
# The layers of the model are called so in the graphs.
PREFIX = "model."


class _Picked(nn.Module):
    """A model whose output is the one tensor that is analysed."""

    def __init__(self, model: nn.Module, output: Output) -> None:
        super().__init__()
        self.model = model
        self._output = output

    def forward(self, image: Tensor) -> Tensor:
        return pick_tensor(self.model(image), self._output)


class UnitFields:
    """The theoretical fields of a model's layers, as far as its trace knows them.

    Args:
        model: any module.
        shape: (channels, height, width) of the images.
        output: which part of what the model returns is meant, see `rfkit.analysis.outputs.pick_tensor`.
    """

    def __init__(self, model: nn.Module, shape: Sequence[int], output: Output = None) -> None:
        self._model, self._shape = _Picked(model, output), tuple(shape)
        self._graphs: dict[tuple[str, tuple[int, ...]], Graph | None] = {}
        # Why a field is not known.
        self.reason = ""

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the images."""
        return self._shape[1], self._shape[2]

    def graph(self, *, global_paths: str = "include", size: tuple[int, int] | None = None) -> Graph | None:
        """The receptive-field graph for images of `size`, or None where the model cannot be traced (see `reason`)."""
        shape = (self._shape[0], *(size or self.image_size))
        key = (global_paths, shape)
        if key not in self._graphs:
            try:
                self._graphs[key] = trace(self._model, shape, global_paths=global_paths)
            except TraceError as error:
                self._graphs[key] = None
                self.reason = str(error)
        return self._graphs[key]

    def field(
        self, layer: str, *, global_paths: str = "include", size: tuple[int, int] | None = None
    ) -> FieldMap | None:
        """The `FieldMap` of a layer, or None where it is not known."""
        graph = self.graph(global_paths=global_paths, size=size)
        if graph is None:
            return None
        if layer == OUTPUT:
            found = graph.output
        elif f"{PREFIX}{layer}" in graph.layers:
            found = graph[f"{PREFIX}{layer}"]
        else:
            return None
        if found.status == "unknown":
            self.reason = found.reason
            return None
        return found

    def place(self, layer: str, map_size: tuple[int, int]) -> tuple[Place, str]:
        """Where the units of a map look, and how that was found: "graph" or "proportion".

        A global path makes every unit see every pixel, so units are then placed by the paths beside it.
        """
        found = self.field(layer)
        if found is not None and not found.is_local:
            found = self.field(layer, global_paths="ignore")
        if found is None or not found.is_local or tuple(found.size) != tuple(map_size):
            return Placement(map_size, self.image_size), "proportion"
        return found, "graph"


def hull(field: FieldMap, units: Sequence[tuple[int, int]]) -> Box | None:
    """The smallest box around the fields of `units`, clipped to the image, with its unclipped form; None if empty."""
    # Rows of a box depend on the unit's row alone, columns on its column.
    (row, column) = units[0]
    try:
        down = [_unclipped(field[other, column]) for other in {unit[0] for unit in units}]
        across = [_unclipped(field[row, other]) for other in {unit[1] for unit in units}]
    except ValueError:
        return None
    rows = min(box.y0 for box in down), max(box.y1 for box in down)
    columns = min(box.x0 for box in across), max(box.x1 for box in across)
    return Box(rows[0], columns[0], rows[1], columns[1]).clipped(*field.image_size)


def _unclipped(box: Box) -> Box:
    return box.unclipped or box
