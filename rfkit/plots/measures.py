"""Several measures of the same branches side by side: do weights, contributions and removals tell the same?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rfkit.plots.styles import dilation_colour, wrapped
from rfkit.results.base import Result

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["plot_measures", "plot_measures_by_block"]

_NAMES = {"weight": "|w|", "gain": "|w| · |γ|", "contribution": "contribution", "removal": "removal"}
_RATIOS = ("weight", "gain", "contribution")


def plot_measures(measures: Result, *, groups: dict[str, list[str]], note: str = "") -> Figure:
    """Per stage the measures of each branch: above, beside those of d1; below, what is lost without the branch.

    Args:
        measures: a result with columns network, seeds, stage, branch, dilation, measure, value, low, high: rows of
            whole stages, without classes.
        groups: in words, one or two trainings -> the networks (values of the column `seeds`, of rows whose `network` is
            the words): first the one that is drawn large, with its interval; the others are drawn as small points.
        note: text below.
    """
    frame = measures.to_frame()
    stages = list(dict.fromkeys(frame["stage"]))
    figure, axes = plt.subplots(
        2, len(stages), figsize=(2.45 * len(stages), 5.0), sharey="row", layout="constrained", squeeze=False
    )
    for column, stage in enumerate(stages):
        upper, lower = axes[:, column]
        upper.axhline(1, color=dilation_colour(1), linewidth=1, zorder=0)
        lower.axhline(0, color="0.6", linewidth=0.8, zorder=0)
        for number, (network, seeds) in enumerate(groups.items()):
            rows = frame[(frame["stage"] == stage) & (frame["network"] == network)]
            _ratios(upper, rows, seeds, number)
            _drops(lower, rows, seeds, number)
        upper.set_title(stage)
        upper.set_xticks(range(len(_RATIOS)), [_NAMES[name] for name in _RATIOS])
        upper.set_xlim(-0.5, len(_RATIOS) - 0.5)
        rates = sorted(set(frame["dilation"]))
        lower.set_xticks(range(len(rates)), [f"d{rate}" for rate in rates])
        lower.set(xlim=(-0.5, len(rates) - 0.5), xlabel="branch removed from the stage")
    axes[0, 0].set_ylabel("mean of the branch over that of d1")
    axes[1, 0].set_ylabel("drop in mIoU (points)")
    _legend(figure, groups, sorted(set(frame["dilation"])))
    if note:
        figure.supxlabel(wrapped(note, int(15.5 * figure.get_figwidth())), fontsize=plt.rcParams["font.size"] * 0.9)
    return figure


def plot_measures_by_block(measures: Result, *, title: str = "") -> Figure:
    """Block by block the measures of each branch, a row a measure: beside d1, and last what is lost without it.

    Args:
        measures: a result with columns stage, block, branch, dilation, measure, value, low, high: rows of the blocks of
            one network, without classes. Measures that have no row are left out.
        title: line above the figure.
    """
    frame = measures.to_frame()
    found = [name for name in _NAMES if name in set(frame["measure"])]
    blocks = frame.drop_duplicates("block")[["stage", "block"]].reset_index(drop=True)
    rates = sorted(set(frame["dilation"]))
    figure, axes = plt.subplots(
        len(found), 1, figsize=(7.2, 0.9 + 1.35 * len(found)), sharex=True, squeeze=False, layout="constrained"
    )
    for ax, measure in zip(axes[:, 0], found, strict=True):
        ratio = measure in _RATIOS
        ax.axhline(1 if ratio else 0, color=dilation_colour(1) if ratio else "0.6", linewidth=1, zorder=0)
        for rate in rates[1:] if ratio else rates:
            rows = frame[(frame["measure"] == measure) & (frame["dilation"] == rate)].set_index("block")
            value, low, high = (
                (1 if ratio else 100) * rows.reindex(blocks["block"])[name].to_numpy()
                for name in ("value", "low", "high")
            )
            places = np.arange(len(blocks)) + 0.2 * (rates.index(rate) / max(len(rates) - 1, 1) - 0.5)
            reach = np.maximum([value - low, high - value], 0)
            ax.errorbar(places, value, yerr=reach, fmt="o", capsize=1.5, markersize=3.5, color=dilation_colour(rate))
        ax.set_ylabel(f"{_NAMES[measure]}\nover d1" if ratio else "drop in mIoU\n(points)")
        for last in blocks.groupby("stage", sort=False).tail(1).index[:-1]:
            ax.axvline(last + 0.5, color="0.8", linewidth=0.8, zorder=0)
    axes[-1, 0].set_xticks(range(len(blocks)), [name.rpartition(".")[2] for name in blocks["block"]])
    axes[-1, 0].set_xlabel("block of the stage")
    for stage, places in blocks.groupby("stage", sort=False).groups.items():
        axes[0, 0].annotate(
            str(stage), (float(np.mean(places)), 1), xycoords=("data", "axes fraction"), xytext=(0, 4),
            textcoords="offset points", ha="center",
        )  # fmt: skip
    handles = [
        Line2D([], [], color=dilation_colour(rate), marker="o", markersize=4, label=f"d{rate}") for rate in rates
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(rates))
    figure.align_ylabels()
    if title:
        figure.suptitle(title)
    return figure


def _ratios(ax: Axes, rows: pd.DataFrame, seeds: list[str], number: int) -> None:
    rates = [rate for rate in sorted(set(rows["dilation"])) if rate > min(rows["dilation"])]
    for place, measure in enumerate(_RATIOS):
        for index, rate in enumerate(rates):
            middle = place + 0.42 * ((index + 0.5) / max(len(rates), 1) - 0.5) + 0.09 * number
            of_rate = rows[(rows["measure"] == measure) & (rows["dilation"] == rate)]
            _points(ax, middle, of_rate, seeds, number, rate, scale=1)


def _drops(ax: Axes, rows: pd.DataFrame, seeds: list[str], number: int) -> None:
    for place, rate in enumerate(sorted(set(rows["dilation"]))):
        of_rate = rows[(rows["measure"] == "removal") & (rows["dilation"] == rate)]
        _points(ax, place - 0.12 + 0.24 * number, of_rate, seeds, number, rate, scale=100)


def _points(ax: Axes, x: float, rows: pd.DataFrame, seeds: list[str], number: int, rate: int, *, scale: float) -> None:
    """The first network of a training with its interval, the others as small points on top of it."""
    large, *small = (rows[rows["seeds"] == seed] for seed in seeds)
    colour = dilation_colour(rate)
    value, low, high = (scale * large[name].to_numpy() for name in ("value", "low", "high"))
    reach = np.maximum([value - low, high - value], 0)
    ax.errorbar([x] * len(value), value, yerr=reach, capsize=2, color=colour, markersize=5, **_look(number))
    for other in small:
        values = scale * other["value"].to_numpy()
        ax.plot([x] * len(values), values, ".", color="black", markersize=3, zorder=4)


def _look(number: int) -> dict[str, Any]:
    return {"fmt": "o"} if number == 0 else {"fmt": "s", "markerfacecolor": "white"}


def _legend(figure: Figure, groups: dict[str, list[str]], rates: list[int]) -> None:
    """Rates in a first row, trainings in a second one."""
    upper = [(Line2D([], [], color=dilation_colour(rate), linewidth=3), f"d{rate}") for rate in rates]
    none: dict[str, Any] = {"linestyle": "none", "color": "0.3", "markersize": 5}
    lower = []
    for number, network in enumerate(groups):
        fill: dict[str, Any] = {} if number == 0 else {"markerfacecolor": "white"}
        lower.append((Line2D([], [], marker="os"[number > 0], **none, **fill), network))
    if any(len(seeds) > 1 for seeds in groups.values()):
        lower.append((Line2D([], [], marker=".", linestyle="none", color="black", markersize=4), "each seed"))
    blank = (Line2D([], [], linestyle="none"), "")
    columns = max(len(upper), len(lower))
    # A legend is filled column by column.
    pairs = zip(upper + [blank] * (columns - len(upper)), lower + [blank] * (columns - len(lower)), strict=True)
    entries = [entry for pair in pairs for entry in pair]
    handles, names = zip(*entries, strict=True)
    figure.legend(handles, names, loc="outside upper center", ncols=columns)
