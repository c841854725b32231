"""The profile of an effective receptive field along one axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from rfkit._checks import check_choice
from rfkit.plots.legends import legend_below
from rfkit.plots.receptive_field import field_title
from rfkit.plots.view import view_of

if TYPE_CHECKING:
    from rfkit.results.effective import EffectiveRF

__all__ = ["plot_effective_rf_profile"]

_MASS, _FIT, _TRF = "#0077bb", "#cc3311", "#33bbee"
_SUMMED = {"row": "columns", "column": "rows"}


def plot_effective_rf_profile(
    rf: EffectiveRF,
    *,
    axis: str = "row",
    log: bool = False,
    zoom: bool | str = True,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The axes with the share of the mass in each row (or column), the fitted Gaussian and the theoretical extent.

    Everything is summed over the other axis: the mass, and the Gaussian that was fitted to the map in two dimensions.
    A Gaussian that fits the map's peak may therefore lie below a profile with a wide, faint halo.

    Args:
        rf: result of `rfkit.effective_rf` for one layer.
        axis: "row", from top to bottom, or "column", from left to right.
        log: whether shares are on a logarithmic scale.
        zoom: the part of the image shown, as in `plot_effective_rf`.
        title: text above the axes; layer, theoretical size and side of the 95 % square if not given.
        ax: axes to draw into; the current ones by default.

    Raises:
        ValueError: the map is zero everywhere, or `axis` or `zoom` is unknown.
    """
    check_choice("axis", axis, _SUMMED)
    total = float(rf.mass.sum())
    if not total > 0:
        raise ValueError(f"rf of layer {rf.layer!r} is zero everywhere (or NaN): it has no profile.")
    ax = plt.gca() if ax is None else ax
    down = axis == "row"
    shares = rf.mass.sum(axis=1 if down else 0) / total
    edges = np.arange(len(shares) + 1) - 0.5
    ax.stairs(shares, edges, fill=True, color=_MASS, alpha=0.3, label="_filled")
    ax.stairs(shares, edges, color=_MASS, label=f"effective field, summed over {_SUMMED[axis]}", baseline=None)
    view = view_of(rf, zoom)
    left, right = (view.y0, view.y1) if down else (view.x0, view.x1)
    _gaussian(ax, rf, total, down=down, ends=(left - 0.5, right + 0.5))
    _theoretical(ax, rf, down=down)
    ax.axvline(rf.centre[0 if down else 1], color="0.4", linewidth=0.8, linestyle=":", label="place of the unit")
    ax.set(xlim=(left - 0.5, right + 0.5), xlabel=f"{axis} (px)", ylabel=f"share of the mass in a {axis}")
    ax.xaxis.set_major_locator(MaxNLocator(9, integer=True))
    if log:
        ax.set_yscale("log")
        ax.set_ylim(bottom=max(float(shares[shares > 0].min()), float(shares.max()) * 1e-6) / 2)
    else:
        ax.set_ylim(bottom=0)
    ax.margins(y=0.08)
    ax.set_title(field_title(rf, 60) if title is None else title)
    legend_below(ax, *ax.get_legend_handles_labels())
    return ax


def _gaussian(ax: Axes, rf: EffectiveRF, total: float, *, down: bool, ends: tuple[float, float]) -> None:
    """The fitted Gaussian summed over the other axis, as a share of the mass a pixel."""
    fit = rf.gaussian()
    sigma, other = (fit.sigma_y, fit.sigma_x) if down else (fit.sigma_x, fit.sigma_y)
    if not sigma > 0:
        ax.plot([], [], " ", label="one pixel wide: no Gaussian")
        return
    place = np.linspace(*ends, 600)
    across = other * np.sqrt(2 * np.pi) if other > 0 else 1.0
    height = fit.profile("row" if down else "column", place) * across / total
    ax.plot(place, height, color=_FIT, linestyle=(0, (5, 1.5)), label=f"Gaussian, σ = {sigma:.3g} px (R² {fit.r2:.2f})")


def _theoretical(ax: Axes, rf: EffectiveRF, *, down: bool) -> None:
    if rf.box is None:
        return
    whole = rf.box.unclipped or rf.box
    first, last = (whole.y0, whole.y1) if down else (whole.x0, whole.x1)
    ax.axvspan(
        first - 0.5, last + 0.5, facecolor=_TRF, alpha=0.1, edgecolor="none", zorder=0,
        label=f"theoretical field, {last - first + 1} px",
    )  # fmt: skip
    for edge in (first - 0.5, last + 0.5):
        ax.axvline(edge, color=_TRF, linewidth=1, label="_TRF edge")
