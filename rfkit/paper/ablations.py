"""The networks behind Table 2: block counts matched by multiply-adds, parameters, multiply-adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from matplotlib.figure import Figure

from rfkit.cost import multiply_adds, parameters
from rfkit.models.ablations import ABLATIONS, MATCHED_BLOCKS, ablation_options
from rfkit.models.dwrseg import dwrseg_l
from rfkit.paper.context import Context
from rfkit.paper.published import published
from rfkit.plots.tables import DASH, Sheet, markdown, plot_table_figure
from rfkit.results.base import Table

__all__ = ["CAPTION", "INPUTS", "NAME", "Cost", "Row", "ablation_cost", "ablation_rows", "compute", "draw", "text"]

NAME = "ablations"
INPUTS: tuple[str, ...] = ()
CAPTION = (
    "The networks of Table 2 as built: blocks in stages 2, 3 and 4, parameters, and multiply-adds of convolutions at "
    "3×512×1024 with 19 classes, whose ratio to the baseline's is matched by the number of blocks (except in VII)."
)
_NOTES = (
    "The paper adjusts the number of modules to a similar inference speed and prints neither the counts nor the rule. "
    "Here only the stages whose blocks change their cost change their count, stages 3 and 4 by the same share, to the "
    "counts nearest the baseline's multiply-adds.",
    "Unmatched: the ratio with the baseline's blocks, where matching changed them. IV: norms and activations are not "
    "counted. VII: the number of blocks is the experiment.",
)
_INPUT = (3, 512, 1024)


@dataclass(frozen=True)
class Cost:
    """What a network is made of: blocks in stage2, stage3 and stage4, parameters, multiply-adds at 3x512x1024."""

    blocks: tuple[int, ...]
    parameters: int
    macs: int


@dataclass(frozen=True)
class Row:
    """How Table 2 names an ablation; empty where it has no such text."""

    experiment: str
    factor: str
    setting: str


def ablation_cost(name: str) -> Cost:
    """Blocks, parameters and multiply-adds of a row of Table 2 with matched block counts, at 19 classes."""
    return _cost(name, matched=True)


def ablation_rows() -> Mapping[str, Row]:
    """Name in `ABLATIONS` -> experiment, factor and setting as in Table 2; the baseline once."""
    rows = {"baseline": Row("", "", "baseline (DWRSeg-L)")}
    for row in published("table2")["rows"]:
        setting = row["setting"].replace("-", "−")
        if "stage" in row:
            setting = f"{setting} in stage {row['stage'][-1]}"
        rows.setdefault(row["ablation"], Row(row["experiment"], row["factor"], setting))
    return {name: rows[name] for name in ABLATIONS}


def compute(_context: Context) -> Table:
    """One row a network.

    Columns: `ablation` (name in `rfkit.models.ablations.ABLATIONS`), `experiment`, `factor`, `setting`, `stage2`,
    `stage3`, `stage4` (blocks), `parameters`, `macs`, `ratio` (to the baseline's multiply-adds), `unmatched` (the same
    with the baseline's blocks, where matching changed them).
    """
    baseline = ablation_cost("baseline").macs
    rows: list[dict[str, Any]] = []
    for name, row in ablation_rows().items():
        cost = ablation_cost(name)
        changed = MATCHED_BLOCKS[name] != MATCHED_BLOCKS["baseline"]
        rows.append({
            "ablation": name, "experiment": row.experiment, "factor": row.factor, "setting": row.setting,
            **dict(zip(("stage2", "stage3", "stage4"), cost.blocks, strict=True)),
            "parameters": cost.parameters, "macs": cost.macs,
            "ratio": cost.macs / baseline, "unmatched": _cost(name, matched=False).macs / baseline if changed else None,
        })  # fmt: skip
    return Table(NAME, {key: tuple(row[key] for row in rows) for key in rows[0]}, CAPTION, _NOTES)


def draw(result: Table) -> Figure:
    """The table as a figure."""
    return plot_table_figure(_sheet(result))


def text(result: Table) -> str:
    """The table in Markdown."""
    return markdown(_sheet(result))


@cache
def _cost(name: str, *, matched: bool) -> Cost:
    with torch.device("meta"):
        model = dwrseg_l(**ablation_options(name, matched=matched))
    blocks = tuple(len(stage.blocks) for stage in model.stages[1:])
    return Cost(blocks, parameters(model), multiply_adds(model, _INPUT))


def _sheet(result: Table) -> Sheet:
    rows: list[tuple[str, ...]] = []
    rules: list[int] = []
    shown = ""
    for cells in zip(*result.columns.values(), strict=True):
        row = dict(zip(result.columns, cells, strict=True))
        first = row["experiment"] != shown
        shown = row["experiment"]
        if first:
            rules.append(len(rows))
        names = (row["experiment"], row["factor"]) if first else ("", "")
        blocks = ", ".join(str(row[key]) for key in ("stage2", "stage3", "stage4"))
        unmatched = DASH if row["unmatched"] is None else f"{row['unmatched']:.3f}"
        numbers = (f"{row['parameters'] / 1e6:.3f}", f"{row['macs'] / 1e9:.3f}")
        rows.append((*names, row["setting"], blocks, *numbers, f"{row['ratio']:.3f}", unmatched))
    return Sheet(
        header=("Expt.", "Factor", "Setting", "Blocks", "Params (M)", "MACs (G)", "Ratio", "Unmatched"),
        rows=tuple(rows),
        rules=tuple(rules),
        align="lllcrrrr",
        caption=result.caption,
        notes=result.notes,
    )
