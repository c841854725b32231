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

from rfkit._checks import DataError, data_error
from rfkit._files import replacing

__all__ = [
    "CHECKPOINT",
    "DAMAGED",
    "PREVIOUS",
    "DivergenceError",
    "load_checkpoint",
    "restore_optimizer",
    "save_checkpoint",
]

CHECKPOINT = "checkpoint.pt"
PREVIOUS = "checkpoint-previous.pt"
DAMAGED = "checkpoint-damaged.pt"

_FORMAT = 1
_KEYS = {"format", "step", "model", "optimizer", "log", "epoch_loss", "epoch_seconds"}
_FOLDER = 0x10  # attribute of a part of a ZIP archive
# What sets optimisers apart, of all that they keep for a group of parameters; the learning rate is set in each step.
_OF_RECIPE = ("momentum", "betas", "weight_decay")


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
        OSError: It cannot be written, for example on a full disk; the files in the folder are as they were.
    """
    path = Path(folder) / CHECKPOINT
    bad = [
        name
        for name, value in state["model"].items()
        if value.is_floating_point() and not bool(torch.isfinite(value).all())
    ]
    if bad:
        raise DivergenceError(f"{', '.join(bad[:3])} holds values that are not finite; {path} was left as it was.")
    with replacing(path, former=path.with_name(PREVIOUS)) as temporary:
        _write({"format": _FORMAT, **state}, temporary)
    return path


def load_checkpoint(folder: str | Path) -> dict[str, Any] | None:
    """The newest whole checkpoint of a run folder, on the CPU; None if there is none. No code in it is executed.

    Every part of the file is compared with its checksum. A damaged file is passed over with a warning that names it, in
    favour of the previous one, and set aside, so that the next checkpoint does not put it in the place of the good one.

    Args:
        folder: Run folder.

    Returns:
        What was given to `save_checkpoint`, or None.

    Raises:
        rfkit._checks.DataError: There are checkpoints and none of them can be read, or one is not ours to pass over:
            it was written by a later version, or may not be read.
    """
    problems: list[str] = []
    for name in (CHECKPOINT, PREVIOUS):
        path = Path(folder) / name
        if not path.exists():
            continue
        try:
            state = _read(path)
        except DataError:
            raise
        except PermissionError as error:
            raise data_error(path, f"cannot be read ({error.strerror}); make it readable to go on.") from error
        except (RuntimeError, ValueError, EOFError, KeyError, OSError) as error:
            problems.append(f"{path} ({str(error).splitlines()[0] if str(error) else type(error).__name__})")
            continue
        if problems:
            os.replace(Path(folder) / CHECKPOINT, Path(folder) / DAMAGED)
            warnings.warn(
                f"{problems[0]} is damaged; going on from {path}, step {state['step']}. The damaged file is {DAMAGED} "
                "now.",
                stacklevel=2,
            )
        return state
    if problems:
        raise data_error(
            Path(folder),
            f"no checkpoint can be read: {'; '.join(problems)}. Remove the folder to start the run again.",
        )
    return None


def restore_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Give `optimizer` the state that a checkpoint holds, or raise `ValueError` if it is that of another recipe."""
    for own, saved in zip(optimizer.param_groups, state["param_groups"], strict=False):
        for name in _OF_RECIPE:
            # torch would take over these too, and fail, or not, in the next step.
            if own.get(name) != saved.get(name):
                raise ValueError(f"its optimizer has {name} {saved.get(name)}, that of the recipe {own.get(name)}")
    optimizer.load_state_dict(state)


def _write(state: dict[str, Any], path: Path) -> None:
    try:
        # Into a file that is closed here: torch, given a path, keeps the file open and hides why a write failed.
        with path.open("wb") as file:
            torch.save(state, file)
    except RuntimeError as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, OSError):
                raise cause from None
            cause = cause.__context__
        raise


def _read(path: Path) -> dict[str, Any]:
    """The checked content of a file; a `ValueError` that is no `DataError` says how it is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            # torch would take a part that is marked as a folder for whatever the memory holds.
            if any(part.compress_type or part.external_attr & _FOLDER for part in archive.infolist()):
                raise ValueError("its list of parts is damaged")
            # torch.save stores checksums, but torch.load does not look at them.
            damaged = archive.testzip()
    except zipfile.BadZipFile as error:
        raise ValueError("truncated, or not a checkpoint at all") from error
    if damaged is not None:
        raise ValueError(f"its part {damaged} does not agree with its checksum")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            "holds more than tensors, numbers and text, which is never loaded: it could run code"
        ) from error
    if not isinstance(state, dict) or "format" not in state:
        raise ValueError("not a checkpoint of rfkit")
    if isinstance(state["format"], int) and state["format"] > _FORMAT:
        raise data_error(
            path,
            f"is of format {state['format']}, from a later version of rfkit; this one reads format {_FORMAT}. Update "
            "rfkit to go on with this run.",
        )
    if state["format"] != _FORMAT or not state.keys() >= _KEYS:
        raise ValueError("not a checkpoint of rfkit")
    model: dict[str, Tensor] = state["model"]
    if not all(bool(torch.isfinite(value).all()) for value in model.values() if value.is_floating_point()):
        raise ValueError("holds weights that are not finite")
    return state
