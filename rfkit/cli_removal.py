"""The command `rfkit removal`: what a network loses without the branches of one dilation rate."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rfkit.cli_arguments import (
    SPLITS,
    data_arguments,
    device_arguments,
    device_of,
    file_to_write,
    model_arguments,
    model_of,
    positive,
    size_argument,
)
from rfkit.cli_parser import command

if TYPE_CHECKING:
    from rfkit.results.removal import BranchRemoval

__all__ = ["add_removal"]

_FORMATS = (".csv", ".npz", ".png", ".pdf", ".svg")


def add_removal(commands: Any) -> None:
    """Add the command `rfkit removal`."""
    parser = command(
        commands,
        "removal",
        _removal,
        "measure what a network loses on images without the branches of one dilation rate",
        "removal --model probe_dwrseg_l --weights camvid --data camvid --root ~/CamVid",
        "removal --weights runs/probe --data camvid --root ~/CamVid --size 180 240 --out removal.csv",
        "removal --weights runs/probe --data scenes --limit 20 --level block --kind classes --out classes.png",
        "removal --weights runs/probe --data camvid --root ~/CamVid --out removal.npz --resume removal.part.npz",
    )
    model_arguments(parser, weights_required=True)
    data_arguments(parser)
    parser.add_argument("--split", default="test", choices=SPLITS, help="split to measure on; default: %(default)s")
    parser.add_argument(
        "--limit", type=positive, metavar="N", help="images to take, spread evenly over the split; default: all"
    )
    size_argument(parser, "pixels that the network sees of each image; default: all, at its own size")
    parser.add_argument(
        "--level", default="stage", choices=("stage", "block"),
        help="take a branch from a whole stage at once, or from one block after the other; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--batch-size", type=positive, default=4, metavar="N", help="images in a forward pass; default: %(default)s"
    )
    parser.add_argument(
        "--precision", default="fp32", choices=("fp32", "bf16"), help="numbers to compute with; default: %(default)s"
    )
    parser.add_argument(
        "--resume", type=file_to_write(".npz"), metavar="FILE.npz",
        help="file that keeps what is done, so that the same command goes on after an interrupt; default: none",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=file_to_write(*_FORMATS), metavar="FILE",
        help="file for the table (.csv), the result (.npz) or the figure (.png, .pdf, .svg); default: only printed",
    )  # fmt: skip
    parser.add_argument(
        "--kind", default="drops", choices=("drops", "classes"),
        help="what the figure shows: drops in mIoU, or in the IoU of each class; default: %(default)s",
    )  # fmt: skip
    device_arguments(parser)


def _removal(arguments: argparse.Namespace) -> None:
    from rfkit.api_removal import measure_branch_removal

    model = model_of(arguments)
    try:
        removal = measure_branch_removal(
            model,
            arguments.data,
            root=arguments.root,
            split=arguments.split,
            level=arguments.level,
            batch_size=arguments.batch_size,
            size=tuple(arguments.size) if arguments.size else None,
            limit=arguments.limit,
            precision=arguments.precision,
            resume=arguments.resume,
            device=device_of(arguments),
        )
    except KeyboardInterrupt as error:
        if arguments.resume is None:
            raise KeyboardInterrupt("Nothing is kept; with --resume FILE.npz the same command goes on.") from error
        raise KeyboardInterrupt(f"What is measured is in {arguments.resume}: the same command goes on.") from error
    print("\n".join(_lines(removal)))
    if arguments.out is not None:
        _write(arguments.out, removal, model, arguments.kind)


def _lines(removal: BranchRemoval) -> list[str]:
    """The drop in mIoU of every removal, and the class that loses most."""
    frame = removal.to_frame()
    size = "their own size" if removal.size is None else f"{removal.size[1]}x{removal.size[0]}"
    intact = 100 * removal.intact()[""]
    lines = [
        f"{removal.data} {removal.split}, {removal.images} images at {size}: mIoU {intact:.2f} intact",
        "drop in mIoU without a branch, in points, with its 95 % interval over images; and the class that loses most",
    ]
    for (stage, block, branch), rows in frame.groupby(["stage", "block", "branch"], sort=False):
        mean, classes = rows[rows["class"] == ""].iloc[0], rows[rows["class"] != ""].dropna(subset="drop")
        drop, low, high = (100 * float(mean[name]) for name in ("drop", "low", "high"))
        most = classes.loc[classes["drop"].idxmax()]
        lines.append(
            f"  {block or stage:<12} {branch:<6} {drop:6.2f}  [{low:6.2f}, {high:6.2f}]   "
            f"{most['class']} {100 * most['drop']:.1f}"
        )
    return lines


def _write(path: Path, removal: BranchRemoval, model: Any, kind: str) -> None:
    from rfkit._files import replacing
    from rfkit.api_removal import draw_branch_removal

    if path.suffix.lower() == ".npz":
        removal.save(path)
        return
    with replacing(path) as temporary:
        if path.suffix.lower() == ".csv":
            removal.to_frame().to_csv(temporary, index=False)
        else:
            draw_branch_removal(removal, model, kind=kind).savefig(temporary)
