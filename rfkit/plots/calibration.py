"""What each measure says of a known receptive field, and what it says where there is nothing to say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rfkit.plots.styles import style, wrapped
from rfkit.results.calibration import MEASURES

if TYPE_CHECKING:
    import pandas as pd

    from rfkit.results.calibration import Calibration

__all__ = ["plot_calibration", "plot_calibration_claims"]

_NETWORKS = {"one block": "#0077bb", "two blocks": "#cc3311"}
_KINDS = {"cue": "o", "size": "s", "noise": "^", "period": "D"}
_TASKS = {"cue": "cue", "size": "size of a bar", "noise": "mean under noise", "period": "period"}
_COLOURS = {"weight": "#808080", "growth": "#882255", "gain": "#0077bb", "contribution": "#ee7733", "lost": "#009988"}


def plot_calibration(calibration: Calibration, *, columns: int = 4, title: str = "", look: str | None = None) -> Figure:
    """What each measure says against the rate that is known to be needed, a panel for each measure.

    A point is a run: filled where the measure is largest for the branch that is needed, hollow where it is not; seeds
    lie side by side. On the gray line lies what is right. Above a panel stand Spearman's rank correlation with its 95 %
    bootstrap interval and the number of filled points, of one block and of tasks that need exactly one rate.

    Args:
        calibration: what `rfkit.calibrate` returned.
        columns: panels side by side.
        title: line above the figure.
        look: size of text, see `rfkit.plots.styles.style`.

    Returns:
        The figure, not shown or saved.
    """
    readings = calibration.readings()
    readings = readings[readings["needed"].notna() & readings["reading"].notna()]
    kinds = [kind for kind in ("cue", "size") if kind in set(readings["kind"])]
    trust = calibration.trust(kinds=kinds).set_index(["network", "measure"])
    shown = [measure for measure in MEASURES if measure in set(readings["measure"])]
    with style(look):
        scale = plt.rcParams["font.size"] / 8
        across = min(columns, len(shown))
        down = -(-len(shown) // across)
        figure, axes = plt.subplots(
            down, across, figsize=(1.95 * across * scale, (2.2 * down + 0.55) * scale), squeeze=False,
            layout="constrained", sharex=True, sharey=True,
        )  # fmt: skip
        for ax, measure in zip(axes.flat, shown, strict=False):
            _readings(ax, readings[readings["measure"] == measure])
            ax.set_title(_heading(measure, trust), fontsize=plt.rcParams["font.size"])
        for ax in list(axes.flat)[len(shown) :]:
            ax.remove()
        for ax in axes[-1]:
            ax.set_xlabel("rate needed (px)")
        figure.supylabel("what the measure says (rate or radius, px)", fontsize=plt.rcParams["font.size"])
        figure.legend(handles=_handles(readings), loc="outside lower center", ncols=4, columnspacing=1.2)
        if title:
            figure.suptitle(wrapped(title, 100))
    return figure


def plot_calibration_claims(calibration: Calibration, *, title: str = "", look: str | None = None) -> Figure:
    """Mixtures, the null task, rates above 7 and single-step modules: four panels.

    Mixtures: share of the larger of two distances in the evidence, and what each measure gives its branch. Null task:
    the largest value of a measure over the branches (of the field its radius) where no context is needed, over its
    mean where a cue is; 0 is right. The other two: the statistics of `Calibration.claims` with 95 % intervals, the
    number of runs in parentheses, and the threshold as a dashed line.

    Args:
        calibration: what `rfkit.calibrate` returned, with all of its runs.
        title: line above the figure.
        look: size of text, see `rfkit.plots.styles.style`.

    Returns:
        The figure, not shown or saved.

    Raises:
        ValueError: the calibration lacks mixtures, null tasks or single-step modules, as a quick one does.
    """
    there = {*calibration.columns["kind"], *calibration.columns["network"]}
    missing = [name for name in ("mixture", "null", "ESP", "DAB", "two blocks") if name not in there]
    if missing:
        raise ValueError(f"calibration has no runs of {', '.join(missing)}; the claims need a full one.")
    claims = calibration.claims()
    with style(look):
        scale = plt.rcParams["font.size"] / 8
        figure, axes = plt.subplots(2, 2, figsize=(8.4 * scale, 5.8 * scale), layout="constrained")
        _mixtures(axes[0, 0], calibration.mixtures())
        _null(axes[0, 1], calibration.null_task())
        little, rarely = dict.fromkeys(claims["claim"])
        _cases(axes[1, 0], claims[claims["claim"] == little], 0.01, "accuracy lost", f"“{little}”")
        _cases(axes[1, 1], claims[claims["claim"] == rarely], 0.5, "share of taps that stayed where they began",
               f"“{rarely}”")  # fmt: skip
        if title:
            figure.suptitle(wrapped(title, 110))
    return figure


def _readings(ax: Axes, part: pd.DataFrame) -> None:
    ax.plot([0, 12], [0, 12], color="0.8", linewidth=1, zorder=0)
    for (network, kind), points in part.groupby(["network", "kind"], sort=False):
        seeds = points["seed"] - points["seed"].mean()
        # Seeds, kinds and networks side by side, so that equal readings do not hide each other.
        aside = 0.22 * seeds + 0.35 * (network == "two blocks") - 0.35 * (kind != "cue")
        for right, some in points.groupby("right"):
            ax.plot(
                some["needed"] + aside[some.index], some["reading"], _KINDS[kind], markersize=3.6, markeredgewidth=0.8,
                color=_NETWORKS[network], markerfacecolor=_NETWORKS[network] if right else "white", alpha=0.85,
                clip_on=False, label=f"_{network} {kind}",
            )  # fmt: skip
    ax.set(xlim=(0, 12), ylim=(0, 12), xticks=range(1, 12, 2), yticks=range(1, 12, 2))
    ax.grid(color="0.93", linewidth=0.5)


def _heading(measure: str, trust: pd.DataFrame) -> str:
    name = MEASURES[measure]
    if ("one block", measure) not in trust.index:
        return name
    row = trust.loc[("one block", measure)]
    right = f"{round(row['right'] * row['runs'])} of {int(row['runs'])} right"
    if np.isnan(row["correlation"]):
        return f"{name}\n{right}"
    return f"{name}\nρ = {row['correlation']:.2f} [{row['low']:.2f}, {row['high']:.2f}]\n{right}"


def _handles(readings: pd.DataFrame) -> list[Line2D]:
    networks = [name for name in _NETWORKS if name in set(readings["network"])]
    kinds = [kind for kind in _KINDS if kind in set(readings["kind"])]
    handles = [Line2D([], [], marker="o", linestyle="", color=_NETWORKS[name], label=name) for name in networks]
    handles += [Line2D([], [], marker=_KINDS[kind], linestyle="", color="0.35", label=_TASKS[kind]) for kind in kinds]
    return [
        *handles,
        Line2D([], [], marker="o", linestyle="", color="0.35", label="largest where needed"),
        Line2D([], [], marker="o", linestyle="", color="0.35", markerfacecolor="white", label="largest elsewhere"),
    ]


def _mixtures(ax: Axes, mixtures: pd.DataFrame) -> None:
    ax.plot([0, 1], [0, 1], color="0.8", linewidth=1, zorder=0)
    names = list(dict.fromkeys(mixtures["measure"]))
    for place, measure in enumerate(names):
        part = mixtures[mixtures["measure"] == measure]
        aside = 0.016 * (place - (len(names) - 1) / 2)
        ax.plot(part["true"] + aside, part["found"], "o", markersize=3, color=_COLOURS[measure], alpha=0.7)
        means = part.groupby("true")["found"].mean()
        ax.plot(means.index + aside, means, color=_COLOURS[measure], linewidth=1, label=MEASURES[measure])
    # Room for the legend above the data.
    ax.set(
        xlim=(0.1, 0.9), ylim=(0, 1.42), xticks=[0.25, 0.5, 0.75], yticks=np.arange(0, 1.1, 0.25),
        xlabel="true share of the larger distance", ylabel="share that the measure gives it",
        title="Mixtures of distances 3 and 9",
    )  # fmt: skip
    ax.legend(loc="upper left", fontsize=plt.rcParams["font.size"] * 0.8, handlelength=1.2, borderaxespad=0.1)


def _null(ax: Axes, null: pd.DataFrame) -> None:
    names = list(dict.fromkeys(null["measure"]))
    for (network, measure), part in null.groupby(["network", "measure"], sort=False):
        place = names.index(measure) + (0.13 if network == "two blocks" else -0.13)
        ax.plot(part["found"], np.full(len(part), place), "o", markersize=4, color=_NETWORKS[network], alpha=0.8,
                clip_on=False, label=network if measure == names[0] else f"_{network} {measure}")  # fmt: skip
    ax.set_yticks(range(len(names)), [MEASURES[name] for name in names])
    ax.set(xlim=(0, 1.05), ylim=(len(names) - 0.5, -0.5), title="Null task: no context is needed",
           xlabel="largest value, over that where a cue is needed")  # fmt: skip
    ax.grid(axis="y", color="0.93", linewidth=0.5)
    # In the row of the loss, whose values are next to zero.
    ax.legend(loc="center right", bbox_to_anchor=(1, 0.25), fontsize=plt.rcParams["font.size"] * 0.8)


def _cases(ax: Axes, claims: pd.DataFrame, threshold: float, label: str, title: str) -> None:
    ax.axvline(threshold, color="0.5", linewidth=0.9, linestyle="--")
    for place, row in enumerate(claims.to_dict("records")):
        ax.plot([row["low"], row["high"]], [place, place], color="0.25", linewidth=1.2, clip_on=False)
        ax.plot([row["value"]], [place], "o", markersize=4, color="0.25", clip_on=False)
        ax.annotate(row["verdict"], (1, place), xycoords=("axes fraction", "data"), xytext=(4, 0), va="center",
                    textcoords="offset points", fontsize=plt.rcParams["font.size"] * 0.8, color="0.25")  # fmt: skip
    names = [f"{case} ({runs})" for case, runs in zip(claims["case"], claims["runs"], strict=True)]
    ax.set_yticks(range(len(claims)), names,
                  fontsize=plt.rcParams["font.size"] * 0.8)  # fmt: skip
    right = max(threshold, claims["high"].max()) * 1.05
    ax.set(ylim=(len(claims) - 0.5, -0.5), xlim=(min(0.0, claims["low"].min()) - 0.02 * right, right), xlabel=label,
           title=title)  # fmt: skip
    ax.grid(axis="y", color="0.93", linewidth=0.5)
