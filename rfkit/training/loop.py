"""The training loop."""

from __future__ import annotations

import copy
import datetime
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from rfkit._checks import check_choice, check_positive, data_error
from rfkit.data.dataset import Dataset
from rfkit.data.opening import open_data
from rfkit.models.registry import create_model
from rfkit.models.weights import load_weights, save_weights
from rfkit.training.batches import Batches, count_steps, held_in_memory
from rfkit.training.cards import make_card
from rfkit.training.checkpoint import CHECKPOINT, DivergenceError, load_checkpoint, restore_optimizer, save_checkpoint
from rfkit.training.environment import describe_environment
from rfkit.training.evaluation import Scores, evaluate
from rfkit.training.events import Events
from rfkit.training.folder import LOCK, LOG_COLUMNS, WEIGHTS, add_session, claim, run_identity, unwritten, write_log
from rfkit.training.interruption import Interruption
from rfkit.training.locks import LockedError, locked
from rfkit.training.losses import weigh_classes
from rfkit.training.memory import kept_memory
from rfkit.training.precision import depthwise_in_single_precision
from rfkit.training.processes import ALONE, Processes, joined_processes
from rfkit.training.rates import RateLog
from rfkit.training.recipe import Recipe, get_recipe
from rfkit.training.steps import Stepper
from rfkit.training.sync_norms import norms_synchronised

__all__ = ["RunResult", "train"]

