"""The command `rfkit advise`: which dilation rates the stages of somebody's own network need."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path
from typing import Any

from rfkit.cli_arguments import (
    SPLITS,
    data_arguments,
    device_arguments,
    folder_to_write,
    number,
    pairs,
    positive,
    several,
    size_argument,
)
from rfkit.cli_parser import command

__all__ = ["add_advise"]


def add_advise(commands: Any) -> None:
    """Add the command `rfkit advise`."""
    parser = command(
        commands,
        "advise",
        _advise,
        "find out which dilation rates the stages of a network of yours need; the same command goes on",
        "advise my_net.py:make --data camvid --root ~/CamVid --minutes 60",
        "advise my_net.py:make --data camvid --root ~/CamVid --epochs 300 --seeds 3 --size 360 480 --out advice",
        "advise my_net.py:Net --option width=32 --data folder --root my-street --minutes 30 --dry-run",
        "advise my_net.py:make --data scenes --epochs 5 --stage low=layer1.? --stage high=layer3.?,layer4.?",
    )
    parser.add_argument(
        "network", metavar="MODULE:FACTORY",
        help="a file or module, and the function, class or network in it: my_net.py:make",
    )  # fmt: skip
    pairs(parser, "--option", "options", "argument of the factory, in TOML: width=32, num_classes=11")
    data_arguments(parser)
    parser.add_argument("--split", default="train", choices=SPLITS, help="split to train on; default: %(default)s")
    parser.add_argument(
        "--validation", default="val", choices=SPLITS,
        help="split on which branches are removed; default: %(default)s",
    )  # fmt: skip
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--epochs", type=positive, metavar="N", help="budget: epochs of each training")
    budget.add_argument("--minutes", type=number, metavar="N", help="budget: minutes for all trainings together")
    parser.add_argument(
        "--seeds", type=positive, default=3, metavar="N", help="how many trainings: seeds 0, 1, ...; default: 3"
    )
    parser.add_argument(
        "--dilations", type=several(positive, "1,3,5"), default=(1, 3, 5), metavar="N,N,...",
        help="dilation rates that compete; default: 1,3,5",
    )  # fmt: skip
    parser.add_argument(
        "--stage", dest="stages", action="append", type=_stage, metavar="NAME=PATTERN,...",
        help="a stage and its blocks: low=layer1.?; may be repeated; default: what `rfkit.find_stages` finds",
    )  # fmt: skip
    size_argument(parser, "pixels that the network sees of each image; default: the recipe's")
    parser.add_argument(
        "--recipe", default="camvid-paper-half", metavar="NAME",
        help="recipe: every number of the trainings under one name; default: %(default)s",
    )  # fmt: skip
    pairs(parser, "--set", "overrides", "replace a number of the recipe, in TOML: batch_size=8")
    parser.add_argument(
        "--out", type=folder_to_write, metavar="FOLDER",
        help="folder for trainings, tables and report.html; default: runs/advice-FACTORY-DATA",
    )  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="say which blocks would be probed, and stop")
    device_arguments(parser)


def _stage(text: str) -> tuple[str, list[str]]:
    name, equals, patterns = text.partition("=")
    found = [pattern.strip() for pattern in patterns.split(",") if pattern.strip()]
    if not equals or not name.strip() or not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=PATTERN,...")
    return name.strip(), found


def _advise(arguments: argparse.Namespace) -> None:
    from rfkit.studies.adviser.advising import carry_out, prepare

    if arguments.epochs is None and arguments.minutes is None and not arguments.dry_run:
        raise ValueError("give a budget: --epochs N for each training, or --minutes N for all of them.")
    out = arguments.out
    if out is None:
        factory = arguments.network.rpartition(":")[2].replace(".py", "").replace("/", "-")
        out = Path("runs") / f"advice-{factory}-{arguments.data}"
    settings = {
        "out": out,
        "seeds": arguments.seeds,
        "root": arguments.root,
        "split": arguments.split,
        "validation": arguments.validation,
        "dilations": arguments.dilations,
        "stages": None if arguments.stages is None else _merged(arguments.stages),
        "options": dict(arguments.options),
        "size": tuple(arguments.size) if arguments.size else None,
        "recipe": arguments.recipe,
        "device": arguments.device,
        "threads": arguments.threads,
        **dict(arguments.overrides),
    }
    with contextlib.redirect_stdout(sys.stderr):
        # What the network's file prints is no part of the answer.
        task, seeds = prepare(arguments.network, arguments.data, **settings)
    print(f"{task.label}: stages {task.found.how}")
    print(task.found)
    if arguments.dry_run:
        print(f"would train {len(seeds)} probes with dilation rates {', '.join(map(str, task.dilations))}")
        return
    with contextlib.redirect_stdout(sys.stderr):
        advice = carry_out(task, seeds, epochs=arguments.epochs, minutes=arguments.minutes)
    print()
    print(advice)
    print(f"\n{out / 'report.html'} has the figures, the criteria and the code.")


def _merged(stages: list[tuple[str, list[str]]]) -> dict[str, list[str]]:
    """A stage that was named twice has the patterns of both."""
    merged: dict[str, list[str]] = {}
    for name, patterns in stages:
        merged.setdefault(name, []).extend(patterns)
    return merged
