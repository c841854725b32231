"""The explorer's widgets: controls above, panels below; what they choose is computed elsewhere."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import ipywidgets as widgets
from matplotlib.figure import Figure

from rfkit.explorer.cells import Cells
from rfkit.explorer.choice import METHODS, PANELS, Choice
from rfkit.explorer.choosing import changed_choice
from rfkit.explorer.findings import Findings
from rfkit.explorer.panels import Panel, draw_panel, draw_panels
from rfkit.explorer.worker import Request, Worker

__all__ = ["Explorer"]

_ALL = "all"
_RULE = "by the rule"
# Not None, which a dropdown shows as nothing chosen.
_PREDICTED, _NO_CLASS = "predicted there", -1
_HERE, _EVERYWHERE = "the pixel", "all predicted pixels"


class Explorer(widgets.VBox):
    """Controls and panels for looking into one network on one image. `rfkit.explore` makes it.

    Attributes:
        choice: what is looked at.
        shown: names of the panels that are switched on.
        errors: panel -> the exception for which it shows a line of text instead.
    """

    def __init__(self, findings: Findings, worker: Worker, choice: Choice, shown: Sequence[str]) -> None:
        self.choice, self.shown = choice, tuple(shown)
        self.errors: dict[str, Exception] = {}
        self._findings, self._menu, self._worker = findings, findings.menu, worker
        self._cells = Cells(worker)
        self._drawn: dict[str, Any] = {}
        self._panels: dict[str, Panel] = {}
        self._setting = False
        self._make_controls()
        self._slots = {name: _Slot(self._clicked(name), self._step) for name in PANELS}
        places = {name: slot.box for name, slot in self._slots.items()}
        # The two steps of a block stand side by side however wide the notebook is.
        places["region"] = widgets.HBox([places["region"], places.pop("semantic")])
        panels = widgets.Box(list(places.values()), layout={**_WRAPPED, "align_items": "flex-start"})
        super().__init__([*self._rows(), panels])
        self._fill_controls()
        for name in self._outdated():
            self._show(name, self._found(name))
        self._finish(None)

    # -- for cells ---------------------------------------------------------------------------------------------------

    def results(self) -> dict[str, Any]:
        """What the panels show as results of rfkit, by panel; an exception where something cannot be computed."""
        return {name: self._found(name) for name in self.shown}

    def figure(self) -> Figure:
        """The panels that are switched on, as one figure of matplotlib."""
        return draw_panels(self.results(), self.choice, self._menu)

    def choose(self, **changes: Any) -> None:
        """Look at something else: `choose(layer="stage3", unit=(4, 7))`, any field of `rfkit.explorer.choice.Choice`.

        A unit alone takes its pixel along, and a pixel alone the unit nearest to it, as a click does.

        Raises:
            ValueError: there is no such layer, unit, pixel, channel, branch, class or method.
            TypeError: `Choice` has no such field.
        """
        self._change(changed_choice(self._menu, self.choice, **changes))

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the panels are computed; False if that took longer than `timeout` seconds."""
        return self._worker.wait(timeout)

    def close(self) -> None:
        """Take the explorer out of the notebook, and end its thread."""
        self._worker.close()
        self._cells.close()
        super().close()

    # -- controls ------------------------------------------------------------------------------------------------------

    def _make_controls(self) -> None:
        menu = self._menu
        self._stage = _dropdown("Stage", "Stage, or module of the network", tuple(menu.stages))
        self._layer = _dropdown("Block", "Block of the stage, or layer of the module", ())
        self._branch = _dropdown("Branch", "Branch through which the ERF flows, and of RR and SR", (_ALL,))
        self._channel = _dropdown("Channel", "Channel of the feature map and the ERF", (_ALL,))
        self._row = _slider("Row", "Row of the unit in its map")
        self._column = _slider("Column", "Column of the unit in its map")
        self._region = _dropdown("RR channel", "Channel of the region map", (_RULE,))
        self._class = _dropdown(
            "Class", "Class whose score is attributed",
            ((_PREDICTED, _NO_CLASS), *((name, index) for index, name in enumerate(menu.class_names))),
        )  # fmt: skip
        self._where = _dropdown("Score at", "Pixels over which the score is added up", (_HERE, _EVERYWHERE))
        methods = tuple((" ".join([name.replace("_", " "), *_steps_of(name)]), name) for name in METHODS)
        self._method = _dropdown("Method", "Method of attribution", methods)
        self._switches = {
            name: widgets.Checkbox(
                value=name in self.shown, description=title, indent=False, tooltip=f"Show the panel: {title}",
                layout=widgets.Layout(width="max-content", margin="0 12px 0 0"),
            )
            for name, title in PANELS.items()
        }  # fmt: skip
        self._progress = widgets.IntProgress(
            0, 0, 1, description="Progress", style={"description_width": "initial"}, layout={"width": "240px"}
        )
        self._status = widgets.HTML()
        if menu.no_classes:
            self._switches["attribution"].disabled = True
            self._switches["attribution"].tooltip = menu.no_classes
        self._stage.observe(self._on_stage, "value")
        self._layer.observe(self._on(lambda value: {"layer": value}), "value")
        self._branch.observe(self._on(lambda value: {"branch": "" if value == _ALL else value}), "value")
        self._channel.observe(self._on(lambda value: {"channel": None if value == _ALL else int(value)}), "value")
        self._row.observe(self._on(lambda value: {"unit": (value, self.choice.unit[1])}), "value")
        self._column.observe(self._on(lambda value: {"unit": (self.choice.unit[0], value)}), "value")
        self._region.observe(
            self._on(lambda value: {"region_channel": None if value == _RULE else int(value)}), "value"
        )
        self._class.observe(self._on(lambda value: {"class_index": None if value == _NO_CLASS else value}), "value")
        self._where.observe(self._on(lambda value: {"whole_class": value == _EVERYWHERE}), "value")
        self._method.observe(self._on(lambda value: {"method": value}), "value")
        for switch in self._switches.values():
            switch.observe(self._on_switch, "value")

    def _rows(self) -> list[widgets.Widget]:
        self._of_attribution = widgets.Box([self._class, self._where, self._method], layout=_WRAPPED)
        return [
            widgets.Box([self._stage, self._layer, self._branch, self._channel], layout=_WRAPPED),
            widgets.Box([self._row, self._column, self._region], layout=_WRAPPED),
            widgets.Box(list(self._switches.values()), layout=_WRAPPED),
            self._of_attribution,
            widgets.Box([self._progress, self._status], layout=_WRAPPED),
        ]

    def _fill_controls(self) -> None:
        """Put the choice into the controls, without hearing of it from them."""
        menu, choice = self._menu, self.choice
        self._setting = True
        try:
            stage = menu.stage_of(choice.layer)
            self._stage.value = stage
            _set_options(self._layer, menu.stages[stage], choice.layer)
            branches = menu.branches(choice.layer)
            _set_options(self._branch, (_ALL, *branches), choice.branch or _ALL)
            self._branch.disabled = not branches
            channels, rows, columns = menu.shapes[choice.layer]
            _set_options(self._channel, (_ALL, *map(str, range(channels))), _text(choice.channel, _ALL))
            for slider, count, value in ((self._row, rows, choice.unit[0]), (self._column, columns, choice.unit[1])):
                slider.max = count - 1
                slider.value = value
                slider.disabled = count == 1
            count = menu.region_channels(choice.layer)
            _set_options(self._region, (_RULE, *map(str, range(count))), _text(choice.region_channel, _RULE))
            self._region.disabled = not count
            self._class.value = _NO_CLASS if choice.class_index is None else choice.class_index
            self._method.value = choice.method
            self._where.value = _EVERYWHERE if choice.whole_class else _HERE
            self._of_attribution.layout.display = "flex" if "attribution" in self.shown else "none"
        finally:
            self._setting = False

    def _on(self, changes: Callable[[Any], dict[str, Any]]) -> Callable[[Any], None]:
        def heard(event: Any) -> None:
            if not self._setting and event["new"] != event["old"]:
                self.choose(**changes(event["new"]))

        return heard

    def _on_stage(self, event: Any) -> None:
        if not self._setting:
            self.choose(layer=self._menu.stages[event["new"]][0])

    def _on_switch(self, _event: Any) -> None:
        self.shown = tuple(name for name, switch in self._switches.items() if switch.value)
        self._change(self.choice)

    def _clicked(self, name: str) -> Callable[[float, float], None]:
        def heard(x: float, y: float) -> None:
            place = self._panels[name].place(x, y) if name in self._panels else None
            if place is not None:
                self._pick(name, place)

        return heard

    def _pick(self, name: str, place: tuple[float, float]) -> None:
        """A place in a panel, in pixels of the image or units of a map, becomes a unit."""
        of = self._menu.picture.shape[:2]
        if name != "box":
            found = self._found(name)
            rows, columns = found.shape if name == "map" else found.region.shape
            if (rows, columns) == self._menu.shapes[self.choice.layer][1:]:
                row, column = (
                    min(max(round(at), 0), count - 1) for at, count in zip(place, (rows, columns), strict=True)
                )
                self.choose(unit=(row, column))
                return
            place = ((place[0] + 0.5) * of[0] / rows - 0.5, (place[1] + 0.5) * of[1] / columns - 0.5)
        row, column = (min(max(round(at), 0), length - 1) for at, length in zip(place, of, strict=True))
        self.choose(pixel=(row, column))

    def _step(self, rows: int, columns: int) -> None:
        sizes = self._menu.shapes[self.choice.layer][1:]
        row, column = (
            min(max(at + by, 0), count - 1)
            for at, by, count in zip(self.choice.unit, (rows, columns), sizes, strict=True)
        )
        if (row, column) != self.choice.unit:
            self.choose(unit=(row, column))

    # -- from a choice to pictures -------------------------------------------------------------------------------------

    def _change(self, choice: Choice) -> None:
        self.choice = choice
        self._fill_controls()
        if self._findings.changed():
            self._drawn.clear()
        names = self._outdated()
        for name, slot in self._slots.items():
            slot.set_shown(name in self.shown)
            slot.set_stale(name in names)
        request = self._worker.submit(
            names, lambda name: self._findings.get(name, choice), lambda *found: self._cells.call(self._receive, *found)
        )
        self._progress.max, self._progress.value = max(len(names), 1), 0
        self._finish(request)

    def _outdated(self) -> list[str]:
        """The panels that are switched on and show something else than the choice, in the order of their cost."""
        return [name for name in self.shown if self._drawn.get(name) != self._key(name)]

    def _key(self, name: str) -> Any:
        # The unit is marked in the map.
        return (self._findings.key(name, self.choice), self.choice.unit if name == "map" else None)

    def _found(self, name: str) -> Any:
        try:
            return self._findings.get(name, self.choice)
        except Exception as error:  # What goes wrong is shown, whatever it is.
            return error

    def _receive(self, request: Request, name: str, found: Any) -> None:
        """A result has come; unless something else was chosen since, draw it."""
        if request.number != self._worker.latest:
            return
        self._show(name, found)
        self._finish(request)

    def _show(self, name: str, found: Any) -> None:
        self.errors.pop(name, None)
        if not isinstance(found, Exception):
            try:
                self._panels[name] = draw_panel(name, found, self.choice, self._menu)
                self._slots[name].show(self._panels[name])
            except (ValueError, RuntimeError) as error:
                found = error
        if isinstance(found, Exception):
            self.errors[name] = found
            self._slots[name].explain(f"{PANELS[name]}: {_line(found)}")
        self._slots[name].set_shown(name in self.shown)
        self._drawn[name] = self._key(name)

    def _finish(self, request: Request | None) -> None:
        """Say how far the panels are."""
        left = self._outdated()
        done = self._progress.max - len(left) if request is not None else self._progress.max
        self._progress.value = max(done, 0)
        row, column = self.choice.unit
        what = f"Computing: {PANELS[left[0]]} …" if left else "Ready."
        place = f"{self.choice.layer}, unit ({row}, {column}), pixel {self.choice.pixel}"
        self._status.value = f'<span role="status">{html.escape(f"{what} {place}")}</span>'


