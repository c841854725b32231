"""The command `rfkit completion`: a shell completes commands, options, their values and files."""

from __future__ import annotations

import argparse
import functools
from typing import Any

from rfkit.cli_parser import command, subcommands

__all__ = ["add_completion"]

SHELLS = ("bash", "zsh", "fish", "tcsh")

# What takes a file or folder says so in its metavar; of the rest these do.
_FOLDERS = ("FOLDER",)
_FILES = ("FILE", "FILE.csv", "FILE.npz", "FILE.onnx", "FILE_OR_NAME", "MODULE:FACTORY", "PATH")


# A file is read at once, while `eval "$(rfkit completion bash)"` would load torch for each new shell.
_PLACES = """

what to do with it:
  bash  rfkit completion bash > ~/.rfkit-completion, and in ~/.bashrc: source ~/.rfkit-completion
  zsh   rfkit completion zsh > ~/.zfunc/_rfkit, and in ~/.zshrc, before compinit: fpath+=~/.zfunc
  fish  rfkit completion fish > ~/.config/fish/completions/rfkit.fish
  tcsh  rfkit completion tcsh > ~/.rfkit-completion, and in ~/.tcshrc: source ~/.rfkit-completion"""


def add_completion(commands: Any, whole: argparse.ArgumentParser) -> None:
    """Add the command `rfkit completion`, for the commands of the parser `whole`."""
    parser = command(
        commands,
        "completion",
        functools.partial(_completion, whole),
        "print what makes a shell complete commands, options, names and files",
        "completion bash",
        "completion zsh",
    )
    parser.epilog += _PLACES
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=f"the shell: {', '.join(SHELLS)}")


def _completion(whole: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    from rfkit._extras import require

    require("shtab", extra="completion")
    import shtab

    for _, parser in subcommands(whole):
        for action in parser._actions:
            names = _names(action)
            if names:
                action.choices = names
            elif action.metavar in _FOLDERS:
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
            elif action.metavar in _FILES or action.dest == "source":
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    print(shtab.complete(whole, arguments.shell))


def _names(action: argparse.Action) -> list[str]:
    """What an argument may be, where the parser leaves the check to others, which have torch."""
    from rfkit.models.registry import list_models
    from rfkit.paper.builder import FIGURES
    from rfkit.training.recipe import RECIPES

    known = {
        "model": list_models, "networks": list_models, "compare_to": list_models, "recipe": lambda: RECIPES,
        "names": lambda: FIGURES, "device": lambda: ("cpu", "cuda"),
    }  # fmt: skip
    return list(known[action.dest]()) if action.dest in known else []
