"""The curves of a training, in its run folder."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from rfkit._files import replacing
from rfkit.plots.curves import plot_curves

__all__ = ["draw_run_curves"]


def draw_run_curves(folder: str | Path) -> Path | None:
    """Draw the log of a run folder as `curves.png` in it; None if no epoch is done yet.

    Args:
        folder: what `rfkit.train` wrote, or writes.

    Returns:
        The path of the picture.
    """
    log, path = Path(folder) / "log.csv", Path(folder) / "curves.png"
    frame = pd.read_csv(log) if log.exists() else pd.DataFrame()
    if not len(frame):
        return None
    figure = plot_curves(frame, title=Path(folder).name)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)
    # Left open, a notebook would show it.
    plt.close(figure)
    return path
