"""The explorer in JupyterLab, driven by clicks, numbers, sliders and keys: pictures change, and say what they show."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from browser.lab import PATIENCE, choose, open_notebook, run_all

pytestmark = pytest.mark.browser

EXPLORER = """
explorer = rfkit.explore(model, rfkit.Scenes("test", size={size}, length=1)[0].image)
explorer
"""
NETWORK = """
import rfkit
model = rfkit.create_model("{name}", weights="camvid").eval()
"""
# Ten lines that a user wrote, without stages or blocks.
CONVOLUTIONS = """
import rfkit
from torch import nn
model = nn.Sequential(
    nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=2, dilation=2), nn.ReLU(),
    nn.Conv2d(8, 4, 1),
).train()
"""
WITHOUT_ANYWIDGET = """
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "anywidget" else find(name, *rest)
"""
SMALL, OF_CAMVID = (96, 128), (360, 480)

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def opened(lab: tuple[str, Path], chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """Opens a page with the explorer that cells of code make; nothing but the explorer comes out of these."""
    address, folder = lab
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    pages = []

    def open_page(*cells: str, width: int = 1700) -> Any:
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in cells], metadata=kernel)
        path = tmp_path_factory.mktemp("notebook") / f"explorer-{len(pages)}.ipynb"
        nbformat.write(notebook, path)
        page = chromium.new_page(viewport={"width": width, "height": 1500})
        pages.append(page)
        page.complaints = []
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("console", lambda message: page.complaints.append(message.text) if message.type == "error" else None)
        outputs = run_all(page, open_notebook(page, address, path, folder))
        assert [output for output in outputs if output.output_type != "execute_result"] == []
        page.locator(".rfkit-picture").first.wait_for(timeout=PATIENCE)
        _ready(page)
        return page

    yield open_page
    for page in pages:
        page.close()


@pytest.fixture(scope="module")
def explorer(opened: Open) -> Any:
    """A page with the explorer of a network at the size of CamVid's frames."""
    return opened(NETWORK.format(name="dwrseg_b") + EXPLORER.format(size=OF_CAMVID))


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


def _unit(page: Any) -> tuple[int, int]:
    row, column = map(int, re.search(r"unit \((\d+), (\d+)\)", _ready(page)).groups())
    return row, column


def _at_unit(page: Any, row: int, column: int) -> None:
    page.locator('[role="status"]', has_text=f"unit ({row}, {column})").wait_for(timeout=PATIENCE)
    _ready(page)


def _drag(page: Any, index: int, share: float) -> None:
    """Drag the handle of a slider to a share of its length."""
    handle = page.locator(".rfkit-slider .noUi-touch-area").nth(index).bounding_box()
    track = page.locator(".rfkit-slider .noUi-base").nth(index).bounding_box()
    height = handle["y"] + handle["height"] / 2
    page.mouse.move(handle["x"] + handle["width"] / 2, height)
    page.mouse.down()
    page.mouse.move(track["x"] + share * track["width"], height, steps=5)
    page.mouse.up()


def test_numbers_sliders_and_arrow_keys_move_the_unit(explorer: Any) -> None:
    row, column = _unit(explorer)
    before = explorer.locator(".rfkit-picture:visible").nth(3).screenshot()
    explorer.get_by_role("spinbutton", name="Row", exact=True).focus()
    explorer.keyboard.press("ArrowUp")
    _at_unit(explorer, row + 1, column)
    assert explorer.locator(".rfkit-picture:visible").nth(3).screenshot() != before
    explorer.locator(".rfkit-picture:visible").first.focus()
    explorer.keyboard.press("ArrowRight")
    _at_unit(explorer, row + 1, column + 1)
    _drag(explorer, 1, 1.0)
    _at_unit(explorer, row + 1, 14)
    number = explorer.get_by_role("spinbutton", name="Column", exact=True)
    assert number.input_value() == "14"
    number.fill("99")
    number.press("Enter")
    _at_unit(explorer, row + 1, 14)


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