class _Slot:
    """The place of one panel: its picture, or a line of text."""

    def __init__(self, on_click: Callable[[float, float], None], on_step: Callable[[int, int], None]) -> None:
        if find_spec("anywidget") is None:
            self._picture: Any = _PlainPicture()
        else:
            from rfkit.explorer.picture import Picture

            self._picture = Picture(on_click, on_step)
        self._text = widgets.HTML()
        self.box = widgets.VBox([self._picture, self._text], layout={"margin": "4px", "display": "none"})

    def show(self, panel: Panel) -> None:
        self._picture.text, self._picture.clickable, self._picture.stale = panel.text, panel.clickable, False
        self._picture.set_trait("png", panel.png)
        self._picture.layout.display, self._text.value = "", ""

    def explain(self, line: str) -> None:
        self._picture.layout.display, self._picture.stale = "none", False
        self._text.value = f'<p role="note" style="max-width: 30em">{html.escape(line)}</p>'

    def set_shown(self, shown: bool) -> None:
        self.box.layout.display = "flex" if shown else "none"

    def set_stale(self, stale: bool) -> None:
        self._picture.stale = stale


class _PlainPicture(widgets.HTML):
    """A picture that cannot be clicked, where anywidget is missing."""

    text, clickable, stale = "", False, False

    def set_trait(self, name: str, value: Any) -> None:
        if name == "png":
            data = base64.b64encode(value).decode("ascii")
            value, name = f'<img alt="{html.escape(self.text)}" src="data:image/png;base64,{data}">', "value"
        super().set_trait(name, value)


