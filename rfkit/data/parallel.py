"""One function of many items at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

from rfkit._checks import check_positive

__all__ = ["completed"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def completed(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int | None = None
) -> Iterator[tuple[Item, Result]]:
    """Each item with what the function makes of it, in the order in which they are done.

    Threads do it: decoders, checksums and file access release the interpreter lock, and threads start at once. After
    an error or an interrupt, what has not begun is left undone.

    Args:
        function: Called from several threads; its results wait until they are taken, so they should be small.
        items: What to call it with.
        workers: Threads; None: one a processor that this process may use.

    Example:
        >>> sorted(completed(abs, [-2, 1], workers=2))
        [(-2, 2), (1, 1)]
    """
    if workers is None:
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    check_positive("workers", workers)
    pool = ThreadPoolExecutor(workers)
    try:
        futures = {pool.submit(function, item): item for item in items}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        pool.shutdown(cancel_futures=True)
