"""What every result is: a frozen dataclass of numpy arrays and plain values, saved without pickle.

Nothing in this package needs torch, so that a result can be drawn where no network is in sight.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import pkgutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from rfkit._checks import data_error
from rfkit._files import replacing

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Result", "Table"]

_FORMAT, _HEADER = "rfkit-result", "header"
_PLAIN = (str, bool, int, float, type(None))
_Kind = TypeVar("_Kind", bound="Result")


@dataclass(frozen=True, eq=False)
class Result:
    """Base of all results. A subclass is a frozen dataclass and says in `to_frame` what its columns are.

    Fields hold numpy arrays (numbers, booleans or strings), plain values (str, int, float, bool, None), other results,
    and tuples or dictionaries (with string keys) of these. Declare a subclass with `@dataclass(frozen=True, eq=False)`:
    equality, which compares arrays by their values and takes NaN as equal to NaN, is defined here.

    `VERSION` is raised whenever the fields of a class change their meaning; an older file is then refused.
    """

    VERSION: ClassVar[int] = 1
    _classes: ClassVar[dict[str, type[Result]]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        known = Result._classes.setdefault(cls.__name__, cls)
        # A file names its class, so two of one name could not be told apart. A notebook may define its own anew.
        assert known.__module__ == cls.__module__, f"{cls.__name__} is a result of {known.__module__} already"
        Result._classes[cls.__name__] = cls

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(_same(getattr(self, name), getattr(other, name)) for name in _field_names(type(self)))

    __hash__ = None  # type: ignore[assignment]

    def save(self, path: str | Path) -> Path:
        """Write the result to `path` (a .npz archive), whole or not at all; equal results give equal bytes.

        Returns:
            `path`.

        Raises:
            TypeError: a field holds what cannot be stored without pickle; the message names it.
        """
        path = Path(path)
        arrays: dict[str, np.ndarray] = {}
        header = {"format": _FORMAT, "content": _pack(self, type(self).__name__, arrays)}
        arrays[_HEADER] = np.array(json.dumps(header))
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        return path

    @classmethod
    def load(cls: type[_Kind], path: str | Path) -> _Kind:
        """Read what `save` wrote. `Result.load` takes any result, a subclass only its own.

        Raises:
            FileNotFoundError: there is no such file.
            rfkit._checks.DataError: the file is damaged, or holds something else; the message says what.
        """
        arrays = _read(Path(path))
        try:
            header = json.loads(str(arrays[_HEADER]))
            content = header["content"] if header["format"] == _FORMAT else None
        except (KeyError, TypeError, json.JSONDecodeError):
            content = None
        if content is None:
            raise data_error(path, "is not a result written by rfkit.")
        found = _class(content["result"])
        if found is None or not issubclass(found, cls):
            raise data_error(path, f"holds a {content['result']}, not a {cls.__name__}.")
        return _unpack(content, arrays, path)

    def to_frame(self) -> pd.DataFrame:
        """The result as a tidy frame; each class documents its columns."""
        raise NotImplementedError(f"{type(self).__name__} has no tidy frame.")


@dataclass(frozen=True, eq=False)
class Table(Result):
    """A named table: columns of plain values, with a caption.

    A cell is a str, a number, a bool or None (nothing known, written as a dash by whoever prints the table).

    Attributes:
        name: short name, such as "table1".
        columns: column name -> the cells from top to bottom; all columns have the same length.
        caption: what a reader must know, printed with the table.
        notes: footnotes.
    """

    name: str
    columns: Mapping[str, tuple[Any, ...]]
    caption: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        columns = {str(name): tuple(_plain(cell) for cell in cells) for name, cells in self.columns.items()}
        lengths = {name: len(cells) for name, cells in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns of table {self.name!r} differ in length: {lengths}; they must all be equal.")
        object.__setattr__(self, "columns", columns)
        object.__setattr__(self, "notes", tuple(self.notes))

    @classmethod
    def from_frame(cls, name: str, frame: pd.DataFrame, *, caption: str = "", notes: tuple[str, ...] = ()) -> Table:
        """The columns of `frame` as a table; the index is left out."""
        return cls(name, {str(column): tuple(frame[column].tolist()) for column in frame}, caption, notes)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def to_frame(self) -> pd.DataFrame:
        """The columns under their own names, one row a row of the table."""
        import pandas as pd

        return pd.DataFrame({name: list(cells) for name, cells in self.columns.items()})


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _class(name: str) -> type[Result] | None:
    """The class of that name, wherever in this package it is defined."""
    if name not in Result._classes:
        package = importlib.import_module("rfkit.results")
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"rfkit.results.{module.name}")
    return Result._classes.get(name)


def _field_names(kind: type[Result]) -> list[str]:
    return [entry.name for entry in dataclasses.fields(kind)]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        one, other = np.asarray(one), np.asarray(other)
        floats = one.dtype.kind in "fc" and other.dtype.kind in "fc"
        return bool(np.array_equal(one, other, equal_nan=floats))
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return list(one) == list(other) and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, float) and isinstance(other, float) and np.isnan(one) and np.isnan(other):
        return True
    return bool(one == other)


def _pack(value: Any, where: str, arrays: dict[str, np.ndarray]) -> Any:
    """`value` as JSON, its arrays moved to `arrays`; `where` names the field in errors."""
    value = _plain(value)
    if isinstance(value, Result):
        kind = type(value)
        fields = {name: _pack(getattr(value, name), f"{where}.{name}", arrays) for name in _field_names(kind)}
        return {"result": kind.__name__, "version": kind.VERSION, "fields": fields}
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biufcU":
            raise TypeError(f"{where} is an array of {value.dtype}; only numbers, booleans and strings can be stored.")
        arrays[where] = value
        return {"array": where}
    if isinstance(value, tuple | list):
        return {"tuple": [_pack(item, f"{where}.{index}", arrays) for index, item in enumerate(value)]}
    if isinstance(value, Mapping):
        return {"dict": [[str(key), _pack(item, f"{where}.{key}", arrays)] for key, item in value.items()]}
    if isinstance(value, _PLAIN):
        return value
    raise TypeError(f"{where} is a {type(value).__name__}; only arrays, plain values and results can be stored.")


def _unpack(value: Any, arrays: Mapping[str, np.ndarray], path: str | Path) -> Any:
    if not isinstance(value, dict):
        return value
    if "array" in value:
        if value["array"] not in arrays:
            raise data_error(path, f"lacks the array {value['array']!r}.")
        return arrays[value["array"]]
    if "tuple" in value:
        return tuple(_unpack(item, arrays, path) for item in value["tuple"])
    if "dict" in value:
        return {key: _unpack(item, arrays, path) for key, item in value["dict"]}
    kind = _class(value["result"])
    if kind is None or value["version"] != kind.VERSION or set(value["fields"]) != set(_field_names(kind)):
        ours = "does not know that class" if kind is None else f"reads version {kind.VERSION}"
        raise data_error(path, f"holds a {value['result']} of version {value['version']}; this rfkit {ours}.")
    return kind(**{name: _unpack(item, arrays, path) for name, item in value["fields"].items()})


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        # Opened here, because numpy leaves the file open when the archive is damaged.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise
    except (OSError, ValueError, EOFError, AttributeError, TypeError, KeyError, zipfile.BadZipFile) as error:
        raise data_error(path, f"cannot be read as a result: {error}") from error
