"""Trained weights with the card that says where they come from.

One file holds both: tensors in safetensors form, the card as JSON in the file's header. A copy of the card lies beside
it for people to read. Loading never executes code.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from rfkit._checks import data_error, unknown_name
from rfkit._files import write_bytes, write_text

__all__ = [
    "Card",
    "WeightsFile",
    "apply_weights",
    "find_weights",
    "load_weights",
    "packaged_weights",
    "read_card",
    "read_weights",
    "save_weights",
]

# One entry of the header holds everything: with several, safetensors writes them in an order that changes from run to
# run, and the same weights would not give the same file.
_ENTRY, _VERSION = "rfkit-weights", 1
_SHOWN = 4  # differences listed in an error message


@dataclass(frozen=True)
class Card:
    """Where weights come from and what they are worth.

    Attributes:
        model: name of the network in the registry.
        num_classes: number of class scores.
        options: options the network was built with.
        class_names: the classes in the order of the scores; empty if unknown.
        data: data set trained on, split included in `split`.
        split: split trained on.
        recipe_name: name of the recipe.
        recipe: every number of the recipe.
        seed: seed of initial weights, order and augmentation.
        steps: optimiser steps taken.
        epochs: epochs really trained.
        horizon_epochs: epochs that the learning-rate schedule was laid out for.
        size: (height, width) of the crops trained on.
        scores: results of the file itself after reloading: "split", "miou", "class_iou", "size", and so on.
        date: day of the last step, ISO form.
        device: what it was trained on.
        software: versions.
        licence: licence of the data, one line.
        notes: anything else a user must know.
    """

    model: str
    num_classes: int
    options: dict[str, Any] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    data: str = ""
    split: str = ""
    recipe_name: str = ""
    recipe: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    steps: int = 0
    epochs: float = 0
    horizon_epochs: int = 0
    size: tuple[int, ...] = ()
    scores: dict[str, Any] = field(default_factory=dict)
    date: str = ""
    device: str = ""
    software: dict[str, str] = field(default_factory=dict)
    licence: str = ""
    notes: str = ""

    def __post_init__(self) -> None:
        if self.class_names and len(self.class_names) != self.num_classes:
            raise ValueError(
                f"class_names has {len(self.class_names)} names, num_classes={self.num_classes}; they must agree."
            )

    @property
    def training(self) -> str:
        """What was trained on and for how long, as figures and tables say it: "camvid trainval, 245 of 600 epochs"."""
        return f"{self.data} {self.split}, {self.epochs:.4g} of {self.horizon_epochs} epochs"

    def to_json(self) -> str:
        """The card as indented JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Card:
        """The card with these fields, as read from JSON. Fields of a later version are ignored."""
        known = {entry.name for entry in dataclasses.fields(cls)}
        values = {name: value for name, value in content.items() if name in known}
        for name in ("class_names", "size"):
            values[name] = tuple(values.get(name, ()))
        return cls(**values)


@dataclass(frozen=True)
class WeightsFile:
    """A weights file in memory: its path, its card, its tensors."""

    path: Path
    card: Card
    tensors: dict[str, Tensor]


def save_weights(model: nn.Module, path: str | Path, *, card: Card, half: bool = True) -> Path:
    """Write the weights of `model` with `card` to `path`, and the card as JSON beside it.

    Args:
        model: any module; its `state_dict` is written.
        path: file name, which must end in ".safetensors".
        card: what is known of the weights.
        half: store the weights of convolutions in half precision (float16). Batch-norm weights and statistics stay in
            single precision, because a small running variance does not survive half precision.

    Returns:
        `path`.

    Raises:
        ValueError: `path` has another ending, or a weight is not finite (also after rounding to half precision).
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"path={str(path)!r} must end in '.safetensors'.")
    kept = _norm_names(model)
    tensors = {}
    for name, tensor in model.state_dict().items():
        value = tensor.detach().cpu()
        if half and value.dtype == torch.float32 and name not in kept:
            value = value.half()
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise ValueError(f"weight {name!r} holds values that are not finite; nothing was written to {path}.")
        tensors[name] = value.contiguous()
    content = {"version": _VERSION, "card": dataclasses.asdict(card), "digest": _digest(tensors)}
    header = {_ENTRY: json.dumps(content)}
    write_bytes(path, to_safetensors(tensors, metadata=header))
    write_text(path.with_suffix(".json"), card.to_json())
    return path


def read_weights(path: str | Path) -> WeightsFile:
    """The card and the tensors of a file written by `save_weights`, read without executing code.

    Raises:
        FileNotFoundError: there is no such file.
        PermissionError: it may not be read.
        rfkit._checks.DataError: the file is truncated, damaged, of another kind, or from a newer version.
    """
    path = Path(path)
    card, digest = _read_header(path)
    with safe_open(path, framework="pt") as handle:
        tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 (not a mapping)
    # A file from before there were digests has none.
    if digest is not None and digest != _digest(tensors):
        raise data_error(path, "is damaged: its weights are not those that were written (their digest differs).")
    return WeightsFile(path, card, tensors)


def read_card(path: str | Path) -> Card:
    """The card in the header of a weights file, the weights left unread; raises as `read_weights` does."""
    return _read_header(Path(path))[0]


def _read_header(path: Path) -> tuple[Card, str | None]:
    """The card, and the digest of the weights if there is one."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such weights file.")
    # safetensors says of a file that may not be read that there is none.
    path.open("rb").close()
    try:
        with safe_open(path, framework="pt") as handle:
            header = handle.metadata() or {}
    except SafetensorError as error:
        raise data_error(path, f"is truncated or not a safetensors file ({error}).") from error
    if _ENTRY not in header:
        raise data_error(path, "has no rfkit card in its header; write weights with rfkit.save_weights.")
    try:
        content = json.loads(header[_ENTRY])
        version, card = content["version"], content["card"]
    except (KeyError, TypeError, ValueError) as error:
        raise data_error(path, f"has a damaged card ({error}).") from error
    if version != _VERSION:
        raise data_error(path, f"is of format version {version!r}; this rfkit reads version {_VERSION}.")
    try:
        return Card.from_dict(card), content.get("digest")
    except (AttributeError, TypeError, ValueError) as error:
        raise data_error(path, f"has a damaged card ({error}).") from error


