"""Attribution over its image, and how far from the region the evidence lies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib.patheffects as effects
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from rfkit._checks import check_choice
from rfkit.plots.styles import SIGNED, signed_norm, style, wrapped
from rfkit.results.attribution import Attribution

__all__ = ["plot_attribution", "plot_attributions", "plot_distance_profile"]

_GRAY = np.array([0.299, 0.587, 0.114])  # luma of ITU-R BT.601
_REGION = "#117733"  # a green that no signed map and no gray image has
_POINT = 60  # a region smaller than this part of the image's side is marked by a ring
_HALO: list[effects.AbstractPathEffect] = [effects.withStroke(linewidth=2.6, foreground="white")]


def plot_attribution(
    attribution: Attribution,
    *,
    ax: Axes | None = None,
    reduce: str = "sum",
    percentile: float = 99.5,
    limit: float | None = None,
    smooth: float | None = None,
    dim: float = 0.5,
    region: bool = True,
    colour_bar: bool = True,
    title: str | None = None,
) -> Axes:
    """The attribution in signed colours over its image in pale gray, with the region outlined in green.

    Red raises the score, blue lowers it. Small values are transparent, so that the image shows; `dim=1` hides it. The
    scale is symmetric around zero and ends at a percentile of the sizes that are not zero, because a few pixels hold
    values many times larger than the others; arrows at the ends of the colour bar say so.

    Args:
        attribution: result of `rfkit.attribute`.
        ax: axes to draw into; the current ones by default.
        reduce: how channels are put together, see `Attribution.map`.
        percentile: of |value| over pixels with a value, where the colours end; 100 for the largest.
        limit: where the colours end, instead of `percentile`, to compare several maps.
        smooth: standard deviation, in units of the map, of a Gaussian that is laid over it for the eye; 0 for none.
            By default 1/150 of the shorter side for values of pixels, because single pixels of a large image are too
            small to be seen, and none for those of a layer. A line below the map says so.
        dim: how far the gray image is faded to white, 0 to 1.
        region: whether to outline the region.
        colour_bar: whether to draw one.
        title: above the axes; class and method by default.

    Raises:
        ValueError: an argument is outside of its range.
    """
    for name, value, highest in (("percentile", percentile, 100), ("dim", dim, 1)):
        if not 0 <= value <= highest:
            raise ValueError(f"{name}={value!r} must be from 0 to {highest}.")
    if smooth is not None and smooth < 0:
        raise ValueError(f"smooth={smooth!r} must be 0 or above.")
    ax = plt.gca() if ax is None else ax
    deviation = _deviation(attribution, smooth)
    values = _smoothed(attribution.map(reduce), deviation)
    end = _limit(values, percentile) if limit is None else limit
    norm = signed_norm(end)
    height, width = attribution.image.shape[:2]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    gray = attribution.image @ _GRAY
    ax.imshow(255 - (255 - gray) * (1 - dim), cmap="gray", vmin=0, vmax=255, extent=extent)
    # A square root, so that a tenth of the scale can still be seen.
    opacity = np.sqrt(np.minimum(np.abs(values) / norm.vmax, 1))
    ax.imshow(values, cmap=SIGNED, norm=norm, alpha=opacity, extent=extent, interpolation="nearest")
    if region and attribution.region is not None:
        _outline(ax, attribution.region)
    ax.set(xticks=[], yticks=[], xlim=extent[:2], ylim=extent[2:], title=attribution.title if title is None else title)
    for spine in ax.spines.values():
        spine.set(visible=True, color="0.6", linewidth=0.4)
    if deviation:
        # Below the frame, so that it hides nothing.
        ax.text(
            0, -0.03, f"smoothed over {deviation:.2g} px", va="top", transform=ax.transAxes, color="0.3", size="small"
        )
    if colour_bar:
        how = {"sum": "", "abs": ", |sizes| added", "max": ", largest size"}[reduce]
        unit = f" ({attribution.unit})" if attribution.unit else ""
        _colour_bar(ax, values, norm, f"attribution{how}{unit}")
    return ax


def plot_attributions(
    attributions: Sequence[Attribution],
    *,
    columns: int | None = None,
    titles: Sequence[str] | None = None,
    share_scale: bool = False,
    title: str = "",
    look: str | None = None,
    **options: Any,
) -> Figure:
    """A grid of attributions, each as in `plot_attribution`.

    Args:
        attributions: results of `rfkit.attribute`: several methods, classes, regions or networks.
        columns: of the grid; up to three by default.
        titles: one for each; class and method by default.
        share_scale: whether all of them have one scale, which makes colours comparable; only for values of one unit.
        title: line above the figure.
        look: size of text, see `rfkit.style`.
        **options: of `plot_attribution`.

    Returns:
        The figure, not shown or saved.

    Raises:
        ValueError: there is nothing to draw, `titles` has another length, or a shared scale is asked for values of
            different units.
    """
    if not attributions:
        raise ValueError("attributions: got none; give at least one.")
    if titles is not None and len(titles) != len(attributions):
        raise ValueError(f"titles has {len(titles)} entries for {len(attributions)} attributions.")
    if share_scale:
        units = sorted({entry.unit for entry in attributions})
        if len(units) > 1:
            raise ValueError(f"share_scale=True, but the values have different units: {', '.join(map(repr, units))}.")
        smooth = options.get("smooth")
        maps = [_smoothed(entry.map(options.get("reduce", "sum")), _deviation(entry, smooth)) for entry in attributions]
        options.setdefault("limit", max(_limit(values, options.get("percentile", 99.5)) for values in maps))
    wide = min(3, len(attributions)) if columns is None else columns
    rows = math.ceil(len(attributions) / wide)
    height, width = attributions[0].image.shape[:2]
    with style(look):
        scale = plt.rcParams["font.size"] / 8
        size = (2.75 * wide * scale, (2.2 * height / width + 0.5) * rows * scale + (0.3 if title else 0))
        figure, axes = plt.subplots(rows, wide, figsize=size, squeeze=False, layout="compressed")
        for index, ax in enumerate(axes.ravel()):
            if index >= len(attributions):
                ax.remove()
                continue
            # What and where on one line, the method on the next, so that all titles are equally high.
            own = attributions[index].title.replace(" · ", "\n", 1) if titles is None else titles[index]
            plot_attribution(attributions[index], ax=ax, title=own, **options)
        if title:
            figure.suptitle(wrapped(title, int(14 * size[0] / scale)))
    return figure


def plot_distance_profile(
    attributions: Attribution | Sequence[Attribution],
    *,
    ax: Axes | None = None,
    metric: str = "euclidean",
    reduce: str = "abs",
    labels: Sequence[str] | None = None,
    area: bool = True,
    share: float | None = 0.95,
) -> Axes:
    """The share of the |attribution| that lies within each distance from the region: how far away the evidence is.

    A curve that starts high rests on the region itself, one that rises late on what is around it. The dashed line is
    the share of the image's pixels within that distance: a curve along it would be evidence spread evenly.

    Args:
        attributions: one, or several to compare.
        ax: axes to draw into; the current ones by default.
        metric: "euclidean" or "chebyshev", see `Attribution.distances`.
        reduce: how channels are put together, see `Attribution.share_within`.
        labels: one for each; class and method by default.
        area: whether to draw the dashed line; where regions differ, each has its own.
        share: a dot marks the distance that holds this share; None for none.

    Raises:
        ValueError: there is nothing to draw, `labels` has another length, or a network without maps has no region.
    """
    check_choice("metric", metric, ("euclidean", "chebyshev"))
    listed = [attributions] if isinstance(attributions, Attribution) else list(attributions)
    if not listed:
        raise ValueError("attributions: got none; give at least one.")
    if labels is not None and len(labels) != len(listed):
        raise ValueError(f"labels has {len(labels)} entries for {len(listed)} attributions.")
    ax = plt.gca() if ax is None else ax
    # A network without maps has none, and is refused by its profile.
    regions = [np.asarray(entry.region) for entry in listed]
    alike = all(np.array_equal(region, regions[0]) for region in regions)
    for index, entry in enumerate(listed):
        profile = entry.distance_profile(metric=metric, reduce=reduce)
        label = entry.title if labels is None else labels[index]
        far = None if share is None else entry.distance_holding(share, metric=metric, reduce=reduce)
        if share is not None:
            label += f": {100 * share:g} % within {far:.0f} px"
        (line,) = ax.plot(profile["distance"], profile["cumulative"], label=label, zorder=3)
        if far is not None:
            height = np.interp(far, profile["distance"], profile["cumulative"])
            ax.plot(far, height, "o", color=line.get_color(), ms=4, zorder=4)
        if area and not any(np.array_equal(regions[index], region) for region in regions[:index]):
            colour = "0.5" if alike else line.get_color()
            ax.plot(profile["distance"], profile["area"], "--", color=colour, lw=0.8, label="_area")
    if area:
        ax.plot([], [], "--", color="0.5", lw=0.8, label="spread evenly over the image")
    kind = "" if metric == "euclidean" else ", larger of rows and columns"
    ax.set(xlabel=f"distance from the region (px{kind})", ylabel="share of |attribution| within it")
    ax.set(xlim=(0, None), ylim=(0, 1.02))
    # Above the frame, because curves may run anywhere in it.
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
    return ax


def _limit(values: np.ndarray, percentile: float) -> float:
    size = np.abs(values[values != 0])
    return float(np.percentile(size, percentile)) if size.size else 0.0


def _deviation(attribution: Attribution, smooth: float | None) -> float:
    """The Gaussian's standard deviation that `smooth` means; what is under half a pixel is none."""
    if smooth is not None:
        return smooth
    side = min(attribution.image.shape[:2]) / 150
    return 0.0 if attribution.layer or side < 0.5 else side


