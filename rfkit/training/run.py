"""One training run: its state, its steps, and the files it leaves."""

from __future__ import annotations

import copy
import datetime
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from rfkit._checks import data_error
from rfkit._progress import Bar
from rfkit.data.dataset import Dataset
from rfkit.data.tiles import find_tiles
from rfkit.models.weights import load_weights, save_weights
from rfkit.training.batches import Batches, count_steps, held_in_memory
from rfkit.training.cards import make_card
from rfkit.training.checkpoint import CHECKPOINT, DivergenceError, load_checkpoint, restore_optimizer, save_checkpoint
from rfkit.training.environment import describe_environment
from rfkit.training.evaluation import Scores, evaluate
from rfkit.training.events import Events
from rfkit.training.folder import LOG_COLUMNS, WEIGHTS, add_session, claim, run_identity, unwritten, write_log
from rfkit.training.interruption import Interruption
from rfkit.training.losses import weigh_classes
from rfkit.training.precision import depthwise_in_single_precision
from rfkit.training.processes import ALONE, Processes
from rfkit.training.rates import RateLog
from rfkit.training.recipe import Recipe
from rfkit.training.steps import Stepper
from rfkit.training.sync_norms import norms_synchronised

__all__ = ["Run", "RunResult"]

# Reading a loss makes a GPU wait, so there it is done once in so many steps.
_STEPS_BETWEEN_READS = {"cpu": 1, "cuda": 20}


@dataclass(frozen=True, eq=False)
class RunResult:
    """What a call of `train` left behind.

    Attributes:
        model: The trained network, on the device it was trained on; the moving average where the recipe has one.
        out: The run folder.
        weights: The half-precision weights with their card.
        log: One row an epoch: epoch, step, learning_rate, loss, miou (NaN where not evaluated), images_per_second,
            seconds, total_seconds.
        scores: Of the weights file after reloading it, or None without an evaluation set.
        steps: Steps taken in all.
        epochs: Epochs finished.
        horizon_epochs: Epochs that the recipe's schedule has.
    """

    model: nn.Module
    out: Path
    weights: Path
    log: pd.DataFrame
    scores: Scores | None
    steps: int
    epochs: int
    horizon_epochs: int

    def to_frame(self) -> pd.DataFrame:
        """The log."""
        return self.log


