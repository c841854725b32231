"""Dilation rates along the depth of a network, beside the bound up to which they leave no gaps."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from rfkit.plots.depth import mark_strides, mark_unknown, name_stages
from rfkit.plots.styles import dilation_colour

if TYPE_CHECKING:
    import pandas as pd

    from rfkit.results.dilation_bounds import DilationBound, DilationBounds

__all__ = ["plot_dilation_bounds"]

_BROKEN, _BOUND = "#b2182b", "0.15"


def plot_dilation_bounds(bounds: DilationBounds, *, ax: Axes | None = None) -> Axes:
    """The axes with the dilation rate of every convolution, and the line k / s above which rates leave gaps.

    Along the horizontal axis stand the maps that convolutions read, in the order of computation; branches that read the
    same map stand above each other. The colour of a dot is that of its rate; a rate above the bound is ringed in red.
    The strip above shows the output stride of the maps. Where the receptive field is not known the line has a gap.

    Args:
        bounds: result of `rfkit.dilation_bound`.
        ax: axes to draw into; the current ones by default.
    """
    ax = plt.gca() if ax is None else ax
    columns = _columns(bounds.layers)
    heads = [column[0] for column in columns]
    line = np.array([head.bound for head in heads])
    rates = [(place, entry) for place, column in enumerate(columns) for entry in column]
    top = max(max(entry.rate for _, entry in rates), np.nanmax(np.append(line, 1.0))) * 1.5
    ax.set_yscale("log", base=2)
    ax.set(xlim=(-0.5, len(columns) - 0.5), ylim=(0.7, top))
    edges = np.arange(len(line) + 1) - 0.5
    ax.fill_between(
        edges, np.append(line, line[-1]), top, step="post", color=_BROKEN, alpha=0.08, linewidth=0, label="_gaps"
    )
    ax.stairs(line, edges, baseline=None, color=_BOUND, label="bound k / s")
    _dots(ax, rates)
    _ticks(ax, top)
    rows = _unknown_rows(heads)
    mark_unknown(ax, rows)
    mark_strides(ax, np.array([head.output_stride for head in heads]))
    name_stages(ax, [head.layer for head in heads])
    ax.set_xlabel("maps that convolutions read, in the order of computation")
    ax.set_ylabel("dilation rate (units of the map)")
    _legend(ax, broken=any(entry.kept is False for _, entry in rates))
    return ax


def _dots(ax: Axes, rates: list[tuple[int, DilationBound]]) -> None:
    """A dot for every rate at its place, and a ring around those above their bound."""
    places, values = zip(*((place, entry.rate) for place, entry in rates), strict=True)
    colours = [dilation_colour(value) for value in values]
    ax.scatter(places, values, s=26, c=colours, zorder=3, linewidths=0.5, edgecolors="white", label="rate")
    broken = [(place, entry.rate) for place, entry in rates if entry.kept is False]
    if broken:
        across, up = zip(*broken, strict=True)
        ax.scatter(
            across, up, s=95, facecolors="none", edgecolors=_BROKEN, linewidths=1.4, zorder=3,
            label="above the bound",
        )  # fmt: skip


def _columns(layers: tuple[DilationBound, ...]) -> list[list[DilationBound]]:
    """Neighbouring entries that read maps with the same field: the branches of a block."""
    groups = itertools.groupby(layers, key=lambda entry: (str(entry.size), str(entry.output_stride)))
    return [list(group) for _, group in groups]


def _ticks(ax: Axes, top: float) -> None:
    ax.yaxis.set_major_locator(LogLocator(base=2 if top < 300 else 4, numticks=12))
    ax.yaxis.set_major_formatter(ScalarFormatter())
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.tick_params(axis="y", which="minor", length=0)


def _unknown_rows(heads: list[DilationBound]) -> pd.DataFrame:
    import pandas as pd

    states = ["unknown" if head.reason else "exact" for head in heads]
    return pd.DataFrame(
        {"layer": [head.layer for head in heads], "status": states, "reason": [h.reason for h in heads]}
    )


def _legend(ax: Axes, *, broken: bool) -> None:
    """The legend at the upper left: bounds are low there, and rates above them lower still."""
    none = {"linestyle": "none", "marker": "o"}
    handles = [
        Line2D([], [], color=_BOUND),
        Line2D([], [], markerfacecolor="0.5", markeredgecolor="white", markersize=6, **none),  # type: ignore[arg-type]
    ]
    labels = ["bound k / s; above it a rate leaves gaps", "dilation rate"]
    if broken:
        ring = Line2D([], [], markerfacecolor="none", markeredgecolor=_BROKEN, markersize=9, **none)  # type: ignore[arg-type]
        handles.append(ring)
        labels.append("rate above the bound")
    ax.legend(handles, labels, loc="upper left")
