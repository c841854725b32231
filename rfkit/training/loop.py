"""The training loop."""

from __future__ import annotations

import copy
import datetime
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from rfkit._checks import check_positive
from rfkit.data.dataset import Dataset
from rfkit.data.opening import open_data
from rfkit.data.transforms import normalize
from rfkit.models.registry import create_model
from rfkit.models.weights import Card, load_weights, save_weights
from rfkit.training.batches import Batches, held_in_memory
from rfkit.training.checkpoint import CHECKPOINT, DivergenceError, load_checkpoint, save_checkpoint
from rfkit.training.environment import describe_environment, device_name, software_versions
from rfkit.training.evaluation import Scores, evaluate
from rfkit.training.folder import LOG, WEIGHTS, add_session, claim, run_identity, write_log
from rfkit.training.interruption import Interruption
from rfkit.training.losses import cross_entropy, ohem_cross_entropy, weigh_classes
from rfkit.training.precision import depthwise_in_single_precision
from rfkit.training.recipe import Recipe, get_recipe
from rfkit.training.schedule import poly_learning_rate

__all__ = ["RunResult", "train"]

# Keeps this use of the seed apart from order (0) and augmentation (1).
_STREAM = 2
# Reading a loss makes a GPU wait, so there it is done once in so many steps.
_STEPS_BETWEEN_READS = {"cpu": 1, "cuda": 20}


