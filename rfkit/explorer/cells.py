"""The notebook around the explorer: when its cells run, and its event loop."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

from rfkit.explorer.worker import Worker

__all__ = ["Cells"]


class Cells:
    """Keeps a worker paused while a cell runs, and brings what it found to the thread that runs cells.

    Outside of IPython nothing is paused, and what is found is handled in the worker's thread.

    Args:
        worker: what computes.
        replaced: called when the cell that is running now runs again, because it then makes another explorer.
    """

    def __init__(self, worker: Worker, replaced: Callable[[], None]) -> None:
        self._worker, self._replaced = worker, replaced
        ipython = sys.modules.get("IPython")
        self._shell = None if ipython is None else ipython.get_ipython()
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None
        if self._shell is not None:
            self._cell = _running_cell(self._shell)
            # The cell that makes the explorer is running.
            worker.pause()
            self._shell.events.register("pre_run_cell", self._pause)
            self._shell.events.register("post_run_cell", self._resume)

    def call(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call `function` where cells run, when none does."""
        if self._loop is None or self._loop.is_closed():
            function(*arguments)
        else:
            self._loop.call_soon_threadsafe(function, *arguments)

    def close(self) -> None:
        """Leave the notebook alone."""
        if self._shell is not None:
            self._shell.events.unregister("pre_run_cell", self._pause)
            self._shell.events.unregister("post_run_cell", self._resume)
            self._shell = None

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """While open, the running cell waits, and lets the worker go on."""
        paused = self._worker.paused
        self._worker.resume()
        try:
            yield
        finally:
            if paused:
                self._worker.pause()

    def _pause(self, info: Any = None) -> None:
        if self._cell is not None and getattr(info, "cell_id", None) == self._cell:
            self._replaced()
        else:
            self._worker.pause()

    def _resume(self, *_: Any) -> None:
        self._worker.resume()


def _running_cell(shell: Any) -> str | None:
    """The name that the notebook gives to the cell that is running; None in a terminal."""
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    return parent.get("metadata", {}).get("cellId")
