from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rfkit.results.removal  # noqa: F401 (its classes are known from here on)
from rfkit._checks import DataError
from rfkit.results.base import Result, Table


@dataclass(frozen=True, eq=False)
class Inner(Result):
    values: np.ndarray


@dataclass(frozen=True, eq=False)
class Sample(Result):
    name: str
    count: int
    ratio: float
    nothing: Any
    flags: np.ndarray
    words: np.ndarray
    parts: tuple[Any, ...]
    table: dict[str, Any]
    inner: Inner


def test_a_second_result_of_one_name_is_a_bug_of_ours() -> None:
    with pytest.raises(AssertionError, match=r"BranchMeans is a result of rfkit\.results\.removal already"):
        type("BranchMeans", (Result,), {"__module__": "elsewhere"})


def sample(**changes: Any) -> Sample:
    fields: dict[str, Any] = {
        "name": "straße",
        "count": 3,
        "ratio": float("nan"),
        "nothing": None,
        "flags": np.array([True, False]),
        "words": np.array(["a", "bc"]),
        "parts": (np.arange(6.0).reshape(2, 3), Inner(np.array([np.nan, 1.0])), ("x", 2)),
        "table": {"b": 1, "a": (1.5, "y"), "none": np.zeros(0, np.int8)},
        "inner": Inner(np.zeros((2, 0), np.float32)),
    }
    return Sample(**{**fields, **changes})


def test_a_saved_result_comes_back_equal_with_its_types(tmp_path: Path) -> None:
    before = sample()
    after = Sample.load(before.save(tmp_path / "deep" / "sample.npz"))
    assert after == before
    assert type(after.inner) is Inner
    assert after.inner.values.dtype == np.float32
    assert after.inner.values.shape == (2, 0)
    assert isinstance(after.parts, tuple)
    assert list(after.table) == ["b", "a", "none"]
    assert Result.load(tmp_path / "deep" / "sample.npz") == before


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"},
        {"ratio": 1.0},
        {"flags": np.array([True, True])},
        {"parts": ()},
        {"inner": Inner(np.zeros((2, 1), np.float32))},
        {"table": {}},
    ],
)
def test_results_that_differ_in_one_field_are_not_equal(changes: dict[str, Any]) -> None:
    assert sample() == sample()
    assert sample(**changes) != sample()


def test_equal_results_give_equal_bytes(tmp_path: Path) -> None:
    one, two = sample().save(tmp_path / "one.npz"), sample().save(tmp_path / "two.npz")
    assert one.read_bytes() == two.read_bytes()


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = Inner(np.ones(2)).save(tmp_path / "inner.npz")
    before = path.read_bytes()
    with pytest.raises(TypeError, match=r"Inner\.values is an array of object"):
        Inner(np.array([object()])).save(path)
    with pytest.raises(TypeError, match=r"Sample\.nothing is a set"):
        sample(nothing={1}).save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["inner.npz"]


def test_a_file_that_holds_something_else_is_refused_by_name(tmp_path: Path) -> None:
    path = Inner(np.ones(2)).save(tmp_path / "inner.npz")
    with pytest.raises(DataError, match=r"inner\.npz: holds a Inner, not a Sample"):
        Sample.load(path)
    np.savez(tmp_path / "plain.npz", a=np.ones(1))
    with pytest.raises(DataError, match=r"plain\.npz: is not a result"):
        Result.load(tmp_path / "plain.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(DataError, match=r"text\.npz: cannot be read"):
        Result.load(tmp_path / "text.npz")
    cut = tmp_path / "cut.npz"
    cut.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"cut\.npz: cannot be read"):
        Result.load(cut)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Result.load(tmp_path / "nowhere.npz")


def test_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Inner(np.ones(2)).save(tmp_path / "inner.npz")
    monkeypatch.setattr(Inner, "VERSION", 2)
    with pytest.raises(DataError, match=r"holds a Inner of version 1; this rfkit reads version 2"):
        Inner.load(path)


def test_a_pickle_is_never_executed(tmp_path: Path) -> None:
    np.savez(tmp_path / "evil.npz", header=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match=r"evil\.npz"):
        Result.load(tmp_path / "evil.npz")


def test_a_result_without_a_frame_says_so() -> None:
    with pytest.raises(NotImplementedError, match="Inner has no tidy frame"):
        Inner(np.ones(1)).to_frame()


def test_a_table_keeps_mixed_cells(tmp_path: Path) -> None:
    table = Table("t", {"model": ("a", "b"), "mIoU": (np.float64(71.5), None)}, caption="c", notes=("n",))
    assert len(table) == 2
    assert table.columns["mIoU"] == (71.5, None)
    again = Table.load(table.save(tmp_path / "t.npz"))
    assert again == table
    frame = again.to_frame()
    assert list(frame.columns) == ["model", "mIoU"]
    assert Table.from_frame("t", frame[["model"]], caption="c", notes=("n",)).columns == {"model": ("a", "b")}


def test_columns_of_different_length_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"columns of table 't' differ in length: \{'a': 1, 'b': 2\}"):
        Table("t", {"a": (1,), "b": (1, 2)})


def test_results_do_not_import_pandas() -> None:
    code = "import sys, rfkit.results.branches; print('pandas' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]
    )
    assert done.stdout.strip() == "False"
