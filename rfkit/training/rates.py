"""Learned dilation rates in a training run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from rfkit._files import write_text
from rfkit.models.learning_dilations import dilation_rates, has_learned_rates

__all__ = ["RATES", "RateLog"]

RATES = "rates.csv"


class RateLog:
    """The learned dilation rates of a network in the course of a run; nothing where it has none.

    Args:
        model: The network.

    Attributes:
        rows: One a layer and recording: step, layer, branch, rate, bound.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model if has_learned_rates(model) else None
        self.rows: list[dict[str, Any]] = []

    def record(self, step: int) -> None:
        """Add the rates as they are after `step` steps."""
        if self._model is not None:
            rates = dilation_rates(self._model)
            self.rows += [{"step": step, **row} for row in rates.to_dict("records")]

    def write(self, folder: Path) -> None:
        """Write the rows to the run folder, whole."""
        if self.rows:
            write_text(folder / RATES, pd.DataFrame(self.rows).to_csv(index=False, lineterminator="\n"))
