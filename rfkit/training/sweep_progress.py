"""A sweep while it is at work: what has become of each run, in the table, in a bar, in lines."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from rfkit._files import write_text
from rfkit._progress import Bar
from rfkit.results.sweep import COLUMNS, SweepResults
from rfkit.training.folder import LOCK
from rfkit.training.locks import locked
from rfkit.training.sweep_engine import Engine, Outcome
from rfkit.training.sweep_plan import ERROR, PlannedRun, RunState, SweepPlan

__all__ = ["RESULTS", "SweepProgress"]

RESULTS = "results.csv"

_SECONDS_BETWEEN_LOOKS = 1.0
# After a Ctrl-C a run ends its step, or the scoring that it is at, and writes a checkpoint.
_SECONDS_TO_STOP = 600.0
# The processes of a sweep that was killed outlive it for a few seconds.
_SECONDS_TO_DIE = 60.0


class SweepProgress:
    """Keeps the state of every run of `plan`, from the folders, while an engine works through those that wait.

    Args:
        plan: The sweep.
        retry: Whether what failed before is run again.
        progress: Whether to show a bar and lines.
        on_checkpoint: See `rfkit.training.sweeps.sweep`.

    Attributes:
        waiting: The runs to be made.
    """

    def __init__(
        self, plan: SweepPlan, *, retry: bool, progress: bool, on_checkpoint: Callable[[Path], None] | None
    ) -> None:
        self._plan, self._progress, self._on_checkpoint = plan, progress, on_checkpoint
        self._states = {run.name: _settled(run) for run in plan.runs}
        self._running: dict[str, PlannedRun] = {}
        again = {"waiting", "failed"} if retry else {"waiting"}
        self.waiting = [run for run in plan.runs if self._state(run).status in again and not self._state(run).foreign]
        self._work = list(self.waiting)

    def results(self) -> SweepResults:
        """The table as it is now; it is also written to the sweep's folder."""
        rows = [self._row(run) for run in self._plan.runs]
        table = SweepResults(self._plan.name, {name: tuple(row[name] for row in rows) for name in COLUMNS})
        table.write(self._plan.folder / RESULTS)
        return table

    def run(self, engine: Engine) -> None:
        """Work through the runs that wait.

        Raises:
            KeyboardInterrupt: On Ctrl-C, when the runs under way have ended; the message says how to go on.
        """
        total = sum(run.last_epoch for run in self._work)
        left = len(self._plan.runs) - len(self._work)
        with Bar(
            total=total, initial=self._epochs(), desc=f"Sweep {self._plan.name}", unit="epoch",
            disable=not self._progress, mininterval=0.5,
        ) as bar:  # fmt: skip
            self._bar = bar
            if left:
                self._say(f"{len(self._work)} of {len(self._plan.runs)} runs to make, {left} left as they are")
            try:
                while self.waiting or self._running:
                    self._fill(engine)
                    self._take(engine.ended(_SECONDS_BETWEEN_LOOKS))
                    self._show()
            except KeyboardInterrupt:
                self._stop(engine)

    # ---- one run begins, one ends ------------------------------------------------------------------------------------

    def _fill(self, engine: Engine) -> None:
        begun = len(self._running)
        while self.waiting and len(self._running) < engine.jobs:
            run = self.waiting.pop(0)
            engine.start(run.name, self._arguments(run))
            self._running[run.name] = run
        if len(self._running) > begun:
            self.results()

    def _arguments(self, run: PlannedRun) -> dict[str, Any]:
        more = {} if self._on_checkpoint is None else {"on_checkpoint": self._on_checkpoint}
        return {**run.run.settings, "seed": run.run.seed, "out": str(run.folder.absolute()), **more}

    def _take(self, ended: list[tuple[str, Outcome]]) -> None:
        for name, outcome in ended:
            run = self._running.pop(name)
            error = run.folder / ERROR
            if outcome.traceback:
                write_text(error, outcome.traceback.rstrip() + "\n")
            else:
                error.unlink(missing_ok=True)
            self._states[name] = state = run.state()
            if outcome.traceback:
                # Nothing is left to wait for in this call.
                self._bar.total -= run.last_epoch - state.epochs
            self._say(f"{name}: {_told(state)}")
        if ended:
            self.results()

    def _stop(self, engine: Engine) -> None:
        self._say(f"stopping: {len(self._running)} under way write a checkpoint; a second Ctrl-C does not wait for it")
        self.waiting.clear()
        engine.interrupt()
        deadline = time.monotonic() + _SECONDS_TO_STOP
        try:
            while self._running and time.monotonic() < deadline:
                self._take(engine.ended(_SECONDS_BETWEEN_LOOKS))
        finally:
            self._running.clear()
            table = self.results()
        raise KeyboardInterrupt(
            f"{table.count('finished')} of {len(table)} runs are finished. Everything is in {self._plan.folder}: make "
            "the same call again to go on."
        )

    # ---- what is shown -----------------------------------------------------------------------------------------------

    def _state(self, run: PlannedRun) -> RunState:
        return self._states[run.name]

    def _epochs(self) -> int:
        return sum(min(run.done_epochs(), run.last_epoch) for run in self._work)

    def _show(self) -> None:
        counts = Counter(self._state(run).status for run in self._work)
        text = f"{counts['finished']} finished, {len(self._running)} running, {len(self.waiting)} waiting"
        failed = f", {counts['failed']} failed" if counts["failed"] else ""
        self._bar.set_postfix_str(text + failed, refresh=False)
        self._bar.update(self._epochs() - self._bar.n)

    def _say(self, text: str) -> None:
        if self._progress:
            Bar.write(text, file=sys.stderr)

    def _row(self, run: PlannedRun) -> dict[str, Any]:
        state, settings, recipe = self._state(run), run.run.settings, run.recipe
        status = "running" if run.name in self._running else state.status
        card = state.card
        return {
            "sweep": self._plan.name,
            "run": run.name,
            "label": run.run.label,
            "model": settings["model"],
            "model_options": json.dumps(settings["model_options"], sort_keys=True),
            "overrides": json.dumps(run.run.varied, sort_keys=True),
            "seed": run.run.seed,
            "status": status,
            "miou": card.scores.get("miou") if card is not None and status == "finished" else None,
            "epochs": run.done_epochs() if status == "running" else state.epochs,
            "horizon_epochs": recipe.epochs,
            "steps": 0 if card is None else card.steps,
            "height": recipe.crop_size[0],
            "width": recipe.crop_size[1],
            "data": run.data.name,
            "split": run.data.split,
            "evaluated": run.evaluated,
            "recipe": recipe.name,
            "seconds": round(state.seconds, 1),
            "folder": str(run.folder),
            "error": state.error if status == "failed" else "",
        }


def _settled(run: PlannedRun) -> RunState:
    """The state of a run once no process of a sweep that was killed is at work in its folder."""
    if not run.folder.exists():
        return run.state()
    with locked(run.folder / LOCK, patience=_SECONDS_TO_DIE):
        return run.state()


def _told(state: RunState) -> str:
    if state.status == "failed":
        return f"failed: {state.error}"
    miou = None if state.card is None else state.card.scores.get("miou")
    scored = "" if miou is None else f"mIoU {100 * miou:.1f}, "
    ended = "" if state.status == "finished" else "stopped, "
    return f"{ended}{scored}{state.epochs} epochs, {timedelta(seconds=round(state.seconds))}"
