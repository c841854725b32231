"""A legend below the axes, where it hides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.legend import Legend
from matplotlib.transforms import ScaledTranslation

__all__ = ["legend_below"]

_LINES_BELOW = 3.6  # lines of text that tick labels and the axis label take
_LONG = 32  # letters of a label from which labels stand below each other


def legend_below(ax: Axes, handles: Sequence[Any], labels: Sequence[str], *, columns: int = 3) -> Legend:
    """The legend, centred below tick labels and axis label whatever the height of the axes.

    Args:
        ax: axes the legend belongs to.
        handles: artists that stand for the entries.
        labels: their texts; one of more than 32 letters puts them below each other.
        columns: the most entries side by side.
    """
    size = plt.rcParams["font.size"]
    shift = ScaledTranslation(0, -_LINES_BELOW * size / 72, ax.figure.dpi_scale_trans)
    wide = 1 if max(map(len, labels)) > _LONG else min(len(labels), columns)
    return ax.legend(
        list(handles), list(labels), loc="upper center", bbox_to_anchor=(0.5, 0), borderaxespad=0, ncols=wide,
        bbox_transform=ax.transAxes + shift,
    )  # fmt: skip