class Run:
    """One run while it is being trained."""

    def __init__(
        self,
        model: nn.Module,
        data: Dataset,
        recipe: Recipe,
        *,
        seed: int,
        device: torch.device,
        out: Path,
        workers: int | None,
        compile: str | None,
        scored: Dataset | None,
        evaluate_every: int,
        checkpoint_minutes: float,
        progress: bool,
        on_checkpoint: Callable[[Path], None] | None,
        on_step: Callable[[int], None] | None = None,
        processes: Processes = ALONE,
    ) -> None:
        self.model, self.data, self.recipe, self.seed, self.device, self.out = model, data, recipe, seed, device, out
        self.workers, self.compile, self.processes = workers, compile, processes
        self.progress = progress and processes.first
        self.scored, self.evaluate_every = scored, evaluate_every
        self.checkpoint_minutes, self.on_checkpoint, self.on_step = checkpoint_minutes, on_checkpoint, on_step
        self.steps_per_epoch = count_steps(data, recipe)
        self.total_steps = self.steps_per_epoch * recipe.epochs
        # What a checkpoint holds beside weights and optimiser.
        self.step = 0
        self.epoch_loss = 0.0
        self.epoch_seconds = 0.0
        self.log: list[dict[str, Any]] = []
        self.rates = RateLog(model)
        self._saved_step = -1
        self._unread: list[Tensor] = []
        self._last_loss = float("nan")

    def start(self, *, resume: bool) -> None:
        """Claim the folder, read what is there, and bring everything to the device."""
        count, recipe = self.processes.count, self.recipe
        if recipe.batch_size % (count * recipe.accumulate):
            raise ValueError(
                f"batch_size={recipe.batch_size} cannot be divided equally among {count} processes that take their "
                f"part in accumulate={recipe.accumulate} steps; it must be a multiple of {count * recipe.accumulate}."
            )
        identity = run_identity(
            self.model, self.data, self.recipe, seed=self.seed, steps_per_epoch=self.steps_per_epoch
        )
        self._write(lambda: claim(self.out, identity, resume=resume))
        state = self.processes.share(lambda: load_checkpoint(self.out))
        self.data = held_in_memory(
            self.data, device=self.device, progress=self.progress, processes=self.processes.count
        )
        tiles = None
        if recipe.class_uniform:
            tiles = self.processes.share(lambda: find_tiles(self.data, progress=self.progress))
        self.batches = Batches(
            self.data,
            self.recipe,
            seed=self.seed,
            device=self.device,
            workers=self.workers,
            rank=self.processes.rank,
            processes=self.processes.count,
            tiles=tiles,
        )
        self.stepper = Stepper(
            self.model,
            self.recipe,
            seed=self.seed,
            total_steps=self.total_steps,
            device=self.device,
            class_weights=weigh_classes(self.data, self.recipe.class_weights, device=self.device),
            processes=self.processes,
            compile=self.compile,
        )
        if state is not None:
            self._restore(state)
        self._write(self._begin_session)
        if state is None:
            self.checkpoint()

    def train(self, last_epoch: int, interruption: Interruption, events: Events) -> None:
        """Take the steps that are left up to the end of `last_epoch`."""
        self._saved_at = time.monotonic()
        bar = _bar(last_epoch * self.steps_per_epoch, self.step, enabled=self.progress)
        synchronised = self.processes if self.recipe.sync_norms else ALONE
        with bar, depthwise_in_single_precision(self.model), norms_synchronised(self.model, synchronised):
            for epoch in range(self.step // self.steps_per_epoch, last_epoch):
                begun = time.monotonic() - self.epoch_seconds
                for images, labels in self.batches.epoch(epoch, start=self.step % self.steps_per_epoch):
                    self._unread.append(self.stepper.take(images, labels, step=self.step))
                    self.step += 1
                    last = self.step % self.steps_per_epoch == 0
                    pause = last or len(self._unread) >= _STEPS_BETWEEN_READS.get(self.device.type, 1)
                    if pause:
                        self._read_losses()
                    self.epoch_seconds = time.monotonic() - begun
                    self._show(bar, epoch)
                    if self.on_step is not None:
                        self.on_step(self.step)
                    if last:
                        self._end_epoch(epoch, events)
                    if pause:
                        self._look_up(interruption)

    def finish(self) -> RunResult:
        """The last checkpoint, and the scores of the weights file as it lies there."""
        self.checkpoint()
        result, scores = self.stepper.result, None
        if self.scored is not None:
            reloaded = copy.deepcopy(result)
            if self.processes.first:
                load_weights(reloaded, self.out / WEIGHTS)
            scores = self._evaluate(reloaded)
            self._write(lambda: self._save_weights(scores))
        if result is not self.model:
            self.model.load_state_dict(result.state_dict())
        return RunResult(
            model=self.model,
            out=self.out,
            weights=self.out / WEIGHTS,
            log=pd.DataFrame(self.log, columns=list(LOG_COLUMNS)),
            scores=scores,
            steps=self.step,
            epochs=self.step // self.steps_per_epoch,
            horizon_epochs=self.recipe.epochs,
        )

    def checkpoint(self) -> None:
        """Write the state of the run, and its weights as others read them."""
        self._read_losses()
        self._write(self._write_checkpoint)
        self._saved_at = time.monotonic()

    def _write(self, files: Callable[[], None]) -> None:
        """Have the first process write; where it cannot, all stop with an error that says how to go on."""

        def written() -> None:
            try:
                files()
            except OSError as error:
                raise unwritten(error, self.out, step=self._saved_step) from error

        self.processes.share(written)

    def _write_checkpoint(self) -> None:
        if self.step != self._saved_step:
            state = {
                "step": self.step,
                "epoch_loss": self.epoch_loss,
                "epoch_seconds": self.epoch_seconds,
                "log": self.log,
                "rates": self.rates.rows,
                "model": self.model.state_dict(),
                "optimizer": self.stepper.optimizer.state_dict(),
            }
            if self.stepper.average is not None:
                state["average"] = self.stepper.average.model.state_dict()
            try:
                save_checkpoint(self.out, state)
            except DivergenceError as error:
                raise self._divergence(f"after step {self.step - 1}, {error}", self.step - 1) from error
            self._saved_step = self.step
        self._save_weights()
        if self.on_checkpoint is not None:
            self.on_checkpoint(self.out)

    def _begin_session(self) -> None:
        session = {"started": _now(), "step": self.step, "processes": self.processes.count}
        add_session(self.out, {**session, **describe_environment(self.device)})
        if self.step == 0:
            self.rates.record(0)
        self._write_logs()

    def _write_logs(self) -> None:
        write_log(self.out, self.log)
        self.rates.write(self.out)

    def _restore(self, state: dict[str, Any]) -> None:
        try:
            if ("average" in state) != (self.stepper.average is not None):
                raise ValueError("only one of the two has a moving average")
            self.model.load_state_dict(state["model"])
            restore_optimizer(self.stepper.optimizer, state["optimizer"])
            if self.stepper.average is not None:
                self.stepper.average.model.load_state_dict(state["average"])
        except (RuntimeError, ValueError, KeyError) as error:
            lines = [line.strip() for line in str(error).splitlines()]
            raise data_error(
                self.out / CHECKPOINT, f"does not belong to this network and recipe: {' '.join(lines)[:300]}"
            ) from error
        self.step, self.log, self.rates.rows = state["step"], state["log"], state.get("rates", [])
        self._saved_step = self.step
        self.epoch_loss, self.epoch_seconds = state["epoch_loss"], state["epoch_seconds"]

    def _save_weights(self, scores: Scores | None = None) -> None:
        card = make_card(
            self.model,
            self.data,
            self.recipe,
            seed=self.seed,
            step=self.step,
            steps_per_epoch=self.steps_per_epoch,
            device=self.device,
            scores=scores,
        )
        save_weights(self.stepper.result, self.out / WEIGHTS, card=card)

    def _read_losses(self) -> None:
        """Add the losses that are still on the device to the epoch's, and stop at one that is not finite."""
        losses = self.processes.add(torch.stack(self._unread)).tolist() if self._unread else []
        first = self.step - len(losses)
        self._unread.clear()
        for place, loss in enumerate(losses):
            if not math.isfinite(loss):
                raise self._divergence(f"the loss of step {first + place} is {loss}", first + place)
            self.epoch_loss += loss
            self._last_loss = loss

    def _divergence(self, what: str, step: int) -> DivergenceError:
        return DivergenceError(
            f"Training diverged: {what}, at learning rate {self.stepper.learning_rate(step):.6g}. The last good "
            f"checkpoint is {self.out / CHECKPOINT}. The same call would diverge again: use a lower learning_rate, "
            "warmup_steps, clip_norm or precision='fp32', in another folder."
        )

    def _end_epoch(self, epoch: int, events: Events) -> None:
        """Write the row of an epoch that is done, and start counting anew."""
        done = epoch + 1
        due = self.evaluate_every and done % self.evaluate_every == 0
        row = {
            "epoch": done,
            "step": self.step,
            "learning_rate": self.stepper.learning_rate(self.step - 1),
            "loss": self.epoch_loss / self.steps_per_epoch,
            "miou": self._evaluate(self.stepper.result).miou if self.scored is not None and due else float("nan"),
            "images_per_second": self.steps_per_epoch * self.recipe.batch_size / max(self.epoch_seconds, 1e-9),
            "seconds": self.epoch_seconds,
            "total_seconds": self.epoch_seconds + (self.log[-1]["total_seconds"] if self.log else 0.0),
        }
        self.log.append(row)
        self.rates.record(self.step)
        self._write(self._write_logs)
        self._write(lambda: events.add(row))
        self.epoch_loss, self.epoch_seconds = 0.0, 0.0

    def _evaluate(self, model: nn.Module) -> Scores:
        assert self.scored is not None
        # Weights are equal everywhere; the statistics of norms that are not synchronised are the first process's.
        self.processes.take_over(model)
        return evaluate(
            model,
            self.scored,
            device=self.device,
            size=self.recipe.evaluation_size or self.recipe.frame_size,
            progress=self.progress,
            processes=self.processes,
        )

    def _show(self, bar: Bar, epoch: int) -> None:
        images = (self.step % self.steps_per_epoch or self.steps_per_epoch) * self.recipe.batch_size
        scored = [row["miou"] for row in self.log if not math.isnan(row["miou"])]
        parts = [
            f"epoch {epoch + 1}/{self.recipe.epochs}",
            f"{images / max(self.epoch_seconds, 1e-9):.1f} images/s",
            f"loss {self._last_loss:.3f}",
            *(f"mIoU {100 * miou:.1f}" for miou in scored[-1:]),
        ]
        bar.set_postfix_str(", ".join(parts), refresh=False)
        bar.update(self.step - bar.n)

    def _look_up(self, interruption: Interruption) -> None:
        """Stop if any process was asked to, and write a checkpoint if one is due."""
        due = self.processes.first and time.monotonic() - self._saved_at >= 60 * self.checkpoint_minutes
        stop, save = self.processes.any(interruption.requested, due)
        if stop:
            self._interrupted()
        if save:
            self.checkpoint()

    def _interrupted(self) -> None:
        self.checkpoint()
        raise KeyboardInterrupt(
            f"Training stopped after step {self.step} of {self.total_steps}. Everything is in {self.out}: make the "
            "same call again to go on."
        )


def _bar(total: int, initial: int, *, enabled: bool) -> Bar:
    return Bar(
        total=total,
        initial=min(initial, total),
        desc="Training",
        unit="step",
        mininterval=0.5,
        disable=not enabled,
    )


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
