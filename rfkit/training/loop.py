"""The call that trains a network, or goes on with a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rfkit._checks import check_choice, check_folder, check_positive
from rfkit.data.dataset import Dataset
from rfkit.data.opening import open_data
from rfkit.models.registry import create_model
from rfkit.training.events import Events
from rfkit.training.folder import LOCK
from rfkit.training.interruption import Interruption
from rfkit.training.locks import LockedError, locked
from rfkit.training.memory import kept_memory
from rfkit.training.processes import Processes, joined_processes
from rfkit.training.recipe import Recipe, get_recipe
from rfkit.training.run import Run, RunResult

__all__ = ["train"]

_COMPILE_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")


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
    on_step: Callable[[int], None] | None = None,
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
        on_step: Called with the number of steps done after each step, for example to move a bar over several runs.
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
    for name, value in (("evaluate_every", evaluate_every), ("workers", workers)):
        if value is not None and value < 0:
            raise ValueError(f"{name}={value!r} must be at least 0.")
    if compile is not None:
        check_choice("compile", compile, _COMPILE_MODES)
    check_folder("out", Path(out))
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
        run = Run(
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
            on_step=on_step,
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


def _evaluation_set(
    evaluation: str | Dataset | None, data: str | Dataset, root: str | Path | None, *, classes: tuple[str, ...]
) -> Dataset | None:
    if isinstance(evaluation, str):
        if not isinstance(data, str):
            raise ValueError(
                f"evaluation={evaluation!r} names a split, but data is a data set; give a data set here too."
            )
        evaluation = open_data(data, root, split=evaluation)
    if evaluation is not None:
        evaluation.check_usable()
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
