"""Trained rows of Table 2: from the cards of weights, and from the table that ships."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rfkit._checks import data_error
from rfkit._files import write_text
from rfkit.models.ablations import ABLATIONS, find_ablation
from rfkit.models.weights import Card
from rfkit.paper.ablations import ablation_cost
from rfkit.paper.context import Context
from rfkit.paper.measured import ABLATION_RUNS
from rfkit.training.recipe import RECIPES

__all__ = ["AblationRun", "ablation_runs", "read_runs", "recipe_text", "run_of_card", "write_runs"]

# The paper's schedules (section 4.1), and the splits that they are trained and scored on here.
_FULL = {"camvid": (600, "trainval", "test"), "cityscapes": (1000, "train", "val")}
_TITLES = {"camvid": "CamVid", "cityscapes": "Cityscapes", "bdd100k": "BDD100K"}
# What a recipe may change and still be the same one: the schedule's length and the crop are stated by themselves.
_STATED = ("name", "epochs", "crop_size", "precision", "channels_last")


@dataclass(frozen=True)
class AblationRun:
    """One training run of a row of Table 2.

    Attributes:
        ablation: name in `ABLATIONS`.
        blocks: blocks in stage2, stage3 and stage4, separated by blanks.
        macs: multiply-adds of convolutions at 3x512x1024 with 19 classes.
        seed: of the run.
        data: data set.
        split: split trained on.
        evaluated: split scored on.
        height: of the crops trained on, in pixels.
        width: of the crops trained on, in pixels.
        recipe: name of the recipe, and what differs from it.
        epochs: epochs trained.
        horizon_epochs: epochs at which the learning rate reaches zero.
        steps: optimiser steps taken.
        miou: 0 to 1, of the last checkpoint.
        device: what it was trained on.
    """

    ablation: str
    blocks: str
    macs: int
    seed: int
    data: str
    split: str
    evaluated: str
    height: int
    width: int
    recipe: str
    epochs: float
    horizon_epochs: int
    steps: int
    miou: float
    device: str

    @property
    def schedule(self) -> tuple[Any, ...]:
        """What must agree for two scores to be compared: data, splits, size, recipe, horizon and epochs trained."""
        return (self.data, self.split, self.evaluated, self.height, self.width, self.recipe,
                self.horizon_epochs, self.epochs)  # fmt: skip

    @property
    def is_full(self) -> bool:
        """Whether it went through the paper's whole schedule, with the paper's recipe unchanged."""
        if self.data not in _FULL or self.recipe not in RECIPES or not self.recipe.startswith(f"{self.data}-paper"):
            return False
        epochs, *splits = _FULL[self.data]
        return self.epochs >= max(epochs, self.horizon_epochs) and [self.split, self.evaluated] == splits

    @property
    def title(self) -> str:
        """Data and size, width before height."""
        return f"{_TITLES.get(self.data, self.data)}, {self.width}×{self.height}"


_FIELDS = {entry.name: str(entry.type) for entry in dataclasses.fields(AblationRun)}
_TYPES = {"str": str, "int": int, "float": float}


def ablation_runs(context: Context) -> tuple[AblationRun, ...]:
    """Every trained row of Table 2 at hand, each run once: cards of weights first, then the table that ships."""
    found = [run_of_card(card) for _, card in context.weights_files()]
    runs: dict[tuple[Any, ...], AblationRun] = {}
    for run in [*(run for run in found if run), *read_runs(ABLATION_RUNS)]:
        runs.setdefault((run.ablation, run.seed, run.schedule), run)
    return tuple(runs.values())


def run_of_card(card: Card) -> AblationRun | None:
    """The run that a card tells of; None if it has no score, or is of no network of Table 2 with matched blocks."""
    name = find_ablation(card.options) if card.model == "dwrseg_l" else None
    if name is None or card.scores.get("miou") is None or len(card.size) != 2:
        return None
    cost = ablation_cost(name)
    height, width = card.size
    return AblationRun(
        ablation=name, blocks=" ".join(map(str, cost.blocks)), macs=cost.macs, seed=card.seed, data=card.data,
        split=card.split, evaluated=str(card.scores.get("split", "")), height=height, width=width,
        recipe=recipe_text(card.recipe_name, card.recipe), epochs=float(card.epochs),
        horizon_epochs=card.horizon_epochs, steps=card.steps, miou=float(card.scores["miou"]), device=card.device,
    )  # fmt: skip


def recipe_text(name: str, fields: Mapping[str, Any]) -> str:
    """The name of a recipe, followed by those of `fields` in which a run differs from it.

    Example:
        >>> recipe_text("camvid-paper-half", {"learning_rate": 0.01, "epochs": 60})
        'camvid-paper-half, learning_rate=0.01'
    """
    if name not in RECIPES:
        return name
    own = RECIPES[name].to_dict()
    crop = fields.get("crop_size", own["crop_size"])
    differing = [
        f"{field}={value}"
        for field, value in fields.items()
        # Frames as large as the crop are no news beside the crop's size.
        if field in own and field not in _STATED and value != own[field] and (field, value) != ("frame_size", crop)
    ]
    return ", ".join([name, *differing])


def read_runs(path: Path) -> tuple[AblationRun, ...]:
    """The runs in a table written by `write_runs`.

    Raises:
        rfkit._checks.DataError: a column is missing, or a cell is not what its column holds.
    """
    reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))
    if list(reader.fieldnames or ()) != list(_FIELDS):
        raise data_error(path, f"has the columns {reader.fieldnames}; they must be {', '.join(_FIELDS)}.")
    runs = []
    for line, row in enumerate(reader, start=2):
        try:
            runs.append(AblationRun(**{name: _TYPES[kind](row[name]) for name, kind in _FIELDS.items()}))
        except (TypeError, ValueError) as error:
            raise data_error(path, f"line {line}: {error}.") from error
        if runs[-1].ablation not in ABLATIONS:
            raise data_error(path, f"line {line}: ablation={runs[-1].ablation!r} is not in ABLATIONS.")
    return tuple(runs)


def write_runs(path: Path, runs: Iterable[AblationRun]) -> None:
    """Write `runs` to `path`, in the order of Table 2, one schedule after the other."""
    order: Sequence[str] = list(ABLATIONS)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(_FIELDS), lineterminator="\n")
    writer.writeheader()
    for run in sorted(runs, key=lambda run: (run.schedule, order.index(run.ablation), run.seed)):
        writer.writerow(dataclasses.asdict(run))
    write_text(path, text.getvalue())
