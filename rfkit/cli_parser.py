"""How `rfkit` reads a command line and speaks of it: one line for an error, help that fits the terminal."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NoReturn

__all__ = ["Parser", "command", "subcommands"]


class _Help(argparse.HelpFormatter):
    """Text is wrapped, indented lines stay lines, and an example that is too long goes on after a backslash."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        parts = []
        for lines in text.split("\n"):
            if lines.startswith("  rfkit "):
                parts.append(_continued(lines, width))
            elif lines.startswith(" "):
                parts.append(textwrap.fill(lines, width, subsequent_indent=" " * _hanging(lines)))
            else:
                parts.append(textwrap.fill(lines, width))
        return "\n".join(indent + part for part in parts)

    def _format_action(self, action: argparse.Action) -> str:
        # "COMMAND" alone on a line says nothing that the list below it does not.
        if not isinstance(action, argparse._SubParsersAction):
            return super()._format_action(action)
        return self._join_parts([self._format_action(below) for below in action._get_subactions()])


def _hanging(line: str) -> int:
    """Where the text of a line of a list begins, behind its first column."""
    found = re.match(r" +\S+ {2,}", line)
    return found.end() if found else len(line) - len(line.lstrip())


def _continued(example: str, width: int) -> str:
    """A command line as a shell takes it, broken before options."""
    lines = [""]
    for part in re.split(r" (?=--)", example):
        longer = f"{lines[-1]} {part}" if lines[-1] else part
        # Two columns are kept for the backslash.
        if lines[-1] and len(longer) > width - 2:
            lines[-1] += " \\"
            longer = f"      {part}"
            lines.append(longer)
        else:
            lines[-1] = longer
    return "\n".join(lines)


class Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line, with the nearest name where one was misspelt."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"formatter_class": _Help, **options})
        # Given before the command as well as after it; see `main`.
        self.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help="show where an error comes from"
        )

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and exit with 2."""
        told = message if message.endswith("?") else f"{message.rstrip('.')}; see `{self.prog} --help`."
        self.exit(2, f"{self.prog}: error: {told}\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; what is not known is an error of the command it was given to, not of `rfkit`."""
        given = list(sys.argv[1:] if args is None else args)
        if not given and self._subparsers is not None:
            self.print_help(sys.stderr)
            self.exit(2)
        self._check_options(given)
        known, rest = super().parse_known_args(given, namespace)
        if rest:
            self.error(f"{_words(rest)}: more than this command takes")
        return known, rest

    def _check_options(self, given: Sequence[str]) -> None:
        """Find an option that does not exist, before argparse complains of what is missing because of it."""
        options = [name for name in self._option_string_actions if name.startswith("--")]
        for word in given:
            if word == "--" or (self._subparsers is not None and not word.startswith("-")):
                return
            name = word.partition("=")[0]
            if " " in name or not re.match(r"--\w|-[A-Za-z]", name) or name in self._option_string_actions:
                continue
            if name.startswith("--") and any(option.startswith(name) for option in options):
                continue
            near = difflib.get_close_matches(name, options, n=2)
            near = near or [option for option in options if name[1] != "-" and option.startswith(f"-{name[:2]}")][:2]
            self.error(f"{name}: no such option{_meant(near)}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        names = [str(choice) for choice in action.choices]
        near = difflib.get_close_matches(str(value), names, n=2)
        raise argparse.ArgumentError(
            action, f"{str(value)!r} is not known; allowed: {', '.join(names)}{_meant(near, '. ')}"
        )


def _words(words: Iterable[str]) -> str:
    return " ".join(repr(word) if " " in word else word for word in words)


def _meant(near: Sequence[str], before: str = "; ") -> str:
    asked = f"did you mean {' or '.join(near)}?"
    return f"{before}{asked[0].upper() if before == '. ' else asked[0]}{asked[1:]}" if near else ""


def command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int | None], summary: str, *examples: str
) -> Any:
    """The parser of a command, with its summary and examples in its help."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog="examples:\n" + "\n".join(f"  rfkit {example}" for example in examples),
    )
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
