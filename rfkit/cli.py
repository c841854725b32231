"""The command `rfkit`. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rfkit
from rfkit.cli_advise import add_advise
from rfkit.cli_arguments import (
    DATA_NAMES,
    SPLITS,
    command,
    data_arguments,
    device_arguments,
    device_of,
    model_arguments,
    model_of,
    pairs,
    positive,
)
from rfkit.cli_calibrate import add_calibrate
from rfkit.cli_completion import add_completion
from rfkit.cli_data import add_data
from rfkit.cli_fields import add_erf, add_rf
from rfkit.cli_rates import add_rates
from rfkit.cli_removal import add_removal
from rfkit.cli_speed import add_benchmark, add_export
from rfkit.cli_sweep import add_sweep

if TYPE_CHECKING:
    from rfkit.models.weights import Card
    from rfkit.results.branches import BranchWeights

__all__ = ["main"]


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
    arguments = _parser().parse_args(argv)
    try:
        _check_device(getattr(arguments, "device", None))
        return arguments.run(arguments) or 0
    except KeyboardInterrupt as error:
        print(f"rfkit: interrupted. {error}".rstrip(". ") + ".", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # `rfkit models | head -1`: the reader has seen enough. Closing stderr keeps the interpreter's last flush quiet.
        sys.stderr.close()
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
    if arguments.debug:
        raise error
    message = " ".join(str(error).split()) or type(error).__name__
    print(f"rfkit: error: {message}", file=sys.stderr)
    return code


# ---- what can be asked ----------------------------------------------------------------------------------------------


_EPILOG = """\
`rfkit COMMAND --help` shows the options of a command, with examples.

exit codes:
  0    done
  1    data has problems, a figure or run failed, a loss diverged, no memory
  2    wrong arguments or files: one line says which; `rfkit COMMAND --debug`
       shows where it comes from
  130  interrupted; the same command goes on with training, sweeps, preparing

Results go to stdout, progress and errors to stderr."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rfkit",
        description="Which receptive fields does each stage of a network need, and which does it really use?",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"rfkit {rfkit.__version__}")
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
    parser.add_argument("--model", required=True, metavar="NAME", help="a name that `rfkit models` lists")
    parser.add_argument("--recipe", default="camvid-paper-half", metavar="NAME", help="default: %(default)s")
    parser.add_argument("--epochs", type=int, metavar="N", help="instead of the recipe's; the learning rate ends there")
    parser.add_argument("--stop-after", type=int, metavar="N", help="stop when N epochs are done; continue later")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="run folder; default: runs/MODEL-DATA-RECIPE-seedN")
    parser.add_argument("--split", default="trainval", choices=SPLITS, help="trained on; default: %(default)s")
    parser.add_argument("--test-split", choices=SPLITS, help="scored at the end; default: no scores")
    parser.add_argument("--evaluate-every", type=int, default=0, metavar="N", help="also score after every N epochs")
    pairs(parser, "--set", "overrides", "replace a number of the recipe, in TOML: batch_size=8, crop_size=[180,240]")
    pairs(parser, "--option", "options", "an option of the network, in TOML: depthwise=true, stem=narrow")
    device_arguments(parser)
    parser.add_argument("--workers", type=int, metavar="N", help="processes that read; default: as many as are needed")
    parser.add_argument("--compile", metavar="MODE", help="compile the network: default, reduce-overhead, max-autotune")
    parser.add_argument("--no-resume", action="store_true", help="a folder that holds a run already is an error")


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
    parser.add_argument("--split", default="test", choices=SPLITS, help="default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=4, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--size", type=positive, nargs=2, metavar=("HEIGHT", "WIDTH"), help="what the network sees; default: its own"
    )
    parser.add_argument("--out", type=Path, metavar="FILE.csv", help="write the table as CSV as well")
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
    parser.add_argument("source", type=Path, nargs="?", help="an image, or a folder of images; or give --data")
    parser.add_argument("--data", metavar="NAME", choices=DATA_NAMES, help=", ".join(DATA_NAMES))
    parser.add_argument("--root", type=Path, metavar="PATH", help="folder of the data set")
    parser.add_argument("--split", default="test", choices=SPLITS, help="of the data set; default: %(default)s")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="for labels/ and overlays/")
    parser.add_argument(
        "--size", type=positive, nargs=2, metavar=("HEIGHT", "WIDTH"), help="what the network sees; default: its own"
    )
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
    parser.add_argument("--measure", default="weight", choices=("weight", "gain"), help="default: %(default)s")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the table (.csv) or the figure (.png, .pdf, .svg)")


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
    parser.add_argument("names", nargs="*", help="default: all")
    parser.add_argument("--list", action="store_true", help="list the names and stop")
    parser.add_argument("--html", action="store_true", help="write the page index.html of what is there, and stop")
    parser.add_argument("--weights", type=Path, metavar="PATH", help="a weights file, a run folder, a folder of either")
    parser.add_argument("--data", choices=DATA_NAMES, help="show images of this data set; default: procedural scenes")
    parser.add_argument("--root", type=Path, metavar="FOLDER", help="where that data set is")
    parser.add_argument("--out", type=Path, default=Path("figures"), metavar="FOLDER", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    parser.add_argument("--force", action="store_true", help="rebuild what is up to date")


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
    trained = f"{card.data} {card.split}, {card.epochs:g} of {card.horizon_epochs} epochs"
    miou, size = card.scores.get("miou"), card.scores.get("size")
    if miou is None:
        return f"{trained}, not scored"
    at = f" at {size[1]}x{size[0]}" if size else ""
    return f"{trained}, mIoU {100 * miou:.1f} on {card.scores.get('split', 'unknown split')}{at}"


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
    from rfkit._checks import check_choice
    from rfkit._files import replacing
    from rfkit.analysis.branches import branch_weights
    from rfkit.api import plot_branch_weights

    if arguments.out is not None:
        check_choice("--out", arguments.out.suffix, (".csv", ".png", ".pdf", ".svg"))
    model = model_of(arguments)
    weights = branch_weights(model, measure=arguments.measure)
    print("\n".join(_branch_table(weights, model.card)))
    if arguments.out is None:
        return
    with replacing(arguments.out) as temporary:
        if arguments.out.suffix == ".csv":
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
