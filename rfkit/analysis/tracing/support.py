"""Which pixels reach a unit and over how many paths; and which units a pixel reaches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rfkit.analysis.tracing.fields import Field, Read
from rfkit.analysis.tracing.taps import Taps
from rfkit.results.box import Box

__all__ = ["count_paths", "in_order", "local_reads", "reached_units"]


def in_order(fields: Iterable[Field]) -> list[Field]:
    """`fields` and all that they read, each after what it reads."""
    done: dict[int, Field] = {}
    stack: list[tuple[Field, Iterator[Read]]] = []
    for field in fields:
        stack.append((field, iter(field.reads)))
        while stack:
            current, reads = stack[-1]
            following = next((read.source for read in reads if id(read.source) not in done), None)
            if following is None:
                done[id(current)] = current
                stack.pop()
            else:
                stack.append((following, iter(following.reads)))
    return list(done.values())


def local_reads(field: Field) -> list[Read]:
    """The reads over which local paths lead."""
    return [read for read in field.reads if not read.is_global and read.source.terms]


@dataclass
class _Window:
    """A part of a map: its first row and column, and a number for each of its units."""

    row: int
    column: int
    values: np.ndarray

    def added(self, other: _Window) -> _Window:
        row, column = min(self.row, other.row), min(self.column, other.column)
        bottom = max(self.row + len(self.values), other.row + len(other.values))
        right = max(self.column + self.values.shape[1], other.column + other.values.shape[1])
        values = np.full((bottom - row, right - column), -np.inf)
        for part in (self, other):
            place = (
                slice(part.row - row, part.row - row + len(part.values)),
                slice(part.column - column, part.column - column + part.values.shape[1]),
            )
            values[place] = np.logaddexp(values[place], part.values)
        return _Window(row, column, values)


def count_paths(fields: Sequence[Field], unit: tuple[int, int], box: Box, *, local: bool) -> np.ndarray:
    """The natural logarithm of the number of paths from each pixel of a box to a unit, -inf where no path leads.

    Args:
        fields: fields of the channels of the unit, each counted once.
        unit: (row, column) on the map.
        box: the unit's box, inside the image.
        local: whether to leave out global paths.
    """
    order = in_order(fields)
    windows: dict[int, _Window] = {id(field): _Window(*unit, np.zeros((1, 1))) for field in fields}
    image = next(field for field in order if field.terms and not field.reads)
    for field in reversed(order):
        if field is image or id(field) not in windows:
            continue
        window = windows.pop(id(field))
        for read in local_reads(field) if local else field.reads:
            passed = _pass_back(window, read, field.size)
            if passed is not None:
                key = id(read.source)
                windows[key] = windows[key].added(passed) if key in windows else passed
    whole = _Window(box.y0, box.x0, np.full((box.height, box.width), -np.inf)).added(windows[id(image)])
    top, left = box.y0 - whole.row, box.x0 - whole.column
    return whole.values[top : top + box.height, left : left + box.width]


def _pass_back(window: _Window, read: Read, size: tuple[int, int]) -> _Window | None:
    """The window of the field that is read, or None if nothing in this one reads it."""
    rows = _spread(window.values, window.row, read.taps[0], read.source.size[0], size[0])
    if rows is None:
        return None
    columns = _spread(rows[1].T, window.column, read.taps[1], read.source.size[1], size[1])
    if columns is None:
        return None
    return _Window(rows[0], columns[0], np.ascontiguousarray(columns[1].T))


def _spread(values: np.ndarray, start: int, taps: Taps, size_in: int, size_out: int) -> tuple[int, np.ndarray] | None:
    """Along the first axis: every position's number goes to all positions that it reads."""
    if taps.is_identity and size_in == size_out:
        return start, values
    table = taps.table(size_in, size_out)[0][start : start + len(values)]
    places, columns = np.nonzero(table >= 0)
    if not len(places):
        return None
    sources = table[places, columns]
    first = int(sources.min())
    if (table == table[0]).all():
        # All positions read the same ones: their sum goes there.
        total = np.logaddexp.reduce(values, axis=0)
        result = np.full((int(sources.max()) - first + 1, values.shape[1]), -np.inf)
        for source in table[0][table[0] >= 0]:
            result[source - first] = np.logaddexp(result[source - first], total)
        return first, result
    order = np.argsort(sources, kind="stable")
    sources, places = sources[order] - first, places[order]
    counts = np.bincount(sources)
    rank = np.arange(len(sources)) - np.repeat(np.cumsum(counts) - counts, counts)
    readers = np.full((len(counts), int(counts.max())), len(values))
    readers[sources, rank] = places
    padded = np.concatenate([values, np.full((1, values.shape[1]), -np.inf)])
    result = padded[readers[:, 0]]
    for column in readers.T[1:]:
        result = np.logaddexp(result, padded[column])
    return first, result


def reached_units(fields: Sequence[Field], pixel: tuple[int, int], *, local: bool) -> np.ndarray:
    """Which units of a map a pixel reaches in any of `fields`, (rows, columns) of booleans."""
    order = in_order(fields)
    image = next(field for field in order if field.terms and not field.reads)
    start = np.zeros(image.size, dtype=bool)
    start[pixel] = True
    masks = {id(image): start}
    for field in order:
        if field is image:
            continue
        mask = np.zeros(field.size, dtype=bool)
        for read in local_reads(field) if local else field.reads:
            mask |= _gather(
                _gather(masks[id(read.source)], read.taps[0], field.size[0]).T, read.taps[1], field.size[1]
            ).T
        masks[id(field)] = mask
    return np.logical_or.reduce([masks[id(field)] for field in fields])


def _gather(mask: np.ndarray, taps: Taps, size_out: int) -> np.ndarray:
    if taps.is_identity and size_out == len(mask):
        return mask
    table = taps.table(len(mask), size_out)[0]
    padded = np.concatenate([mask, np.zeros((1, mask.shape[1]), dtype=bool)])
    result = padded[table[:, 0]]
    for column in table.T[1:]:
        result = result | padded[column]
    return result
