"""Whether the probe, and every other measure, recovers receptive fields that are known: many small trainings."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from rfkit._checks import check_positive, data_error
from rfkit._files import write_bytes, write_text
from rfkit._progress import Bar
from rfkit.results.calibration import Calibration
from rfkit.studies.calibration_runs import RATES, CalibrationRun, Schedule, calibration_network, measure_run, train_run
from rfkit.training.locks import alone_in

__all__ = ["calibrate", "planned_runs"]

_SEEDS = (0, 1, 2)
_MIXTURES = ({3: 0.75, 9: 0.25}, {3: 0.5, 9: 0.5}, {3: 0.25, 9: 0.75})
_UP_TO_7 = tuple(rate for rate in RATES if rate <= 7)


def calibrate(
    *,
    out: str | Path = "runs/calibration",
    quick: bool = False,
    threads: int | None = None,
    progress: bool = True,
) -> Calibration:
    """Train small networks on tasks whose distance is known, and return what each measure says about them.

    The tasks are those of `rfkit.data.distance_tasks`. Every network and what was measured of it goes to `out` at
    once, so that the same call goes on after Ctrl-C and never repeats a finished run; `calibration.csv` there holds the
    table when all are done. What is trained is `planned_runs`; the schedule is fixed, see
    `rfkit.studies.calibration_runs.Schedule`.

    Args:
        out: folder of the calibration.
        quick: four runs in place of all: three distances and the null task, one seed; well under a minute. All runs
            take some seven minutes of one core (measured on a busy one: 7 minutes of its time, 19 on the clock).
        threads: threads of the CPU meanwhile; None: as they are.
        progress: whether to show a bar with the time left.

    Raises:
        ValueError: `out` holds runs with another schedule, another calibration is at work there, or `threads` is not
            above 0.
        rfkit._checks.DataError: a file in `out` is damaged.
        KeyboardInterrupt: on Ctrl-C; the message says how to go on.

    Example:
        >>> calibrate(out="runs/quick", quick=True).trust()  # doctest: +SKIP
    """
    if threads is not None:
        check_positive("threads", threads)
    folder, schedule = Path(out), Schedule()
    former = torch.get_num_threads()
    try:
        with alone_in(folder, "calibration"):
            return _calibrate(folder, schedule, quick=quick, threads=threads or former, progress=progress)
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(f"What is finished is in {folder}: make the same call again to go on.") from error
    finally:
        torch.set_num_threads(former)


def _calibrate(folder: Path, schedule: Schedule, *, quick: bool, threads: int, progress: bool) -> Calibration:
    """Every run, finished or not, and the table of all."""
    _check_schedule(folder, schedule)
    torch.set_num_threads(threads)
    rows = []
    bar = Bar(planned_runs(quick=quick), desc="Calibration", unit="run", disable=not progress)
    for run in bar:
        bar.set_postfix_str(run.name)
        rows += _rows(run, schedule, folder)
    result = Calibration.from_rows(rows)
    result.write(folder / "calibration.csv")
    return result


def planned_runs(*, quick: bool = False) -> list[CalibrationRun]:
    """The runs of a calibration, in order.

    With one block: cues at six distances, the null task, mixtures of the distances 3 and 9, bars of six sizes, means
    over three radii, two periods; each branch alone for each cue; learned rates on smoother images, because their
    gradient is local. With two blocks: the same cues, the null task, and far cues without the rates above 7. The
    single-step modules: near and far cues. Three seeds each.
    """
    if quick:
        return [CalibrationRun("one block", "cue", distance) for distance in (1, 5, 9)] + [
            CalibrationRun("one block", "null", 0)
        ]
    runs: list[CalibrationRun] = []

    def add(network: str, kind: str, distances: Sequence[Any], rates: tuple[int, ...] = RATES, **options: Any) -> None:
        runs.extend(
            CalibrationRun(network, kind, where, rates, seed, **options) for where in distances for seed in _SEEDS
        )

    add("one block", "cue", RATES)
    add("one block", "null", (0,))
    add("one block", "mixture", _MIXTURES)
    add("one block", "size", RATES)
    add("ESP", "cue", (1, 5, 9))
    add("DAB", "cue", (1, 9), (1, 9))
    add("two blocks", "cue", RATES)
    add("two blocks", "cue", (9, 11), _UP_TO_7)
    add("two blocks", "null", (0,))
    add("learned", "cue", RATES, (4, 8), smoothness=3)
    add("one block", "noise", (2, 4, 8))
    add("one block", "period", (5, 9))
    for rate in RATES:
        add("alone", "cue", RATES, (rate,))
    return runs


def _rows(run: CalibrationRun, schedule: Schedule, folder: Path) -> list[dict[str, object]]:
    """The rows of a run, from its file if it was measured before."""
    path = folder / "measured" / f"{run.name}.json"
    if path.is_file():
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise data_error(path, f"is damaged ({error}); delete it, and the run is measured again.") from error
    rows = measure_run(run, schedule, _trained(run, schedule, folder))
    write_text(path, json.dumps(rows, indent=1))
    return rows


def _trained(run: CalibrationRun, schedule: Schedule, folder: Path) -> nn.Module:
    """The trained network of a run, from its file if there is one."""
    path = folder / "trained" / f"{run.name}.safetensors"
    if not path.is_file():
        model = train_run(run, schedule)
        write_bytes(path, safetensors.torch.save(dict(model.state_dict())))
    model = calibration_network(run.network, run.rates, seed=run.seed)
    try:
        model.load_state_dict(safetensors.torch.load_file(path))
    except Exception as error:
        raise data_error(path, f"is damaged ({error}); delete it, and the run is trained again.") from error
    return model.eval()


def _check_schedule(folder: Path, schedule: Schedule) -> None:
    """Runs with different schedules do not share a folder."""
    path = folder / "schedule.json"
    wanted = dataclasses.asdict(schedule)
    if not path.is_file():
        write_text(path, json.dumps(wanted, indent=1))
    elif json.loads(path.read_text(encoding="utf-8")) != wanted:
        raise ValueError(f"out={str(folder)!r} holds runs with another schedule than {wanted}; give another folder.")
