"""The latest request counts, one thing is computed at a time, and a paused worker lets nothing run."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from explorer.networks import plain

from rfkit.explorer.worker import Request, Worker

PATIENCE = 30.0


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.close()


class Log:
    """What a worker reported."""

    def __init__(self) -> None:
        self.found: list[tuple[int, str, Any]] = []

    def __call__(self, request: Request, name: str, found: Any) -> None:
        self.found.append((request.number, name, found))


def test_results_come_in_order_and_from_another_thread(worker: Worker) -> None:
    log, threads = Log(), set()

    def compute(name: str) -> str:
        threads.add(threading.current_thread())
        return name.upper()

    request = worker.submit(["a", "b"], compute, log)
    assert worker.wait(PATIENCE)
    assert log.found == [(request.number, "a", "A"), (request.number, "b", "B")]
    assert threading.current_thread() not in threads
    assert len(threads) == 1


def test_an_error_is_a_result_and_the_rest_goes_on(worker: Worker) -> None:
    log = Log()

    def compute(name: str) -> str:
        if name == "a":
            raise ValueError("no such thing")
        return name

    worker.submit(["a", "b"], compute, log)
    assert worker.wait(PATIENCE)
    assert str(log.found[0][2]) == "no such thing"
    assert log.found[1][1:] == ("b", "b")


def test_a_newer_request_ends_the_older_one_at_its_next_forward_pass(worker: Worker) -> None:
    model, log = plain(), Log()
    begun, go_on = threading.Event(), threading.Event()
    passes: list[str] = []

    def compute(name: str) -> str:
        with worker.watch(model):
            for _ in range(3):
                if name == "old":
                    begun.set()
                    assert go_on.wait(PATIENCE)
                model(torch.zeros(1, 3, 8, 8))
                passes.append(name)
        return name

    worker.submit(["old", "never"], compute, log)
    assert begun.wait(PATIENCE)
    newer = worker.submit(["new"], compute, log)
    go_on.set()
    assert worker.wait(PATIENCE)
    assert log.found == [(newer.number, "new", "new")]
    assert passes == ["new"] * 3
    assert not any(module._forward_hooks for module in model.modules())


def test_a_paused_worker_computes_nothing_and_begins_again_what_it_had_begun(worker: Worker) -> None:
    model, log = plain(), Log()
    begun, go_on = threading.Event(), threading.Event()
    started: list[str] = []

    def compute(name: str) -> str:
        started.append(name)
        with worker.watch(model):
            begun.set()
            assert go_on.wait(PATIENCE)
            model(torch.zeros(1, 3, 8, 8))
        return name

    worker.submit(["a", "b"], compute, log)
    assert begun.wait(PATIENCE)
    pausing = threading.Thread(target=worker.pause)
    pausing.start()
    while not worker._paused:
        time.sleep(0.01)
    go_on.set()
    pausing.join(PATIENCE)
    assert not pausing.is_alive()
    assert (started, log.found) == (["a"], [])
    assert not worker.wait(0.05)
    worker.resume()
    assert worker.wait(PATIENCE)
    assert started == ["a", "a", "b"]
    assert [name for _, name, _ in log.found] == ["a", "b"]


def test_the_model_may_be_used_outside_of_the_worker(worker: Worker) -> None:
    model = plain()
    worker.submit([], str, Log())
    worker.pause()
    with worker.watch(model):
        model(torch.zeros(1, 3, 8, 8))


def test_a_closed_worker_ends_its_thread(worker: Worker) -> None:
    worker.submit(["a"], str, Log())
    assert worker.wait(PATIENCE)
    worker.close()
    assert worker._thread is not None
    worker._thread.join(PATIENCE)
    assert not worker._thread.is_alive()


def test_a_closed_worker_computes_nothing_more(worker: Worker) -> None:
    worker.close()
    log = Log()
    worker.submit(["a"], str, log)
    assert worker.wait(PATIENCE)
    assert log.found == []


def test_closing_waits_for_what_is_computed(worker: Worker) -> None:
    begun, done = threading.Event(), []

    def compute(name: str) -> str:
        begun.set()
        time.sleep(0.3)
        done.append(name)
        return name

    worker.submit(["a", "b"], compute, Log())
    assert begun.wait(PATIENCE)
    worker.close()
    assert done == ["a"]


def test_two_workers_compute_one_after_the_other(worker: Worker) -> None:
    other, running, together = Worker(), [], []

    def compute(name: str) -> str:
        running.append(name)
        time.sleep(0.05)
        together.append(len(running))
        running.remove(name)
        return name

    for each in (worker, other):
        each.submit(list("abc"), compute, Log())
    assert worker.wait(PATIENCE)
    assert other.wait(PATIENCE)
    other.close()
    assert together == [1] * 6
