"""The time of single runs, networks in turns, and which runs count."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch

__all__ = ["Clock", "CudaClock", "ProcessorClock", "Run", "Timing", "summarise", "take_turns"]

# A run counts if it got at least this share of the processor time that it can use.
_SHARE = 0.9
_Name = TypeVar("_Name")


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        seconds: of the clock on the wall, or of the device.
        busy: processor time of this process over `seconds`: how many threads computed, on the mean.
    """

    seconds: float
    busy: float


@dataclass(frozen=True)
class Timing:
    """Runs in numbers.

    Attributes:
        median: seconds of a run.
        low: 10 % quantile.
        high: 90 % quantile.
        runs: how many there were.
        kept: how many were taken for the other numbers.
    """

    median: float
    low: float
    high: float
    runs: int
    kept: int


class Clock(Protocol):
    """Takes the time of a call."""

    def __call__(self, function: Callable[[], object]) -> Run:
        """The time of one call."""


class ProcessorClock:
    """Wall time of a call that has ended when it returns."""

    def __init__(
        self, wall: Callable[[], float] = time.perf_counter, processor: Callable[[], float] = time.process_time
    ) -> None:
        self._wall, self._processor = wall, processor

    def __call__(self, function: Callable[[], object]) -> Run:
        """The time of one call."""
        used, begun = self._processor(), self._wall()
        function()
        seconds, used = self._wall() - begun, self._processor() - used
        return Run(seconds, used / max(seconds, 1e-9))


class CudaClock:
    """Time on a CUDA device from the start of a call's first kernel to the end of its last."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def __call__(self, function: Callable[[], object]) -> Run:
        """The time of one call."""
        with torch.cuda.device(self._device):
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            torch.cuda.synchronize()
            begin.record()
            function()
            end.record()
            end.synchronize()
            return Run(begin.elapsed_time(end) / 1000, 1.0)


def take_turns(
    calls: Mapping[_Name, tuple[Clock, Callable[[], object]]],
    *,
    runs: int,
    warmup: int,
    deadline: float = float("inf"),
    now: Callable[[], float] = time.monotonic,
    after: Callable[[], object] = lambda: None,
) -> dict[_Name, list[Run]]:
    """The runs of each call, one of each in every round, so that what disturbs the machine disturbs all alike.

    Args:
        calls: name -> clock and call.
        runs: rounds that count.
        warmup: rounds before, that do not.
        deadline: value of `now` after which no further round is begun; the rounds so far count, at least three.
        now: seconds.
        after: called after every run, also those of the warm-up.
    """
    found: dict[_Name, list[Run]] = {name: [] for name in calls}
    for turn in range(warmup + runs):
        if turn >= warmup + 3 and now() > deadline:
            break
        for name, (clock, function) in calls.items():
            run = clock(function)
            if turn >= warmup:
                found[name].append(run)
            after()
    return found


def summarise(runs: Sequence[Run], threads: int) -> Timing | None:
    """Median and quantiles over the runs that had the processor to themselves; None where none had.

    Such a run used at least 90 % of the processor time that it can use: with one thread that is all of its own time;
    with several, which are never all at work, as much as the busiest run got.

    Args:
        runs: of one network.
        threads: of the processor; 0 where its time does not matter, so that all runs count.
    """
    whole = max((run.busy for run in runs), default=0.0) if threads > 1 else float(threads)
    kept = sorted(run.seconds for run in runs if run.busy >= _SHARE * whole)
    if not kept:
        return None
    return Timing(statistics.median(kept), _quantile(kept, 0.1), _quantile(kept, 0.9), len(runs), len(kept))


def _quantile(ordered: Sequence[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])
