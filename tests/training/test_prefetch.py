from __future__ import annotations

import gc
import threading
import traceback
from collections.abc import Iterator

import pytest

from rfkit.training.prefetch import prefetch


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "rfkit-prefetch"]


def _endless(made: list[int]) -> Iterator[int]:
    number = 0
    while True:
        made.append(number)
        yield number
        number += 1


def _broken() -> Iterator[int]:
    yield 1
    raise KeyError("lost")


def test_items_come_in_order_and_the_thread_ends() -> None:
    assert list(prefetch(iter(range(50)))) == list(range(50))
    assert not _threads()


def test_it_works_ahead_but_not_far() -> None:
    made: list[int] = []
    items = prefetch(_endless(made), ahead=2)
    assert not made
    assert next(items) == 0
    # Without anyone asking, two more are made, and a third is not.
    waited = threading.Event()
    for _ in range(100):
        waited.wait(0.005)
        if len(made) == 3:
            break
    waited.wait(0.05)
    assert made == [0, 1, 2]
    items.close()  # type: ignore[attr-defined]


def test_an_error_comes_through_with_its_traceback() -> None:
    items = prefetch(_broken())
    assert next(items) == 1
    with pytest.raises(KeyError, match="lost") as caught:
        next(items)
    assert "_broken" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert not _threads()


@pytest.mark.parametrize("how", ["closed", "dropped", "in a cycle"])
def test_no_thread_is_left_over(how: str) -> None:
    items = prefetch(_endless([]))
    next(items)
    assert len(_threads()) == 1
    if how == "closed":
        items.close()  # type: ignore[attr-defined]
    elif how == "dropped":
        del items
    else:
        cycle = {"items": items}
        cycle["itself"] = cycle  # type: ignore[assignment]
        del cycle, items
        gc.collect()
    assert not _threads()
