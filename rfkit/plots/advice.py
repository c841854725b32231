"""What the adviser measured in one stage: the cost of removing each rate, and how each is weighed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rfkit._checks import check_choice
from rfkit.plots.styles import dilation_colour, style, wrapped

if TYPE_CHECKING:
    from rfkit.results.advice import Advice, BranchEvidence, StageAdvice

__all__ = ["plot_advice", "plot_branch_shares", "plot_removal_costs", "plot_stage_evidence"]

_SPREAD = 0.5  # of a row, over which the seeds are laid out
_POINTS = 100  # mIoU is shown in points, as tables print it


def plot_removal_costs(advice: Advice, stage: str, *, ax: Axes | None = None) -> Axes:
    """The axes with a dot for each rate and training: the points of mIoU that its removal from a stage costs.

    Lines are 95 % intervals over images. The band marks costs below half a point, either way.

    Args:
        advice: result of `rfkit.advise`.
        stage: name of the stage.
        ax: axes to draw into; the current ones by default.

    Raises:
        ValueError: there is no such stage.
    """
    entry = _stage(advice, stage)
    ax = plt.gca() if ax is None else ax
    ax.axvspan(-0.5, 0.5, color="0.5", alpha=0.16, linewidth=0, label="_spare")
    ax.axvline(0, color="0.5", linewidth=0.8)
    for place, branch in _placed(advice, entry):
        value, low, high = (_POINTS * number for number in (branch.drop, branch.drop_low, branch.drop_high))
        _mark(ax, place, value, low, high, branch.dilation)
    _rows(ax, entry)
    ax.set_xlabel("cost of removing the rate (points of mIoU)")
    return ax


def plot_branch_shares(advice: Advice, stage: str, *, ax: Axes | None = None) -> Axes:
    """The axes with the share that each rate of a stage has in the weights of the 1x1 convolutions, by training.

    Dots are shares of mean |w| with 95 % intervals over channels, rings those of |w| x |gain|, ticks those of |w|
    before training.

    Args:
        advice: result of `rfkit.advise`.
        stage: name of the stage.
        ax: axes to draw into; the current ones by default.

    Raises:
        ValueError: there is no such stage.
    """
    entry = _stage(advice, stage)
    ax = plt.gca() if ax is None else ax
    for place, branch in _placed(advice, entry):
        _mark(ax, place, branch.weight, branch.weight_low, branch.weight_high, branch.dilation)
        ax.plot(
            branch.gain, place, "o", markersize=6.5, fillstyle="none", color=dilation_colour(branch.dilation),
            label="_gain",
        )  # fmt: skip
        ax.plot(branch.initial, place, "|", markersize=9, color=plt.rcParams["text.color"], label="_initial")
    _rows(ax, entry)
    ax.set_xlabel("share of the weights")
    return ax


def plot_stage_evidence(advice: Advice, stage: str, *, look: str | None = None, legend: bool = True) -> Figure:
    """Both measures of one stage, one above the other.

    Args:
        advice: result of `rfkit.advise`.
        stage: name of the stage.
        look: size of text, see `rfkit.plots.styles.style`.
        legend: whether to explain the marks below.

    Returns:
        The figure, not shown or saved.

    Raises:
        ValueError: there is no such stage.
    """
    entry = _stage(advice, stage)
    with style(look):
        scale = plt.rcParams["font.size"] / 8
        height = 1.3 + 2 * 0.3 * len(entry.tested) + 0.35 * legend
        figure, axes = plt.subplots(2, 1, figsize=(4.2 * scale, height * scale), layout="constrained")
        plot_removal_costs(advice, stage, ax=axes[0])
        plot_branch_shares(advice, stage, ax=axes[1])
        if legend:
            figure.legend(*_entries(), loc="outside lower center", ncols=2)
    return figure


def plot_advice(advice: Advice, *, title: str | None = None, look: str | None = None) -> Figure:
    """All stages below each other: left what removing each rate costs, right how it is weighed.

    Args:
        advice: result of `rfkit.advise`.
        title: line above; by default network, data and the budget, without which the figure says nothing.
        look: size of text, see `rfkit.plots.styles.style`.

    Returns:
        The figure, not shown or saved.
    """
    with style(look):
        scale = plt.rcParams["font.size"] / 8
        heights = [0.75 + 0.3 * len(stage.tested) for stage in advice.stages]
        figure, axes = plt.subplots(
            len(advice.stages), 2, figsize=(7.2 * scale, (sum(heights) + 0.9) * scale), squeeze=False,
            height_ratios=heights, layout="constrained",
        )  # fmt: skip
        for (left, right), stage in zip(axes, advice.stages, strict=True):
            plot_removal_costs(advice, stage.stage, ax=left)
            plot_branch_shares(advice, stage.stage, ax=right)
            left.set_title(f"{stage.stage}, 1/{stage.output_stride}: evidence {stage.strength}", loc="left")
        for ax in axes[:-1].flat:
            ax.set_xlabel("")
        for column in axes.T:
            limits = np.array([ax.get_xlim() for ax in column])
            for ax in column:
                ax.set_xlim(limits[:, 0].min(), limits[:, 1].max())
        figure.legend(*_entries(), loc="outside lower center", ncols=4)
        figure.suptitle(wrapped(_title(advice) if title is None else title, 95))
    return figure


def _title(advice: Advice) -> str:
    count = len(advice.trainings)
    trainings = "1 training" if count == 1 else f"{count} trainings"
    size = f"{advice.size[1]}x{advice.size[0]}"
    return f"{advice.network} on {advice.data} at {size}: {trainings} of {advice.epochs} epochs"


def _stage(advice: Advice, name: str) -> StageAdvice:
    check_choice("stage", name, [stage.stage for stage in advice.stages])
    return next(stage for stage in advice.stages if stage.stage == name)


def _placed(advice: Advice, entry: StageAdvice) -> Iterator[tuple[float, BranchEvidence]]:
    """What each training says of each tested rate, and where it stands: a row a rate, the first seed at its top."""
    count = len(advice.trainings)
    offsets = (np.arange(count) - (count - 1) / 2) * _SPREAD / max(count, 2)
    for row, dilation in enumerate(entry.tested):
        for offset, branch in zip(offsets, advice.evidence(entry.stage, dilation), strict=True):
            yield row + offset, branch


def _mark(ax: Axes, place: float, value: float, low: float, high: float, dilation: int) -> None:
    colour = dilation_colour(dilation)
    ax.plot([low, high], [place, place], color=colour, linewidth=1.2, label="_interval")
    ax.plot(value, place, "o", markersize=3.6, color=colour, label="_value")


def _rows(ax: Axes, entry: StageAdvice) -> None:
    ax.set_yticks(range(len(entry.tested)), [f"d{dilation}" for dilation in entry.tested])
    ax.set_ylim(len(entry.tested) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.margins(x=0.08)


def _entries() -> tuple[list[Line2D], list[str]]:
    none = {"linestyle": "none", "color": "0.45"}
    handles = [
        Line2D([], [], marker="o", markersize=3.6, color="0.45", linewidth=1.2),
        Line2D([], [], marker="o", markersize=6.5, fillstyle="none", **none),  # type: ignore[arg-type]
        Line2D([], [], marker="|", markersize=9, linestyle="none", color=plt.rcParams["text.color"]),
        Line2D([], [], color="0.5", alpha=0.3, linewidth=7),
    ]
    labels = ["a training, 95 % interval", "|w| x |gain|", "|w| before training", "under half a point"]
    return handles, labels
