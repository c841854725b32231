"""Learned dilation rates over the steps of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from rfkit._checks import check_positive
from rfkit.plots.styles import dilation_colour, dilation_line, style, wrapped

if TYPE_CHECKING:
    from rfkit.results.dilation_rates import RateTrajectory

__all__ = ["plot_rate_trajectories", "plot_rate_trajectories_by_stage"]

_LABELLED = 10  # lines up to which each is named at its end
_GAP = 1.25  # least distance of two names, in sizes of their font


def plot_rate_trajectories(trajectory: RateTrajectory, *, ax: Axes | None = None) -> Axes:
    """The axes with one line per convolution: its learned dilation rate over the steps of the training.

    Colour and style of a line are those of the branch, by the rate that it had in the network before; the dot at its
    end has the colour of the rate learned. Up to 10 lines are named there, by block and branch. A bound stands as a
    thin dotted line where it lies within the range of the rates.

    Args:
        trajectory: what `rfkit.RateRecorder` recorded; a part of it with `trajectory.select("stage3")`.
        ax: axes to draw into; the current ones by default.
    """
    ax = plt.gca() if ax is None else ax
    _lines(ax, trajectory)
    _name_ends(ax, trajectory)
    return ax


def plot_rate_trajectories_by_stage(
    trajectory: RateTrajectory, *, title: str = "", columns: int = 3, look: str | None = None
) -> Figure:
    """The learned dilation rates over the steps, a panel for each stage, all with the same scale.

    A stage is what layers' names begin with, up to the first dot behind what all of them share.

    Args:
        trajectory: what `rfkit.RateRecorder` recorded.
        title: line above the figure.
        columns: panels side by side, at most.
        look: size of text, see `rfkit.style`.

    Returns:
        The figure, not shown or saved.

    Raises:
        ValueError: `columns` is not above 0.
    """
    check_positive("columns", columns)
    panels = _by_stage(trajectory)
    with style(look):
        scale = plt.rcParams["font.size"] / 8
        across = min(columns, len(panels))
        down = -(-len(panels) // across)
        figure, axes = plt.subplots(
            down, across, figsize=((3.1 * across + 0.4) * scale, (2.6 * down + 0.5) * scale), squeeze=False,
            layout="constrained", sharey=True,
        )  # fmt: skip
        for ax, (name, part) in zip(axes.flat, panels.items(), strict=False):
            _lines(ax, part)
            ax.set_title(name)
            ax.label_outer()
        axes[0, 0].set_ylim(_limits(trajectory))
        for ax in list(axes.flat)[len(panels) :]:
            ax.remove()
        branches = sorted(set(trajectory.branches), key=_rate)
        handles = [Line2D([], [], **_look(branch)) for branch in branches]
        figure.legend(handles, [f"branch {branch}" for branch in branches], loc="outside lower center", ncols=6)
        if title:
            figure.suptitle(wrapped(title, 85))
        # Names are moved apart by the height that the panels get.
        figure.draw_without_rendering()
        for ax, (name, part) in zip(axes.flat, panels.items(), strict=False):
            _name_ends(ax, part, without=name)
    return figure


def _lines(ax: Axes, trajectory: RateTrajectory) -> None:
    low, high = _limits(trajectory)
    steps = trajectory.steps
    ax.set(xlim=(steps[0], max(steps[-1], steps[0] + 1)), ylim=(low, high))
    ax.grid(axis="y", color="0.9", linewidth=0.6)
    for bound in sorted(set(trajectory.bounds[-1].tolist())):
        if bound <= high:
            ax.axhline(bound, color="0.4", linewidth=0.8, linestyle=":", label="_bound")
    for name, branch, rates in zip(trajectory.layers, trajectory.branches, trajectory.rates.T, strict=True):
        ax.plot(steps, rates, label=name, **_look(branch))
        ax.plot(steps[-1:], rates[-1:], "o", color=dilation_colour(rates[-1]), markersize=4, clip_on=False,
                label=f"_end of {name}")  # fmt: skip
    ax.yaxis.set_major_locator(MaxNLocator(8, integer=True))
    ax.set(xlabel="training step", ylabel="dilation rate (units of the map)")


def _limits(trajectory: RateTrajectory) -> tuple[float, float]:
    low, high = float(trajectory.rates.min()), float(trajectory.rates.max())
    margin = 0.06 * (high - low) + 0.15
    return low - margin, high + margin


def _by_stage(trajectory: RateTrajectory) -> dict[str, RateTrajectory]:
    """Stage -> its trajectories, in the order of the layers."""
    parts = [layer.split(".") for layer in trajectory.layers]
    shared = 0
    while all(len(part) > shared + 1 for part in parts) and len({part[shared] for part in parts}) == 1:
        shared += 1
    names = dict.fromkeys(".".join(part[: shared + 1]) for part in parts)
    return {name: trajectory.select(name) for name in names}


def _look(branch: str) -> dict[str, Any]:
    return {"color": dilation_colour(_rate(branch)), "linestyle": dilation_line(_rate(branch))}


def _rate(name: str) -> int:
    return int(name.removeprefix("d"))


def _name_ends(ax: Axes, trajectory: RateTrajectory, *, without: str = "") -> None:
    """The lines named at their right ends, moved apart where they would overlap; none if they are too many."""
    if len(trajectory.layers) > _LABELLED:
        return
    size = plt.rcParams["font.size"] * 0.8
    ends = trajectory.rates[-1]
    low, high = ax.get_ylim()
    height = ax.get_window_extent().height / ax.figure.dpi * 72
    step = _GAP * size * (high - low) / height
    order = np.argsort(ends, kind="stable")
    places = _apart(ends[order].astype(float), step)
    places -= max(0.0, places[-1] - max(ends.max(), high))
    for place, index in zip(places, order, strict=True):
        ax.annotate(
            f"{_block(trajectory.layers[index], without)} {trajectory.branches[index]}", (1, place),
            xycoords=("axes fraction", "data"), xytext=(5, 0), textcoords="offset points", va="center",
            fontsize=size, color="0.25", annotation_clip=False,
        )  # fmt: skip


def _apart(values: np.ndarray, step: float) -> np.ndarray:
    """Ascending places at least `step` apart, as near to ascending `values` as they can be (least squares)."""
    # Without the steps the places only have to ascend: groups of neighbours that do not share their mean.
    groups: list[list[float]] = []
    for index, value in enumerate(values):
        groups.append([float(value) - index * step])
        while len(groups) > 1 and np.mean(groups[-2]) > np.mean(groups[-1]):
            last = groups.pop()
            groups[-1] += last
    level = np.concatenate([np.full(len(group), np.mean(group)) for group in groups])
    return level + step * np.arange(len(values))


def _block(layer: str, without: str) -> str:
    """The block of a convolution, such as "stage3.2": its name up to the first number, `without` what is in a title."""
    parts = layer.split(".")
    last = next((index for index, part in enumerate(parts) if part.isdigit()), len(parts) - 1)
    return ".".join(parts[: last + 1]).removeprefix(f"{without}.")
