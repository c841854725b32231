"""The receptive fields of one layer's output: boxes, supports, and the way from units to pixels and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rfkit.analysis.tracing.fields import Field, Strand, Term, by_stride
from rfkit.analysis.tracing.support import count_paths, reached_units
from rfkit.results.box import Box
from rfkit.results.support import Support

__all__ = ["FieldMap", "TileOverlap", "UnknownFieldError"]


class UnknownFieldError(ValueError):
    """A number was asked for of a layer whose receptive field is not known."""


@dataclass(frozen=True)
class TileOverlap:
    """How tiles must lie for tiled inference to equal inference on the whole image.

    Attributes:
        margin: (rows, columns) of pixels to cut off a tile's output on each side that is not a border of the image.
        alignment: (rows, columns): a tile must begin at a multiple of it, so that its units lie where those of the
            whole image do.
    """

    margin: tuple[int, int]
    alignment: tuple[int, int]

    @property
    def rows(self) -> int:
        """Pixels that tiles one above the other must share: twice the margin."""
        return 2 * self.margin[0]

    @property
    def columns(self) -> int:
        """Pixels that tiles side by side must share: twice the margin."""
        return 2 * self.margin[1]


class FieldMap:
    """The receptive fields of the units of one map. `map[i, j]` is the box of unit (i, j).

    A unit here is a position, all its channels together. Coordinates are (row, column), and negative ones count from
    the end.

    Attributes:
        name: name of the layer.
        size: (rows, columns) of units.
        image_size: (height, width) of the image in pixels.
        status: "exact", "bound" (the boxes contain the fields and may be larger) or "unknown".
        reason: why it is not exact; else "".
    """

    def __init__(
        self,
        name: str,
        fields: Sequence[Field],
        image_size: tuple[int, int],
        *,
        include_global: bool = False,
        turned: bool = False,
        bound: str = "",
        unknown: str = "",
    ) -> None:
        self.name = name
        self.image_size = image_size
        self.status = "unknown" if unknown else "bound" if bound else "exact"
        self.reason = unknown or bound
        self._fields = tuple(fields)
        self._include_global = include_global
        # Whether the rows of the map run along the columns of the image.
        self._turned = turned
        # Finds the same map for an image of another (height, width); set by the graph.
        self.elsewhere: Callable[[Sequence[int]], FieldMap] | None = None

    @property
    def fields(self) -> tuple[Field, ...]:
        """The different fields of its channels.

        Raises:
            UnknownFieldError: nothing is known of the layer.
        """
        if self.status == "unknown":
            raise UnknownFieldError(
                f"the receptive field of {self.name!r} is unknown: {self.reason}. "
                "A rule for an operator of your own is added with @rfkit.rule."
            )
        return self._fields

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns) of units."""
        return self._own(self.fields[0].size)

    def _own(self, pair: tuple[int, int]) -> tuple[int, int]:
        """A pair along the image's rows and columns, in the order of the map's own axes; and the other way round."""
        return (pair[1], pair[0]) if self._turned else pair

    def image_axis(self, axis: int) -> int:
        """The axis of the image (0 rows, 1 columns) along which an axis of the map runs."""
        return 1 - axis if self._turned else axis

    @property
    def is_global(self) -> bool:
        """Whether a global path leads to the map, that is whether its units also depend on the whole image."""
        return any(field.is_global for field in self.fields)

    @property
    def is_local(self) -> bool:
        """Whether boxes are those of local paths: there are some, and global paths are ignored or absent."""
        has_local = any(field.terms for field in self.fields)
        return has_local and not (self._include_global and self.is_global)

    @property
    def terms(self) -> tuple[Term, ...]:
        """The ends over the paths that count here."""
        local = [term for field in self.fields for term in field.terms]
        whole = [term for field in self.fields for term in field.global_terms]
        return tuple(local if self.is_local else local + whole if self._include_global else whole)

    def strands(self, axis: int) -> tuple[Strand, ...]:
        """The strands of all channels along one axis (0 rows, 1 columns); none where only global paths lead."""
        return by_stride([strand for field in self.fields for strand in field.planes[axis]])

    def __repr__(self) -> str:
        return f"FieldMap({self.name!r}, {self.status if self.status == 'unknown' else self.size})"

    # -- boxes ---------------------------------------------------------------------------------------------------------

    def __getitem__(self, unit: tuple[int, int]) -> Box:
        """The box of a unit, clipped to the image; its `unclipped` is that of an image without borders.

        Raises:
            IndexError: there is no such unit.
            UnknownFieldError: nothing is known of the layer.
            ValueError: the unit depends on no pixel, because all it reads is padding.
        """
        row, column = self._own(self.unit_index(unit))
        ends = [
            (term.rows.first[row], term.columns.first[column], term.rows.last[row], term.columns.last[column])
            for term in self.terms
            if not term.rows.empty[row] and not term.columns.empty[column]
        ]
        if not ends:
            raise ValueError(
                f"unit {self._own((row, column))} of {self.name!r} depends on no pixel: all that it reads is padding."
            )
        y0, x0 = (int(min(end[index] for end in ends)) for index in (0, 1))
        y1, x1 = (int(max(end[index] for end in ends)) for index in (2, 3))
        return Box(y0, x0, y1, x1, self._unclipped(row, column))

    def _unclipped(self, row: int, column: int) -> Box | None:
        if not self.is_local:
            return None
        (y0, y1), (x0, x1) = self.hull(0, row), self.hull(1, column)
        return Box(y0, x0, y1, x1)

    def hull(self, axis: int, position: int) -> tuple[int, int]:
        """First and last pixel of a row (axis 0) or column (1) of units, in an image without borders."""
        found = [strand.at(position) for strand in self.strands(axis)]
        ends = [(first, first + bits.bit_length() - 1) for first, bits in found if bits]
        if not ends:
            return 0, -1
        return min(first for first, _ in ends), max(last for _, last in ends)

    def boxes(self) -> np.ndarray:
        """The clipped boxes of all units, (rows, columns, 4): y0, x0, y1, x1; y0 above y1 where nothing is reached."""
        rows, columns = self.fields[0].size
        first = np.full((rows, columns, 2), np.iinfo(np.int64).max)
        last = np.full((rows, columns, 2), -1)
        for term in self.terms:
            there = ~term.rows.empty[:, None] & ~term.columns.empty[None, :]
            for axis, ends in enumerate((term.rows.first[:, None], term.columns.first[None, :])):
                first[..., axis] = np.where(there, np.minimum(first[..., axis], ends), first[..., axis])
            for axis, ends in enumerate((term.rows.last[:, None], term.columns.last[None, :])):
                last[..., axis] = np.where(there, np.maximum(last[..., axis], ends), last[..., axis])
        found = np.concatenate([first, last], axis=2)
        return found.swapaxes(0, 1) if self._turned else found

    def support(self, i: int, j: int) -> Support:
        """The pixels that unit (i, j) really reaches, with the number of paths from each.

        Raises:
            IndexError, UnknownFieldError, ValueError: as for the box of a unit.
        """
        unit = self.unit_index((i, j))
        box = self[unit]
        local = self.is_local
        fields = [field for field in self.fields if field.terms] if local else list(self.fields)
        logs = count_paths(fields, self._own(unit), box, local=local)
        return Support(self.name, unit, box, np.isfinite(logs), logs, self.image_size)

    # -- units and pixels ----------------------------------------------------------------------------------------------

    @property
    def output_stride(self) -> tuple[float, float]:
        """Pixels from one unit to the next, (down, across); the image's size where only global paths lead."""
        strides = []
        for axis in (0, 1):
            wide = next((field.wide[axis] for field in self.fields if field.wide), None)
            strides.append(float(self.image_size[axis]) if wide is None else wide.stride)
        return strides[0], strides[1]

    def pixel(self, i: float, j: float) -> tuple[float, float]:
        """The centre of a unit's field in pixels, (row, column), without clipping; a half where a side is even.

        Raises:
            IndexError, UnknownFieldError: as for the box of a unit.
        """
        unit = self.unit_index((int(i), int(j)))
        if not self.is_local:
            return self[unit].centre
        ends = [self.hull(axis, place) for axis, place in enumerate(self._own(unit))]
        return sum(ends[0]) / 2, sum(ends[1]) / 2

    def unit(self, y: float, x: float) -> tuple[int, int]:
        """The unit whose field's centre is nearest to (y, x) in pixels; of several, the first.

        Raises:
            UnknownFieldError: nothing is known of the layer.
        """
        found = []
        for axis, place in enumerate((y, x)):
            centres = self.centres(axis)
            found.append(int(np.abs(centres - place).argmin()))
        return self._own((found[0], found[1]))

    def centres(self, axis: int) -> np.ndarray:
        """The centre of each row (axis 0) or column (1) of units, in pixels."""
        if not self.is_local:
            return np.full(self.fields[0].size[axis], (self.image_size[axis] - 1) / 2)
        return np.array([sum(self.hull(axis, position)) / 2 for position in range(self.fields[0].size[axis])])

    def units_reached_by(self, y: int, x: int) -> Box:
        """The smallest box of units that holds all units which pixel (y, x) can change.

        Raises:
            ValueError: the pixel lies outside the image, or reaches no unit.
            UnknownFieldError: nothing is known of the layer.
        """
        self._check_pixel(y, x)
        local = self.is_local
        fields = [field for field in self.fields if field.terms] if local else list(self.fields)
        reached = reached_units(fields, (int(y), int(x)), local=local)
        rows, columns = np.nonzero(reached.T if self._turned else reached)
        if not len(rows):
            raise ValueError(f"pixel {(y, x)} reaches no unit of {self.name!r}.")
        return Box(int(rows.min()), int(columns.min()), int(rows.max()), int(columns.max()))

    # -- borders -------------------------------------------------------------------------------------------------------

    def tile_overlap(self) -> TileOverlap:
        """How much tiles must overlap for tiled inference to give what the whole image gives.

        Raises:
            ValueError: no overlap is enough: a global path, or resampling to a size that is no fixed multiple.
            UnknownFieldError: nothing is known of the layer.
        """
        if self.is_global:
            raise ValueError(
                f"a global path leads to {self.name!r}: its units depend on the whole image, not on a tile."
            )
        margins, alignments = [], []
        for axis in (0, 1):
            strands = self.strands(axis)
            if len(strands) > 1 or strands[0].shift <= 0 or strands[0].shift % strands[0].period:
                raise ValueError(
                    f"{self.name!r} resamples to a size that is no fixed multiple of the image's: tiles differ "
                    "from the whole. Take an image size that all strides of the network divide."
                )
            stride = strands[0].shift // strands[0].period
            margin = max(
                max(position * stride - first, last - (position + 1) * stride + 1, 0)
                for position in range(strands[0].period)
                for first, last in [self.hull(axis, position)]
            )
            margins.append(-(-margin // stride) * stride)
            alignments.append(strands[0].shift)
        return TileOverlap((margins[0], margins[1]), (alignments[0], alignments[1]))

    def valid_region(self, size: Sequence[int] | None = None) -> Box:
        """The units that no padding at the image's border can change, as a box of units.

        Args:
            size: (height, width) of the image; that of the trace by default. Another size is traced anew.

        Raises:
            ValueError: no unit is valid, because every field crosses the border.
            UnknownFieldError: nothing is known of the layer.
        """
        if size is not None and tuple(size) != self.image_size:
            assert self.elsewhere is not None
            return self.elsewhere(size).valid_region()
        ends = []
        for axis in (0, 1):
            places = self.inside(axis).nonzero()[0]
            if not len(places):
                raise ValueError(
                    f"no unit of {self.name!r} is valid: every field crosses the border of an image of "
                    f"{self.image_size[0]} x {self.image_size[1]} pixels."
                )
            ends.append((int(places[0]), int(places[-1])))
        (y0, y1), (x0, x1) = (ends[1], ends[0]) if self._turned else (ends[0], ends[1])
        return Box(y0, x0, y1, x1)

    def inside(self, axis: int) -> np.ndarray:
        """For each row (axis 0) or column (1) of units whether no local path to it goes over a border of any map."""
        clean = [(term.rows, term.columns)[axis].clean for field in self.fields for term in field.terms]
        return np.logical_and.reduce(clean) if clean else np.zeros(self.fields[0].size[axis], dtype=bool)

    def unit_index(self, unit: tuple[int, int]) -> tuple[int, int]:
        """`unit` with negative coordinates counted from the end.

        Raises:
            IndexError: it lies outside the map.
        """
        found = []
        for place, length in zip(unit, self.size, strict=True):
            if not -length <= place < length:
                raise IndexError(
                    f"unit {tuple(unit)} is outside the map of {self.name!r}, {self.size[0]} x {self.size[1]}."
                )
            found.append(int(place) % length)
        return found[0], found[1]

    def _check_pixel(self, y: float, x: float) -> None:
        height, width = self.image_size
        if not (0 <= y < height and 0 <= x < width):
            raise ValueError(f"pixel {(y, x)} is outside the image of {height} x {width} pixels.")

    # -- a line of the table -------------------------------------------------------------------------------------------

    def measures(self, axis: int) -> dict[str, object]:
        """The numbers of the table along one axis; see `rfkit.analysis.theoretical.Graph.table`."""
        image, units = self.image_size[axis], self.fields[0].size[axis]
        if not self.is_local:
            return self._whole_measures(axis)
        strands = self.strands(axis)
        narrow = [size for field in self.fields if field.narrow for size in _sizes(field.narrow[axis], units)]
        wide = [size for field in self.fields if field.wide for size in _sizes(field.wide[axis], units)]
        period = _period(strands, units)
        sizes, coverages, gaps = zip(*_shapes(strands, period), strict=True)
        start, last = self.hull(axis, 0)
        return {
            "units": units,
            "size_min": min(sizes),
            "size_max": max(sizes),
            "path_min": min(narrow),
            "path_max": max(wide),
            "output_stride": self.output_stride[axis],
            "start": start,
            "centre": (start + last) / 2,
            "period": period,
            "coverage": min(coverages),
            "largest_gap": max(gaps),
            "aligned": self._aligned(axis),
            "covers_input": max(sizes) >= image,
        }

    def _whole_measures(self, axis: int) -> dict[str, object]:
        """The same where global paths lead: fields end at the image's border, and have no shape of their own."""
        ends = [(term.rows, term.columns)[axis] for term in self.terms]
        first = np.minimum.reduce([end.first for end in ends])
        sizes = (np.maximum.reduce([end.last for end in ends]) - first + 1).clip(min=0)
        smallest, largest = int(sizes.min()), int(sizes.max())
        return {
            "units": self.fields[0].size[axis],
            "size_min": smallest,
            "size_max": largest,
            "path_min": smallest,
            "path_max": largest,
            "output_stride": self.output_stride[axis],
            "start": int(first[0]),
            "centre": float(first[0] + (sizes[0] - 1) / 2),
            "period": 1,
            "coverage": None,
            "largest_gap": None,
            "aligned": False,
            "covers_input": largest >= self.image_size[axis],
        }

    def _aligned(self, axis: int) -> bool:
        local = [field for field in self.fields if field.wide]
        strands = [field.wide[axis] for field in local if field.wide]
        return all(field.aligned[axis] for field in local) and all(s.same_centres(strands[0]) for s in strands[1:])


def _sizes(path: Strand, units: int) -> list[int]:
    """Size of a path's field at each unit, as far as they differ."""
    return [path.at(position)[1].bit_length() for position in range(min(units, path.period))]


def _period(strands: Sequence[Strand], units: int) -> int:
    """Units after which the pattern of all strands repeats; all of them if it does not."""
    strides = {(s.shift // math.gcd(s.shift, s.period), s.period // math.gcd(s.shift, s.period)) for s in strands}
    return min(units, math.lcm(*(s.period for s in strands))) if len(strides) == 1 else units


def _shapes(strands: Sequence[Strand], positions: int) -> Iterator[tuple[int, float, int]]:
    """Size, coverage and largest gap at each position."""
    for position in range(positions):
        parts = [(first, bits) for first, bits in (strand.at(position) for strand in strands) if bits]
        if not parts:
            yield 0, 1.0, 0
            continue
        start = min(first for first, _ in parts)
        bits = 0
        for first, part in parts:
            bits |= part << (first - start)
        size = bits.bit_length()
        reached = bits.bit_count()
        gap = 0 if reached == size else max(map(len, bin(bits)[2:].split("1")))
        yield size, reached / size, gap
