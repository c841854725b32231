"""Which layers run on which part of the images, and the maps that come out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from rfkit._checks import check_choice, check_positive
from rfkit.analysis.crops import Crop, Cropper, NoCropError
from rfkit.analysis.input_gradients import REDUCTIONS, GradientSum
from rfkit.analysis.outputs import Output, Reshape, as_map, pick_tensor
from rfkit.analysis.unit_fields import OUTPUT, UnitFields
from rfkit.analysis.units import Unit, UnitSet, choose_units
from rfkit.hooks import capture, find_layers
from rfkit.results.box import Box

__all__ = ["Pass", "PassLayer", "Settings", "check_settings", "choose", "full_precision", "layer_names", "listed",
           "maps_of", "plan_passes"]  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """What the caller of `effective_rf` chose, checked."""

    unit: Unit
    reduce: str
    channels: tuple[int, ...] | None
    output: Output
    reshape: Reshape | Mapping[str, Reshape]
    rectify: bool

    def reshape_of(self, layer: str) -> Reshape:
        """How the outputs of `layer` become N C H W."""
        return self.reshape.get(layer) if isinstance(self.reshape, Mapping) else self.reshape


@dataclass
class PassLayer:
    """A layer, and the sums for its units, which are known once its map is."""

    name: str
    crop: Crop
    reason: str
    map_size: tuple[int, int] = (1, 1)
    placement: str = "graph"
    sums: list[GradientSum] = field(default_factory=list)

    def on_part(self, units: UnitSet) -> UnitSet:
        """The units as they are numbered on the part of the image that the network runs on."""
        rows, columns = self.crop.shift
        return UnitSet(tuple((row - rows, column - columns) for row, column in units.units), units.centre)


@dataclass
class Pass:
    """The layers that run on one part of the image."""

    box: Box | None
    layers: list[PassLayer] = field(default_factory=list)


@contextmanager
def full_precision() -> Iterator[None]:
    """Gradients on and autocast off, also inside a caller's `no_grad`, `inference_mode` or `autocast`."""
    with ExitStack() as stack:
        for context in (torch.inference_mode(False), torch.enable_grad()):
            stack.enter_context(context)
        for device in ("cpu", "cuda"):
            stack.enter_context(torch.autocast(device, enabled=False))
        yield


def check_settings(model: nn.Module, *, reduce: str, crop: str | bool, batch_size: int) -> None:
    """Raise `ValueError` for what is not allowed, or a model in half precision."""
    check_choice("reduce", reduce, REDUCTIONS)
    if not isinstance(crop, bool) and crop != "auto":
        raise ValueError(f"crop={crop!r} is not known; allowed: 'auto', True, False.")
    check_positive("batch_size", batch_size)
    half = {parameter.dtype for parameter in model.parameters()} & {torch.float16, torch.bfloat16}
    if half:
        raise ValueError(
            f"model has parameters of {half.pop()}; gradients are taken in full precision only: give model.float()."
        )


def listed(channels: int | Sequence[int] | None) -> tuple[int, ...] | None:
    """The channels as a tuple; None stands for all of them."""
    if channels is None:
        return None
    return (channels,) if isinstance(channels, int) else tuple(int(channel) for channel in channels)


def layer_names(model: nn.Module, layers: str | nn.Module | Sequence[str | nn.Module] | None) -> list[str]:
    """Full names of the layers meant, the model's own output last, as `OUTPUT`.

    Raises:
        ValueError: a name matches nothing, or there is none.
    """
    if layers is None:
        return [OUTPUT]
    wanted = [layers] if isinstance(layers, str | nn.Module) else list(layers)
    if not wanted:
        raise ValueError("layers=[] names no layer; give at least one, or None for the model's output.")
    own = OUTPUT in dict(model.named_modules())
    inner = [layer for layer in wanted if own or not (isinstance(layer, str) and layer == OUTPUT)]
    names = [name or OUTPUT for name in find_layers(model, inner)] if inner else []
    return names if len(inner) == len(wanted) else [*(name for name in names if name != OUTPUT), OUTPUT]


def plan_passes(fields: UnitFields, names: Sequence[str], settings: Settings, crop: str | bool) -> list[Pass]:
    """The layers grouped by the part of the image they run on.

    Raises:
        ValueError: `crop` is True, and a layer cannot be computed exactly on a part of the image.
    """
    cropper = Cropper(fields)
    passes: dict[tuple[int, ...] | None, Pass] = {}
    for name in names:
        found, reason = Crop(), "crop=False"
        if crop is not False:
            try:
                found, reason = _crop(cropper, fields, name, settings), ""
            except NoCropError as error:
                if crop is True:
                    raise ValueError(f"crop=True is not exact here: {error}") from None
                reason = str(error)
            if not reason and found.box is None:
                reason = "the theoretical field takes up the whole image."
        box = found.box
        key = None if box is None else (box.y0, box.x0, box.y1, box.x1)
        passes.setdefault(key, Pass(box)).layers.append(PassLayer(name, found, reason))
    return list(passes.values())


def _crop(cropper: Cropper, fields: UnitFields, name: str, settings: Settings) -> Crop:
    if settings.reshape_of(name) is not None:
        raise NoCropError(f"layer {name!r} is reshaped.")
    known = fields.field(name)
    if known is None or known.is_global:
        return cropper.crop(name, [])  # Raises, and says why.
    place, _ = fields.place(name, known.size)
    chosen = choose_units(settings.unit, layer=name, map_size=known.size, image_size=fields.image_size, place=place)
    return cropper.crop(name, [unit for entry in chosen for unit in entry.units])


def maps_of(model: nn.Module, image: Tensor, names: Sequence[str], settings: Settings) -> dict[str, Tensor]:
    """The N C H W maps of the layers for `image`, connected to it by gradients.

    Raises:
        ValueError: a layer did not run or returned no map, or a channel is not there.
    """
    inner = [name for name in names if name != OUTPUT or OUTPUT in dict(model.named_modules())]
    with capture(model, inner) as records:
        # A copy, because a network may begin with an operation in place.
        result = model(image.clone())
    maps = {}
    for name in names:
        if name in inner and name not in records:
            raise ValueError(f"layers: {name!r} did not run on these images.")
        picked = pick_tensor(records[name]) if name in inner else pick_tensor(result, settings.output)
        maps[name] = as_map(picked, layer=name, reshape=settings.reshape_of(name))
        for channel in settings.channels or ():
            if not -maps[name].shape[1] <= channel < maps[name].shape[1]:
                raise ValueError(
                    f"channels: {channel} is not a channel of layer {name!r}, which has 0 to {maps[name].shape[1] - 1}."
                )
    return maps


def choose(layer: PassLayer, maps: Tensor, settings: Settings, fields: UnitFields) -> None:
    """Decide on the units of a layer, now that the size of its map is known."""
    known = fields.field(layer.name) if layer.crop.box is not None else None
    layer.map_size = (maps.shape[2], maps.shape[3]) if known is None else known.size
    place, layer.placement = fields.place(layer.name, layer.map_size)
    if layer.map_size == (1, 1) and isinstance(settings.unit, str):
        # Scores of the whole image: the unit is at its middle by definition.
        middle = ((fields.image_size[0] - 1) / 2, (fields.image_size[1] - 1) / 2)
        chosen = [UnitSet(((0, 0),), middle)]
    else:
        chosen = choose_units(
            settings.unit, layer=layer.name, map_size=layer.map_size, image_size=fields.image_size, place=place
        )
    layer.sums = [GradientSum(layer.name, units, settings.reduce) for units in chosen]
