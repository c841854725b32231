"""`rfkit sweep`: what it lists, what it says at the end, its exit code."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path

import pytest
from training.sweeping import InProcess, write_sweep

from rfkit.cli_sweep import add_sweep
from rfkit.results.sweep import SweepResults
from rfkit.training import sweeps

DIVERGES = '[[variants]]\nlabel = "bad"\nlearning_rate = 1e30\n[[variants]]\nlabel = "good"\n'


def _run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_sweep(parser.add_subparsers())
    parsed = parser.parse_args(["sweep", *arguments])
    return parsed.run(parsed)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> InProcess:
    engine = InProcess()
    monkeypatch.setattr(sweeps, "using_ray", lambda **_: contextlib.nullcontext(engine))
    return engine


def test_a_dry_run_lists_the_runs_and_starts_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_sweep(tmp_path, '[[variants]]\nlabel = "VI-1"\nmodel_options = { expansion = 1 }\n')
    assert _run(str(path), "--dry-run", "--out", str(tmp_path / "out"), "--epochs", "3", "--seeds", "4,5") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["run", "parameters", "multiply-adds", "epochs", "steps", "status"]
    assert [line.split()[0] for line in lines[1:-1]] == ["VI-1-seed4", "VI-1-seed5"]
    assert " G at 32x32 " in lines[1]
    assert lines[1].endswith("waiting")
    assert "0 of 3" in lines[1]
    assert lines[-1].startswith("2 runs, 0 of them finished, in ")
    assert not (tmp_path / "out").exists()


def test_the_exit_code_tells_whether_a_run_failed(
    tmp_path: Path, engine: InProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = write_sweep(tmp_path, DIVERGES), tmp_path / "out"
    assert _run(str(path), "--out", str(out), "--seeds", "0", "--threads", "1") == 1
    printed = capsys.readouterr().out
    assert "failed: bad-seed0: DivergenceError: Training diverged" in printed
    assert printed.endswith("1 of 2 runs are finished.\n")
    assert engine.settings["good-seed0"]["threads"] == 1
    # The curves of a run are drawn into its folder.
    assert (out / "good-seed0" / "curves.png").exists()
    assert SweepResults.read(out / "results.csv").count("failed") == 1

    assert _run(str(write_sweep(tmp_path)), "--out", str(tmp_path / "sound"), "--seeds", "0") == 0
    miou = SweepResults.read(tmp_path / "sound" / "results.csv").columns["miou"][0]
    row = capsys.readouterr().out.splitlines()[1]
    assert row.split()[0] == "dwrseg_b"
    assert f"{100 * miou:.2f}" in row
    assert row.endswith("1 of 1")


def test_settings_are_replaced_on_the_command_line(tmp_path: Path, engine: InProcess) -> None:
    path = write_sweep(tmp_path)
    arguments = ["--seeds", "3", "--set", "batch_size=4", "--set", "model_options.stem=narrow", "--epochs", "2"]
    assert _run(str(path), "--out", str(tmp_path / "out"), *arguments) == 0
    results = SweepResults.read(tmp_path / "out" / "results.csv")
    assert results.columns["seed"] == (3,)
    assert results.columns["steps"] == (2,)
    assert results.columns["model_options"] == ('{"blocks": [1, 1, 1], "stem": "narrow"}',)


def test_seeds_that_are_no_numbers_are_an_error_of_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _run("x.toml", "--seeds", "a,b")
    assert "'a,b' is not of the form 0,1,2" in capsys.readouterr().err


def test_without_ray_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r'^ray not installed; pip install "rfkit\[sweep\]" installs it\.$'):
        _run(str(write_sweep(tmp_path)), "--out", str(tmp_path / "out"))
