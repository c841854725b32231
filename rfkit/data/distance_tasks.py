"""Procedural segmentation tasks in which the distance of the evidence for a pixel is known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from rfkit._checks import check_choice
from rfkit.data.dataset import IGNORE, SPLITS, Dataset, Sample

__all__ = ["KINDS", "DistanceTask", "evidence_kernel", "limited_accuracy", "smooth_noise", "square_window"]

KINDS = ("cue", "noise", "mixture", "null", "size", "period")
"""What a task may be; the first four weigh the pixels of a Gaussian field, so that every bound has a closed form."""

_LENGTHS = {"train": 256, "val": 64, "test": 64, "trainval": 320}
_STREAMS = {"train": 1, "val": 2, "test": 3}
_MIDDLE, _SPREAD = 128, 40  # gray value of zero, and of one standard deviation
_NAMES = {
    "cue": ("dark ring", "bright ring"), "noise": ("dark on average", "bright on average"),
    "mixture": ("dark rings", "bright rings"), "null": ("dark", "bright"),
    "size": ("narrow bar", "wide bar"), "period": ("antiperiodic", "periodic"),
}  # fmt: skip


class DistanceTask(Dataset):
    """Gray images with two classes, whose evidence lies at a distance of r pixels and nowhere nearer.

    Distances are Chebyshev distances, the larger of those in rows and columns, as receptive fields are squares. In
    the first four kinds the image is smooth Gaussian noise f: white noise under a binomial blur of 2 x `smoothness` + 1
    pixels, so that pixels more than 2 x `smoothness` apart are independent. The class is the sign of a weighted sum of
    f:

    - "cue": the eight pixels of a 3x3 kernel with dilation rate r, without its centre. They suffice. Whoever sees
      no further than r - 1 - 2 x `smoothness` sees pixels that are independent of all eight, and guesses; in between
      the blur tells a part, which `limited_accuracy` gives exactly.
    - "noise": the mean of the square of side 2r + 1. Whoever sees less has to do with a less certain mean.
    - "mixture": cues at several distances, each scaled to a variance of 1 and weighed by its share.
    - "null": f at the pixel itself. Context is useless: given that pixel nothing else tells more.

    In the other two every pixel within r - 1 is distributed alike in both classes, so that less than r is a guess:

    - "size": straight bars of 2r - 1 or 2r + 1 pixels' width; only their middle lines are labelled, the rest is
      ignored. All within r - 1 is the bar itself, at distance r lies its background or not.
    - "period": bands of rows. Along a row the image is white noise that repeats after 2r pixels, with its sign or with
      the opposite one. 2r neighbours in a row are independent numbers in both; the pixels r to the left and to the
      right are equal or opposite.

    Pixels nearer than `margin` to the border are ignored, whatever the distance, so that tasks compare.

    Args:
        kind: one of `KINDS`.
        distance: r in pixels, from 1 ("noise": from 0); for "mixture" a mapping from r to its share, which add up to 1;
            for "null" 0.
        split: "train", "val", "test" or "trainval".
        length: number of images; 256, 64, 64 and 320 by default.
        seed: from 0 to 2**32 - 1; another one gives other images.
        size: (height, width) in pixels.
        smoothness: width of the blur, see above; 0 is white noise. "size" blurs its slight noise so, and "period" blurs
            across its rows.
        margin: width of the ignored border in pixels.

    Raises:
        ValueError: an argument is out of range, or `margin` is less than the distance or leaves no pixel.

    Example:
        >>> task = DistanceTask("cue", 5, split="val", length=2)
        >>> tuple(task[0].image.shape), task.classes
        ((3, 64, 64), ('dark ring', 'bright ring'))
    """

    def __init__(
        self,
        kind: str = "cue",
        distance: int | Mapping[int, float | int] = 5,
        *,
        split: str = "train",
        length: int | None = None,
        seed: int = 0,
        size: tuple[int, int] = (64, 64),
        smoothness: int = 1,
        margin: int = 12,
    ) -> None:
        check_choice("kind", kind, KINDS)
        check_choice("split", split, SPLITS)
        count = _LENGTHS[split] if length is None else length
        for name, value, least in (("length", count, 1), ("seed", seed, 0), ("smoothness", smoothness, 0)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name}={value!r} must be a whole number of at least {least}.")
        if seed >= 1 << 32:
            raise ValueError(f"seed={seed!r} must be below 2**32.")
        self.kind, self.distance, self.shares = kind, distance, _shares(kind, distance)
        furthest = max(self.shares)
        if margin < furthest or min(size) <= 2 * margin:
            raise ValueError(
                f"margin={margin!r} must be at least the distance, {furthest}, and less than half of "
                f"size={tuple(size)}."
            )
        self.name, self.split, self.seed = f"distance-{kind}", split, seed
        self.root: Path | None = None
        self.classes = _NAMES[kind]
        self.colours = np.array([[40, 60, 120], [240, 200, 60]], np.uint8)
        self.licence = "drawn by rfkit, no third-party data"
        self.size, self.smoothness, self.margin = (int(size[0]), int(size[1])), smoothness, margin
        self._sources = _sources(split, count)
        self.names = tuple(f"{self.name}-{seed}-{part}-{index:05d}" for part, index in self._sources)

    def __getitem__(self, index: int) -> Sample:
        """Image and label map at `index`; negative indices count from the end."""
        part, number = self._sources[index]
        generator = np.random.Generator(np.random.Philox(key=[self.seed, _STREAMS[part] << 32 | number]))
        draw = {"size": self._bars, "period": self._bands}.get(self.kind, self._weighed)
        gray, label = draw(generator)
        border = np.full(self.size, IGNORE, np.uint8)
        inside = (slice(self.margin, -self.margin or None),) * 2
        border[inside] = label[inside]
        image = torch.from_numpy(gray).expand(3, -1, -1).contiguous()
        return Sample(image=image, label=torch.from_numpy(border), name=self.names[index])

    def _weighed(self, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Smooth noise, and the sign of its weighted sum; of the gray values, so that the image tells it exactly."""
        gray = _gray(smooth_noise(generator, self.size, self.smoothness))
        kernel = evidence_kernel(self.kind, self.shares, self.smoothness)
        reach = len(kernel) // 2
        height, width = self.size
        padded = np.pad(gray.astype(float) - _MIDDLE, reach)
        total = np.zeros(self.size)
        for row, column in zip(*np.nonzero(kernel), strict=True):
            total += kernel[row, column] * padded[row : row + height, column : column + width]
        return gray, (total > 0).astype(np.uint8)

    def _bars(self, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Bars across the image, one beside the other, labelled along their middle lines."""
        radius, side = max(self.shares), max(self.size)
        values = np.zeros(side)
        label = np.full(side, IGNORE, np.uint8)
        start = -int(generator.integers(0, 2 * radius + 3))
        while start < side:
            wide = int(generator.integers(0, 2))
            width = 2 * (radius + wide) - 1
            middle = start + width // 2
            values[max(start, 0) : start + width] = generator.choice([-1, 1]) * generator.uniform(1.0, 1.8)
            if 0 <= middle < side:
                label[middle] = wide
            start += width + int(generator.integers(2, 7))
        noise = 0.1 * smooth_noise(generator, (side, side), self.smoothness)
        bars, labels = values[:, None] + noise, np.repeat(label[:, None], side, axis=1)
        if generator.integers(0, 2):
            bars, labels = bars.T, labels.T
        height, width = self.size
        return _gray(bars[:height, :width]), np.ascontiguousarray(labels[:height, :width])

    def _bands(self, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Bands of rows with a tile of noise that repeats, with its sign or the opposite one."""
        (height, width), period = self.size, 2 * max(self.shares)
        sign = np.empty(height, np.int64)
        bottom = 0
        while bottom < height:
            top, bottom = bottom, bottom + int(generator.integers(6, 13))
            sign[top:bottom] = generator.choice([-1, 1])
        tile = smooth_noise(generator, (height, period), self.smoothness, axes=(0,))
        repeats = np.arange(width) // period
        gray = _gray(np.tile(tile, (1, len(repeats)))[:, :width] * sign[:, None] ** repeats)
        return gray, np.repeat((sign > 0).astype(np.uint8)[:, None], width, axis=1)


def smooth_noise(
    generator: np.random.Generator, size: Sequence[int], smoothness: int, *, axes: Sequence[int] = (0, 1)
) -> np.ndarray:
    """White noise under a binomial blur of 2 x `smoothness` passes of (1, 1) along each axis, with variance 1."""
    passes = 2 * smoothness
    field = generator.standard_normal([side + passes * (axis in axes) for axis, side in enumerate(size)])
    for axis in axes:
        for _ in range(passes):
            field = np.moveaxis(field, axis, 0)
            field = np.moveaxis(field[:-1] + field[1:], 0, axis)
    return field / math.comb(2 * passes, passes) ** (len(axes) / 2)


def evidence_kernel(kind: str, shares: Mapping[int, float], smoothness: int) -> np.ndarray:
    """The weights of the pixels around one, (2r + 1, 2r + 1), in a task that weighs a Gaussian field."""
    reach = max(shares)
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    if kind == "noise":
        return kernel + 1
    for distance, share in shares.items():
        part = np.zeros_like(kernel)
        taps = np.ix_(*[[reach - distance, reach, reach + distance]] * 2) if distance else (reach, reach)
        part[taps] = 1
        part[reach, reach] *= distance == 0
        offsets, weights = _offsets(part)
        kernel += share * part / math.sqrt(weights @ _covariance(offsets, offsets, smoothness) @ weights)
    return kernel


def limited_accuracy(
    kind: str,
    distance: int | Mapping[int, float | int],
    positions: np.ndarray,
    *,
    smoothness: int = 1,
) -> float:
    """The accuracy, in closed form, of the best predictor that sees the image at `positions` around a pixel alone.

    The class is the sign of a Gaussian number, and what is seen is Gaussian too: the best guess is the sign of the
    conditional mean, and right with probability 1 - arccos(c) / pi, where c is the multiple correlation of the two.
    Rounding to gray values is left out.

    Args:
        kind: "cue", "noise", "mixture" or "null".
        distance: as for `DistanceTask`.
        positions: (row, column) offsets from the pixel, (positions, 2); `square_window` gives those of a square.
        smoothness: as for `DistanceTask`.

    Returns:
        From 0.5, a guess, to 1.

    Raises:
        ValueError: `kind` has no closed form, or `distance` does not belong to it.

    Example:
        >>> [round(limited_accuracy("cue", 5, square_window(radius)), 2) for radius in (0, 2, 4, 5)]
        [0.5, 0.5, 0.82, 1.0]
    """
    check_choice("kind", kind, KINDS[:4])
    kernel = evidence_kernel(kind, _shares(kind, distance), smoothness)
    offsets, weights = _offsets(kernel)
    seen = np.atleast_2d(np.asarray(positions))
    variance = weights @ _covariance(offsets, offsets, smoothness) @ weights
    shared = _covariance(seen, offsets, smoothness) @ weights
    solution = np.linalg.lstsq(_covariance(seen, seen, smoothness), shared, rcond=1e-10)[0]
    correlation = math.sqrt(min(1.0, max(0.0, float(shared @ solution / variance))))
    return 1 - math.acos(correlation) / math.pi


def square_window(radius: int, step: int = 1) -> np.ndarray:
    """The (row, column) offsets of a square from -`radius` to `radius`, every `step` pixels, (offsets, 2)."""
    along = np.arange(-radius, radius + 1, step)
    return np.stack(np.meshgrid(along, along, indexing="ij"), axis=-1).reshape(-1, 2)


def _covariance(one: np.ndarray, other: np.ndarray, smoothness: int) -> np.ndarray:
    """Of the smooth noise between two lists of offsets."""
    order = 4 * smoothness
    lags = np.abs(one[:, None] - other[None]).astype(int)
    table = np.array([math.comb(order, order // 2 + lag) for lag in range(order // 2 + 1)] + [0]) / math.comb(
        order, order // 2
    )
    return table[np.minimum(lags, order // 2 + 1)].prod(axis=-1)


def _offsets(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Offsets and weights of what is not zero in a kernel."""
    chosen = np.argwhere(kernel)
    return chosen - len(kernel) // 2, kernel[kernel != 0]


def _gray(values: np.ndarray) -> np.ndarray:
    return (_MIDDLE + _SPREAD * values).round().clip(0, 255).astype(np.uint8)


def _sources(split: str, count: int) -> tuple[tuple[str, int], ...]:
    """Split and number of every image; train then val for trainval."""
    if split != "trainval":
        return tuple((split, number) for number in range(count))
    first = _LENGTHS["train"]
    return tuple(("train", number) if number < first else ("val", number - first) for number in range(count))


def _shares(kind: str, distance: int | Mapping[int, float | int]) -> dict[int, float]:
    """Distance -> its share of the evidence."""
    least = {"null": 0, "noise": 0}.get(kind, 1)
    if kind == "mixture":
        if not isinstance(distance, Mapping) or len(distance) < 2 or not math.isclose(sum(distance.values()), 1):
            raise ValueError(f"distance={distance!r} must be a mapping of two or more distances to shares, sum 1.")
        shares = {key: float(share) for key, share in distance.items()}
    elif isinstance(distance, Mapping):
        raise ValueError(f"distance={distance!r} must be one number of pixels; only a mixture has several.")
    else:
        shares = {distance: 1.0}
    for key, share in shares.items():
        if isinstance(key, bool) or not isinstance(key, int) or key < least or (kind == "null" and key):
            allowed = "0" if kind == "null" else f"a whole number of at least {least}"
            raise ValueError(f"distance={key!r} must be {allowed} for kind={kind!r}.")
        if share <= 0:
            raise ValueError(f"distance={distance!r}: every share must be above 0.")
    return shares
