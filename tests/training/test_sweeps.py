"""Sweeps: what is run, what is not run again, what the table says. The engine here runs a run when it is started."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from training.sweeping import InProcess, write_sweep

from rfkit._checks import DataError
from rfkit.models.weights import read_card
from rfkit.results.sweep import COLUMNS, SweepResults
from rfkit.training import sweeps
from rfkit.training.locks import locked
from rfkit.training.sweep_engine import Outcome, train_one
from rfkit.training.sweep_plan import plan_sweep
from rfkit.training.sweeps import sweep

DIVERGES = '[[variants]]\nlabel = "bad"\nlearning_rate = 1e30\n[[variants]]\nlabel = "good"\n'


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[SweepResults, InProcess]]:
    """Sweep a file into one folder, and say what was run."""

    def run(path: Path, engine: InProcess | None = None, **options: Any) -> tuple[SweepResults, InProcess]:
        engine = engine or InProcess()

        @contextlib.contextmanager
        def using(**_: Any) -> Iterator[InProcess]:
            yield engine

        monkeypatch.setattr(sweeps, "using_ray", using)
        return sweep(path, **{"out": tmp_path / "out", "threads": 1, "progress": False, **options}), engine

    return run


def _times(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.glob("*/*") if path.is_file() and path.suffix}


def test_every_run_is_trained_once(go: Any, tmp_path: Path) -> None:
    path = write_sweep(tmp_path, '[[variants]]\nlabel = "I-MS"\nmodel_options = { multiple = true }\n')
    results, engine = go(path)
    assert engine.started == ["I-MS-seed0", "I-MS-seed1"]
    frame = results.to_frame()
    assert tuple(frame) == COLUMNS
    assert set(frame["status"]) == {"finished"}
    first = frame.iloc[0].to_dict()
    card = read_card(tmp_path / "out" / "I-MS-seed0" / "weights.safetensors")
    assert first["miou"] == card.scores["miou"]
    assert json.loads(first["model_options"]) == {"blocks": [1, 1, 1], "multiple": True} == card.options
    expected = {
        "sweep": "tiny", "run": "I-MS-seed0", "label": "I-MS", "model": "dwrseg_b", "overrides": "{}", "seed": 0,
        "epochs": 1, "horizon_epochs": 1, "steps": 2, "height": 32, "width": 32, "data": "folder", "split": "train",
        "evaluated": "val", "recipe": "camvid-paper-half", "folder": str(tmp_path / "out" / "I-MS-seed0"), "error": "",
    }  # fmt: skip
    assert {name: first[name] for name in expected} == expected
    assert SweepResults.read(tmp_path / "out" / "results.csv") == results

    before = _times(tmp_path / "out")
    again, engine = go(path)
    assert engine.started == []
    assert _times(tmp_path / "out") == before
    assert again == results


def test_more_seeds_run_alone(go: Any, tmp_path: Path) -> None:
    path = write_sweep(tmp_path)
    go(path, seeds=[0])
    results, engine = go(path, seeds=[0, 5])
    assert engine.started == ["dwrseg_b-seed5"]
    summary = results.summary().iloc[0]
    scores = results.to_frame()["miou"]
    assert (summary["runs"], summary["n"]) == (2, 2)
    assert summary["mean"] == pytest.approx(scores.mean())
    assert summary["std"] == pytest.approx(abs(scores[0] - scores[1]) / 2**0.5)


def test_a_failing_run_leaves_its_traceback_and_the_others_go_on(go: Any, tmp_path: Path) -> None:
    path = write_sweep(tmp_path, DIVERGES, seeds="seeds = [0]")
    results, engine = go(path)
    assert engine.started == ["bad-seed0", "good-seed0"]
    assert results.columns["status"] == ("failed", "finished")
    assert results.columns["error"][0].startswith("DivergenceError: Training diverged")
    assert results.columns["overrides"] == ('{"learning_rate": 1e+30}', "{}")
    text = (tmp_path / "out" / "bad-seed0" / "error.txt").read_text(encoding="utf-8")
    assert text.startswith("Traceback")

    left, engine = go(path, retry=False)
    assert engine.started == []
    assert left == results
    assert go(path)[1].started == ["bad-seed0"]


def test_a_failed_run_that_works_when_tried_again_has_no_error_left(go: Any, tmp_path: Path) -> None:
    path = write_sweep(tmp_path, seeds="seeds = [0]")

    class Dying(InProcess):
        def start(self, name: str, settings: dict[str, Any]) -> None:
            self.started.append(name)
            self._ended.append((name, Outcome("WorkerCrashedError: the process was killed")))

    results, _ = go(path, Dying())
    assert results.columns["error"] == ("WorkerCrashedError: the process was killed",)
    results, engine = go(path)
    assert engine.started == ["dwrseg_b-seed0"]
    assert results.columns["status"] == ("finished",)
    assert not (tmp_path / "out" / "dwrseg_b-seed0" / "error.txt").exists()


def test_a_run_whose_weights_were_not_scored_yet_is_gone_on_with(go: Any, tmp_path: Path) -> None:
    path = write_sweep(tmp_path, seeds="seeds = [0]", evaluation="")
    results, _ = go(path)
    assert results.columns["status"] == ("finished",)
    assert results.columns["miou"] == (None,)
    assert results.summary()["n"].tolist() == [0]
    results, engine = go(path, overrides={"evaluation": "val"})
    assert engine.started == ["dwrseg_b-seed0"]
    assert 0 <= results.columns["miou"][0] <= 1


def test_a_folder_with_another_run_is_left_alone(go: Any, tmp_path: Path) -> None:
    path = write_sweep(tmp_path, seeds="seeds = [0]")
    go(path)
    before = _times(tmp_path / "out")
    results, engine = go(path, overrides={"learning_rate": 0.5})
    assert engine.started == []
    assert results.columns["status"] == ("failed",)
    assert "holds another run: recipe.learning_rate is 0.02 in the folder and 0.5 now" in results.columns["error"][0]
    assert {name: time for name, time in _times(tmp_path / "out").items() if "results" not in name} == before


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ('model = "dwrseg_x"', "run 'typo-seed0': name='dwrseg_x' is not known"),
        ("model_options = { steam = 1 }", "run 'typo-seed0': option of dwrseg_b='steam' is not known"),
        ("model_options = { beta = -1.0 }", "run 'typo-seed0': "),
        ("learning_rate = -1.0", "run 'typo-seed0': learning_rate=-1.0 must be above 0"),
        ('learning_rate = "high"', "run 'typo-seed0': learning_rate='high' must be float"),
        ('recipe = "mine"', "run 'typo-seed0': recipe='mine' is not known"),
        ("batch_size = 100", "run 'typo-seed0': batch_size=100 is more than the 4 frames"),
        ('evaluation = "test"', "run 'typo-seed0': .*test"),
        ('root = "nowhere"', "run 'typo-seed0': .*nowhere"),
        ("stop_after = 0", "run 'typo-seed0': stop_after=0 must be above 0"),
    ],
)
def test_a_typo_in_the_last_variant_is_found_before_the_first_starts(
    go: Any, tmp_path: Path, variant: str, message: str
) -> None:
    path = write_sweep(tmp_path, f'[[variants]]\nlabel = "sound"\n[[variants]]\nlabel = "typo"\n{variant}\n')
    with pytest.raises(DataError, match=f"tiny.toml: {message}"):
        go(path)
    assert not (tmp_path / "out").exists()


def test_an_interrupt_stops_what_is_under_way_and_says_how_to_go_on(go: Any, tmp_path: Path) -> None:
    path = write_sweep(tmp_path)

    class Interrupted(InProcess):
        def ended(self, seconds: float) -> list[tuple[str, Outcome]]:
            if not self.interrupted:
                raise KeyboardInterrupt
            return [(name, Outcome(interrupted=True)) for name, _ in super().ended(seconds)]

    engine = Interrupted()
    with pytest.raises(KeyboardInterrupt, match=r"1 of 2 runs are finished.*the same call again to go on"):
        go(path, engine)
    assert engine.interrupted
    table = SweepResults.read(tmp_path / "out" / "results.csv")
    assert table.columns["status"] == ("finished", "waiting")
    assert go(path)[1].started == ["dwrseg_b-seed1"]


def test_an_interrupted_run_writes_a_checkpoint(tmp_path: Path) -> None:
    plan = plan_sweep(write_sweep(tmp_path, epochs="epochs = 3"), out=tmp_path / "out")
    run = plan.runs[0]

    def interrupt(folder: Path) -> None:
        raise KeyboardInterrupt

    settings = {**run.run.settings, "seed": 0, "out": str(run.folder)}
    assert train_one({**settings, "on_checkpoint": interrupt}) == Outcome(interrupted=True)
    assert run.state().status == "waiting"


def test_two_sweeps_in_one_folder_are_refused(go: Any, tmp_path: Path) -> None:
    path = write_sweep(tmp_path)
    code = "import sys; from pathlib import Path; from rfkit.training.locks import locked\n"
    code += "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    lock = tmp_path / "out" / ".sweep.lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(ValueError, match=rf"another sweep is at work there \(process {holder.pid} on "):
        go(path)
    # Killed, it holds nothing any more.
    holder.kill()
    holder.communicate()
    assert go(path, seeds=[0])[0].count("finished") == 1


def test_a_run_under_way_elsewhere_is_not_begun_a_second_time(tmp_path: Path) -> None:
    run = plan_sweep(write_sweep(tmp_path), out=tmp_path / "out").runs[0]
    with locked(run.folder / ".lock"):
        outcome = train_one({**run.run.settings, "seed": 0, "out": str(run.folder)})
    assert "LockedError: process" in outcome.traceback
    assert not (run.folder / "recipe.json").exists()


def test_lines_and_a_bar_tell_how_it_goes(go: Any, tmp_path: Path, notebook: pytest.CaptureFixture[str]) -> None:
    path = write_sweep(tmp_path, DIVERGES, seeds="seeds = [0]")
    go(path, progress=True)
    said = notebook.readouterr().err
    assert "bad-seed0: failed: DivergenceError" in said
    assert "good-seed0: mIoU " in said
    assert "1 finished, 0 running, 0 waiting, 1 failed" in said
    assert "1/1" in said


def test_something_else_is_no_table_of_a_sweep(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(DataError, match="is no table of a sweep"):
        SweepResults.read(tmp_path / "x.csv")
    with pytest.raises(FileNotFoundError):
        SweepResults.read(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="must be sweep, run"):
        SweepResults("x", {"a": (1,)})


@pytest.mark.parametrize("name", ["jobs", "threads", "gpus_per_run"])
def test_what_must_be_above_zero(go: Any, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}=0 must be above 0"):
        go(write_sweep(tmp_path), **{name: 0})