# Reading a loss makes a GPU wait, so there it is done once in so many steps.
_STEPS_BETWEEN_READS = {"cpu": 1, "cuda": 20}
_COMPILE_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")


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
    workers: int | None = None,
    compile: str | None = None,
    model_options: dict[str, Any] | None = None,
    progress: bool = True,
    tensorboard: bool = True,
    on_checkpoint: Callable[[Path], None] | None = None,
    **overrides: Any,
) -> RunResult:
    """Train a network into the folder `out`, or go on with the run that is there; the same call does both.

    A run that was interrupted, killed included, and called again ends with the same weights as one that was not: bit
    for bit on a CPU with the same number of threads. The learning rate falls to zero at the end of `epochs`, which is
    fixed by the first call; to train a part of a run now and the rest later, use `stop_after`.

    The folder holds recipe.json (every number), environment.json, log.csv (a row an epoch), checkpoint.pt,
    weights.safetensors with its card, TensorBoard events where tensorboard is installed, and rates.csv (at the start
    and after each epoch) where the network learns dilation rates.

    Started by `torchrun`, the processes train one network together: each takes an equal part of every batch (the
    recipe's `batch_size` is that of all), only the first writes files, and every process gets the result. The losses,
    the pixels that OHEM chooses, the batch norms (`sync_norms`) and the scores are those of the whole batch and data
    set, so the result equals that of one process up to rounding, and a run may go on with another number of processes.

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
        device: None: the GPU where there is one (under `torchrun` the one of this process), else the CPU.
        evaluation: A split of the same data, or a data set, that is scored at the end.
        evaluate_every: Also score after every so many epochs; 0: only at the end.
        stop_after: Stop when so many epochs of the run are done in all.
        checkpoint_minutes: Time between checkpoints; 0: after every step.
        threads: Threads of the CPU while training; None: as they are.
        workers: Processes that read; 0: a thread of this one. None: as many as a GPU that reads files needs, else 0.
        compile: Mode for `torch.compile` ("default", "reduce-overhead" for CUDA graphs, "max-autotune"); None: eager.
        model_options: Options for `create_model`, where `model` is a name.
        progress: Whether to show bars.
        tensorboard: Whether to write TensorBoard events where tensorboard is installed.
        on_checkpoint: Called with the run folder after each checkpoint, for example to draw its log.
        **overrides: Fields of `Recipe` that take another value.

    Returns:
        The network, its log and its scores.

    Raises:
        ValueError: An argument or override is not allowed, or `out` holds another run, or one that is under way.
        DivergenceError: The loss or a weight is no longer finite.
        rfkit._checks.DataError: The checkpoint in `out` cannot be read, or does not belong to this network.
        OSError: A file could not be written, for example on a full disk; the checkpoint before it is intact.
        KeyboardInterrupt: On Ctrl-C or SIGTERM, after a checkpoint was written; the message says how to go on.

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
    plan = get_recipe(recipe, **overrides, **({} if epochs is None else {"epochs": epochs}))
    for name, value in (("stop_after", stop_after), ("threads", threads)):
        if value is not None:
            check_positive(name, value)
    if compile is not None:
        check_choice("compile", compile, _COMPILE_MODES)
    device = _own_device(device)
    dataset = open_data(data, root, split=split) if isinstance(data, str) else data
    dataset.check_usable()
    scored = _evaluation_set(evaluation, data, root, classes=dataset.classes)
    network = _network(model, dataset, seed, model_options)
    with (
        joined_processes(device) as processes,
        _process_settings(plan, threads, device),
        Interruption(repeated=processes.count == 1) as interruption,
    ):
        run = _Run(
            network,
            dataset,
            plan,
            seed=seed,
            device=device,
            out=Path(out),
            workers=workers,
            compile=compile,
            scored=scored,
            evaluate_every=evaluate_every,
            checkpoint_minutes=checkpoint_minutes,
            progress=progress,
            on_checkpoint=on_checkpoint,
            processes=processes,
        )
        with _alone_in(run.out, processes):
            run.start(resume=resume)
            events = Events(run.out, enabled=tensorboard and processes.first, epochs=len(run.log))
            try:
                run.train(min(plan.epochs, stop_after or plan.epochs), interruption, events)
            finally:
                run.batches.close()
                # On a full disk this fails as well, and must not take the place of the error that says more.
                with suppress(OSError):
                    events.close()
            return run.finish()


class _Run:
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
        processes: Processes = ALONE,
    ) -> None:
        self.model, self.data, self.recipe, self.seed, self.device, self.out = model, data, recipe, seed, device, out
        self.workers, self.compile, self.processes = workers, compile, processes
        self.progress = progress and processes.first
        self.scored, self.evaluate_every = scored, evaluate_every
        self.checkpoint_minutes, self.on_checkpoint = checkpoint_minutes, on_checkpoint
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
        self.batches = Batches(
            self.data,
            self.recipe,
            seed=self.seed,
            device=self.device,
            workers=self.workers,
            rank=self.processes.rank,
            processes=self.processes.count,
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

    def _show(self, bar: tqdm, epoch: int) -> None:
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


def _evaluation_set(
    evaluation: str | Dataset | None, data: str | Dataset, root: str | Path | None, *, classes: tuple[str, ...]
) -> Dataset | None:
    if isinstance(evaluation, str):
        if not isinstance(data, str):
            raise ValueError(
                f"evaluation={evaluation!r} names a split, but data is a data set; give a data set here too."
            )
        return open_data(data, root, split=evaluation)
    if evaluation is not None and tuple(evaluation.classes) != tuple(classes):
        raise ValueError(
            f"evaluation has the classes {', '.join(evaluation.classes)}; data has {', '.join(classes)}: they must be "
            "equal."
        )
    return evaluation


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


@contextmanager
def _alone_in(folder: Path, processes: Processes) -> Iterator[None]:
    """The run folder for these processes alone: two runs in one would overwrite each other's checkpoints."""
    with ExitStack() as stack:

        def lock() -> None:
            try:
                stack.enter_context(locked(folder / LOCK))
            except LockedError as error:
                raise ValueError(f"out={str(folder)!r}: a run is under way there ({error}).") from error

        processes.share(lock)
        yield


def _own_device(device: str | torch.device | None) -> torch.device:
    """The device of this process; of several on a machine with GPUs each has its own."""
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    own = torch.device(device)
    if own.type == "cuda" and own.index is None:
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return own


@contextmanager
def _process_settings(recipe: Recipe, threads: int | None, device: torch.device) -> Iterator[None]:
    """The wanted threads, algorithms and use of memory, and a global generator; all is given back as it was."""
    former = torch.get_num_threads()
    deterministic, warn_only = (
        torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled(),
    )  # fmt: skip
    benchmark = torch.backends.cudnn.benchmark
    if recipe.deterministic:
        # cuBLAS reads it when it starts.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    memory = kept_memory() if device.type == "cpu" else nullcontext()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), memory:
        try:
            if threads is not None:
                torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(recipe.deterministic or deterministic, warn_only=warn_only)
            # All batches have one size, so the fastest convolution has to be found only once.
            torch.backends.cudnn.benchmark = not recipe.deterministic
            yield
        finally:
            torch.set_num_threads(former)
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
            torch.backends.cudnn.benchmark = benchmark


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
