"""Table 3: Cityscapes, the paper's numbers, and ours below a rule where they were measured there."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from rfkit.paper.context import Context
from rfkit.paper.ours import own_rows, speed_note
from rfkit.paper.published import published
from rfkit.plots.tables import DASH, Sheet, markdown, plot_table_figure
from rfkit.results.base import Table

__all__ = ["CAPTION", "INPUTS", "NAME", "compute", "draw", "text"]

NAME = "table3"
INPUTS = ("weights:*",)
_PAPER = published("table3")
CAPTION = f"Table 3. {_PAPER['caption']}"
_DAGGER = "† pretrained on ImageNet. "


def compute(context: Context) -> Table:
    """The paper's rows, then those of our weights that were trained and scored on Cityscapes (none ship).

    Columns: `source` ("paper" or "rfkit"), `model`, `pretrained` (on ImageNet), `ratio` (input size over 2048x1024),
    `miou` (percent), `fps`, `params` (millions), `size`, `schedule` and `device` (of `fps`; ours only).
    """
    keys = ("source", "model", "pretrained", "ratio", "miou", "fps", "params", "size", "schedule", "device")
    rows: list[dict[str, Any]] = [{"source": "paper", **row} for row in _PAPER["rows"]]
    own = [{"source": "rfkit", "pretrained": False, **row} for row in own_rows(context, "cityscapes")]
    notes = [
        f"{_DAGGER}Bold: best of its column. Paper: {_PAPER['citation'].split(':')[0]}, Table 3.",
        "Below the rule: networks trained by this project, without pretraining."
        if own
        else "No row of this project: it has neither a score on Cityscapes nor a speed at these sizes.",
    ]
    notes += [speed_note(own)] if own else []
    return Table(NAME, {key: tuple(row.get(key) for row in [*rows, *own]) for key in keys}, CAPTION, tuple(notes))


def draw(result: Table) -> Figure:
    """The table as a figure."""
    return plot_table_figure(_sheet(result))


def text(result: Table) -> str:
    """The table in Markdown."""
    return markdown(_sheet(result))


def _sheet(result: Table) -> Sheet:
    frame = result.to_frame()
    paper = frame[frame["source"] == "paper"]
    rows = [
        (
            _label(row),
            row.ratio or row.size or DASH,
            _number(row.miou),
            _number(row.fps),
            row.params or DASH,
        )
        for row in frame.astype(object).where(frame.notna(), None).itertuples()
    ]
    best = [(int(paper["miou"].idxmax()), 2), (int(paper["fps"].idxmax()), 3)]
    best.append((int(paper["params"].astype(float).idxmin()), 4))
    models = list(paper["model"])
    first_own = next(index for index, name in enumerate(models) if name.startswith("DWRSeg"))
    return Sheet(
        header=("Model", "Input ratio", "mIoU (%)", "FPS", "Params (M)"),
        rows=tuple(rows),
        rules=(first_own, *([len(paper)] if len(paper) < len(rows) else [])),
        align="lcrrr",
        bold=tuple(best),
        caption=result.caption,
        notes=result.notes,
    )


def _label(row: Any) -> str:
    if row.source == "rfkit":
        return f"{row.model} (rfkit), {row.schedule}"
    return f"{row.model} †" if row.pretrained else row.model


def _number(value: float | None) -> str:
    return DASH if value is None else f"{value:.1f}"
