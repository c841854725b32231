"""The trainings of an advice: one probe a seed, in turn, with one bar over all of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rfkit._checks import DataError
from rfkit._progress import Bar
from rfkit.data.dataset import Dataset
from rfkit.models.weights import read_card
from rfkit.studies.adviser.task import Task
from rfkit.training.batches import held_in_memory
from rfkit.training.checkpoint import load_checkpoint
from rfkit.training.folder import WEIGHTS
from rfkit.training.loop import train

__all__ = ["is_trained", "train_probes"]

# What a kill may cost. A checkpoint of a small network takes a fraction of a second.
_CHECKPOINT_MINUTES = 0.5


def train_probes(task: Task, seeds: Sequence[int], *, progress: bool = True) -> None:
    """Train the probe with every seed, or go on where an earlier call stopped; a finished training is left alone.

    Args:
        task: what is trained.
        seeds: a training each.
        progress: whether to show a bar with the time left for all of them.

    Raises:
        KeyboardInterrupt: on Ctrl-C, after a checkpoint was written; the message says how to go on.
        ValueError, rfkit.training.checkpoint.DivergenceError, OSError: as of `rfkit.training.loop.train`.
    """
    waiting = [seed for seed in seeds if not is_trained(task, seed)]
    if not waiting:
        return
    done = {seed: _steps_done(task.folder(seed)) for seed in waiting}
    # Decoded once, not once for each training.
    data = _held(task, progress=progress)
    watched = sys.stderr.isatty() or "ipykernel" in sys.modules
    with Bar(
        total=len(seeds) * task.total_steps,
        initial=(len(seeds) - len(waiting)) * task.total_steps + sum(done.values()),
        unit="step",
        disable=not progress,
        mininterval=0.5 if watched else 30,
    ) as bar:
        for seed in waiting:
            bar.set_description(f"Training {seeds.index(seed) + 1} of {len(seeds)}, seed {seed}")
            try:
                _train(task, data, seed, bar, done[seed])
            except KeyboardInterrupt as error:
                raise KeyboardInterrupt(
                    f"Stopped in training {seeds.index(seed) + 1} of {len(seeds)}. Everything is in {task.out}: make "
                    "the same call again to go on."
                ) from error


def is_trained(task: Task, seed: int) -> bool:
    """Whether the training with `seed` came to its end, as the card of its weights says."""
    try:
        card = read_card(task.folder(seed) / WEIGHTS)
    except (FileNotFoundError, DataError):
        return False
    return card.horizon_epochs == task.recipe.epochs and card.epochs >= task.recipe.epochs


def _train(task: Task, data: Dataset, seed: int, bar: Bar, begun: int) -> None:
    last = begun

    def moved(step: int) -> None:
        nonlocal last
        bar.update(step - last)
        last = step

    train(
        task.probe(seed),
        data,
        recipe=task.recipe,
        out=task.folder(seed),
        seed=seed,
        device=task.device,
        threads=task.threads,
        checkpoint_minutes=_CHECKPOINT_MINUTES,
        progress=False,
        tensorboard=False,
        on_step=moved,
    )


def _steps_done(folder: Path) -> int:
    state = load_checkpoint(folder) if folder.exists() else None
    return 0 if state is None else int(state["step"])


def _held(task: Task, *, progress: bool) -> Dataset:
    import torch

    device = torch.device(task.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return held_in_memory(task.data, device=device, progress=progress)
