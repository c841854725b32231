"""The one-line calls around branches that are removed: measure by the name of a data set, then draw."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import nn

    from rfkit.data.dataset import Dataset
    from rfkit.results.removal import BranchRemoval

__all__ = ["draw_branch_removal", "measure_branch_removal", "plot_branch_removal"]


def plot_branch_removal(
    model: nn.Module,
    data: str | Dataset,
    *,
    root: str | Path | None = None,
    split: str = "test",
    kind: str = "drops",
    look: str | None = None,
    **options: Any,
) -> Figure:
    """What a network loses on images without the branches of one dilation rate, stage by stage.

    Computes `rfkit.branch_removal`, which documents the options, then draws it. A network with a card also gets a title
    that says how it was trained.

    Args:
        model: any network with parallel dilated branches that gives class scores.
        data: a data set, or a name for `rfkit.open_data`.
        root: folder of the data set, where `data` is a name that needs one.
        split: split to score, where `data` is a name.
        kind: "drops" for the drop in mIoU with its 95 % interval over images; "classes" for the drop in each class IoU.
        look: size of text, such as "notebook".
        **options: of `rfkit.branch_removal`: `level`, `size`, `limit`, `calibration`, `stages`, `resume`, ...

    Returns:
        The figure. In a notebook, assign it (`figure = ...`), or it is shown twice.

    Raises:
        ValueError: the classes differ, the network has no parallel dilated branches, or an argument is not allowed.

    Example:
        ``rfkit.plot_branch_removal(model, "camvid", root="CamVid", limit=40, kind="classes")``
    """
    from rfkit._checks import check_choice
    from rfkit.plots.removal import KINDS

    check_choice("kind", kind, KINDS)
    removal = measure_branch_removal(model, data, root=root, split=split, **options)
    return draw_branch_removal(removal, model, kind=kind, look=look)


def measure_branch_removal(
    model: nn.Module, data: str | Dataset, *, root: str | Path | None = None, split: str = "test", **options: Any
) -> BranchRemoval:
    """`rfkit.branch_removal` on a data set or its name, if its classes are those of the card of `model`.

    Raises:
        ValueError: the classes differ, or an argument is not allowed.
    """
    from rfkit.data.opening import open_data
    from rfkit.studies.removal import branch_removal
    from rfkit.training.evaluation import check_classes

    dataset = open_data(data, root, split=split) if isinstance(data, str) else data
    check_classes(model, dataset)
    return branch_removal(model, dataset, **options)


def draw_branch_removal(
    removal: BranchRemoval, model: nn.Module, *, kind: str = "drops", look: str | None = None
) -> Figure:
    """The figure of `removal`, titled with what was measured and, if `model` has a card, how it was trained."""
    from rfkit.plots.removal import plot_branch_removal as draw

    size = "" if removal.size is None else f" at {removal.size[1]}x{removal.size[0]}"
    title = f"{removal.data} {removal.split}, {removal.images} images{size}"
    card = getattr(model, "card", None)
    if card is not None:
        title = f"{card.model}, {card.training}, seed {card.seed}; {title}"
    return draw(removal, kind=kind, title=title, look=look)
