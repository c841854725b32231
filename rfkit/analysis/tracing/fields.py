"""Receptive fields as a graph: which units of which earlier maps each unit of a map reads, down to the pixels.

A `Field` stands for the channels of a map that share one receptive field. It knows the maps that it reads and, for
each axis, with which `Taps`. From these reads follow

- the first and the last pixel of every unit inside the image (`terms`), exactly, with all borders;
- the same on a plane without borders, with the holes (`planes`);
- the narrowest and the widest path (`narrow`, `wide`), and whether all paths share centre and stride (`aligned`).

Rows and columns are independent along every single path, so that a path's field is a product of a set of rows and a set
of columns. Only unions of such products are not products again; where that matters a field keeps several terms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from rfkit.analysis.tracing.taps import IDENTITY, Taps

__all__ = ["AXES", "Ends", "Field", "Read", "Strand", "Term", "by_stride", "pixels"]

AXES = ("row", "column")
_NOTHING = np.iinfo(np.int64).max


@dataclass(frozen=True, eq=False)
class Ends:
    """First and last pixel along one axis for each position of a map; first > last where nothing is reached.

    Attributes:
        first, last: pixels inside the image.
        clean: whether no read on the way went over a border.
    """

    first: np.ndarray
    last: np.ndarray
    clean: np.ndarray

    @property
    def empty(self) -> np.ndarray:
        """Positions that reach nothing."""
        return self.first > self.last

    def read(self, taps: Taps, size_out: int) -> Ends:
        """The ends of a map of `size_out` positions that reads this one."""
        if taps.is_identity and size_out == len(self.first):
            return self
        table, clean = taps.table(len(self.first), size_out)
        first = np.append(self.first, _NOTHING)[table].min(axis=1)
        last = np.append(self.last, -1)[table].max(axis=1)
        return Ends(first, last, clean & np.append(self.clean, True)[table].all(axis=1))

    def joined(self, other: Ends) -> Ends:
        """Both together."""
        if other is self:
            return self
        return Ends(np.minimum(self.first, other.first), np.maximum(self.last, other.last), self.clean & other.clean)


@dataclass(frozen=True, eq=False)
class Term:
    """A product of rows and columns, for each unit of a map."""

    rows: Ends
    columns: Ends

    def signature(self) -> tuple[bytes, bytes]:
        """Which units reach nothing; terms that agree in it can be joined without adding a pixel to any hull."""
        return tuple(ends.empty.tobytes() if ends.empty.any() else b"" for ends in (self.rows, self.columns))  # type: ignore[return-value]


# Patterns up to this period are worked out at once, longer ones position by position when asked for: resampling
# to odd sizes again and again multiplies periods.
_AT_ONCE = 128
# Positions over which two long patterns are compared.
_COMPARED = 512


class Strand:
    """The pixels reached along one axis without ends, by a pattern that repeats.

    Position `r + period * m` reaches the pixels of `r`, moved by `shift * m`.

    Attributes:
        period: positions after which the pattern repeats.
        shift: pixels by which it has moved then.
    """

    __slots__ = ("_find", "_found", "period", "shift")

    def __init__(self, period: int, shift: int, find: Callable[[int], tuple[int, int]]) -> None:
        self.period, self.shift = period, shift
        self._find = find
        self._found: dict[int, tuple[int, int]] = {}
        if period <= _AT_ONCE:
            self._found = {residue: find(residue) for residue in range(period)}

    @property
    def stride(self) -> float:
        """Pixels from one position to the next, on average."""
        return self.shift / self.period

    def at(self, position: int) -> tuple[int, int]:
        """What a position reaches, also one outside the map: first pixel, and a set of bits.

        Bit b stands for the pixel `first + b`; no bit is set where nothing is reached.
        """
        repeats, residue = divmod(position, self.period)
        if residue not in self._found:
            self._found[residue] = self._find(residue)
        first, bits = self._found[residue]
        return first + self.shift * repeats, bits

    def size(self) -> int:
        """Pixels from the first to the last, at the position where they are most."""
        return max(self.at(position)[1].bit_length() for position in range(min(self.period, _COMPARED)))

    def centre(self, position: int) -> float:
        """Middle between first and last pixel."""
        first, bits = self.at(position)
        return first + (bits.bit_length() - 1) / 2

    def key(self) -> tuple[int, int, tuple[tuple[int, int], ...]]:
        """What two strands have in common that reach the same."""
        return self.period, self.shift, tuple(self.at(place) for place in range(min(self.period, _COMPARED)))

    def read(self, taps: Taps, *, solid: bool = False) -> Strand:
        """What a map reaches that reads this one; `solid` fills the holes."""
        if taps.is_identity:
            return self
        repeats = self.period // math.gcd(self.period, taps.shift) if taps.shift else 1
        shift = self.shift * (taps.shift * repeats) // self.period
        return Strand(
            taps.period * repeats,
            shift,
            lambda position: _union([self.at(place) for place in taps.at(position)], solid),
        )

    def joined(self, other: Strand) -> Strand:
        """Both together; they must have the same stride."""
        if other is self:
            return self
        period = math.lcm(self.period, other.period)
        shift = self.shift * (period // self.period)
        return Strand(period, shift, lambda position: _union([self.at(position), other.at(position)], False))

    def same_centres(self, other: Strand) -> bool:
        """Whether both have the same stride and the same centres."""
        if self.shift * other.period != other.shift * self.period:
            return False
        positions = range(min(math.lcm(self.period, other.period), _COMPARED))
        return all(self.centre(position) == other.centre(position) for position in positions)


def _union(parts: Sequence[tuple[int, int]], solid: bool) -> tuple[int, int]:
    parts = [part for part in parts if part[1]]
    if not parts:
        return 0, 0
    start = min(first for first, _ in parts)
    bits = reduce(int.__or__, (bits << (first - start) for first, bits in parts))
    return start, (1 << bits.bit_length()) - 1 if solid else bits


@dataclass(frozen=True, eq=False)
class Read:
    """One map read by another.

    Attributes:
        source: the field that is read.
        taps: what each row reads and what each column reads.
        is_global: whether the operation takes in the whole map whatever its size (a global path).
    """

    source: Field
    taps: tuple[Taps, Taps] = (IDENTITY, IDENTITY)
    is_global: bool = False


class Field:
    """The receptive field of one or more channels of a map.

    Attributes:
        size: (rows, columns) of the map.
        reads: what it reads; empty for the image itself.
        label: what made it, for messages and lists of paths.
        terms: ends over local paths; empty if only global paths reach the map, or nothing does.
        global_terms: ends over paths with a global operation in them.
        planes: per axis the strands over local paths, one per stride.
        narrow, wide: per axis the narrowest and the widest local path; None without one.
        aligned: per axis whether all local paths share centre and stride.
    """

    __slots__ = ("aligned", "global_terms", "label", "narrow", "planes", "reads", "size", "terms", "wide")

    def __init__(self, size: tuple[int, int], reads: Iterable[Read], label: str = "") -> None:
        self.size = size
        self.reads = tuple(reads)
        self.label = label
        local = [read for read in self.reads if not read.is_global and read.source.terms]
        self.terms: tuple[Term, ...] = _merged(
            _read_term(term, read.taps, size) for read in local for term in read.source.terms
        )
        self.global_terms: tuple[Term, ...] = _merged(
            _read_term(term, read.taps, size)
            for read in self.reads
            for term in (*read.source.global_terms, *(read.source.terms if read.is_global else ()))
        )
        self.planes: tuple[tuple[Strand, ...], tuple[Strand, ...]]
        self.narrow: tuple[Strand, Strand] | None = None
        self.wide: tuple[Strand, Strand] | None = None
        self.aligned = (True, True)
        if self.terms:
            self._follow(local)
        else:
            self.planes = ((), ())

    def _follow(self, local: Sequence[Read]) -> None:
        """Planes, narrowest and widest path and alignment, from the local reads."""
        planes, narrow, wide, aligned = [], [], [], []
        for axis in (0, 1):
            strands = [strand.read(read.taps[axis]) for read in local for strand in read.source.planes[axis]]
            planes.append(by_stride(strands))
            narrow.append(min((_path(read, axis, "narrow") for read in local), key=Strand.size))
            widest = [_path(read, axis, "wide") for read in local]
            wide.append(max(widest, key=Strand.size))
            same = all(strand.same_centres(widest[0]) for strand in widest[1:])
            aligned.append(same and all(read.source.aligned[axis] for read in local))
        self.planes = (planes[0], planes[1])
        self.narrow, self.wide = (narrow[0], narrow[1]), (wide[0], wide[1])
        self.aligned = (aligned[0], aligned[1])

    @property
    def is_global(self) -> bool:
        """Whether a global path leads to it."""
        return bool(self.global_terms)


def pixels(height: int, width: int) -> Field:
    """The field of the image itself: every pixel reaches itself."""
    field = Field((height, width), (), "image")
    ends = [Ends(np.arange(size), np.arange(size), np.ones(size, dtype=bool)) for size in (height, width)]
    field.terms = (Term(*ends),)
    strand = Strand(1, 1, lambda position: (position, 1))
    field.planes = ((strand,), (strand,))
    field.narrow = field.wide = (strand, strand)
    return field


def _read_term(term: Term, taps: tuple[Taps, Taps], size: tuple[int, int]) -> Term:
    return Term(term.rows.read(taps[0], size[0]), term.columns.read(taps[1], size[1]))


def _merged(terms: Iterable[Term]) -> tuple[Term, ...]:
    found: dict[tuple[bytes, bytes], Term] = {}
    for term in terms:
        if term.rows.empty.all() or term.columns.empty.all():
            continue
        key = term.signature()
        before = found.get(key)
        found[key] = Term(before.rows.joined(term.rows), before.columns.joined(term.columns)) if before else term
    return tuple(found.values())


def by_stride(strands: Sequence[Strand]) -> tuple[Strand, ...]:
    """One strand for each stride: strands of different strides have no common period."""
    found: dict[tuple[int, int], Strand] = {}
    for strand in strands:
        common = math.gcd(strand.shift, strand.period)
        key = (strand.shift // common, strand.period // common)
        found[key] = found[key].joined(strand) if key in found else strand
    return tuple(found.values())


def _path(read: Read, axis: int, which: str) -> Strand:
    strands = getattr(read.source, which)
    return strands[axis].read(read.taps[axis], solid=True)
