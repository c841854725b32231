"""The commands `rfkit benchmark` and `rfkit export`."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
from typing import TYPE_CHECKING, Any

from rfkit.cli_arguments import (
    count,
    device_arguments,
    file_to_write,
    is_factory,
    model_arguments,
    model_of,
    number,
    pairs,
    positive,
    size_argument,
)
from rfkit.cli_parser import command
from rfkit.cli_tables import FORMATS, printed

if TYPE_CHECKING:
    from rfkit.results.speed import Speed, Speeds

__all__ = ["add_benchmark", "add_export"]


def add_benchmark(commands: Any) -> None:
    """Add the command `rfkit benchmark`."""
    parser = command(
        commands,
        "benchmark",
        _benchmark,
        "measure the speed of networks: one image, the network alone, in turns",
        "benchmark dwrseg_b dwrseg_l regseg --backend eager --backend onnxruntime --threads 1",
        "benchmark --size 720 960 --option num_classes=11 --compare-to dwrseg_b",
        "benchmark my_net.py:make dwrseg_b --device cuda --backend compiled --precision fp16 --out speeds.csv",
    )
    parser.add_argument(
        "networks", nargs="*", metavar="NAME",
        help="a network that `rfkit models` lists, or MODULE:FACTORY as of `rfkit rf`; default: every listed network",
    )  # fmt: skip
    size_argument(
        parser, "size of the image in pixels; may be repeated; default: 512 1024 and 768 1536", action="append"
    )
    pairs(parser, "--option", "options", "option of every network, in TOML: num_classes=11")
    parser.add_argument(
        "--backend", action="append", metavar="NAME", choices=("eager", "compiled", "onnxruntime"),
        help="what runs the network: eager, compiled or onnxruntime; may be repeated; default: eager",
    )  # fmt: skip
    parser.add_argument(
        "--precision", action="append", metavar="NAME", choices=("fp32", "bf16", "fp16"),
        help="numbers to compute with: fp32, bf16 or fp16; may be repeated; default: fp32",
    )  # fmt: skip
    device_arguments(parser)
    parser.add_argument(
        "--runs", type=positive, default=30, metavar="N", help="runs that are measured; default: %(default)s"
    )
    parser.add_argument(
        "--warmup", type=count, default=5, metavar="N", help="runs before them, not measured; default: %(default)s"
    )
    parser.add_argument(
        "--minutes", type=number, metavar="N", help="minutes to measure for each size at most; default: no limit"
    )
    parser.add_argument(
        "--compare-to", metavar="NAME", help="one of the networks: say how many times as fast the others are"
    )
    parser.add_argument(
        "--format", default="table", choices=FORMATS, help="form of what is printed; default: %(default)s"
    )
    parser.add_argument(
        "--out", type=file_to_write(".csv"), metavar="FILE.csv",
        help="file that gets the rows after each size, beside others it holds; default: only printed",
    )  # fmt: skip


def add_export(commands: Any) -> None:
    """Add the command `rfkit export`."""
    parser = command(
        commands,
        "export",
        _export,
        "write a network as an ONNX file that was compared with it",
        "export --model dwrseg_b --weights camvid --out dwrseg_b.onnx --size 360 480",
        "export --weights runs/try --out street.onnx --size 512 1024 --dynamic",
        "export my_net.py:make --option width=32 --out my_net.onnx --size 512 1024",
    )
    parser.add_argument("network", nargs="?", metavar="MODULE:FACTORY", help="a network of your own, as of `rfkit rf`")
    pairs(parser, "--option", "options", "argument of the factory, in TOML: width=32")
    model_arguments(parser, weights_required=False)
    size_argument(parser, "size of the image in pixels", required=True)
    parser.add_argument("--out", required=True, type=file_to_write(".onnx"), metavar="FILE.onnx", help="file to write")
    parser.add_argument("--dynamic", action="store_true", help="let the file take any batch, height and width")
    parser.add_argument("--no-fold", action="store_true", help="leave folding of the norms to ONNX Runtime")
    parser.add_argument(
        "--tolerance", type=number, default=1e-4, metavar="X",
        help="largest difference of outputs that is accepted, as a share of the largest output; default: %(default)g",
    )  # fmt: skip


def _benchmark(arguments: argparse.Namespace) -> None:
    from rfkit._checks import check_choice
    from rfkit.bench.benchmark import SIZES, benchmark
    from rfkit.results.speed import Speeds, read_speeds

    networks = _networks(arguments)
    other = None if arguments.compare_to is None else arguments.compare_to + _said(arguments)
    if other is not None:
        check_choice("--compare-to", other, networks)
    stored = read_speeds(arguments.out) if arguments.out is not None and arguments.out.exists() else Speeds(())
    found = Speeds(())
    for size in arguments.size or SIZES:
        measured = benchmark(
            networks,
            sizes=[size],
            backends=arguments.backend or ["eager"],
            precisions=arguments.precision or ["fp32"],
            device=arguments.device,
            threads=arguments.threads,
            runs=arguments.runs,
            warmup=arguments.warmup,
            minutes=arguments.minutes,
        )
        found, stored = found.with_rows(measured), stored.with_rows(measured)
        if arguments.out is not None:
            stored.write(arguments.out)
    lines = [_line(row, found, other) for row in found.rows]
    print(printed(found.to_frame(), lines, arguments.format))
    notes = sys.stderr if arguments.format in ("csv", "json") else sys.stdout
    for text in (*_measured_on(found), *(f"not measured: {note}" for note in found.notes)):
        print(text, file=notes)


def _networks(arguments: argparse.Namespace) -> dict[str, Any]:
    """The networks by the names that the table shows."""
    from rfkit.loading import load_network
    from rfkit.models.registry import create_model, list_models

    options, said = dict(arguments.options), _said(arguments)
    found: dict[str, Any] = {}
    for name in arguments.networks or list_models():
        if is_factory(name):
            with contextlib.redirect_stdout(sys.stderr):
                found[name + said] = load_network(name, options, seed=0)
        else:
            found[name + said] = create_model(name, seed=0, **options)
    return found


def _said(arguments: argparse.Namespace) -> str:
    """What is added to the names of networks with options: two networks are not to look like one."""
    said = ", ".join(f"{key}={value}" for key, value in arguments.options)
    return f" ({said})" if said else ""


def _line(row: Speed, speeds: Speeds, other: str | None) -> dict[str, str]:
    line = {
        "network": row.model,
        "size": f"{row.height} x {row.width}",
        "backend": row.backend,
        "precision": row.precision,
        "FPS": f"{row.fps:.3g}",
        "ms": f"{row.median_ms:.3g}",
        "10 % to 90 %": f"{row.low_ms:.3g} to {row.high_ms:.3g}",
        "kept": f"{row.kept} of {row.runs}",
        "beside eager": _ratio(speeds.ratio(row, backend="eager")),
        "G MACs": f"{row.macs / 1e9:.2f}",
        "M parameters": f"{row.parameters / 1e6:.2f}",
    }
    return line if other is None else {**line, f"beside {other}": _ratio(speeds.ratio(row, model=other))}


def _ratio(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def _measured_on(speeds: Speeds) -> list[str]:
    """What rows share, said once."""
    texts = (
        f"{row.device}, {row.threads} thread{'' if row.threads == 1 else 's'}, batch {row.batch}; {row.software}"
        for row in speeds.rows
    )
    return list(dict.fromkeys(texts))


def _export(arguments: argparse.Namespace) -> None:
    from rfkit.export.onnx_file import export_onnx
    from rfkit.loading import load_network

    if arguments.network is not None:
        if arguments.model is not None or arguments.weights is not None:
            raise ValueError("give either MODULE:FACTORY, or --model and --weights.")
        with contextlib.redirect_stdout(sys.stderr):
            model = load_network(arguments.network, dict(arguments.options), seed=0)
    elif arguments.options:
        raise ValueError("--option belongs to MODULE:FACTORY; a weights file knows the options of its network.")
    else:
        model = model_of(arguments)
    written = export_onnx(
        model,
        arguments.out,
        size=tuple(arguments.size),
        dynamic=arguments.dynamic,
        fold=not arguments.no_fold,
        tolerance=arguments.tolerance,
    )
    sizes = "any batch, height and width" if written.dynamic else "1 x 3 x {} x {}".format(*written.size)
    print(f"{written.path}: {written.bytes / 1e6:.1f} MB, opset {written.opset}, {sizes}")
    print(f"norms: {written.folded} folded into convolutions, {written.norms} left")
    print(
        f"in ONNX Runtime on a random image the outputs differ from the network's by at most {written.difference:.2g}, "
        f"{written.relative:.2g} of the largest; {100 * written.agreement:.4g} % of the pixels have the same class"
    )
