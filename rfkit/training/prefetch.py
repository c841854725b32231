"""Work ahead of the one who waits for it, in a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

__all__ = ["prefetch"]

_Item = TypeVar("_Item")
_END = object()


def prefetch(source: Iterable[_Item], *, ahead: int = 2) -> Iterator[_Item]:
    """The items of `source`, made in a thread while the last one is used.

    The thread starts with the first `next`. It ends when the source does, when the source fails, which is raised here
    with its traceback, and when this iterator is closed or dropped.

    Args:
        source: Only the thread touches it from then on.
        ahead: Items at most that are made, or being made, and not yet taken.

    Returns:
        An iterator.

    Example:
        >>> list(prefetch(number**2 for number in range(4)))
        [0, 1, 4, 9]
    """
    ready: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
    places, stop = threading.Semaphore(ahead), threading.Event()
    # A daemon: an iterator that is still open at the end of the program does not keep it alive.
    thread = threading.Thread(target=_fill, args=(source, ready, places, stop), name="rfkit-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is _END:
                return
            places.release()
            yield item
            # What the caller has dropped should be gone before the next item is waited for.
            del item
    finally:
        stop.set()
        places.release()
        # The garbage collector may run in any thread, in that one too.
        if thread is not threading.current_thread():
            thread.join()


def _fill(
    source: Iterable[_Item],
    ready: queue.SimpleQueue[tuple[Any, BaseException | None]],
    places: threading.Semaphore,
    stop: threading.Event,
) -> None:
    try:
        items = iter(source)
        while places.acquire() and not stop.is_set():
            item = next(items, _END)
            ready.put((item, None))
            if item is _END:
                return
    except BaseException as error:
        ready.put((None, error))
