"""The documentation: its answers run, and every public name has its place."""

from __future__ import annotations

import importlib
import inspect
import re
from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

import rfkit

DOCS = Path(__file__).parents[1] / "docs"
ANSWERS = re.findall(
    r"^## \.\.\. (.+?)$\n```python\n(.*?)^```",
    (DOCS / "how_do_i.md").read_text(encoding="utf-8"),
    re.DOTALL | re.MULTILINE,
)
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted((DOCS / "reference").glob("*.md"))}


def _documented(kind: str) -> list[str]:
    return re.findall(rf"^\.\. auto{kind}:: rfkit\.(.+)$", "\n".join(PAGES.values()), re.MULTILINE)


def test_every_public_name_has_one_place() -> None:
    places = Counter(name for kind in ("function", "class") for name in _documented(kind) if "." not in name)
    missing = set(rfkit.__all__) - {"__version__"} - set(places)
    assert not missing, f"add them to a page of docs/reference: {sorted(missing)}"
    assert set(places) <= set(rfkit.__all__)
    assert max(places.values()) == 1


def test_classes_are_documented_as_classes() -> None:
    for name in _documented("function"):
        assert not inspect.isclass(getattr(rfkit, name)), name
    for name in _documented("class"):
        module, _, attribute = f"rfkit.{name}".rpartition(".")
        found = getattr(importlib.import_module(module), attribute)
        assert inspect.isclass(found), name
        assert found.__doc__


def test_every_page_can_be_reached() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")} - {"index"}
    pages = {page for page in pages if not page.startswith("_build")}
    listed = re.findall(r"^(?:\w+ <)?([a-z_/]+)>?$", index, re.MULTILINE)
    assert sorted(listed) == sorted(pages)


def test_there_are_twenty_answers() -> None:
    text = (DOCS / "how_do_i.md").read_text(encoding="utf-8")
    assert len(ANSWERS) == text.count("\n## ") == text.count("```python") == 20


@pytest.mark.parametrize(("question", "code"), ANSWERS, ids=[question for question, _ in ANSWERS])
def test_an_answer_runs(question: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        exec(compile(code, question, "exec"), {"__name__": "answer"})
    finally:
        plt.close("all")
