"""The page of the figures, used with the keyboard on a narrow screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rfkit.paper.builder import build
from rfkit.paper.context import Context
from rfkit.paper.gallery import PAGE

pytestmark = pytest.mark.browser

SHOWN = "[...document.querySelectorAll('article:not([hidden])')].map(card => card.id)"


def test_the_page_of_the_figures(page: Any, tmp_path: Path) -> None:
    assert build(("fig1", "table3"), context=Context(out=tmp_path), progress=False).ok
    page.set_viewport_size({"width": 400, "height": 800})
    page.goto((tmp_path / PAGE).as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    page.keyboard.press("/")
    page.keyboard.type("BiSeNetV2 Params")
    assert page.evaluate(SHOWN) == ["table3"]
    assert page.inner_text("#found") == "1 of 2 found"
    page.keyboard.press("Escape")
    assert page.evaluate(SHOWN) == ["fig1", "table3"]
    page.keyboard.type("zebra")
    assert page.evaluate(SHOWN) == []
    assert page.inner_text("#found") == "Nothing has all of these words: zebra"
    page.evaluate("location.hash = '#table3'")
    page.wait_for_function("document.getElementById('table3').getBoundingClientRect().top < 200")
    assert page.evaluate(SHOWN) == ["fig1", "table3"]
