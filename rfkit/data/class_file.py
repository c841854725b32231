"""The TOML file that names the classes of the user's own data."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from rfkit._checks import data_error, unknown_name
from rfkit.data.classes import default_colours
from rfkit.data.dataset import IGNORE
from rfkit.data.decoding import LabelCode

__all__ = ["ClassFile", "read_class_file"]

_KEYS = ("licence", "ignore", "ignore_colour", "classes")
_CLASS_KEYS = ("name", "colour", "id")
# Values 254 and 255 of a decoded label mean "unknown" and "ignored".
_MOST = 254

_Colour = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class ClassFile:
    """What a class file says.

    Attributes:
        licence: One line; None if not given.
        classes: Class names in order.
        colours: One RGB colour a class: the file's, else `default_colours`.
        code: What the values and colours of the label files mean.
    """

    licence: str | None
    classes: tuple[str, ...]
    colours: UInt8[np.ndarray, "classes 3"]
    code: LabelCode


def read_class_file(path: str | Path) -> ClassFile:
    """The classes that a TOML file names.

    .. code-block:: toml

        licence = "my own pictures"   # optional, for the cards of weights trained on them
        ignore = 255                  # optional: the label value, or a list of them, that is not scored
        ignore_colour = [0, 0, 0]     # optional: the same for colour-coded labels

        [[classes]]                   # one such table a class, in order
        name = "road"
        colour = [128, 64, 128]       # optional, for all classes or none; needed for colour-coded labels
        id = 0                        # optional: its value in the label files; its position if left out

    Raises:
        FileNotFoundError: If there is no such file.
        DataError: If it is not TOML, or a key is unknown, missing or of the wrong kind.
    """
    path = Path(path)
    content = _parse(path)
    _check_keys(path, content, _KEYS, where="")
    tables = content.get("classes")
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise data_error(path, 'classes must be tables, one a class: [[classes]], then name = "..." below it')
    if len(tables) > _MOST:
        raise data_error(path, f"names {len(tables)} classes; at most {_MOST} fit into a label")
    for number, table in enumerate(tables):
        _check_keys(path, table, _CLASS_KEYS, where=f"classes[{number}].")
    names = [_text(path, f"classes[{number}].name", table.get("name")) for number, table in enumerate(tables)]
    _check_distinct(path, "name", names)
    colours = _colours(path, tables)
    return ClassFile(
        licence=_text(path, "licence", content["licence"]) if "licence" in content else None,
        classes=tuple(names),
        colours=np.array(colours, dtype=np.uint8) if colours else default_colours(len(names)),
        code=LabelCode(ids=_ids(path, content, tables), colours=_colour_code(path, content, colours)),
    )


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: no such file; it names the classes of the labels") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise data_error(path, f"is not valid TOML: {error}") from error


def _check_keys(path: Path, table: Mapping[str, Any], allowed: tuple[str, ...], *, where: str) -> None:
    for key in table:
        if key not in allowed:
            raise data_error(path, f"{where}{unknown_name('key', key, allowed)}")


def _text(path: Path, key: str, value: object) -> str:
    if value is None:
        raise data_error(path, f"{key} is missing")
    if not isinstance(value, str) or not value.strip():
        raise data_error(path, f"{key} is {value!r}; it must be text in quotes")
    return value


def _byte(path: Path, key: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 255:
        raise data_error(path, f"{key} is {value!r}; it must be an integer from 0 to 255")
    return value


def _colour(path: Path, key: str, value: object) -> _Colour:
    if not isinstance(value, list) or len(value) != 3:
        raise data_error(path, f"{key} is {value!r}; it must be [red, green, blue]")
    red, green, blue = (_byte(path, key, channel) for channel in value)
    return red, green, blue


def _check_distinct(path: Path, key: str, values: Iterable[object]) -> None:
    first: dict[object, int] = {}
    for number, value in enumerate(values):
        if value in first:
            raise data_error(path, f"classes[{number}].{key} is {value!r}, as is classes[{first[value]}].{key}")
        first[value] = number


def _colours(path: Path, tables: list[dict[str, Any]]) -> list[_Colour]:
    without = [number for number, table in enumerate(tables) if "colour" not in table]
    if len(without) == len(tables):
        return []
    if without:
        raise data_error(path, f"classes[{without[0]}].colour is missing; give a colour to all classes or to none")
    colours = [_colour(path, f"classes[{number}].colour", table["colour"]) for number, table in enumerate(tables)]
    _check_distinct(path, "colour", colours)
    return colours


def _ids(path: Path, content: Mapping[str, Any], tables: list[dict[str, Any]]) -> dict[int, int | None]:
    value = content.get("ignore", IGNORE)
    ignored = [_byte(path, "ignore", entry) for entry in (value if isinstance(value, list) else [value])]
    ids = [_byte(path, f"classes[{number}].id", table.get("id", number)) for number, table in enumerate(tables)]
    _check_distinct(path, "id", ids)
    for number, entry in enumerate(ids):
        if entry in ignored:
            raise data_error(path, f"classes[{number}].id is {entry}, which ignore names too")
    return {**{entry: number for number, entry in enumerate(ids)}, **dict.fromkeys(ignored)}


def _colour_code(path: Path, content: Mapping[str, Any], colours: list[_Colour]) -> dict[_Colour, int | None]:
    code: dict[_Colour, int | None] = {colour: number for number, colour in enumerate(colours)}
    if "ignore_colour" not in content:
        return code
    ignored = _colour(path, "ignore_colour", content["ignore_colour"])
    if not colours:
        raise data_error(path, "ignore_colour is given, but no class has a colour")
    if ignored in code:
        raise data_error(path, f"ignore_colour is {list(ignored)}, which is the colour of classes[{code[ignored]}] too")
    return {**code, ignored: None}
