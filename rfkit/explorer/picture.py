"""A picture in a notebook that tells where it was clicked, and takes the arrow keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anywidget
import traitlets

__all__ = ["Picture"]

# A click becomes a message with its place in shares of the picture; an arrow key one with a step in rows and columns.
_SCRIPT = """
export default {
  render({ model, el }) {
    const picture = document.createElement("img");
    picture.className = "rfkit-picture";
    let address = "";
    const show = () => {
      const before = address;
      address = URL.createObjectURL(new Blob([model.get("png")], { type: "image/png" }));
      picture.src = address;
      if (before) URL.revokeObjectURL(before);
    };
    const describe = () => {
      const clickable = model.get("clickable");
      picture.alt = model.get("text");
      picture.title = clickable ? "Click to pick a unit; arrow keys move it" : "";
      picture.classList.toggle("rfkit-clickable", clickable);
      if (clickable) picture.tabIndex = 0; else picture.removeAttribute("tabindex");
    };
    model.on("change:png", show);
    model.on("change:text change:clickable", describe);
    picture.addEventListener("click", (event) => {
      if (!model.get("clickable")) return;
      const frame = picture.getBoundingClientRect();
      model.send({ x: (event.clientX - frame.left) / frame.width, y: (event.clientY - frame.top) / frame.height });
    });
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    picture.addEventListener("keydown", (event) => {
      if (!model.get("clickable") || !(event.key in steps)) return;
      event.preventDefault();
      event.stopPropagation();
      model.send({ step: steps[event.key] });
    });
    show();
    describe();
    el.append(picture);
    return () => {
      model.off("change:png", show);
      model.off("change:text change:clickable", describe);
      URL.revokeObjectURL(address);
    };
  },
};
"""


class Picture(anywidget.AnyWidget):
    """A PNG that is clicked and moved over with arrow keys.

    Attributes:
        png: the picture.
        text: what it shows, for those who do not see it.
        clickable: whether clicks and arrow keys mean something.

    Args:
        on_click: called with the place of a click, in shares of the picture's width and height.
        on_step: called with (rows, columns) to move by.
    """

    _esm = _SCRIPT

    png = traitlets.Bytes().tag(sync=True)
    text = traitlets.Unicode().tag(sync=True)
    clickable = traitlets.Bool(False).tag(sync=True)

    def __init__(
        self,
        on_click: Callable[[float, float], None],
        on_step: Callable[[int, int], None],
        **traits: Any,
    ) -> None:
        super().__init__(**traits)
        self._on_click, self._on_step = on_click, on_step
        self.on_msg(self._receive)

    def _receive(self, _widget: Any, content: dict[str, Any], _buffers: Any) -> None:
        if "step" in content:
            self._on_step(*map(int, content["step"]))
        elif "x" in content:
            self._on_click(float(content["x"]), float(content["y"]))
