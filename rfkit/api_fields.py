"""The one-line calls of a notebook about receptive fields: compute, then draw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure
    from PIL.Image import Image
    from torch import Tensor, nn

    from rfkit.analysis.theoretical import Graph
    from rfkit.analysis.tracing.field_map import FieldMap
    from rfkit.data.dataset import Sample

__all__ = ["plot_erf", "plot_receptive_field", "plot_rf_growth"]


def plot_rf_growth(
    model: nn.Module | Mapping[str, nn.Module],
    input_size: Sequence[int] | Tensor,
    *,
    title: str = "",
    look: str | None = None,
    global_paths: str = "ignore",
    **options: Any,
) -> Figure:
    """How the theoretical receptive field grows along the depth of a network, or of several, against the image's size.

    Computes `rfkit.trace`, then draws it. Layers that only global paths reach, such as the pooling of a gate, are left
    out, since they have no size of their own.

    Args:
        model: any network; or names -> networks, to compare them.
        input_size: (channels, height, width), see `rfkit.trace`.
        title: line above the figure.
        look: size of text, such as "notebook".
        global_paths: see `rfkit.trace`.
        **options: of `rfkit.plot_growth`: `axis` (default "both"), `log`, `strides`, `image_size` (None draws no line).

    Returns:
        The figure. In a notebook, assign it (`figure = ...`), or it is shown twice.

    Raises:
        ValueError: an argument is not allowed.
        rfkit.analysis.theoretical.TraceError: the network fails on such an input.

    Example:
        >>> from torch import nn
        >>> figure = plot_rf_growth(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 5)), (3, 32, 32))
        >>> figure.axes[0].get_ylabel()
        'receptive field, height and width (px)'
    """
    from rfkit.analysis.theoretical import trace

    models = dict(model) if isinstance(model, Mapping) else {"": model}
    graphs = {name: trace(network, input_size, global_paths=global_paths) for name, network in models.items()}
    tables = {name: graph.table() for name, graph in graphs.items()}
    options.setdefault("image_size", next((graph.image_size for graph in graphs.values()), None))
    return growth_figure(tables if isinstance(model, Mapping) else tables[""], title=title, look=look, **options)


def growth_figure(
    table: pd.DataFrame | Mapping[str, pd.DataFrame], *, title: str = "", look: str | None = None, **options: Any
) -> Figure:
    """The figure of `plot_rf_growth`, of tables that were computed before."""
    import matplotlib.pyplot as plt

    from rfkit.plots.growth import plot_growth
    from rfkit.plots.styles import style

    kept = (
        {name: _with_own_size(one) for name, one in table.items()} if isinstance(table, dict) else _with_own_size(table)
    )
    with style(look):
        scale = plt.rcParams["font.size"] / 8
        figure, ax = plt.subplots(figsize=(6.4 * scale, 3.4 * scale), layout="constrained")
        plot_growth(kept, ax=ax, **{"axis": "both", **options})
        if title:
            figure.suptitle(title)
    return figure


def _with_own_size(table: pd.DataFrame) -> pd.DataFrame:
    """The table without layers to which global paths alone lead."""
    whole = table["is_global"].fillna(False).astype(bool) & table["coverage"].isna()
    return table[~whole.to_numpy()]


def plot_receptive_field(
    model: nn.Module,
    image: Tensor | Sample | Image | np.ndarray | str | Path | None = None,
    *,
    layers: str | Sequence[str] | None = None,
    unit: tuple[int, int] | str = "centre",
    title: str = "",
    look: str | None = None,
    **options: Any,
) -> Figure:
    """Which part of an image the units of one or several layers can see: their boxes on it, the rest shaded.

    Computes `rfkit.trace` at the size of the image, then draws it.

    Args:
        model: any network.
        image: 3 H W, 8 bit or normalised as the model takes it; a sample of a data set; the name of an image file; an
            image of Pillow, or an 8 bit array H W 3; None for a procedural scene.
        layers: names, shallow to deep; "output" for what the network returns. The stages that the network publishes and
            its output by default.
        unit: (row, column) in the map of the last layer, negative from the end; "centre" for the unit in the middle of
            the image. Other layers show the unit whose field is centred nearest to that unit's.
        title: line above the figure.
        look: size of text, such as "notebook".
        **options: of `rfkit.plot_box`: `shade`, `beyond` (default 0.3), `legend`.

    Returns:
        The figure. In a notebook, assign it (`figure = ...`), or it is shown twice.

    Raises:
        ValueError: there is no such layer, or nothing is known of its field.
        IndexError: the unit lies outside the map.
        rfkit.analysis.theoretical.TraceError: the network fails on such an image.

    Example:
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 9, padding=4))
        >>> len(plot_receptive_field(model, layers=["0", "output"], unit=(40, 50)).axes)
        1
    """
    import matplotlib.pyplot as plt

    from rfkit.analysis.images import as_picture
    from rfkit.analysis.theoretical import trace
    from rfkit.data.opening import open_image
    from rfkit.plots.boxes import plot_box
    from rfkit.plots.styles import style

    pixels = open_image(image)
    graph = trace(model, tuple(pixels.shape[-3:]))
    maps = _maps(graph, model, layers)
    last = list(maps.values())[-1]
    height, width = graph.image_size
    if isinstance(unit, str):
        if unit != "centre":
            raise ValueError(f"unit={unit!r} must be 'centre' or (row, column).")
        unit = last.unit((height - 1) / 2, (width - 1) / 2)
    place = last.pixel(*unit)
    boxes = {name: fields[fields.unit(*place)] for name, fields in maps.items() if fields is not last}
    boxes[last.name] = last[unit]
    with style(look):
        scale = plt.rcParams["font.size"] / 8
        figure, ax = plt.subplots(figsize=(4.8 * scale, (4.0 * height / width + 1.2) * scale), layout="constrained")
        plot_box(as_picture(pixels).numpy(), boxes, unit_pixel=place, ax=ax, **{"beyond": 0.3, **options})
        if title:
            figure.suptitle(title)
    return figure


def _maps(graph: Graph, model: nn.Module, layers: str | Sequence[str] | None) -> dict[str, FieldMap]:
    if layers is None:
        layers = [*(stage.name for stage in getattr(model, "stages", ()) if hasattr(stage, "name")), "output"]
    names = [layers] if isinstance(layers, str) else list(layers)
    if not names:
        raise ValueError("layers=[] names no layer; give at least one, or None.")
    return {name: graph.output if name == "output" and name not in graph.layers else graph[name] for name in names}


def plot_erf(
    model: nn.Module,
    images: Tensor | Iterable[Any],
    *,
    layers: str | nn.Module | Sequence[str | nn.Module] | None = None,
    plot: Mapping[str, Any] | None = None,
    **options: Any,
) -> Figure:
    """The effective receptive fields of a unit of each layer: maps with the theoretical field and mass contours.

    Computes `rfkit.effective_rf`, then draws it; to measure as well, call `rfkit.effective_rf` and
    `rfkit.plot_effective_rfs` yourself.

    Args:
        model: any network.
        images: see `rfkit.effective_rf`.
        layers: names, patterns or modules; "output" (the default) for what the network returns.
        plot: options of `rfkit.plot_effective_rfs`: `columns`, `shared_scale`, `zoom`, `title`, `look`, ...
        **options: of `rfkit.effective_rf`: `unit`, `reduce`, `crop`, `channels`, ...

    Returns:
        The figure. In a notebook, assign it (`figure = ...`), or it is shown twice.

    Raises:
        ValueError: see `rfkit.effective_rf`.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> figure = plot_erf(nn.Conv2d(3, 8, 5, padding=2), torch.rand(2, 3, 16, 16), progress=False)
        >>> figure.axes[0].get_xlabel()
        'column (px)'
    """
    from rfkit.analysis.effective import effective_rf
    from rfkit.plots.receptive_field import plot_effective_rfs

    return plot_effective_rfs(effective_rf(model, images, layers=layers, **options), **(plot or {}))
