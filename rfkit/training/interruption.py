"""Ctrl-C between steps, not inside one."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Interruption"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """While it is entered, the first Ctrl-C (the interrupt button of a notebook, a SIGTERM) only sets `requested`.

    A step that is cut off leaves weights half updated, which no checkpoint may hold; so the loop looks at `requested`
    after each step. A second one interrupts at once, unless `repeated` is false. Outside the main thread nothing is
    changed.

    Args:
        repeated: Whether a second signal interrupts. Processes that torchrun started get each signal twice.

    Attributes:
        requested: Whether a signal has come.
    """

    def __init__(self, *, repeated: bool = True) -> None:
        self.requested = False
        self._repeated = repeated
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            # Schedulers and torchrun ask a process to end by SIGTERM, some time before they kill it.
            self._former = {number: signal.signal(number, self._request) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restore()

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        if self._repeated:
            self._restore()

    def _restore(self) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._former = {}
