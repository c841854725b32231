"""Libraries that only some users need."""

from __future__ import annotations

from importlib.util import find_spec

__all__ = ["require"]


def require(*libraries: str, extra: str) -> None:
    """Make sure that `libraries` can be imported.

    Raises:
        ModuleNotFoundError: one is not installed; the message names the extra that installs it.
    """
    missing = [name for name in libraries if find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(f'{", ".join(missing)} not installed; pip install "rfkit[{extra}]" installs it.')
