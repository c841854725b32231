"""What the analyses say of a choice, computed when it is asked for, and kept."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from torch import nn

from rfkit._checks import check_choice, check_positive
from rfkit.analysis.attribution import attribute
from rfkit.analysis.effective_units import UnitGradients
from rfkit.analysis.regions import region_maps
from rfkit.analysis.tracing.field_map import FieldMap
from rfkit.analysis.unit_fields import OUTPUT, PREFIX
from rfkit.explorer.choice import METHODS, PANELS, Choice
from rfkit.explorer.menu import Menu
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
        menu: the network, the image, and what can be chosen there.
        kept: how many results are kept; the oldest go first.
        watch: called before each computation with the model, for a context to run it in.
    """

    def __init__(
        self,
        menu: Menu,
        *,
        kept: int = 64,
        watch: Callable[[nn.Module], AbstractContextManager[Any]] | None = None,
    ) -> None:
        check_positive("kept", kept)
        self.menu, self._kept = menu, kept
        self._watch = watch if watch is not None else lambda _model: nullcontext()
        self._results: OrderedDict[Hashable, Any] = OrderedDict()
        self._gradients: OrderedDict[str, UnitGradients] = OrderedDict()
        self._state = self._fingerprint()

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
            "region": (self.menu.region_block(choice.layer), choice.branch, choice.region_channel),
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
            with self._watch(self.menu.model):
                self._results[key] = getattr(self, f"_{key[0]}")(choice)  # type: ignore[index]
            while len(self._results) > self._kept:
                self._results.popitem(last=False)
        self._results.move_to_end(key)
        return self._results[key]

    def _fingerprint(self) -> tuple[Hashable, ...]:
        tensors = [*self.menu.model.parameters(), *self.menu.model.buffers()]
        # A change of type keeps the parameter and puts other numbers into it; inference tensors count no versions.
        return tuple(
            (id(tensor), 0 if tensor.is_inference() else tensor._version, tensor.data_ptr(), tensor.dtype)
            for tensor in tensors
        )

    def changed(self) -> bool:
        """Whether the network's weights were changed since results were computed."""
        return self._fingerprint() != self._state

    def _forget(self) -> None:
        self._results.clear()
        self._gradients.clear()
        with self._watch(self.menu.model):
            self.menu.learn_classes()
        self._state = self._fingerprint()

    def _field(self, layer: str) -> FieldMap:
        """The theoretical fields of a layer, those of local paths where there are any."""
        found = None
        for paths in ("include", "ignore"):
            graph = self.menu.fields.graph(global_paths=paths)
            if graph is None:
                raise ValueError(f"the theoretical field is unknown: {self.menu.fields.reason}")
            if layer == OUTPUT and OUTPUT not in dict(self.menu.model.named_modules()):
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
            block = self.menu.block(layer) if self.menu.branches(layer) else None
            self._gradients[layer] = UnitGradients(
                self.menu.model, self.menu.image, layer, fields=self.menu.fields, block=block, output=self.menu.output
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
        block = self.menu.region_block(choice.layer)
        if block is None:
            having = [stage for stage in self.menu.stages if self.menu.region_channels(self.menu.stages[stage][0])]
            where = f"they are in {', '.join(having)}" if having else "nor has any layer of this network"
            raise ValueError(f"{choice.layer} has no block with the steps `region` and `semantic`; {where}.")
        channels = 1 if choice.region_channel is None else [choice.region_channel]
        rate = int(choice.branch[1:]) if choice.branch else None
        # A model that is itself the block has no name.
        found = region_maps(self.menu.model, self.menu.image, blocks=block or None, dilations=rate, channels=channels)
        return found.maps[0]

    def _attribution(self, choice: Choice) -> Attribution:
        scores = self.menu.class_scores()
        index = self.menu.class_at(choice.pixel) if choice.class_index is None else choice.class_index
        pointwise = scores.is_map and not choice.whole_class
        options: dict[str, Any] = dict(METHODS[choice.method])
        return attribute(
            self.menu.model,
            self.menu.image,
            target=(index, choice.pixel) if pointwise else index,
            method=choice.method,
            layer=choice.layer if choice.method == "grad_cam" else None,
            output=self.menu.output,
            class_names=self.menu.class_names,
            progress=False,
            **options,
        )
