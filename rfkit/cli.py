"""The command `rfkit`. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import rfkit

__all__ = ["main"]

_DATA_NAMES = ("camvid", "folder", "scenes")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: that of the process); returns the exit code.

    0: done. 1: done, and what was asked about is not in order (`rfkit data check`), or training diverged. 2: wrong
    arguments or files, said in one line. 130: interrupted. Anything else is a bug and keeps its traceback.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        return arguments.run(arguments) or 0
    except KeyboardInterrupt:
        print("rfkit: interrupted", file=sys.stderr)
        return 130
    except ArithmeticError as error:
        return _failed(arguments, error, 1)
    except (ValueError, TypeError, OSError) as error:
        return _failed(arguments, error, 2)


def _failed(arguments: argparse.Namespace, error: Exception, code: int) -> int:
    if arguments.debug:
        raise error
    message = " ".join(str(error).split()) or type(error).__name__
    print(f"rfkit: error: {message}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rfkit",
        description="Which receptive fields does each stage of a segmentation network need, and which does it use?",
        epilog="`rfkit COMMAND --help` shows the options of a command with examples.",
    )
    parser.add_argument("--version", action="version", version=f"rfkit {rfkit.__version__}")
    parser.set_defaults(debug=False)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _command(commands, "models", _models, "list the networks, their sizes and the weights that ship")
    return parser


def _command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int | None], summary: str, examples: str = ""
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"examples:\n{examples}" if examples else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(run=run)
    return parser


def _models(_arguments: argparse.Namespace) -> None:
    from rfkit.cost import parameters
    from rfkit.models.registry import create_model, list_models
    from rfkit.models.weights import packaged_weights

    for name in list_models():
        weights = [data for model, data in packaged_weights() if model == name]
        print(f"{name:<16} {parameters(create_model(name)) / 1e6:.2f} M  weights: {', '.join(weights) or 'none'}")
