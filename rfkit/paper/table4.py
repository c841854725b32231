"""Table 4: CamVid, the paper's numbers, and ours below a rule with what differs."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from rfkit.paper.context import Context
from rfkit.paper.ours import own_rows, speed_note
from rfkit.paper.published import published
from rfkit.plots.tables import DASH, Sheet, markdown, plot_table_figure
from rfkit.results.base import Table

__all__ = ["CAPTION", "INPUTS", "NAME", "compute", "draw", "text"]

NAME = "table4"
INPUTS = ("weights:*",)
_PAPER = published("table4")
CAPTION = f"Table 4. {_PAPER['caption']}"
_MARKS = {"ImageNet": "†", "Cityscapes": "*"}


def compute(context: Context) -> Table:
    """The paper's rows, then one for each of our weights files trained on CamVid and scored on its test split.

    Columns: `source` ("paper" or "rfkit"), `model`, `miou` (percent), `fps`, `size` (width x height), `pretraining`,
    `schedule`, `device` (of `fps`; ours only).
    """
    keys = ("source", "model", "miou", "fps", "size", "pretraining", "schedule", "device")
    rows: list[dict[str, Any]] = [{"source": "paper", **row} for row in _PAPER["rows"]]
    own = [{"source": "rfkit", **row} for row in own_rows(context, "camvid")]
    notes = [f"† pretrained on ImageNet, * on Cityscapes. Paper: {_PAPER['citation'].split(':')[0]}, Table 4."]
    if own:
        notes.append(
            "Below the rule: trained by this project from scratch, at another size and schedule than the paper's; the "
            "two groups cannot be compared. Score of the last checkpoint, as stored in half precision."
        )
        notes.append(speed_note(own))
    else:
        notes.append("No row of this project: no weights with a score on the CamVid test split are at hand.")
    return Table(NAME, {key: tuple(row.get(key) for row in [*rows, *own]) for key in keys}, CAPTION, tuple(notes))


def draw(result: Table) -> Figure:
    """The table as a figure."""
    return plot_table_figure(_sheet(result))


def text(result: Table) -> str:
    """The table in Markdown."""
    return markdown(_sheet(result))


def _sheet(result: Table) -> Sheet:
    rows = []
    for cells in zip(*result.columns.values(), strict=True):
        row = dict(zip(result.columns, cells, strict=True))
        mark = _MARKS.get(row["pretraining"], "")
        name = f"{row['model']} {mark}" if row["source"] == "paper" else f"{row['model']} (rfkit)"
        texts = [row[key] or DASH for key in ("size", "pretraining", "schedule")]
        rows.append((name, _number(row["miou"]), _number(row["fps"]), *texts))
    published_rows = result.columns["source"].count("paper")
    return Sheet(
        header=("Model", "mIoU (%)", "FPS", "Size", "Pretraining", "Schedule"),
        rows=tuple(rows),
        rules=(published_rows,) if published_rows < len(rows) else (),
        align="lrrccl",
        caption=result.caption,
        notes=result.notes,
    )


def _number(value: float | None) -> str:
    return DASH if value is None else f"{value:.1f}"
