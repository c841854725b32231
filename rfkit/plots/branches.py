"""How much each dilation rate is used: Fig. 8 for any network with parallel branches."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from rfkit._checks import unknown_name
from rfkit.plots.distributions import BranchPanel, BranchPanels, distributions
from rfkit.plots.styles import dilation_colour, dilation_line, style, wrapped
from rfkit.results.branches import BranchStatistic, BranchWeights

__all__ = ["plot_branch_pmf", "plot_branch_weights"]

_AXIS = {
    "weight": "|w| of the 1×1 convolution",
    "gain": "|w| · |γ| of the 1×1 convolution",
    "contribution": "std of a branch's part of the output\n(feature units)",
}
_ITEMS = {"weight": "weights", "gain": "weights", "contribution": "output channels"}
_INITIAL: dict[str, Any] = {"color": "black", "linewidth": 0.8, "linestyle": (0, (3, 2))}
_FILL = 0.2
_COLUMNS = 8
_SIZE = 8  # points of text that the sizes in inches are made for


def plot_branch_weights(
    weights: BranchWeights | BranchPanels,
    *,
    initial: BranchWeights | None = None,
    statistic: BranchStatistic | None = None,
    measure: str | None = None,
    bins: int = 50,
    log: bool = False,
    kind: str = "stages",
    title: str = "",
    look: str | None = None,
) -> Figure:
    """Fig. 8: per stage the distribution of each branch's weights, filled steps for the PMF and curves for the CDF.

    All branches of a panel share their bins, and each one sums to 1; the last bin also counts what lies beyond the axis
    (at most 0.1 % of a branch). A triangle at the upper edge marks the mean. The
    thin dashed line is the distribution of all branches before training: where the filled steps lie on it, training has
    changed nothing, and the figure says nothing of receptive fields.

    Args:
        weights: result of `rfkit.branch_weights`; or ready panels (then `initial`, `measure`, `bins`, `log` and `kind`
            are theirs and must not be given).
        initial: the same for the network before training.
        statistic: ratios and claims that are written below the panels.
        measure: "weight", "gain" or "contribution"; that of `weights` if not given.
        bins: number of bins of each panel.
        log: logarithmic axis of the magnitudes.
        kind: "stages", one panel a stage; or "blocks", small multiples of all blocks.
        title: line above the figure: data, epochs, steps and seed of the training.
        look: size of text, see `rfkit.style`.

    Returns:
        The figure, not shown or saved.

    Raises:
        ValueError: an argument is not allowed, see `rfkit.plots.distributions.distributions`.
    """
    panels = weights if isinstance(weights, BranchPanels) else distributions(
        weights, initial=initial, measure=measure, bins=bins, log=log, kind=kind
    )  # fmt: skip
    with style(look):
        figure = _stages(panels, statistic) if panels.kind == "stages" else _blocks(panels)
        _legend(figure, panels)
        if title:
            figure.suptitle(wrapped(title, int(14 * figure.get_figwidth() * _SIZE / plt.rcParams["font.size"])))
    return figure


def plot_branch_pmf(
    weights: BranchWeights | BranchPanels,
    panel: str,
    *,
    ax: Axes | None = None,
    initial: BranchWeights | None = None,
    measure: str | None = None,
    bins: int = 50,
    log: bool = False,
) -> Axes:
    """One panel of Fig. 8: the PMF on the left axis, the CDF on a second axis at the right.

    Args:
        weights: result of `rfkit.branch_weights`, or ready panels.
        panel: name of a stage (or of whatever the ready panels show).
        ax: axes to draw into; the current ones by default.
        initial: the same for the network before training.
        measure: "weight", "gain" or "contribution"; that of `weights` if not given.
        bins: number of bins.
        log: logarithmic axis of the magnitudes.

    Returns:
        The axes of the PMF. The axes of the CDF lie on them and are found in `figure.axes`.

    Raises:
        ValueError: there is no such panel, or an argument is not allowed.
    """
    panels = weights if isinstance(weights, BranchPanels) else distributions(
        weights, initial=initial, measure=measure, bins=bins, log=log
    )  # fmt: skip
    found = next((entry for entry in panels.panels if entry.name == panel), None)
    if found is None:
        raise unknown_name("panel", panel, [entry.name for entry in panels.panels])
    ax = plt.gca() if ax is None else ax
    right = _draw(ax, found, panels.log)
    ax.set_xlabel(_AXIS[panels.measure])
    ax.set_ylabel(f"share of {_ITEMS[panels.measure]} per bin (PMF)")
    right.set_ylabel("cumulative share (CDF)")
    return ax


def _stages(panels: BranchPanels, statistic: BranchStatistic | None) -> Figure:
    count, notes = len(panels.panels), [_notes(panel.stage, statistic) for panel in panels.panels]
    scale = plt.rcParams["font.size"] / _SIZE
    # A narrow figure needs more lines for its title and legend.
    height = (3.7 if count == 1 else 3.3) + 0.145 * max(len(lines) for lines in notes)
    size = (max(4.4, 0.9 + 2.5 * count) * scale, height * scale)
    figure, axes = plt.subplots(1, count, figsize=size, squeeze=False, layout="constrained")
    for index, (panel, ax) in enumerate(zip(panels.panels, axes[0], strict=True)):
        right = _draw(ax, panel, panels.log)
        ax.set_title(f"{panel.name} · {panel.blocks} block{'s' if panel.blocks > 1 else ''}", pad=10 * scale)
        ax.set_xlabel("\n".join([_AXIS[panels.measure], *notes[index]]))
        if index == 0:
            ax.set_ylabel(f"share of {_ITEMS[panels.measure]} per bin (PMF, steps)")
        if index == count - 1:
            right.set_ylabel("cumulative share (CDF, curves)")
        else:
            right.tick_params(labelright=False)
    return figure


def _blocks(panels: BranchPanels) -> Figure:
    stages = list(dict.fromkeys(panel.stage for panel in panels.panels))
    rows = [
        chunk
        for stage in stages
        for chunk in _chunks([panel for panel in panels.panels if panel.stage == stage], _COLUMNS)
    ]
    columns, scale = max(len(row) for row in rows), plt.rcParams["font.size"] / _SIZE
    size = ((1.0 + 1.3 * columns) * scale, (0.9 + 1.45 * len(rows)) * scale)
    figure, axes = plt.subplots(
        len(rows), columns, figsize=size, squeeze=False, layout="constrained", sharex="row", sharey="row"
    )
    for row, line in zip(rows, axes, strict=True):
        for ax in line[len(row) :]:
            ax.set_axis_off()
        for index, (panel, ax) in enumerate(zip(row, line, strict=False)):
            right = _draw(ax, panel, panels.log, small=True)
            ax.set_title(panel.name, pad=7 * scale)
            # All right axes go from 0 to 1; labels in the last column alone leave the columns equally wide.
            right.tick_params(labelright=index == columns - 1)
        line[0].set_xlim(min(panel.edges[0] for panel in row), max(panel.edges[-1] for panel in row))
        line[0].set_ylim(0, 1.05 * max(float(branch.probability.max()) for panel in row for branch in panel.branches))
    axes[-1][0].set_xlabel(_AXIS[panels.measure].replace("\n", " "), loc="left")
    label = f"share of {_ITEMS[panels.measure]} per bin (PMF, steps)\ncumulative share (CDF, curves, right)"
    figure.supylabel(label, fontsize=plt.rcParams["axes.labelsize"])
    return figure


def _draw(ax: Axes, panel: BranchPanel, log: bool, *, small: bool = False) -> Axes:
    """Draw `panel` into `ax`; the axes of the CDF come back."""
    right = ax.twinx()
    right.spines["right"].set_visible(True)
    for branch in panel.branches:
        colour, line = dilation_colour(branch.dilation), dilation_line(branch.dilation)
        ax.stairs(branch.probability, panel.edges, fill=True, facecolor=colour, alpha=_FILL, label=branch.label)
        ax.stairs(branch.probability, panel.edges, edgecolor=colour, linewidth=0.8)
        # Led to both ends of the axis.
        values = np.concatenate([[panel.edges[0]], branch.values, [max(panel.edges[-1], branch.values[-1])]])
        share = np.concatenate([[0.0], branch.share, [1.0]])
        right.plot(values, share, color=colour, linestyle=line, drawstyle="steps-post", label=branch.label)
        # Above the frame, where it hides nothing.
        ax.plot(
            [branch.mean], [1.025], marker="v", markersize=4 if small else 5, markerfacecolor=colour, clip_on=False,
            markeredgecolor="white", markeredgewidth=0.4, linestyle="none", transform=ax.get_xaxis_transform(),
        )  # fmt: skip
    if panel.initial.size:
        options = {
            "edgecolor": _INITIAL["color"],
            "linewidth": _INITIAL["linewidth"],
            "linestyle": _INITIAL["linestyle"],
        }
        ax.stairs(panel.initial, panel.edges, label="initial", **options)
    if log:
        ax.set_xscale("log")
    else:
        ax.xaxis.set_major_locator(MaxNLocator(3 if small else 5))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    ax.set_xlim((panel.edges[0], panel.edges[-1]))
    # Not by the last bin of the network before training: it holds everything larger, and may dwarf the rest.
    shares = [panel.initial[:-1], *(branch.probability for branch in panel.branches)]
    ax.set_ylim(0, 1.05 * max(float(share.max(initial=0.0)) for share in shares))
    ax.yaxis.set_major_locator(MaxNLocator(3 if small else 5))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g} %"))
    right.set_ylim(0, 1)
    right.set_yticks([0, 0.5, 1] if small else [0, 0.25, 0.5, 0.75, 1])
    # twinx made the new axes the current ones; what the caller draws next belongs into the old ones.
    ax.figure.sca(ax)
    return right


def _notes(stage: str, statistic: BranchStatistic | None) -> list[str]:
    """What the statistic says of a stage, line by line, after an empty line."""
    if statistic is None:
        return []
    claims = [claim for claim in statistic.claims if claim.stage == stage]
    lines = [""]
    for claim in claims:
        # No line may reach the next panel's, also in two columns of a paper.
        told = [f"claim: {claim.statement}", *map(str, claim.ratios), f"→ {claim.verdict}"]
        lines += [line for text in told for line in textwrap.wrap(text, 40)]
    if not claims:
        lines += [str(ratio) for ratio in statistic.ratios if ratio.stage == stage and ratio.name.endswith("/d1")]
    return lines


def _legend(figure: Figure, panels: BranchPanels) -> None:
    rates = {branch.label: branch.dilation for panel in panels.panels for branch in panel.branches}
    handles: list[Any] = [
        (
            Patch(facecolor=dilation_colour(rate), alpha=_FILL),
            Line2D([], [], color=dilation_colour(rate), linestyle=dilation_line(rate)),
        )
        for rate in rates.values()
    ]
    labels = [f"{label} (dilation {rate})" for label, rate in rates.items()]
    handles.append(Line2D([], [], color="0.3", marker="v", linestyle="none", markersize=4.5))
    labels.append("mean")
    if any(panel.initial.size for panel in panels.panels):
        handles.append(Line2D([], [], **_INITIAL))
        labels.append("before training, all branches")
    # As many in a line as fit, at about 1.6 inches each.
    columns = max(1, min(len(labels), int(figure.get_figwidth() * _SIZE / plt.rcParams["font.size"] / 1.6)))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, handlelength=3.2)


def _chunks(panels: Sequence[BranchPanel], size: int) -> list[Sequence[BranchPanel]]:
    return [panels[start : start + size] for start in range(0, len(panels), size)]
