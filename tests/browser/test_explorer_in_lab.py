"""The explorer in JupyterLab, driven by clicks, sliders and keys: the pictures change, and say what they show."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from browser.lab import PATIENCE, open_notebook, run_all

pytestmark = pytest.mark.browser

CODE = """
import torch
import rfkit
model = rfkit.create_model("dwrseg_b", weights="camvid").eval()
explorer = rfkit.explore(model, rfkit.Scenes("test", size=(360, 480), length=1)[0].image)
explorer
"""


@pytest.fixture(scope="module")
def explorer(lab: tuple[str, Path], chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A page with the explorer of a network at the size of CamVid's frames."""
    address, folder = lab
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CODE)], metadata=kernel)
    path = tmp_path_factory.mktemp("notebook") / "explorer.ipynb"
    nbformat.write(notebook, path)
    page = chromium.new_page(viewport={"width": 1700, "height": 1500})
    outputs = run_all(page, open_notebook(page, address, path, folder))
    assert [output for output in outputs if output.output_type != "execute_result"] == []
    page.locator(".rfkit-picture").first.wait_for(timeout=PATIENCE)
    _ready(page)
    yield page
    page.close()


def _status(page: Any) -> str:
    return page.locator('[role="status"]', has_text="unit (").inner_text()


def _ready(page: Any) -> str:
    page.locator('[role="status"]', has_text="Ready.").wait_for(timeout=PATIENCE)
    page.wait_for_function("document.querySelectorAll('.rfkit-stale').length === 0", timeout=PATIENCE)
    _keep(page)
    return _status(page)


_SEEN = 0


def _keep(page: Any) -> None:
    """A picture of the page for a person to look at, where RFKIT_SCREENSHOTS names a folder."""
    global _SEEN
    folder = os.environ.get("RFKIT_SCREENSHOTS")
    if folder:
        _SEEN += 1
        page.screenshot(path=Path(folder) / f"explorer-{_SEEN:02d}.png")


def _click(page: Any, index: int, x: float, y: float) -> None:
    box = page.locator(".rfkit-picture:visible").nth(index).bounding_box()
    page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])


def test_a_click_on_the_image_picks_the_nearest_unit(explorer: Any) -> None:
    before, status = explorer.locator(".rfkit-picture:visible").nth(3).screenshot(), _ready(explorer)
    _click(explorer, 0, 0.72, 0.45)
    explorer.wait_for_function("before => document.querySelector('[role=status]').innerText !== before", arg=status)
    after = _ready(explorer)
    assert int(re.search(r"pixel \(\d+, (\d+)\)", after)[1]) > 300
    assert explorer.locator(".rfkit-picture:visible").nth(3).screenshot() != before


def test_a_click_on_a_feature_map_picks_that_unit(explorer: Any) -> None:
    before = explorer.locator(".rfkit-picture:visible").nth(1).screenshot()
    _click(explorer, 1, 0.25, 0.25)
    explorer.locator('[role="status"]', has_text=re.compile(r"unit \((1|2), (0|1|2)\)")).wait_for(timeout=PATIENCE)
    _ready(explorer)
    assert explorer.locator(".rfkit-picture:visible").nth(1).screenshot() != before


def test_sliders_and_arrow_keys_move_the_unit(explorer: Any) -> None:
    row, column = map(int, re.search(r"unit \((\d+), (\d+)\)", _ready(explorer)).groups())
    before = explorer.locator(".rfkit-picture:visible").nth(3).screenshot()
    slider = explorer.get_by_role("slider").first
    slider.focus()
    explorer.keyboard.press("ArrowUp")
    explorer.locator('[role="status"]', has_text=f"unit ({row + 1}, {column})").wait_for(timeout=PATIENCE)
    _ready(explorer)
    assert explorer.locator(".rfkit-picture:visible").nth(3).screenshot() != before
    explorer.locator(".rfkit-picture:visible").first.focus()
    explorer.keyboard.press("ArrowRight")
    explorer.locator('[role="status"]', has_text=f"unit ({row + 1}, {column + 1})").wait_for(timeout=PATIENCE)
    _ready(explorer)


def test_controls_are_reached_by_their_labels_and_change_the_pictures(explorer: Any) -> None:
    shown = explorer.locator(".rfkit-picture:visible")
    before = [shown.nth(index).screenshot() for index in (3, 4)]
    explorer.get_by_label("Branch", exact=True).select_option("d5")
    explorer.locator(".rfkit-picture[alt*='through d5']").wait_for(timeout=PATIENCE)
    _ready(explorer)
    assert [shown.nth(index).screenshot() for index in (3, 4)] != before
    explorer.get_by_label("Stage", exact=True).select_option("stage2")
    explorer.locator('[role="status"]', has_text="stage2").wait_for(timeout=PATIENCE)
    _ready(explorer)
    explorer.get_by_label("Block", exact=True).select_option("stage2.0")
    explorer.locator('[role="status"]', has_text="stage2.0").wait_for(timeout=PATIENCE)
    _ready(explorer)
    explorer.get_by_label("Channel", exact=True).select_option("3")
    explorer.locator(".rfkit-picture[alt*='channel 3']").wait_for(timeout=PATIENCE)
    _ready(explorer)


def test_every_control_has_a_name_and_tabs_go_from_one_to_the_next(explorer: Any) -> None:
    explorer.get_by_label("Stage", exact=True).focus()
    names = []
    while len(names) < 40:
        names.append(
            explorer.evaluate(
                """() => {
                  const at = document.activeElement;
                  if (!at.closest(".jp-OutputArea")) return null;
                  const label = at.labels && at.labels.length ? at.labels[0].innerText : "";
                  return at.getAttribute("aria-label") || label || at.alt || at.title || "";
                }"""
            )
        )
        if names[-1] is None:
            break
        explorer.keyboard.press("Tab")
    assert names.pop() is None
    assert all(names)
    controls = ["Stage", "Block", "Branch", "Channel", "Row", "Row, as a number", "Column", "Column, as a number"]
    # The branch of a block without branches is no stop.
    assert names[: len(controls) - 1] == [name for name in controls if name != "Branch"] or names[:8] == controls
    assert names.index("Attribution") < next(index for index, name in enumerate(names) if " sees rows " in name)


def test_attribution_is_switched_on_and_computed(explorer: Any) -> None:
    count = explorer.locator(".rfkit-picture:visible").count()
    explorer.get_by_label("Attribution", exact=True).check()
    explorer.locator(".rfkit-picture[alt^='attribution of']").wait_for(timeout=PATIENCE)
    _ready(explorer)
    assert explorer.locator(".rfkit-picture:visible").count() == count + 1
    chosen = explorer.get_by_label("Class", exact=True).evaluate("at => at.selectedOptions[0].innerText")
    # A browser gets no-break spaces from a drop-down list of ipywidgets.
    assert chosen.split() == ["predicted", "there"]
    explorer.get_by_label("Class", exact=True).select_option("Car")
    explorer.locator(".rfkit-picture[alt^='attribution of Car']").wait_for(timeout=PATIENCE)
    _ready(explorer)


def test_what_cannot_be_shown_is_one_line(explorer: Any) -> None:
    explorer.get_by_label("Stage", exact=True).select_option("output")
    line = explorer.locator('[role="note"]', has_text="has no block with the steps")
    line.first.wait_for(timeout=PATIENCE)
    assert "Traceback" not in explorer.locator(".jp-Notebook").inner_text()
