"""Tables of speeds: columns, files, ratios."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest

from rfkit._checks import DataError
from rfkit.results.base import Result
from rfkit.results.speed import Speed, Speeds, read_speeds


def speed(**fields: object) -> Speed:
    return Speed(**{
        "model": "net", "parameters": 10, "macs": 1e9, "height": 16, "width": 24, "batch": 1, "backend": "eager",
        "precision": "fp32", "device": "cpu: A, B", "threads": 1, "median_ms": 20.0, "low_ms": 19.5, "high_ms": 25.25,
        "fps": 50.0, "runs": 30, "kept": 28, "software": "torch 1, memory kept", "date": "2026-11-21", **fields,
    })  # fmt: skip


def test_the_columns_are_those_of_the_rows() -> None:
    frame = Speeds((speed(),)).to_frame()
    assert list(frame) == [
        "model", "parameters", "macs", "height", "width", "batch", "backend", "precision", "device", "threads",
        "median_ms", "low_ms", "high_ms", "fps", "runs", "kept", "software", "date",
    ]  # fmt: skip
    assert list(Speeds(()).to_frame()) == list(frame)


def test_a_csv_file_gives_the_same_rows_back(tmp_path: Path) -> None:
    speeds = Speeds((speed(), speed(model="my.py:make", macs=math.nan, fps=1 / 3)))
    speeds.write(tmp_path / "speeds.csv")
    assert read_speeds(tmp_path / "speeds.csv") == speeds
    assert Result.load(Speeds((speed(),), ("a note",)).save(tmp_path / "speeds.npz")) == Speeds((speed(),), ("a note",))


@pytest.mark.parametrize(("text", "message"), [
    ("model,fps\na,1\n", r"lacks the columns parameters, macs.*no table of speeds"),
    ("", "cannot be read as CSV"),
])  # fmt: skip
def test_another_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "speeds.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_speeds(path)


def test_a_cell_that_is_no_number_is_named_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "speeds.csv"
    Speeds((speed(), speed(model="b"))).write(path)
    path.write_text(path.read_text(encoding="utf-8").replace("b,10,", "b,ten,"), encoding="utf-8")
    with pytest.raises(DataError, match=r"line 3: .*'ten'"):
        read_speeds(path)


def test_a_second_measurement_takes_the_place_of_the_first() -> None:
    first, other, second = speed(), speed(threads=2), speed(fps=60.0, date="2026-11-22")
    merged = Speeds((first, other), ("a",)).with_rows(Speeds((second,), ("b",)))
    assert merged == Speeds((other, second), ("a", "b"))


def test_ratios_differ_in_what_is_asked_alone() -> None:
    row = speed(backend="onnxruntime", fps=75.0)
    others = [speed(), speed(precision="bf16", fps=90.0), speed(model="b", backend="onnxruntime", fps=25.0)]
    speeds = Speeds((row, *others))
    assert speeds.ratio(row, backend="eager") == 1.5
    assert speeds.ratio(row, model="b") == 3.0
    assert math.isnan(speeds.ratio(row, backend="compiled"))
    assert math.isnan(speeds.ratio(dataclasses.replace(row, threads=2), backend="eager"))
    with pytest.raises(ValueError, match="ratio='fps' is not known"):
        speeds.ratio(row, fps=1)
