"""The explorer without a browser: what controls, clicks and keys do to the choice and to the panels."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from explorer.networks import Strange, image, plain, small_dwrseg, untouched_state
from IPython.core.events import EventManager, available_events
from IPython.core.interactiveshell import ExecutionInfo
from matplotlib.figure import Figure
from PIL import Image

import rfkit
from rfkit.explorer.choice import PANELS
from rfkit.explorer.view import Explorer
from rfkit.results.box import Box

PATIENCE = 120.0


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def explorer() -> Iterator[Explorer]:
    made = rfkit.explore(small_dwrseg(), image(64, 96))
    yield made
    made.close()


def _png(explorer: Explorer, name: str) -> bytes:
    return explorer._slots[name].picture.png


def _changes(explorer: Explorer, name: str, do: Callable[[], None]) -> bool:
    before = _png(explorer, name)
    do()
    assert explorer.wait(PATIENCE)
    assert not explorer.errors
    return _png(explorer, name) != before


def test_it_opens_with_the_last_stage_and_its_pictures(explorer: Explorer) -> None:
    assert explorer.choice.layer == "stage4"
    assert explorer.shown == tuple(name for name in PANELS if name != "attribution")
    assert all(_png(explorer, name).startswith(b"\x89PNG") for name in explorer.shown)
    assert explorer._slots["attribution"].layout.display == "none"
    assert explorer._controls.of_attribution.layout.display == "none"
    assert [row.layout.display for row in explorer._controls.children] == ["flex", "flex", "flex", "none"]
    assert "Ready." in explorer._status.value


def test_a_click_on_the_image_picks_the_nearest_unit(explorer: Explorer) -> None:
    explorer.choose(layer="stage2")
    explorer.wait(PATIENCE)
    left, top, right, bottom = explorer._panels["box"].frame
    x0, y0, x1, y1 = explorer._panels["box"].limits
    across, down = (70 - x0) / (x1 - x0), (20 - y0) / (y1 - y0)

    def click() -> None:
        picture = explorer._slots["box"].picture
        place = {"x": left + across * (right - left), "y": top + down * (bottom - top)}
        picture._handle_custom_msg(place, [])

    assert _changes(explorer, "effective", click)
    assert explorer.choice.pixel == (20, 70)
    assert explorer.choice.unit == rfkit.trace(small_dwrseg(), (3, 64, 96))["stage2"].unit(20, 70)
    assert (explorer._controls.row.number.value, explorer._controls.column.number.value) == explorer.choice.unit


def test_a_click_on_a_map_picks_that_unit(explorer: Explorer) -> None:
    explorer.choose(layer="stage2", unit=(0, 0))
    explorer.wait(PATIENCE)
    left, top, right, bottom = explorer._panels["map"].frame
    x, y = left + 7.5 / 12 * (right - left), top + 5.5 / 8 * (bottom - top)
    assert _changes(explorer, "map", lambda: explorer._clicked("map")(x, y))
    assert explorer.choice.unit == (5, 7)
    # Outside of the axes nothing is meant.
    explorer._clicked("map")(0.001, 0.001)
    assert explorer.choice.unit == (5, 7)


def test_a_click_on_a_region_map_picks_the_unit_there(explorer: Explorer) -> None:
    explorer.choose(layer="stage3.1", unit=(0, 0))
    explorer.wait(PATIENCE)
    explorer._pick("region", (2.2, 3.4))
    assert explorer.choice.unit == (2, 3)
    explorer.choose(layer="stage2")
    explorer.wait(PATIENCE)


def test_sliders_and_arrow_keys_move_the_unit(explorer: Explorer) -> None:
    explorer.choose(layer="stage2", unit=(2, 3))
    explorer.wait(PATIENCE)

    def slide() -> None:
        explorer._controls.row.number.value = 4

    assert _changes(explorer, "box", slide)
    assert explorer.choice.unit == (4, 3)
    explorer._slots["map"].picture._handle_custom_msg({"step": [0, -1]}, [])
    assert explorer.choice.unit == (4, 2)
    for _ in range(20):
        explorer._step(0, -1)
    assert explorer.choice.unit == (4, 0)
    assert (explorer._controls.row.number.max, explorer._controls.column.number.max) == (7, 11)
    explorer.wait(PATIENCE)


def test_controls_change_layer_branch_channel_and_class(explorer: Explorer) -> None:
    explorer._controls.stage.value = "stage4"
    assert explorer.choice.layer == "stage4"
    explorer._controls.layer.value = "stage4.2"
    assert explorer._controls.branch.options == ("all", "d1", "d3", "d5")
    explorer.wait(PATIENCE)

    def branch() -> None:
        explorer._controls.branch.value = "d5"

    assert _changes(explorer, "effective", branch)
    assert explorer._panels["effective"].text.endswith("pixels")
    assert "through d5" in explorer._panels["effective"].text

    def channel() -> None:
        explorer._controls.channel.value = "3"

    assert _changes(explorer, "map", channel)
    assert explorer.results()["effective"].channels == (3,)

    def region_channel() -> None:
        explorer._controls.region.value = str(explorer._menu.region_channels("stage4.2") - 1)

    assert _changes(explorer, "semantic", region_channel)
    explorer._controls.switches["attribution"].value = True
    assert explorer._controls.class_index.label == "predicted there"
    assert explorer._controls.of_attribution.layout.display == "flex"
    explorer.wait(PATIENCE)

    def other_class() -> None:
        explorer._controls.class_index.value = (explorer.results()["attribution"].class_index + 1) % 5

    assert _changes(explorer, "attribution", other_class)
    explorer._controls.switches["attribution"].value = False
    explorer._controls.stage.value = "stage2"
    assert (explorer.choice.branch, explorer._controls.branch.disabled) == ("", True)
    explorer.wait(PATIENCE)


def test_what_was_seen_is_not_computed_again(explorer: Explorer) -> None:
    explorer.choose(layer="stage2", unit=(1, 1), channel=None)
    explorer.wait(PATIENCE)
    first = _png(explorer, "effective")
    explorer.choose(unit=(1, 2))
    explorer.wait(PATIENCE)
    calls: list[str] = []
    with rfkit.hooks.observe(explorer._menu.model, "*", lambda name, _inputs, _output: calls.append(name)):
        explorer.choose(unit=(1, 1))
        explorer.wait(PATIENCE)
    assert not calls
    assert _png(explorer, "effective") == first


def test_results_and_figure_are_those_of_the_choice(explorer: Explorer) -> None:
    explorer.choose(layer="stage3", unit=(1, 2))
    results = explorer.results()
    assert isinstance(results["box"], Box)
    assert results["effective"].units == ((1, 2),)
    figure = explorer.figure()
    assert isinstance(figure, Figure)
    assert sum(bool(ax.get_title()) for ax in figure.axes) == len(explorer.shown)
    assert explorer.wait(PATIENCE)


def test_every_control_has_a_description_and_a_tooltip(explorer: Explorer) -> None:
    at = explorer._controls
    controls = [
        at.stage, at.layer, at.branch, at.channel, at.row.number, at.column.number, at.region, at.class_index, at.where,
        at.method, *at.switches.values(),
    ]  # fmt: skip
    assert all(control.description and control.tooltip for control in controls)
    assert len({control.description for control in controls}) == len(controls)
    assert all(slot.picture.text for name, slot in explorer._slots.items() if name in explorer.shown)


def test_an_older_result_is_not_shown(explorer: Explorer) -> None:
    explorer.choose(layer="stage2", unit=(0, 5))
    explorer.wait(PATIENCE)
    shown = _png(explorer, "box")
    older = explorer._worker.submit([], str, lambda *_: None)
    explorer._worker.submit([], str, lambda *_: None)
    explorer._receive(older, "box", Box(0, 0, 5, 5))
    assert _png(explorer, "box") == shown


def test_what_cannot_be_shown_is_one_line() -> None:
    explorer = rfkit.explore(Strange(), image(), panels=["box", "map"], layer="output")
    try:
        assert "is unknown" in str(explorer.errors["box"])
        assert "<p" in explorer._slots["box"].note.value
        assert explorer._slots["box"].picture.layout.display == "none"
        assert _png(explorer, "map")
        explorer.choose(layer="body.2")
        explorer.wait(PATIENCE)
        assert not explorer.errors
        assert explorer._slots["box"].note.value == ""
    finally:
        explorer.close()


def test_the_model_is_left_as_it_was_found() -> None:
    model = plain().train()
    before = untouched_state(model)
    explorer = rfkit.explore(model, image(), panels=["box", "effective", "attribution"])
    explorer.choose(pixel=(3, 4))
    assert explorer.wait(PATIENCE)
    explorer.close()
    assert untouched_state(model) == before


def test_new_weights_make_new_pictures() -> None:
    explorer = rfkit.explore(plain(), image(), panels=["map"])
    try:
        with torch.no_grad():
            explorer._menu.model[4].weight.mul_(torch.tensor([1.0, -3, 2, 5]).view(4, 1, 1, 1))
        assert _changes(explorer, "map", lambda: explorer.choose(pixel=(3, 4)))
    finally:
        explorer.close()


def test_a_changed_type_of_the_model_makes_new_pictures() -> None:
    explorer = rfkit.explore(plain(), image(), panels=["map", "effective"])
    try:
        explorer._menu.model.double()
        assert _changes(explorer, "effective", lambda: explorer.choose(pixel=(3, 4)))
        explorer._menu.model.half()
        explorer.choose(pixel=(3, 5))
        assert explorer.wait(PATIENCE)
        assert "gradients are taken in full precision only" in str(explorer.errors["effective"])
    finally:
        explorer.close()


def test_a_unit_seen_before_is_not_drawn_again(explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    explorer.choose(layer="stage3", unit=(1, 1))
    explorer.wait(PATIENCE)
    explorer.choose(unit=(1, 2))
    explorer.wait(PATIENCE)
    monkeypatch.setattr("rfkit.explorer.view.draw_panel", None)
    explorer.choose(unit=(1, 1))
    assert explorer.wait(PATIENCE)
    assert not explorer.errors


def test_the_hint_goes_with_the_first_choice_and_progress_with_the_last_panel() -> None:
    explorer = rfkit.explore(plain(), image(), panels=["box", "map"])
    try:
        assert "Click the image or a map" in explorer._status.value
        assert explorer._progress.layout.visibility == "hidden"
        explorer._worker.pause()
        explorer.choose(unit=(2, 2))
        assert "Click the image" not in explorer._status.value
        assert "Computing: Image" in explorer._status.value
        assert explorer._progress.layout.visibility == "visible"
        assert 0 < explorer._progress.value < explorer._progress.max
        assert all("rfkit-stale" in explorer._slots[name]._dom_classes for name in explorer.shown)
        # A cell that waits lets the worker go on, and stops it again.
        assert explorer.wait(PATIENCE)
        assert explorer._worker.paused
        assert explorer._progress.layout.visibility == "hidden"
        assert not any("rfkit-stale" in explorer._slots[name]._dom_classes for name in explorer.shown)
    finally:
        explorer.close()


def test_numbers_and_sliders_go_together(explorer: Explorer) -> None:
    explorer.choose(layer="stage2", unit=(2, 3))
    explorer._controls.row.slider.value = 5
    assert explorer.choice.unit == (5, 3)
    assert explorer._controls.row.number.value == 5
    explorer._controls.column.number.value = 1000
    assert explorer.choice.unit == (5, 11)
    assert explorer._controls.column.slider.value == 11
    assert explorer.wait(PATIENCE)


def test_nothing_is_left_of_a_closed_explorer() -> None:
    before = set(ipywidgets.widgets.widget._instances)
    explorer = rfkit.explore(plain(), image(), panels=["box"])
    assert set(ipywidgets.widgets.widget._instances) - before
    explorer.close()
    assert set(ipywidgets.widgets.widget._instances) == before
    explorer.choose(unit=(1, 1))
    assert explorer.wait(PATIENCE)


class Shell:
    """What the explorer needs of a notebook's shell."""

    def __init__(self, cell: str) -> None:
        self.events = EventManager(self, available_events)
        self.cell = cell

    def get_parent(self) -> dict:
        return {"metadata": {"cellId": self.cell}}

    def run(self, cell: str) -> None:
        self.cell = cell
        self.events.trigger("pre_run_cell", ExecutionInfo("", True, False, True, cell))

    def done(self) -> None:
        self.events.trigger("post_run_cell", None)


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Shell:
    shell = Shell("first")
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    return shell


