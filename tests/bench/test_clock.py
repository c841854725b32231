"""Which runs count, and what is taken of them, by clocks that the test moves."""

from __future__ import annotations

import math

import pytest

from rfkit.bench.clock import ProcessorClock, Run, summarise, take_turns


class Machine:
    """A wall clock and a processor clock."""

    def __init__(self) -> None:
        self.wall = self.processor = 0.0

    def work(self, seconds: float, *, threads: float = 1.0) -> None:
        self.wall += seconds
        self.processor += threads * seconds

    def clock(self) -> ProcessorClock:
        return ProcessorClock(lambda: self.wall, lambda: self.processor)


def test_the_time_is_that_of_the_call_alone() -> None:
    machine = Machine()
    machine.work(5)
    run = machine.clock()(lambda: machine.work(0.2, threads=1.5))
    assert run.seconds == pytest.approx(0.2)
    assert run.busy == pytest.approx(1.5)


def test_calls_take_turns_and_warm_up_first() -> None:
    machine, order = Machine(), []
    clock = machine.clock()

    def call(name: str, seconds: float) -> None:
        order.append(name)
        # The first two calls are slow, as those that make something are.
        machine.work(seconds * (10 if order.count(name) <= 2 else 1))

    calls = {
        name: (clock, lambda name=name, seconds=seconds: call(name, seconds)) for name, seconds in (("a", 1), ("b", 2))
    }
    steps = []
    found = take_turns(calls, runs=3, warmup=2, after=lambda: steps.append(1))
    assert order == ["a", "b"] * 5
    assert {name: [run.seconds for run in runs] for name, runs in found.items()} == {
        "a": pytest.approx([1, 1, 1]), "b": pytest.approx([2, 2, 2]),
    }  # fmt: skip
    assert len(steps) == 10


@pytest.mark.parametrize(("deadline", "rounds"), [(math.inf, 20), (9.5, 8), (0.0, 3)])
def test_no_round_begins_after_the_deadline_but_three_are_made(deadline: float, rounds: int) -> None:
    machine = Machine()
    calls = {"a": (machine.clock(), lambda: machine.work(1))}
    found = take_turns(calls, runs=20, warmup=2, deadline=deadline, now=lambda: machine.wall)
    assert len(found["a"]) == rounds


def test_the_median_and_the_quantiles_are_over_the_runs_that_were_kept() -> None:
    runs = [Run(seconds, 1.0) for seconds in (5, 1, 3, 2, 4)] + [Run(100, 0.5), Run(200, 0.89)]
    timing = summarise(runs, 1)
    assert (timing.median, timing.runs, timing.kept) == (3, 7, 5)
    assert (timing.low, timing.high) == pytest.approx((1.4, 4.6))


def test_one_thread_is_to_have_all_of_its_time() -> None:
    assert summarise([Run(1, 0.5), Run(1, 0.6)], 1) is None


def test_several_threads_are_to_have_what_the_busiest_run_had() -> None:
    timing = summarise([Run(1, 6.0), Run(2, 5.5), Run(9, 3.0)], 8)
    assert (timing.median, timing.kept) == (1.5, 2)


def test_on_another_device_all_runs_count() -> None:
    assert summarise([Run(1, 0.0), Run(3, 0.0)], 0).kept == 2
