"""The box of a unit, drawn on the image that the network reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, withStroke

from rfkit._checks import check_positive
from rfkit.plots.legends import legend_below
from rfkit.results.box import Box

__all__ = ["outline", "plot_box"]

_SHADE = 0.55  # how dark the pixels outside of every box are
_TINY = 0.02  # a box below this share of the image's longer side is ringed, or it would not be found


def plot_box(
    image: np.ndarray,
    box: Box | Sequence[Box] | Mapping[str, Box],
    *,
    unit_pixel: tuple[float, float] | None = None,
    shade: float = _SHADE,
    beyond: float = 1.0,
    legend: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """The axes with the image, the receptive field of a unit outlined on it, and the rest shaded.

    Where the field is larger than the image, what lies outside is drawn as a dashed box beyond the frame, and the
    axes grow to show it; where it goes on beyond even that, an arrow says so.

    Args:
        image: H W 3 (or H W), values 0 to 255 as uint8 or 0 to 1 as floats.
        box: the field, such as `graph["layer"][i, j]`; a sequence, or names of layers -> boxes, draws several in one
            image, shallow layers bright and deep layers dark, if given in that order.
        unit_pixel: (row, column) of the unit in pixels, marked by a cross.
        shade: 0 to 1, how dark the pixels are that no box holds; 0 leaves the image as it is.
        beyond: how far the axes may grow on each side, in sides of the image.
        legend: whether names (if given) and sizes of the boxes are written below.
        ax: axes to draw into; the current ones by default.

    Raises:
        ValueError: `image` has another shape, `box` is empty, or `shade` is not from 0 to 1.

    Example:
        >>> ax = plot_box(np.zeros((20, 30, 3), np.uint8), Box(2, 2, 8, 8), unit_pixel=(5, 5))
        >>> ax.get_xlabel()
        'column (px)'
    """
    image = np.asarray(image)
    if not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (3, 4))) or not image.size:
        raise ValueError(f"image has shape {image.shape}; it must be (height, width, 3) or (height, width).")
    if not 0 <= shade <= 1:
        raise ValueError(f"shade={shade!r} must be from 0 to 1.")
    check_positive("beyond", beyond)
    boxes = _boxes(box)
    ax = plt.gca() if ax is None else ax
    height, width = image.shape[:2]
    ax.imshow(image, cmap="gray" if image.ndim == 2 else None)
    if shade:
        ax.imshow(_shadow((height, width), list(boxes.values()), shade))
    colours = _colours(len(boxes))
    for entry, colour in zip(boxes.values(), colours, strict=True):
        outline(ax, entry, colour=colour)
        if max(entry.height, entry.width) < _TINY * max(height, width):
            y, x = entry.centre
            ring = {"marker": "o", "markersize": 11, "markerfacecolor": "none", "markeredgecolor": colour}
            ax.plot(x, y, linestyle="none", markeredgewidth=1.4, label="_tiny", **ring)  # type: ignore[arg-type]
    _frame(ax, boxes, colours, (height, width), beyond)
    if unit_pixel is not None:
        ax.plot(
            unit_pixel[1], unit_pixel[0], marker="+", color="white", markersize=8, markeredgewidth=1.4,
            linestyle="none", path_effects=[withStroke(linewidth=2.8, foreground="black"), Normal()], label="unit",
        )  # fmt: skip
    ax.set(xlabel="column (px)", ylabel="row (px)")
    if legend:
        _legend(ax, boxes, colours, unit_pixel is not None)
    return ax


def outline(ax: Axes, box: Box, *, colour: str = "white", dashed: bool = False, label: str = "_box") -> Rectangle:
    """The rectangle around the pixels of `box`, light or dark, seen on any image."""
    patch = Rectangle(
        (box.x0 - 0.5, box.y0 - 0.5), box.width, box.height, fill=False, edgecolor=colour,
        linewidth=1.1 if dashed else 1.5, linestyle=(0, (4, 2)) if dashed else "-", label=label,
    )  # fmt: skip
    if not dashed:
        patch.set_path_effects([withStroke(linewidth=2.6, foreground="white" if _dark(colour) else "0.1"), Normal()])
    ax.add_patch(patch)
    return patch


def _boxes(box: Any) -> dict[str, Box]:
    if isinstance(box, Box):
        return {"": box}
    boxes = dict(box) if isinstance(box, Mapping) else {f"box {index}": entry for index, entry in enumerate(box)}
    if not boxes:
        raise ValueError("box is empty; give at least one Box.")
    return boxes


def _colours(count: int) -> list[str]:
    """One bright colour, or a row of them along the depth: the map is read from light to dark in gray, too."""
    if count == 1:
        return ["#ffd11a"]
    return [mpl.colors.to_hex(mpl.colormaps["plasma"](value)) for value in np.linspace(0.93, 0.05, count)]


def _dark(colour: str) -> bool:
    red, green, blue = mpl.colors.to_rgb(colour)
    return 0.3 * red + 0.59 * green + 0.11 * blue < 0.5


def _shadow(size: tuple[int, int], boxes: Sequence[Box], shade: float) -> np.ndarray:
    """RGBA: black where no box lies, transparent elsewhere."""
    shadow = np.zeros((*size, 4))
    shadow[..., 3] = shade
    for box in boxes:
        rows, columns = box.slices()
        shadow[max(rows.start, 0) : max(rows.stop, 0), max(columns.start, 0) : max(columns.stop, 0), 3] = 0
    return shadow


def _frame(ax: Axes, boxes: Mapping[str, Box], colours: Sequence[str], size: tuple[int, int], beyond: float) -> None:
    """Dashed boxes beyond the image, axes that show them as far as `beyond` allows, arrows where that is not all."""
    height, width = size
    wide = [(box.unclipped, colour) for box, colour in zip(boxes.values(), colours, strict=True) if box.unclipped]
    outside = [(box, colour) for box, colour in wide if _leaves(box, size)]
    for box, colour in outside:
        outline(ax, box, colour=_readable(colour), dashed=True, label="_unclipped")
    if not outside:
        ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
        return
    ax.add_patch(Rectangle((-0.5, -0.5), width, height, fill=False, edgecolor="0.2", linewidth=0.8, label="_image"))
    top, bottom = min(box.y0 for box, _ in outside), max(box.y1 for box, _ in outside)
    left, right = min(box.x0 for box, _ in outside), max(box.x1 for box, _ in outside)
    pad = 0.03 * max(min(bottom, 2 * height) - max(top, -height), min(right, 2 * width) - max(left, -width))
    limits = (-beyond * width, (1 + beyond) * width, (1 + beyond) * height, -beyond * height)
    shown = (
        max(min(left, 0) - pad, limits[0]), min(max(right, width) + pad, limits[1]),
        min(max(bottom, height) + pad, limits[2]), max(min(top, 0) - pad, limits[3]),
    )  # fmt: skip
    ax.set(xlim=shown[:2], ylim=shown[2:], facecolor="0.94")
    ends = (left < limits[0], right > limits[1], bottom > limits[2], top < limits[3])
    for cut, (x, y), (toward_x, toward_y) in zip(
        ends, ((0, 0.5), (1, 0.5), (0.5, 0), (0.5, 1)), ((1, 0), (-1, 0), (0, 1), (0, -1)), strict=True
    ):
        if cut:
            ax.annotate(
                "", (x, y), xytext=(14 * toward_x, 14 * toward_y), xycoords="axes fraction",
                textcoords="offset points", arrowprops={"arrowstyle": "-|>", "color": "0.25"},
            )  # fmt: skip


def _leaves(box: Box, size: tuple[int, int]) -> bool:
    return box.y0 < 0 or box.x0 < 0 or box.y1 >= size[0] or box.x1 >= size[1]


def _readable(colour: str) -> str:
    """A colour that is seen on the light ground beyond the image."""
    if _dark(colour):
        return colour
    red, green, blue = mpl.colors.to_rgb(colour)
    return mpl.colors.to_hex((0.62 * red, 0.62 * green, 0.62 * blue))


def _legend(ax: Axes, boxes: Mapping[str, Box], colours: Sequence[str], unit: bool) -> None:
    handles: list[Any] = [
        Line2D(
            [], [], color=colour, linewidth=2.2, path_effects=[withStroke(linewidth=3.2, foreground="0.3"), Normal()]
        )
        for colour in colours
    ]
    labels = [f"{name}: {_size(box)}" if name else _size(box) for name, box in boxes.items()]
    if unit:
        handles.append(Line2D([], [], marker="+", color="0.1", linestyle="none", markersize=8, markeredgewidth=1.4))
        labels.append("place of the unit")
    legend_below(ax, handles, labels)


def _size(box: Box) -> str:
    """Height and width in pixels, and what of it is in the image where that is less."""
    whole = box.unclipped or box
    inside = (
        "" if (whole.height, whole.width) == (box.height, box.width) else f", {box.height} × {box.width} in the image"
    )
    return f"{whole.height} × {whole.width} px{inside}"
