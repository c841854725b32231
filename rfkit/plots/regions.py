"""Region maps above what the dilated convolutions make of them: Fig. 5."""

from __future__ import annotations

import textwrap
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from rfkit._checks import check_choice
from rfkit.plots.styles import SIGNED, signed_norm, style, wrapped
from rfkit.results.regions import RegionMap, RegionMaps

__all__ = ["plot_region_map", "plot_region_maps"]

_ROWS = ("image", "RR: region map", "SR: after the dilated convolution")
_SIZE = 8  # points of text that the sizes in inches are made for
_WIDTH = 1.3  # inches of one column


def plot_region_maps(
    maps: RegionMaps,
    *,
    title: str = "",
    caption: bool = True,
    interpolation: str = "nearest",
    look: str | None = None,
) -> Figure:
    """Fig. 5: in each column the image, a region map (RR) below it, and below that its semantic map (SR).

    Red is positive, blue negative, white zero. Every map has its own scale, symmetric around zero, because maps of
    different blocks differ by orders of magnitude; the number at its lower right is the value of the deepest colour.
    Colours of two maps can therefore not be compared, places can. Each square is one unit of the map.

    Args:
        maps: result of `rfkit.region_maps`.
        title: line above the figure; `maps.note` if not given.
        caption: whether the rule by which channels were chosen is printed below.
        interpolation: matplotlib's, "nearest" shows units as they are, "bilinear" is smoother to look at.
        look: size of text, see `rfkit.style`.

    Returns:
        The figure, not shown or saved.
    """
    count = len(maps.maps)
    height, width = maps.image.shape[:2]
    rows = 3 if any(entry.semantic.size for entry in maps.maps) else 2
    with style(look):
        scale = plt.rcParams["font.size"] / _SIZE
        size = ((0.9 + _WIDTH * count) * scale, (0.75 + rows * (_WIDTH * height / width + 0.12)) * scale)
        figure, axes = plt.subplots(rows, count, figsize=size, squeeze=False, layout="compressed")
        for column, entry in enumerate(maps.maps):
            _image(axes[0][column], maps.image)
            axes[0][column].set_title(_column_title(entry))
            plot_region_map(
                entry, kind="RR", ax=axes[1][column], extent=(0, width, height, 0), interpolation=interpolation
            )
            if rows == 3:
                plot_region_map(
                    entry, kind="SR", ax=axes[2][column], extent=(0, width, height, 0), interpolation=interpolation
                )
        for row in range(rows):
            axes[row][0].set_ylabel("\n".join(textwrap.wrap(_ROWS[row], 16)))
        _colour_bar(figure, axes)
        if title or maps.note:
            figure.suptitle(wrapped(title or maps.note, int(14 * size[0] / scale)))
        if caption:
            text = wrapped(f"Channels: {maps.rule}.", int(17 * size[0] / scale))
            figure.supxlabel(text, fontsize=plt.rcParams["font.size"] * 0.85, color="0.3")
    return figure


def plot_region_map(
    entry: RegionMap,
    *,
    kind: str = "RR",
    ax: Axes | None = None,
    extent: tuple[float | int, ...] | None = None,
    interpolation: str = "nearest",
) -> Axes:
    """One map on a scale symmetric around zero; an empty frame that says so where a block has no semantic map.

    Args:
        entry: one of `RegionMaps.maps`.
        kind: "RR" or "SR".
        ax: axes to draw into; the current ones by default.
        extent: left, right, bottom, top in input pixels; in units of the map if not given.
        interpolation: matplotlib's.
    """
    ax = plt.gca() if ax is None else ax
    _bare(ax)
    check_choice("kind", kind, ("RR", "SR"))
    values = entry.region if kind == "RR" else entry.semantic
    if not values.size:
        ax.text(0.5, 0.5, "no dilated\nconvolution", ha="center", va="center", transform=ax.transAxes, color="0.45")
        if extent is not None:
            ax.set(xlim=extent[:2], ylim=extent[2:], aspect="equal")
        return ax
    norm = signed_norm(values)
    options: dict[str, Any] = {} if extent is None else {"extent": extent}
    ax.imshow(values, cmap=SIGNED, norm=norm, interpolation=interpolation, **options)
    # Below the frame, so that it hides nothing.
    ax.text(
        1, -0.03, f"±{norm.vmax:.2g}", ha="right", va="top", transform=ax.transAxes, color="0.3",
        fontsize=plt.rcParams["font.size"] * 0.8,
    )  # fmt: skip
    return ax


def _column_title(entry: RegionMap) -> str:
    parts = entry.title.split(" · ")
    return f"{parts[0]}\n{' · '.join(parts[1:])}"


def _image(ax: Axes, image: np.ndarray) -> None:
    _bare(ax)
    ax.imshow(image, extent=(0, image.shape[1], image.shape[0], 0))


def _bare(ax: Axes) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set(visible=True, color="0.6", linewidth=0.4)


def _colour_bar(figure: Figure, axes: Any) -> None:
    mappable = ScalarMappable(norm=Normalize(-1, 1), cmap=SIGNED)
    bar = figure.colorbar(mappable, ax=axes, fraction=0.03, pad=0.01, aspect=40, ticks=[-1, 0, 1])
    bar.set_label("value / largest |value| of its map")
    bar.outline.set_linewidth(0.4)
