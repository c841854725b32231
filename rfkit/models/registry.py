"""Networks by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from rfkit._checks import unknown_name
from rfkit.models.dwrseg import DWRSeg, dwrseg_b, dwrseg_l, probe_dwrseg_l
from rfkit.models.frmnet import DWRSegFRM, FRMNet, dwrseg_l_frm, frmnet
from rfkit.models.regseg import RegSeg, regseg, regseg_l
from rfkit.models.stages import Network
from rfkit.models.weights import apply_weights, find_weights

__all__ = ["create_model", "list_models"]

_BUILDERS: dict[str, Callable[..., Network]] = {
    "dwrseg_b": dwrseg_b,
    "dwrseg_l": dwrseg_l,
    "probe_dwrseg_l": probe_dwrseg_l,
    "regseg": regseg,
    "regseg_l": regseg_l,
    "frmnet": frmnet,
    "dwrseg_l_frm": dwrseg_l_frm,
}

# The class whose arguments are the options of each network.
_CLASSES: dict[str, type[Network]] = {
    "dwrseg_b": DWRSeg,
    "dwrseg_l": DWRSeg,
    "probe_dwrseg_l": DWRSeg,
    "regseg": RegSeg,
    "regseg_l": RegSeg,
    "frmnet": FRMNet,
    "dwrseg_l_frm": DWRSegFRM,
}

# Without weights a network is built for Cityscapes, as in the paper.
_DEFAULT_CLASSES = 19


def list_models() -> tuple[str, ...]:
    """The names that `create_model` takes."""
    return tuple(_BUILDERS)


def create_model(
    name: str,
    *,
    num_classes: int | None = None,
    weights: str | Path | None = None,
    seed: int | None = None,
    **options: Any,
) -> Network:
    """A network by name, in training mode like any fresh module.

    Args:
        name: one of `list_models()`.
        num_classes: number of class scores; that of the weights if they are given, else 19.
        weights: a file written by `save_weights`, or the name of a data set whose weights ship with the package
            ("camvid"). The options stored with the weights are used unless `options` says otherwise.
        seed: draws the initial weights from this seed, leaving the global generator as it was. Without it they come
            from the global generator, as for any module.
        **options: of the network, see `DWRSeg`, `RegSeg`, `FRMNet` and `DWRSegFRM` in `rfkit.models`.

    Returns:
        The module, with `.name`, `.options`, `.num_classes`, `.stages`, and `.card` (the weights' card, or None).

    Raises:
        ValueError: `name` or an option is unknown, or `num_classes` differs from that of the weights.
        rfkit._checks.DataError: the weights do not belong to this network, or the file is damaged.

    Example:
        >>> create_model("dwrseg_b", num_classes=11).num_classes
        11
    """
    if name not in _BUILDERS:
        raise unknown_name("name", name, _BUILDERS)
    source = None if weights is None else find_weights(name, weights)
    if source is not None:
        options = {**source.card.options, **options} if source.card.model == name else options
        if num_classes is not None and num_classes != source.card.num_classes:
            raise ValueError(
                f"num_classes={num_classes} but {source.path} was trained with {source.card.num_classes} classes; "
                "leave num_classes out to take the number of the weights."
            )
        num_classes = source.card.num_classes
    classes = _DEFAULT_CLASSES if num_classes is None else num_classes
    _check_options(name, options)
    model = _build(name, classes, seed, options)
    model.name, model.options, model.card = name, dict(options), None
    if source is not None:
        apply_weights(model, source)
        model.card = source.card
    return model


def _build(name: str, num_classes: int, seed: int | None, options: dict[str, Any]) -> Network:
    if seed is None:
        return _BUILDERS[name](num_classes, **options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _BUILDERS[name](num_classes, **options)


def _check_options(name: str, options: dict[str, Any]) -> None:
    allowed = _allowed_options(_CLASSES[name])
    for option in options:
        if option not in allowed:
            raise unknown_name(f"option of {name}", option, allowed)


def _allowed_options(network: type[Network]) -> list[str]:
    """The keyword arguments of a network; where it hands others on (`**options`), those of the class it extends too."""
    parameters = inspect.signature(network).parameters.values()
    named = [entry.name for entry in parameters if entry.kind is entry.KEYWORD_ONLY]
    if any(entry.kind is entry.VAR_KEYWORD for entry in parameters):
        named += _allowed_options(network.__mro__[1])
    return named
