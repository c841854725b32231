from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from calibration_rows import made_up
from hypothesis import given
from hypothesis import strategies as st

from rfkit._checks import DataError
from rfkit.results.calibration import Calibration, interval
from rfkit.results.ranks import rank_correlation


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=12))
def test_the_rank_correlation_is_that_of_pandas_ranks(pairs: list[tuple[int, int]]) -> None:
    one, other = np.array(pairs).T
    frame = pd.DataFrame({"one": one, "other": other}).rank()
    if frame.nunique().min() == 1:
        assert np.isnan(rank_correlation(one, other))
    else:
        assert rank_correlation(one, other) == pytest.approx(frame["one"].corr(frame["other"]), abs=1e-9)


def test_an_interval_holds_the_mean_and_narrows_with_more_rows() -> None:
    values = np.random.default_rng(1).normal(3, 1, (400, 1))
    value, low, high = interval(values, lambda rows: rows.mean(axis=(-2, -1)))
    assert value == pytest.approx(values.mean())
    # 1.96 standard errors on either side.
    assert (low, high) == (pytest.approx(value - 0.098, abs=0.015), pytest.approx(value + 0.098, abs=0.015))
    assert interval(values, lambda rows: rows.mean(axis=(-2, -1)), seed=1) != (value, low, high)
    assert np.isnan(interval(values, lambda rows: np.full(rows.shape[:-2], np.nan))).all()


def test_readings_are_mean_rates_and_strongest_branches() -> None:
    found = made_up().readings()
    cue = found[(found["network"] == "one block") & (found["kind"] == "cue") & (found["needed"] == 9)]
    one = cue[cue["seed"] == 0].set_index("measure")
    # By hand: |w| is 0.05, 0.06, ..., 0.10, with 0.02 more at rate 9.
    weights = np.array([0.05, 0.06, 0.07, 0.08, 0.11, 0.10])
    assert one.loc["weight", "reading"] == pytest.approx(weights @ [1, 3, 5, 7, 9, 11] / weights.sum())
    assert one.loc["weight", "share"] == pytest.approx(0.11 / weights.sum())
    for measure in ("growth", "gain", "contribution", "lost", "field"):
        assert one.loc[measure, "reading"] == pytest.approx(9)
    assert one.loc["learned", "reading"] == pytest.approx(9.2)
    assert one.loc["alone", "strongest"] == 9
    assert one["right"].all()
    # 0.07 at rate 1 is less than 0.10 at rate 11.
    small = found[(found["network"] == "one block") & (found["kind"] == "cue") & (found["needed"] == 1)]
    assert not small[small["measure"] == "weight"]["right"].any()
    assert not found[found["kind"] == "null"]["right"].any()


def test_trust_tells_right_measures_from_wrong_ones() -> None:
    trust = made_up().trust().set_index(["network", "measure"])
    assert trust.loc[("one block", "lost"), ["correlation", "low", "high", "right"]].tolist() == [1, 1, 1, 1]
    assert trust.loc[("one block", "lost"), "error"] == pytest.approx(0)
    assert trust.loc[("one block", "weight"), "right"] < 1
    assert trust.loc[("one block", "weight"), "runs"] == 24
    assert trust.loc[("one block", "learned"), "runs"] == 18
    assert ("two blocks", "alone") not in trust.index
    with pytest.raises(ValueError, match="kinds='texture' is not known"):
        made_up().trust(kinds=("cue", "texture"))


def test_mixtures_are_compared_between_their_two_branches() -> None:
    found = made_up().mixtures()
    assert set(found["true"]) == {0.25, 0.5, 0.75}
    exact = found[found["measure"] != "weight"]
    assert exact["found"].tolist() == pytest.approx(exact["true"].tolist())
    half = found[(found["measure"] == "weight") & (found["true"] == 0.5)]["found"]
    assert half.tolist() == pytest.approx([0.10 / 0.17] * 3)


def test_the_null_task_is_set_beside_cues() -> None:
    found = made_up().null_task().groupby(["network", "measure"])["found"].agg(["mean", "count"])
    for network in ("one block", "two blocks"):
        for measure in ("growth", "gain", "contribution", "lost", "field"):
            assert found.loc[(network, measure)].tolist() == [0, 3]
    # By hand: 0.10 at rate 11 without training; with it, at rates 1 to 9 and at 11, 0.10, 0.10, 0.10, 0.10, 0.11, 0.12.
    assert found.loc[("one block", "weight"), "mean"] == pytest.approx(0.10 / np.mean([0.1, 0.1, 0.1, 0.1, 0.11, 0.12]))


def test_the_claims_are_decided_by_their_intervals() -> None:
    claims = made_up().claims().set_index("case")
    assert claims.loc["one block: not needed", "verdict"] == "little effect"
    assert claims.loc["one block: needed", ["value", "verdict"]].tolist() == [pytest.approx(0.4), "an effect"]
    assert claims.loc["two blocks: needed, absent", "value"] == pytest.approx(0.28)
    assert claims.loc["ESP: above 7, not needed", ["value", "verdict"]].tolist() == [1, "rarely learned"]
    assert claims.loc["ESP: 9, needed", ["value", "verdict"]].tolist() == [pytest.approx(0.3), "learned"]
    assert claims.loc["DAB: 1, needed", "runs"] == 3


def test_a_table_comes_back_from_its_file(tmp_path: Path) -> None:
    table = made_up(seeds=1)
    again = Calibration.read(table.write(tmp_path / "calibration.csv"))
    pd.testing.assert_frame_equal(again.to_frame(), table.to_frame(), rtol=1e-5, check_dtype=False)
    assert again.to_frame()["distance"].iloc[0] == "1"


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"other.csv: is no table of a calibration .*must be run, network"):
        Calibration.read(path)
