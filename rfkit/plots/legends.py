"""A legend below the axes, where it hides nothing, and names short enough for a title."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.legend import Legend
from matplotlib.transforms import ScaledTranslation

__all__ = ["legend_below", "shortened"]

_LINES_BELOW = 3.6  # lines of text that tick labels and the axis label take
_LETTER, _HANDLE = 0.6, 4.5  # widths of a letter, and of a handle with its spaces, in sizes of the font


def legend_below(ax: Axes, handles: Sequence[Any], labels: Sequence[str]) -> Legend:
    """The legend, centred below tick labels and axis label whatever the height of the axes.

    Args:
        ax: axes the legend belongs to.
        handles: artists that stand for the entries.
        labels: their texts. As many stand side by side as the axes are wide.
    """
    size = plt.rcParams["font.size"]
    shift = ScaledTranslation(0, -_LINES_BELOW * size / 72, ax.figure.dpi_scale_trans)
    across = ax.get_window_extent().width / ax.figure.dpi * 72
    wide = int(across / (size * 0.9 * (_HANDLE + _LETTER * max(map(len, labels)))))
    return ax.legend(
        list(handles), list(labels), loc="upper center", bbox_to_anchor=(0.5, 0), borderaxespad=0,
        ncols=max(1, min(wide, len(labels))),
        bbox_transform=ax.transAxes + shift,
    )  # fmt: skip


def shortened(name: str, width: int) -> str:
    """`name` in at most `width` letters; of a longer one the end is kept, which tells layers apart.

    Example:
        >>> shortened("backbone.layer4.2.conv", 12)
        '…yer4.2.conv'
    """
    width = max(width, 4)
    return name if len(name) <= width else "…" + name[1 - width :]
