"""The command `rfkit`. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rfkit
from rfkit.cli_advise import add_advise
from rfkit.cli_arguments import (
    DATA_NAMES,
    DATA_WORDS,
    SPLITS,
    count,
    data_arguments,
    device_arguments,
    device_of,
    file_to_write,
    folder_to_write,
    is_factory,
    model_arguments,
    model_of,
    pairs,
    place,
    positive,
    root_argument,
    size_argument,
)
from rfkit.cli_calibrate import add_calibrate
from rfkit.cli_completion import add_completion
from rfkit.cli_data import add_data
from rfkit.cli_fields import add_erf, add_rf
from rfkit.cli_parser import Parser, command
from rfkit.cli_rates import add_rates
from rfkit.cli_removal import add_removal
from rfkit.cli_speed import add_benchmark, add_export
from rfkit.cli_sweep import add_sweep

if TYPE_CHECKING:
    from rfkit.models.weights import Card
    from rfkit.results.branches import BranchWeights

__all__ = ["main"]

_COMPILE_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code.

    0: done. 1: done, and what was asked about is not in order (`rfkit data check`), a figure or a run failed, training
    diverged, or memory ran out. 2: wrong arguments or files, said in one line. 130: interrupted. Anything else is a bug
    of ours and keeps its traceback.

    Args:
        argv: the arguments after the command's name; those of the process by default.

    Example:
        >>> main(["models"])  # doctest: +SKIP
        0
    """
    arguments = argparse.Namespace()
    try:
        with _flushed():
            _parser().parse_args(argv, arguments)
            _check_names(arguments)
            _check_device(getattr(arguments, "device", None))
            return arguments.run(arguments) or 0
    except KeyboardInterrupt as error:
        print(f"rfkit: interrupted. {error}".rstrip(". ") + ".", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # `rfkit models | head -1`: the reader has seen enough. The interpreter flushes once more when it ends.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ArithmeticError as error:
        return _failed(arguments, error, 1)
    except (ValueError, TypeError, OSError) as error:
        return _failed(arguments, error, 2)
    except (MemoryError, RuntimeError) as error:
        # That of a GPU is a RuntimeError, named here because nothing imports torch before it is needed.
        if not isinstance(error, MemoryError) and type(error).__name__ != "OutOfMemoryError":
            raise
        return _failed(arguments, error, 1)


@contextlib.contextmanager
def _flushed() -> Iterator[None]:
    """What was printed, help included, is handed on here, where a pipe that nobody reads any more can be told."""
    try:
        yield
    finally:
        sys.stdout.flush()


def _check_names(arguments: argparse.Namespace) -> None:
    """Raise `ValueError` for what the parser cannot know without torch, in the words of the command line."""
    from rfkit._checks import check_choice

    given = vars(arguments)
    model, recipe, data = given.get("model"), given.get("recipe"), given.get("data")
    if model is not None and not is_factory(model):
        from rfkit.models.registry import list_models

        check_choice("--model", model, list_models())
    if recipe is not None:
        from rfkit.training.recipe import RECIPES

        check_choice("--recipe", recipe, RECIPES)
    # A sweep file may name the folder.
    if data not in (None, "scenes") and arguments.root is None and "file" not in given:
        raise ValueError(f"--root is needed, because {data} is read from files; give the folder that holds it.")


def _check_device(name: str | None) -> None:
    """Raise `ValueError` where --device is no device, or none that is here."""
    if name is None:
        return
    import torch

    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    # Nothing is computed on "meta".
    if device.type == "meta":
        raise ValueError(f"--device {name!r} is no device; allowed: cpu, cuda, cuda:0 and so on.")
    here = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= here:
        raise ValueError(f"--device {name!r} is not here: torch finds {here} GPU{'' if here == 1 else 's'}.")


def _failed(arguments: argparse.Namespace, error: Exception, code: int) -> int:
    if getattr(arguments, "debug", False):
        raise error
    message = " ".join(str(error).split()) or type(error).__name__
    print(f"rfkit: error: {message}", file=sys.stderr)
    return code


# ---- what can be asked ----------------------------------------------------------------------------------------------


_EPILOG = """\
`rfkit COMMAND --help` shows the options of a command, with examples.

examples:
  rfkit models
  rfkit branches --model probe_dwrseg_l --weights camvid
  rfkit rf my_net.py:make --input 512,1024
  rfkit figures

exit codes:
  0    done
  1    data has problems, a figure or run failed, a loss diverged, no memory
  2    wrong arguments or files: one line says which; with --debug the line it
       comes from is shown
  130  interrupted; the same command goes on with training, sweeps, preparing

Results go to stdout, progress and errors to stderr."""


def _parser() -> Parser:
    parser = Parser(
        prog="rfkit",
        description="Which receptive fields does each stage of a network need, and which does it really use?",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"rfkit {rfkit.__version__}", help="show the version")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_models(commands)
    add_data(commands)
    _add_train(commands)
    add_sweep(commands)
    add_rates(commands)
    _add_evaluate(commands)
    _add_predict(commands)
    _add_branches(commands)
    add_calibrate(commands)
    add_removal(commands)
    add_advise(commands)
    add_rf(commands)
    add_erf(commands)
    add_benchmark(commands)
    add_export(commands)
    _add_figures(commands)
    add_completion(commands, parser)
    return parser


def _add_models(commands: Any) -> None:
    command(commands, "models", _models, "list the networks, their sizes and the weights that ship", "models")


def _add_train(commands: Any) -> None:
    parser = command(
        commands,
        "train",
        _train,
        "train a network; the same command continues a run that was stopped or killed",
        "train --data scenes --model dwrseg_b --epochs 5 --out runs/try",
        "train --data camvid --root ~/CamVid --model dwrseg_l --test-split test",
        "train --data camvid --root ~/CamVid --model probe_dwrseg_l --set batch_size=8 --set crop_size=[180,240]",
        "train --data folder --root my-street --model dwrseg_b --option stem=narrow --seed 1",
    )
    data_arguments(parser)
    parser.add_argument("--split", default="trainval", choices=SPLITS, help="split to train on; default: %(default)s")
    parser.add_argument("--test-split", choices=SPLITS, help="split to score when all is done; default: no scores")
    parser.add_argument(
        "--evaluate-every", type=count, default=0, metavar="N",
        help="score that split after every N epochs as well; default: only when all is done",
    )  # fmt: skip
    parser.add_argument("--model", required=True, metavar="NAME", help="network, one that `rfkit models` lists")
    pairs(parser, "--option", "options", "option of the network, in TOML: depthwise=true, stem=narrow")
    parser.add_argument(
        "--recipe", default="camvid-paper-half", metavar="NAME",
        help="recipe: every number of the training under one name; default: %(default)s",
    )  # fmt: skip
    pairs(parser, "--set", "overrides", "replace a number of the recipe, in TOML: batch_size=8, crop_size=[180,240]")
    parser.add_argument(
        "--epochs", type=positive, metavar="N",
        help="epochs of the whole schedule, after which the learning rate is 0; default: the recipe's",
    )  # fmt: skip
    parser.add_argument(
        "--stop-after", type=positive, metavar="N",
        help="stop when N epochs are done in all, to go on some other time; default: at the end",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=count, default=0, metavar="N",
        help="seed of initial weights, order and augmentation; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=folder_to_write, metavar="FOLDER", help="run folder; default: runs/MODEL-DATA-RECIPE-seedN"
    )
    parser.add_argument(
        "--no-resume", action="store_true", help="make it an error if the folder holds a run, instead of going on"
    )
    device_arguments(parser)
    parser.add_argument(
        "--workers", type=count, metavar="N",
        help="processes that read images; 0: none beside this one; default: as many as a GPU needs, without a GPU 0",
    )  # fmt: skip
    parser.add_argument(
        "--compile", metavar="MODE", choices=_COMPILE_MODES,
        help=f"compile the network: {', '.join(_COMPILE_MODES)}; default: not compiled",
    )  # fmt: skip


def _add_evaluate(commands: Any) -> None:
    parser = command(
        commands,
        "evaluate",
        _evaluate,
        "score a network: class IoU and mIoU from one confusion matrix",
        "evaluate --model dwrseg_l --weights camvid --data camvid --root ~/CamVid",
        "evaluate --weights runs/try/weights.safetensors --data scenes --split val --out scores.csv",
    )
    model_arguments(parser, weights_required=True)
    data_arguments(parser)
    parser.add_argument("--split", default="test", choices=SPLITS, help="split to score; default: %(default)s")
    parser.add_argument(
        "--batch-size", type=positive, default=4, metavar="N", help="images in a forward pass; default: %(default)s"
    )
    size_argument(parser, "pixels that the network sees of each image; default: all, at its own size")
    parser.add_argument(
        "--out", type=file_to_write(".csv"), metavar="FILE.csv", help="file for the table; default: it is only printed"
    )
    device_arguments(parser)


def _add_predict(commands: Any) -> None:
    parser = command(
        commands,
        "predict",
        _predict,
        "write label maps and overlays for an image, a folder of images or a data set",
        "predict --model dwrseg_l --weights camvid --out predictions street.jpg",
        "predict --weights runs/try/weights.safetensors --out predictions my-images/",
        "predict --weights runs/try --data cityscapes --root ~/cityscapes --size 512 1024 --submission --out to-submit",
    )
    model_arguments(parser, weights_required=True)
    parser.add_argument("source", type=place, nargs="?", help="an image, or a folder of images; or give --data")
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data", metavar="NAME", choices=DATA_NAMES, help=f"data set, if no images are given: {DATA_WORDS}"
    )
    root_argument(data)
    data.add_argument("--split", default="test", choices=SPLITS, help="split of the data set; default: %(default)s")
    parser.add_argument(
        "--out", type=folder_to_write, required=True, metavar="FOLDER", help="folder that gets labels/ and overlays/"
    )
    size_argument(parser, "pixels that the network sees of each image; default: all, at its own size")
    parser.add_argument(
        "--submission", action="store_true", help="write what Cityscapes' evaluation server takes, and nothing else"
    )
    device_arguments(parser)


