"""`rfkit calibrate` as typed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from calibration_rows import made_up

from rfkit.cli import main
from rfkit.results.calibration import Calibration
from rfkit.studies import calibration


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What `calibrate` is called with, while it returns made-up numbers."""
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(calibration, "calibrate", lambda **options: (calls.append(options), made_up(seeds=1))[1])
    return calls


def test_the_tables_are_printed_and_written(
    asked: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", "--out", "here", "--threads", "1", "--table", str(tmp_path / "table.csv")]) == 0
    assert asked == [{"out": Path("here"), "quick": False, "threads": 1}]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["network", "measure", "runs", "correlation", "low", "high", "right", "error"]
    assert any(line.split()[:4] == ["one", "block", "lost", "8"] for line in lines)
    assert any("rates above 7 have little effect" in line and line.endswith("an effect") for line in lines)
    assert "here/calibration.csv" in lines[-1]
    assert len(Calibration.read(tmp_path / "table.csv")) == len(made_up(seeds=1))


def test_quick_has_a_folder_of_its_own_and_no_claims(
    asked: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", "--quick"]) == 0
    assert asked == [{"out": Path("runs/calibration-quick"), "quick": True, "threads": None}]
    assert "little effect" not in capsys.readouterr().out
