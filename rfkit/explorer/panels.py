"""The panels of the explorer: each draws one result with the plots of rfkit, and knows where it was drawn."""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, withStroke

from rfkit.explorer.choice import PANELS, Choice
from rfkit.explorer.findings import Findings
from rfkit.explorer.menu import Menu
from rfkit.plots.attribution import plot_attribution
from rfkit.plots.boxes import plot_box
from rfkit.plots.coverage import plot_support
from rfkit.plots.legends import shortened
from rfkit.plots.receptive_field import plot_effective_rf
from rfkit.plots.regions import plot_region_map
from rfkit.plots.styles import SIGNED, signed_norm, style, wrapped

__all__ = ["Panel", "draw_panel", "draw_panels", "static_figure"]

_DOTS = 96  # dots per inch
# Inches. Panels of one image are equally wide and their axes are equally high, whatever they show: nothing jumps.
_WIDTH, _AXES, _LEFT, _TITLE = 4.25, 2.7, 0.7, 0.55  # all, the axes, left of them, above them
_LETTERS = 40  # in a line of a title
_SPECK = 1 / 3  # of a side of the image: a smaller field is shown alone
# Outside of a notebook panels are drawn in a thread of their own, and matplotlib's settings are those of all threads.
_DRAWING = threading.RLock()
# Titles stand where they are wanted; looking for a place would measure every label again.
_PLACED: dict[Any, Any] = {"axes.titley": 1.0}
_CLICKABLE = ("box", "map", "region", "semantic")
_MARK = "#117733"


@dataclass(frozen=True)
class _Space:
    """Room below the axes of a panel, in inches; and the share of their width that a colour bar takes."""

    below: float = 0.6
    bar: float = 0.0


_SPACES = {
    "box": _Space(below=1.0),
    "map": _Space(bar=0.066),
    "support": _Space(below=1.0),
    "effective": _Space(below=1.4, bar=0.066),
    "region": _Space(below=0.35),
    "semantic": _Space(below=0.35),
    "attribution": _Space(below=0.35, bar=0.06),
}


@dataclass(frozen=True)
class Panel:
    """A picture, and where its axes lie in it.

    Attributes:
        png: the picture.
        text: what it shows, in a sentence.
        size: (height, width) of the picture.
        frame: left, top, right and bottom of the axes, as shares of the picture.
        limits: coordinates at these: left, top, right, bottom.
        clickable: whether a place in the axes means a unit or a pixel.
    """

    png: bytes
    text: str
    size: tuple[int, int]
    frame: tuple[float, float, float, float]
    limits: tuple[float, float, float, float]
    clickable: bool

    def place(self, x: float, y: float) -> tuple[float, float] | None:
        """(row, column) at a place in the picture, given in shares of its width and height; None outside of the axes.

        Example:
            >>> Panel(b"", "", (10, 10), (0, 0, 0.5, 1), (-0.5, -0.5, 9.5, 9.5), True).place(0.25, 0.5)
            (4.5, 4.5)
        """
        across = (x - self.frame[0]) / (self.frame[2] - self.frame[0])
        down = (y - self.frame[1]) / (self.frame[3] - self.frame[1])
        if not (0 <= across <= 1 and 0 <= down <= 1):
            return None
        left, top, right, bottom = self.limits
        return top + down * (bottom - top), left + across * (right - left)


def draw_panel(name: str, found: Any, choice: Choice, menu: Menu) -> Panel:
    """The picture of one result."""
    size = (_WIDTH, _TITLE + _tall(menu) + _SPACES[name].below)
    with _DRAWING, style("notebook"), mpl.rc_context(_PLACED):
        figure = Figure(figsize=size, dpi=_DOTS)
        canvas = FigureCanvasAgg(figure)
        ax = _add_axes(figure, name, menu, left=0.0, below=_SPACES[name].below)
        text = _DRAW[name](ax, found, choice, menu)
        file = io.BytesIO()
        # Compressed quickly: it travels no farther than to the browser.
        canvas.print_png(file, pil_kwargs={"compress_level": 1})
    pixels = canvas.get_width_height()
    box, (left, right), (bottom, top) = ax.get_position(), ax.get_xlim(), ax.get_ylim()
    return Panel(
        file.getvalue(),
        text,
        (int(pixels[1]), int(pixels[0])),
        (box.x0, 1 - box.y1, box.x1, 1 - box.y0),
        (left, top, right, bottom),
        name in _CLICKABLE,
    )


