from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from rfkit.data.distance_tasks import limited_accuracy, square_window
from rfkit.paper import calibration, calibration_claims
from rfkit.paper.builder import FIGURES
from rfkit.paper.calibration import measured_calibration
from rfkit.paper.context import Context, MissingInput
from rfkit.results.base import Result
from rfkit.studies.calibration import planned_runs
from rfkit.studies.calibration_runs import CalibrationRun, Schedule, measure_run, train_run


def test_what_ships_covers_five_distances_three_seeds_mixtures_and_the_null_task() -> None:
    frame = measured_calibration().to_frame()
    cues = frame[(frame["network"] == "one block") & (frame["kind"] == "cue")]
    assert cues.groupby("distance")["seed"].nunique().tolist() == [3] * 6
    assert frame[frame["kind"] == "mixture"]["distance"].nunique() == 3
    assert {"null", "size"} <= set(frame["kind"])
    assert {"one block", "two blocks", "alone", "learned", "ESP", "DAB"} == set(frame["network"])
    assert len(frame) == len(frame.drop_duplicates(["run", "branch"]))
    # One schedule for all.
    assert len(frame[["steps", "batch_size", "learning_rate", "images", "test_images", "side"]].drop_duplicates()) == 1


def test_no_branch_alone_beats_the_bound_by_more_than_chance() -> None:
    frame = measured_calibration().to_frame()
    alone = frame[(frame["network"] == "alone") & (frame["kind"] == "cue")]
    assert len(alone) >= 36
    for row in alone.to_dict("records"):
        bound = limited_accuracy("cue", int(row["distance"]), square_window(int(row["rate"]), int(row["rate"])))
        assert row["ceiling"] == pytest.approx(bound, abs=1e-5)
        assert row["accuracy"] < bound + 0.02


def test_what_ships_is_what_this_code_trains() -> None:
    frame = measured_calibration().to_frame()
    run, schedule = CalibrationRun("alone", "cue", 7, (7,), seed=1), Schedule()
    (shipped,) = frame[frame["run"] == run.name].to_dict("records")
    (row,) = measure_run(run, schedule, train_run(run, schedule))
    # Other processors round in another order.
    assert row["accuracy"] == pytest.approx(shipped["accuracy"], abs=0.02)
    assert {name: row[name] for name in ("kind", "distance", "needed", "rates", "steps")} == {
        name: shipped[name] for name in ("kind", "distance", "needed", "rates", "steps")
    }
    assert set(frame["run"]) == {planned.name for planned in planned_runs()}


def test_both_figures_and_the_table_are_made_from_what_ships() -> None:
    context = Context(out=Path("figures"))
    for module in (calibration, calibration_claims):
        assert FIGURES[module.NAME] == module.__name__
        result = module.compute(context)
        assert len(module.draw(result).axes) in (4, 8)
    plt.close("all")
    text = calibration.text(calibration.compute(context))
    assert "| one block " in text
    assert "contribution" in text


def test_what_the_claims_figure_shows_is_in_its_table(tmp_path: Path) -> None:
    result = calibration_claims.compute(Context(out=tmp_path))
    again = Result.load(result.save(tmp_path / "claims.npz"))
    assert again == result
    series = again.to_frame().groupby("series").size()
    shipped = measured_calibration()
    assert series.to_dict() == {
        "claim": len(shipped.claims()), "mixture": len(shipped.mixtures()), "null": len(shipped.null_task()),
    }  # fmt: skip


def test_without_the_table_the_entry_is_skipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(calibration.resources, "files", lambda _: tmp_path)
    with pytest.raises(MissingInput, match="`rfkit calibrate` makes one"):
        calibration.compute(Context(out=tmp_path))
