"""The run folder: what belongs to a run, and whether a call means the run that is in the folder."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from rfkit._checks import DataError, data_error
from rfkit._files import write_text
from rfkit.data.dataset import Dataset
from rfkit.models.weights import Card, read_card
from rfkit.training.recipe import Recipe

__all__ = [
    "ENVIRONMENT", "LOCK", "LOG", "LOG_COLUMNS", "RECIPE", "WEIGHTS", "add_session", "card_of_run", "claim",
    "run_identity", "unwritten", "write_log",
]  # fmt: skip

RECIPE = "recipe.json"
ENVIRONMENT = "environment.json"
# Held while a run is under way; it goes with the process, and the file stays.
LOCK = ".lock"
LOG = "log.csv"
WEIGHTS = "weights.safetensors"

# No space, over the quota, over the largest size allowed.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

LOG_COLUMNS = (
    "epoch", "step", "learning_rate", "loss", "miou", "images_per_second", "seconds", "total_seconds",
)  # fmt: skip


def run_identity(model: nn.Module, data: Dataset, recipe: Recipe, *, seed: int, steps_per_epoch: int) -> dict[str, Any]:
    """All that the final weights depend on, in values that JSON has; the place of the files is not part of it."""
    shapes = [(name, list(value.shape)) for name, value in model.state_dict().items()]
    return {
        "recipe": recipe.to_dict(),
        "seed": seed,
        "model": {
            "name": getattr(model, "name", type(model).__name__),
            "options": _plain(getattr(model, "options", {})),
            "weights": _digest(shapes),
        },
        "data": {
            "name": data.name,
            "split": data.split,
            "samples": len(data),
            "classes": list(data.classes),
            "names": _digest(list(data.names)),
        },
        "steps_per_epoch": steps_per_epoch,
        "total_steps": steps_per_epoch * recipe.epochs,
    }


def claim(folder: Path, identity: dict[str, Any], *, resume: bool) -> None:
    """Make `folder` that of the run `identity`, or find that it is already.

    Raises:
        ValueError: The folder holds a run and `resume` is false, or another run; the message says what differs.
        rfkit._checks.DataError: Its recipe cannot be read.
    """
    path = folder / RECIPE
    _remove_leftovers(folder)
    if not path.exists():
        write_text(path, json.dumps(identity, indent=2) + "\n")
        return
    if not resume:
        raise ValueError(
            f"out={str(folder)!r} holds a run already; give resume=True to go on with it, or another folder."
        )
    try:
        former = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise data_error(path, f"cannot be read ({error}).") from error
    former = _with_later_fields(former)
    differences = [
        f"{name} is {former_value!r} in the folder and {value!r} now"
        for name, former_value, value in _differences(former, _plain(identity))
    ]
    if differences:
        raise ValueError(
            f"out={str(folder)!r} holds another run: {'; '.join(differences)}. Give the same arguments to go on with "
            "it, or another folder."
        )


def card_of_run(folder: Path, identity: dict[str, Any]) -> Card | None:
    """The card of the weights of the run `identity`; None where it has not begun or left none that can be read.

    Raises:
        ValueError: The folder holds another run; the message says what differs.
    """
    if not (folder / RECIPE).exists():
        return None
    claim(folder, identity, resume=True)
    try:
        return read_card(folder / WEIGHTS)
    except (FileNotFoundError, DataError):
        # Not there yet, or damaged: the run writes it anew from its checkpoint.
        return None


def add_session(folder: Path, session: dict[str, Any]) -> None:
    """Add what the run goes on with to the folder's list of environments."""
    path = folder / ENVIRONMENT
    sessions = []
    if path.exists():
        try:
            sessions = json.loads(path.read_text(encoding="utf-8"))["sessions"]
        except (ValueError, KeyError) as error:
            raise data_error(path, f"cannot be read ({error!r}); remove it to go on without it.") from error
    write_text(path, json.dumps({"sessions": [*sessions, session]}, indent=2) + "\n")


def write_log(folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write the log whole: one row an epoch."""
    text = io.StringIO()
    writer = csv.DictWriter(text, LOG_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / LOG, text.getvalue())


def unwritten(error: OSError, folder: Path, *, step: int) -> OSError:
    """The error that says what could not be written, what is intact, and how to go on.

    Args:
        error: What a write into the folder raised.
        folder: Run folder.
        step: Of the newest checkpoint; negative if there is none yet.
    """
    path, reason = Path(error.filename or folder), error.strerror or str(error)
    if error.errno in _FULL:
        reason += f" ({_space(path)})"
    intact = f"The checkpoint of step {step} is" if step >= 0 else "What was in the folder before is"
    repair = "make room" if error.errno in _FULL else "put that right"
    return OSError(
        f"{path} could not be written: {reason}. {intact} intact: to go on, {repair} and make the same call again."
    )


def _space(path: Path) -> str:
    """What is free where `path` is, and what it takes if it is about as large as the file of that name."""
    there = next(place for place in (path, *path.absolute().parents) if place.exists())
    parts = [f"{shutil.disk_usage(there).free / 1e6:,.2f} MB free"]
    if path.is_file():
        parts.append(f"about {path.stat().st_size / 1e6:,.2f} MB needed")
    return ", ".join(parts)


def _remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of a process that was killed while it wrote."""
    # Rates are written where the network learns dilation rates, curves by who draws the log.
    for name in ("checkpoint", "rates", "curves", *(Path(name).stem for name in (RECIPE, ENVIRONMENT, LOG, WEIGHTS))):
        for path in folder.glob(f".{name}.*"):
            path.unlink()


def _with_later_fields(identity: Any) -> Any:
    """What a folder holds, its recipe completed by the fields that there were not yet when it was written."""
    if not isinstance(identity, dict) or not isinstance(identity.get("recipe"), dict):
        return identity
    return {**identity, "recipe": {**Recipe().to_dict(), **identity["recipe"]}}


def _differences(former: Any, current: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    if isinstance(former, dict) and isinstance(current, dict):
        keys = [*former, *(key for key in current if key not in former)]
        return [
            found
            for key in keys
            for found in _differences(former.get(key), current.get(key), f"{name}.{key}" if name else str(key))
        ]
    return [] if former == current else [(name, former, current)]


def _plain(value: Any) -> Any:
    """The value as JSON gives it back."""
    return json.loads(json.dumps(value, default=str))


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
