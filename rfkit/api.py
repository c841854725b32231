"""The one-line calls of a notebook: compute, then draw; train, then draw the curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

    from rfkit.data.dataset import Dataset
    from rfkit.training.evaluation import Scores
    from rfkit.training.loop import RunResult
    from rfkit.training.prediction import Predictions

__all__ = ["evaluate", "predict", "train"]


def train(model: str | nn.Module, data: str | Dataset, *, out: str | Path, **options: Any) -> RunResult:
    """Train a network into the folder `out`, or go on with the run that is there; the same call does both.

    `rfkit.training.loop.train` does the work and documents every option. This call also draws `curves.png` in the run
    folder, from its log, when training ends, be it by the last epoch, by Ctrl-C or by an error.

    Args:
        model: a name for `rfkit.create_model`, built with `seed`; or a module, which is trained in place.
        data: a name for `rfkit.open_data` (with `root` and `split`), or a data set.
        out: run folder.
        **options: `recipe`, `epochs`, `seed`, `evaluation`, `stop_after`, `device`, `threads`, ... and any field of
            `rfkit.training.recipe.Recipe` that is to take another value.

    Returns:
        The network, its log, its scores, and where the weights are.

    Raises:
        ValueError: an argument is not allowed, or `out` holds another run.
        rfkit.training.checkpoint.DivergenceError: the loss or a weight is no longer finite.
        KeyboardInterrupt: on Ctrl-C, after a checkpoint was written.

    Example:
        ``rfkit.train("dwrseg_b", "camvid", root="CamVid", out="runs/b", evaluation="test").scores.miou``
    """
    from rfkit.training.loop import train as run

    try:
        return run(model, data, out=out, **options)
    finally:
        _draw_curves(Path(out))


def _draw_curves(folder: Path) -> None:
    """Draw the log of a run folder, if it holds an epoch yet."""
    import pandas as pd

    log = folder / "log.csv"
    if not log.exists():
        return
    frame = pd.read_csv(log)
    if len(frame):
        from rfkit.plots.curves import plot_curves

        figure = plot_curves(frame)
        figure.savefig(folder / "curves.png", dpi=120)


def evaluate(
    model: nn.Module,
    data: str | Dataset,
    *,
    root: str | Path | None = None,
    split: str = "test",
    batch_size: int = 4,
    device: str | torch.device | None = None,
    size: tuple[int, int] | None = None,
    progress: bool = True,
) -> Scores:
    """The class IoU and mIoU of a network on a data set, from one confusion matrix over the whole set.

    Args:
        model: takes normalised images, gives class scores. If it was loaded with a card that names its classes, they
            must be those of the data, in the same order.
        data: a data set, or a name for `rfkit.open_data`.
        root: folder of the data set, where `data` is a name that needs one.
        split: split to score, where `data` is a name.
        batch_size: images in a forward pass.
        device: where to run; None: where the model is.
        size: (height, width) that the network sees; None: each image's own. Labels are compared at their own size.
        progress: whether to show a bar.

    Returns:
        Scores, with `miou`, `class_iou`, `to_frame()`; `print` shows a table.

    Raises:
        ValueError: the classes differ, or the data set is empty.
    """
    from rfkit.data.opening import open_data
    from rfkit.training.evaluation import evaluate as score

    dataset = open_data(data, root, split=split) if isinstance(data, str) else data
    _check_classes(model, dataset)
    return score(model, dataset, batch_size=batch_size, device=device, size=size, progress=progress)


def predict(
    model: nn.Module,
    source: str | Path,
    *,
    out: str | Path,
    size: tuple[int, int] | None = None,
    colours: Sequence[Sequence[int]] | None = None,
    device: str | torch.device | None = None,
    progress: bool = True,
) -> Predictions:
    """The label maps of an image or of a folder of images, written to `out`, with overlays.

    `out/labels/NAME.png` holds class ids as a palette image, `out/overlays/NAME.png` the image under its colours.

    Args:
        model: takes normalised images, gives class scores.
        source: an image file, or a folder of them (folders inside it are not searched).
        out: folder for the results.
        size: (height, width) that the network sees; None: each image's own. Results have the size of the image.
        colours: RGB colours of the classes, 0 to 255; None: CamVid's for its classes, else a fixed palette.
        device: where to run; None: where the model is.
        progress: whether to show a bar.

    Returns:
        The files written, with `to_frame()`: the share of each class in each image.

    Raises:
        FileNotFoundError: there is no `source`, or no image in it.
        rfkit._checks.DataError: an image cannot be read.
    """
    from rfkit.training.prediction import predict as run

    return run(model, source, out=out, size=size, colours=colours, device=device, progress=progress)


def _check_classes(model: nn.Module, dataset: Dataset) -> None:
    card = getattr(model, "card", None)
    if card is None or not card.class_names or tuple(card.class_names) == tuple(dataset.classes):
        return
    raise ValueError(
        f"the weights were trained on {card.data} with the classes {', '.join(card.class_names)}; {dataset.name} has "
        f"{', '.join(dataset.classes)}: their scores mean different things."
    )
