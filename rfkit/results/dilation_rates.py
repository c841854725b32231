"""How learned dilation rates moved during training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rfkit.results.base import Result

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RateTrajectory"]

_COLUMNS = ("step", "layer", "branch", "rate", "bound")


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

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> RateTrajectory:
        """The trajectory that a table holds: what `to_frame` gives, or the `rates.csv` of a run folder.

        Args:
            frame: columns `step`, `layer`, `branch`, `rate` and `bound` (empty, as after reading a CSV, counts as
                infinite), one row per step and layer.

        Raises:
            ValueError: a column is missing, there is no row, a layer has two rows at a step, or none at one.

        Example:
            >>> import pandas as pd
            >>> row = {"layer": "conv", "branch": "d2", "bound": 7}
            >>> frame = pd.DataFrame([{"step": 0, "rate": 2, **row}, {"step": 8, "rate": 3, **row}])
            >>> RateTrajectory.from_frame(frame).final
            {'conv': 3.0}
        """
        missing = [name for name in _COLUMNS if name not in frame]
        if missing or not len(frame):
            what = f"lacks {', '.join(missing)}" if missing else "has no row"
            raise ValueError(f"frame {what}; it must have rows with {', '.join(_COLUMNS)}.")
        # A CSV makes numbers of names such as "0".
        frame = frame.assign(layer=frame["layer"].astype(str))
        layers = tuple(frame["layer"].unique())
        steps = np.sort(frame["step"].unique())
        if frame.duplicated(["step", "layer"]).any() or len(frame) != len(steps) * len(layers):
            raise ValueError(
                f"frame has {len(frame)} rows for {len(steps)} steps and {len(layers)} layers; one for each is needed."
            )
        wide = frame.pivot(index="step", columns="layer")
        return cls(
            steps,
            layers,
            tuple(str(wide["branch"][name].iloc[0]) for name in layers),
            wide["rate"][list(layers)].to_numpy(dtype=float),
            wide["bound"][list(layers)].astype(float).fillna(np.inf).to_numpy(),
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
