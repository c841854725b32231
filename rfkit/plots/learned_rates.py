"""Where learned dilation rates went, block by block, beside what a probe weighs at the same blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import blended_transform_factory

from rfkit.plots.styles import SIGNED, dilation_colour, signed_norm, style, wrapped

if TYPE_CHECKING:
    from rfkit.results.branches import Ratio
    from rfkit.results.learned_rates import LearnedRates

__all__ = ["plot_agreement", "plot_learned_rates", "plot_learned_rates_by_block", "plot_probe_by_block"]

_OWN = "#222222"
_MARKERS = ("o", "s", "^", "D", "v")
_REFERENCE = "#ee7733"
_STAGES = ("#4477aa", "#ccbb44", "#aa3377", "#228833")
_SPAN = 0.62  # of a block's width, over which starts are spread


def plot_learned_rates_by_block(
    rates: LearnedRates,
    *,
    maps: Mapping[str, tuple[int, int]] | None = None,
    reference: Mapping[str, Sequence[float]] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The axes with a line for each branch from the rate it began with to the rate it learned, block after block.

    Side by side in a block stand the starts, in the colour of the dilation rate they began with, black for the rates of
    the network itself. The dot is the rate learned, its shape the branch.

    Args:
        rates: trainings of one network.
        maps: stage -> (height, width) of its maps, in units: dotted lines mark both, and above the longer side, where
            all taps but the centre read padding, the axes are gray.
        reference: block -> rates that are marked beside the learned ones.
        ax: axes to draw into; the current ones by default.
    """
    ax = plt.gca() if ax is None else ax
    blocks = list(dict.fromkeys(rates.blocks))
    place = {name: index for index, name in enumerate(blocks)}
    columns = len(rates.starts) + (1 if reference else 0)
    steps = (np.arange(columns) - (columns - 1) / 2) * _SPAN / max(columns - 1, 1)
    order = _branch_order(rates)
    for run in rates.runs:
        colour = _colour(run.start)
        for index, block in enumerate(rates.blocks):
            first, last = run.trajectory.rates[[0, -1], index]
            x = place[block] + steps[rates.starts.index(run.start)]
            ax.plot([x, x], [first, last], "-", color=colour, linewidth=0.8, alpha=0.45, solid_capstyle="butt")
            ax.plot(x, last, _MARKERS[order[index] % len(_MARKERS)], color=colour, markersize=3.4, markeredgewidth=0,
                    label=f"_{run.start} {rates.layers[index]}")  # fmt: skip
    for block, values in (reference or {}).items():
        if block in place:
            ax.plot([place[block] + steps[-1]] * len(values), values, "_", color=_REFERENCE, markersize=6,
                    markeredgewidth=1.5, label="_reference")  # fmt: skip
    top = _top(rates, reference)
    ax.set(xlim=(-0.5, len(blocks) - 0.5), ylim=(0.4, top), ylabel="dilation rate (units of the map)")
    _mark_maps(ax, rates, maps or {}, top)
    _name_blocks(ax, blocks, rates)
    return ax


def plot_probe_by_block(rates: LearnedRates, *, measure: str = "weight", ax: Axes | None = None) -> Axes:
    """The axes with the probe's mean weight for each block and dilation rate, against the mean over the block's rates.

    Red: the block listens to the rate more than to the average one; blue: less. The black dot is the mean dilation
    rate, weighted by these means.

    Args:
        rates: with a probe.
        measure: "weight" or "gain".
        ax: axes to draw into; the current ones by default.

    Raises:
        ValueError: there is no probe, or it has no such measure.
    """
    ax = plt.gca() if ax is None else ax
    told = rates.beside_probe(measure)
    assert rates.probe is not None
    table = rates.probe.profile(measure).loc[told["block"]]
    percent = 100 * (table.div(table.mean(axis=1), axis=0) - 1).to_numpy().T
    dilations = table.columns.to_numpy(dtype=float)
    between = (dilations[:-1] + dilations[1:]) / 2
    half = np.diff(dilations).min(initial=2.0) / 2
    edges = np.concatenate([[dilations[0] - half], between, [dilations[-1] + half]])
    mesh = ax.pcolormesh(np.arange(len(table) + 1) - 0.5, edges, percent, cmap=SIGNED, norm=signed_norm(percent),
                         edgecolor="white", linewidth=0.4)  # fmt: skip
    ax.plot(np.arange(len(table)), told["probe"], "o", color="black", markersize=3.4, label="_mean dilation rate")
    bar = ax.figure.colorbar(mesh, ax=ax, pad=0.02, aspect=25)
    bar.set_label("mean |w| against the block's mean (%)" if measure == "weight" else "mean |w| |γ|, likewise (%)")
    bar.outline.set_visible(False)
    ax.set(xlim=(-0.5, len(table) - 0.5), ylabel="dilation rate of the branch")
    ax.set_yticks(dilations)
    _name_blocks(ax, list(table.index), rates)
    return ax


