"""The rules, on evidence made by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfkit.results.advice import TrainingEvidence
from rfkit.studies.adviser.judging import channel_ratio, judge_stage

Make = Callable[..., TrainingEvidence]

CLEAR = {1: (0.1, 0.08, 0.12, 0.55), 3: (0.05, 0.03, 0.07, 0.25), 5: (0.04, 0.02, 0.06, 0.2)}
SPARE_5 = {**CLEAR, 5: (0.001, -0.001, 0.004, 0.1)}
SPARE_1 = {1: (0.0, -0.001, 0.002, 0.2), 3: (0.1, 0.05, 0.12, 0.5), 5: (0.05, 0.02, 0.07, 0.3)}
ALL_WIDE = {rate: (0.0, -0.03, 0.03, gain) for rate, gain in ((1, 0.2), (3, 0.5), (5, 0.3))}
WIDE_5 = {**CLEAR, 5: (0.0, -0.03, 0.03, 0.2)}


def _judge(make: Make, *drops: Any, **options: Any) -> Any:
    return judge_stage("s", [make({"s": rates}, seed=seed, **options) for seed, rates in enumerate(drops)])


def _unmet(judgement: Any) -> set[str]:
    return {criterion.name for criterion in judgement.criteria if not criterion.met}


def test_clear_evidence_of_three_long_trainings_is_strong(training: Make) -> None:
    found = _judge(training, CLEAR, CLEAR, CLEAR)
    assert (found.verdicts, found.rates, found.alpha) == (("needed",) * 3, (1, 3, 5), (2, 1, 1))
    assert (found.strength, _unmet(found)) == ("strong", set())


def test_a_rate_whose_removal_costs_nothing_is_left_out(training: Make) -> None:
    found = _judge(training, SPARE_5, SPARE_5, SPARE_5)
    assert (found.verdicts[2], found.rates) == ("spare", (1, 3))
    assert "leave out 5" in found.sentence


def test_it_must_be_spare_in_every_training(training: Make) -> None:
    found = _judge(training, SPARE_5, SPARE_5, CLEAR)
    assert (found.verdicts[2], found.rates) == ("undecided", (1, 3, 5))
    assert {"seeds agree", "decided"} <= _unmet(found)


def test_a_wide_interval_is_no_reason_to_leave_a_rate_out(training: Make) -> None:
    found = _judge(training, WIDE_5, WIDE_5, WIDE_5)
    assert (found.verdicts[2], found.rates) == ("undecided", (1, 3, 5))
    assert "5 undecided and therefore kept" in found.sentence
    assert found.strength == "weak"


def test_the_smallest_rate_always_stays(training: Make) -> None:
    found = _judge(training, SPARE_1, SPARE_1, SPARE_1)
    assert (found.verdicts[0], found.rates[0]) == ("spare", 1)
    # It gets the least there is, and the rate that costs most the most.
    assert found.alpha == (1, 2, 1)


@pytest.mark.parametrize(
    ("options", "strength", "unmet"),
    [
        ({"epochs": 120}, "moderate", {"epochs"}),
        ({"epochs": 20}, "weak", {"epochs"}),
        ({"miou": 0.06}, "none", {"learned"}),
        ({"moved": False}, "weak", {"moved"}),
    ],
)
def test_how_sure(training: Make, options: dict[str, Any], strength: str, unmet: set[str]) -> None:
    found = _judge(training, SPARE_5, SPARE_5, SPARE_5, **options)
    assert (found.strength, _unmet(found)) == (strength, unmet)


def test_without_evidence_everything_stays_with_the_papers_channels(training: Make) -> None:
    found = _judge(training, ALL_WIDE, ALL_WIDE, ALL_WIDE, moved=False)
    assert found.strength == "none"
    assert (found.rates, found.alpha) == ((1, 3, 5), (2, 1, 1))
    assert "nothing can be told yet" in found.sentence


def test_trainings_that_put_different_rates_first_give_the_papers_channels(training: Make) -> None:
    swapped = {1: CLEAR[3], 3: CLEAR[1], 5: CLEAR[5]}
    found = _judge(training, SPARE_1, SPARE_1, CLEAR)
    assert (found.rates, found.alpha) == ((1, 3, 5), (2, 1, 1))
    assert "channels 2:1:1 (the paper's, because the trainings do not agree" in found.sentence
    assert _judge(training, swapped, swapped, swapped).alpha == (1, 2, 1)


def test_one_training_is_weak_however_clear(training: Make) -> None:
    found = _judge(training, CLEAR)
    assert (found.strength, _unmet(found)) == ("weak", {"seeds", "seeds agree"})


def test_measures_that_contradict_each_other_are_weak_evidence(training: Make) -> None:
    against = {1: (0.1, 0.08, 0.12, 0.2), 3: (0.05, 0.03, 0.07, 0.3), 5: (0.04, 0.02, 0.06, 0.5)}
    found = _judge(training, against, against, against)
    assert (found.strength, _unmet(found)) == ("weak", {"measures agree"})


@pytest.mark.parametrize(
    ("evidence", "ratio"),
    [
        ([0.5, 0.25, 0.25], (2, 1, 1)),
        ([0.9, 0.1], (3, 1)),
        ([0.5, 0.5], (1, 1)),
        ([1.0], (1,)),
        ([0.34, 0.33, 0.33], (2, 1, 1)),
        ([0.0, 0.0, 1.0], (1, 1, 2)),
        ([0.0, 0.0], (1, 1)),
        ([0.4, 0.3, 0.1, 0.1, 0.1], (3, 2, 1, 1, 1)),
    ],
)
def test_channels_are_rounded_to_quarters_or_eighths(evidence: list[float], ratio: tuple[int, ...]) -> None:
    assert channel_ratio(evidence) == ratio


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8))
def test_every_rate_gets_channels_and_more_evidence_never_fewer(evidence: list[float]) -> None:
    ratio = channel_ratio(evidence)
    assert min(ratio) >= 1
    assert sum(ratio) <= 8
    for one, first in zip(evidence, ratio, strict=True):
        for other, second in zip(evidence, ratio, strict=True):
            assert one <= other or first >= second
