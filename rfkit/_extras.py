"""Libraries that only some users need."""

from __future__ import annotations

from importlib.util import find_spec

__all__ = ["MissingExtraError", "require"]


class MissingExtraError(ModuleNotFoundError, ValueError):
    """A library that an extra installs is not there; the message says what to install, which is all a user needs.

    It is a `ValueError` as well, which the command line tells in one line.
    """


def require(*libraries: str, extra: str) -> None:
    """Make sure that `libraries` can be imported.

    Raises:
        MissingExtraError: one is not installed; the message names the extra that installs it.
    """
    missing = [name for name in libraries if find_spec(name) is None]
    if missing:
        raise MissingExtraError(f'{", ".join(missing)} not installed; pip install "rfkit[{extra}]" installs it.')
