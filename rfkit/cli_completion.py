"""The command `rfkit completion`: a shell completes commands, options, their values and files."""

from __future__ import annotations

import argparse
import functools
from pathlib import Path
from typing import Any

from rfkit.cli_parser import command, subcommands

__all__ = ["add_completion"]

SHELLS = ("bash", "zsh", "fish", "tcsh")

# What takes a file though it is not declared as a path, because it may be a name as well.
_FILES_OR_NAMES = ("weights", "network", "networks", "file")


def add_completion(commands: Any, whole: argparse.ArgumentParser) -> None:
    """Add the command `rfkit completion`, for the commands of the parser `whole`."""
    parser = command(
        commands,
        "completion",
        functools.partial(_completion, whole),
        'print what makes a shell complete commands, options and files; in bash: eval "$(rfkit completion bash)"',
        "completion bash",
        "completion zsh",
    )
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))


def _completion(whole: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    from rfkit._extras import require

    require("shtab", extra="completion")
    import shtab

    from rfkit.models.registry import list_models

    for _, parser in subcommands(whole):
        for action in parser._actions:
            if action.dest == "model":
                action.choices = list_models()
            elif action.type is Path or action.dest in _FILES_OR_NAMES:
                folder = action.metavar == "FOLDER" or action.dest == "root"
                action.complete = shtab.DIRECTORY if folder else shtab.FILE  # type: ignore[attr-defined]
    print(shtab.complete(whole, arguments.shell))