def _add_branches(commands: Any) -> None:
    parser = command(
        commands,
        "branches",
        _branches,
        "print how much each dilation rate is listened to, stage by stage",
        "branches --model probe_dwrseg_l --weights camvid",
        "branches --model probe_dwrseg_l --weights camvid --measure gain --out branches.png",
        "branches --weights runs/probe/weights.safetensors --out branches.csv",
    )
    model_arguments(parser, weights_required=False)
    parser.add_argument(
        "--measure", default="weight", choices=("weight", "gain"),
        help="weight: |w|, as in the paper; gain: |w| times the gain of the norm before it; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=file_to_write(".csv", ".png", ".pdf", ".svg"), metavar="FILE",
        help="file for the table (.csv) or the figure (.png, .pdf, .svg); default: the table is only printed",
    )  # fmt: skip


def _add_figures(commands: Any) -> None:
    parser = command(
        commands,
        "figures",
        _figures,
        "build the figures and tables of the paper; without data or weights, those that can be built from what ships",
        "figures",
        "figures fig8 table1 --force",
        "figures --list",
        "figures --html",
        "figures fig5 fig8 --weights runs --data camvid --root ~/CamVid --out figures-local",
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="figures and tables that `rfkit figures --list` lists; default: all"
    )
    parser.add_argument("--list", action="store_true", help="list the names with their captions, and stop")
    parser.add_argument(
        "--html", action="store_true", help="write index.html, a page of the figures that are there, and stop"
    )
    parser.add_argument("--force", action="store_true", help="rebuild what is up to date as well")
    parser.add_argument(
        "--out", type=folder_to_write, default="figures", metavar="FOLDER",
        help="folder for figures, tables and their manifest; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--weights", type=place, metavar="PATH",
        help="weights file, run folder, or folder of either to draw from; default: the weights that ship",
    )  # fmt: skip
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data", choices=DATA_NAMES, metavar="NAME", help=f"data set to show images of: {DATA_WORDS}; default: scenes"
    )
    root_argument(data)
    parser.add_argument(
        "--seed", type=count, default=0, metavar="N", help="seed of all that is drawn at random; default: %(default)s"
    )