def plot_agreement(rates: LearnedRates, agreement: Ratio, *, measure: str = "weight", ax: Axes | None = None) -> Axes:
    """The axes with a dot for each block: the probe's mean dilation rate across, the mean learned rate upwards.

    Lines span the means of single trainings.

    Args:
        rates: with a probe.
        agreement: what `LearnedRates.agreement` gave, for the title.
        measure: "weight" or "gain".
        ax: axes to draw into; the current ones by default.

    Raises:
        ValueError: there is no probe, or it has no such measure.
    """
    ax = plt.gca() if ax is None else ax
    told = rates.beside_probe(measure)
    for index, (stage, part) in enumerate(told.groupby("stage", sort=False)):
        colour = _STAGES[index % len(_STAGES)]
        ax.vlines(part["probe"], part["low"], part["high"], color=colour, linewidth=0.8, alpha=0.5)
        ax.plot(part["probe"], part["rate"], "o", color=colour, markersize=4, label=str(stage))
    ax.margins(0.12)
    ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(4))
    ax.set(xlabel="the probe's mean dilation rate", ylabel="mean learned rate")
    ax.set_title(f"rank correlation {agreement.value:.2f}\n[{agreement.low:.2f}, {agreement.high:.2f}]")
    if told["stage"].nunique() > 1:
        low, high = ax.get_ylim()
        ax.set_ylim(low, high + 0.2 * (high - low))
        ax.legend(loc="upper center", ncols=2, handletextpad=0.1, columnspacing=0.8, borderpad=0.1)
    return ax


def plot_learned_rates(
    networks: Sequence[LearnedRates],
    *,
    maps: Mapping[str, Mapping[str, tuple[int, int]]] | None = None,
    references: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
    agreements: Mapping[str, Ratio] | None = None,
    notes: Mapping[str, str] | None = None,
    measure: str = "weight",
    reference_name: str = "reference",
    look: str | None = None,
) -> Figure:
    """A row for each network: the rates it learned, the probe beside them, and the two against each other.

    Args:
        networks: trainings, one entry a network.
        maps: network -> stage -> (height, width) of its maps, see `plot_learned_rates_by_block`.
        references: network -> block -> rates.
        agreements: network -> what `LearnedRates.agreement` gave; taken from the network where it is missing.
        notes: network -> a text below its rates.
        measure: of the probe, "weight" or "gain".
        reference_name: what the references are.
        look: size of text, see `rfkit.plots.styles.style`.

    Returns:
        The figure, not shown or saved. Panels of the probe are missing where no network has one.
    """
    probed = any(network.probe is not None for network in networks)
    with style(look):
        scale = plt.rcParams["font.size"] / 8
        widths = [2.6, 2.0, 1.15] if probed else [1.0]
        size = ((10.4 if probed else 6.4) * scale, (3.2 * len(networks) + 0.6) * scale)
        figure, axes = plt.subplots(
            len(networks), len(widths), figsize=size, squeeze=False, layout="constrained", width_ratios=widths
        )
        for row, rates in zip(axes, networks, strict=True):
            mine = (references or {}).get(rates.model)
            plot_learned_rates_by_block(rates, maps=(maps or {}).get(rates.model), reference=mine, ax=row[0])
            row[0].set_title(wrapped(_training(rates), 76), loc="left")
            if rates.model in (notes or {}):
                row[0].set_xlabel(wrapped((notes or {})[rates.model], 88), loc="left", labelpad=20, color="0.25")
            if rates.probe is None:
                for ax in row[1:]:
                    ax.remove()
                continue
            plot_probe_by_block(rates, measure=measure, ax=row[1])
            row[1].set_title("probe: which rates a block listens to", loc="left")
            # The same rate at the same height.
            row[1].set_ylim(row[0].get_ylim())
            found = (agreements or {}).get(rates.model) or rates.agreement(measure)
            plot_agreement(rates, found, measure=measure, ax=row[2])
        _legend(figure, networks, reference_name if references else "")
    return figure


