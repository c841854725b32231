"""Settings of Sphinx: docstrings as they are written in rfkit, and the help of every command. `make docs` builds."""

from __future__ import annotations

import argparse
import logging
import os
import re
import shutil
import sys
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive

# The help of commands is set in lines of this many characters, whatever the terminal.
os.environ["COLUMNS"] = "100"
os.environ.setdefault("MPLBACKEND", "Agg")
sys.path.insert(0, str(Path(__file__).parents[1]))

import rfkit
from rfkit import cli
from rfkit.cli_parser import subcommands

project = "rfkit"
author = "The rfkit authors"
version = release = rfkit.__version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "myst_nb"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"rfkit {release}"
html_copy_source = False
# The licence and the authors are in the project's own files.
html_show_copyright = False

# In docstrings `name` is code; where it is something that is documented, a link as well.
default_role = "py:obj"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_custom_sections = [("Columns", "params_style")]
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 100
# GLOSSARY.md is included from the folder above.
myst_heading_anchors = 2

# Notebooks are stored without outputs; here they are run, and what they show is kept until their code changes or
# `make clean`. Sphinx reads nothing outside of this folder, so that it gets copies.
nb_execution_mode = "cache"
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True
logging.getLogger("traitlets").setLevel(logging.WARNING)
shutil.copytree(Path(__file__).parents[1] / "notebooks", Path(__file__).parent / "notebooks", dirs_exist_ok=True)


def _written_plainly(app: object, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Docstrings of rfkit are plain text with `code`; |w| and *args mean nothing else, as they do in Sphinx."""
    for index, line in enumerate(lines):
        parts = re.split(r"(``[^`]+``|`[^`]+`)", line)
        if not line.lstrip().startswith(">>>"):
            parts[::2] = [re.sub(r"(?<!\\)([|*])", r"\\\1", part) for part in parts[::2]]
        lines[index] = "".join(parts)


def _help(parser: argparse.ArgumentParser) -> nodes.literal_block:
    text = parser.format_help()
    return nodes.literal_block(text, text, language="none")


class Commands(Directive):
    """The help of `rfkit`, then a section for every command with its own."""

    has_content: ClassVar[bool] = False

    def run(self) -> list[nodes.Node]:
        """The literal block and the sections."""
        whole = cli._parser()
        found: list[nodes.Node] = [_help(whole)]
        for name, parser in subcommands(whole):
            section = nodes.section(ids=[f"rfkit-{name.replace(' ', '-')}"], names=[f"rfkit {name}"])
            section += nodes.title(text=f"rfkit {name}")
            section += _help(parser)
            found.append(section)
        return found


def setup(app: object) -> None:
    """Add both to Sphinx."""
    app.connect("autodoc-process-docstring", _written_plainly, priority=100)
    app.add_directive("rfkit-commands", Commands)
