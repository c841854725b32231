"""How much each pixel contributed to the score of a class over a region, and how far away that evidence lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rfkit._checks import check_choice
from rfkit.results.base import Result
from rfkit.results.distance import distance_to_region

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Attribution"]


@dataclass(frozen=True, eq=False)
class Attribution(Result):
    """Raw, signed attribution of one score to the pixels of an image, or to the units of a layer.

    Attributes:
        values: (channels, height, width): the image's channels and pixels, or those of a layer (one channel for
            Grad-CAM). Positive where the score is raised.
        image: the image, (height, width, 3), 8 bit.
        class_index: the class whose score is explained.
        class_name: its name; empty if unknown.
        region: boolean mask (height, width) of the pixels over which the score is taken; None for a network that gives
            one score for each class.
        region_name: what was asked for: "predicted", "mask", "pixel (row, column)" or the box in words; empty without
            a region.
        method: name of the method.
        unit: unit of the values, such as "logits", or "logits per unit of input" (the normalised input that the network
            reads); empty if they have none.
        score: score of the class on the image.
        baseline_score: the same on the baseline; None for a method that has none.
        delta: sum of the values, less `score - baseline_score`: zero where attribution is complete; None for a method
            that does not promise it.
        layer: name of the layer that the values belong to; empty for the image.
    """

    values: np.ndarray
    image: np.ndarray
    class_index: int
    class_name: str
    region: np.ndarray | None
    region_name: str
    method: str
    unit: str
    score: float
    baseline_score: float | None = None
    delta: float | None = None
    layer: str = ""

    @property
    def title(self) -> str:
        """Class, region and method, such as "Car at pixel (3, 4) · integrated gradients"."""
        kind = self.region_name.split(" ")[0]
        where = {"pixel": f" at {self.region_name}", "mask": " in a mask", "rows": " in a box"}.get(kind, "")
        parts = [f"{self.class_name or f'class {self.class_index}'}{where}", self.method.replace("_", " "), self.layer]
        return " · ".join(part for part in parts if part)

    def map(self, reduce: str = "sum") -> np.ndarray:
        """One value for each pixel (or unit), (height, width), from those of its channels.

        Args:
            reduce: "sum" (signed; channels of opposite sign cancel), "abs" (sum of absolute values) or "max" (largest
                absolute value).

        Raises:
            ValueError: `reduce` is none of these.
        """
        check_choice("reduce", reduce, ("sum", "abs", "max"))
        if reduce == "sum":
            return self.values.sum(axis=0)
        size = np.abs(self.values)
        return size.sum(axis=0) if reduce == "abs" else size.max(axis=0)

    def distances(self, *, metric: str = "euclidean") -> np.ndarray:
        """The distance of each pixel (or unit) of the map from the region, in pixels of the image; 0 inside.

        A unit is taken to lie in the middle of its share of the image: the map is laid over the image, edge to edge.

        Args:
            metric: "euclidean" or "chebyshev" (the larger of rows and columns).

        Raises:
            ValueError: there is no region.
        """
        if self.region is None:
            raise ValueError("a network that gives one score for each class has no region to measure distances from.")
        height, width = self.region.shape
        down, across = self.values.shape[1:]
        rows = (np.arange(down) + 0.5) * height / down - 0.5
        columns = (np.arange(across) + 0.5) * width / across - 0.5
        return distance_to_region(self.region, metric=metric, rows=rows, columns=columns)

    def share_within(self, distance: float, *, metric: str = "euclidean", reduce: str = "abs") -> float:
        """The share of the total |attribution| that lies at most `distance` pixels from the region; 0 means inside it.

        Args:
            distance: in pixels of the image.
            metric: see `distances`.
            reduce: see `map`; with "sum" the absolute value is taken after the channels have been added.

        Raises:
            ValueError: there is no region.
        """
        size = np.abs(self.map(reduce)).astype(float)
        return float(size[self.distances(metric=metric) <= distance].sum() / size.sum())

    def distance_holding(self, share: float, *, metric: str = "euclidean", reduce: str = "abs") -> float:
        """The smallest distance from the region, in pixels, within which lies this share of the |attribution|.

        Args:
            share: from 0 to 1.
            metric: see `distances`.
            reduce: see `share_within`.

        Raises:
            ValueError: there is no region, or `share` is outside of 0 to 1.
        """
        if not 0 <= share <= 1:
            raise ValueError(f"share={share!r} must be from 0 to 1.")
        size = np.abs(self.map(reduce)).astype(float).ravel()
        distances = self.distances(metric=metric).ravel()
        order = np.argsort(distances, kind="stable")
        cumulative = np.cumsum(size[order])
        # The last pixels may hold nothing; rounding must not make the last one that does unreachable.
        first = int(np.searchsorted(cumulative, share * cumulative[-1] * (1 - 1e-12)))
        return float(distances[order][min(first, len(order) - 1)])

    def distance_profile(self, *, metric: str = "euclidean", reduce: str = "abs", step: float = 1) -> pd.DataFrame:
        """How the |attribution| is spread over the distance from the region: "how far away is the evidence?".

        Shares are of the whole map, so they do not change when the attribution is rescaled. Compare `cumulative` with
        `area`, which is what an attribution spread evenly over the image would give.

        Args:
            metric: see `distances`.
            reduce: see `share_within`.
            step: width of a ring, in pixels of the image.

        Returns:
            One row per ring, the region itself first. Columns: distance (largest distance of the ring, in pixels; 0 for
            the region); pixels (of the map, in the ring); mass (share of the |attribution| in the ring); cumulative
            (share within the distance); area (share of the map's pixels within the distance).

        Raises:
            ValueError: there is no region, or `step` is not above 0.
        """
        import pandas as pd

        if not step > 0:
            raise ValueError(f"step={step!r} must be above 0.")
        size = np.abs(self.map(reduce)).astype(float).ravel()
        ring = np.ceil(self.distances(metric=metric).ravel() / step - 1e-9).astype(int)
        count = int(ring.max()) + 1
        mass = np.bincount(ring, weights=size, minlength=count) / size.sum()
        pixels = np.bincount(ring, minlength=count)
        return pd.DataFrame(
            {
                "distance": np.arange(count) * step,
                "pixels": pixels,
                "mass": mass,
                "cumulative": mass.cumsum(),
                "area": pixels.cumsum() / pixels.sum(),
            }
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per channel and pixel (or unit of the layer).

        Columns: class_index; class_name; method; channel; row; column; value (see `unit`).
        """
        import pandas as pd

        channel, row, column = np.indices(self.values.shape)
        return pd.DataFrame(
            {
                "class_index": self.class_index,
                "class_name": self.class_name,
                "method": self.method,
                "channel": channel.ravel(),
                "row": row.ravel(),
                "column": column.ravel(),
                "value": self.values.ravel(),
            }
        )
