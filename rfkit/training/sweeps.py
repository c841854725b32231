"""Many runs: a sweep is started, gone on with, and its results kept in one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rfkit._checks import check_positive
from rfkit.results.sweep import SweepResults
from rfkit.training.locks import alone_in
from rfkit.training.sweep_engine import using_ray
from rfkit.training.sweep_plan import plan_sweep
from rfkit.training.sweep_progress import SweepProgress

__all__ = ["sweep"]

_LOCK = ".sweep.lock"


def sweep(
    file: str | Path,
    *,
    out: str | Path | None = None,
    data: str | None = None,
    root: str | Path | None = None,
    epochs: int | None = None,
    seeds: Sequence[int] | None = None,
    overrides: Mapping[str, Any] | None = None,
    jobs: int | None = None,
    threads: int | None = None,
    gpus_per_run: float = 1.0,
    address: str | None = None,
    retry: bool = True,
    progress: bool = True,
    on_checkpoint: Callable[[Path], None] | None = None,
) -> SweepResults:
    """Train every run of a sweep file that is not finished yet, and give the table of all; again, it goes on.

    Each run is a run folder in `out`, as `train` leaves it. Its state is what the folder says: a finished run is never
    run again, an interrupted one goes on where it was, a failed one is tried again. Every run is checked before the
    first one starts. One that fails leaves its traceback in `error.txt` in its folder, and the others go on.
    `out/results.csv` is written whenever a run begins or ends.

    Runs go side by side through Ray (the `sweep` extra). With an address they go to that cluster, whose machines must
    see `out` and `root` under the same paths and have rfkit installed.

    Args:
        file: A TOML file, see `rfkit.training.sweep_file.read_sweep`, or the name of a sweep that ships.
        out: The sweep's folder; None: `runs/NAME`.
        data: Instead of the file's, as are the next three.
        root: Folder of the data set.
        epochs: Of every run.
        seeds: Of every variant and point of the grid.
        overrides: Other settings of `[run]`, options of the network by dotted names such as "model_options.stem".
        jobs: Runs at once; None: as many as the GPUs hold, without GPUs one a machine.
        threads: CPU threads of a run; None: what the file says, else the CPUs shared out among the jobs.
        gpus_per_run: GPUs of a run where there are any; 0.5: two runs share one.
        address: Of a Ray cluster ("auto", or "ray://..." for its client port); None: this machine.
        retry: Whether to try again what failed before.
        progress: Whether to show a bar over the epochs of all runs, and a line when a run ends.
        on_checkpoint: Called with the run folder after each checkpoint and at the end of each run, in its process.

    Returns:
        A row a run, finished or not: `to_frame()`, and `summary()` over the seeds.

    Raises:
        rfkit._checks.DataError: The file, or a run that it means, is not as it must be; nothing was started.
        FileNotFoundError: There is no such file.
        ValueError: An argument is not allowed, or another sweep is at work in `out`.
        ModuleNotFoundError: There is something to run, and Ray is not installed.
        KeyboardInterrupt: On Ctrl-C, after the runs under way have written a checkpoint; the same call goes on.

    Example:
        ``rfkit.sweep("activations.toml", root="CamVid", jobs=2).summary()``
    """
    for name, value in (("jobs", jobs), ("threads", threads), ("gpus_per_run", gpus_per_run)):
        if value is not None:
            check_positive(name, value)
    plan = plan_sweep(
        file, out=out, data=data, root=root, epochs=epochs, threads=threads, seeds=seeds, overrides=overrides
    )
    with alone_in(plan.folder, "sweep", lock=_LOCK):
        work = SweepProgress(plan, retry=retry, progress=progress, on_checkpoint=on_checkpoint)
        if work.waiting:
            most = max(run.run.settings.get("threads", 0) for run in plan.runs) or None
            with using_ray(address=address, jobs=jobs, threads=most, gpus_per_run=gpus_per_run) as engine:
                work.run(engine)
        return work.results()
