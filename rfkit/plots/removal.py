"""What a network loses when branches are removed from it: drops with intervals, and the classes that lose most."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rfkit._checks import check_choice
from rfkit.plots.styles import SIGNED, dilation_colour, signed_norm, style, wrapped
from rfkit.results.base import Result

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["KINDS", "plot_branch_removal", "plot_class_drops", "plot_drops"]

KINDS = ("drops", "classes")
_MEAN = "mIoU"
_NUMBERS = 24  # columns of a heatmap up to which its cells can hold a number
_SPREAD = 0.6  # width that the branches of one place share


def plot_branch_removal(removal: Result, *, kind: str = "drops", title: str = "", look: str | None = None) -> Figure:
    """What the network loses without the branches of one dilation rate, stage by stage or block by block.

    Args:
        removal: a `BranchRemoval`, or any result whose frame has its columns.
        kind: "drops" for the drop in mIoU with its interval; "classes" for the drop in the IoU of each class.
        title: line above the figure: network, data, epochs, size, images.
        look: size of text, see `rfkit.style`.

    Returns:
        The figure, not shown or saved.

    Raises:
        ValueError: `kind` is unknown.
    """
    check_choice("kind", kind, KINDS)
    frame = removal.to_frame()
    with style(look):
        places = len(frame[["stage", "block"]].drop_duplicates())
        columns = len(frame[["stage", "block", "branch"]].drop_duplicates())
        rows = frame["class"].nunique()
        if kind == "drops":
            size = (max(3.6, 1.6 + 0.8 * places), 2.6)
        else:
            size = (max(4.2, 2.2 + (0.5 if columns <= _NUMBERS else 0.16) * columns), 1.5 + 0.24 * rows)
        figure, ax = plt.subplots(figsize=size, layout="constrained")
        (plot_drops if kind == "drops" else plot_class_drops)(removal, ax=ax)
        if title:
            figure.suptitle(wrapped(title, int(13 * size[0])))
    return figure


def plot_drops(removal: Result, *, ax: Axes | None = None) -> Axes:
    """The axes with the drop in mIoU of every removal and its 95 % interval, in percentage points.

    A dot whose interval does not reach zero is a branch that the network relies on. Colours are those of the rates.

    Args:
        removal: a `BranchRemoval`, or any result whose frame has its columns.
        ax: axes to draw into; the current ones by default.
    """
    ax = plt.gca() if ax is None else ax
    frame = removal.to_frame()
    frame = frame[frame["class"] == ""]
    places = list(dict.fromkeys(zip(frame["stage"], frame["block"], strict=True)))
    branches = _branches(frame)
    ax.axhline(0, color="0.6", linewidth=0.8, zorder=0)
    for number, (dilation, label) in enumerate(branches):
        rows = frame[frame["branch"] == label]
        shift = _SPREAD * ((number + 0.5) / len(branches) - 0.5)
        across = [places.index(place) + shift for place in zip(rows["stage"], rows["block"], strict=True)]
        drop, low, high = (100 * rows[column].to_numpy() for column in ("drop", "low", "high"))
        # The value of the sample may lie outside a percentile interval of its resamples.
        reach = np.maximum([drop - low, high - drop], 0)
        ax.errorbar(across, drop, yerr=reach, fmt="o", markersize=4, capsize=2, color=dilation_colour(dilation))
    ax.set_xticks(range(len(places)), [block or stage for stage, block in places])
    if len(places) > 6:
        ax.tick_params(axis="x", rotation=90)
    ax.set(xlim=(-0.5, len(places) - 0.5), ylabel="drop in mIoU (points)")
    handles = [Line2D([], [], marker="o", linestyle="none", color=dilation_colour(rate)) for rate, _ in branches]
    names = [f"without {label}" for _, label in branches]
    ax.legend(handles, names, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(branches), borderaxespad=0.2)
    return ax


def plot_class_drops(removal: Result, *, ax: Axes | None = None) -> Axes:
    """The axes with the drop in the IoU of every class (rows) by every removal (columns), in percentage points.

    Red is a loss, blue a gain. A number is bold where the 95 % interval leaves zero out. A class that the images do not
    hold is gray.

    Args:
        removal: a `BranchRemoval`, or any result whose frame has its columns.
        ax: axes to draw into; the current ones by default.
    """
    ax = plt.gca() if ax is None else ax
    frame = removal.to_frame()
    columns = list(dict.fromkeys(zip(frame["stage"], frame["block"], frame["branch"], strict=True)))
    classes = list(dict.fromkeys(frame["class"]))
    shape = (len(classes), len(columns))
    order = {(*column, name): (row, place) for place, column in enumerate(columns) for row, name in enumerate(classes)}
    drops, sure = np.full(shape, np.nan), np.zeros(shape, bool)
    for row in frame.to_dict("records"):
        at = order[row["stage"], row["block"], row["branch"], row["class"]]
        drops[at] = 100 * row["drop"]
        sure[at] = row["low"] > 0 or row["high"] < 0
    norm = signed_norm(drops[np.isfinite(drops)])
    image = ax.imshow(np.ma.masked_invalid(drops), cmap=SIGNED, norm=norm, aspect="auto")
    if len(columns) <= _NUMBERS:
        for (row, place), drop in np.ndenumerate(drops):
            if np.isfinite(drop):
                dark = abs(drop) > 0.6 * norm.vmax  # type: ignore[operator]
                ax.text(
                    place, row, f"{drop:.1f}".replace("-", "−"), ha="center", va="center",
                    color="white" if dark else "black", fontweight="bold" if sure[row, place] else "normal",
                    fontsize=plt.rcParams["font.size"] * 0.8,
                )  # fmt: skip
    ax.set_yticks(range(len(classes)), [name or _MEAN for name in classes])
    ax.set_xticks(range(len(columns)), [label for _, _, label in columns])
    if len(columns) > _NUMBERS:
        ax.tick_params(axis="x", rotation=90, labelsize=plt.rcParams["font.size"] * 0.6)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    for row in range(1, len(classes)):
        ax.axhline(row - 0.5, color="white", linewidth=1.6 if row == 1 and classes[0] == "" else 0.4)
    _name_places(ax, columns)
    ax.figure.colorbar(image, ax=ax, label="drop in IoU (points)", pad=0.02)
    return ax


def _branches(frame: pd.DataFrame) -> list[tuple[int, str]]:
    return sorted(set(zip(frame["dilation"], frame["branch"], strict=True)))


def _name_places(ax: Axes, columns: list[tuple[str, str, str]]) -> None:
    """The stage, or the block, above its columns, and a line between neighbours."""
    places = [block or stage for stage, block, _ in columns]
    for place in dict.fromkeys(places):
        mine = [index for index, other in enumerate(places) if other == place]
        many = len(columns) > _NUMBERS
        ax.annotate(
            place, (np.mean(mine), 1), (0, 3), xycoords=("data", "axes fraction"), textcoords="offset points",
            ha="center", va="bottom", rotation=90 if many else 0,
            fontsize=plt.rcParams["font.size"] * (0.7 if many else 1),
        )  # fmt: skip
        if mine[0] > 0:
            ax.axvline(mine[0] - 0.5, color="white", linewidth=2.5)