# ---- what is done ---------------------------------------------------------------------------------------------------


def _models(_arguments: argparse.Namespace) -> None:
    from rfkit.cost import multiply_adds, parameters
    from rfkit.models.registry import create_model, list_models
    from rfkit.models.weights import packaged_weights, read_card

    shipped = packaged_weights()
    print(f"{'network':<16} {'parameters':>12} {'multiply-adds':>14}")
    for name in list_models():
        model = create_model(name)
        print(f"{name:<16} {parameters(model):>12,} {multiply_adds(model, (3, 512, 1024)) / 1e9:>12.2f} G")
        for (owner, data), path in shipped.items():
            if owner == name:
                print(f"  --weights {data}: {_worth(read_card(path))}")
    print("19 classes; multiply-adds of the convolutions at 512x1024 (height x width).")


def _worth(card: Card) -> str:
    """What a card says about its weights, in a line."""
    miou, size = card.scores.get("miou"), card.scores.get("size")
    if miou is None:
        return f"{card.training}, not scored"
    at = f" at {size[1]}x{size[0]}" if size else ""
    return f"{card.training}, mIoU {100 * miou:.1f} on {card.scores.get('split', 'unknown split')}{at}"


def _train(arguments: argparse.Namespace) -> None:
    from rfkit.api import train
    from rfkit.training.processes import is_first_process

    out = arguments.out
    if out is None:
        out = Path("runs") / f"{arguments.model}-{arguments.data}-{arguments.recipe}-seed{arguments.seed}"
    result = train(
        arguments.model,
        arguments.data,
        root=arguments.root,
        split=arguments.split,
        recipe=arguments.recipe,
        out=out,
        resume=not arguments.no_resume,
        epochs=arguments.epochs,
        seed=arguments.seed,
        device=arguments.device,
        evaluation=arguments.test_split,
        evaluate_every=arguments.evaluate_every,
        stop_after=arguments.stop_after,
        threads=arguments.threads,
        workers=arguments.workers,
        compile=arguments.compile,
        model_options=dict(arguments.options),
        **dict(arguments.overrides),
    )
    if not is_first_process():
        return
    print(f"{result.epochs} of {result.horizon_epochs} epochs, {result.steps} steps; weights: {result.weights}")
    if result.scores is not None:
        print(result.scores)