def _training(rates: LearnedRates) -> str:
    seeds = sorted({run.seed for run in rates.runs})
    named = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}"
    return f"{rates.model}, {rates.data} at {rates.width}x{rates.height}, {rates.epochs} epochs, {named}"


def _colour(start: str) -> str:
    return _OWN if start == "own" else dilation_colour(float(start))


def _branch_order(rates: LearnedRates) -> list[int]:
    """Of each layer, which branch of its block it is."""
    seen: dict[str, int] = {}
    order = []
    for block in rates.blocks:
        order.append(seen.get(block, 0))
        seen[block] = order[-1] + 1
    return order


def _top(rates: LearnedRates, reference: Mapping[str, Sequence[float]] | None) -> float:
    shown = [run.trajectory.rates[[0, -1]].max() for run in rates.runs]
    shown += [max(values) for values in (reference or {}).values()]
    return float(max(shown)) * 1.06 + 0.4


def _mark_maps(ax: Axes, rates: LearnedRates, maps: Mapping[str, tuple[int, int]], top: float) -> None:
    """In the columns of each stage, the sides of its maps and the part above them."""
    blocks = list(dict.fromkeys(rates.blocks))
    stage_of = dict(zip(rates.blocks, rates.stages, strict=True))
    for stage, (height, width) in maps.items():
        mine = [index for index, block in enumerate(blocks) if stage_of[block] == stage]
        if not mine:
            continue
        left, right = mine[0] - 0.5, mine[-1] + 0.5
        longer, shorter = max(height, width), min(height, width)
        if longer < top:
            ax.fill_between([left, right], longer, top, color="0.92", zorder=0, linewidth=0, label="_beyond the map")
        for side in {longer, shorter}:
            if side < top:
                ax.hlines(side, left, right, color="0.35", linestyle=":", linewidth=0.9, zorder=1, label="_map")


def _name_blocks(ax: Axes, blocks: Sequence[str], rates: LearnedRates) -> None:
    """The numbers of blocks as ticks, the names of stages below them."""
    stage_of = dict(zip(rates.blocks, rates.stages, strict=True))
    stages = [stage_of[block] for block in blocks]
    ax.set_xticks(range(len(blocks)), [block.removeprefix(f"{stage_of[block]}.") for block in blocks])
    ax.tick_params(axis="x", length=0)
    where = blended_transform_factory(ax.transData, ax.transAxes)
    for stage in dict.fromkeys(stages):
        mine = [index for index, name in enumerate(stages) if name == stage]
        ax.annotate(f"block of {stage}", (float(np.mean(mine)), 0), xycoords=where, xytext=(0, -15),
                    textcoords="offset points", ha="center", va="top")  # fmt: skip
        if mine[0]:
            ax.axvline(mine[0] - 0.5, color="0.6", linewidth=0.6)


def _legend(figure: Figure, networks: Sequence[LearnedRates], reference: str) -> None:
    starts = list(dict.fromkeys(start for network in networks for start in network.starts))
    most = max(max(_branch_order(network)) for network in networks) + 1
    names = {start: "begin with own rates" if start == "own" else f"all begin with {start}" for start in starts}
    entries = [(Line2D([], [], color=_colour(start), linewidth=2), name) for start, name in names.items()]
    entries += [
        (Line2D([], [], color="0.4", marker=_MARKERS[index % len(_MARKERS)], linestyle="", markersize=3.4),
         f"branch {index + 1}")
        for index in range(most)
    ]  # fmt: skip
    entries.append((Line2D([], [], color="0.35", linestyle=":", linewidth=0.9), "height and width of the map"))
    if reference:
        entries.append((Line2D([], [], color=_REFERENCE, marker="_", linestyle="", markersize=6, markeredgewidth=1.5),
                        reference))  # fmt: skip
    handles, labels = zip(*entries, strict=True)
    figure.legend(handles, labels, loc="outside lower center", ncols=4, handletextpad=0.4, columnspacing=1.4)
