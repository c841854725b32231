"""Table 2: ablations, the paper's numbers, and ours where a full schedule was trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from matplotlib.figure import Figure

from rfkit.models.dwrseg import ABLATIONS
from rfkit.models.weights import Card
from rfkit.paper.context import Context
from rfkit.paper.published import published
from rfkit.plots.tables import DASH, Sheet, markdown, plot_table_figure
from rfkit.results.base import Table

__all__ = ["CAPTION", "INPUTS", "NAME", "compute", "draw", "text"]

NAME = "table2"
INPUTS = ("weights:*",)
_PAPER = published("table2")
CAPTION = (
    f"Table 2. {_PAPER['caption']} SS: one receptive field for each feature map; MS: several; α: ratio of the "
    "branches' output channels; β: channel expansion of region residualization (RR); SR: semantic residualization; "
    "DWC: depth-wise convolution; λ: channel expansion of the SIR module; δ: modules added to a stage."
)
_STAGES = ("stage2", "stage3", "stage4")
_KEYS = ("experiment", "factor", "setting", "stage", "miou", "fps", "ablation")
# The paper's schedules (section 4.1); a shorter run has no place in this table.
_FULL = {"camvid": 600, "cityscapes": 1000}
_TITLES = {"camvid": "CamVid", "cityscapes": "Cityscapes"}


def compute(context: Context) -> Table:
    """The paper's rows, and scores of ours where an ablation was trained for the paper's whole schedule.

    Columns: `experiment`, `factor`, `setting`, `stage` (experiment VII), `miou` (percent), `fps`, `ablation` (the
    name in `rfkit.models.dwrseg.ABLATIONS` that builds the row), then one column of ours for each data set and size,
    headed with them ("rfkit" and empty, where there is none).
    """
    columns = {key: tuple(row.get(key) for row in _PAPER["rows"]) for key in _KEYS}
    own = _own_columns([card for _, card in context.weights_files()], columns["ablation"])
    source = f"Columns 4 and 5: {_PAPER['citation'].split(':')[0]}, Table 2."
    rule = (
        "Last columns: trained by this project with the paper's recipe for its whole schedule, on the data and at the "
        "size named there; they cannot be compared with the paper's."
        if own
        else "rfkit: a score of this project appears only after the paper's whole schedule; there is none."
    )
    columns |= own or {"rfkit": (None,) * len(columns["ablation"])}
    return Table(NAME, columns, CAPTION, (source, *_PAPER["notes"], rule))


def draw(result: Table) -> Figure:
    """The table as a figure."""
    return plot_table_figure(_sheet(result))


def text(result: Table) -> str:
    """The table in Markdown, without the rules between experiments."""
    return markdown(replace(_sheet(result), rules=()))


def _own_columns(cards: Sequence[Card], ablations: Sequence[str]) -> dict[str, tuple[float | None, ...]]:
    """One column for each data set and size, its cells the scores of the ablations trained there."""
    columns: dict[str, dict[str, float]] = {}
    for card in cards:
        full = card.epochs >= _FULL.get(card.data, float("inf")) and card.recipe_name.startswith(f"{card.data}-paper")
        names = [name for name, options in ABLATIONS.items() if card.options == dict(options)]
        if card.model != "dwrseg_l" or not full or not names or "miou" not in card.scores:
            continue
        height, width = card.size
        columns.setdefault(f"{_TITLES[card.data]}, {width}×{height}", {})[names[0]] = 100 * card.scores["miou"]
    return {head: tuple(scores.get(name) for name in ablations) for head, scores in sorted(columns.items())}


def _sheet(result: Table) -> Sheet:
    own = list(result.columns)[len(_KEYS) :]
    rows: list[tuple[str, ...]] = []
    rules: list[int] = []
    shown = ""
    for row in _grouped(result):
        first = row["experiment"] != shown
        shown = row["experiment"]
        if first and rows:
            rules.append(len(rows))
        experiment, factor = (row["experiment"], row["factor"]) if first else ("", "")
        scores = [_scores(row[key]) for key in ("miou", *own)]
        rows.append((experiment, factor, row["setting"].replace("-", "−"), scores[0], _number(row["fps"]), *scores[1:]))
    return Sheet(
        header=("Expt.", "Factor", "Setting", "mIoU (%)", "FPS", *own),
        rows=tuple(rows),
        rules=tuple(rules),
        align="lllrr" + "r" * len(own),
        caption=result.caption,
        notes=result.notes,
    )


def _grouped(result: Table) -> list[dict[str, Any]]:
    """The rows of the table as printed: one for the three stages of experiment VII, its scores in lists."""
    scores = ("miou", *list(result.columns)[len(_KEYS) :])
    grouped: list[dict[str, Any]] = []
    for cells in zip(*result.columns.values(), strict=True):
        row = dict(zip(result.columns, cells, strict=True))
        if row["stage"] in _STAGES[1:]:
            for key in scores:
                grouped[-1][key].append(row[key])
        else:
            grouped.append({**row, **{key: [row[key]] for key in scores}})
    return grouped


def _scores(values: Sequence[float | None]) -> str:
    return DASH if not any(values) else " / ".join(_number(value) for value in values)


def _number(value: float | None) -> str:
    return DASH if value is None else f"{value:.1f}"
