"""What the panels draw, and where a click in them falls."""

from __future__ import annotations

import dataclasses
import io
import threading
from collections.abc import Iterator
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from explorer.networks import Gated, image, plain, small_dwrseg
from matplotlib.figure import Figure
from PIL import Image

from rfkit.explorer import panels
from rfkit.explorer.choice import PANELS
from rfkit.explorer.choosing import changed_choice, first_choice
from rfkit.explorer.findings import Findings
from rfkit.explorer.menu import Menu
from rfkit.explorer.panels import draw_panel, draw_panels, static_figure


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def findings() -> Findings:
    return Findings(Menu(small_dwrseg(), image(64, 96)))


@pytest.mark.parametrize("name", PANELS)
def test_a_panel_is_a_picture_of_the_size_it_says(findings: Findings, name: str) -> None:
    choice = changed_choice(findings.menu, first_choice(findings.menu), layer="stage3", unit=(1, 2))
    before = dict(plt.rcParams)
    panel = draw_panel(name, findings.get(name, choice), choice, findings.menu)
    assert dict(plt.rcParams) == before
    assert plt.get_fignums() == []
    picture = np.asarray(Image.open(io.BytesIO(panel.png)).convert("RGB"))
    assert picture.shape[:2] == panel.size
    # Nothing reaches the border of the picture, where it would be cut off.
    for edge in (picture[0], picture[-1], picture[:, 0], picture[:, -1]):
        assert (edge == 255).all()
    assert panel.text


def test_panels_are_equally_wide_and_high_whatever_they_show(findings: Findings) -> None:
    sizes, tops = {}, set()
    for layer in ("stage2", "stage4", "output"):
        choice = changed_choice(findings.menu, first_choice(findings.menu), layer=layer)
        for name in ("box", "map", "support", "effective", "attribution"):
            panel = draw_panel(name, findings.get(name, choice), choice, findings.menu)
            assert sizes.setdefault(name, panel.size) == panel.size
            tops.add(round(panel.frame[1] * panel.size[0]))
    assert len({width for _, width in sizes.values()}) == 1
    assert max(tops) - min(tops) <= 1


def test_beside_a_global_path_the_box_is_called_that_of_local_paths() -> None:
    findings = Findings(Menu(Gated(), image()))
    choice = first_choice(findings.menu, layer="output")
    assert (
        "through local paths, and all pixels"
        in draw_panel("box", findings.get("box", choice), choice, findings.menu).text
    )
    figure = static_figure(findings, choice, ("box",))
    assert any("local paths" in text.get_text() for text in figure.axes[0].get_legend().get_texts())


@pytest.mark.parametrize("largest", [0.0, 3e-5, 0.085, 0.5, 4e3])
def test_a_map_is_not_cut_off_whatever_its_values(findings: Findings, largest: float) -> None:
    choice = first_choice(findings.menu)
    values = findings.get("map", choice)
    panel = draw_panel("map", values / np.abs(values).max() * largest, choice, findings.menu)
    picture = np.asarray(Image.open(io.BytesIO(panel.png)).convert("RGB"))
    assert all((edge == 255).all() for edge in (picture[0], picture[-1], picture[:, 0], picture[:, -1]))


def test_numbers_of_a_colour_bar_share_a_power_of_ten() -> None:
    findings = Findings(Menu(plain(), image()))
    choice = first_choice(findings.menu)
    attribution = findings.get("attribution", choice)
    for factor, label in ((1e-5, "10^"), (1.0, "")):
        scaled = dataclasses.replace(attribution, values=attribution.values / np.abs(attribution.values).max() * factor)
        figure = plt.figure()
        panels._draw_attribution(figure.gca(), scaled, choice, findings.menu)
        figure.canvas.draw()
        bar = figure.axes[-1]
        assert label in bar.get_xlabel() if label else not bar.get_xlabel()
        assert max(len(tick.get_text()) for tick in bar.get_yticklabels()) <= 5


