"""TensorBoard events, where tensorboard is installed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

__all__ = ["Events"]

_SHOWN = ("loss", "learning_rate", "miou", "images_per_second")


class Events:
    """Writes the rows of the log as scalars into the run folder's `tensorboard`; does nothing without tensorboard.

    Args:
        folder: Run folder.
        enabled: False: do nothing.
        epochs: Epochs in the log so far; events of later ones, from before an interruption, are struck out.
    """

    def __init__(self, folder: Path, *, enabled: bool, epochs: int) -> None:
        self._writer = None
        if not enabled:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=epochs + 1)

    def add(self, row: dict[str, Any]) -> None:
        """Write one epoch's row of the log."""
        if self._writer is None:
            return
        for name in _SHOWN:
            if not math.isnan(row[name]):
                self._writer.add_scalar(name, row[name], row["epoch"])

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()
