"""The effective receptive field of a unit: how much each pixel of the image matters to it, and measures of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rfkit.results.base import Result
from rfkit.results.box import Box
from rfkit.results.gaussian import GaussianFit, fit_gaussian
from rfkit.results.mass import SHARES, radius_holding, replknet_areas, square_side_holding

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EffectiveRF"]

# Luo et al. count pixels within two standard deviations of a normal distribution, 95.45 %.
_LUO_LEVEL = 1 - 0.9545


@dataclass(frozen=True, eq=False)
class EffectiveRF(Result):
    """The mean over images of the gradient of a unit with respect to the input, reduced over colour channels.

    Raw numbers: no logarithm, no scaling. All measures but `replknet` are free of scale, and are taken of the absolute
    values of the map (which matters for `reduce="signed"` alone).

    Attributes:
        layer: full name of the layer, or "output".
        units: the (row, column) of each unit in the layer's map; empty where the layer has no map (class logits). With
            several entries, see `parts`.
        map: (height, width) of the image, double precision; zero outside `crop`.
        reduce: "abs", "relu", "square" or "signed": what was summed over the colour channels.
        images: number of images averaged over.
        centre: (row, column) of the middle of the unit's theoretical field, in pixels; for several units their mean.
        map_size: (height, width) of the layer's map; (1, 1) for class logits.
        channels: channels of the unit whose sum was differentiated; None for all of them.
        box: theoretical receptive field, for several units the hull; None where it is unknown.
        is_global: whether a global path lets the unit see every pixel.
        stride: pixels per unit, (down, across); None where unknown.
        placement: how `centre` was found: "graph" by the theoretical field, or, where that is unknown, "proportion" by
            the place of the unit in its map.
        crop: the part of the images that the network was run on; None for the whole.
        reason: why there was no crop; "" if there was one.
        branch: label of the branch through which the gradient flowed; "" for all of the network.
        parts: for a list of units, the field of each of them; `map` is the mean of theirs. Empty for one unit and for
            a mask, whose units were added up before differentiating.
    """

    layer: str
    units: tuple[tuple[int, int], ...]
    map: np.ndarray
    reduce: str
    images: int
    centre: tuple[float | int, float | int]
    map_size: tuple[int, int]
    channels: tuple[int, ...] | None = None
    box: Box | None = None
    is_global: bool = False
    stride: tuple[float | int, float | int] | None = None
    placement: str = "graph"
    crop: Box | None = None
    reason: str = ""
    branch: str = ""
    parts: tuple[EffectiveRF, ...] = ()

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the images."""
        return self.map.shape[0], self.map.shape[1]

    @property
    def cropped(self) -> bool:
        """Whether the network was run on a part of the images only."""
        return self.crop is not None

    @property
    def unit(self) -> tuple[int, int] | None:
        """The unit, (row, column); None where there is none, or more than one."""
        return self.units[0] if len(self.units) == 1 else None

    @property
    def mass(self) -> np.ndarray:
        """The absolute values of the map."""
        return np.abs(self.map)

    @property
    def title(self) -> str:
        """Layer, unit and branch, such as "stage3.1 · unit (4, 7) · d3"."""
        units = f"unit {self.units[0]}" if len(self.units) == 1 else f"{len(self.units)} units" if self.units else ""
        return " · ".join(part for part in (self.layer, units, self.branch) if part)

    def contribution_radius(self, share: float = 0.5) -> float:
        """The radius, in pixels, of the smallest disc around the unit's centre that holds `share` of the mass.

        Raises:
            ValueError: `share` is not above 0 and at most 1.
        """
        return float(radius_holding(self.mass, self.centre, (share,))[0])

    def square_sides(self, shares: Sequence[float] = SHARES) -> dict[float, float]:
        """Share of the mass -> side, in pixels, of the smallest square around the unit's centre that holds it.

        Raises:
            ValueError: a share is not above 0 and at most 1.
        """
        sides = square_side_holding(self.mass, self.centre, shares)
        return {float(share): float(side) for share, side in zip(shares, sides, strict=True)}

    def gaussian(self) -> GaussianFit:
        """Standard deviations of the mass, by its moments and by a least-squares Gaussian."""
        return fit_gaussian(self.mass)

    def effective_side(self, level: float = _LUO_LEVEL) -> float:
        """The square root of the number of pixels whose mass is above `level` times the largest, in pixels.

        Luo et al. (2016) take 1 - 0.9545 of the centre pixel; the largest value stands in for it, because dilation and
        strides can leave the centre pixel itself unreached.

        Raises:
            ValueError: `level` is not between 0 and 1.
        """
        if not 0 <= level < 1:
            raise ValueError(f"level={level!r} must be at least 0 and below 1.")
        peak = self.mass.max()
        return float(np.sqrt(np.count_nonzero(self.mass > level * peak))) if peak > 0 else float("nan")

    def trf_ratio(self, level: float = _LUO_LEVEL) -> float:
        """`effective_side(level)` divided by the side of the square as large as the (clipped) theoretical field.

        NaN where the theoretical field is not known.
        """
        if self.box is None:
            return float("nan")
        return self.effective_side(level) / float(np.sqrt(self.box.height * self.box.width))

    def replknet(self, thresholds: Sequence[float] = (0.20, 0.30, 0.50, 0.99)) -> pd.DataFrame:
        """RepLKNet's published measure, which depends on the scale of gradients; see `rfkit.results.mass`.

        The published script also takes ReLU of the unit and of the gradient, sums over colour channels, and looks at
        unit (height // 2, width // 2): `effective_rf(..., unit=..., reduce="relu", rectify=True)`.

        Columns: threshold; side (pixels) of the square around the middle of the image; area_ratio (its share of the
        image); both NaN where no square of the published series is large enough.

        Raises:
            ValueError: the map holds values of -1 or below (`reduce="signed"`).
        """
        import pandas as pd

        found = replknet_areas(self.map, thresholds)
        return pd.DataFrame({"threshold": list(thresholds), "side": found[:, 0], "area_ratio": found[:, 1]})

    def measures(self, *, replknet: bool = False) -> pd.DataFrame:
        """All measures, one a row; for a list of units, those of each unit.

        Columns: layer; branch; row, column (unit; NaN unless it is a single one); measure; share (of the mass; NaN for
        other measures); value; unit_of_value ("pixels", or "1" for a ratio); scale_free (whether rescaled gradients
        give the same value).

        Measures: contribution_radius, square_side (for 20, 50, 80, 95 and 99 %), moment_sigma_y, moment_sigma_x,
        gaussian_sigma_y, gaussian_sigma_x, gaussian_r2, effective_side, trf_ratio; and with `replknet`, replknet_area
        (share is its threshold).
        """
        import pandas as pd

        if self.parts:
            return pd.concat([part.measures(replknet=replknet) for part in self.parts], ignore_index=True)
        nan, fit, mass = float("nan"), self.gaussian(), self.mass
        rows: list[tuple[str, float, float, str, bool]] = []
        for name, found in (
            ("contribution_radius", radius_holding(mass, self.centre)),
            ("square_side", square_side_holding(mass, self.centre)),
        ):
            rows += [(name, share, float(value), "pixels", True) for share, value in zip(SHARES, found, strict=True)]
        rows += [
            ("moment_sigma_y", nan, fit.moment_sigma_y, "pixels", True),
            ("moment_sigma_x", nan, fit.moment_sigma_x, "pixels", True),
            ("gaussian_sigma_y", nan, fit.sigma_y, "pixels", True),
            ("gaussian_sigma_x", nan, fit.sigma_x, "pixels", True),
            ("gaussian_r2", nan, fit.r2, "1", True),
            ("effective_side", nan, self.effective_side(), "pixels", True),
            ("trf_ratio", nan, self.trf_ratio(), "1", True),
        ]
        if replknet:
            areas = self.replknet()
            pairs = zip(areas["threshold"], areas["area_ratio"], strict=True)
            rows += [("replknet_area", share, area, "1", False) for share, area in pairs]
        frame = pd.DataFrame(rows, columns=["measure", "share", "value", "unit_of_value", "scale_free"])
        row, column = self.unit or (nan, nan)
        for position, (name, value) in enumerate(
            {"layer": self.layer, "branch": self.branch, "row": row, "column": column}.items()
        ):
            frame.insert(position, name, value)
        return frame

    def to_frame(self) -> pd.DataFrame:
        """One row per pixel of the image.

        Columns: layer; branch; y, x (pixel); value (mean over images of the reduced gradient).
        """
        import pandas as pd

        y, x = np.indices(self.map.shape)
        return pd.DataFrame(
            {"layer": self.layer, "branch": self.branch, "y": y.ravel(), "x": x.ravel(), "value": self.map.ravel()}
        )