def test_a_click_on_the_image_is_a_pixel_and_one_on_a_map_a_unit(findings: Findings) -> None:
    choice = changed_choice(findings.menu, first_choice(findings.menu), layer="stage2", unit=(3, 4))
    panel = draw_panel("map", findings.get("map", choice), choice, findings.menu)
    left, top, right, bottom = panel.frame
    picture = np.asarray(Image.open(io.BytesIO(panel.png)).convert("RGB")).astype(int)
    for row, column in ((0, 0), (3, 4), (7, 11)):
        x = left + (column + 0.5) / 12 * (right - left)
        y = top + (row + 0.5) / 8 * (bottom - top)
        assert np.allclose(panel.place(x, y), (row, column), atol=1e-6)
    # The marked unit is where the numbers say: green around it.
    x, y = left + 4 / 12 * (right - left), top + 3.5 / 8 * (bottom - top)
    around = picture[round(y * panel.size[0]), round(x * panel.size[1]) - 3 : round(x * panel.size[1]) + 4]
    assert (np.abs(around - (0x11, 0x77, 0x33)).sum(axis=1) < 60).any()
    box = draw_panel("box", findings.get("box", choice), choice, findings.menu)
    assert box.clickable
    assert box.place(0.01, 0.5) is None
    left, top, right, bottom = box.limits
    assert left < 0
    assert right > 95


def test_the_static_figure_has_a_panel_each_and_says_what_is_missing() -> None:
    findings = Findings(Menu(plain(), image()))
    figure = static_figure(findings, first_choice(findings.menu), ("box", "effective", "region"))
    assert isinstance(figure, Figure)
    titles = [ax.get_title() for ax in figure.axes]
    assert sum("theoretical field (TRF)" in title or "ERF" in title for title in titles) == 2
    texts = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert any("no block with the steps" in text.replace("\n", " ") for text in texts)


def test_the_panels_of_a_figure_stand_in_rows_and_columns(findings: Findings) -> None:
    choice = changed_choice(findings.menu, first_choice(findings.menu), layer="stage3", unit=(1, 2))
    found = {name: findings.get(name, choice) for name in PANELS if name != "attribution"}
    figure = draw_panels(found, choice, findings.menu)
    figure.canvas.draw()
    boxes = [ax.get_position(original=True) for ax in figure.axes if ax.get_title()]
    assert len(boxes) == len(found)
    # Axes with a colour bar are as wide as those without; it takes the rest.
    for box in boxes:
        assert box.width == pytest.approx(boxes[0].width)
        assert box.height == pytest.approx(boxes[0].height)
    assert len({round(box.x0, 6) for box in boxes}) == 3
    assert len({round(box.y0, 6) for box in boxes}) == 2


def test_a_figure_looks_the_same_while_a_thread_draws_a_panel(
    findings: Findings, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = changed_choice(findings.menu, first_choice(findings.menu), layer="stage3", unit=(1, 2))
    found = {name: findings.get(name, choice) for name in ("box", "map", "support")}
    drawing, leave = threading.Event(), threading.Event()
    draw_box, draw_map = panels._DRAW["box"], panels._DRAW["map"]

    def linger(*arguments: Any) -> str:
        drawing.set()
        leave.wait(1)
        return draw_map(*arguments)

    thread = threading.Thread(target=lambda: draw_panel("map", found["map"], choice, findings.menu))
    with monkeypatch.context() as patch:
        patch.setitem(panels._DRAW, "map", linger)
        thread.start()
        assert drawing.wait(10)

    def let_it_go(*arguments: Any) -> str:
        leave.set()
        thread.join()
        return draw_box(*arguments)

    # Where both drew at once, what the thread restores when it is done would be the settings of this figure.
    monkeypatch.setitem(panels._DRAW, "box", let_it_go)
    figure = draw_panels(found, choice, findings.menu)
    assert {ax.title.get_fontsize() for ax in figure.axes} == {10.5}
