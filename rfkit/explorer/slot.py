"""The place of one panel in the explorer: its picture, or a line of text."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import ipywidgets as widgets

from rfkit.explorer.panels import Panel

__all__ = ["Slot", "can_click"]


def can_click() -> bool:
    """Whether pictures tell where they are clicked."""
    return find_spec("anywidget") is not None


class Slot(widgets.VBox):
    """One panel: what it shows, or why it shows nothing.

    Args:
        on_click: called with the place of a click, in shares of the picture's width and height.
        on_step: called with (rows, columns) to move by.
    """

    def __init__(self, on_click: Callable[[float, float], None], on_step: Callable[[int, int], None]) -> None:
        self.picture: Any
        if can_click():
            from rfkit.explorer.picture import Picture

            self.picture = Picture(on_click, on_step)
        else:
            self.picture = _PlainPicture()
        self.note = widgets.HTML()
        super().__init__([self.picture, self.note], layout={"display": "none"})
        self.add_class("rfkit-panel")

    def show(self, panel: Panel) -> None:
        """Show a panel."""
        # One message for all of it.
        with self.picture.hold_sync():
            self.picture.text, self.picture.clickable, self.picture.png = panel.text, panel.clickable, panel.png
        self.picture.layout.display, self.note.value = "", ""

    def explain(self, title: str, line: str) -> None:
        """Show a line of text instead."""
        self.picture.layout.display = "none"
        text = re.sub("`([^`]+)`", r"<code>\1</code>", html.escape(line))
        self.note.value = f'<p role="note" class="rfkit-note"><strong>{html.escape(title)}</strong><br>{text}</p>'

    def set_shown(self, shown: bool) -> None:
        """Whether there is anything to be seen."""
        self.layout.display = "flex" if shown else "none"

    def set_stale(self, stale: bool) -> None:
        """Whether it shows what was chosen before; it is pale then."""
        if stale:
            self.add_class("rfkit-stale")
        else:
            self.remove_class("rfkit-stale")


class _PlainPicture(widgets.HTML):
    """A picture that cannot be clicked, where anywidget is missing."""

    text, clickable = "", False

    @property
    def png(self) -> bytes:
        return self._png

    @png.setter
    def png(self, png: bytes) -> None:
        self._png = png
        data = base64.b64encode(png).decode("ascii")
        self.value = f'<img class="rfkit-picture" alt="{html.escape(self.text)}" src="data:image/png;base64,{data}">'
