"""The cross section of a street, and its average over the footprint of each pixel."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from rfkit.data.scene_classes import Fine
from rfkit.data.scene_layout import Street

__all__ = ["Section"]

_STEP = 1 / 96
_REACH = 48.0
_COUNT = int(2 * _REACH / _STEP)


class Section:
    """What lies at each x of a street, at the pixels of a picture.

    The profiles are kept as running sums, so that the average over any interval is one difference. They are:
    "red", "green", "blue" (albedo), "solid" and "dashed" (lines), "zebra", "own" (the lanes of our direction), "slabs"
    (pavement) and "joints" (between the slabs).

    Args:
        street: the street.
        x: metres to the right, for each pixel of the ground.
        wide: width of a pixel in metres, for each row.
    """

    def __init__(
        self, street: Street, x: Float32[np.ndarray, "height width"], wide: Float32[np.ndarray, "height"]
    ) -> None:
        self._x = (np.arange(_COUNT, dtype=np.float64) + 0.5) * _STEP - _REACH
        fine, profiles = self._surfaces(street)
        profiles |= self._markings(street)
        self._sums = {name: np.concatenate([[0.0], np.cumsum(profile)]) for name, profile in profiles.items()}
        half = (wide / 2)[:, None]
        low, high = self._index(x - half), self._index(x + half)
        self._low = np.clip(low, 0, _COUNT - 1)
        self._high = np.clip(high, self._low + 1, _COUNT)
        self.fine: UInt8[np.ndarray, "height width"] = fine[np.clip(self._index(x), 0, _COUNT - 1)]

    def average(self, name: str) -> Float32[np.ndarray, "height width"]:
        """The mean of a profile over each pixel."""
        sums = self._sums[name]
        return ((sums[self._high] - sums[self._low]) / (self._high - self._low)).astype(np.float32)

    @staticmethod
    def _index(x: np.ndarray) -> Int32[np.ndarray, "height width"]:
        return ((x + _REACH) / _STEP).astype(np.int32)

    def _surfaces(self, street: Street) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        x = self._x
        road = (x > street.kerbs[0]) & (x < street.kerbs[1])
        fine = np.where(road, np.uint8(Fine.ROAD), np.uint8(Fine.PAVEMENT))
        tint = np.array([0.98, 1.0, 1.03]) * street.asphalt
        albedo = np.where(road, tint[:, None], np.array(street.slab_tint)[:, None])
        for lane in street.lanes:
            # Wheels polish two tracks in each lane, and oil drips between them.
            for track in (lane - 0.8, lane + 0.8):
                albedo[:, np.abs(x - track) < 0.28] *= 1.04
            albedo[:, np.abs(x - lane) < 0.2] *= 0.95
        for side, kerb, verge, line in zip((-1, 1), street.kerbs, street.verge, street.lines, strict=True):
            outward = (x - kerb) * side
            albedo[:, (outward > -0.30) & (outward < 0)] *= 0.78
            albedo[:, (outward >= 0) & (outward < 0.07)] *= 0.5
            albedo[:, (outward >= 0.07) & (outward < 0.22)] = np.array([0.72, 0.71, 0.69])[:, None]
            grass = ((outward > 0.22) & (outward < verge)) | ((x - line) * side > 0.3)
            albedo[:, grass] = np.array([0.27, 0.33, 0.14])[:, None]
            fine[grass] = Fine.TERRAIN
        slabs = (fine == Fine.PAVEMENT).astype(np.float64)
        joints = slabs * ((x / street.slab) % 1 < 0.025 / street.slab)
        names = ("red", "green", "blue")
        return fine, {**dict(zip(names, albedo, strict=True)), "slabs": slabs, "joints": joints}

    def _markings(self, street: Street) -> dict[str, np.ndarray]:
        x = self._x
        solid, dashed = np.zeros(_COUNT), np.zeros(_COUNT)
        for side, kerb in zip((-1, 1), street.kerbs, strict=True):
            for number in range(street.edge_lines):
                solid[np.abs(x - kerb + side * (0.35 + 0.25 * number)) < 0.05] = 1
        dashed[np.abs(x - street.centre) < 0.06] = 1
        for first, second in zip(street.lanes, street.lanes[1:], strict=False):
            between = (first + second) / 2
            if abs(first - second) < 4 and abs(between - street.centre) > 0.5:
                dashed[np.abs(x - between) < 0.05] = 1
        road = (x > street.kerbs[0]) & (x < street.kerbs[1])
        zebra = road & (x % 1.1 < 0.55)
        own = road & ((x - street.centre) * street.centre < 0)
        return {"solid": solid, "dashed": dashed, "zebra": zebra * 1.0, "own": own * 1.0}