def _names_in_tab_order(page: Any) -> list[str]:
    """What a screen reader calls the stops from the first control to the end of the explorer; "" for nothing."""
    page.get_by_label("Stage", exact=True).focus()
    names: list[str] = []
    while len(names) < 40:
        name = page.evaluate(
            """() => {
              const at = document.activeElement;
              if (!at.closest(".rfkit-explorer")) return null;
              const label = at.labels && at.labels.length ? at.labels[0].innerText : "";
              return at.getAttribute("aria-label") || label || at.alt || at.title || "";
            }"""
        )
        if name is None:
            return names
        names.append(name)
        page.keyboard.press("Tab")
    raise AssertionError(f"no end of stops: {names}")


SWITCHES = [
    "Image and theoretical field (TRF)", "Feature map", "Support", "Effective field (ERF)", "RR: region map",
    "SR: semantic map", "Attribution",
]  # fmt: skip


def test_every_control_has_a_name_and_tabs_go_from_one_to_the_next(explorer: Any) -> None:
    names = _names_in_tab_order(explorer)
    assert all(names)
    # The branch of a block without branches is no stop.
    controls = ["Stage", "Block", "Channel", "Row", "Column", "RR channel", *SWITCHES]
    assert [name for name in names if name != "Branch"][: len(controls)] == controls
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
    assert "they are in stage2, stage3, stage4" in line.first.inner_text()
    assert "Traceback" not in explorer.locator(".jp-Notebook").inner_text()
    assert explorer.complaints == []


def test_an_interrupted_kernel_goes_on(explorer: Any) -> None:
    explorer.get_by_label("Stage", exact=True).select_option("stage4")
    explorer.locator('[role="status"]', has_text="stage4").wait_for(timeout=PATIENCE)
    choose(explorer, "Kernel", "Interrupt Kernel")
    _ready(explorer)
    before = explorer.locator(".rfkit-picture:visible").first.screenshot()
    _click(explorer, 0, 0.3, 0.5)
    explorer.wait_for_function(
        "before => document.querySelector('[role=status]').innerText !== before", arg=_status(explorer)
    )
    _ready(explorer)
    assert explorer.locator(".rfkit-picture:visible").first.screenshot() != before


def test_a_narrow_window_cuts_nothing_off(explorer: Any) -> None:
    explorer.set_viewport_size({"width": 700, "height": 1500})
    explorer.wait_for_function("document.querySelector('.rfkit-panels').getBoundingClientRect().width < 450")
    _keep(explorer)
    # The numbers of a slider's track are no measure of what is seen.
    outside = """() => {
      const edge = document.querySelector(".rfkit-explorer").getBoundingClientRect().right;
      return [...document.querySelectorAll(".rfkit-explorer *:not([class*=noUi])")]
        .filter((part) => part.getBoundingClientRect().right > edge + 1).map((part) => part.className);
    }"""
    assert explorer.evaluate(outside) == []


STAGES = ["stem", "stage2", "stage3", "stage4", "decoder", "output"]


