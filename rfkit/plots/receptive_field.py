"""Effective receptive fields: maps with the theoretical field and mass contours, and grids of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize, SymLogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, withStroke
from matplotlib.ticker import FuncFormatter

from rfkit._checks import check_positive
from rfkit.plots.boxes import outline
from rfkit.plots.legends import legend_below, shortened
from rfkit.plots.levels import mass_levels, smoothed
from rfkit.plots.styles import SIGNED, style, wrapped
from rfkit.plots.view import View, view_of

if TYPE_CHECKING:
    from rfkit.results.box import Box
    from rfkit.results.effective import EffectiveRF

__all__ = ["field_title", "plot_effective_rf", "plot_effective_rfs"]

_MAP = mpl.colormaps["magma"].with_extremes(bad="0.72", under=mpl.colormaps["magma"](0))
_BOX = "#33bbee"
_STYLES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)))
_MEANING = {
    "abs": "mean |d unit / d pixel|",
    "relu": "mean positive part of d unit / d pixel",
    "square": "mean (d unit / d pixel)²",
    "signed": "mean d unit / d pixel",
}
_COLUMN = 2.25  # inches of a panel, at 8 points of text


def plot_effective_rf(
    rf: EffectiveRF,
    *,
    ax: Axes | None = None,
    log: bool = True,
    decades: float = 4.0,
    contours: Sequence[float] = (0.5, 0.8, 0.95),
    smooth: float | None = None,
    box: bool = True,
    zoom: bool | str = True,
    relative: bool = True,
    norm: Normalize | None = None,
    colorbar: bool = True,
    legend: bool = True,
    title: str | None = None,
) -> Axes:
    """The axes with the map of an effective receptive field, the theoretical one outlined, and contours of its mass.

    Pixels without any gradient are gray. A contour encloses the densest pixels that hold that share of the mass; the
    title gives the side of the smallest centred square that holds 95 % of it, so the two need not look alike.

    Args:
        rf: result of `rfkit.effective_rf` for one layer.
        ax: axes to draw into; the current ones by default.
        log: whether colours follow the logarithm. Only colours: no measure is taken of logarithms.
        decades: powers of ten below the largest value that a logarithmic scale tells apart.
        contours: shares of the mass, each above 0 and below 1; at most three can be told apart by line style.
        smooth: standard deviation, in pixels, of the Gaussian that the map is smoothed with before contours are
            looked for (and for nothing else), because those of a noisy map fall apart into specks. 5 % of the side of
            the 95 % square if not given, and 0 where that is less than half a pixel.
        box: whether the theoretical receptive field is outlined.
        zoom: "box" shows the theoretical field, "mass" the square that holds 99.9 % of the mass, False the whole
            image; True the field, unless it is so much larger than the mass that nothing would be seen.
        relative: whether colours give shares of the largest value. The scale of gradients has no meaning of its own.
        norm: colour scale to use instead of the map's own, of values that are not relative.
        colorbar: whether there is a colour bar.
        legend: whether lines are named below.
        title: text above the axes; layer, theoretical size and side of the 95 % square if not given.

    Raises:
        ValueError: the map is zero everywhere, `contours` holds another share, `zoom` is unknown, or `decades` is not
            above 0.
    """
    check_positive("decades", decades)
    shares = tuple(sorted(contours))
    if not all(0 < share < 1 for share in shares):
        raise ValueError(f"contours={tuple(contours)} must be shares of the mass, each above 0 and below 1.")
    peak = float(np.abs(rf.map).max(initial=0.0))
    if not peak > 0:
        raise ValueError(f"rf of layer {rf.layer!r} is zero everywhere (or NaN): there is nothing to draw.")
    ax = plt.gca() if ax is None else ax
    view = view_of(rf, zoom)
    relative = relative and norm is None
    values = np.asarray(rf.map, float) / (peak if relative else 1.0)
    signed = bool((values < 0).any())
    scale = norm or _norm([values], log=log, decades=decades, signed=signed)
    shown = np.ma.masked_equal(values[view.slices], 0.0)
    picture = ax.imshow(shown, cmap=SIGNED if signed else _MAP, norm=scale, extent=view.extent)
    _draw_contours(ax, rf, view, shares, smooth)
    if box and rf.box is not None:
        outline(ax, rf.box, colour=_BOX, label="_TRF")
        if rf.box.unclipped is not None:
            outline(ax, rf.box.unclipped, colour=_BOX, dashed=True, label="_TRF unclipped")
    for y, x in [part.centre for part in rf.parts] or [rf.centre]:
        ax.plot(
            x, y, marker="+", color="white", markersize=6, markeredgewidth=1, linestyle="none", label="_unit",
            path_effects=[withStroke(linewidth=2.2, foreground="black"), Normal()],
        )  # fmt: skip
    ax.set(xlim=view.extent[:2], ylim=view.extent[2:], xlabel="column (px)", ylabel="row (px)", aspect="equal")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(mpl.ticker.MaxNLocator(4, integer=True))
    ax.set_title(field_title(rf, 38) if title is None else title)
    if colorbar:
        _bar(ax.figure, picture, ax, _label(rf, relative=relative, log=_is_log(scale)), below=_is_log(scale))
    if legend:
        handles, labels = _entries(shares, box=box and rf.box is not None, seen=_seen(rf.box, view))
        legend_below(ax, handles, labels)
    return ax


def plot_effective_rfs(
    rfs: Mapping[str, EffectiveRF],
    *,
    columns: int = 4,
    shared_scale: bool = False,
    shared_view: bool = False,
    log: bool = True,
    decades: float = 4.0,
    contours: Sequence[float] = (0.5, 0.8, 0.95),
    smooth: float | None = None,
    box: bool = True,
    zoom: bool | str = True,
    title: str = "",
    look: str | None = None,
) -> Figure:
    """A grid of effective receptive fields, one panel a layer, as `rfkit.effective_rf` returns them.

    Args:
        rfs: names (titles of the panels) -> fields.
        columns: panels side by side.
        shared_scale: whether one colour means one gradient in all panels; without it, one share of the panel's own
            largest value.
        shared_view: whether all panels show equally many pixels around their unit, so that sizes can be compared.
        log: see `plot_effective_rf`, as for the next five.
        decades: powers of ten that colours tell apart.
        contours: shares of the mass.
        smooth: smoothing before contours are looked for, in pixels.
        box: whether the theoretical receptive field is outlined.
        zoom: what a panel shows.
        title: line above the figure.
        look: size of text, see `rfkit.style`.

    Returns:
        The figure, not shown or saved.

    Raises:
        ValueError: `rfs` is empty, `columns` is not above 0, or a field cannot be drawn.
    """
    if not rfs:
        raise ValueError("rfs is empty; give at least one effective receptive field.")
    check_positive("columns", columns)
    check_positive("decades", decades)
    fields = list(rfs.values())
    signed = any(bool((rf.map < 0).any()) for rf in fields)
    peaks = [1.0 if shared_scale else float(np.abs(rf.map).max()) or 1.0 for rf in fields]
    norm = _norm(
        [np.asarray(rf.map) / peak for rf, peak in zip(fields, peaks, strict=True)],
        log=log, decades=decades, signed=signed,
    )  # fmt: skip
    wide = min(columns, len(fields))
    rows = -(-len(fields) // wide)
    views = [view_of(rf, zoom) for rf in fields]
    half = max(max(view.shape) for view in views) / 2 if shared_view else None
    with style(look):
        scale = plt.rcParams["font.size"] / 8
        size = ((1.1 + _COLUMN * wide) * scale, (0.7 + (_COLUMN + 0.3) * rows) * scale)
        figure, axes = plt.subplots(rows, wide, figsize=size, squeeze=False, layout="compressed")
        for ax, (name, rf), peak in zip(axes.flat, rfs.items(), peaks, strict=False):
            plot_effective_rf(
                rf, ax=ax, log=log, decades=decades, contours=contours, smooth=smooth, box=box,
                zoom=zoom if half is None else False, norm=_scaled(norm, peak), colorbar=False, legend=False,
                title=field_title(rf, 26, name=name),
            )  # fmt: skip
            if half is not None:
                y, x = rf.centre
                ax.set(xlim=(x - half, x + half), ylim=(y + half, y - half), facecolor="0.94")
            index = list(axes.flat).index(ax)
            ax.set(
                xlabel="column (px)" if index + wide >= len(fields) else "", ylabel="" if index % wide else "row (px)"
            )
            ax.tick_params(labelsize=plt.rcParams["font.size"] * 0.8)
        for ax in axes.flat[len(fields) :]:
            ax.remove()
        label = _label(fields[0], relative=not shared_scale, log=log, each=True)
        _bar(figure, ScalarMappable(norm, SIGNED if signed else _MAP), figure.axes, label, below=log and not signed)
        handles, labels = _entries(tuple(sorted(contours)), box=box and any(rf.box is not None for rf in fields))
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 2 + wide if wide > 1 else 2))
        if title:
            figure.suptitle(wrapped(title, int(14 * size[0] / scale)))
    return figure


def field_title(rf: EffectiveRF, width: int = 60, *, name: str = "") -> str:
    """Text such as "layer · TRF 183 px · 95 % in 61 px", in lines of about `width` letters.

    Lines break between the parts alone; of a name longer than a line the end is kept.
    """
    theoretical = "TRF unknown"
    if rf.box is not None:
        whole = rf.box.unclipped or rf.box
        sides = f"{whole.height}" if whole.height == whole.width else f"{whole.height} × {whole.width}"
        theoretical = f"TRF {sides} px"
    if rf.is_global:
        theoretical += " and global"
    side = rf.square_sides((0.95,))[0.95]
    layer = " · ".join(part for part in (name or rf.layer, "" if name else rf.branch) if part)
    sizes = f"{theoretical} · 95 % in {side:.3g} px"
    if len(layer) + len(sizes) + 3 <= width:
        return f"{layer} · {sizes}"
    return f"{shortened(layer, width)}\n{sizes if len(sizes) <= width + 4 else sizes.replace(' · ', chr(10))}"


def _draw_contours(ax: Axes, rf: EffectiveRF, view: View, shares: Sequence[float], smooth: float | None) -> None:
    if not shares:
        return
    sigma = 0.05 * rf.square_sides((0.95,))[0.95] if smooth is None else smooth
    values = smoothed(rf.mass, sigma) if sigma >= 0.5 else rf.mass
    levels = mass_levels(values, shares)
    # Surrounded by zeros, so that contours close at the border of the image.
    padded = np.pad(values[view.slices], 1)
    finer = 1 if sigma >= 0.5 else max(1, 256 // max(padded.shape))
    padded = np.kron(padded, np.ones((finer, finer)))
    y, x = (
        start - 1.5 + (np.arange(count) + 0.5) / finer
        for start, count in zip((view.y0, view.x0), padded.shape, strict=True)
    )
    for level, line in zip(levels, _lines(len(shares)), strict=True):
        drawn = ax.contour(x, y, padded, levels=[level * (1 - 1e-9)], colors="white", linestyles=[line], linewidths=0.9)
        drawn.set_path_effects([withStroke(linewidth=1.8, foreground="0.15"), Normal()])


def _lines(count: int) -> list[Any]:
    return [_STYLES[index % len(_STYLES)] for index in range(count)]


def _norm(values: Sequence[np.ndarray], *, log: bool, decades: float, signed: bool) -> Normalize:
    peak = max(float(np.abs(entry).max(initial=0.0)) for entry in values)
    least = peak * 10.0**-decades
    if signed:
        return SymLogNorm(linthresh=least, vmin=-peak, vmax=peak) if log else Normalize(-peak, peak)
    return LogNorm(least, peak) if log else Normalize(0.0, peak)


def _scaled(norm: Normalize, factor: float) -> Normalize:
    """The scale for values that are `factor` times as large."""
    low, high = float(norm.vmin or 0.0) * factor, float(norm.vmax or 0.0) * factor
    if isinstance(norm, SymLogNorm):
        return SymLogNorm(linthresh=norm.linthresh * factor, vmin=low, vmax=high)
    return type(norm)(low, high)


def _is_log(norm: Normalize) -> bool:
    return isinstance(norm, LogNorm | SymLogNorm)


def _label(rf: EffectiveRF, *, relative: bool, log: bool, each: bool = False) -> str:
    text = _MEANING.get(rf.reduce, "gradient")
    if relative:
        text += "\n/ largest of its map" if each else "\n/ its largest value"
    return f"{text}{', log scale' if log else ''} (gray: zero)"


def _bar(figure: Any, picture: ScalarMappable, axes: Any, label: str, *, below: bool) -> None:
    extend = "min" if below else "neither"
    several = {"aspect": 35, "fraction": 0.03} if isinstance(axes, list) else {"fraction": 0.046}
    bar = figure.colorbar(picture, ax=axes, pad=0.02, extend=extend, **several)
    bar.set_label(label)
    bar.outline.set_linewidth(0.4)
    if below:
        # Mathtext and minor ticks take longer than the rest of the bar, and the explorer draws one at each click.
        bar.minorticks_off()
        bar.ax.yaxis.set_major_formatter(FuncFormatter(_power_of_ten))


def _power_of_ten(value: float, _position: int) -> str:
    """10⁻³ for 0.001; other values as they are.

    Example:
        >>> _power_of_ten(0.001, 0), _power_of_ten(-100.0, 0), _power_of_ten(1.0, 0), _power_of_ten(0.25, 0)
        ('10⁻³', '−10²', '1', '0.25')
    """
    exponent = round(np.log10(abs(value))) if value else 0
    if exponent == 0 or not np.isclose(abs(value), 10.0**exponent):
        return f"{value:.3g}"
    digits = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{'−' if value < 0 else ''}10{digits}"


def _seen(box: Box | None, view: View) -> bool:
    """Whether an edge of the box runs through the view."""
    if box is None:
        return False
    rows = any(view.y0 <= edge <= view.y1 for edge in (box.y0, box.y1)) and box.x0 <= view.x1 and box.x1 >= view.x0
    columns = any(view.x0 <= edge <= view.x1 for edge in (box.x0, box.x1)) and box.y0 <= view.y1 and box.y1 >= view.y0
    return rows or columns


def _entries(shares: Sequence[float], *, box: bool, seen: bool = True) -> tuple[list[Any], list[str]]:
    halo = [withStroke(linewidth=2.6, foreground="0.15"), Normal()]
    handles: list[Any] = [
        Line2D([], [], color="white", linestyle=line, linewidth=1.3, path_effects=halo) for line in _lines(len(shares))
    ]
    labels = [f"{100 * share:.3g} % of the mass" for share in shares]
    if box:
        handles.append(Line2D([], [], color=_BOX, linewidth=2))
        labels.append("theoretical field (TRF)" if seen else "theoretical field: beyond this view")
    handles.append(Line2D([], [], marker="+", color="0.1", linestyle="none", markersize=6, markeredgewidth=1.2))
    labels.append("place of the unit")
    return handles, labels
