"""How long the probes are trained: minutes turned into a number of epochs, once, and kept."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rfkit._checks import check_positive, data_error
from rfkit._files import write_text
from rfkit.data.dataset import Dataset, Sample
from rfkit.studies.adviser.task import Task
from rfkit.training.batches import count_steps
from rfkit.training.loop import train

__all__ = ["Budget", "settle_budget"]

_FILE = "budget.json"
# The first steps of a process are slow: memory is touched for the first time. The rest is measured.
_FIRST, _MEASURED = 2, 6


@dataclass(frozen=True)
class Budget:
    """How long each probe is trained.

    Attributes:
        epochs: epochs of one training.
        minutes: minutes that were asked for, for all trainings together; None if epochs were asked for.
        trainings: trainings among which the minutes were divided.
        seconds_per_step: what a step was measured to take; None if epochs were asked for.
    """

    epochs: int
    minutes: float | None = None
    trainings: int | None = None
    seconds_per_step: float | None = None


def settle_budget(task: Task, *, epochs: int | None, minutes: float | None, trainings: int) -> Budget:
    """The budget, as it was settled by the first call that wrote into this folder.

    The learning rate falls to zero at the last epoch, so the number of epochs must not change when a training goes on.
    Minutes are therefore measured once, on a few steps, and kept in `budget.json` as epochs.

    Args:
        task: what is trained.
        epochs: epochs of each training; or
        minutes: minutes for all trainings together, scoring not included.
        trainings: how many there are.

    Raises:
        ValueError: not exactly one of `epochs` and `minutes` is given, or the folder holds another budget.
        rfkit._checks.DataError: the file in the folder cannot be read.
    """
    if (epochs is None) == (minutes is None):
        raise ValueError(f"epochs={epochs}, minutes={minutes}: give one of them; it is the budget.")
    name, value = ("epochs", epochs) if minutes is None else ("minutes", minutes)
    assert value is not None
    check_positive(name, value)
    path = task.out / _FILE
    if path.exists():
        return _kept(path, name, value)
    if epochs is not None:
        budget = Budget(epochs)
    else:
        assert minutes is not None
        seconds = _seconds_per_step(task)
        per_epoch = seconds * count_steps(task.data, task.recipe)
        budget = Budget(max(1, int(60 * minutes / trainings / per_epoch)), minutes, trainings, seconds)
    write_text(path, json.dumps(asdict(budget), indent=2) + "\n")
    return budget


def _kept(path: Path, name: str, value: float) -> Budget:
    try:
        budget = Budget(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise data_error(path, f"cannot be read ({error}).") from error
    asked = {"epochs": budget.epochs} if budget.minutes is None else {"minutes": budget.minutes}
    if asked != {name: value}:
        former = next(f"{key}={number:g}" for key, number in asked.items())
        raise ValueError(
            f"{name}={value:g}, but {path.parent} holds an advice with {former}. Give the same to go on with it, or "
            "another folder."
        )
    return budget


def _seconds_per_step(task: Task) -> float:
    """Seconds of one step of this training, on this machine, as busy as it is now."""
    steps = _FIRST + _MEASURED
    data = _Repeated(task.data, steps * task.recipe.batch_size)
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        train(
            task.probe(0),
            data,
            recipe=task.with_epochs(1).recipe,
            out=folder,
            device=task.device,
            threads=task.threads,
            progress=False,
            tensorboard=False,
            on_step=lambda _step: times.append(time.monotonic()),
        )
    return (times[-1] - times[_FIRST - 1]) / _MEASURED


class _Repeated(Dataset):
    """The first samples of a data set, over again where there are not enough."""

    def __init__(self, data: Dataset, length: int) -> None:
        self._data = data
        self.name, self.split, self.root = data.name, data.split, data.root
        self.classes, self.colours, self.licence = data.classes, data.colours, data.licence
        self.note, self.labelled = data.note, data.labelled
        self.names = tuple(f"{number} {data.names[number % len(data)]}" for number in range(length))

    def __getitem__(self, index: int) -> Sample:
        sample = self._data[index % len(self._data)]
        return Sample(sample.image, sample.label, self.names[index])
