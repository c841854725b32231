"""Accuracy against speed."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from rfkit._checks import unknown_name
from rfkit.results.base import Table

__all__ = ["COLOURS", "plot_tradeoff"]

COLOURS: Mapping[str, str] = {"highlighted": "#cc3311", "other": "#0077bb", "ours": "#009988"}
"""Colours of the groups: the methods a figure is about, all others, points measured here."""

_MARKERS = {"highlighted": "o", "other": "o", "ours": "D"}
_REQUIRED = ("label", "fps", "miou", "group")


def plot_tradeoff(
    points: Table,
    *,
    offsets: Mapping[str, tuple[float, float]] | None = None,
    names: Mapping[str, str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The axes with a point and a label for each method.

    Args:
        points: columns `label`, `fps` (frames per second), `miou` (percent) and `group` (a key of `COLOURS`).
        offsets: label -> (right, up) of the label's nearest edge from its point, in points; a label whose offset
            goes left ends there, one that goes neither left nor right is centred. Default: to the right.
        names: group -> its name in the legend; without it there is no legend.
        ax: where; the current axes if None.

    Raises:
        ValueError: a column is missing, a group is unknown, or `offsets` names a label that is not there.
    """
    for column in _REQUIRED:
        if column not in points.columns:
            raise unknown_name("points", column, points.columns)
    labels = points.columns["label"]
    for label in offsets or {}:
        if label not in labels:
            raise unknown_name("offsets", label, labels)
    ax = plt.gca() if ax is None else ax
    cells = zip(*(points.columns[key] for key in _REQUIRED), strict=True)
    for label, fps, miou, group in cells:
        if group not in COLOURS:
            raise unknown_name("group", group, COLOURS)
        colour = COLOURS[group]
        ax.plot(
            [fps], [miou], _MARKERS[group], color=colour, markersize=5.5, markeredgecolor="white", markeredgewidth=0.6,
            gid=f"point {label}", zorder=3,
        )  # fmt: skip
        right, up = (offsets or {}).get(label, (4.5, 0.0))
        ax.annotate(
            label, (fps, miou), xytext=(right, up), textcoords="offset points", fontsize=6.5, color=colour,
            ha="left" if right > 0 else "right" if right < 0 else "center",
            va="center" if right else "bottom" if up > 0 else "top",
            fontweight="bold" if group != "other" else "normal", gid=f"label {label}", zorder=4,
        )  # fmt: skip
    ax.set(xlabel="speed (frames per second)", ylabel="mIoU (%)")
    ax.grid(linewidth=0.4, color="#dddddd")
    if names:
        handles = [
            Line2D([], [], marker=_MARKERS[group], color="none", markerfacecolor=COLOURS[group], markersize=6,
                   markeredgecolor="white", label=name)
            for group, name in names.items()
        ]  # fmt: skip
        ax.legend(handles=handles, loc="lower right", handletextpad=0.2, borderaxespad=0.4)
    return ax
