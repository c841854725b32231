"""One call that opens the explorer, or draws its panels where there are no widgets."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rfkit._checks import check_choice
from rfkit.explorer.choice import PANELS

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from PIL.Image import Image
    from torch import Tensor, nn

    from rfkit.data.dataset import Sample
    from rfkit.explorer.view import Explorer

__all__ = ["explore"]

_STEPS = ("region", "semantic")


def explore(
    model: nn.Module,
    image: Tensor | Sample | Image | np.ndarray | str | Path | None = None,
    *,
    panels: Sequence[str] | None = None,
    layer: str | None = None,
    pixel: tuple[int, int] | None = None,
    class_names: Sequence[str] | None = None,
    output: Any = None,
) -> Explorer | Figure:
    """An explorer of a network in a notebook: pick a unit on the image or a map, and see what it can see and looks at.

    A click on the image picks the unit whose field is centred nearest to it, a click on a feature map that unit; the
    arrow keys, and the numbers and sliders for row and column, do the same, the latter also where anywidget is missing.
    Shown are the unit's theoretical box and support, its effective receptive
    field (also through a single branch), the region and semantic maps of its block, and the attribution of a class at
    the pixel. What was computed is kept; computing runs in a thread, never while a cell does, and the network is left
    as it was found. Where ipywidgets is missing, the same panels come as a figure.

    Args:
        model: any network that takes one image.
        image: 3 H W, 8 bit or normalised as the model takes it; a sample of a data set; the name of an image file; an
            image of Pillow, or an 8 bit array H W 3; None for a procedural scene.
        panels: those to begin with, of "box", "map", "support", "effective", "region", "semantic" and "attribution";
            all but the last by default, as far as the network has them. More can be switched on.
        layer: the layer to begin with; the last stage by default.
        pixel: (row, column) in the image, where the first unit looks; the middle by default.
        class_names: names of the classes, in their order; those of `model.card` by default.
        output: which part of what the network returns holds the class scores: a key, an index or a function; the first
            tensor by default.

    Returns:
        The explorer, a widget: make it the last line of a cell. It has `figure()`, for a figure of what is shown,
        `results()`, for its numbers, and `choose(layer="stage3", unit=(4, 7))`, for another unit by code. A cell that
        is run again replaces its explorer. Without ipywidgets: that figure.

    Raises:
        TypeError: `model` is no network.
        ValueError: a panel or the layer is unknown, the pixel is outside of the image, or no layer returns a map.
        FileNotFoundError, rfkit._checks.DataError: the image file cannot be read.
        TypeError: `image` is nothing of these.
    """
    from torch import nn

    from rfkit.data.opening import open_image
    from rfkit.explorer.choosing import first_choice
    from rfkit.explorer.findings import Findings
    from rfkit.explorer.menu import Menu
    from rfkit.explorer.panels import static_figure
    from rfkit.explorer.worker import Worker

    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}; give a network, a torch.nn.Module.")
    panels = [panels] if isinstance(panels, str) else panels
    for name in panels or ():
        check_choice("panels", name, PANELS)
    worker = Worker()
    names = None if class_names is None else tuple(class_names)
    menu = Menu(model, open_image(image), output=output, class_names=names)
    findings = Findings(menu, watch=worker.watch)
    choice = first_choice(menu, layer=layer, pixel=pixel)
    if panels is None:
        absent = ("attribution", *(() if menu.region_channels(choice.layer) else _STEPS))
        panels = [name for name in PANELS if name not in absent]
    shown = tuple(name for name in PANELS if name in panels)
    if find_spec("ipywidgets") is None:
        return static_figure(findings, choice, shown)
    from rfkit.explorer.view import Explorer

    return Explorer(findings, worker, choice, shown)
