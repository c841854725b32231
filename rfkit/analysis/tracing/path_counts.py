"""How many paths lead through a network, and which receptive field each of them has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rfkit.analysis.tracing.fields import Field, Read, Strand
from rfkit.analysis.tracing.support import in_order, local_reads

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["path_table"]


@dataclass(frozen=True)
class _Step:
    """One step of an example path, and the steps before it."""

    label: str
    before: _Step | None


@dataclass(frozen=True, eq=False)
class _Ways:
    """All paths to a map that have the same receptive field: rows and columns, their number, and one of them."""

    rows: Strand
    columns: Strand
    number: int
    example: _Step | None

    def read(self, read: Read, label: str) -> _Ways:
        """The same paths, one step further."""
        if all(taps.is_identity for taps in read.taps):
            return self
        rows, columns = (
            strand.read(taps, solid=True) for strand, taps in zip((self.rows, self.columns), read.taps, strict=True)
        )
        return _Ways(rows, columns, self.number, _Step(label, self.example))

    def via(self) -> str:
        """The steps of the example."""
        labels, step = [], self.example
        while step is not None:
            labels.append(step.label)
            step = step.before
        return " > ".join(labels[::-1]) or "image"


def path_table(fields: Sequence[Field], name: str) -> pd.DataFrame:
    """One row per receptive field of a path; the columns are those of `Graph.paths`.

    Raises:
        ValueError: no local path leads to the fields.
    """
    import pandas as pd

    if not fields:
        raise ValueError(f"no local path leads to {name!r}.")
    known: dict[int, list[_Ways]] = {}
    for field in in_order(fields):
        if not field.reads and field.wide:
            known[id(field)] = [_Ways(*field.wide, 1, None)]
        else:
            reads = local_reads(field)
            known[id(field)] = _sorted(
                ways.read(read, field.label) for read in reads for ways in known[id(read.source)]
            )
    found = _sorted(ways for field in fields for ways in known[id(field)])
    every = sum(ways.number for ways in found)
    rows = [
        {
            "paths": ways.number,
            "share": ways.number / every,
            "height": ways.rows.size(),
            "width": ways.columns.size(),
            "stride_y": ways.rows.stride,
            "stride_x": ways.columns.stride,
            "via": ways.via(),
        }
        for ways in found
    ]
    return pd.DataFrame(rows).sort_values(["height", "width"], ignore_index=True)


def _sorted(all_ways: Iterable[_Ways]) -> list[_Ways]:
    """With the ways of one receptive field counted together."""
    found: dict[object, _Ways] = {}
    for ways in all_ways:
        key = (ways.rows.key(), ways.columns.key())
        before = found.get(key)
        found[key] = replace(before, number=before.number + ways.number) if before else ways
    return list(found.values())