def _evaluate(arguments: argparse.Namespace) -> None:
    from rfkit._files import write_text
    from rfkit.api import evaluate

    scores = evaluate(
        model_of(arguments),
        arguments.data,
        root=arguments.root,
        split=arguments.split,
        batch_size=arguments.batch_size,
        size=tuple(arguments.size) if arguments.size else None,
        device=device_of(arguments),
    )
    print(scores)
    if arguments.out is not None:
        write_text(arguments.out, scores.to_frame().to_csv(index=False))


def _predict(arguments: argparse.Namespace) -> None:
    from rfkit.data.opening import open_data
    from rfkit.training.prediction import predict

    if (arguments.source is None) == (arguments.data is None):
        raise ValueError("give an image or a folder of images, or --data with a data set: one of them.")
    source = arguments.source or open_data(arguments.data, arguments.root, split=arguments.split)
    predictions = predict(
        model_of(arguments),
        source,
        out=arguments.out,
        submission=arguments.submission,
        size=tuple(arguments.size) if arguments.size else None,
        device=device_of(arguments),
    )
    what = "files to submit" if arguments.submission else "labels and overlays"
    print(f"{len(predictions.images)} images; {what} are in {arguments.out}")


def _branches(arguments: argparse.Namespace) -> None:
    from rfkit._files import replacing
    from rfkit.analysis.branches import branch_weights
    from rfkit.api import plot_branch_weights

    model = model_of(arguments)
    weights = branch_weights(model, measure=arguments.measure)
    print("\n".join(_branch_table(weights, model.card)))
    if arguments.out is None:
        return
    with replacing(arguments.out) as temporary:
        if arguments.out.suffix.lower() == ".csv":
            weights.to_frame().to_csv(temporary, index=False)
        else:
            plot_branch_weights(model, measure=arguments.measure).savefig(temporary)


def _branch_table(weights: BranchWeights, card: Card | None) -> list[str]:
    """The mean of every branch beside that of the smallest dilation, then the claims of Fig. 8 where they apply."""
    from rfkit.analysis.branches import fig8_statistic

    what = {"weight": "|w|", "gain": "|w| x |gain|"}[weights.measure]
    trained = "untrained" if card is None else _worth(card)
    lines = [f"{trained}", f"mean {what} of each branch, and its ratio to the first branch"]
    for stage in weights.stages:
        means = {label: float(values.mean()) for label, values in weights.pooled(stage).items()}
        first = next(iter(means.values()))
        lines.append(
            f"  {stage:<8}" + "".join(f"  {name} {mean:.4g} ({mean / first:.2f})" for name, mean in means.items())
        )
    try:
        statistic = fig8_statistic(weights, epochs=None if card is None else card.epochs)
    except ValueError:
        return lines  # The claims speak of three stages with branches d1, d3 and d5; this network has others.
    for claim in statistic.claims:
        lines.append(f"{claim.stage}: {claim.statement}: {claim.verdict}")
        lines += [f"  {ratio}" for ratio in claim.ratios]
    return lines


def _figures(arguments: argparse.Namespace) -> int:
    from rfkit.api import build_figures

    if arguments.list:
        from rfkit.paper.builder import FIGURES

        for name, module in FIGURES.items():
            print(f"{name:<8} {importlib.import_module(module).CAPTION}")
        return 0
    if arguments.html:
        from rfkit.paper.builder import FIGURES
        from rfkit.paper.gallery import write_gallery

        print(write_gallery(arguments.out, names=FIGURES))
        return 0
    manifest = build_figures(
        arguments.names or None,
        out=arguments.out,
        weights=arguments.weights,
        data=arguments.data,
        root=arguments.root,
        seed=arguments.seed,
        force=arguments.force,
    )
    print(manifest)
    return 0 if manifest.ok else 1
