"""Numbers that the paper prints, one file a table, with their citation."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Any

__all__ = ["published"]


@cache
def _text(name: str) -> str:
    return resources.files("rfkit.paper.published").joinpath(f"{name}.toml").read_text(encoding="utf-8")


def published(name: str) -> dict[str, Any]:
    """What the paper prints in the table called `name` ("table1" to "table4"), with "citation" and "caption"."""
    return tomllib.loads(_text(name))
