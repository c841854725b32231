"""One thing after another in a thread: the latest request counts, and a cell of the notebook goes first."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from rfkit.hooks import observe

__all__ = ["Request", "Worker"]

# Held while something is computed: two explorers may look into one network.
_COMPUTING = threading.Lock()
_PATIENCE = 0.05  # seconds


class _CancelledError(Exception):
    """Raised in the worker when what it computes is no longer wanted, or must wait."""


@dataclass(frozen=True)
class Request:
    """Things to compute, in order.

    Attributes:
        number: a later request has a larger one.
        names: what each of them is called.
        compute: computes the one of that name.
        report: called in the worker's thread with the request, a name, and what came out or the exception.
    """

    number: int
    names: tuple[str, ...]
    compute: Callable[[str], Any]
    report: Callable[[Request, str, Any], None]


class Worker:
    """A thread that computes one thing at a time, for the latest request alone.

    An analysis sets hooks on the model, switches its mode and borrows torch's random generator. So nothing else may use
    them meanwhile: while a cell of the notebook runs, the worker is paused (`pause`, `resume`), and what it had begun
    is begun again afterwards. A computation is left at its next forward pass, where it is no longer wanted.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: Request | None = None
        self._latest = 0
        self._busy = self._paused = self._closed = False
        self._thread: threading.Thread | None = None

    @property
    def paused(self) -> bool:
        """Whether nothing is computed until `resume`."""
        return self._paused

    @property
    def latest(self) -> int:
        """Number of the latest request."""
        return self._latest

    def submit(
        self, names: Sequence[str], compute: Callable[[str], Any], report: Callable[[Request, str, Any], None]
    ) -> Request:
        """Compute `names` in the thread; what was asked for before is given up. Once closed, nothing is computed."""
        with self._changed:
            self._latest += 1
            request = Request(self._latest, tuple(names), compute, report)
            if self._closed:
                return request
            self._waiting = request
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="rfkit explorer", daemon=True)
                self._thread.start()
            self._changed.notify_all()
            return request

    def pause(self) -> None:
        """Let nothing be computed until `resume`; returns when nothing is."""
        with self._changed:
            self._paused = True
            self._changed.wait_for(lambda: not self._busy)

    def resume(self) -> None:
        """Go on with what was waiting."""
        with self._changed:
            self._paused = False
            self._changed.notify_all()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is left to compute; False if that took longer than `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._busy and self._waiting is None, timeout)

    def close(self) -> None:
        """End the thread; returns when nothing is computed any more."""
        with self._changed:
            self._closed, self._waiting = True, None
            self._changed.notify_all()
            if threading.current_thread() is not self._thread:
                self._changed.wait_for(lambda: not self._busy)

    @contextlib.contextmanager
    def watch(self, model: nn.Module) -> Iterator[None]:
        """While open in the worker's thread, a forward pass of `model` ends what is no longer wanted."""
        if threading.current_thread() is not self._thread:
            yield
            return

        def look(_name: str, _inputs: tuple[Any, ...], _output: Any) -> None:
            if self._interrupted():
                raise _CancelledError

        with observe(model, model, look):
            yield

    def _interrupted(self) -> bool:
        return self._paused or self._closed or self._waiting is not None

    def _loop(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._closed or (self._waiting is not None and not self._paused))
                if self._closed:
                    return
                request, self._waiting, self._busy = self._waiting, None, True
            assert request is not None
            left = self._run(request)
            with self._changed:
                if left and self._waiting is None and not self._closed:
                    self._waiting = Request(request.number, left, request.compute, request.report)

    def _run(self, request: Request) -> tuple[str, ...]:
        """Compute what a request asks for; the names that are left when it is interrupted."""
        for index, name in enumerate(request.names):
            # Asked for again and again, so that a cell of the notebook does not wait for another explorer.
            while not _COMPUTING.acquire(timeout=_PATIENCE):
                if self._interrupted():
                    return request.names[index:]
            try:
                if self._interrupted():
                    return request.names[index:]
                found = request.compute(name)
            except _CancelledError:
                return request.names[index:]
            except Exception as error:  # What goes wrong is shown, whatever it is.
                found = error
            finally:
                _COMPUTING.release()
            request.report(request, name, found)
        return ()