def load_weights(model: nn.Module, source: str | Path) -> Card:
    """Load weights from a file, or shipped weights by the name of their data set, into `model`; returns the card.

    Nothing is loaded unless everything fits.

    Raises:
        FileNotFoundError, ValueError: there are no such weights.
        rfkit._checks.DataError: the file is damaged or made for another network; the message says what differs.
    """
    weights = find_weights(getattr(model, "name", type(model).__name__), source)
    apply_weights(model, weights)
    return weights.card


def apply_weights(model: nn.Module, weights: WeightsFile) -> None:
    """Copy the tensors of `weights` into `model`, or raise `DataError` saying what differs and change nothing."""
    name = getattr(model, "name", None)
    if name is not None and weights.card.model != name:
        raise data_error(weights.path, f"holds weights of {weights.card.model!r}, not of {name!r}.")
    classes = getattr(model, "num_classes", None)
    if classes is not None and weights.card.num_classes != classes:
        raise data_error(
            weights.path, f"was trained with {weights.card.num_classes} classes, the network has {classes}."
        )
    state = model.state_dict()
    differences = _differences(state, weights.tensors)
    if differences:
        shown = "; ".join(differences[:_SHOWN])
        more = f"; and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
        raise data_error(weights.path, f"does not fit the network: {shown}{more}.")
    model.load_state_dict({key: weights.tensors[key].to(value.dtype) for key, value in state.items()})


def packaged_weights() -> dict[tuple[str, str], Path]:
    """The weights that ship with the package: (model, data set) -> file."""
    folder = Path(str(resources.files("rfkit"))) / "weights"
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        model, _, data = path.stem.rpartition("-")
        found[model, data] = path
    return found


def find_weights(model: str, source: str | Path) -> WeightsFile:
    """The weights file that `source` means for the network called `model`: a path, or the name of a data set.

    Raises:
        ValueError: `source` names neither a file nor weights that ship for this network.
        FileNotFoundError, rfkit._checks.DataError: see `read_weights`.
    """
    if isinstance(source, Path) or str(source).endswith(".safetensors") or "/" in str(source):
        return read_weights(source)
    shipped = packaged_weights()
    if (model, str(source)) not in shipped:
        names = [data for name, data in shipped if name == model]
        raise unknown_name(f"weights for {model!r}", str(source), [*names, "a path to a .safetensors file"])
    return read_weights(shipped[model, str(source)])


def _digest(tensors: dict[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes of tensors on the CPU."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _norm_names(model: nn.Module) -> set[str]:
    norms = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)
    return {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in model.named_modules()
        if isinstance(module, norms)
        for name in module.state_dict()
    }


def _differences(state: dict[str, Tensor], tensors: dict[str, Tensor]) -> list[str]:
    missing = [f"{name} is missing" for name in state if name not in tensors]
    extra = [f"{name} is not in the network" for name in tensors if name not in state]
    shapes = [
        f"{name} has shape {tuple(tensors[name].shape)}, the network needs {tuple(value.shape)}"
        for name, value in state.items()
        if name in tensors and tensors[name].shape != value.shape
    ]
    return [*shapes, *missing, *extra]
