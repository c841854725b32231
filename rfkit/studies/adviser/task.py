"""What an advice is about: a network, data, blocks to probe, and how each probe is trained."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rfkit.data.dataset import Dataset, parts_of
from rfkit.data.opening import open_data
from rfkit.loading import load_network
from rfkit.models.competing import probe
from rfkit.results.found_stages import FoundStages
from rfkit.studies.adviser.stages import find_stages
from rfkit.training.batches import count_steps
from rfkit.training.recipe import Recipe

__all__ = ["Network", "Task", "make_task", "open_validation"]

# A module; what makes one, called anew for each seed; or "FILE.py:FACTORY".
Network = nn.Module | Callable[[], nn.Module] | str


@dataclass(frozen=True, eq=False)
class Task:
    """Everything that the trainings of an advice share.

    Attributes:
        source: the network, or where it comes from.
        options: arguments of the factory, where `source` names one.
        data: what probes are trained on.
        validation: what branches are removed on.
        found: the stages.
        dilations: dilation rates that compete.
        recipe: how each probe is trained, all epochs of it.
        device: where; None: the GPU where there is one.
        threads: threads of the CPU while training; None: as they are.
        out: folder of the advice.
    """

    source: Network
    options: Mapping[str, Any]
    data: Dataset
    validation: Dataset
    found: FoundStages
    dilations: tuple[int, ...]
    recipe: Recipe
    device: str | torch.device | None
    threads: int | None
    out: Path

    @property
    def label(self) -> str:
        """A name for the network."""
        return self.source if isinstance(self.source, str) else type(self.network(0)).__name__

    @property
    def input_size(self) -> tuple[int, int, int]:
        """(channels, height, width) that the network sees in training, at which everything is counted."""
        return (3, *self.recipe.crop_size)

    @property
    def evaluation_size(self) -> tuple[int, int] | None:
        """(height, width) that the network sees when it is scored; None: each image's own."""
        return self.recipe.evaluation_size or self.recipe.frame_size

    @property
    def total_steps(self) -> int:
        """Steps of one training."""
        return count_steps(self.data, self.recipe) * self.recipe.epochs

    def network(self, seed: int) -> nn.Module:
        """The network that is asked about, fresh where it comes from a factory."""
        return _network(self.source, self.options, seed)

    def probe(self, seed: int) -> nn.Module:
        """The network with competing branches in place of its blocks, as training begins."""
        return probe(
            self.network(seed),
            dilations=self.dilations,
            stages=self.found.names(),
            input_size=self.input_size,
            seed=seed,
        )

    def folder(self, seed: int) -> Path:
        """Run folder of the training with `seed`."""
        return self.out / f"seed{seed}"

    def with_epochs(self, epochs: int) -> Task:
        """The same with trainings of another length."""
        return dataclasses.replace(self, recipe=dataclasses.replace(self.recipe, epochs=epochs))


def make_task(
    source: Network,
    data: Dataset,
    validation: Dataset,
    *,
    options: Mapping[str, Any] | None,
    stages: Mapping[str, str | Sequence[str]] | None,
    dilations: Sequence[int],
    recipe: Recipe,
    device: str | torch.device | None,
    threads: int | None,
    out: Path,
) -> Task:
    """The task, after a look at whether the network suits the data and which of its blocks can be probed.

    Raises:
        ValueError: the network does not give class scores of the data's classes at the size of the image, a data set
            cannot be used, or there is no block to probe.
    """
    data.check_usable()
    validation.check_usable()
    if tuple(data.classes) != tuple(validation.classes):
        raise ValueError(
            f"validation has the classes {', '.join(validation.classes)}; data has {', '.join(data.classes)}: they "
            "must be equal."
        )
    shared = set(parts_of(data.split)) & set(parts_of(validation.split))
    if shared and (data.name, data.root) == (validation.name, validation.root) and data.root is not None:
        raise ValueError(
            f"validation is {validation.name} {validation.split}, and {data.split} is trained on: branches are removed "
            "on frames that were not trained on, so the splits must not overlap."
        )
    if len(set(dilations)) < 2 or len(set(dilations)) < len(dilations):
        raise ValueError(f"dilations={tuple(dilations)} must be two or more different rates, for them to compete.")
    count_steps(data, recipe)
    network = _network(source, options or {}, 0)
    _check_scores(network, len(data.classes), recipe.crop_size)
    found = find_stages(network, stages=stages, input_size=(3, *recipe.crop_size))
    rates = tuple(sorted(dilations))
    return Task(source, dict(options or {}), data, validation, found, rates, recipe, device, threads, out)


def open_validation(data: str, root: str | Path | None, split: str) -> Dataset:
    """The split on which branches are removed.

    Raises:
        ValueError: the data set has no such split; the message says what to give.
    """
    try:
        return open_data(data, root, split=split)
    except ValueError as error:
        raise ValueError(
            f"validation={split!r}: {str(error).rstrip('.')}. Branches are removed on frames that were not trained on."
        ) from error


def _network(source: Network, options: Mapping[str, Any], seed: int) -> nn.Module:
    if isinstance(source, str):
        return load_network(source, options, seed=seed)
    if isinstance(source, nn.Module):
        return copy.deepcopy(source)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = source()
    if not isinstance(network, nn.Module):
        raise ValueError(f"model returned a {type(network).__name__}; it must make a torch.nn.Module.")
    return network


def _check_scores(network: nn.Module, classes: int, size: Sequence[int]) -> None:
    """Refuse a network that cannot be trained on the data, before anything else is done."""
    reference = next(network.parameters(), torch.empty(0))
    image = torch.zeros(1, 3, *size, device=reference.device, dtype=reference.dtype)
    wanted = (1, classes, *size)
    try:
        with torch.no_grad():
            scores = copy.deepcopy(network).eval()(image)
    except RuntimeError as error:
        raise ValueError(f"model does not run on an image of {tuple(image.shape)}: {error}") from error
    got = tuple(scores.shape) if isinstance(scores, torch.Tensor) else f"a {type(scores).__name__}"
    if got != wanted:
        raise ValueError(
            f"model returns {got} for an image of {tuple(image.shape)}; it must return class scores {wanted}: one for "
            "each class of the data, at the size of the image."
        )