def draw_panels(found: Mapping[str, Any], choice: Choice, menu: Menu) -> Figure:
    """All results in one figure, as the explorer shows them; those that are exceptions as a line of text."""
    names = list(found)
    columns = 3 if len(names) > 4 else min(2, len(names))
    rows = [names[first : first + columns] for first in range(0, len(names), columns)]
    heights = [_TITLE + _tall(menu) + max(_SPACES[name].below for name in row) for row in rows]
    with _DRAWING, style("notebook"):
        figure = plt.figure(figsize=(_WIDTH * columns, sum(heights)))
        for index, row in enumerate(rows):
            for column, name in enumerate(row):
                below = sum(heights[index:]) - _TITLE - _tall(menu)
                ax = _add_axes(figure, name, menu, left=_WIDTH * column, below=below)
                result = found[name]
                if isinstance(result, Exception):
                    ax.set_axis_off()
                    text = wrapped(f"{PANELS[name]}: {result}", _LETTERS)
                    ax.text(0.5, 0.5, text, ha="center", va="center", color="0.3", transform=ax.transAxes)
                else:
                    _DRAW[name](ax, result, choice, menu)
    return figure


def _tall(menu: Menu) -> float:
    """Height of the axes of every panel, in inches."""
    height, width = menu.picture.shape[:2]
    return min(max(_AXES * height / width, 0.9), 1.4 * _AXES)


def _add_axes(figure: Figure, name: str, menu: Menu, *, left: float, below: float) -> Axes:
    """The axes of a panel whose left side is at `left`, with `below` under them, in inches of the figure."""
    width, height = figure.get_size_inches()
    # Margins are fixed rather than fitted, which would take longer than drawing does. A colour bar takes its place from
    # the axes.
    bar = _SPACES[name].bar
    ax = figure.add_axes(((left + _LEFT) / width, below / height, _AXES / (1 - bar) / width, _tall(menu) / height))
    # Beside its colour bar.
    ax.set_anchor("NE" if bar else "N")
    return ax


def static_figure(findings: Findings, choice: Choice, names: tuple[str, ...]) -> Figure:
    """The panels of a choice in one figure; those that cannot be computed say why."""
    found: dict[str, Any] = {}
    for name in names:
        try:
            found[name] = findings.get(name, choice)
        except (ValueError, RuntimeError) as error:
            found[name] = error
    return draw_panels(found, choice, findings.menu)


# -- one function a panel: draws, and says what is there ---------------------------------------------------------------


def _draw_box(ax: Axes, found: Any, choice: Choice, menu: Menu) -> str:
    place = menu.place(choice.layer).pixel(*choice.unit)
    # A global path reaches every pixel, and would hide what the others do.
    beside = menu.has_global_path(choice.layer)
    plot_box(menu.picture, {"local paths": found} if beside else found, unit_pixel=place, beyond=0.15, ax=ax)
    text = (
        f"{_unit(choice)} sees {found}{' through local paths, and all pixels through a global one' if beside else ''}"
    )
    ax.set_title(f"{PANELS['box']}\n{_unit(choice)}")
    return text


def _draw_map(ax: Axes, found: Any, choice: Choice, menu: Menu) -> str:
    _image(ax, found, choice.unit)
    channel = "mean over channels" if choice.channel is None else f"channel {choice.channel}"
    ax.set_title(f"{PANELS['map']}: {shortened(choice.layer, 20)}\n{channel}")
    return f"{PANELS['map']} of {choice.layer}, {channel}, value {found[choice.unit]:.3g} at unit {choice.unit}"


def _draw_support(ax: Axes, found: Any, choice: Choice, menu: Menu) -> str:
    plot_support(found, ax=ax)
    ax.set_title(f"{PANELS['support']}\n{ax.get_title().splitlines()[-1]}")
    return f"{_unit(choice)} is reached by {100 * found.coverage:.1f} % of the pixels of its box"


