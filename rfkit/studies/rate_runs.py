"""Dilation rates learned on real data from several starts, one resumable training each, and a probe to compare with."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from rfkit._progress import Bar
from rfkit.analysis.branches import branch_weights
from rfkit.analysis.ratios import branch_magnitudes
from rfkit.data.dataset import Dataset
from rfkit.data.opening import open_data
from rfkit.loading import load_network
from rfkit.models.competing import probe as competing
from rfkit.models.learning_dilations import learned_layers
from rfkit.models.registry import create_model
from rfkit.models.weights import load_weights
from rfkit.results.learned_rates import LearnedRates
from rfkit.studies.learned_rates import learn_dilations
from rfkit.training.batches import count_steps
from rfkit.training.folder import WEIGHTS, card_of_run, run_identity
from rfkit.training.loop import train
from rfkit.training.rate_folders import collect_rates, places_of, read_rate_run
from rfkit.training.recipe import Recipe, get_recipe

__all__ = ["learn_rates"]

_Start = str | float


def learn_rates(
    model: str | nn.Module,
    data: str | Dataset,
    *,
    out: str | Path,
    root: str | Path | None = None,
    split: str = "trainval",
    starts: Sequence[_Start] = ("own", 1, 9),
    seeds: Sequence[int] = (0,),
    recipe: str | Recipe = "camvid-paper-half",
    epochs: int | None = None,
    rate_learning_rate: float = 10.0,
    layers: str | Sequence[str] | None = None,
    bound: str | float = "field",
    probe: Sequence[int] | None = None,
    probe_stages: Mapping[str, str | Sequence[str]] | str | None = None,
    evaluation: str | Dataset | None = None,
    model_options: Mapping[str, Any] | None = None,
    progress: bool = True,
    **options: Any,
) -> LearnedRates:
    """The dilation rates that `model` learns on `data` from several starts: one training for each start and seed.

    A learned rate is a local optimum: only where trainings that begin with different rates end with the same one is it
    a finding about the data. So each start is a run folder `out/MODEL-start-START-seedN`, as `rfkit.train` leaves it. A
    run that is finished is never made again, one that was interrupted goes on, so the same call does both. With `probe`
    each seed also trains `rfkit.probe` of the same blocks with the same schedule into `out/MODEL-probe-seedN`, whose
    weights tell by another way which rates the blocks want. `rfkit.freeze` makes an ordinary network of a run:
    `rfkit.freeze(rfkit.train(...).model)`, or of the weights in its folder.

    Rates are in units of the map that a layer reads. Above the size of that map all taps but the centre read padding,
    and nothing draws a rate back from there.

    Args:
        model: name for `rfkit.create_model`, or MODULE:FACTORY as of `rfkit rf`; built anew with each seed. Or a
            network, with whose weights every run begins.
        data: name for `rfkit.open_data`, or a data set.
        out: folder of the run folders.
        root: folder of the data set, where `data` is a name that needs one.
        split: split trained on, where `data` is a name.
        starts: rates to begin with, one for all layers; "own": those of the network. Above its bound a layer begins
            with that.
        seeds: of initial weights, order and augmentation.
        recipe: recipe of every run.
        epochs: instead of the recipe's.
        rate_learning_rate: initial learning rate of the rates. A rate is one number, so it wants another one than
            weights; too large a one shows as rates that jump between their bounds.
        layers: see `rfkit.learn_dilations`, as is `bound`.
        bound: largest rates.
        probe: dilation rates that compete in the probe; None: no probe.
        probe_stages: stages of the probe, see `rfkit.probe`; "all": those that the network publishes; None: the blocks
            that hold learned rates.
        evaluation: split, or data set, that is scored at the end of each run.
        model_options: options of the network, where `model` is a name.
        progress: whether to show bars.
        **options: other arguments of `rfkit.train`, and fields of the recipe that take another value.

    Returns:
        Rates of all runs, and what the probe of the first seed says; see `to_frame()`, `final()`, `summary()` and
        `convergence()`.

    Raises:
        ValueError: an argument is not allowed, a start or seed comes twice, or a folder holds another run.
        KeyboardInterrupt: on Ctrl-C, after a checkpoint was written; the same call goes on.

    Example:
        ``learn_rates("dwrseg_l", "camvid", root="CamVid", out="runs/rates", epochs=40).summary()``

    Reference: Gao, Rethinking Dilated Convolution for Real-time Semantic Segmentation, arXiv 2111.09957 (rates searched
    by gradient); Wei et al., DWRSeg, section 4.2 (the probe).
    """
    names = [_start_name(start) for start in starts]
    for argument, values in (("starts", names), ("seeds", list(seeds))):
        if not values or len(set(values)) < len(values):
            raise ValueError(f"{argument}={values!r} must be at least one, each once.")
    dataset = open_data(data, root, split=split) if isinstance(data, str) else data
    if isinstance(evaluation, str) and not isinstance(data, str):
        raise ValueError(f"evaluation={evaluation!r} names a split, but data is a data set; give a data set here too.")
    scored = open_data(str(data), root, split=evaluation) if isinstance(evaluation, str) else evaluation
    given = {**options, **({} if epochs is None else {"epochs": epochs})}

    def network(seed: int) -> nn.Module:
        return _network(model, dataset, seed, model_options)

    def learner(seed: int, start: str) -> nn.Module:
        value = None if start == "own" else float(start)
        return learn_dilations(network(seed), layers=layers, start=value, bound=bound)

    def prober(seed: int) -> nn.Module:
        base, stages = network(seed), probe_stages
        if stages is None:
            stages = _blocks_of(learner(seed, "own"))
        return competing(base, dilations=probe or (), stages=None if isinstance(stages, str) else stages, seed=seed)

    if isinstance(probe_stages, str) and probe_stages != "all":
        raise ValueError(f"probe_stages={probe_stages!r} must be stage -> blocks, 'all' or None.")
    name = _name(model, network(seeds[0]))
    shared: dict[str, Any] = {"data": dataset, "recipe": recipe, "scored": scored, "progress": progress}
    learning = {**given, "rate_learning_rate": rate_learning_rate}
    planned = [
        (f"{name}-start-{start}-seed{seed}", seed, partial(learner, seed, start), learning)
        for start in names
        for seed in seeds
    ]
    if probe is not None:
        # A probe that cannot be built is to be found out before the trainings of the starts, not after them.
        prober(seeds[0])
        planned += [(f"{name}-probe-seed{seed}", seed, partial(prober, seed), given) for seed in seeds]
    with Bar(planned, desc=f"Learning the rates of {name}", unit="run", disable=not progress) as bar:
        for folder, seed, build, fields in bar:
            bar.set_postfix_str(folder)
            _train(build(), Path(out) / folder, seed=seed, options=fields, **shared)
    runs = [read_rate_run(Path(out) / f"{name}-start-{start}-seed{seed}") for start in names for seed in seeds]
    found = None
    if probe is not None:
        trained = prober(seeds[0])
        load_weights(trained, Path(out) / f"{name}-probe-seed{seeds[0]}" / WEIGHTS)
        found = branch_magnitudes(branch_weights(trained.eval()))
    return collect_rates(name, network(seeds[0]), runs, probe=found)


def _train(
    model: nn.Module,
    folder: Path,
    *,
    data: Dataset,
    recipe: str | Recipe,
    scored: Dataset | None,
    seed: int,
    options: Mapping[str, Any],
    progress: bool,
) -> None:
    """Train into the folder what is not finished there."""
    known = {entry: options[entry] for entry in options if entry in Recipe.__dataclass_fields__}
    plan = get_recipe(recipe, **known)
    identity = run_identity(model, data, plan, seed=seed, steps_per_epoch=count_steps(data, plan))
    card = card_of_run(folder, identity)
    last = min(plan.epochs, options.get("stop_after") or plan.epochs)
    if card is not None and card.epochs >= last and (card.scores or scored is None):
        return
    train(model, data, recipe=recipe, out=folder, seed=seed, evaluation=scored, progress=progress, **options)


def _network(model: str | nn.Module, data: Dataset, seed: int, options: Mapping[str, Any] | None) -> nn.Module:
    if not isinstance(model, str):
        if options:
            raise ValueError(f"model_options={options!r} goes with the name of a model only.")
        return copy.deepcopy(model)
    if ":" in model:
        return load_network(model, options, seed=seed)
    return create_model(model, num_classes=data.num_classes, seed=seed, **(options or {}))


def _name(model: str | nn.Module, built: nn.Module) -> str:
    if isinstance(model, str):
        return model.rpartition(":")[2]
    return str(getattr(built, "name", type(built).__name__))


def _start_name(start: _Start) -> str:
    if start == "own":
        return "own"
    try:
        value = float(start)
    except (TypeError, ValueError):
        value = 0.0
    if not 1 <= value < float("inf"):
        raise ValueError(f"starts: {start!r} must be a rate of at least 1, or 'own'.")
    return f"{value:g}"


def _blocks_of(model: nn.Module) -> dict[str, list[str]]:
    """Stage -> the blocks that hold learned rates."""
    found: dict[str, list[str]] = {}
    for stage, block in zip(*places_of(model, list(learned_layers(model))), strict=True):
        if block not in found.setdefault(stage, []):
            found[stage].append(block)
    return found
