"""Fig. 1: speed and accuracy on Cityscapes, the points that the paper publishes, and ours once both are measured."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from rfkit.paper.context import Context
from rfkit.paper.ours import own_rows
from rfkit.paper.published import published
from rfkit.plots.tradeoff import plot_tradeoff
from rfkit.results.base import Table

__all__ = ["CAPTION", "INPUTS", "NAME", "compute", "draw"]

NAME = "fig1"
CAPTION = (
    "Fig. 1. Speed and accuracy on the Cityscapes test set, as published (Wei et al., DWRSeg, Table 3; one GTX 1080 "
    "Ti). Red: DWRSeg; blue: other methods. † pretrained on ImageNet. In parentheses: parameters in millions. Dots: "
    "the paper's. Diamonds, where there are any: measured by this project, with the device. The vertical axis is "
    "broken."
)
INPUTS = ("weights:*",)

# Where each label goes, from its point, in points (right, up); set by eye, checked for overlaps by a test.
_OFFSETS = {
    "STDC2-Seg75† (14.0)": (0, 5),
    "DWRSeg-L75 (3.53)": (6, 3),
    "DWRSeg-B75 (2.54)": (6, 2),
    "STDC1-Seg75† (9.97)": (6, -2),
    "SFNet(DF1) (9.03)": (6, -3),
    "DF2-Seg (8.55)": (0, 5),
    "DF1-Seg (8.55)": (0, -5),
    "STDC2-Seg50† (14.0)": (0, 5),
    "DWRSeg-L50 (3.53)": (6, 2),
    "BiSeNetV2 (2.33)": (0, -5),
    "STDC1-Seg50† (9.97)": (0, -5),
    "DWRSeg-B50 (2.54)": (0, -5),
    "DFANet A† (7.8)": (6, 0),
    "DFANet B† (4.8)": (6, 0),
    "ENet (0.37)": (6, 0),
    "DABNet (0.76)": (0, 5),
    "ICNet† (26.5)": (0, -5),
}
_NAMES = {"highlighted": "DWRSeg", "other": "other methods", "ours": "this project"}
# Methods below this score lie in the lower part of the broken axis.
_BREAK = 62.0


def compute(context: Context) -> Table:
    """The published points, then those of our weights with a score on Cityscapes and a speed on a GPU at its size.

    Columns: `label` (as in the figure), `model`, `fps`, `miou` (percent), `params` (millions; the paper's only),
    `pretrained` (on ImageNet), `group` ("highlighted": DWRSeg, "other", "ours").
    """
    keys = ("model", "fps", "miou", "params", "pretrained")
    rows = [
        {
            **row,
            "label": f"{row['model']}{'†' if row['pretrained'] else ''} ({row['params']})",
            "group": "highlighted" if row["model"].startswith("DWRSeg") else "other",
        }
        for row in published("table3")["rows"]
    ]
    rows += [
        {**row, "label": f"{row['model']} (rfkit, {row['device']})", "group": "ours", "pretrained": False}
        for row in own_rows(context, "cityscapes")
        if row["fps"] is not None
    ]
    return Table(NAME, {key: tuple(row.get(key) for row in rows) for key in ("label", *keys, "group")}, CAPTION)


def draw(result: Table) -> Figure:
    """The scatter on a broken vertical axis."""
    figure, (upper, lower) = plt.subplots(
        2, 1, figsize=(5.4, 3.9), sharex=True, height_ratios=(7, 1), gridspec_kw={"hspace": 0.09}
    )
    figure.subplots_adjust(left=0.09, right=0.985, top=0.985, bottom=0.115)
    for ax, above in ((upper, True), (lower, False)):
        points = _part(result, above=above)
        offsets = {label: _OFFSETS[label] for label in points.columns["label"] if label in _OFFSETS}
        names = None if above else {group: name for group, name in _NAMES.items() if group in result.columns["group"]}
        plot_tradeoff(points, offsets=offsets, names=names, ax=ax)
    upper.set(xlim=(0, max(365, 1.2 * max(result.columns["fps"]))), ylim=(66.2, 77.9), xlabel="", yticks=range(67, 78))
    lower.set(ylim=(57.5, 59.2), ylabel="", yticks=[58, 59])
    upper.spines["bottom"].set_visible(False)
    upper.tick_params(bottom=False)
    for ax, height in ((upper, 0.0), (lower, 1.0)):
        ax.plot([0], [height], transform=ax.transAxes, marker=[(-1, -0.6), (1, 0.6)], markersize=7, color="black",
                markeredgewidth=0.8, clip_on=False, gid="break")  # fmt: skip
    return figure


def _part(result: Table, *, above: bool) -> Table:
    frame = result.to_frame()
    return Table.from_frame(result.name, frame[(frame["miou"] >= _BREAK) == above])
