"""Errors in one form: what was given, what came, what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

__all__ = ["DataError", "check_choice", "check_folder", "check_positive", "data_error", "unknown_name"]


class DataError(ValueError):
    """A file (of a data set, weights, a checkpoint) is not what it should be; the message starts with its path."""


def data_error(path: str | Path, problem: str) -> DataError:
    """A `DataError` whose message names the file first."""
    return DataError(f"{path}: {problem}")


def unknown_name(argument: str, got: str, allowed: Iterable[str]) -> ValueError:
    """A `ValueError` for a name that is not one of `allowed`, with the nearest names if there are any."""
    names = [str(name) for name in allowed]
    nearest = difflib.get_close_matches(str(got), names, n=3)
    hint = f" Did you mean {' or '.join(repr(name) for name in nearest)}?" if nearest else ""
    return ValueError(f"{argument}={got!r} is not known; allowed: {', '.join(names) or 'none'}.{hint}")


def check_choice(argument: str, got: str, allowed: Iterable[str]) -> None:
    """Raise `ValueError` unless `got` is one of `allowed`."""
    names = tuple(allowed)
    if got not in names:
        raise unknown_name(argument, got, names)


def check_folder(argument: str, path: Path) -> None:
    """Raise `ValueError` where `path`, a folder to write into, is a file."""
    if path.exists() and not path.is_dir():
        raise ValueError(f"{argument}={str(path)!r} is a file; give a folder.")


def check_positive(argument: str, got: float) -> None:
    """Raise `ValueError` unless `got` is above zero."""
    if not got > 0:
        raise ValueError(f"{argument}={got!r} must be above 0.")
