"""The commands `rfkit data check` and `rfkit data prepare`."""

from __future__ import annotations

import argparse
from typing import Any

from rfkit.cli_arguments import SPLITS, data_arguments, folder_to_write, positive, size_argument
from rfkit.cli_parser import command

__all__ = ["add_data"]


def add_data(commands: Any) -> None:
    """Add `rfkit data` with its actions."""
    what = "check a data set before training on it, or decode it once"
    group = commands.add_parser("data", help=what, description=f"{what[0].upper()}{what[1:]}.")
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    check = command(
        actions,
        "check",
        _check,
        "read every file of a data set and list what is wrong; exit code 1 if anything is",
        "data check --data camvid --root ~/CamVid",
        "data check --data folder --root my-street --split train",
        "data check --data cityscapes --root prepared/cityscapes",
    )
    data_arguments(check)
    check.add_argument(
        "--split", action="append", choices=SPLITS, help="split to check; may be repeated; default: all that are there"
    )
    prepare = command(
        actions,
        "prepare",
        _prepare,
        "decode a data set once into a folder that training reads without decoding; continues what was interrupted",
        "data prepare --data cityscapes --root ~/cityscapes --out prepared/cityscapes",
        "data prepare --data cityscapes --root ~/cityscapes --out prepared/half --split trainval --size 512 1024",
    )
    data_arguments(prepare)
    prepare.add_argument(
        "--out", type=folder_to_write, required=True, metavar="FOLDER",
        help="folder for the frames, 4 bytes a pixel; other commands then take it as --root",
    )  # fmt: skip
    prepare.add_argument(
        "--split", action="append", choices=SPLITS,
        help="split to prepare; may be repeated; default: all that are there",
    )  # fmt: skip
    size_argument(prepare, "size in pixels to which frames are resized; default: as they are")
    prepare.add_argument(
        "--workers", type=positive, metavar="N", help="threads that decode; default: one for each processor"
    )


def _check(arguments: argparse.Namespace) -> int:
    from rfkit.data.check import check_data

    report = check_data(arguments.data, arguments.root, splits=arguments.split)
    print(report)
    return 0 if report.ok else 1


def _prepare(arguments: argparse.Namespace) -> None:
    from rfkit.data.preparing import prepare_data

    options: dict[str, Any] = {"size": tuple(arguments.size)} if arguments.size else {}
    try:
        prepared = prepare_data(
            arguments.data,
            arguments.root,
            out=arguments.out,
            splits=arguments.split,
            workers=arguments.workers,
            **options,
        )
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(f"What is decoded is in {arguments.out}: the same command goes on.") from error
    frames = ", ".join(f"{split} {len(dataset)}" for split, dataset in prepared.items())
    print(
        f"{arguments.data} is prepared ({frames} frames). Read it with --data {arguments.data} --root {arguments.out}"
    )
