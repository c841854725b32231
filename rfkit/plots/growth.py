"""How the theoretical receptive field grows along the depth of a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import ScalarFormatter

from rfkit._checks import check_choice, unknown_name
from rfkit.plots.depth import mark_global, mark_strides, mark_unknown, name_stages

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["plot_growth"]

_REQUIRED = ("layer", "axis", "size_min", "size_max", "path_min", "path_max", "output_stride", "is_global", "status")
_COLOURS = ("#0077bb", "#cc3311", "#009988", "#aa4499", "#ee7733", "#332288", "#999933")
_LINES = {"row": "-", "column": (0, (4, 1.5))}
_SIDES = {"row": "height", "column": "width"}
_CEILING = 2.5  # an image more than so many times as large as every field would flatten the curve


def plot_growth(
    table: pd.DataFrame | Mapping[str, pd.DataFrame],
    *,
    axis: str = "row",
    image_size: int | tuple[int, int] | None = None,
    log: bool = False,
    strides: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """The axes with the size of the theoretical receptive field of every layer, in the order of computation.

    The line is the size over the longest path (for the unit that sees most, where units differ), the band goes from
    the shortest path to the longest, and a bar at a layer from the unit that sees least to the one that sees most.
    A strip above shows the output stride. Layers whose field is not known are hatched and leave a gap; those that
    some global path reaches have a mark at the bottom: the size drawn for them is that of all other paths, unless
    the table was made with `global_paths="include"`. Sizes are unclipped: they may exceed the image.

    Args:
        table: `ReceptiveFieldGraph.table()`, or names of networks -> their tables, to compare them in one axes; stages
            are then not named, and a dot marks each layer where the output stride changes.
        axis: "row" (heights of the fields), "column" (widths), or "both".
        image_size: side of the image in pixels, or (height, width), drawn as a level line.
        log: whether sizes are on a logarithmic scale, base 2.
        strides: whether output strides are shown.
        ax: axes to draw into; the current ones by default.

    Raises:
        ValueError: a column is missing, a table has no row for `axis`, or `axis` is none of the three.

    Example:
        >>> import pandas as pd
        >>> row = {"layer": "stem.conv", "axis": "row", "size_min": 3, "size_max": 3, "path_min": 3, "path_max": 3}
        >>> row |= {"output_stride": 2, "is_global": False, "status": "exact"}
        >>> plot_growth(pd.DataFrame([row])).get_ylabel()
        'receptive field, height (px)'
    """
    check_choice("axis", axis, ("row", "column", "both"))
    tables = dict(table) if isinstance(table, Mapping) else {"": table}
    ax = plt.gca() if ax is None else ax
    axes = ("row", "column") if axis == "both" else (axis,)
    kept = {(name, side): _rows(frame, side, name) for name, frame in tables.items() for side in axes}
    if axis == "both" and all(_alike(kept[name, "row"], kept[name, "column"]) for name in tables):
        axes = ("row",)
    if log:
        ax.set_yscale("log", base=2)
        ax.yaxis.set_major_formatter(ScalarFormatter())
    for index, name in enumerate(tables):
        for side in axes:
            colour = _COLOURS[(index if len(tables) > 1 else axes.index(side)) % len(_COLOURS)]
            words = " ".join(word for word in (name, _SIDES[side] if len(axes) > 1 else "") if word)
            _draw(ax, kept[name, side], colour=colour, line=_LINES[side], label=words)
    first = kept[next(iter(tables)), axes[0]]
    longest = max(len(rows) for rows in kept.values())
    ax.set_xlim(-0.5, longest - 0.5)
    if not log:
        ax.set_ylim(0, _top(list(kept.values())) * 1.06)
    for side in ("row", "column") if axis == "both" else axes:
        _image_line(ax, image_size, side, both=axis == "both", log=log)
    if len(tables) == 1:
        name_stages(ax, first["layer"].astype(str).tolist())
        mark_unknown(ax, first)
        mark_global(ax, first)
        if strides:
            mark_strides(ax, first["output_stride"].to_numpy(float, na_value=np.nan))
    else:
        ax.set_xlabel("layer, in the order of computation")
        if strides:
            _stride_dots(ax, kept)
    side = "height and width" if axis == "both" else _SIDES[axis]
    ax.set_ylabel(f"receptive field, {side} (px)")
    _legend(ax)
    return ax


def _rows(frame: pd.DataFrame, axis: str, name: str) -> pd.DataFrame:
    for column in _REQUIRED:
        if column not in frame.columns:
            raise unknown_name("table", column, frame.columns)
    rows = frame[frame["axis"] == axis].reset_index(drop=True)
    if rows.empty:
        raise ValueError(f"table{f' of {name!r}' if name else ''} has no row whose axis is {axis!r}.")
    return rows


def _alike(rows: pd.DataFrame, others: pd.DataFrame) -> bool:
    """Whether both axes of a network have the same sizes, so that one curve shows both."""
    columns = ("size_min", "size_max", "path_min", "path_max")
    return all(np.array_equal(_sizes(rows, name), _sizes(others, name), equal_nan=True) for name in columns)


def _sizes(rows: pd.DataFrame, column: str) -> np.ndarray:
    """The sizes as floats, NaN where nothing is known or the field has no end."""
    values = rows[column].to_numpy(float, na_value=np.nan).copy()
    values[~np.isfinite(values) | (rows["status"] == "unknown").to_numpy()] = np.nan
    return values


def _draw(ax: Axes, rows: pd.DataFrame, *, colour: str, line: object, label: str) -> None:
    place = np.arange(len(rows))
    least, most = _sizes(rows, "size_min"), _sizes(rows, "size_max")
    shortest, longest = _sizes(rows, "path_min"), _sizes(rows, "path_max")
    # A dot for each layer as long as dots stay apart: a layer between two gaps would otherwise not be seen.
    marker = "." if len(rows) <= 60 or np.isnan(most).any() else ""
    ax.plot(place, most, color=colour, linestyle=line, marker=marker, markersize=3, label=label or "receptive field")  # type: ignore[arg-type]
    if (shortest < longest).any():
        ax.fill_between(
            place,
            shortest,
            longest,
            color=colour,
            alpha=0.2,
            linewidth=0,
            label=_named(label, "shortest to longest path"),
        )
    differ = least < most
    if differ.any():
        ax.vlines(
            place[differ], least[differ], most[differ], color=colour, linewidth=2.5, alpha=0.55,
            label=_named(label, "units that see least and most"),
        )  # fmt: skip
    bound = np.where((rows["status"] == "bound").to_numpy(), most, np.nan)
    if np.isfinite(bound).any():
        ax.plot(
            place, bound, color=colour, linestyle="none", marker="v", markerfacecolor="white", markersize=4,
            label=_named(label, "not larger than this"),
        )  # fmt: skip


def _named(label: str, meaning: str) -> str:
    """`meaning` for one curve; nothing in the legend for further curves, where colour tells whose it is."""
    return f"_{meaning}" if label else meaning


def _top(kept: list[pd.DataFrame]) -> float:
    with np.errstate(all="ignore"):
        sizes = np.concatenate([_sizes(rows, column) for rows in kept for column in ("size_max", "path_max")])
    finite = sizes[np.isfinite(sizes)]
    return float(finite.max()) if finite.size else 1.0


def _image_line(ax: Axes, image_size: int | tuple[int, int] | None, side: str, *, both: bool, log: bool) -> None:
    """A level line at the image's side, named outside of the frame so that it hides nothing."""
    if image_size is None:
        return
    sides = (image_size, image_size) if isinstance(image_size, int) else image_size
    length = sides[0] if side == "row" else sides[1]
    if both and side == "column" and sides[0] == sides[1]:
        return
    word = "side" if both and sides[0] == sides[1] else _SIDES[side]
    top = ax.get_ylim()[1]
    if length > _CEILING * top and not log:
        text = f"image {word} {length} px:\nfar above this scale"
        ax.text(1.01, 0.98, text, transform=ax.transAxes, va="top", fontsize="small", color="0.35")
        return
    ax.set_ylim(top=max(top, length * (1.3 if log else 1.06)))
    ax.axhline(length, color="0.35", linewidth=0.9, linestyle=(0, (6, 3)), zorder=1)
    ax.annotate(
        f"image {word} {length} px", (1, length), xycoords=("axes fraction", "data"), xytext=(4, 0),
        textcoords="offset points", va="center", fontsize="small", color="0.35", annotation_clip=False,
    )  # fmt: skip


def _stride_dots(ax: Axes, kept: Mapping[tuple[str, str], pd.DataFrame]) -> None:
    for index, rows in enumerate(kept.values()):
        stride = rows["output_stride"].to_numpy(float, na_value=np.nan)
        changed = np.flatnonzero(np.diff(stride, prepend=1.0) != 0)
        label = "output stride changes" if index == 0 else "_output stride changes"
        ax.plot(
            changed, _sizes(rows, "size_max")[changed], linestyle="none", marker="o", markersize=4,
            markerfacecolor="white", markeredgecolor="0.2", label=label,
        )  # fmt: skip


def _legend(ax: Axes) -> None:
    handles, labels = ax.get_legend_handles_labels()
    if len(handles) > 1:
        ax.legend(handles, labels, loc="best")
