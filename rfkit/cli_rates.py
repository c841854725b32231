"""The command `rfkit rates`: dilation rates learned on real data from several starts."""

from __future__ import annotations

import argparse
from typing import Any

from rfkit.cli_arguments import (
    SPLITS,
    count,
    data_arguments,
    device_arguments,
    folder_to_write,
    number,
    pairs,
    positive,
)
from rfkit.cli_parser import command

__all__ = ["add_rates"]


def add_rates(commands: Any) -> None:
    """Add the command `rfkit rates`."""
    parser = command(
        commands,
        "rates",
        _rates,
        "learn dilation rates from several starts; the same command goes on, and never makes a finished run again",
        "rates --model dwrseg_l --data camvid --root ~/CamVid --epochs 40 --out runs/rates",
        "rates --model regseg --data camvid --root ~/CamVid --starts own 9 --probe 1 3 5 7 9 --out runs/rates",
        "rates --model my_net.py:make --option width=32 --data folder --root my-street --out runs/rates",
    )
    data_arguments(parser)
    parser.add_argument("--split", default="trainval", choices=SPLITS, help="split to train on; default: %(default)s")
    parser.add_argument("--test-split", choices=SPLITS, help="split to score after each run; default: no scores")
    parser.add_argument(
        "--model", required=True, metavar="NAME", help="network, one that `rfkit models` lists, or MODULE:FACTORY"
    )
    pairs(parser, "--option", "options", "option of the network, in TOML: stem=narrow")
    parser.add_argument(
        "--starts", nargs="+", type=_start, default=["own", 1.0, 9.0], metavar="RATE",
        help="dilation rates to begin with, one run each; own: those of the network; default: own 1 9",
    )  # fmt: skip
    parser.add_argument(
        "--seeds", nargs="+", type=count, default=[0], metavar="N", help="seeds, each start is run with; default: 0"
    )
    parser.add_argument(
        "--probe", nargs="+", type=positive, metavar="RATE",
        help="dilation rates of a probe in which they compete, trained as well; default: no probe",
    )  # fmt: skip
    parser.add_argument(
        "--probe-all", action="store_true",
        help="let them compete in every stage, not only in the blocks whose rates are learned",
    )  # fmt: skip
    parser.add_argument(
        "--recipe", default="camvid-paper-half", metavar="NAME",
        help="recipe: every number of the trainings under one name; default: %(default)s",
    )  # fmt: skip
    pairs(parser, "--set", "overrides", "replace a number of the recipe, in TOML: batch_size=8, crop_size=[180,240]")
    parser.add_argument("--epochs", type=positive, metavar="N", help="epochs of each run; default: the recipe's")
    parser.add_argument(
        "--rate-learning-rate", type=number, default=10.0, metavar="X",
        help="learning rate of the dilation rates; default: %(default)g",
    )  # fmt: skip
    device_arguments(parser)
    parser.add_argument(
        "--out", type=folder_to_write, required=True, metavar="FOLDER",
        help="folder for the run folders and MODEL-rates.csv, the table of all",
    )  # fmt: skip


def _start(text: str) -> str | float:
    if text == "own":
        return text
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not rate >= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a rate of at least 1 nor 'own'")
    return rate


def _rates(arguments: argparse.Namespace) -> None:
    from rfkit._files import write_text
    from rfkit.cli_tables import printed
    from rfkit.studies.rate_runs import learn_rates

    found = learn_rates(
        arguments.model,
        arguments.data,
        root=arguments.root,
        split=arguments.split,
        out=arguments.out,
        starts=arguments.starts,
        seeds=arguments.seeds,
        recipe=arguments.recipe,
        epochs=arguments.epochs,
        rate_learning_rate=arguments.rate_learning_rate,
        probe=arguments.probe,
        probe_stages="all" if arguments.probe_all else None,
        evaluation=arguments.test_split,
        model_options=dict(arguments.options),
        device=arguments.device,
        threads=arguments.threads,
        **dict(arguments.overrides),
    )
    path = arguments.out / f"{found.model}-rates.csv"
    write_text(path, found.to_frame().to_csv(index=False, lineterminator="\n"))
    for table in (found.summary(), found.convergence()):
        lines = [
            {name: f"{value:.2f}" if isinstance(value, float) else value for name, value in row.items()}
            for row in table.to_dict("records")
        ]
        print(printed(table, lines, "table"))
    if found.probe is not None:
        means = found.probe.mean_dilation()
        told = ", ".join(f"{name} {rate:.2f}" for name, rate in means.items())
        print(f"the probe's mean dilation rate, by block: {told}")
    print(f"Every step is in {path}.")
