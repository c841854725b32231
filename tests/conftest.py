"""Shapes in annotations are checked while the tests run; real frames come from RFKIT_CAMVID."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path

import matplotlib
import pytest
from jaxtyping import install_import_hook

matplotlib.use("Agg")

_PACKAGE = Path(__file__).parents[1] / "rfkit"
# Modules that annotate shapes are checked, the others not: checks of every call would triple the time of the tests.
_WITH_SHAPES = [
    ".".join(file.relative_to(_PACKAGE.parent).with_suffix("").parts)
    for file in sorted(_PACKAGE.rglob("*.py"))
    if "jaxtyping" in file.read_text(encoding="utf-8")
]
_HOOK = install_import_hook(_WITH_SHAPES, "shape_checking.check")


@pytest.fixture(scope="session")
def camvid_root() -> Path:
    """The folder of the real CamVid data set, where the environment names one."""
    root = os.environ.get("RFKIT_CAMVID")
    if not root:
        pytest.skip("RFKIT_CAMVID is not set: no real CamVid frames at hand")
    return Path(root)


@pytest.fixture
def notebook(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> pytest.CaptureFixture[str]:
    """What is written in a notebook, where bars move from their start."""
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    return capsys
