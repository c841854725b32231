"""A lock that goes with the process that holds it, however that ends."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

__all__ = ["LockedError", "alone_in", "locked"]

_SECONDS_BETWEEN_TRIES = 0.1


class LockedError(ValueError):
    """Another process holds the lock; the message says which."""


@contextmanager
def locked(path: Path, *, patience: float = 0.0) -> Iterator[None]:
    """Hold the lock of the file `path`, which is made where there is none and stays.

    The system gives the lock back when the process ends, killed or not, so none is ever left over. Where the file lies
    on a disk that several machines share, that disk must know `flock`.

    Args:
        path: The file; it says which process holds the lock.
        patience: Seconds to wait for another process to give it back.

    Raises:
        LockedError: Another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + patience
    with path.open("a+", encoding="utf-8") as file:
        while not _taken(file.fileno()):
            if time.monotonic() >= deadline:
                file.seek(0)
                raise LockedError(file.read().strip() or "another process")
            time.sleep(_SECONDS_BETWEEN_TRIES)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield


@contextmanager
def alone_in(folder: Path, what: str, *, lock: str = ".lock") -> Iterator[None]:
    """Hold the lock of a folder in which two of `what` would overwrite each other's files.

    Args:
        folder: The folder, made where there is none.
        what: What works there, such as "sweep".
        lock: Name of the lock's file.

    Raises:
        ValueError: Another one is at work there; the message says which process.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder / lock))
        except LockedError as error:
            raise ValueError(
                f"out={str(folder)!r}: another {what} is at work there ({error}); wait for it, or give another folder."
            ) from error
        yield


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
