"""How learned dilation rates moved during training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rfkit.results.base import Result

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RateTrajectory"]


@dataclass(frozen=True, eq=False)
class RateTrajectory(Result):
    """The learned dilation rates of a network at some steps of its training.

    Attributes:
        steps: (points,) the steps, ascending.
        layers: full names of the convolutions.
        branches: of each, the branch's name, by the rate that it had in the network before: "d3".
        rates: (points, layers) the rates.
        bounds: (points, layers) the largest rates allowed then; infinite without a bound.
    """

    steps: np.ndarray
    layers: tuple[str, ...]
    branches: tuple[str, ...]
    rates: np.ndarray
    bounds: np.ndarray

    def __post_init__(self) -> None:
        shape = (len(self.steps), len(self.layers))
        if self.rates.shape != shape or self.bounds.shape != shape or len(self.branches) != shape[1]:
            raise ValueError(
                f"rates {self.rates.shape}, bounds {self.bounds.shape} and {len(self.branches)} branches must be of "
                f"{shape[0]} steps and {shape[1]} layers."
            )

    @property
    def final(self) -> dict[str, float]:
        """Layer -> its rate at the last step."""
        return dict(zip(self.layers, self.rates[-1].tolist(), strict=True))

    def select(self, layers: str | tuple[str, ...]) -> RateTrajectory:
        """The trajectories of the layers whose names begin with one of `layers`.

        Raises:
            ValueError: there are none.
        """
        begins = (layers,) if isinstance(layers, str) else tuple(layers)
        kept = [
            index
            for index, name in enumerate(self.layers)
            if any(name == begin or name.startswith(f"{begin}.") for begin in begins)
        ]
        if not kept:
            raise ValueError(f"layers={layers!r} begins no layer's name; there are {', '.join(self.layers)}.")
        return RateTrajectory(
            self.steps,
            tuple(self.layers[index] for index in kept),
            tuple(self.branches[index] for index in kept),
            self.rates[:, kept],
            self.bounds[:, kept],
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per step and layer.

        Columns: `step`, `layer` (full name of the convolution), `branch` (such as "d3"), `rate`, `bound`.
        """
        import pandas as pd

        points, count = self.rates.shape
        return pd.DataFrame(
            {
                "step": np.repeat(self.steps, count),
                "layer": list(self.layers) * points,
                "branch": list(self.branches) * points,
                "rate": self.rates.ravel(),
                "bound": self.bounds.ravel(),
            }
        )
