"""Fig. 1: speed and accuracy on Cityscapes, the points that the paper publishes."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from rfkit.paper.context import Context
from rfkit.paper.published import published
from rfkit.plots.tradeoff import plot_tradeoff
from rfkit.results import Table

__all__ = ["CAPTION", "INPUTS", "NAME", "compute", "draw"]

NAME = "fig1"
CAPTION = (
    "Fig. 1. Speed and accuracy on the Cityscapes test set, as published (Wei et al., DWRSeg, Table 3; one GTX 1080 Ti). "
    "Red: DWRSeg; blue: other methods. † pretrained on ImageNet. In parentheses: parameters in millions. All points are "
    "the paper's; none was measured by this project."
)
INPUTS: tuple[str, ...] = ()

# Where each label goes, from its point, in points (right, up); set by eye, checked for overlaps by a test.
_OFFSETS = {
    "STDC2-Seg75† (14.0)": (0, 5),
    "DWRSeg-L75 (3.53)": (5, 3),
    "DWRSeg-B75 (2.54)": (5, 1),
    "STDC1-Seg75† (9.97)": (5, -4),
    "SFNet(DF1) (9.03)": (5, -4),
    "DF2-Seg (8.55)": (0, 5),
    "DF1-Seg (8.55)": (0, -5),
    "STDC2-Seg50† (14.0)": (0, 5),
    "DWRSeg-L50 (3.53)": (0, 5),
    "BiSeNetV2 (2.33)": (0, -5),
    "STDC1-Seg50† (9.97)": (0, -5),
    "DWRSeg-B50 (2.54)": (0, 5),
    "DABNet (0.76)": (0, 5),
    "ICNet† (26.5)": (0, -5),
}


def compute(context: Context) -> Table:
    """The published points.

    Columns: `label` (as in the figure), `model`, `fps`, `miou` (percent), `params` (millions), `pretrained` (on
    ImageNet), `group` ("highlighted": DWRSeg, "other").
    """
    rows = published("table3")["rows"]
    columns = {
        "label": tuple(f"{row['model']}{'†' if row['pretrained'] else ''} ({row['params']})" for row in rows),
        **{key: tuple(row[key] for row in rows) for key in ("model", "fps", "miou", "params", "pretrained")},
        "group": tuple("highlighted" if row["model"].startswith("DWRSeg") else "other" for row in rows),
    }
    return Table(NAME, columns, CAPTION)


def draw(result: Table) -> Figure:
    """The scatter, one wide column."""
    figure, ax = plt.subplots(figsize=(5.2, 3.9), layout="constrained")
    plot_tradeoff(result, offsets=_OFFSETS, names={"highlighted": "DWRSeg", "other": "other methods"}, ax=ax)
    ax.set(xlim=(0, 350), ylim=(57, 78.5))
    return figure
