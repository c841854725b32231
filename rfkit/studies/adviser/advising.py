"""The adviser's one call: find the stages, train probes, measure, judge, and write the report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from rfkit._checks import check_positive
from rfkit.data.dataset import Dataset
from rfkit.data.opening import open_data
from rfkit.results.advice import Advice
from rfkit.studies.adviser.budget import settle_budget
from rfkit.studies.adviser.evidence import gather_evidence
from rfkit.studies.adviser.report import write_report
from rfkit.studies.adviser.suggesting import make_advice
from rfkit.studies.adviser.task import Network, Task, make_task, open_validation
from rfkit.studies.adviser.trainings import train_probes
from rfkit.training.batches import count_steps
from rfkit.training.folder import claim, run_identity
from rfkit.training.locks import LockedError, locked
from rfkit.training.recipe import Recipe, get_recipe

__all__ = ["advise", "carry_out", "prepare"]

_LOCK = ".lock"


def advise(
    model: Network,
    data: str | Dataset,
    *,
    out: str | Path,
    epochs: int | None = None,
    minutes: float | None = None,
    seeds: int | Sequence[int] = 3,
    root: str | Path | None = None,
    split: str = "train",
    validation: str | Dataset = "val",
    dilations: Sequence[int] = (1, 3, 5),
    stages: Mapping[str, str | Sequence[str]] | None = None,
    options: Mapping[str, Any] | None = None,
    size: tuple[int, int] | None = None,
    recipe: str | Recipe = "camvid-paper-half",
    device: str | torch.device | None = None,
    threads: int | None = None,
    progress: bool = True,
    **overrides: Any,
) -> Advice:
    """The dilation rates, and their shares of the channels, that the stages of a network of yours need, and how surely.

    The blocks of the network are replaced by competing branches (`rfkit.probe`), and this probe is trained with
    several seeds. On frames it was not trained on, each rate of each stage is then taken away, and what that costs is
    measured; beside it stand the weights of the branches. From both, rules that are written down in
    `rfkit.studies.adviser.judging` make a suggestion, and a verdict on how far to trust it. **Short trainings give
    weak evidence, and the report says so.** Neither your network nor the suggested one is trained: what the suggestion
    does to your scores is for you to measure.

    The folder `out` holds `report.html` (one file, nothing from elsewhere), `advice.csv` (a row a stage and rate),
    `evidence.csv` (a row a stage, rate and seed), `suggested_blocks.py`, `advice.npz`, and the run folders of the
    trainings. The same call goes on after Ctrl-C or a kill, and never repeats a finished training; with more seeds, it
    adds trainings to those that are there.

    Args:
        model: a network; what makes one, called anew for each seed; or "FILE.py:FACTORY". It takes normalised images
            and returns class scores of their size. A module keeps its weights outside the blocks that are replaced.
        data: a name for `rfkit.open_data` (with `root` and `split`), or a data set.
        out: folder for everything.
        epochs: epochs of each training; or
        minutes: minutes for all trainings together, turned into epochs by a measurement when the folder is new.
            Scoring comes on top.
        seeds: how many trainings (seeds 0, 1, ...), or which.
        root: folder of the data set, where `data` is a name that needs one.
        split: split to train on, where `data` is a name.
        validation: split on which branches are removed, or a data set.
        dilations: dilation rates that compete.
        stages: stage name -> names or patterns of its blocks, see `rfkit.find_stages`, which finds them by default.
        options: arguments of the factory.
        size: (height, width) that the network sees; None: that of the recipe.
        recipe: how the probes are trained.
        device: None: the GPU where there is one.
        threads: threads of the CPU while training; None: as they are.
        progress: whether to show bars.
        **overrides: fields of `rfkit.training.recipe.Recipe` that take another value, such as `batch_size`.

    Returns:
        The advice; `print` shows it, `to_frame()` has a row a stage and rate.

    Raises:
        ValueError: an argument is not allowed, the network does not suit the data, no block can be probed, or `out`
            holds another advice.
        rfkit.training.checkpoint.DivergenceError: a training diverged.
        KeyboardInterrupt: on Ctrl-C; the message says how to go on.

    Example:
        ``rfkit.advise("my_net.py:make", "camvid", root="CamVid", minutes=60, out="runs/advice").to_frame()``
    """
    task, numbers = prepare(
        model, data, out=out, seeds=seeds, root=root, split=split, validation=validation, dilations=dilations,
        stages=stages, options=options, size=size, recipe=recipe, device=device, threads=threads, **overrides,
    )  # fmt: skip
    return carry_out(task, numbers, epochs=epochs, minutes=minutes, progress=progress)


def prepare(
    model: Network,
    data: str | Dataset,
    *,
    out: str | Path,
    seeds: int | Sequence[int] = 3,
    root: str | Path | None = None,
    split: str = "train",
    validation: str | Dataset = "val",
    dilations: Sequence[int] = (1, 3, 5),
    stages: Mapping[str, str | Sequence[str]] | None = None,
    options: Mapping[str, Any] | None = None,
    size: tuple[int, int] | None = None,
    recipe: str | Recipe = "camvid-paper-half",
    device: str | torch.device | None = None,
    threads: int | None = None,
    **overrides: Any,
) -> tuple[Task, tuple[int, ...]]:
    """What `advise` would do with these arguments, and the seeds; nothing is trained or written.

    Raises:
        ValueError: as of `advise`.
    """
    if isinstance(validation, str):
        if not isinstance(data, str):
            raise ValueError(
                f"validation={validation!r} names a split, but data is a data set; give a data set here too."
            )
        validation = open_validation(data, root, validation)
    if size is not None:
        overrides = {"frame_size": tuple(size), "crop_size": tuple(size), **overrides}
    task = make_task(
        model,
        open_data(data, root, split=split) if isinstance(data, str) else data,
        validation,
        options=options,
        stages=stages,
        dilations=dilations,
        recipe=get_recipe(recipe, **overrides),
        device=device,
        threads=threads,
        out=Path(out),
    )
    return task, _seeds(seeds)


def carry_out(
    task: Task,
    seeds: Sequence[int],
    *,
    epochs: int | None = None,
    minutes: float | None = None,
    progress: bool = True,
) -> Advice:
    """Do what `prepare` laid out, or what of it is not done yet, and write the report.

    Args:
        task: what the advice is about.
        seeds: a training each.
        epochs: see `advise`.
        minutes: see `advise`.
        progress: whether to show bars.

    Raises:
        ValueError, KeyboardInterrupt, rfkit.training.checkpoint.DivergenceError: as of `advise`.
    """
    try:
        with locked(task.out / _LOCK):
            budget = settle_budget(task, epochs=epochs, minutes=minutes, trainings=len(seeds))
            task = task.with_epochs(budget.epochs)
            claim(task.out, _identity(task), resume=True)
            train_probes(task, seeds, progress=progress)
            evidence = [gather_evidence(task, seed, progress=progress) for seed in seeds]
            advice = make_advice(task, budget, evidence)
            write_report(advice, task.out)
    except LockedError as error:
        raise ValueError(f"out={str(task.out)!r}: the adviser is at work there ({error}).") from error
    except KeyboardInterrupt as error:
        said = str(error) or f"What is finished is in {task.out}: make the same call again to go on."
        raise KeyboardInterrupt(said) from error
    return advice


def _seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    if isinstance(seeds, int):
        check_positive("seeds", seeds)
        return tuple(range(seeds))
    numbers = tuple(seeds)
    if not numbers or len(set(numbers)) < len(numbers) or min(numbers) < 0:
        raise ValueError(f"seeds={numbers} must be one or more different whole numbers of at least 0.")
    return numbers


def _identity(task: Task) -> dict[str, Any]:
    """All that the evidence depends on, except for the seeds, which may become more."""
    steps = count_steps(task.data, task.recipe)
    identity = run_identity(task.probe(0), task.data, task.recipe, seed=0, steps_per_epoch=steps)
    del identity["seed"]
    names = hashlib.sha256(json.dumps(list(task.validation.names)).encode()).hexdigest()[:16]
    return {
        **identity,
        "network": task.label,
        "dilations": list(task.dilations),
        "stages": task.found.names(),
        "validation": {"name": task.validation.name, "split": task.validation.split, "names": names},
    }
