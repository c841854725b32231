"""Which positions along one axis an operation reads, for each position that it writes.

Convolution, pooling, resampling, padding, slicing: along an axis each of them is a pattern that repeats. One
description of the pattern serves all questions asked of it: first and last pixel, holes, numbers of paths.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

__all__ = ["IDENTITY", "Taps", "adaptive", "constant", "explicit", "resample", "shifted", "transposed", "window"]

_BORDERS = ("drop", "clamp", "reflect", "wrap")


@dataclass(frozen=True)
class Taps:
    """A repeating pattern of reads along one axis.

    Position `r + period * m` of the output reads the positions `offset + shift * m` of the input, for every `offset` in
    `offsets[r]` and every whole number `m`.

    Attributes:
        period: output positions after which the pattern repeats, at least 1.
        shift: input positions by which it has moved then; 0 if all repeats read the same.
        offsets: for each of the `period` positions, what it reads.
        border: what stands for a position outside the input: "drop" nothing (zeros, or padding that is left out),
            "clamp" the nearest position, "reflect" its mirror image, "wrap" the other end.
    """

    period: int
    shift: int
    offsets: tuple[tuple[int, ...], ...]
    border: str = "drop"

    def __post_init__(self) -> None:
        assert self.period == len(self.offsets) >= 1, self
        assert self.border in _BORDERS, self.border

    @property
    def is_identity(self) -> bool:
        """Whether every position reads itself alone."""
        return self.period == self.shift == 1 and self.offsets == ((0,),)

    def at(self, position: int) -> list[int]:
        """What output `position` reads on an axis without ends."""
        repeats, residue = divmod(position, self.period)
        return [offset + self.shift * repeats for offset in self.offsets[residue]]

    def table(self, size_in: int, size_out: int) -> tuple[np.ndarray, np.ndarray]:
        """What each of `size_out` positions reads on an input of `size_in` positions.

        Returns:
            The positions read, (size_out, most reads of a position), -1 where there is none; and for each output
            position whether all its reads lie inside the input.
        """
        return _table(self, size_in, size_out)


@lru_cache(maxsize=4096)
def _table(taps: Taps, size_in: int, size_out: int) -> tuple[np.ndarray, np.ndarray]:
    most = max(1, *(len(offsets) for offsets in taps.offsets))
    padded = np.zeros((taps.period, most), dtype=np.int64)
    there = np.zeros((taps.period, most), dtype=bool)
    for residue, offsets in enumerate(taps.offsets):
        padded[residue, : len(offsets)] = offsets
        there[residue, : len(offsets)] = True
    repeats, residues = np.divmod(np.arange(size_out), taps.period)
    positions = padded[residues] + taps.shift * repeats[:, None]
    valid = there[residues]
    inside = (positions >= 0) & (positions < size_in)
    clean = (inside | ~valid).all(axis=1)
    if taps.border == "drop":
        valid = valid & inside
    elif taps.border == "clamp":
        positions = positions.clip(0, size_in - 1)
        # Several taps beyond a border are one read of the position at the border.
        repeated = np.zeros_like(valid)
        repeated[:, 1:] = (positions[:, 1:] == positions[:, :-1]) & valid[:, :-1]
        valid = valid & ~repeated
    elif taps.border == "wrap":
        positions = positions % size_in
    else:
        around = max(1, 2 * (size_in - 1))
        positions = positions % around
        positions = np.minimum(positions, around - positions)
    table = np.where(valid, positions, -1)
    table.flags.writeable = clean.flags.writeable = False
    return table, clean


IDENTITY = Taps(1, 1, ((0,),))


def constant(position: int = 0) -> Taps:
    """Every output position reads the one input `position`: a broadcast."""
    return Taps(1, 0, ((position,),))


def shifted(offset: int, *, step: int = 1, border: str = "drop") -> Taps:
    """Output t reads input `step * t + offset`: slicing, padding, cropping, rolling ("wrap")."""
    return Taps(1, step, ((offset,),), border)


def window(kernel: int, *, stride: int = 1, padding: int = 0, dilation: int = 1) -> Taps:
    """A convolution or a pooling window of `kernel` taps, `dilation` apart, `padding` positions before the first."""
    return Taps(1, stride, (tuple(dilation * tap - padding for tap in range(kernel)),))


def transposed(kernel: int, *, stride: int = 1, padding: int = 0, dilation: int = 1) -> Taps:
    """A transposed convolution: input i reaches the outputs `stride * i - padding + dilation * tap`."""
    offsets: list[list[int]] = [[] for _ in range(stride)]
    for residue in range(stride):
        for tap in range(kernel):
            place = residue + padding - dilation * tap
            if place % stride == 0:
                offsets[residue].append(place // stride)
    return Taps(stride, 1, tuple(tuple(sorted(places)) for places in offsets))


def adaptive(size_in: int, size_out: int) -> Taps:
    """Adaptive pooling: output t reads floor(t in / out) to ceil((t + 1) in / out) - 1."""
    if size_in == size_out:
        return IDENTITY
    common = math.gcd(size_in, size_out)
    period, shift = size_out // common, size_in // common
    return Taps(
        period, shift, tuple(tuple(range(t * shift // period, -(-(t + 1) * shift // period))) for t in range(period))
    )


def explicit(reads: Sequence[Sequence[int]], size_in: int) -> Taps:
    """The reads of every output position, listed one by one, in an input of `size_in` positions."""
    return Taps(len(reads), size_in, tuple(tuple(int(place) for place in places) for places in reads))


@lru_cache(maxsize=1024)
def resample(
    size_in: int, size_out: int, *, mode: str, align_corners: bool = False, scale: float | None = None
) -> Taps:
    """Interpolation along one axis; positions that get no weight are not read.

    Args:
        size_in: input positions.
        size_out: output positions.
        mode: "nearest", "nearest-exact", "linear", "cubic", or "linear-antialias", "cubic-antialias".
        align_corners: whether the centres of the corner positions are aligned (linear and cubic).
        scale: output positions per input position, where the caller fixed it and it is not size_out / size_in.
    """
    if size_in == 1:
        return constant()
    step = _step(size_in, size_out, align_corners and mode in ("linear", "cubic"), scale)
    # The pattern repeats after a whole number of input positions.
    period, shift = step.denominator, step.numerator
    if mode == "nearest" or align_corners:
        sources = [step * t for t in range(period)]
    else:
        sources = [step * (t + Fraction(1, 2)) - Fraction(1, 2) for t in range(period)]
    reads = tuple(tuple(_weighted(source, mode, step)) for source in sources)
    return Taps(period, shift, reads, "drop" if mode.endswith("antialias") else "clamp")


def _step(size_in: int, size_out: int, align_corners: bool, scale: float | None) -> Fraction:
    """Input positions from one output position to the next."""
    if align_corners:
        return Fraction(size_in - 1, max(size_out - 1, 1))
    if scale is not None and scale > 0:
        return 1 / Fraction(scale).limit_denominator(10_000)
    return Fraction(size_in, size_out)


def _weighted(source: Fraction, mode: str, step: Fraction) -> list[int]:
    """Input positions with a weight above or below zero at the place `source`."""
    if mode == "nearest":
        return [math.floor(source)]
    if mode == "nearest-exact":
        return [math.floor(source + Fraction(1, 2))]
    reach = {"linear": 1, "cubic": 2}[mode.removesuffix("-antialias")]
    spread = reach * (max(step, Fraction(1)) if mode.endswith("antialias") else 1)
    places = range(math.ceil(source - spread), math.floor(source + spread) + 1)
    stretch = Fraction(spread) / reach
    return [place for place in places if not _is_zero((place - source) / stretch, reach)]


def _is_zero(distance: Fraction, reach: int) -> bool:
    """Whether the interpolation kernel vanishes there: the triangle at 1, the cubic at 1 and 2 too."""
    return abs(distance) >= reach or (reach == 2 and abs(distance) == 1)