def _smoothed(values: np.ndarray, deviation: float) -> np.ndarray:
    """`values` under a Gaussian, as if the border pixels went on outside."""
    if not deviation:
        return values
    reach = math.ceil(3 * deviation)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    kernel /= kernel.sum()
    for axis in (0, 1):
        pad = [(reach, reach) if other == axis else (0, 0) for other in (0, 1)]
        padded = np.pad(values, pad, mode="edge")
        values = np.apply_along_axis(np.convolve, axis, padded, kernel, mode="valid")
    return values


def _outline(ax: Axes, region: np.ndarray) -> None:
    """The border of the region between its pixels and the others; a ring where that would be too small to find."""
    inside = np.argwhere(region)
    if (np.ptp(inside, axis=0) < min(region.shape) / _POINT).all():
        row, column = inside.mean(axis=0)
        ax.plot(column, row, "o", ms=9, mfc="none", mec=_REGION, mew=1.2, path_effects=_HALO)
        return
    padded = np.pad(region, 1).astype(float)
    rows, columns = np.arange(-1, region.shape[0] + 1), np.arange(-1, region.shape[1] + 1)
    lines = ax.contour(columns, rows, padded, levels=[0.5], colors=_REGION, linewidths=1.1)
    lines.set_path_effects(_HALO)


def _colour_bar(ax: Axes, values: np.ndarray, norm: Normalize, label: str) -> None:
    # A bar of its own, because that of the picture would be as transparent as it.
    solid = ScalarMappable(norm=norm, cmap=SIGNED)
    clipped = float(np.abs(values).max()) > float(norm.vmax or 0) * (1 + 1e-6)
    bar = ax.figure.colorbar(solid, ax=ax, fraction=0.04, pad=0.02, aspect=25, extend="both" if clipped else "neither")
    bar.outline.set_linewidth(0.4)
    bar.ax.tick_params(labelsize="small")
    bar.set_label(wrapped(label, 32))
