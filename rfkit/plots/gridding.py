"""Holes in the receptive field of a stack of dilated convolutions, layer by layer, beside what the rules say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from rfkit._checks import check_positive
from rfkit.plots.styles import dilation_colour, style, wrapped

if TYPE_CHECKING:
    from rfkit.results.gridding import Gridding, GriddingLayer

__all__ = ["plot_gridding", "plot_griddings", "verdicts"]

_HOLE, _EDGE = "#f9d9d4", "#b2182b"
_CELL = 0.84  # width and height of a cell, in pixels and rows
_GAPLESS = 90  # pixels from which cells touch, because spaces between them would be taken for holes


def plot_gridding(
    gridding: Gridding, *, title: str | None = None, width: int | None = None, ax: Axes | None = None
) -> Axes:
    """The axes with a row of cells for each layer, in colour where the pixel is reached along one axis, pale at holes.

    The first layer is at the bottom, as in drawings of networks. The colour is that of the layer's dilation rate, of
    the largest where it has several. To the right of a row stand its extent and coverage, below the axes the exact
    answer for the whole stack, and what HDC's rule and RegSeg's bound say of it. They may differ from the answer.

    Args:
        gridding: result of `rfkit.gridding`.
        title: text above the axes; the dilation rates if not given.
        width: pixels that the axes span, to compare stacks at one scale; the extent if not given.
        ax: axes to draw into; the current ones by default.
    """
    ax = plt.gca() if ax is None else ax
    layers = gridding.layers
    for row, layer in enumerate(layers):
        _row(ax, row, layer, gapless=(width or gridding.size) > _GAPLESS)
        text = f"{layer.size} px, {_percent(layer.coverage)}"
        ax.text(
            1.01, row, text, transform=ax.get_yaxis_transform(), va="center", fontsize="small",
            color="0.15" if layer.contiguous else _EDGE,
        )  # fmt: skip
    offsets = gridding.offsets
    middle, half = (offsets[0] + offsets[-1]) / 2, (width or gridding.size) / 2
    ax.set(xlim=(middle - half - 0.5, middle + half + 0.5), ylim=(-0.6, len(layers) - 0.4))
    ax.set_yticks(range(len(layers)), [_rates(layer) for layer in layers])
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(9, integer=True))
    ax.set(xlabel="pixel, counted from the one under the unit (px)", ylabel="dilation rate")
    ax.spines["left"].set_visible(False)
    rates = ", ".join(_rates(layer) for layer in layers)
    ax.set_title(f"dilation rates {rates}" if title is None else title)
    ax.annotate(
        verdicts(gridding), (0, 0), xytext=(0, -3.9 * plt.rcParams["font.size"]), xycoords="axes fraction",
        textcoords="offset points", va="top", fontsize="small", linespacing=1.35,
    )  # fmt: skip
    return ax


def plot_griddings(
    griddings: Mapping[str, Gridding] | Sequence[Gridding],
    *,
    title: str = "",
    look: str | None = None,
) -> Figure:
    """Several stacks below each other at one scale, so that their holes can be compared.

    Args:
        griddings: names (titles of the panels) -> results of `rfkit.gridding`, or results alone.
        title: line above the figure.
        look: size of text, see `rfkit.style`.

    Returns:
        The figure, not shown or saved.

    Raises:
        ValueError: `griddings` is empty.
    """
    entries: list[tuple[str | None, Gridding]]
    entries = list(griddings.items()) if isinstance(griddings, Mapping) else [(None, item) for item in griddings]
    check_positive("len(griddings)", len(entries))
    with style(look):
        scale = plt.rcParams["font.size"] / 8
        heights = [1.25 + 0.24 * len(item.layers) for _, item in entries]
        figure, axes = plt.subplots(
            len(entries), 1, figsize=(6.2 * scale, (sum(heights) + 0.45) * scale), squeeze=False, layout="constrained",
            height_ratios=heights,
        )  # fmt: skip
        # The verdicts below one panel must not look like part of the next one's title.
        figure.get_layout_engine().set(hspace=0.12)  # type: ignore[union-attr,call-arg]
        width = max(item.size for _, item in entries)
        for ax, (name, item) in zip(axes[:, 0], entries, strict=True):
            plot_gridding(item, title=name, width=width, ax=ax)
        figure.legend(*_entries(), loc="outside lower center", ncols=2)
        if title:
            figure.suptitle(wrapped(title, 85))
    return figure


def verdicts(gridding: Gridding) -> str:
    """Three lines: the exact answer, HDC's verdict, RegSeg's verdict."""
    exact = "no holes" if gridding.contiguous else f"holes: misses {_missing(gridding.missing)}"
    if gridding.contiguous and gridding.contiguous_2d is False:
        exact = f"no holes along an axis, {1 - gridding.coverage_2d:.2g} of the pixels missed in 2-D"
    rule = "does not apply" + (f" ({gridding.hdc_reason})" if gridding.hdc_reason else "")
    if gridding.hdc is not None:
        kernel = gridding.layers[0].kernels[0]
        sign = "≤" if gridding.hdc else ">"
        rule = f"{'passes' if gridding.hdc else 'fails'} (M2 = {gridding.m2:g} {sign} {kernel})"
    worst = next((layer for layer in gridding.layers if not layer.within_bound), None)
    bound = "passes" if worst is None else f"fails ({worst.dilation} > {worst.bound:.4g} at layer {worst.layer})"
    return "\n".join(
        (
            f"exact: {exact}",
            f"HDC's rule: {rule}{_wrong(gridding.hdc, gridding.contiguous)}",
            f"RegSeg's bound: {bound}{_wrong(worst is None, gridding.contiguous)}",
        )
    )


def _wrong(verdict: bool | None, contiguous: bool) -> str:
    return "" if verdict is None or verdict == contiguous else "  ← differs from the exact answer"


def _row(ax: Axes, row: int, layer: GriddingLayer, *, gapless: bool) -> None:
    """The cells of a layer: reached in the colour of its rate, holes pale with a red edge; runs of them if gapless."""
    support = np.asarray(layer.support, bool)
    spare = 0.0 if gapless else (1 - _CELL) / 2
    starts = np.flatnonzero(np.diff(support.astype(int), prepend=-1)) if gapless else np.arange(len(support))
    ends = np.append(starts[1:], len(support))
    for reached in (True, False):
        cells = [
            Rectangle((layer.first + start - 0.5 + spare, row - _CELL / 2), end - start - 2 * spare, _CELL)
            for start, end in zip(starts, ends, strict=True)
            if support[start] == reached
        ]
        look: dict[str, Any] = {"facecolor": dilation_colour(layer.dilation), "linewidth": 0, "gid": "reached"}
        if not reached:
            look = {"facecolor": _HOLE, "edgecolor": _EDGE, "linewidth": 0 if gapless else 0.7, "gid": "hole"}
        if cells:
            ax.add_collection(PatchCollection(cells, **look))


def _rates(layer: GriddingLayer) -> str:
    text = ", ".join(map(str, layer.dilations))
    stride = f" stride {layer.stride}" if layer.stride > 1 else ""
    return (f"({text})" if len(layer.dilations) > 1 else text) + stride


def _percent(share: float) -> str:
    text = f"{100 * share:.1f}".removesuffix(".0")
    return f"{text} %" if text != "100" or share == 1 else "under 100 %"


def _missing(offsets: Sequence[int]) -> str:
    """The missing pixels, "±4, ±5" where they come in pairs; the first few where there are many."""
    paired = set(offsets) == {-offset for offset in offsets} and 0 not in offsets
    names = [f"±{offset}" for offset in offsets if offset > 0] if paired else [f"{offset:+d}" for offset in offsets]
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return f"{', '.join(names[:6])}{more} px"


def _entries() -> tuple[list[Any], list[str]]:
    handles = [Patch(facecolor="0.5"), Patch(facecolor=_HOLE, edgecolor=_EDGE, linewidth=0.8)]
    return handles, ["pixel reached (colour: dilation rate)", "hole"]
