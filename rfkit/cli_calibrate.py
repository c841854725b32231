"""The command `rfkit calibrate`: do measures recover a receptive field that is known?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rfkit.cli_arguments import file_to_write, folder_to_write, positive
from rfkit.cli_parser import command
from rfkit.cli_tables import printed

__all__ = ["add_calibrate"]


def add_calibrate(commands: Any) -> None:
    """Add the command `rfkit calibrate`."""
    parser = command(
        commands,
        "calibrate",
        _calibrate,
        "train small networks on tasks whose receptive field is known, and see which measures recover it",
        "calibrate --quick",
        "calibrate --out runs/calibration --threads 1 --table rfkit/paper/measured/calibration.csv",
    )
    parser.add_argument("--quick", action="store_true", help="make four runs, well under a minute, in place of all")
    parser.add_argument(
        "--out", type=folder_to_write, metavar="FOLDER",
        help="folder of the runs; default: runs/calibration, with --quick runs/calibration-quick",
    )  # fmt: skip
    parser.add_argument(
        "--table", type=file_to_write(".csv"), metavar="FILE.csv",
        help="file for the table of all runs, beside calibration.csv in that folder; default: none",
    )  # fmt: skip
    parser.add_argument(
        "--threads", type=positive, metavar="N", help="CPU threads to compute with; default: as many as torch takes"
    )


def _calibrate(arguments: argparse.Namespace) -> None:
    from rfkit.studies.calibration import calibrate

    out = arguments.out or Path("runs") / ("calibration-quick" if arguments.quick else "calibration")
    result = calibrate(out=out, quick=arguments.quick, threads=arguments.threads)
    if arguments.table is not None:
        result.write(arguments.table)
    kinds = ("cue",) if arguments.quick else ("cue", "size")
    tables = [result.trust(kinds=kinds)]
    if not arguments.quick:
        tables.append(result.claims())
    for table in tables:
        rows = [
            {name: f"{cell:.2f}" if isinstance(cell, float) else str(cell) for name, cell in row.items()}
            for row in table.to_dict("records")
        ]
        print(printed(table, rows, "table"))
    print(f"The table of all runs is in {out / 'calibration.csv'}.")
