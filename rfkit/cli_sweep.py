"""The command `rfkit sweep`: many runs from one file."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from rfkit.cli_arguments import (
    DATA_NAMES,
    DATA_WORDS,
    count,
    folder_to_write,
    number,
    pairs,
    place,
    positive,
    several,
)
from rfkit.cli_parser import command
from rfkit.cli_tables import printed

if TYPE_CHECKING:
    from rfkit.results.sweep import SweepResults

__all__ = ["add_sweep"]


def add_sweep(commands: Any) -> None:
    """Add the command `rfkit sweep`."""
    parser = command(
        commands,
        "sweep",
        _sweep,
        "train the runs of a sweep file; the same command goes on, and never runs a finished one again",
        "sweep activations.toml --dry-run",
        "sweep activations.toml --root ~/CamVid --jobs 2 --out runs/activations",
        "sweep activations.toml --epochs 10 --seeds 0,1,2 --set batch_size=8 --set model_options.stem=narrow",
        "sweep activations.toml --address auto --gpus-per-run 0.5",
    )
    parser.add_argument("file", metavar="FILE", help="a TOML file, or the name of a sweep that ships, such as table2")
    parser.add_argument(
        "--data", metavar="NAME", choices=DATA_NAMES, help=f"data set: {DATA_WORDS}; default: what the file says"
    )
    parser.add_argument(
        "--root", type=place, metavar="FOLDER", help="folder of the data set; default: what the file says"
    )
    parser.add_argument(
        "--epochs", type=positive, metavar="N", help="epochs of every run; default: what the file or the recipe says"
    )
    parser.add_argument(
        "--seeds", type=_seeds, metavar="N,N,...", help="seeds of every variant; default: what the file says"
    )
    pairs(parser, "--set", "overrides", "replace a setting of [run], in TOML: batch_size=8, model_options.stem=narrow")
    parser.add_argument(
        "--out", type=folder_to_write, metavar="FOLDER", help="folder for the runs and results.csv; default: runs/NAME"
    )
    parser.add_argument("--dry-run", action="store_true", help="check every run, list what would be done, and stop")
    parser.add_argument("--no-retry", action="store_true", help="leave what failed before as it is")
    machines = parser.add_argument_group("computer")
    machines.add_argument(
        "--jobs", type=positive, metavar="N", help="runs at once; default: as many as the GPUs hold, without GPUs 1"
    )
    machines.add_argument(
        "--threads", type=positive, metavar="N", help="CPU threads of a run; default: shared out among the jobs"
    )
    machines.add_argument(
        "--gpus-per-run", type=number, default=1.0, metavar="SHARE",
        help="GPUs of a run; with 0.5 two runs share one; default: %(default)g",
    )  # fmt: skip
    machines.add_argument(
        "--address", metavar="ADDRESS",
        help="address of a Ray cluster, or auto; its machines must see --out and --root under the same paths; default: "
        "this machine alone",
    )  # fmt: skip


def _seeds(text: str) -> list[int]:
    return list(several(count, "0,1,2")(text))


def _sweep(arguments: argparse.Namespace) -> int:
    settings = {
        "out": arguments.out,
        "data": arguments.data,
        "root": arguments.root,
        "epochs": arguments.epochs,
        "threads": arguments.threads,
        "seeds": arguments.seeds,
        "overrides": dict(arguments.overrides),
    }
    if arguments.dry_run:
        _print_plan(arguments.file, settings)
        return 0
    from rfkit.api import sweep

    results = sweep(
        arguments.file,
        **settings,
        jobs=arguments.jobs,
        gpus_per_run=arguments.gpus_per_run,
        address=arguments.address,
        retry=not arguments.no_retry,
    )
    _print_summary(results)
    return 1 if results.count("failed") else 0


def _print_plan(file: str, settings: dict[str, Any]) -> None:
    import pandas as pd

    from rfkit.training.sweep_plan import plan_sweep

    plan = plan_sweep(file, **settings)
    lines = []
    for run in plan.runs:
        height, width = run.recipe.crop_size
        state = run.state()
        lines.append(
            {
                "run": run.name,
                "parameters": f"{run.parameters:,}",
                "multiply-adds": f"{run.multiply_adds / 1e9:.3f} G at {width}x{height}",
                "epochs": f"{state.epochs} of {run.last_epoch}",
                "steps": f"{run.steps_per_epoch * run.last_epoch}",
                "status": f"{state.status}{': ' if state.error else ''}{state.error}",
            }
        )
    print(printed(pd.DataFrame(lines), lines, "table"))
    finished = sum(line["status"] == "finished" for line in lines)
    print(f"{len(lines)} runs, {finished} of them finished, in {plan.folder}. Nothing was started.")


def _print_summary(results: SweepResults) -> None:
    summary = results.summary()
    lines = []
    for row in summary.to_dict("records"):
        points = {name: "" if row[name] == "{}" else row[name] for name in ("model_options", "overrides")}
        mean = f"{100 * row['mean']:.2f}" if row["n"] else "-"
        spread = f"{100 * row['std']:.2f}" if row["n"] > 1 else "-"
        runs = f"{row['n']} of {row['runs']}"
        lines.append({"label": row["label"], **points, "mIoU": mean, "std": spread, "scored": runs})
    print(printed(summary, lines, "table"))
    for name, status, error, folder in zip(
        *(results.columns[name] for name in ("run", "status", "error", "folder")), strict=True
    ):
        if status == "failed":
            print(f"failed: {name}: {error} ({folder})")
    print(f"{results.count('finished')} of {len(results)} runs are finished.")
