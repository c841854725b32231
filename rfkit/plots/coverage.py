"""Which pixels of a receptive field are really reached, and by how many paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from rfkit._checks import check_positive
from rfkit.plots.legends import legend_below, shortened
from rfkit.plots.styles import style, wrapped

if TYPE_CHECKING:
    from rfkit.results.support import Support

__all__ = ["plot_coverage", "plot_path_counts", "plot_support"]

_REACHED, _HOLE = "#0077bb", "#f0e2c0"
_COUNTS = mpl.colormaps["viridis"].with_extremes(bad=_HOLE)
_FEW = 4  # pixels a side below which each has its tick
_COLUMN = 2.0  # inches of a panel, at 8 points of text


def plot_support(support: Support, *, title: str | None = None, legend: bool = True, ax: Axes | None = None) -> Axes:
    """The axes with the pixels of the unit's box: those that can change the unit, and the holes between them.

    Where the box has more pixels than the picture, a mixed colour stands for several of them.

    Args:
        support: such as `graph["layer"].support(i, j)`.
        title: text above the axes; layer, unit and coverage if not given.
        legend: whether the two colours are named below.
        ax: axes to draw into; the current ones by default.
    """
    ax = plt.gca() if ax is None else ax
    mask = np.asarray(support.mask, bool)
    ax.imshow(mask, cmap=ListedColormap([_HOLE, _REACHED]), vmin=0, vmax=1, extent=_extent(support))
    _finish(ax, support, title)
    if legend:
        count = 1 if mask.all() else 2
        handles, labels = _entries()
        legend_below(ax, handles[:count], labels[:count])
    return ax


def plot_path_counts(
    support: Support, *, title: str | None = None, colorbar: bool = True, ax: Axes | None = None
) -> Axes:
    """The axes with the logarithm, base 10, of the number of paths from each pixel of the box to the unit.

    The effective receptive field of a linear network whose weights are all equal has this shape. Pixels without a path
    have the colour of holes.

    Args:
        support: such as `graph["layer"].support(i, j)`.
        title: text above the axes; layer, unit and coverage if not given.
        colorbar: whether there is a colour bar.
        ax: axes to draw into; the current ones by default.
    """
    ax = plt.gca() if ax is None else ax
    logs = np.asarray(support.log_paths, float) / np.log(10)
    known = logs[np.isfinite(logs)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    if low == high:
        # One count everywhere: a scale that begins at one path, so that the number can be read off.
        low, high = min(0.0, low), max(high, 1.0)
    picture = ax.imshow(np.ma.masked_invalid(logs), cmap=_COUNTS, vmin=low, vmax=high, extent=_extent(support))
    _finish(ax, support, title)
    if colorbar:
        bar = ax.figure.colorbar(picture, ax=ax, fraction=0.046, pad=0.02)
        bar.set_label("log10(number of paths)" + ("" if np.isfinite(logs).all() else "\n(beige: none)"))
        bar.outline.set_linewidth(0.4)  # type: ignore[operator]
    return ax


def plot_coverage(
    supports: Mapping[str, Support] | Sequence[Support],
    *,
    paths: bool = True,
    title: str = "",
    look: str | None = None,
) -> Figure:
    """A grid with a column for each support: the pixels reached, and below them the number of paths.

    Args:
        supports: names (titles of the columns) -> supports, or supports alone.
        paths: whether the number of paths is drawn.
        title: line above the figure.
        look: size of text, see `rfkit.style`.

    Returns:
        The figure, not shown or saved.

    Raises:
        ValueError: `supports` is empty.
    """
    entries = list(supports.items()) if isinstance(supports, Mapping) else [(item.layer, item) for item in supports]
    check_positive("len(supports)", len(entries))
    rows = 2 if paths else 1
    with style(look):
        scale = plt.rcParams["font.size"] / 8
        size = ((0.6 + (_COLUMN + 0.7 * paths) * len(entries)) * scale, (0.8 + (_COLUMN + 0.2) * rows) * scale)
        figure, axes = plt.subplots(rows, len(entries), figsize=size, squeeze=False, layout="compressed")
        for column, (name, support) in enumerate(entries):
            text = _title(support, 30, name=name)
            plot_support(support, title=text, legend=False, ax=axes[0][column])
            if paths:
                plot_path_counts(support, title="", ax=axes[1][column])
        for ax in axes.flat:
            place = ax.get_subplotspec()
            ax.set_xlabel("column (px)" if place.is_last_row() else "")
            ax.set_ylabel("row (px)" if place.is_first_col() else "")
            ax.tick_params(labelsize=plt.rcParams["font.size"] * 0.8)
        handles, labels = _entries()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
        if title:
            figure.suptitle(wrapped(title, int(14 * size[0] / scale)))
    return figure


def _finish(ax: Axes, support: Support, title: str | None) -> None:
    ax.set(xlabel="column (px)", ylabel="row (px)")
    for axis in (ax.xaxis, ax.yaxis):
        first, last = sorted(axis.get_view_interval())
        axis.set_major_locator(mpl.ticker.MaxNLocator(4, integer=True))
        if last - first < _FEW:
            axis.set_ticks(np.arange(np.ceil(first), last))
    ax.set_title(_title(support, 38) if title is None else title)


def _extent(support: Support) -> tuple[float, float, float, float]:
    """The outer edges of the box's pixels: left, right, bottom, top."""
    box = support.box
    return box.x0 - 0.5, box.x1 + 0.5, box.y1 + 0.5, box.y0 - 0.5


def _title(support: Support, width: int, *, name: str = "") -> str:
    unit = f" · unit {tuple(int(place) for place in support.unit)}" if support.unit is not None else ""
    layer = shortened(name, width) if name else shortened(support.layer, width - len(unit)) + unit
    share = f"{100 * support.coverage:.1f}"
    # Rounding must not hide a hole, nor a pixel.
    if share == "100.0":
        share = "100" if bool(np.all(support.mask)) else "just under 100"
    elif share == "0.0":
        share = "under 0.1" if bool(np.any(support.mask)) else "0"
    sizes = f"coverage {share} % of {support.box.height} × {support.box.width} px"
    return f"{layer}\n{sizes}"


def _entries() -> tuple[list[Any], list[str]]:
    return [Patch(color=_REACHED), Patch(color=_HOLE)], ["can change the unit", "hole: cannot"]