@dataclass(frozen=True, eq=False)
class RunResult:
    """What a call of `train` left behind.

    Attributes:
        model: The trained network, on the device it was trained on.
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


def train(
    model: str | nn.Module,
    data: str | Dataset,
    *,
    root: str | Path | None = None,
    split: str = "trainval",
    recipe: str | Recipe = "camvid-paper-half",
    out: str | Path,
    resume: bool = True,
    epochs: int | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    evaluation: str | Dataset | None = None,
    evaluate_every: int = 0,
    stop_after: int | None = None,
    checkpoint_minutes: float = 5.0,
    threads: int | None = None,
    workers: int = 0,
    model_options: dict[str, Any] | None = None,
    progress: bool = True,
    tensorboard: bool = True,
    **overrides: Any,
) -> RunResult:
    """Train a network into the folder `out`, or go on with the run that is there; the same call does both.

    A run that was interrupted, killed included, and called again ends with the same weights as one that was not: bit
    for bit on a CPU with the same number of threads. The learning rate falls to zero at the end of `epochs`, which is
    fixed by the first call; to train a part of a run now and the rest later, use `stop_after`.

    The folder holds recipe.json (every number), environment.json, log.csv (a row an epoch), checkpoint.pt,
    weights.safetensors with its card, and TensorBoard events where tensorboard is installed.

    Args:
        model: A name for `create_model`, built with `seed`; or a module, which is trained in place.
        data: A name for `open_data`, or a data set.
        root: Folder of the data set, where `data` is a name that needs one.
        split: Split to train on, where `data` is a name.
        recipe: Name of a recipe, or a recipe.
        out: Run folder.
        resume: Go on where the folder holds this run; with False such a folder is an error.
        epochs: Instead of the recipe's, of the first call and every later one.
        seed: Of initial weights, order and augmentation.
        device: None: the GPU where there is one, else the CPU.
        evaluation: A split of the same data, or a data set, that is scored at the end.
        evaluate_every: Also score after every so many epochs; 0: only at the end.
        stop_after: Stop when so many epochs of the run are done in all.
        checkpoint_minutes: Time between checkpoints; 0: after every step.
        threads: Threads of the CPU while training; None: as they are.
        workers: Processes that read and augment; 0: this one.
        model_options: Options for `create_model`, where `model` is a name.
        progress: Whether to show bars.
        tensorboard: Whether to write TensorBoard events where tensorboard is installed.
        **overrides: Fields of `Recipe` that take another value.

    Returns:
        The network, its log and its scores.

    Raises:
        ValueError: An argument or override is not allowed, or `out` holds another run.
        DivergenceError: The loss or a weight is no longer finite.
        KeyboardInterrupt: On Ctrl-C, after a checkpoint was written; the message says how to go on.

    Example:
        >>> import tempfile
        >>> from rfkit.data.scenes import Scenes
        >>> scenes = Scenes(size=(32, 32), length=4)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     result = train("dwrseg_b", scenes, out=folder, epochs=1, batch_size=2, frame_size=(32, 32),
        ...                    crop_size=(32, 32), progress=False, tensorboard=False)
        >>> result.steps
        2
    """
    plan = _plan(recipe, epochs, overrides)
    for name, value in (("stop_after", stop_after), ("threads", threads)):
        if value is not None:
            check_positive(name, value)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dataset = open_data(data, root, split=split) if isinstance(data, str) else data
    scored = _evaluation_set(evaluation, data, root)
    network = _network(model, dataset, seed, model_options)
    run = _Run(network, dataset, plan, seed=seed, device=device, out=Path(out), workers=workers)
    run.scored, run.evaluate_every = scored, evaluate_every
    run.checkpoint_minutes, run.progress, run.tensorboard = checkpoint_minutes, progress, tensorboard
    with _process_settings(threads, device), Interruption() as interruption:
        run.start(resume=resume)
        run.train(min(plan.epochs, stop_after or plan.epochs), interruption)
        return run.finish()


class _Run:
    """One run while it is being trained."""

    scored: Dataset | None
    evaluate_every: int
    checkpoint_minutes: float
    progress: bool
    tensorboard: bool

    def __init__(
        self,
        model: nn.Module,
        data: Dataset,
        recipe: Recipe,
        *,
        seed: int,
        device: torch.device,
        out: Path,
        workers: int,
    ) -> None:
        self.model, self.data, self.recipe, self.seed, self.device, self.out = (
            model,
            data,
            recipe,
            seed,
            device,
            out,
        )
        self.workers = workers
        self.step = 0
        self.epoch_loss = 0.0
        self.epoch_seconds = 0.0
        self.log: list[dict[str, Any]] = []
        self._unread: list[Tensor] = []

    def start(self, *, resume: bool) -> None:
        """Claim the folder, read what is there, and bring everything to the device."""
        if len(self.data) < self.recipe.batch_size:
            Batches(self.data, self.recipe, seed=self.seed, device=self.device)
        self.steps_per_epoch = len(self.data) // self.recipe.batch_size
        self.total_steps = self.steps_per_epoch * self.recipe.epochs
        identity = run_identity(
            self.model, self.data, self.recipe, seed=self.seed, steps_per_epoch=self.steps_per_epoch
        )
        claim(self.out, identity, resume=resume)
        state = load_checkpoint(self.out)
        self.data = held_in_memory(self.data, device=self.device, progress=self.progress)
        self.batches = Batches(
            self.data, self.recipe, seed=self.seed, device=self.device, workers=self.workers
        )
        layout = torch.channels_last if self.recipe.channels_last else torch.contiguous_format
        self.model.to(self.device, memory_format=layout)
        self.model.train()
        self.optimizer = _optimizer(self.model, self.recipe)
        self.class_weights = weigh_classes(self.data, self.recipe.class_weights, device=self.device)
        if state is not None:
            self._restore(state)
        add_session(self.out, {"started": _now(), "step": self.step, **describe_environment(self.device)})
        write_log(self.out, self.log)
        if state is None:
            self.checkpoint()
        self._saved_at = time.monotonic()

    def train(self, last_epoch: int, interruption: Interruption) -> None:
        """Take the steps that are left up to the end of `last_epoch`."""
        stop = last_epoch * self.steps_per_epoch
        with _bar(stop, self.step, enabled=self.progress) as bar, depthwise_in_single_precision(self.model):
            for epoch in range(self.step // self.steps_per_epoch, last_epoch):
                begun = time.monotonic() - self.epoch_seconds
                for images, labels in self.batches.epoch(epoch, start=self.step % self.steps_per_epoch):
                    self._unread.append(self._take_step(images, labels))
                    self.step += 1
                    self.epoch_seconds = time.monotonic() - begun
                    if len(self._unread) >= _STEPS_BETWEEN_READS.get(self.device.type, 1):
                        self._read_losses()
                    if self.step % self.steps_per_epoch == 0:
                        self._end_epoch(epoch)
                    self._show(bar, epoch)
                    if interruption.requested:
                        self._interrupted()
                    if time.monotonic() - self._saved_at >= 60 * self.checkpoint_minutes:
                        self.checkpoint()

    def _take_step(self, images: Tensor, labels: Tensor) -> Tensor:
        """One optimiser step; the loss, still on the device."""
        rate = self._learning_rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # A layer that draws numbers, such as dropout, draws the same ones after an interruption.
        torch.manual_seed(_step_seed(self.seed, self.step))
        pixels = normalize(images)
        if self.recipe.channels_last:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
            logits = self.model(pixels)
        loss = self._loss(logits, labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self.optimizer.step()
        return loss.detach()

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.recipe.loss == "ohem":
            return ohem_cross_entropy(
                logits, labels, threshold=self.recipe.ohem_threshold, min_kept=self.recipe.ohem_min_kept
            )
        return cross_entropy(logits, labels, class_weights=self.class_weights)

    def _learning_rate(self, step: int) -> float:
        recipe = self.recipe
        return poly_learning_rate(
            step,
            self.total_steps,
            initial=recipe.learning_rate,
            power=recipe.poly_power,
            warmup_steps=recipe.warmup_steps,
        )

    def _read_losses(self) -> None:
        """Add the losses that are still on the device to the epoch's, and stop at one that is not finite."""
        losses = torch.stack(self._unread).tolist() if self._unread else []
        first = self.step - len(losses)
        self._unread.clear()
        for place, loss in enumerate(losses):
            if not np.isfinite(loss):
                raise self._divergence(f"the loss of step {first + place} is {loss}", first + place)
            self.epoch_loss += loss
            self.last_loss = loss

    def _divergence(self, what: str, step: int) -> DivergenceError:
        return DivergenceError(
            f"Training diverged: {what}, at learning rate {self._learning_rate(min(step, self.total_steps - 1)):.6g}. The last "
            f"good checkpoint is {self.out / CHECKPOINT}. The same call would diverge again: use a lower learning_rate, "
            "clip_norm, warmup_steps or precision='fp32', in another folder."
        )

    def _end_epoch(self, epoch: int) -> None:
        self._read_losses()
        done = epoch + 1
        miou = float("nan")
        if self.scored is not None and self.evaluate_every and done % self.evaluate_every == 0:
            miou = self._evaluate(self.model).miou
        seconds = self.epoch_seconds
        former = self.log[-1]["total_seconds"] if self.log else 0.0
        row = {
            "epoch": done,
            "step": self.step,
            "learning_rate": self._learning_rate(self.step - 1),
            "loss": self.epoch_loss / self.steps_per_epoch,
            "miou": miou,
            "images_per_second": self.steps_per_epoch * self.recipe.batch_size / max(seconds, 1e-9),
            "seconds": seconds,
            "total_seconds": former + seconds,
        }
        self.log.append(row)
        write_log(self.out, self.log)
        self.epoch_loss, self.epoch_seconds = 0.0, 0.0

    def checkpoint(self) -> None:
        """Write the state of the run, and its weights as others read them."""
        self._read_losses()
        state = {
            "step": self.step,
            "epoch_loss": self.epoch_loss,
            "epoch_seconds": self.epoch_seconds,
            "log": self.log,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        try:
            save_checkpoint(self.out, state)
        except DivergenceError as error:
            raise self._divergence(f"after step {self.step - 1} {error}", self.step - 1) from error
        save_weights(self.model, self.out / WEIGHTS, card=self._card())
        self._saved_at = time.monotonic()

    def _restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.log = state["step"], state["log"]
        self.epoch_loss, self.epoch_seconds = state["epoch_loss"], state["epoch_seconds"]

    def finish(self) -> RunResult:
        """The last checkpoint, and the scores of the weights file as it lies there."""
        self.checkpoint()
        scores = None
        if self.scored is not None:
            reloaded = copy.deepcopy(self.model)
            load_weights(reloaded, self.out / WEIGHTS)
            scores = self._evaluate(reloaded)
            save_weights(self.model, self.out / WEIGHTS, card=self._card(scores))
        return RunResult(
            model=self.model,
            out=self.out,
            weights=self.out / WEIGHTS,
            log=pd.read_csv(self.out / LOG),
            scores=scores,
            steps=self.step,
            epochs=self.step // self.steps_per_epoch,
            horizon_epochs=self.recipe.epochs,
        )

    def _evaluate(self, model: nn.Module) -> Scores:
        assert self.scored is not None
        return evaluate(
            model,
            self.scored,
            batch_size=4,
            device=self.device,
            size=self.recipe.frame_size,
            progress=self.progress,
        )

    def _card(self, scores: Scores | None = None) -> Card:
        summary: dict[str, Any] = {}
        if scores is not None:
            # JSON has no NaN: a class that does not occur has no score.
            iou = {name: None if np.isnan(value) else value for name, value in scores.class_iou.items()}
            summary = {
                "data": self.scored.name if self.scored else "",
                "split": self.scored.split if self.scored else "",
                "miou": scores.miou,
                "class_iou": iou,
                "pixel_accuracy": scores.pixel_accuracy,
                "size": scores.size,
                "images": scores.images,
            }
        return Card(
            model=getattr(self.model, "name", type(self.model).__name__),
            options=getattr(self.model, "options", {}),
            num_classes=len(self.data.classes),
            class_names=tuple(self.data.classes),
            data=self.data.name,
            split=self.data.split,
            recipe_name=self.recipe.name,
            recipe=self.recipe.to_dict(),
            seed=self.seed,
            steps=self.step,
            epochs=round(self.step / self.steps_per_epoch, 3),
            horizon_epochs=self.recipe.epochs,
            size=self.recipe.crop_size,
            scores=summary,
            date=_now()[:10],
            device=device_name(self.device),
            software=software_versions(),
            licence=self.data.licence,
            notes=getattr(self.data, "note", ""),
        )

    def _show(self, bar: tqdm, epoch: int) -> None:
        images = (self.step % self.steps_per_epoch or self.steps_per_epoch) * self.recipe.batch_size
        scored = [row["miou"] for row in self.log if not np.isnan(row["miou"])]
        parts = [f"epoch {epoch + 1}/{self.recipe.epochs}"]
        if self.epoch_seconds:
            parts.append(f"{images / self.epoch_seconds:.1f} images/s")
        if hasattr(self, "last_loss"):
            parts.append(f"loss {self.last_loss:.3f}")
        if scored:
            parts.append(f"mIoU {100 * scored[-1]:.1f}")
        bar.set_postfix_str(", ".join(parts), refresh=False)
        bar.update(self.step - bar.n)

    def _interrupted(self) -> None:
        self.checkpoint()
        message = (
            f"Training stopped after step {self.step} of {self.total_steps}. Everything is in {self.out}: make the same "
            "call again to go on."
        )
        raise KeyboardInterrupt(message)


def _plan(recipe: str | Recipe, epochs: int | None, overrides: dict[str, Any]) -> Recipe:
    if epochs is not None:
        overrides = {**overrides, "epochs": epochs}
    if isinstance(recipe, str):
        return get_recipe(recipe, **overrides)
    return get_recipe(recipe.name, **{**recipe.to_dict(), **overrides}) if overrides else recipe


def _evaluation_set(
    evaluation: str | Dataset | None, data: str | Dataset, root: str | Path | None
) -> Dataset | None:
    if not isinstance(evaluation, str):
        return evaluation
    if not isinstance(data, str):
        raise ValueError(
            f"evaluation={evaluation!r} names a split, but data is a data set; give a data set here too."
        )
    return open_data(data, root, split=evaluation)


def _network(model: str | nn.Module, data: Dataset, seed: int, options: dict[str, Any] | None) -> nn.Module:
    if isinstance(model, str):
        return create_model(model, num_classes=len(data.classes), seed=seed, **(options or {}))
    if options:
        raise ValueError(
            f"model_options={options!r} goes with the name of a model only; model is a {type(model).__name__}."
        )
    classes = getattr(model, "num_classes", len(data.classes))
    if classes != len(data.classes):
        raise ValueError(f"model has num_classes={classes}; {data.name} has {len(data.classes)} classes.")
    return model


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if recipe.optimizer == "adam":
        return torch.optim.Adam(
            parameters,
            recipe.learning_rate,
            betas=(recipe.momentum, recipe.beta2),
            weight_decay=recipe.weight_decay,
        )
    return torch.optim.SGD(
        parameters, recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )


@contextmanager
def _process_settings(threads: int | None, device: torch.device) -> Iterator[None]:
    """The wanted threads, and a global generator that is given back as it was."""
    former = torch.get_num_threads()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            if threads is not None:
                torch.set_num_threads(threads)
            yield
        finally:
            torch.set_num_threads(former)


def _step_seed(seed: int, step: int) -> int:
    return int(np.random.SeedSequence(seed, spawn_key=(_STREAM, step)).generate_state(1, np.uint32)[0])


def _bar(total: int, initial: int, *, enabled: bool) -> tqdm:
    # A log file needs a line now and then, a person something that moves.
    watched = sys.stderr.isatty() or "ipykernel" in sys.modules
    return tqdm(
        total=total,
        initial=min(initial, total),
        desc="Training",
        unit="step",
        mininterval=0.5 if watched else 30,
        disable=not enabled,
    )


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
