"""The one-line calls of a notebook: compute, then draw; train, then draw the curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch
    from matplotlib.figure import Figure
    from PIL.Image import Image
    from torch import Tensor, nn

    from rfkit.data.dataset import Dataset, Sample
    from rfkit.models.weights import Card
    from rfkit.paper.manifest import Manifest
    from rfkit.results.branches import BranchStatistic, BranchWeights
    from rfkit.results.sweep import SweepResults
    from rfkit.training.evaluation import Scores
    from rfkit.training.run import RunResult

__all__ = [
    "build_figures",
    "evaluate",
    "plot_attribution",
    "plot_branch_weights",
    "plot_region_maps",
    "sweep",
    "train",
]


def plot_branch_weights(
    model: nn.Module,
    *,
    measure: str = "weight",
    initial: nn.Module | str | None = "auto",
    images: Tensor | Sequence[Tensor] | None = None,
    stages: Mapping[str, str | Sequence[str]] | None = None,
    **options: Any,
) -> Figure:
    """How much each stage of `model` listens to each of its dilation rates: Fig. 8, one panel a stage.

    Computes `rfkit.branch_weights`, then draws it. Thin dashed lines show the same network before training, because
    weights that were hardly trained look like their initialisation. A network with a card also gets a title that says
    how it was trained and, where they apply, the claims of Fig. 8 with their ratios.

    Args:
        model: any network with parallel dilated branches: a probe, DWRSeg, or your own.
        measure: "weight" for |w|, the paper's; "gain" for |w| times |gamma| of the norm before; "contribution" for what
            each branch adds to the output, measured on `images`.
        initial: the network before training; "auto" rebuilds it from the card of `model` (same options and seed) if it
            has one; None draws no such lines.
        images: for "contribution": N C H W or a list of C H W, 8 bit or normalised as the model takes them.
        stages: stage name -> names or patterns of blocks; those the model publishes by default.
        **options: of `rfkit.plots.branches.plot_branch_weights`: `bins`, `log`, `kind="blocks"` for small multiples,
            `title`, `statistic`, `look="notebook"` for larger text.

    Returns:
        The figure. In a notebook, assign it (`figure = ...`), or it is shown twice.

    Raises:
        ValueError: the network has no parallel dilated branches, or an argument is not allowed.

    Reference: Wei et al., DWRSeg, section 4.2, Fig. 8.
    """
    from rfkit.analysis.branches import branch_weights
    from rfkit.plots.branches import plot_branch_weights as draw

    before = _initial_model(model) if initial == "auto" else initial
    if isinstance(before, str):
        raise ValueError(f"initial={initial!r} must be a network, 'auto' or None.")
    weights = branch_weights(model, measure=measure, images=images, stages=stages)
    first = None if before is None else branch_weights(before, measure=measure, images=images, stages=stages)
    card = getattr(model, "card", None)
    if card is not None:
        options.setdefault("title", _training_of(card))
        options.setdefault("statistic", _claims(weights, card))
    return draw(weights, initial=first, **options)


def _training_of(card: Card) -> str:
    """What a figure must say of the training behind it."""
    return f"{card.model}, {card.training}, {card.steps} steps, seed {card.seed}"


def _claims(weights: BranchWeights, card: Card) -> BranchStatistic | None:
    """The claims of Fig. 8, where they apply: |w| or gain of three stages with branches d1, d3 and d5."""
    from rfkit.analysis.branches import fig8_statistic

    try:
        return fig8_statistic(weights, epochs=card.epochs)
    except ValueError:
        return None


def _initial_model(model: nn.Module) -> nn.Module | None:
    """The network as its training began, where its card tells; None where it has no card."""
    from rfkit.models.registry import create_model

    card = getattr(model, "card", None)
    if card is None:
        return None
    return create_model(card.model, num_classes=card.num_classes, seed=card.seed, **card.options).eval()


def plot_region_maps(
    model: nn.Module,
    image: Tensor | Sample | Image | np.ndarray | str | Path | None = None,
    *,
    blocks: str | Sequence[str] | None = None,
    dilations: int | Sequence[int] | None = None,
    channels: int | Sequence[int] = 1,
    layers: Mapping[str, str | None] | None = None,
    **options: Any,
) -> Figure:
    """What the two steps of a block make of an image: Fig. 5, the image above, RR and SR maps below.

    Computes `rfkit.region_maps`, which states the rule by which channels are chosen, then draws it. Red is positive,
    white zero, blue negative.

    Args:
        model: DWRSeg, a probe, or, with `layers`, any network.
        image: 3 H W, 8 bit or normalised as the model takes it; a sample of a data set; the name of an image file; an
            image of Pillow, or an 8 bit array H W 3; None for a procedural scene.
        blocks: names or patterns of blocks; the last block of every stage by default.
        dilations: dilation rates of the branches to show; all by default.
        channels: how many channels per branch, or which ones.
        layers: for other networks: layer with region maps -> layer that filters each of them, or None.
        **options: of `rfkit.plots.regions.plot_region_maps`: `title`, `look="notebook"` for larger text.

    Returns:
        The figure. In a notebook, assign it (`figure = ...`), or it is shown twice.

    Raises:
        ValueError: there is no such block, branch or channel.
        FileNotFoundError, rfkit._checks.DataError: the image file cannot be read.
        TypeError: `image` is nothing of these.

    Reference: Wei et al., DWRSeg, section 3.2, Fig. 5.
    """
    from rfkit.analysis.regions import region_maps
    from rfkit.data.opening import open_image
    from rfkit.plots.regions import plot_region_maps as draw

    maps = region_maps(model, open_image(image), blocks=blocks, dilations=dilations, channels=channels, layers=layers)
    return draw(maps, **options)


def plot_attribution(
    model: nn.Module,
    image: Tensor | Sample | Image | np.ndarray | str | Path | None = None,
    *,
    target: Any,
    method: Any = "integrated_gradients",
    title: str = "",
    smooth: float | None = None,
    percentile: float = 99.5,
    look: str | None = None,
    **options: Any,
) -> Figure:
    """Which pixels the score of a class rests on, drawn over the image: a panel for each target and method.

    Computes `rfkit.attribute`, then draws it. Red raises the score, blue lowers it; the green line is the region that
    the score is taken over.

    Args:
        model: any network that gives class scores N classes H W, or N classes.
        image: 3 H W, 8 bit or normalised as the model takes it; a sample of a data set; the name of an image file; an
            image of Pillow, or an 8 bit array H W 3; None for a procedural scene.
        target: a class (index or name), or (class, region), see `rfkit.attribute`; or a list of these.
        method: a method, see `rfkit.attribute`; or a list of these.
        title: line above the figure.
        smooth: of `rfkit.plots.attribution.plot_attribution`, as is the next; 0 shows every pixel as it is.
        percentile: of |value|, where the colours end.
        look: size of text, such as "notebook".
        **options: of `rfkit.attribute`.

    Returns:
        The figure. In a notebook, assign it (`figure = ...`), or it is shown twice.

    Raises:
        ValueError: there is no such class, region, method or layer, or the attribution is zero everywhere.
        FileNotFoundError, rfkit._checks.DataError: the image file cannot be read.
        TypeError: `image` is nothing of these.
    """
    from rfkit.analysis.attribution import attribute
    from rfkit.data.opening import open_image
    from rfkit.plots.attribution import plot_attributions

    pixels = open_image(image)
    targets = target if isinstance(target, list) else [target]
    methods = method if isinstance(method, list) else [method]
    results = [attribute(model, pixels, target=wanted, method=how, **options) for wanted in targets for how in methods]
    columns = len(methods) if len(targets) > 1 and len(methods) > 1 else None
    return plot_attributions(results, columns=columns, title=title, smooth=smooth, percentile=percentile, look=look)


def build_figures(
    names: str | Sequence[str] | None = None,
    *,
    out: str | Path = "figures",
    weights: str | Path | None = None,
    data: str | None = None,
    root: str | Path | None = None,
    seed: int = 0,
    force: bool = False,
    progress: bool = True,
) -> Manifest:
    """Build figures and tables of the paper into `out`, each as PNG, vector graphics and CSV, with a manifest.

    What is up to date is left alone. A figure whose weights are not there is skipped, and the manifest says why.
    `index.html` in that folder shows all of them, with a search.

    Args:
        names: such as "fig8" or ["fig5", "table1"]; all by default. `rfkit figures --list` lists them.
        out: folder for the files. Figures with frames of a data set do not belong into a repository.
        weights: a weights file, a run folder, or a folder of either; those that ship by default.
        data: data set whose test images are shown; procedural scenes by default.
        root: folder of that data set.
        seed: of scenes and of everything else that is drawn.
        force: rebuild what is up to date.
        progress: whether to show a bar.

    Returns:
        The manifest: for each name its files, inputs and versions, or why it was skipped.

    Raises:
        ValueError: a name is unknown.
        FileNotFoundError: there are no such weights or data.
    """
    from rfkit.paper.builder import build
    from rfkit.paper.context import Context

    context = Context(
        out=Path(out),
        weights=None if weights is None else Path(weights),
        data=data,
        root=None if root is None else Path(root),
        seed=seed,
    )
    chosen = [names] if isinstance(names, str) else names
    return build(chosen, context=context, force=force, progress=progress)


def train(model: str | nn.Module, data: str | Dataset, *, out: str | Path, **options: Any) -> RunResult:
    """Train a network into the folder `out`, or go on with the run that is there; the same call does both.

    `rfkit.training.loop.train` does the work and documents every option. This call also draws `curves.png` in the run
    folder, from its log, at each checkpoint and when training ends, be it by the last epoch, by Ctrl-C or by an error.

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
    from rfkit.plots.run_curves import draw_run_curves
    from rfkit.training.loop import train as run
    from rfkit.training.processes import is_first_process

    try:
        return run(model, data, out=out, **{"on_checkpoint": draw_run_curves, **options})
    finally:
        if is_first_process():
            draw_run_curves(out)


