"""Tables with rules above and below, drawn, or written as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rfkit.plots.layout import text_width

__all__ = ["DASH", "Sheet", "markdown", "plot_table", "plot_table_figure"]

DASH = "–"
"""What a cell without a number shows."""

# Inches and points, as printed.
_ROW, _SIZE, _SMALL, _GAP = 0.165, 7.5, 6.5, 0.16
_THICK, _THIN = 1.1, 0.5
_INK, _GREY = "#1a1a1a", "#555555"


@dataclass(frozen=True)
class Sheet:
    """A table as it is printed: texts only.

    Attributes:
        header: names of the columns.
        rows: cells of each row.
        spans: texts over several columns of the header: (text, first column, last column).
        rules: numbers of the rows above which a thin rule goes.
        align: one letter a column, "l", "c" or "r"; numbers read best on the right. Default: the first column left,
            the others right.
        bold: (row, column) of cells printed bold.
        caption: above the table.
        notes: below the table.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    spans: tuple[tuple[str, int, int], ...] = ()
    rules: tuple[int, ...] = ()
    align: str = ""
    bold: tuple[tuple[int, int], ...] = ()
    caption: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        wrong = [index for index, row in enumerate(self.rows) if len(row) != len(self.header)]
        if wrong:
            row = self.rows[wrong[0]]
            raise ValueError(f"rows[{wrong[0]}] has {len(row)} cells, header has {len(self.header)}; they must agree.")
        if not self.align:
            object.__setattr__(self, "align", "l" + "r" * (len(self.header) - 1))
        if len(self.align) != len(self.header) or set(self.align) - set("lcr"):
            raise ValueError(f"align={self.align!r} must hold one of l, c, r for each of {len(self.header)} columns.")


def plot_table(sheet: Sheet, *, ax: Axes | None = None) -> Axes:
    """The axes with the table on it, its limits set to the table's size in inches.

    Args:
        sheet: what to print.
        ax: where; the current axes if None. Text has its printed size if the axes are as large as the table.
    """
    ax = plt.gca() if ax is None else ax
    lefts, widths = _columns(sheet)
    width = lefts[-1] + widths[-1]
    y = 0.0
    for line in _wrap(sheet.caption, width, _SIZE):
        y -= _ROW * 0.9
        ax.text(0, y, line, fontsize=_SIZE, va="baseline", color=_INK, gid="caption")
    y -= 0.09 if sheet.caption else 0.0
    top = y
    _rule(ax, 0, width, y, _THICK, "rule top")
    if sheet.spans:
        y -= _ROW
        for text, first, last in sheet.spans:
            left, right = lefts[first], lefts[last] + widths[last]
            ax.text((left + right) / 2, y + 0.05, text, fontsize=_SIZE, ha="center", color=_INK, gid=f"span {text}")
            _rule(ax, left, right, y, _THIN, f"rule span {text}")
    y -= _ROW
    _row(ax, sheet.header, y, lefts, widths, sheet.align, "header")
    y -= 0.02
    _rule(ax, 0, width, y, _THIN * 1.4, "rule header")
    for index, row in enumerate(sheet.rows):
        if index in sheet.rules:
            y -= 0.025
            _rule(ax, 0, width, y, _THIN, f"rule {index}")
        y -= _ROW
        bold = {column for line, column in sheet.bold if line == index}
        _row(ax, row, y, lefts, widths, sheet.align, f"row {index}", bold)
    y -= 0.035
    _rule(ax, 0, width, y, _THICK, "rule bottom")
    y -= 0.03
    for note in sheet.notes:
        for line in _wrap(note, width, _SMALL):
            y -= _ROW * 0.82
            ax.text(0, y, line, fontsize=_SMALL, va="baseline", color=_GREY, gid="note")
    ax.set(xlim=(0, width), ylim=(y - 0.06, max(top, 0) + 0.02), aspect="equal")
    ax.set_axis_off()
    return ax


def plot_table_figure(sheet: Sheet) -> Figure:
    """A figure as large as the table, text at its printed size."""
    figure = plt.figure(figsize=(1, 1))
    ax = plot_table(sheet, ax=figure.add_axes((0, 0, 1, 1)))
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    margin = 0.08
    width, height = right - left + 2 * margin, top - bottom + 2 * margin
    figure.set_size_inches(width, height)
    ax.set_position((margin / width, margin / height, (right - left) / width, (top - bottom) / height))
    return figure


def markdown(sheet: Sheet) -> str:
    """The table in GitHub's Markdown, a rule as a row of dashes, with caption and notes."""
    spans = {column: text for text, first, last in sheet.spans for column in range(first, last + 1)}
    header = [_escape(f"{spans[i]}: {name}" if i in spans else name) for i, name in enumerate(sheet.header)]
    marks = {"l": ":---", "c": ":---:", "r": "---:"}
    lines = [_line(header), _line([marks[letter] for letter in sheet.align])]
    for index, row in enumerate(sheet.rows):
        cells = [
            f"**{_escape(cell)}**" if (index, column) in sheet.bold else _escape(cell)
            for column, cell in enumerate(row)
        ]
        if index in sheet.rules and any(row):
            lines.append(_line(["—" * 3] + [""] * (len(row) - 1)))
        lines.append(_line(cells))
    notes = [f"*{_escape(note)}*" for note in sheet.notes]
    blocks = [*([sheet.caption] if sheet.caption else []), "\n".join(lines), *notes]
    return "\n\n".join(blocks) + "\n"


def _columns(sheet: Sheet) -> tuple[list[float], list[float]]:
    widths = []
    for column, name in enumerate(sheet.header):
        cells = [
            text_width(row[column], _SIZE, "bold" if (index, column) in sheet.bold else "normal")
            for index, row in enumerate(sheet.rows)
        ]
        widths.append(max([text_width(name, _SIZE), *cells]))
    for text, first, last in sheet.spans:
        missing = text_width(text, _SIZE) - sum(widths[first : last + 1]) - _GAP * (last - first)
        for column in range(first, last + 1):
            widths[column] += max(missing, 0) / (last - first + 1)
    lefts = [sum(widths[:column]) + _GAP * column for column in range(len(widths))]
    return lefts, widths


def _row(
    ax: Axes, cells: Sequence[str], y: float, lefts: list[float], widths: list[float], align: str, name: str,
    bold: set[int] | None = None,
) -> None:  # fmt: skip
    names = {"l": "left", "c": "center", "r": "right"}
    share = {"l": 0.0, "c": 0.5, "r": 1.0}
    for column, (cell, letter) in enumerate(zip(cells, align, strict=True)):
        ax.text(
            lefts[column] + share[letter] * widths[column], y + 0.045, cell, fontsize=_SIZE, ha=names[letter],
            fontweight="bold" if column in (bold or ()) else "normal", color=_INK, gid=f"{name} column {column}",
        )  # fmt: skip


def _rule(ax: Axes, left: float, right: float, y: float, width: float, name: str) -> None:
    ax.plot([left, right], [y, y], color=_INK, linewidth=width, solid_capstyle="butt", gid=name, clip_on=False)


def _wrap(text: str, width: float, size: float) -> list[str]:
    """Lines no wider than `width`, broken between words."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")
