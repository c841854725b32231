"""How a training went: loss, learning rate and mIoU over the epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rfkit.plots.styles import style
from rfkit.results.base import Table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["plot_curves", "plot_runs"]

_RUNS = (
    ("#0077bb", "-"),
    ("#cc3311", (0, (5, 1.5))),
    ("#009988", (0, (1.2, 1.2))),
    ("#aa4499", (0, (6, 1.5, 1.2, 1.5))),
    ("#ee7733", (0, (8, 2))),
    ("#332288", (0, (3, 1, 1, 1, 1, 1))),
)
_LOSS, _RATE, _MIOU = "#333333", "#999933", "#0077bb"


def plot_curves(log: pd.DataFrame, *, title: str = "", look: str | None = None) -> Figure:
    """The curves of a training: mean loss of each epoch, learning rate (second axis), and mIoU if it was measured.

    Args:
        log: one row an epoch, columns epoch, loss, and, where known, learning_rate and miou (from 0 to 1, empty where
            it was not measured), as in the log.csv of a run.
        title: line above the figure.
        look: size of text, see `rfkit.style`.

    Returns:
        The figure, not shown or saved.

    Raises:
        ValueError: a column is missing, or the log has no row.
    """
    for column in ("epoch", "loss"):
        if column not in log:
            raise ValueError(f"log has no column {column!r}; it has {', '.join(map(str, log.columns))}.")
    if not len(log):
        raise ValueError("log has no row: not one epoch was finished.")
    measured = log[log["miou"].notna()] if "miou" in log else log[:0]
    panels = 2 if len(measured) else 1
    with style(look):
        scale = plt.rcParams["font.size"] / 8
        figure, axes = plt.subplots(
            1, panels, figsize=(3.6 * panels * scale, 2.5 * scale), squeeze=False, layout="constrained"
        )
        _draw_loss(axes[0][0], log)
        if len(measured):
            _draw_miou(axes[0][1], measured)
        for ax in axes[0]:
            ax.set_xlabel("epoch")
            ax.set_xlim(0, 1.02 * float(log["epoch"].max()))
            ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        if title:
            figure.suptitle(title)
    return figure


def plot_runs(logs: Table, *, look: str | None = None) -> Figure:
    """Several trainings side by side: mean loss of each epoch on the left, mIoU in percent on the right.

    Args:
        logs: columns run (its name in the legend), epoch, loss and miou (0 to 1, None where it was not measured).
        look: size of text, see `rfkit.style`.

    Returns:
        The figure, not shown or saved.

    Raises:
        ValueError: a column is missing.
    """
    for column in ("run", "epoch", "loss", "miou"):
        if column not in logs.columns:
            raise ValueError(f"logs has no column {column!r}; it has {', '.join(logs.columns)}.")
    frame = logs.to_frame()
    with style(look):
        scale = plt.rcParams["font.size"] / 8
        figure, (left, right) = plt.subplots(1, 2, figsize=(7.2 * scale, 2.9 * scale), layout="constrained")
        for index, (name, log) in enumerate(frame.groupby("run", sort=False)):
            colour, line = _RUNS[index % len(_RUNS)]
            left.plot(log["epoch"], log["loss"], color=colour, linestyle=line, label=name)
            measured = log[log["miou"].notna()]
            percent = 100 * measured["miou"].astype(float)
            right.plot(measured["epoch"], percent, color=colour, linestyle=line, marker="o", markersize=3, label=name)
        left.set_ylabel("training loss (nats)")
        right.set_ylabel("mIoU (%)")
        right.set_ylim(bottom=0)
        for ax in (left, right):
            ax.set_xlabel("epoch")
            ax.set_xlim(left=0)
            ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        handles, names = left.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=min(2, len(names)))
    return figure


def _draw_loss(ax: Axes, log: pd.DataFrame) -> None:
    marker = "." if len(log) < 20 else ""
    ax.plot(log["epoch"], log["loss"], color=_LOSS, marker=marker, label="loss")
    ax.set_ylabel("training loss (nats)")
    if "learning_rate" in log:
        right = ax.twinx()
        right.spines["right"].set_visible(True)
        right.plot(log["epoch"], log["learning_rate"], color=_RATE, linestyle=(0, (4, 1.5)), label="learning rate")
        right.set_ylabel("learning rate", color=_RATE)
        right.tick_params(axis="y", colors=_RATE)
        right.set_ylim(bottom=0)


def _draw_miou(ax: Axes, measured: pd.DataFrame) -> None:
    percent = 100 * measured["miou"]
    ax.plot(measured["epoch"], percent, color=_MIOU, marker="." if len(measured) < 40 else "", label="mIoU")
    last = measured["epoch"].iloc[-1], percent.iloc[-1]
    ax.annotate(f"{last[1]:.1f}", last, xytext=(0, 5), textcoords="offset points", ha="right", va="bottom", color=_MIOU)
    ax.set_ylabel("mIoU (%)")
    ax.set_ylim(0, 1.12 * float(percent.max()) or 1)
