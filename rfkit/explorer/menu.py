"""What can be chosen in one network on one image: layers by stage, their units, branches and channels, and classes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rfkit.analysis.find_branches import BranchBlock, find_branch_blocks
from rfkit.analysis.images import as_batches, as_picture
from rfkit.analysis.outputs import Output, as_map, pick_tensor
from rfkit.analysis.segmentation_target import SegmentationTarget
from rfkit.analysis.stages import published_stages, stages_of
from rfkit.analysis.unit_fields import OUTPUT, UnitFields
from rfkit.analysis.units import Place
from rfkit.analysis.untouched import untouched
from rfkit.hooks import observe

__all__ = ["Menu"]


class Menu:
    """The layers of one network on one image, by stage, with their units, branches and channels; and its classes.

    The network is left as it was found.

    Args:
        model: any module that takes one image.
        image: 3 H W or 1 3 H W, 8 bit or normalised as the model takes it.
        output: which part of what the network returns is meant by "output", and holds the class scores.
        class_names: names of the classes, in their order; those of `model.card` by default.

    Attributes:
        picture: the image, (height, width, 3), 8 bit.
        stages: stage -> its layers, in the order in which they stand in the model; "output" last.
        shapes: layer -> (channels, rows, columns) of its map.
        fields: the theoretical fields of the layers.
        class_names: names of the classes; none if the network gives no class scores.
        no_classes: why there are no classes; "" if there are.

    Raises:
        ValueError: several images, or no layer of the network returns a map.
    """

    def __init__(
        self,
        model: nn.Module,
        image: Tensor,
        *,
        output: Output = None,
        class_names: tuple[str, ...] | None = None,
    ) -> None:
        batches = as_batches(image, model)
        if len(batches) != 1:
            raise ValueError(f"image holds {len(batches)} images; give one.")
        self.model, self.image, self.output = model, image, output
        self._given_names = class_names
        self.picture = as_picture(image).numpy()
        self.fields = UnitFields(model, batches[0].shape[1:], output)
        self._look_around(batches[0])
        self.learn_classes()

    def _look_around(self, batch: Tensor) -> None:
        """Learn in one forward pass which layers return maps; then where branches are."""
        found: dict[str, tuple[int, int, int]] = {}

        def note(name: str, _inputs: tuple[Any, ...], result: Any) -> None:
            shape = _map_shape(result, None)
            if shape is not None:
                found[name] = shape

        with untouched(self.model):
            with observe(self.model, "*", note):
                result = self.model(batch.clone())
            try:
                self._blocks = find_branch_blocks(self.model, batch.clone())
            except (RuntimeError, ValueError):
                # A network that cannot be recorded has no branches to choose; everything else works.
                self._blocks = []
        order = [name for name, _ in self.model.named_modules() if name and name in found]
        names = _worth_showing(self.model, order)
        _, stages = stages_of(self.model, names)
        self.stages: dict[str, tuple[str, ...]] = {}
        for name, stage in zip(names, stages, strict=True):
            self.stages[str(stage)] = (*self.stages.get(str(stage), ()), name)
        self.shapes = {name: found[name] for name in names}
        graph = self.fields.graph()
        maps = [] if graph is None else [graph[name] for name in graph.layers]
        if any(found_map.status != "unknown" and found_map.is_global for found_map in maps):
            # Traced now, because afterwards units are placed while something else may run the network.
            self.fields.graph(global_paths="ignore")
        whole = _map_shape(result, self.output)
        if whole is not None:
            self.stages[OUTPUT] = (*self.stages.get(OUTPUT, ()), OUTPUT)
            self.shapes.setdefault(OUTPUT, whole)
        if not self.shapes:
            raise ValueError(f"no layer of this {type(self.model).__name__} returns a map N C H W: nothing to explore.")

    def learn_classes(self) -> None:
        """Learn which classes there are, and where each is predicted; again after the weights were changed."""
        self._scores: SegmentationTarget | None = None
        self.class_names: tuple[str, ...] = ()
        self.no_classes = ""
        try:
            self._scores = SegmentationTarget(self.model, self.image, output=self.output)
        except ValueError as error:
            self.no_classes = str(error)
            return
        given = self._given_names or getattr(getattr(self.model, "card", None), "class_names", None)
        names = tuple(given or map(str, range(self._scores.classes)))
        if len(names) != self._scores.classes:
            raise ValueError(f"class_names has {len(names)} names; the network has {self._scores.classes} classes.")
        self.class_names = names

    def stage_of(self, layer: str) -> str:
        """The stage that a layer is listed under."""
        return next(stage for stage, layers in self.stages.items() if layer in layers)

    def place(self, layer: str) -> Place:
        """Where in the image the units of a layer look; by their place in the map where their fields are unknown."""
        return self.fields.place(layer, self.shapes[layer][1:])[0]

    def has_global_path(self, layer: str) -> bool:
        """Whether a layer's units also see every pixel by a path that no box describes, such as pooling to 1x1."""
        found = self.fields.field(layer)
        return found is not None and not found.is_local

    def pixel_of(self, layer: str, unit: tuple[int, int]) -> tuple[int, int]:
        """The pixel of the image in the middle of a unit's field."""
        middle = self.place(layer).pixel(*unit)
        row, column = (
            min(max(round(at), 0), length - 1) for at, length in zip(middle, self.picture.shape[:2], strict=True)
        )
        return row, column

    def branches(self, layer: str) -> tuple[str, ...]:
        """Labels of the branches that lead to a layer: those of the last block that it holds or ends with."""
        block = self.block(layer)
        if block is None:
            return ()
        labels = dict.fromkeys(f"d{branch.dilation}" for branch in block.branches)
        # Two branches with one rate cannot be told apart by it.
        return tuple(labels) if len(labels) == len(block.branches) else ()

    def region_channels(self, layer: str) -> int:
        """Number of channels of the region map of the layer's block; 0 where it has none."""
        block = self.region_block(layer)
        name = f"{block}.region" if block else "region"
        return self.shapes[name][0] if block is not None and name in self.shapes else 0

    def block(self, layer: str) -> BranchBlock | None:
        """The block whose branches lead to a layer: the last one that it holds or ends with."""
        fitting = [
            block for block in self._blocks if layer in (block.name, block.merge) or block.merge.startswith(f"{layer}.")
        ]
        return fitting[-1] if fitting else None

    def region_block(self, layer: str) -> str | None:
        """The block with region and semantic steps that a layer belongs to, or the last one in it."""
        modules = dict(self.model.named_modules())
        having = [name for name, module in modules.items() if isinstance(getattr(module, "region", None), nn.Module)]
        around = [name for name in having if layer == name or layer.startswith(f"{name}.")]
        within = [name for name in having if name.startswith(f"{layer}.")]
        return (around or within or [None])[-1]

    def class_scores(self) -> SegmentationTarget:
        """The class scores, and where each class is predicted.

        Raises:
            ValueError: the network gives no class scores.
        """
        if self._scores is None:
            raise ValueError(f"this network gives no class scores: {self.no_classes}")
        return self._scores

    def class_at(self, pixel: tuple[int, int]) -> int:
        """The class that the network predicts at a pixel; of the whole image, where it gives one score a class.

        Raises:
            ValueError: the network gives no class scores.
        """
        scores = self.class_scores()
        if not scores.is_map:
            with torch.no_grad(), untouched(self.model):
                return int(scores(as_batches(self.image, self.model)[0])[0].argmax())
        return int(scores.masks[:, pixel[0], pixel[1]].int().argmax())


def _map_shape(result: Any, output: Output) -> tuple[int, int, int] | None:
    try:
        tensor = as_map(pick_tensor(result, output), layer="")
    except ValueError:
        return None
    return (int(tensor.shape[1]), int(tensor.shape[2]), int(tensor.shape[3]))


def _worth_showing(model: nn.Module, names: list[str]) -> list[str]:
    """All layers; of a network that publishes its blocks, those down to the steps of its blocks."""
    blocks = {block for of_stage in published_stages(model).values() for block in of_stage}
    if not blocks:
        return names

    def steps_below(name: str) -> int:
        around = [block for block in blocks if name == block or name.startswith(f"{block}.")]
        base = max(around, key=len) if around else name.split(".")[0]
        return name.count(".") - base.count(".")

    return [name for name in names if steps_below(name) <= 1]