@pytest.mark.parametrize(
    ("name", "stages", "branches", "steps"),
    [
        ("regseg", ["stem", "stage2", "stage3", "stage4", "decoder", "output"], ["all", "d1", "d14"], ""),
        (
            "probe_dwrseg_l",
            ["stem", "stage2", "stage3", "stage4", "decoder", "output"],
            ["all", "d1", "d3", "d5"],
            "RR",
        ),
        ("convolutions", ["0", "1", "2", "3", "4", "output"], ["all"], ""),
    ],
)
def test_other_networks(opened: Open, name: str, stages: list[str], branches: list[str], steps: bool) -> None:
    code = CONVOLUTIONS if name == "convolutions" else NETWORK.format(name=name)
    page = opened(code + EXPLORER.format(size=SMALL))
    assert _options(page, "Stage") == stages
    assert _options(page, "Branch") == branches
    assert page.get_by_label("Block", exact=True).is_disabled() == (name == "convolutions")
    shown = page.locator(".rfkit-picture:visible")
    assert shown.count() == (6 if steps else 4)
    before, unit = shown.nth(3).screenshot(), _unit(page)
    _click(page, 1, 0.3, 0.35)
    page.wait_for_function("before => document.querySelector('[role=status]').innerText !== before", arg=_status(page))
    assert _unit(page) != unit
    assert shown.nth(3).screenshot() != before
    if len(branches) > 1:
        page.get_by_label("Branch", exact=True).select_option(branches[-1])
        page.locator(f".rfkit-picture[alt*='through {branches[-1]}']").wait_for(timeout=PATIENCE)
        _ready(page)
    if not steps:
        page.get_by_label(SWITCHES[4], exact=True).check()
        line = page.locator('[role="note"]', has_text="nor has any layer of this network")
        line.wait_for(timeout=PATIENCE)
    page.get_by_label("Attribution", exact=True).check()
    page.locator(".rfkit-picture[alt^='attribution of']").wait_for(timeout=PATIENCE)
    page.get_by_label("Stage", exact=True).select_option(stages[1])
    page.locator('[role="status"]', has_text=f"{stages[1]}, unit").wait_for(timeout=PATIENCE)
    _ready(page)
    assert all(_names_in_tab_order(page))
    assert "Traceback" not in page.locator(".jp-Notebook").inner_text()
    assert page.locator(".jp-OutputArea-output[data-mime-type*='stderr']").count() == 0
    assert page.complaints == []


def _options(page: Any, label: str) -> list[str]:
    return page.get_by_label(label, exact=True).evaluate("list => [...list.options].map(option => option.value)")


def test_without_anywidget_numbers_and_sliders_do_what_clicks_do(opened: Open) -> None:
    page = opened(WITHOUT_ANYWIDGET + CONVOLUTIONS + EXPLORER.format(size=SMALL))
    assert "Row and Column choose another unit." in _status(page)
    shown = page.locator("img.rfkit-picture:visible")
    before = [shown.nth(index).screenshot() for index in range(4)]
    row, column = _unit(page)
    page.get_by_role("spinbutton", name="Row", exact=True).focus()
    page.keyboard.press("ArrowDown")
    _at_unit(page, row - 1, column)
    _drag(page, 1, 0.0)
    _at_unit(page, row - 1, 0)
    assert "choose another unit" not in _status(page)
    # What can change the unit is three pixels wide in any case.
    assert [shown.nth(index).screenshot() != before[index] for index in (0, 1, 3)] == [True, True, True]
    names = _names_in_tab_order(page)
    assert names == ["Stage", "Channel", "Row", "Column", *SWITCHES]
    assert page.complaints == []


def test_a_cell_that_runs_again_replaces_its_explorer(opened: Open) -> None:
    counting = """
    import ipywidgets, threading
    threads = [thread.name for thread in threading.enumerate()].count("rfkit explorer")
    widgets = [type(widget).__name__ for widget in ipywidgets.widgets.widget._instances.values()].count("Explorer")
    print(f"alive: {threads} threads and {widgets} widgets")
    """
    page = opened(CONVOLUTIONS, EXPLORER.format(size=SMALL), "explorer.choose(channel=2); 0")
    cells = page.locator(".jp-CodeCell")
    for _ in range(3):
        _run(page, 1)
        page.locator('[role="status"]', has_text="Click the image").wait_for(timeout=PATIENCE)
        unit = _unit(page)
        _click(page, 0, 0.3, 0.35)
        page.locator('[role="status"]', has_not_text="Click the image").wait_for(timeout=PATIENCE)
        assert _unit(page) != unit
    editor = cells.nth(2).locator(".cm-content")
    editor.click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(textwrap.dedent(counting))
    page.keyboard.press("Control+Enter")
    page.get_by_text("alive: 1 threads and 1 widgets").wait_for(timeout=PATIENCE)
    assert page.complaints == []


def _run(page: Any, index: int) -> None:
    """Run a cell again."""
    page.locator(".jp-CodeCell").nth(index).locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