def _draw_effective(ax: Axes, found: Any, choice: Choice, menu: Menu) -> str:
    # The whole image, so that panels can be compared, unless the field would be a speck in it; two contours, because
    # each costs time.
    side, whole = found.square_sides((0.95,))[0.95], max(menu.picture.shape[:2])
    small = found.box is not None and max(found.box.height, found.box.width) < _SPECK * whole
    plot_effective_rf(found, ax=ax, contours=(0.5, 0.95), zoom="box" if small else False, title="")
    if not small and side < _SPECK**2 * whole:
        # Beside a global path, whose box is the image, the mass may be a speck in it.
        (row, column), half = found.centre, max(2 * side, 8)
        ax.set(xlim=(column - half, column + half), ylim=(row + half, row - half))
    ax.figure.axes[-1].set_ylabel("|gradient| / its largest, log scale")
    through = f" through {choice.branch}" if choice.branch else ""
    ax.set_title(f"{PANELS['effective']}{through}\n95 % of the mass in {side:.0f} × {side:.0f} px")
    return f"effective field of {_unit(choice)}{through}: 95 % of its mass in a square of {side:.0f} pixels"


def _draw_region(ax: Axes, found: Any, choice: Choice, menu: Menu) -> str:
    return _step(ax, found, "RR", found.region)


def _draw_semantic(ax: Axes, found: Any, choice: Choice, menu: Menu) -> str:
    return _step(ax, found, "SR", found.semantic)


def _draw_attribution(ax: Axes, found: Any, choice: Choice, menu: Menu) -> str:
    plot_attribution(found, ax=ax, title="")
    _share_power(ax.figure.axes[-1])
    ax.set_title(f"{PANELS['attribution']}\n{wrapped(found.title, _LETTERS)}")
    return f"attribution of {found.title}, score {found.score:.3g}"


def _share_power(bar: Axes) -> None:
    """Let the numbers of a colour bar share a power of ten, written below it: that leaves room for its label."""
    power = int(np.floor(np.log10(max(map(abs, bar.get_ylim())) or 1)))
    if not -1 <= power <= 1:
        bar.yaxis.set_major_formatter(
            lambda value, _place: f"{round(value / 10.0**power, 3):g}".replace("-", "\N{MINUS SIGN}")
        )
        bar.set_xlabel(f"$\\times\\,10^{{{power}}}$", fontsize="small", labelpad=7)


_DRAW = {
    "box": _draw_box,
    "map": _draw_map,
    "support": _draw_support,
    "effective": _draw_effective,
    "region": _draw_region,
    "semantic": _draw_semantic,
    "attribution": _draw_attribution,
}


def _unit(choice: Choice) -> str:
    return f"unit {choice.unit} of {shortened(choice.layer, 24)}"


def _step(ax: Axes, found: Any, kind: str, values: np.ndarray) -> str:
    plot_region_map(found, kind=kind, ax=ax)
    name = PANELS["region" if kind == "RR" else "semantic"]
    ax.set_title(f"{name}\n{found.title}")
    return f"{name} of {found.title}" if values.size else f"{name}: this block has no dilated convolution"


def _image(ax: Axes, values: np.ndarray, unit: tuple[int, int]) -> None:
    """A feature map in signed colours, its unit marked."""
    norm = signed_norm(values)
    picture = ax.imshow(values, cmap=SIGNED, norm=norm, interpolation="nearest")
    row, column = unit
    ax.add_patch(
        Rectangle(
            (column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=_MARK, linewidth=2,
            path_effects=[withStroke(linewidth=4, foreground="white"), Normal()],
        )
    )  # fmt: skip
    ax.set(xlabel="column (units)", ylabel="row (units)")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(mpl.ticker.MaxNLocator(4, integer=True))
    bar = ax.figure.colorbar(picture, ax=ax, fraction=0.046, pad=0.02)
    bar.set_label("value")
    _share_power(bar.ax)
    bar.outline.set_linewidth(0.4)  # type: ignore[operator]
