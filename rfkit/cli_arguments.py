"""What the commands of `rfkit` share: how a command is declared, and the arguments that several of them take."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

__all__ = [
    "DATA_NAMES",
    "SPLITS",
    "command",
    "data_arguments",
    "device_arguments",
    "device_of",
    "model_arguments",
    "model_of",
    "pair",
    "pairs",
    "positive",
    "subcommands",
]

DATA_NAMES = ("camvid", "cityscapes", "bdd100k", "folder", "scenes")
SPLITS = ("train", "val", "test", "trainval")


def command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int | None], summary: str, *examples: str
) -> argparse.ArgumentParser:
    """The parser of a command, with its summary and examples in its help."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog="examples:\n" + "\n".join(f"  rfkit {example}" for example in examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(run=run)
    return parser


def subcommands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """The commands below `parser`, in its order: "train", "data check", ... and the parser of each."""
    for action in parser._actions:
        if not isinstance(action, argparse._SubParsersAction):
            continue
        for name, command_parser in action.choices.items():
            below = [(f"{name} {rest}", found) for rest, found in subcommands(command_parser)]
            yield from below or [(name, command_parser)]


def data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --data and --root."""
    parser.add_argument("--data", required=True, metavar="NAME", choices=DATA_NAMES, help=", ".join(DATA_NAMES))
    parser.add_argument("--root", type=Path, metavar="PATH", help="folder of the data set (scenes need none)")


def model_arguments(parser: argparse.ArgumentParser, *, weights_required: bool) -> None:
    """Add --model and --weights."""
    parser.add_argument("--model", metavar="NAME", help="default: the one named in the weights file")
    parser.add_argument(
        "--weights",
        required=weights_required,
        metavar="FILE_OR_NAME",
        help="a .safetensors file, a run folder, or the name of a data set whose weights ship",
    )


def device_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --device and --threads."""
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, ...; default: the GPU where there is one")
    parser.add_argument("--threads", type=positive, metavar="N", help="CPU threads")


def positive(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def pairs(parser: argparse.ArgumentParser, flag: str, name: str, text: str) -> None:
    """Add an option that takes KEY=VALUE and may be repeated."""
    parser.add_argument(flag, dest=name, action="append", default=[], type=pair, metavar="KEY=VALUE", help=text)


def pair(text: str) -> tuple[str, Any]:
    """The key and the value of "KEY=VALUE", the value read as TOML."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form KEY=VALUE")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        # A word needs no quotes on a command line.
        return key.strip(), value.strip()


def model_of(arguments: argparse.Namespace) -> Any:
    """The network that --model and --weights mean; a weights file or run folder knows its network by itself."""
    from rfkit.models.registry import create_model
    from rfkit.models.weights import read_card

    weights = arguments.weights
    if weights is not None and Path(weights).is_dir():
        weights = Path(weights) / "weights.safetensors"
    name = arguments.model
    if name is None:
        if weights is None or not (isinstance(weights, Path) or weights.endswith(".safetensors")):
            raise ValueError("--model is needed, unless --weights is a .safetensors file or a run folder.")
        name = read_card(weights).model
    return create_model(name, weights=weights).eval()


def device_of(arguments: argparse.Namespace) -> str:
    """The device that --device means; --threads is set on the way."""
    import torch

    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    return arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
