"""Measured speed of the networks here: device, precision, backend and software with every number."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.figure import Figure

from rfkit.paper.context import Context, MissingInput
from rfkit.paper.measured_speeds import measured_speeds
from rfkit.plots.tables import DASH, Sheet, markdown, plot_table_figure
from rfkit.results.base import Table
from rfkit.results.speed import Speed, Speeds

__all__ = ["CAPTION", "INPUTS", "NAME", "compute", "draw", "table", "text"]

NAME = "speed"
CAPTION = (
    "Measured speed of the networks of this project: batch 1, the network alone, after a warm-up, networks in turns "
    "in one process. ms: median (10 % to 90 %) of the runs that were kept. Beside eager: how many times as fast as "
    "the same network at the same size and precision in eager mode."
)
INPUTS: tuple[str, ...] = ()
_ORDER = {"precision": ("fp32", "bf16", "fp16"), "backend": ("eager", "compiled", "onnxruntime")}


def compute(context: Context) -> Table:
    """The measurements that ship.

    Raises:
        MissingInput: there are none.
    """
    speeds = measured_speeds()
    if not speeds.rows:
        raise MissingInput(
            "no speeds ship with rfkit; `rfkit benchmark --out rfkit/paper/measured/speeds.csv` adds some."
        )
    return table(speeds)


def table(speeds: Speeds) -> Table:
    """`speeds` as a table, by device, size, and network.

    Columns: those of `rfkit.results.speed.Speeds.to_frame`, then `beside_eager` (ratio of images per second, None
    where that was not measured).
    """
    order = ["device", "threads", "height", "width", "batch", "model", "precision", "backend"]
    rows = sorted(speeds.rows, key=lambda row: tuple(_rank(row, key) for key in order))
    frame = Speeds(tuple(rows)).to_frame()
    frame = frame.astype(object).where(frame.notna(), None)
    ratios = [speeds.ratio(row, backend="eager") for row in rows]
    frame["beside_eager"] = [None if math.isnan(ratio) else ratio for ratio in ratios]
    notes = [f"({mark}) {text}." for text, mark in _conditions(frame.to_dict("records")).items()]
    return Table.from_frame(NAME, frame, caption=CAPTION, notes=tuple(notes))


def draw(result: Table) -> Figure:
    """The table as a figure."""
    return plot_table_figure(_sheet(result))


def text(result: Table) -> str:
    """The table in Markdown."""
    return markdown(_sheet(result))


def _rank(row: Speed, key: str) -> Any:
    return _ORDER[key].index(getattr(row, key)) if key in _ORDER else getattr(row, key)


def _conditions(rows: list[dict[str, Any]]) -> dict[str, int]:
    """What a row was measured with, in words -> the number that stands for it."""
    texts = [f"{row['device']}, {_threads(row['threads'])}; {row['software']}; {row['date']}" for row in rows]
    return {text: number for number, text in enumerate(dict.fromkeys(texts), start=1)}


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _sheet(result: Table) -> Sheet:
    records = result.to_frame().astype(object).to_dict("records")
    marks = _conditions(records)
    cells, rules, before = [], [], None
    for index, row in enumerate(records):
        group = (row["device"], row["threads"], row["height"], row["width"])
        if before not in (None, group):
            rules.append(index)
        before = group
        (said,) = _conditions([row])
        ratio = row["beside_eager"]
        cells.append(
            (
                row["model"],
                f"{row['width']}×{row['height']}",
                row["backend"],
                row["precision"],
                f"{row['device'].partition(': ')[2]}, {_threads(row['threads'])} ({marks[said]})",
                f"{row['fps']:.3g}",
                f"{row['median_ms']:.3g} ({row['low_ms']:.3g} to {row['high_ms']:.3g})",
                DASH if ratio is None or math.isnan(ratio) else f"{ratio:.2f}",
                f"{row['kept']} of {row['runs']}",
            )
        )
    return Sheet(
        header=("Network", "Size", "Backend", "Precision", "Device", "FPS", "ms", "Beside eager", "Runs kept"),
        rows=tuple(cells),
        rules=tuple(rules),
        align="lclclrrrr",
        caption=result.caption,
        notes=result.notes,
    )
