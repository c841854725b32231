"""How fast networks are: one entry a measurement, never without device, precision, size and batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rfkit._checks import data_error, unknown_name
from rfkit._files import write_text
from rfkit.results.base import Result

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Speed", "Speeds", "read_speeds"]


@dataclass(frozen=True, eq=False)
class Speed(Result):
    """One network, measured in one way.

    Attributes:
        model: its name.
        parameters: learnable numbers.
        macs: multiply-adds of the convolutions and matrix products of one batch; NaN where they cannot be counted.
        height: of the image, in pixels.
        width: of the image, in pixels.
        batch: images in a batch.
        backend: "eager", "compiled" or "onnxruntime".
        precision: "fp32", "bf16" or "fp16".
        device: "cpu: " or "cuda: " and the name of the processor or card.
        threads: of the processor.
        median_ms: latency, that is milliseconds for one batch: the median of the runs that were kept.
        low_ms: their 10 % quantile.
        high_ms: their 90 % quantile.
        fps: throughput, in images per second, at the median.
        runs: how often it was measured.
        kept: runs in which nothing else held up the processor.
        software: versions and settings that change speed, and the load of the machine before the measurement.
        date: of the measurement, such as 2026-11-21.
    """

    model: str
    parameters: int
    macs: float
    height: int
    width: int
    batch: int
    backend: str
    precision: str
    device: str
    threads: int
    median_ms: float
    low_ms: float
    high_ms: float
    fps: float
    runs: int
    kept: int
    software: str
    date: str

    @property
    def key(self) -> dict[str, Any]:
        """What was measured, and in which way: a second measurement of the same takes the place of the first."""
        return {name: getattr(self, name) for name in _KEY}


_KEY = ("model", "height", "width", "batch", "backend", "precision", "device", "threads")
_COLUMNS = tuple(field.name for field in fields(Speed))


@dataclass(frozen=True, eq=False)
class Speeds(Result):
    """Measurements.

    Attributes:
        rows: one entry a measurement.
        notes: what could not be measured, and why.
    """

    rows: tuple[Speed, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def with_rows(self, other: Speeds) -> Speeds:
        """These measurements and the `other` ones, which take the place of those of the same key."""
        keys = [row.key for row in other.rows]
        kept = [row for row in self.rows if row.key not in keys]
        return Speeds((*kept, *other.rows), (*self.notes, *other.notes))

    def ratio(self, row: Speed, **other: Any) -> float:
        """How many times as fast `row` is as the measurement that differs from it in `other` alone.

        Args:
            row: one of the measurements.
            **other: fields of the key, such as ``backend="eager"`` or ``model="dwrseg_b"``.

        Returns:
            The ratio of images per second; NaN where there is no such measurement.

        Raises:
            ValueError: a field is not part of the key.
        """
        for name in other:
            if name not in _KEY:
                raise unknown_name("ratio", name, _KEY)
        wanted = {**row.key, **other}
        return next((row.fps / found.fps for found in self.rows if found.key == wanted), math.nan)

    def to_frame(self) -> pd.DataFrame:
        """One row a measurement.

        Columns: `model`, `parameters`, `macs` (of a batch; missing where not known), `height`, `width` (pixels),
        `batch`, `backend`, `precision`, `device`, `threads`, `median_ms`, `low_ms`, `high_ms` (median, 10 % and 90 %
        quantile of the latency), `fps` (images per second), `runs`, `kept`, `software`, `date`. The notes are left
        out.
        """
        import pandas as pd

        rows = [{name: getattr(row, name) for name in _COLUMNS} for row in self.rows]
        return pd.DataFrame(rows, columns=list(_COLUMNS))

    def write(self, path: str | Path) -> None:
        """Write `to_frame` as CSV, whole or not at all; `read_speeds` reads it."""
        write_text(path, self.to_frame().to_csv(index=False, lineterminator="\n"))


def read_speeds(path: str | Path) -> Speeds:
    """The measurements in a CSV file that `Speeds.write` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        rfkit._checks.DataError: a column is missing, or a cell is no number where one belongs.
    """
    import pandas as pd

    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise data_error(path, f"cannot be read as CSV: {error}") from error
    missing = [name for name in _COLUMNS if name not in frame]
    if missing:
        raise data_error(path, f"lacks the columns {', '.join(missing)}; it is no table of speeds.")
    return Speeds(tuple(_rows(path, frame.to_dict("records"))))


def _rows(path: str | Path, records: Iterable[Mapping[str, str]]) -> Iterable[Speed]:
    kinds: dict[str, Callable[[str], Any]] = {"int": int, "float": lambda text: float(text or "nan"), "str": str}
    for number, record in enumerate(records, start=2):
        try:
            yield Speed(**{field.name: kinds[str(field.type)](record[field.name]) for field in fields(Speed)})
        except ValueError as error:
            raise data_error(path, f"line {number}: {error}.") from error
