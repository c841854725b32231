"""Many runs in one call, each with its curves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rfkit.results.sweep import SweepResults

__all__ = ["sweep"]


def sweep(file: str | Path, *, out: str | Path | None = None, **options: Any) -> SweepResults:
    """Train every run of a sweep file that is not finished yet, and give the table of all; again, it goes on.

    `rfkit.training.sweeps.sweep` does the work and documents every option; `rfkit.training.sweep_file.read_sweep` says
    what the file holds. This call also draws `curves.png` in each run folder.

    Args:
        file: a TOML file, or the name of a sweep that ships.
        out: the sweep's folder; None: `runs/NAME`.
        **options: `data`, `root`, `epochs`, `seeds`, `overrides` instead of what the file says; `jobs`, `threads`,
            `gpus_per_run`, `address` of the machines; `retry`, `progress`.

    Returns:
        A row a run, finished or not: `to_frame()`, and `summary()` over the seeds.

    Raises:
        rfkit._checks.DataError: the file, or a run that it means, is not as it must be; nothing was started.
        ValueError: an argument is not allowed, or another sweep is at work in `out`.
        KeyboardInterrupt: on Ctrl-C, after the runs under way have written a checkpoint; the same call goes on.

    Example:
        ``rfkit.sweep("activations.toml", root="CamVid", jobs=2).summary()``
    """
    from rfkit.plots.run_curves import draw_run_curves
    from rfkit.training.sweeps import sweep as run

    return run(file, out=out, **{"on_checkpoint": draw_run_curves, **options})
