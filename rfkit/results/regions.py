"""Region and semantic maps of an image, and the size of their regions."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rfkit.results.base import Result

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RegionMap", "RegionMaps", "RegionStatistics"]


@dataclass(frozen=True, eq=False)
class RegionMap(Result):
    """One map before (RR) and after (SR) the dilated convolution that reads it.

    Attributes:
        stage: stage of the block.
        block: name of the block.
        branch: index of the branch; -1 for a block without branches.
        dilation: dilation rate of the branch; 0 for a block without branches.
        channel: channel of the region map (RR).
        semantic_channel: channel of the semantic map (SR); -1 without one.
        region: the RR map, (height, width).
        semantic: the SR map, or an empty array (0, 0) without one.
        stride: input pixels per unit of the RR map, (down, across).
    """

    stage: str
    block: str
    branch: int
    dilation: int
    channel: int
    semantic_channel: int
    region: np.ndarray
    semantic: np.ndarray
    stride: tuple[float | int, float | int]

    @property
    def title(self) -> str:
        """Block, branch and channel, such as "stage4.1 · d5 · ch 17"."""
        branch = f" · d{self.dilation}" if self.dilation else ""
        return f"{self.block}{branch} · ch {self.channel}"


@dataclass(frozen=True, eq=False)
class RegionMaps(Result):
    """Region and semantic maps of one image, raw numbers.

    Attributes:
        image: the image, (height, width, 3), 8 bit.
        maps: the chosen maps.
        rule: how the channels were chosen.
        note: what a caption must say of image and weights.
    """

    image: np.ndarray
    maps: tuple[RegionMap, ...]
    rule: str
    note: str = ""

    def to_frame(self) -> pd.DataFrame:
        """One row per unit of a map.

        Columns: stage; block; branch (index, -1 without branches); dilation (0 without branches); kind ("RR" or "SR");
        channel; row; column; value (of the feature map, no unit).
        """
        import pandas as pd

        parts = []
        for entry in self.maps:
            for kind, channel, values in (
                ("RR", entry.channel, entry.region),
                ("SR", entry.semantic_channel, entry.semantic),
            ):
                row, column = np.indices(values.shape)
                named = {
                    "stage": entry.stage,
                    "block": entry.block,
                    "branch": entry.branch,
                    "dilation": entry.dilation,
                    "kind": kind,
                }
                units = {"row": row.ravel(), "column": column.ravel(), "value": values.ravel()}
                parts.append(pd.DataFrame({**named, "channel": channel, **units}))
        return pd.concat([part for part in parts if len(part)], ignore_index=True)


@dataclass(frozen=True, eq=False)
class RegionStatistics(Result):
    """Size and number of the activated regions of RR maps: one entry per image, block and channel in every array.

    A unit is activated if its value is above `threshold`; a region is a set of activated units connected through
    neighbours.

    Attributes:
        stage, block, branch, dilation, image, channel: which map; branch -1 and dilation 0 where several branches or
            none read it.
        units: units of the map.
        stride: input pixels per unit along one side.
        active: activated units.
        regions: number of regions.
        largest: units of the largest region.
        scattered: regions that as many activated units form when they lie at random in the map.
        concentration: share of the map's total activation in its strongest tenth of units (0.1 for a flat map, 1 for
            a map that is zero elsewhere); NaN for a map that is zero everywhere.
        threshold: value above which a unit is activated.
        connectivity: 4 (side neighbours) or 8 (also diagonal ones).
    """

    stage: np.ndarray
    block: np.ndarray
    branch: np.ndarray
    dilation: np.ndarray
    image: np.ndarray
    channel: np.ndarray
    units: np.ndarray
    stride: np.ndarray
    active: np.ndarray
    regions: np.ndarray
    largest: np.ndarray
    scattered: np.ndarray
    concentration: np.ndarray
    threshold: float
    connectivity: int

    def to_frame(self) -> pd.DataFrame:
        """One row per image, block and channel.

        Columns: the attributes of the same name, and active_share (active / units), region_size (mean units of a
        region, NaN without one), region_side (side in input pixels of a square of that size) and compactness
        (scattered / regions: 1 if the activated units lie as if at random, larger if they form regions; NaN without a
        region).
        """
        import pandas as pd

        names = [entry.name for entry in dataclasses.fields(self) if entry.name not in ("threshold", "connectivity")]
        frame = pd.DataFrame({name: getattr(self, name) for name in names})
        regions = frame["regions"].where(frame["regions"] > 0)
        frame["active_share"] = frame["active"] / frame["units"]
        frame["region_size"] = frame["active"] / regions
        frame["region_side"] = np.sqrt(frame["region_size"]) * frame["stride"]
        frame["compactness"] = frame["scattered"] / regions
        return frame

    def summary(self) -> pd.DataFrame:
        """Means over images and channels, one row per block and branch, in the order of the network.

        Columns: stage, block, branch, dilation, maps (number of maps), dead_share (share of maps without an activated
        unit), active_share, regions, region_size (units), region_side (input pixels), largest (units), compactness and
        concentration; the means of the last six leave out maps without an activated unit.
        """
        frame = self.to_frame()
        frame["dead_share"] = (frame["active"] == 0).astype(float)
        measures = ["regions", "region_size", "region_side", "largest", "compactness", "concentration"]
        frame[measures] = frame[measures].where(frame["active"] > 0)
        groups = frame.groupby(["stage", "block", "branch", "dilation"], sort=False)
        result = groups[["dead_share", "active_share", *measures]].mean()
        result.insert(0, "maps", groups.size())
        return result.reset_index()