def sweep(file: str | Path, *, out: str | Path | None = None, **options: Any) -> SweepResults:
    """Train every run of a sweep file that is not finished yet, and give the table of all; again, it goes on.

    `rfkit.training.sweeps.sweep` does the work and documents every option; `rfkit.training.sweep_file.read_sweep` says
    what the file holds. This call also draws `curves.png` in each run folder.

    Args:
        file: a TOML file, or the name of a sweep that ships.
        out: the sweep's folder; None: `runs/NAME`.
        **options: `data`, `root`, `epochs`, `seeds`, `overrides` instead of what the file says; `jobs`, `threads`,
            `gpus_per_run`, `address` of the machines; `retry`, `progress`.

    Returns:
        A row a run, finished or not: `to_frame()`, and `summary()` over the seeds.

    Raises:
        rfkit._checks.DataError: the file, or a run that it means, is not as it must be; nothing was started.
        ValueError: an argument is not allowed, or another sweep is at work in `out`.
        KeyboardInterrupt: on Ctrl-C, after the runs under way have written a checkpoint; the same call goes on.

    Example:
        ``rfkit.sweep("activations.toml", root="CamVid", jobs=2).summary()``
    """
    from rfkit.plots.run_curves import draw_run_curves
    from rfkit.training.sweeps import sweep as run

    return run(file, out=out, **{"on_checkpoint": draw_run_curves, **options})


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
    from rfkit.training.evaluation import check_classes
    from rfkit.training.evaluation import evaluate as score

    dataset = open_data(data, root, split=split) if isinstance(data, str) else data
    check_classes(model, dataset)
    return score(model, dataset, batch_size=batch_size, device=device, size=size, progress=progress)
