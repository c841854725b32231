"""Table 2: ablations, the paper's numbers, and ours where a full schedule was trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import mean, stdev
from typing import Any

from matplotlib.figure import Figure

from rfkit.paper.ablation_runs import AblationRun, ablation_runs
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


def compute(context: Context) -> Table:
    """The paper's rows, and scores of ours where an ablation was trained for the paper's whole schedule.

    Columns: `experiment`, `factor`, `setting`, `stage` (experiment VII), `miou` (percent), `fps`, `ablation` (the
    name in `rfkit.models.ablations.ABLATIONS` that builds the row), then for each data set and size three columns of
    ours headed with them: the mean over seeds (percent), ", std" (sample standard deviation, None for one run) and
    ", runs" (their number). One empty column "rfkit" where there is none.
    """
    columns = {key: tuple(row.get(key) for row in _PAPER["rows"]) for key in _KEYS}
    own = _own_columns([run for run in ablation_runs(context) if run.is_full], columns["ablation"])
    source = f"Columns 4 and 5: {_PAPER['citation'].split(':')[0]}, Table 2."
    rule = (
        "Last columns: trained by this project with the paper's recipe for its whole schedule, on the data and at the "
        "size named there: mean ± standard deviation over seeds (number of runs). Blocks are matched by multiply-adds, "
        "see the table of ablations. They cannot be compared with the paper's."
        if own
        else "rfkit: a score of this project appears only after the paper's whole schedule; there is none. Other runs "
        "have a table of their own."
    )
    columns |= own or {"rfkit": (None,) * len(columns["ablation"])}
    return Table(NAME, columns, CAPTION, (source, *_PAPER["notes"], rule))


def draw(result: Table) -> Figure:
    """The table as a figure."""
    return plot_table_figure(_sheet(result))


def text(result: Table) -> str:
    """The table in Markdown, without the rules between experiments."""
    return markdown(replace(_sheet(result), rules=()))


def _own_columns(runs: Sequence[AblationRun], ablations: Sequence[str]) -> dict[str, tuple[float | None, ...]]:
    """Three columns for each data set and size: means, spreads and numbers of the runs of each ablation."""
    scores: dict[str, dict[str, list[float]]] = {}
    for run in runs:
        scores.setdefault(run.title, {}).setdefault(run.ablation, []).append(100 * run.miou)
    columns: dict[str, tuple[float | None, ...]] = {}
    for title, found in sorted(scores.items()):
        lists = [found.get(name, []) for name in ablations]
        columns[title] = tuple(mean(values) if values else None for values in lists)
        columns[f"{title}, std"] = tuple(stdev(values) if len(values) > 1 else None for values in lists)
        columns[f"{title}, runs"] = tuple(len(values) or None for values in lists)
    return columns


def _sheet(result: Table) -> Sheet:
    own = [name for name in list(result.columns)[len(_KEYS) :] if not name.endswith((", std", ", runs"))]
    rows: list[tuple[str, ...]] = []
    rules: list[int] = []
    shown = ""
    for row in _grouped(result):
        first = row["experiment"] != shown
        shown = row["experiment"]
        if first and rows:
            rules.append(len(rows))
        experiment, factor = (row["experiment"], row["factor"]) if first else ("", "")
        paper = (_slashes(row["miou"]), _number(row["fps"]))
        ours = [_slashes(row[name], row.get(f"{name}, std"), row.get(f"{name}, runs")) for name in own]
        rows.append((experiment, factor, row["setting"].replace("-", "−"), *paper, *ours))
    return Sheet(
        header=("Expt.", "Factor", "Setting", "mIoU (%)", "FPS", *own),
        rows=tuple(rows),
        spans=(("paper", 3, 4), ("rfkit, mIoU (%)", 5, 4 + len(own))) if own != ["rfkit"] else (),
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


def _slashes(
    values: Sequence[float | None], spreads: Sequence[float | None] | None = None, runs: Sequence[int] | None = None
) -> str:
    """The scores of a printed row, one for each stage in experiment VII."""
    if all(value is None for value in values):
        return DASH
    nothing = (None,) * len(values)
    return " / ".join(map(_score, values, spreads or nothing, runs or nothing))


def _score(value: float | None, spread: float | None, runs: int | None) -> str:
    plus = "" if spread is None else f" ± {spread:.1f}"
    return f"{_number(value)}{plus}" + ("" if runs is None else f" ({runs})")


def _number(value: float | None) -> str:
    return DASH if value is None else f"{value:.1f}"