def _listeners(shell: Shell) -> int:
    return sum(map(len, shell.events.callbacks.values()))


def test_a_cell_pauses_the_explorer_and_the_one_that_made_it_closes_it(shell: Shell) -> None:
    before = _listeners(shell)
    explorer = rfkit.explore(plain(), image(), panels=["box"])
    assert explorer._worker.paused
    shell.done()
    assert not explorer._worker.paused
    shell.run("second")
    assert explorer._worker.paused
    shell.done()
    assert _listeners(shell) == before + 2
    shell.run("first")
    assert explorer._worker._closed
    assert _listeners(shell) == before


def test_an_interrupt_while_it_opens_leaves_nothing_in_the_notebook(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _listeners(shell)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rfkit.explorer.view.draw_panel", interrupted)
    with pytest.raises(KeyboardInterrupt):
        rfkit.explore(plain(), image(), panels=["box"])
    assert _listeners(shell) == before


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1"])
def test_image_files_of_any_kind(mode: str, tmp_path: Path) -> None:
    Image.new("RGB", (48, 32), (90, 90, 90)).convert(mode).save(tmp_path / "image.png")
    explorer = rfkit.explore(plain(), tmp_path / "image.png", panels="box")
    assert explorer._menu.picture.shape == (32, 48, 3)
    assert not explorer.errors
    explorer.close()


def test_an_image_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.png: no such file"):
        rfkit.explore(plain(), str(tmp_path / "missing.png"))


def test_what_is_no_network_is_named() -> None:
    with pytest.raises(TypeError, match="model is a str; give a network"):
        rfkit.explore("dwrseg_b", image())


@pytest.mark.parametrize("missing", [{"anywidget"}, {"ipywidgets"}])
def test_without_a_library(missing: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec

    def absent(name: str, *rest: object) -> object:
        return None if name in missing else find(name, *rest)

    monkeypatch.setattr("rfkit.explorer.exploring.find_spec", absent)
    monkeypatch.setattr("rfkit.explorer.slot.find_spec", absent)
    made = rfkit.explore(plain(), image(), panels=["box", "map"])
    if missing == {"ipywidgets"}:
        assert isinstance(made, Figure)
        assert sum(bool(ax.get_title()) for ax in made.axes) == 2
        return
    before = made._slots["map"].picture.value
    assert before.startswith('<img class="rfkit-picture" alt="Feature map of 4')
    made._controls.row.number.value = 2
    assert made.wait(PATIENCE)
    assert made._slots["map"].picture.value != before
    made.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"panels": ["trf"]}, "panels='trf' is not known; allowed: box, map"),
        ({"layer": "9"}, "layer='9' is not known"),
        ({"pixel": 3}, "pixel=3 is not a place; allowed: two whole numbers"),
        ({"pixel": (32, 0)}, r"pixel=\(32, 0\) is outside of the 32 x 48 pixels of the image"),
    ],
)
def test_arguments_are_checked(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rfkit.explore(plain(), image(), **options)


def test_a_class_of_pixels_is_not_one_of_the_image() -> None:
    explorer = rfkit.explore(plain(), image(), panels=["attribution"], class_names=["a", "b", "c", "d"])
    try:
        explorer._controls.where.value = "all predicted pixels"
        assert explorer.wait(PATIENCE)
        region = explorer.results()["attribution"].region
        assert np.count_nonzero(region) > 1
        assert [label for label, _ in explorer._controls.class_index.options][1:] == ["a", "b", "c", "d"]
    finally:
        explorer.close()