_WRAPPED = {"display": "flex", "flex_flow": "row wrap", "align_items": "center"}


def _dropdown(label: str, tooltip: str, options: Sequence[Any]) -> widgets.Dropdown:
    return widgets.Dropdown(
        options=options, description=label, tooltip=tooltip, style={"description_width": "initial"},
        layout={"width": "max-content", "margin": "2px 14px 2px 2px"},
    )  # fmt: skip


def _slider(label: str, tooltip: str) -> widgets.IntSlider:
    slider = widgets.IntSlider(
        0, 0, 1, description=label, tooltip=tooltip, continuous_update=False, style={"description_width": "initial"},
        layout={"width": "320px"},
    )  # fmt: skip
    return slider.add_class("rfkit-slider")


def _set_options(dropdown: widgets.Dropdown, options: Sequence[Any], value: Any) -> None:
    if tuple(dropdown.options) != tuple(options):
        dropdown.options = options
    dropdown.value = value


def _text(value: int | None, otherwise: str) -> str:
    return otherwise if value is None else str(value)


def _steps_of(method: str) -> list[str]:
    return [f"({count} {'steps' if 'steps' in name else 'samples'})" for name, count in METHODS[method].items()]


def _line(error: Exception) -> str:
    """An exception in one line."""
    lines = str(error).strip().splitlines()
    kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
    return kind + (lines[0] if lines else type(error).__name__)
