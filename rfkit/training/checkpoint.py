"""The resumable state of a run, in one file that is written whole or not at all."""

from __future__ import annotations

import os
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rfkit._checks import data_error
from rfkit._files import replacing

__all__ = ["CHECKPOINT", "PREVIOUS", "DivergenceError", "load_checkpoint", "save_checkpoint"]

CHECKPOINT = "checkpoint.pt"
PREVIOUS = "checkpoint-previous.pt"

_FORMAT = 1
_KEYS = {"format", "step", "model", "optimizer", "log", "epoch_loss", "epoch_seconds"}


class DivergenceError(ArithmeticError):
    """The loss or a weight is NaN or infinite; the last good checkpoint is untouched."""


def save_checkpoint(folder: str | Path, state: dict[str, Any]) -> Path:
    """Write `state` to `folder`, keeping the file that was there as the previous one.

    Killed at any moment, this leaves at least one whole checkpoint in the folder.

    Args:
        folder: Run folder.
        state: Tensors, numbers, strings, and dicts and lists of them.

    Returns:
        The path of the file.

    Raises:
        DivergenceError: A tensor in "model" is not finite; nothing is written.
    """
    path = Path(folder) / CHECKPOINT
    bad = [
        name
        for name, value in state["model"].items()
        if value.is_floating_point() and not bool(torch.isfinite(value).all())
    ]
    if bad:
        raise DivergenceError(f"{', '.join(bad[:3])} holds values that are not finite; {path} was left as it was.")
    with replacing(path) as temporary:
        torch.save({"format": _FORMAT, **state}, temporary)
        if path.exists():
            os.replace(path, path.with_name(PREVIOUS))
    return path


def load_checkpoint(folder: str | Path) -> dict[str, Any] | None:
    """The newest whole checkpoint of a run folder, on the CPU; None if there is none. No code in it is executed.

    A damaged file is passed over with a warning that names it, in favour of the previous one.

    Args:
        folder: Run folder.

    Returns:
        What was given to `save_checkpoint`, or None.

    Raises:
        rfkit._checks.DataError: There are checkpoints and none of them can be read.
    """
    problems: list[str] = []
    for name in (CHECKPOINT, PREVIOUS):
        path = Path(folder) / name
        if not path.exists():
            continue
        try:
            state = _read(path)
        except (
            RuntimeError,
            ValueError,
            EOFError,
            KeyError,
            OSError,
            pickle.UnpicklingError,
            zipfile.BadZipFile,
        ) as error:
            problems.append(f"{path} ({str(error).splitlines()[0] if str(error) else type(error).__name__})")
            continue
        if problems:
            warnings.warn(f"{problems[0]} is damaged; going on from {path}, step {state['step']}.", stacklevel=2)
        return state
    if problems:
        raise data_error(
            Path(folder),
            f"no checkpoint can be read: {'; '.join(problems)}. Remove the folder to start the run again.",
        )
    return None


def _read(path: Path) -> dict[str, Any]:
    state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict) or not state.keys() >= _KEYS:
        raise ValueError("not a checkpoint of rfkit")
    if state["format"] != _FORMAT:
        raise ValueError(f"format {state['format']}, this version reads {_FORMAT}")
    model: dict[str, Tensor] = state["model"]
    if not all(bool(torch.isfinite(value).all()) for value in model.values() if value.is_floating_point()):
        raise ValueError("holds weights that are not finite")
    return state
