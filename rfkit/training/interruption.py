"""Ctrl-C between steps, not inside one."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

__all__ = ["Interruption"]


class Interruption:
    """While it is entered, the first Ctrl-C (or the interrupt button of a notebook) only sets `requested`.

    A step that is cut off leaves weights half updated, which no checkpoint may hold; so the loop looks at `requested`
    after each step. A second Ctrl-C interrupts at once. Outside the main thread nothing is changed.

    Attributes:
        requested: Whether an interrupt has come.
    """

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> Interruption:
        self._active = threading.current_thread() is threading.main_thread()
        if self._active:
            self._former = signal.signal(signal.SIGINT, self._request)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restore()

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self._restore()

    def _restore(self) -> None:
        if self._active:
            signal.signal(signal.SIGINT, self._former)
            self._active = False
