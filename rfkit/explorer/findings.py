"""What the analyses say of one network and one image, each computed when it is asked for, and kept."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rfkit._checks import check_choice, check_positive, unknown_name
from rfkit.analysis.attribution import attribute
from rfkit.analysis.effective_units import UnitGradients
from rfkit.analysis.find_branches import BranchBlock, find_branch_blocks
from rfkit.analysis.images import as_batches, as_picture
from rfkit.analysis.outputs import Output, as_map, pick_tensor
from rfkit.analysis.regions import region_maps
from rfkit.analysis.segmentation_target import SegmentationTarget
from rfkit.analysis.stages import published_stages, stages_of
from rfkit.analysis.tracing.field_map import FieldMap
from rfkit.analysis.unit_fields import OUTPUT, PREFIX, UnitFields
from rfkit.analysis.units import Place
from rfkit.analysis.untouched import untouched
from rfkit.explorer.choice import METHODS, PANELS, Choice
from rfkit.hooks import observe
from rfkit.results.attribution import Attribution
from rfkit.results.box import Box
from rfkit.results.effective import EffectiveRF
from rfkit.results.regions import RegionMap
from rfkit.results.support import Support

__all__ = ["Findings"]

# What gradients need of a layer takes the memory of a training step, so that only the last few layers are kept.
_LAYERS_KEPT = 2


class Findings:
    """Boxes, supports, effective fields, region maps and attributions of one image, by layer, unit, branch and channel.

    Everything is computed by the analyses of `rfkit`, when it is asked for, and kept; a network whose weights were
    changed since is computed anew. The network is left as it was found.

    Args:
        model: any module that takes one image.
        image: 3 H W or 1 3 H W, 8 bit or normalised as the model takes it.
        output: which part of what the network returns is meant by "output", and holds the class scores.
        class_names: names of the classes, in their order; those of `model.card` by default.
        kept: how many results are kept; the oldest go first.
        watch: called before each computation with the model, for a context to run it in.

    Attributes:
        picture: the image, (height, width, 3), 8 bit.
        stages: stage -> its layers, in the order in which they stand in the model; "output" last.
        shapes: layer -> (channels, rows, columns) of its map.
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
        kept: int = 64,
        watch: Callable[[nn.Module], AbstractContextManager[Any]] | None = None,
    ) -> None:
        check_positive("kept", kept)
        batches = as_batches(image, model)
        if len(batches) != 1:
            raise ValueError(f"image holds {len(batches)} images; give one.")
        self.model = model
        self._image, self._output, self._given_names, self._kept = image, output, class_names, kept
        self._watch = watch if watch is not None else lambda _model: nullcontext()
        self._results: OrderedDict[Hashable, Any] = OrderedDict()
        self._gradients: OrderedDict[str, UnitGradients] = OrderedDict()
        self.picture = as_picture(image).numpy()
        self._fields = UnitFields(model, batches[0].shape[1:], output)
        self._look_around(batches[0])
        self._state = self._fingerprint()

    def _look_around(self, batch: Tensor) -> None:
        """Learn in one forward pass which layers return maps; then where branches are, and which classes there are."""
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
        graph = self._fields.graph()
        maps = [] if graph is None else [graph[name] for name in graph.layers]
        if any(found_map.status != "unknown" and found_map.is_global for found_map in maps):
            # Traced now, because afterwards units are placed while something else may run the network.
            self._fields.graph(global_paths="ignore")
        whole = _map_shape(result, self._output)
        if whole is not None:
            self.stages[OUTPUT] = (*self.stages.get(OUTPUT, ()), OUTPUT)
            self.shapes.setdefault(OUTPUT, whole)
        if not self.shapes:
            raise ValueError(f"no layer of this {type(self.model).__name__} returns a map N C H W: nothing to explore.")
        self._learn_classes()

    def _learn_classes(self) -> None:
        self._scores: SegmentationTarget | None = None
        self.class_names: tuple[str, ...] = ()
        self.no_classes = ""
        try:
            self._scores = SegmentationTarget(self.model, self._image, output=self._output)
        except ValueError as error:
            self.no_classes = str(error)
            return
        given = self._given_names or getattr(getattr(self.model, "card", None), "class_names", None)
        names = tuple(given or map(str, range(self._scores.classes)))
        if len(names) != self._scores.classes:
            raise ValueError(f"class_names has {len(names)} names; the network has {self._scores.classes} classes.")
        self.class_names = names

    # -- what can be chosen --------------------------------------------------------------------------------------------

    def start(self, *, layer: str | None = None, pixel: tuple[int, int] | None = None) -> Choice:
        """The choice to begin with: by default the last stage before the output, and the middle of the image.

        Raises:
            ValueError: there is no such layer, or the pixel is outside of the image.
        """
        height, width = self.picture.shape[:2]
        if pixel is None:
            pixel = ((height - 1) // 2, (width - 1) // 2)
        self._check_within("pixel", pixel, (height, width), "pixels of the image")
        if layer is None:
            published = [stage for stage in published_stages(self.model) if stage in self.stages]
            inner = published or [stage for stage in self.stages if stage != OUTPUT] or [OUTPUT]
            layer = self.stages[inner[-1]][0 if published else -1]
        elif layer not in self.shapes:
            raise unknown_name("layer", layer, self.shapes)
        return Choice(layer, self.place(layer).unit(*pixel), pixel)

    def changed_choice(self, choice: Choice, **changes: Any) -> Choice:
        """`choice` with some fields changed, and with what follows from that.

        A unit takes its pixel along, and a pixel or a layer the unit whose field is centred nearest to the pixel. A
        channel or branch that another layer does not have is dropped.

        Raises:
            ValueError: there is no such layer, unit, pixel, channel, branch, class or method.
            TypeError: `Choice` has no such field.
        """
        found = dataclasses.replace(choice, **changes)
        if found.layer not in self.shapes:
            raise unknown_name("layer", found.layer, self.shapes)
        if found.layer != choice.layer:
            dropped: dict[str, Any] = {"channel": None, "branch": "", "region_channel": None}
            kept = {
                name
                for name, there in (
                    ("channel", (found.channel or 0) < self.shapes[found.layer][0]),
                    ("branch", found.branch in self.branches(found.layer)),
                    ("region_channel", self._region_block(found.layer) == self._region_block(choice.layer)),
                )
                if there or name in changes
            }
            found = dataclasses.replace(found, **{name: to for name, to in dropped.items() if name not in kept})
        self._check_within("pixel", found.pixel, self.picture.shape[:2], "pixels of the image")
        if "unit" not in changes and ("pixel" in changes or found.layer != choice.layer):
            found = dataclasses.replace(found, unit=self.place(found.layer).unit(*found.pixel))
        self._check_within("unit", found.unit, self.shapes[found.layer][1:], f"units of {found.layer}")
        if "unit" in changes and "pixel" not in changes:
            found = dataclasses.replace(found, pixel=self.pixel_of(found.layer, found.unit))
        self._check(found)
        return found

    def _check(self, choice: Choice) -> None:
        for name, value, count in (
            ("channel", choice.channel, self.shapes[choice.layer][0]),
            ("region_channel", choice.region_channel, self.region_channels(choice.layer)),
            ("class_index", choice.class_index, len(self.class_names)),
        ):
            if value is not None and not 0 <= value < count:
                allowed = f"0 to {count - 1}" if count else "none here"
                raise ValueError(f"{name}={value} is out of range; allowed: {allowed}.")
        if choice.branch:
            check_choice("branch", choice.branch, self.branches(choice.layer))
        check_choice("method", choice.method, METHODS)

    @staticmethod
    def _check_within(name: str, place: tuple[int, int], size: tuple[int, ...], of: str) -> None:
        if not (0 <= place[0] < size[0] and 0 <= place[1] < size[1]):
            raise ValueError(f"{name}={tuple(place)} is outside of the {size[0]} x {size[1]} {of}.")

    def stage_of(self, layer: str) -> str:
        """The stage that a layer is listed under."""
        return next(stage for stage, layers in self.stages.items() if layer in layers)

    def place(self, layer: str) -> Place:
        """Where in the image the units of a layer look; by their place in the map where their fields are unknown."""
        return self._fields.place(layer, self.shapes[layer][1:])[0]

    def pixel_of(self, layer: str, unit: tuple[int, int]) -> tuple[int, int]:
        """The pixel of the image in the middle of a unit's field."""
        middle = self.place(layer).pixel(*unit)
        row, column = (
            min(max(round(at), 0), length - 1) for at, length in zip(middle, self.picture.shape[:2], strict=True)
        )
        return row, column

    def branches(self, layer: str) -> tuple[str, ...]:
        """Labels of the branches that lead to a layer: those of the last block that it holds or ends with."""
        block = self._block(layer)
        if block is None:
            return ()
        labels = dict.fromkeys(f"d{branch.dilation}" for branch in block.branches)
        # Two branches with one rate cannot be told apart by it.
        return tuple(labels) if len(labels) == len(block.branches) else ()

    def region_channels(self, layer: str) -> int:
        """Number of channels of the region map of the layer's block; 0 where it has none."""
        block = self._region_block(layer)
        name = f"{block}.region" if block else "region"
        return self.shapes[name][0] if block is not None and name in self.shapes else 0

    def _block(self, layer: str) -> BranchBlock | None:
        fitting = [
            block
            for block in self._blocks
            if layer in (block.name, block.merge) or block.merge.startswith(f"{layer}.")
        ]
        return fitting[-1] if fitting else None

    def _region_block(self, layer: str) -> str | None:
        """The block with region and semantic steps that a layer belongs to, or the last one in it."""
        modules = dict(self.model.named_modules())
        having = [name for name, module in modules.items() if isinstance(getattr(module, "region", None), nn.Module)]
        around = [name for name in having if layer == name or layer.startswith(f"{name}.")]
        within = [name for name in having if name.startswith(f"{layer}.")]
        return (around or within or [None])[-1]

    # -- what is found -------------------------------------------------------------------------------------------------

    def has(self, panel: str, choice: Choice) -> bool:
        """Whether what a panel shows of a choice is computed already."""
        return self.key(panel, choice) in self._results

    def key(self, panel: str, choice: Choice) -> Hashable:
        """What of a choice matters to a panel: equal keys, equal results."""
        check_choice("panel", panel, PANELS)
        chosen = {
            "box": (choice.layer, choice.unit),
            "support": (choice.layer, choice.unit),
            "map": (choice.layer, choice.channel),
            "effective": (choice.layer, choice.unit, choice.channel, choice.branch),
            "region": (self._region_block(choice.layer), choice.branch, choice.region_channel),
            "attribution": (
                choice.pixel, choice.class_index, choice.whole_class, choice.method,
                choice.layer if choice.method == "grad_cam" else "",
            ),
        }  # fmt: skip
        # The two steps of a block are two panels of one result.
        kind = "region" if panel == "semantic" else panel
        return (kind, *chosen[kind])

    def get(self, panel: str, choice: Choice) -> Any:
        """What a panel shows of a choice: from what is kept, or computed.

        Returns:
            "box": a `Box`; "support": a `Support`; "map": an array (rows, columns); "effective": an `EffectiveRF`;
            "region" and "semantic": a `RegionMap`; "attribution": an `Attribution`.

        Raises:
            ValueError: it cannot be computed; the message says why.
        """
        if self.changed():
            self._forget()
        key = self.key(panel, choice)
        if key not in self._results:
            with self._watch(self.model):
                self._results[key] = getattr(self, f"_{key[0]}")(choice)  # type: ignore[index]
            while len(self._results) > self._kept:
                self._results.popitem(last=False)
        self._results.move_to_end(key)
        return self._results[key]

    def _fingerprint(self) -> tuple[tuple[int, int], ...]:
        tensors = [*self.model.parameters(), *self.model.buffers()]
        return tuple((id(tensor), tensor._version) for tensor in tensors)

    def changed(self) -> bool:
        """Whether the network's weights were changed since results were computed."""
        return self._fingerprint() != self._state

    def _forget(self) -> None:
        self._results.clear()
        self._gradients.clear()
        with self._watch(self.model):
            self._learn_classes()
        self._state = self._fingerprint()

    def _field(self, layer: str) -> FieldMap:
        """The theoretical fields of a layer, those of local paths where there are any."""
        found = None
        for paths in ("include", "ignore"):
            graph = self._fields.graph(global_paths=paths)
            if graph is None:
                raise ValueError(f"the theoretical field is unknown: {self._fields.reason}")
            if layer == OUTPUT and OUTPUT not in dict(self.model.named_modules()):
                found = graph.output
            elif f"{PREFIX}{layer}" in graph.layers:
                found = graph[f"{PREFIX}{layer}"]
            else:
                raise ValueError(f"the theoretical field of {layer!r} is unknown: it does not depend on the image.")
            if found.status == "unknown":
                raise ValueError(f"the theoretical field of {layer!r} is unknown: {found.reason}.")
            if found.is_local:
                break
        assert found is not None
        return found

    def _box(self, choice: Choice) -> Box:
        return self._field(choice.layer)[choice.unit]

    def _support(self, choice: Choice) -> Support:
        return dataclasses.replace(self._field(choice.layer).support(*choice.unit), layer=choice.layer)

    def _of_layer(self, layer: str) -> UnitGradients:
        if layer not in self._gradients:
            block = self._block(layer) if self.branches(layer) else None
            self._gradients[layer] = UnitGradients(
                self.model, self._image, layer, fields=self._fields, block=block, output=self._output
            )
            while len(self._gradients) > _LAYERS_KEPT:
                self._gradients.popitem(last=False)
        self._gradients.move_to_end(layer)
        return self._gradients[layer]

    def _map(self, choice: Choice) -> np.ndarray:
        maps = self._of_layer(choice.layer).maps
        return maps.mean(axis=0) if choice.channel is None else maps[choice.channel]

    def _effective(self, choice: Choice) -> EffectiveRF:
        channels = None if choice.channel is None else (choice.channel,)
        return self._of_layer(choice.layer).field(choice.unit, channels=channels, branch=choice.branch)

    def _region(self, choice: Choice) -> RegionMap:
        block = self._region_block(choice.layer)
        if block is None:
            raise ValueError(f"{choice.layer} has no block with the steps `region` and `semantic` (RR and SR).")
        channels = 1 if choice.region_channel is None else [choice.region_channel]
        rate = int(choice.branch[1:]) if choice.branch else None
        if not block:
            maps = region_maps(self.model, self._image, dilations=rate, channels=channels).maps
        else:
            maps = region_maps(self.model, self._image, blocks=block, dilations=rate, channels=channels).maps
        return maps[0]

    def _attribution(self, choice: Choice) -> Attribution:
        if self._scores is None:
            raise ValueError(f"this network gives no class scores: {self.no_classes}")
        index = self.class_at(choice.pixel) if choice.class_index is None else choice.class_index
        pointwise = self._scores.is_map and not choice.whole_class
        options: dict[str, Any] = dict(METHODS[choice.method])
        return attribute(
            self.model,
            self._image,
            target=(index, choice.pixel) if pointwise else index,
            method=choice.method,
            layer=choice.layer if choice.method == "grad_cam" else None,
            output=self._output,
            class_names=self.class_names,
            progress=False,
            **options,
        )

    def class_at(self, pixel: tuple[int, int]) -> int:
        """The class that the network predicts at a pixel; of the whole image, where it gives one score a class.

        Raises:
            ValueError: the network gives no class scores.
        """
        if self._scores is None:
            raise ValueError(f"this network gives no class scores: {self.no_classes}")
        if not self._scores.is_map:
            with torch.no_grad(), untouched(self.model):
                return int(self._scores(as_batches(self._image, self.model)[0])[0].argmax())
        return int(self._scores.masks[:, pixel[0], pixel[1]].int().argmax())


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
