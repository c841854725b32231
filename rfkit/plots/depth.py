"""The axis along a network's depth: names of stages, output strides, gaps where nothing is known."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.transforms import blended_transform_factory

from rfkit.plots.styles import wrapped

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["mark_global", "mark_strides", "mark_unknown", "name_stages", "stages"]

_INCH = 72.0  # points
_LETTER = 0.62  # mean width of a letter, in sizes of the font
_GLOBAL = "#ee7733"
_STRIP = 0.045  # height of the strip of output strides, in heights of the axes


def stages(layers: Sequence[str]) -> list[tuple[str, int, int]]:
    """Runs of layers with a common beginning of their names: (beginning, first layer, last layer).

    The beginning is the first component of the name. Where that tells no more than two parts of the network apart,
    the larger part is told by one component more: `backbone.layer1`, `backbone.layer2`, `head`; what all names
    begin with is left out.

    Example:
        >>> stages(["stem.conv", "stem.norm", "body.0", "head"])
        [('stem', 0, 1), ('body', 2, 2), ('head', 3, 3)]
    """
    parts = [layer.split(".") for layer in layers]
    shared = 0
    while len({tuple(part[: shared + 1]) for part in parts}) == 1 and all(len(part) > shared + 1 for part in parts):
        shared += 1
    parts = [part[shared:] for part in parts]
    firsts = [part[0] for part in parts]
    large = {name for name in firsts if len(set(firsts)) <= 2 and firsts.count(name) > len(firsts) / 2}
    keys = [".".join(part[: 2 if part[0] in large else 1]) for part in parts]
    runs, start = [], 0
    for name, group in itertools.groupby(keys):
        count = len(list(group))
        runs.append((name, start, start + count - 1))
        start += count
    return runs


def name_stages(ax: Axes, layers: Sequence[str]) -> None:
    """Tick labels with the names of stages; names that would run into each other are left out, narrow stages first."""
    runs = [(name or "input", first, last) for name, first, last in stages(layers)]
    size = mpl.font_manager.FontProperties(size=plt.rcParams["xtick.labelsize"]).get_size_in_points()
    point = ax.get_window_extent().width / ax.figure.dpi * _INCH / max(1, len(layers))
    level = all((last - first + 1) * point > _LETTER * size * len(name) for name, first, last in runs)
    ordered = sorted(runs, key=lambda run: run[1] - run[2])
    chosen: list[tuple[str, int, int]] = []
    for run in ordered:
        apart = (abs(run[1] + run[2] - other[1] - other[2]) / 2 * point for other in chosen)
        if level or all(gap > 1.35 * size for gap in apart):
            chosen.append(run)
    ax.set_xticks([(first + last) / 2 for _, first, last in chosen], [name for name, _, _ in chosen])
    if not level:
        plt.setp(ax.get_xticklabels(), rotation=40, ha="right", rotation_mode="anchor")
    ax.set_xticks([first - 0.5 for _, first, _ in runs[1:]], minor=True)
    ax.tick_params(axis="x", which="major", length=0)
    ax.tick_params(axis="x", which="minor", length=3)
    ax.set_xlabel("layers in the order of computation, by stage")


def mark_strides(ax: Axes, strides: np.ndarray) -> None:
    """A strip above the axes: darker where the output stride is larger, with the number where it fits."""
    known = strides[np.isfinite(strides) & (strides > 0)]
    if not known.size:
        return
    levels = np.log2(np.maximum(known, 1))
    colours = mpl.colormaps["Blues"]
    where = blended_transform_factory(ax.transData, ax.transAxes)
    point = ax.get_window_extent().width / ax.figure.dpi * _INCH / max(1, len(strides))
    size = plt.rcParams["font.size"] * 0.8
    start = 0
    for stride, group in itertools.groupby(np.nan_to_num(strides, nan=0.0)):
        count = len(list(group))
        if stride > 0:
            share = 0.08 + 0.62 * np.log2(max(stride, 1)) / max(1.0, levels.max())
            ax.add_patch(
                Rectangle(
                    (start - 0.5, 1.01), count, _STRIP, transform=where, facecolor=colours(share), linewidth=0.4,
                    edgecolor="white", clip_on=False, label="_output stride", gid=f"stride {stride:g}",
                )
            )  # fmt: skip
            text = f"{stride:.3g}"
            if count * point > _LETTER * size * len(text) + 2:
                ax.text(
                    start + count / 2 - 0.5, 1.01 + _STRIP / 2, text, transform=where, fontsize=size, ha="center",
                    va="center_baseline", color="white" if share > 0.45 else "0.15",
                )  # fmt: skip
        start += count
    ax.text(
        1.01, 1.01 + _STRIP / 2, "output stride", transform=ax.transAxes, va="center_baseline", fontsize=size,
        color="0.35",
    )  # fmt: skip


def mark_unknown(ax: Axes, rows: pd.DataFrame) -> None:
    """Hatched spans where the field is not known, each named by its first layer and the reason given there."""
    unknown = (rows["status"] == "unknown").to_numpy()
    start = 0
    point = ax.get_window_extent().width / ax.figure.dpi * _INCH / max(1, len(rows))
    for value, group in itertools.groupby(unknown):
        count = len(list(group))
        if value:
            ax.axvspan(
                start - 0.5, start + count - 0.5, facecolor="0.96", edgecolor="0.75", hatch="///", linewidth=0,
                zorder=0, label="_unknown",
            )  # fmt: skip
            row = rows.iloc[start]
            reason = next((str(row[key]) for key in ("reason", "operator") if row.get(key)), "")
            text = f"not known from {row['layer']} on" if count > 1 else f"not known: {row['layer']}"
            text = "\n".join(wrapped(line, 34) for line in (text, reason) if line)
            narrow = count * point < 34 * _LETTER * plt.rcParams["font.size"] * 0.8
            ax.text(
                start + count / 2 - 0.5, 0.5, text, transform=blended_transform_factory(ax.transData, ax.transAxes),
                ha="center", va="center", rotation=90 if narrow else 0, fontsize=plt.rcParams["font.size"] * 0.8,
                color="0.2", bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5},
            )  # fmt: skip
        start += count


def mark_global(ax: Axes, rows: pd.DataFrame) -> None:
    """A bar at the bottom under the layers that some global path reaches."""
    reached = np.array([value is True or value is np.True_ for value in rows["is_global"]])
    where = blended_transform_factory(ax.transData, ax.transAxes)
    start, first = 0, True
    for value, group in itertools.groupby(reached):
        count = len(list(group))
        if value:
            ax.add_patch(
                Rectangle(
                    (start - 0.5, 0), count, 0.02, transform=where, facecolor=_GLOBAL, linewidth=0, zorder=3,
                    label="a global path also reaches every pixel" if first else "_global",
                )
            )  # fmt: skip
            first = False
        start += count
