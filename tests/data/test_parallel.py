from __future__ import annotations

import threading
import time

import pytest

from rfkit.data.parallel import completed


def test_every_item_comes_with_its_result() -> None:
    assert dict(completed(lambda number: number**2, range(20), workers=3)) == {
        number: number**2 for number in range(20)
    }
    assert list(completed(abs, [])) == []


def test_items_are_taken_at_once() -> None:
    meeting = threading.Barrier(3, timeout=20)

    def meet(number: int) -> int:
        meeting.wait()
        return number

    assert len(list(completed(meet, range(3), workers=3))) == 3


def test_an_error_leaves_the_rest_undone() -> None:
    done = []

    def work(number: int) -> None:
        if number == 2:
            raise ValueError("two")
        time.sleep(0.005)
        done.append(number)

    with pytest.raises(ValueError, match="two"):
        list(completed(work, range(300), workers=1))
    assert len(done) < 100


def test_workers_are_checked() -> None:
    with pytest.raises(ValueError, match="workers=0 must be above 0"):
        list(completed(abs, [1], workers=0))
