"""The explorer's widgets: controls above, panels below; what they choose is computed elsewhere."""

from __future__ import annotations

import html
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets
from matplotlib.figure import Figure

from rfkit.explorer.cells import Cells
from rfkit.explorer.choice import PANELS, Choice
from rfkit.explorer.choosing import changed_choice
from rfkit.explorer.controls import Controls
from rfkit.explorer.findings import Findings
from rfkit.explorer.looks import looks
from rfkit.explorer.panels import Panel, draw_panel, draw_panels
from rfkit.explorer.slot import Slot, can_click
from rfkit.explorer.worker import Request, Worker

__all__ = ["Explorer"]

# Each takes about 0.1 MB.
_PICTURES_KEPT = 100


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
        self._drawn: dict[str, Any] = {}
        self._panels: dict[str, Panel] = {}
        self._kept: OrderedDict[Any, Panel] = OrderedDict()
        self._first = choice
        self._controls = Controls(findings.menu, self.choose, self._switch)
        self._slots = {name: Slot(self._clicked(name), self._step) for name in PANELS}
        self._progress = widgets.IntProgress(
            0, 0, len(PANELS) + 1, layout={"width": "100%", "height": "6px", "margin": "0"}
        )
        self._status = widgets.HTML()
        super().__init__([looks(), self._controls, self._status, self._progress, self._grid()])
        self.add_class("rfkit-explorer")
        self._controls.fill(choice, self.shown)
        for name in self._outdated():
            self._show(name, self._found(name))
        self._finish()
        # Last, so that nothing of the notebook is touched where something went wrong before.
        self._cells = Cells(worker, self.close)

    def _grid(self) -> widgets.Box:
        places: dict[str, widgets.Widget] = dict(self._slots)
        # The two steps of a block stand side by side.
        self._steps = widgets.Box([places["region"], places.pop("semantic")]).add_class("rfkit-pair")
        places["region"] = self._steps
        return widgets.Box(list(places.values())).add_class("rfkit-panels")

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
        self.choice = changed_choice(self._menu, self.choice, **changes)
        self._update()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the panels are computed; False if that took longer than `timeout` seconds.

        In a notebook they are drawn when the cell that waits is done.
        """
        with self._cells.waiting():
            return self._worker.wait(timeout)

    def close(self) -> None:
        """Take the explorer out of the notebook, and end its thread."""
        self._worker.close()
        self._cells.close()
        for widget in _within(self):
            widget.close()
        super().close()

    # -- from clicks, keys and controls to a choice ------------------------------------------------------------------

    def _switch(self, shown: tuple[str, ...]) -> None:
        self.shown = shown
        self._update()

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
            left, top, right, bottom = self._panels[name].limits
            rows, columns = round(bottom - top), round(right - left)
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

    def _update(self) -> None:
        choice = self.choice
        self._controls.fill(choice, self.shown)
        if self._findings.changed():
            self._drawn.clear()
            self._kept.clear()
        names = self._outdated()
        for name, slot in self._slots.items():
            slot.set_shown(name in self.shown)
            slot.set_stale(name in names)
            if name in names and name not in (*self._panels, *self.errors):
                slot.explain(PANELS[name], "Computing …")
        self._steps.layout.display = "" if {"region", "semantic"} & set(self.shown) else "none"
        # A part of the bar is there from the start, so that it is seen.
        self._progress.max = len(names) + 1
        self._worker.submit(
            names, lambda name: self._findings.get(name, choice), lambda *found: self._cells.call(self._receive, *found)
        )
        self._finish()

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
        if request.number == self._worker.latest:
            self._show(name, found)
            self._finish()

    def _show(self, name: str, found: Any) -> None:
        self.errors.pop(name, None)
        slot = self._slots[name]
        if not isinstance(found, Exception):
            try:
                self._panels[name] = self._drawn_panel(name, found)
                slot.show(self._panels[name])
            except Exception as error:  # What goes wrong is shown, whatever it is.
                found = error
        if isinstance(found, Exception):
            self.errors[name] = found
            slot.explain(PANELS[name], _line(found))
        slot.set_shown(name in self.shown)
        slot.set_stale(False)
        self._drawn[name] = self._key(name)

    def _drawn_panel(self, name: str, found: Any) -> Panel:
        key = (name, self._key(name))
        if key not in self._kept:
            self._kept[key] = draw_panel(name, found, self.choice, self._menu)
            while len(self._kept) > _PICTURES_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    def _finish(self) -> None:
        """Say how far the panels are."""
        left = self._outdated()
        self._progress.value = self._progress.max - len(left)
        self._progress.layout.visibility = "visible" if left else "hidden"
        row, column = self.choice.unit
        what = f"Computing: {PANELS[left[0]]} …" if left else "Ready."
        place = f"{self.choice.layer}, unit ({row}, {column}), pixel {self.choice.pixel}."
        hint = f' <span class="rfkit-hint">{_HINT[can_click()]}</span>' if self.choice == self._first else ""
        self._status.value = f'<span role="status">{html.escape(f"{what} {place}")}{hint}</span>'


_HINT = {
    True: "Click the image or a map to look at another unit, or move it with the arrow keys.",
    False: "Row and Column choose another unit.",
}


def _within(widget: widgets.Widget) -> list[widgets.Widget]:
    """All widgets that a widget is made of, itself left out."""
    parts = [getattr(widget, name) for name in ("layout", "style") if hasattr(widget, name)]
    for child in getattr(widget, "children", ()):
        parts += [*_within(child), child]
    return parts


def _line(error: Exception) -> str:
    """An exception in one line."""
    lines = str(error).strip().splitlines()
    kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
    return kind + (lines[0] if lines else type(error).__name__)
