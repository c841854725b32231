"""The runs of a sweep, checked before the first one starts, and what their folders say of them."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rfkit._checks import check_positive, data_error
from rfkit.cost import multiply_adds, parameters
from rfkit.data.dataset import Dataset
from rfkit.data.opening import open_data
from rfkit.models.registry import create_model
from rfkit.models.weights import Card
from rfkit.training.batches import count_steps
from rfkit.training.folder import LOG, card_of_run, run_identity
from rfkit.training.loop import train
from rfkit.training.recipe import Recipe, get_recipe
from rfkit.training.sweep_file import SweepRun, read_sweep

__all__ = ["ERROR", "PlannedRun", "RunState", "SweepPlan", "plan_sweep"]

ERROR = "error.txt"


@dataclass(frozen=True, eq=False)
class RunState:
    """What the folder of a run says.

    Attributes:
        status: "finished", "failed" (and not tried again since) or "waiting" (not begun, or to be gone on with).
        error: of a failed run, in one line.
        card: of its weights, if there are any.
        epochs: rows of its log.
        seconds: of training, as its log says.
        foreign: whether the folder holds another run, which is left alone.
    """

    status: str
    error: str
    card: Card | None
    epochs: int
    seconds: float
    foreign: bool = False


@dataclass(frozen=True, eq=False)
class PlannedRun:
    """A run whose network, data and recipe have been found to go together.

    Attributes:
        run: what the file says.
        folder: its run folder.
        recipe: every number of it.
        network: on the meta device, without values.
        data: the data set trained on.
        steps_per_epoch: steps of an epoch.
    """

    run: SweepRun
    folder: Path
    recipe: Recipe
    network: nn.Module
    data: Dataset
    steps_per_epoch: int

    @property
    def name(self) -> str:
        """Of the run, and of its folder."""
        return self.run.name

    @property
    def evaluated(self) -> str:
        """The split scored at the end; empty without one."""
        return self.run.settings.get("evaluation", "")

    @property
    def last_epoch(self) -> int:
        """Epochs after which the run is finished."""
        return min(self.recipe.epochs, self.run.settings.get("stop_after", self.recipe.epochs))

    @property
    def parameters(self) -> int:
        """Learnable numbers of the network."""
        return parameters(self.network)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of the network's convolutions at the size of the crops."""
        return multiply_adds(self.network, (3, *self.recipe.crop_size))

    def done_epochs(self) -> int:
        """Epochs in the log of the folder."""
        return len(_log_lines(self.folder))

    def state(self) -> RunState:
        """What the folder says now; a folder that holds another run has failed."""
        lines = _log_lines(self.folder)
        # The last column of the log counts the seconds.
        seconds = float(lines[-1].rpartition(",")[2]) if lines else 0.0
        card, problem = self._card()
        if problem:
            return RunState("failed", problem, None, 0, 0.0, foreign=True)
        if card is not None and card.epochs >= self.last_epoch and (card.scores or not self.evaluated):
            return RunState("finished", "", card, len(lines), seconds)
        error = _last_line(self.folder / ERROR)
        return RunState("failed" if error else "waiting", error, card, len(lines), seconds)

    def _card(self) -> tuple[Card | None, str]:
        """The card of this run's weights, and what is wrong with the folder."""
        identity = run_identity(
            self.network, self.data, self.recipe, seed=self.run.seed, steps_per_epoch=self.steps_per_epoch
        )
        try:
            return card_of_run(self.folder, identity), ""
        except ValueError as error:
            return None, str(error)


@dataclass(frozen=True, eq=False)
class SweepPlan:
    """A sweep that can be started: its name, its folder, and its runs."""

    name: str
    folder: Path
    runs: tuple[PlannedRun, ...]


def plan_sweep(
    file: str | Path,
    *,
    out: str | Path | None = None,
    data: str | None = None,
    root: str | Path | None = None,
    epochs: int | None = None,
    threads: int | None = None,
    seeds: Sequence[int] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> SweepPlan:
    """The runs of a sweep file: each network built without values, its data opened, its recipe made; nothing written.

    Args:
        file: A TOML file, see `rfkit.training.sweep_file.read_sweep`, or the name of a sweep that ships.
        out: The sweep's folder; None: `runs/NAME`.
        data: Instead of the file's, as are all that follow. With other data the file's `root` does not count.
        root: Folder of the data set.
        epochs: Of every run.
        threads: CPU threads of every run.
        seeds: Of every variant and point of the grid.
        overrides: Other settings of `[run]`, options of the network by dotted names such as "model_options.stem".

    Raises:
        rfkit._checks.DataError: The file, or a run that it means, is not as it must be; the message names both.
        FileNotFoundError: There is no such file.
        ValueError: There is no shipped sweep of that name.

    Example:
        ``[(run.name, run.multiply_adds, run.state().status) for run in plan_sweep("activations.toml").runs]``
    """
    given = {"data": data, "root": None if root is None else str(root), "epochs": epochs, "threads": threads}
    changes = {**(overrides or {}), **{key: value for key, value in given.items() if value is not None}}
    sweep = read_sweep(file, overrides=changes, seeds=seeds)
    folder = Path(out) if out is not None else Path("runs") / sweep.name
    opened = cache(lambda name, place, split: open_data(name, place, split=split))
    built = cache(_network)
    runs = tuple(_planned(run, sweep.path, folder, opened, built) for run in sweep.runs)
    return SweepPlan(sweep.name, folder, runs)


def _planned(run: SweepRun, path: Path, out: Path, opened: Any, built: Any) -> PlannedRun:
    settings = run.settings
    try:
        recipe = get_recipe(_default("recipe", settings), **_recipe_fields(settings))
        for name in ("stop_after", "threads"):
            if name in settings:
                check_positive(name, settings[name])
        place = settings["data"], settings.get("root")
        data = opened(*place, settings.get("split", _default("split", settings)))
        data.check_usable()
        if "evaluation" in settings:
            opened(*place, settings["evaluation"]).check_usable()
        network = built(settings["model"], len(data.classes), json.dumps(settings["model_options"]))
        steps = count_steps(data, recipe)
    except (ValueError, TypeError, RuntimeError, OSError) as error:
        raise data_error(path, f"run {run.name!r}: {error}") from error
    return PlannedRun(run, out / run.name, recipe, network, data, steps)


def _network(name: str, classes: int, options: str) -> nn.Module:
    with torch.device("meta"):
        return create_model(name, num_classes=classes, seed=0, **json.loads(options))


def _default(name: str, settings: Mapping[str, Any]) -> Any:
    return settings.get(name, inspect.signature(train).parameters[name].default)


def _recipe_fields(settings: Mapping[str, Any]) -> dict[str, Any]:
    fields = {field.name for field in dataclasses.fields(Recipe)}
    return {name: value for name, value in settings.items() if name in fields}


def _log_lines(folder: Path) -> list[str]:
    """The rows of a log; it is written whole, so each is complete."""
    path = folder / LOG
    return path.read_text(encoding="utf-8").splitlines()[1:] if path.exists() else []


def _last_line(path: Path) -> str:
    text = path.read_text(encoding="utf-8").strip() if path.exists() else ""
    # "package.module.SomeError: what happened": the class says enough.
    return re.sub(r"^[\w.]+\.(?=\w+:)", "", text.splitlines()[-1]) if text else ""
