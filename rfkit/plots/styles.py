"""Colours, line styles and fonts that mean the same in every figure."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

import matplotlib as mpl
import matplotlib.figure
import numpy as np
from matplotlib._pylab_helpers import Gcf
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_hex, to_rgb

from rfkit._checks import check_choice, check_positive

__all__ = ["DILATION_COLOURS", "SIGNED", "dilation_colour", "dilation_line", "signed_norm", "style", "wrapped"]

# Cyan, blue and red are those of Paul Tol's "vibrant" scheme. The others were searched, so that any two of the table
# are at least 21 apart in CIELAB, for normal vision and as simulated for protanopia, deuteranopia and tritanopia
# (Machado, Oliveira and Fernandes, 2009); a test measures it.
DILATION_COLOURS: Mapping[int, str] = MappingProxyType(
    {
        1: "#808080",  # gray
        2: "#33bbee",  # cyan
        3: "#0077bb",  # blue
        4: "#662244",  # plum
        5: "#cc3311",  # red
        6: "#aa22ee",  # violet
        7: "#eeaa00",  # amber
        8: "#4422aa",  # indigo
        9: "#aa8866",  # tan
        12: "#aacc66",  # light green
        18: "#882222",  # maroon
        24: "#442266",  # dark violet
    }
)

# Solid, long dashes, dash-dot, and so on: a figure printed in gray can still be read.
_LINES: Mapping[int, Any] = MappingProxyType(
    {
        1: "-",
        2: (0, (9, 1.5)),
        3: (0, (5, 1.5)),
        4: (0, (3, 1, 3, 3)),
        5: (0, (6, 1.5, 1.2, 1.5)),
        6: (0, (3, 1)),
        7: (0, (6, 1.5, 1.2, 1.5, 1.2, 1.5)),
        8: (0, (1, 0.8)),
        9: (0, (1.2, 1.2)),
    }
)

SIGNED = LinearSegmentedColormap.from_list(
    "rfkit_signed", ["#053061", "#2166ac", "#92c5de", "#ffffff", "#f4a582", "#b2182b", "#67001f"]
).with_extremes(bad="#d9d9d9")
"""Colour map of signed values: blue negative, white zero, red positive. Use it with `signed_norm`."""

# Points of the text. A figure for a paper is made in the size in which it is printed, so its text needs no scaling.
_SIZES = {"paper": 8.0, "notebook": 10.0, "talk": 15.0}

# Inches of one and of two columns of a paper, as in IEEE's format (88.9 and 182 mm); wider in step with the text
# elsewhere, so that two columns fill a slide of 13.4 inches.
_WIDTHS = {1: 3.5, 2: 7.16}
_HEIGHTS = {1: 2.6, 2: 3.0}

# How much narrower a figure may be made than it was laid out, until its labels meet.
_NARROWEST = 0.78

# Read when a file is written, which is mostly after the context in which the figure was made.
_FONTS = {"pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "none"}
_DOTS_PER_INCH = 200

# The look and the columns of the innermost context.
_AROUND: ContextVar[tuple[str, int | None]] = ContextVar("rfkit_style", default=("paper", None))


class Figure(matplotlib.figure.Figure):
    """A figure that is written with embedded TrueType fonts wherever `savefig` is called."""

    def savefig(self, *arguments: Any, **options: Any) -> None:
        """Write the figure as matplotlib does, with the fonts of `style`, and 200 dots an inch by default."""
        settings: dict[Any, Any] = dict(_FONTS)
        if mpl.rcParams["savefig.dpi"] == "figure":
            settings["savefig.dpi"] = _DOTS_PER_INCH
        with mpl.rc_context(settings):
            super().savefig(*arguments, **options)


def dilation_colour(rate: float | int) -> str:
    """The colour of a dilation rate, as "#rrggbb", the same in every figure: 1 gray, 3 blue, 5 red.

    Rates between two of `DILATION_COLOURS`, whole or real, are interpolated; above the last one its colour is used.

    Raises:
        ValueError: `rate` is not above 0.
    """
    check_positive("rate", float(rate))
    known = sorted(DILATION_COLOURS)
    upper = next((key for key in known if key >= rate), known[-1])
    lower = max((key for key in known if key <= rate), default=known[0])
    if upper <= lower:
        return DILATION_COLOURS[lower if rate >= lower else upper]
    share = (rate - lower) / (upper - lower)
    ends = np.array([to_rgb(DILATION_COLOURS[lower]), to_rgb(DILATION_COLOURS[upper])])
    return to_hex((1 - share) * ends[0] + share * ends[1])


def dilation_line(rate: float | int) -> Any:
    """The matplotlib line style of a dilation rate: 1 solid, 3 dashed, 5 dash-dot; the nearest known rate otherwise.

    Raises:
        ValueError: `rate` is not above 0.
    """
    check_positive("rate", float(rate))
    return _LINES[min(_LINES, key=lambda key: (abs(key - rate), key))]


def signed_norm(*values: Any) -> Normalize:
    """The symmetric scale around zero that holds all of `values` (arrays or numbers), for use with `SIGNED`.

    All zeros give the scale from -1 to 1.

    Raises:
        ValueError: a value is NaN or infinite.
    """
    limit = max((float(np.max(np.abs(value), initial=0.0)) for value in map(np.asarray, values)), default=0.0)
    if not math.isfinite(limit):
        raise ValueError("values: a NaN or an infinite number cannot be put on a colour scale.")
    return Normalize(-(limit or 1.0), limit or 1.0)


def wrapped(text: str, width: int) -> str:
    """`text` in lines of at most `width` characters, about equally long: no last line of a single word.

    Example:
        >>> wrapped("one two three four", 14).splitlines()
        ['one two', 'three four']
    """
    fewest = len(textwrap.wrap(text, width))
    balanced = (textwrap.wrap(text, shorter) for shorter in range(max(1, len(text) // max(1, fewest)), width + 1))
    return "\n".join(next((lines for lines in balanced if len(lines) <= fewest), [text]))


@contextmanager
def style(look: str | None = None, *, columns: int | None = None) -> Iterator[None]:
    """A context in which figures have rfkit's look; matplotlib's settings are as before afterwards.

    It holds for your own figures and for all of rfkit's, which also take a look of their own as an argument,
    `look="talk"`. Nothing is changed outside the context, and importing rfkit changes no setting. Figures made in it
    keep what belongs to their files: PDF and PostScript embed fonts as TrueType (type 42), text in SVG stays text, and
    pixels are 200 to the inch, also where they are saved later.

    Args:
        look: size of text and lines: "paper" (8 points), "notebook" (10) or "talk" (15); None: that of the context
            around this one, or "paper".
        columns: also make figures as wide as one or two columns of a paper, 3.5 or 7.16 inches at the size of text of
            "paper" and wider in step with the text elsewhere, and fit labels into them; None leaves sizes alone. A
            figure of rfkit with more panels than one column has room for gets two, and one that is too wide for two
            stays as it is.

    Raises:
        ValueError: `look` or `columns` is none of these.

    Example:
        >>> import matplotlib.pyplot as plt
        >>> with style("paper", columns=1):
        ...     figure, ax = plt.subplots()
        >>> figure.get_figwidth()
        3.5
    """
    around, columns_around = _AROUND.get()
    look = around if look is None else look
    check_choice("look", look, _SIZES)
    size = _SIZES[look]
    settings: dict[Any, Any] = {
        "font.family": "DejaVu Sans",
        "font.size": size,
        "axes.titlesize": size * 1.05,
        "axes.labelsize": size,
        "xtick.labelsize": size * 0.9,
        "ytick.labelsize": size * 0.9,
        "legend.fontsize": size * 0.9,
        "figure.titlesize": size * 1.15,
        "axes.linewidth": size * 0.08,
        "lines.linewidth": size * 0.16,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "legend.frameon": False,
        "figure.facecolor": "white",
        "savefig.facecolor": "white",
        "figure.dpi": 100,
        "savefig.dpi": _DOTS_PER_INCH,
        **_FONTS,
    }
    if columns is not None:
        if columns not in _WIDTHS:
            raise ValueError(f"columns={columns!r} is not allowed; allowed: 1, 2, or None for no size.")
        scale = size / _SIZES["paper"]
        settings["figure.figsize"] = (_WIDTHS[columns] * scale, _HEIGHTS[columns] * scale)
        settings["figure.constrained_layout.use"] = True
    before = set(Gcf.figs)
    token = _AROUND.set((look, columns or columns_around))
    try:
        with mpl.rc_context(settings):
            yield
            for number in set(Gcf.figs) - before:
                figure = Gcf.figs[number].canvas.figure
                if type(figure) is matplotlib.figure.Figure:
                    figure.__class__ = Figure
                if columns is None and columns_around is not None:
                    _fit(figure, columns_around, size / _SIZES["paper"])
    finally:
        _AROUND.reset(token)


def _fit(figure: matplotlib.figure.Figure, columns: int, scale: float) -> None:
    """Give a figure that chose its own size the width of its columns, if its labels have room there."""
    width, height = figure.get_size_inches()
    for wanted in (_WIDTHS[count] * scale for count in range(columns, 3)):
        if wanted >= _NARROWEST * width:
            figure.set_size_inches(wanted, height * min(1.0, wanted / width))
            return
