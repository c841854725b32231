"""How many paths lead through a network, and which receptive field each of them has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rfkit.analysis.fields import Field, Strand
from rfkit.analysis.support import in_order, local_reads

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["path_table"]

_Key = tuple[Strand, Strand]


@dataclass(frozen=True)
class _Step:
    """One step of an example path, and the steps before it."""

    label: str
    before: _Step | None

    def labels(self) -> list[str]:
        steps, step = [], self
        while step is not None:  # type: ignore[redundant-expr]
            steps.append(step.label)
            step = step.before  # type: ignore[assignment]
        return steps[::-1]


def path_table(fields: Sequence[Field], name: str) -> pd.DataFrame:
    """One row per receptive field of a path; the columns are those of `Graph.paths`.

    Raises:
        ValueError: no local path leads to the fields.
    """
    import pandas as pd

    if not fields:
        raise ValueError(f"no local path leads to {name!r}.")
    counts: dict[int, dict[_Key, tuple[int, _Step | None]]] = {}
    for field in in_order(fields):
        if not field.reads and field.wide:
            counts[id(field)] = {field.wide: (1, None)}
            continue
        found: dict[_Key, tuple[int, _Step | None]] = {}
        for read in local_reads(field):
            identity = all(taps.is_identity for taps in read.taps)
            for key, (number, example) in counts[id(read.source)].items():
                new = (key[0].read(read.taps[0], solid=True), key[1].read(read.taps[1], solid=True))
                before, kept = found.get(new, (0, None))
                step = kept if before else example if identity else _Step(field.label, example)
                found[new] = (before + number, step)
        counts[id(field)] = found
    total: dict[_Key, tuple[int, _Step | None]] = {}
    for field in fields:
        for key, (number, example) in counts[id(field)].items():
            total[key] = (total.get(key, (0, None))[0] + number, example)
    every = sum(number for number, _ in total.values())
    rows = [
        {
            "paths": number,
            "share": number / every,
            "height": key[0].size(),
            "width": key[1].size(),
            "stride_y": key[0].stride,
            "stride_x": key[1].stride,
            "via": " > ".join(example.labels()) if example else "image",
        }
        for key, (number, example) in total.items()
    ]
    return pd.DataFrame(rows).sort_values(["height", "width"], ignore_index=True)
