"""What the run folders of a study of learned dilation rates say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from torch import nn

from rfkit._checks import data_error
from rfkit.models.weights import Card, read_card
from rfkit.results.dilation_rates import RateTrajectory
from rfkit.results.learned_rates import LearnedRates, RateRun
from rfkit.results.magnitudes import BranchMagnitudes
from rfkit.training.folder import WEIGHTS
from rfkit.training.rates import RATES

__all__ = ["FinishedRun", "collect_rates", "places_of", "read_rate_run"]


@dataclass(frozen=True)
class FinishedRun:
    """A training of learned rates as its folder tells of it.

    Attributes:
        run: the rates.
        card: of its weights.
    """

    run: RateRun
    card: Card


def read_rate_run(folder: str | Path) -> FinishedRun:
    """The training in a run folder named `...-start-START-seedN`.

    Raises:
        rfkit._checks.DataError: the folder has another name, holds no learned rates or no weights.
    """
    folder = Path(folder)
    before, separator, rest = folder.name.rpartition("-start-")
    start, seeded, _ = rest.rpartition("-seed")
    if not (before and separator and start and seeded):
        raise data_error(folder, "is not named MODEL-start-START-seedN.")
    for file in (RATES, WEIGHTS):
        if not (folder / file).is_file():
            raise data_error(folder, f"holds no {file}.")
    card = read_card(folder / WEIGHTS)
    try:
        trajectory = RateTrajectory.from_frame(pd.read_csv(folder / RATES))
    except (ValueError, KeyError) as error:
        raise data_error(folder / RATES, f"cannot be read ({error}).") from error
    return FinishedRun(RateRun(start, card.seed, float(card.scores.get("miou", float("nan"))), trajectory), card)


def places_of(model: nn.Module, layers: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The stage and the block of each layer, as `model.stages` says; elsewhere its first module and the layer itself.

    Args:
        model: any network.
        layers: full names.
    """
    stages, blocks = [], []
    published = [(block, stage.name) for stage in getattr(model, "stages", ()) for block in stage.blocks]
    for layer in layers:
        holders = [(len(block), block, stage) for block, stage in published if f"{layer}.".startswith(f"{block}.")]
        _, block, stage = max(holders, default=(0, layer, layer.split(".")[0]))
        stages.append(stage)
        blocks.append(block)
    return tuple(stages), tuple(blocks)


def collect_rates(
    name: str, model: nn.Module, finished: Sequence[FinishedRun], *, probe: BranchMagnitudes | None = None
) -> LearnedRates:
    """The trainings of one network as one result.

    Args:
        name: of the network.
        model: the network, which says in which stage and block each layer lies.
        finished: its trainings, with one schedule.
        probe: what a probe of it says.
    """
    card = finished[0].card
    height, width = card.size
    steps = round(card.steps / card.epochs) if card.epochs else 1
    stages, blocks = places_of(model, finished[0].run.trajectory.layers)
    return LearnedRates(
        name, f"{card.data} {card.split}", height, width, card.horizon_epochs, steps, stages, blocks,
        tuple(one.run for one in finished), probe,
    )  # fmt: skip
