"""The commands `rfkit rf` and `rfkit erf`: the receptive fields of a network in somebody's own file, or of ours."""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rfkit.cli_arguments import (
    DATA_NAMES,
    DATA_WORDS,
    SPLITS,
    count,
    device_arguments,
    device_of,
    file_to_write,
    pairs,
    place,
    positive,
    root_argument,
)
from rfkit.cli_parser import command
from rfkit.cli_tables import FORMATS, changed, effective_lines, field_lines, printed

if TYPE_CHECKING:
    import pandas as pd

    from rfkit.analysis.theoretical import Graph
    from rfkit.analysis.tracing.field_map import FieldMap

__all__ = ["add_erf", "add_rf"]

_FIGURES = (".png", ".pdf", ".svg")
_TABLES = {".csv": "csv", ".json": "json", ".md": "md"}


# ---- what can be asked ----------------------------------------------------------------------------------------------


def add_rf(commands: Any) -> None:
    """Add the command `rfkit rf`."""
    parser = command(
        commands,
        "rf",
        _rf,
        "print the theoretical receptive field of every layer of a network",
        "rf my_net.py:make --input 3,512,1024",
        "rf my_net.py:UNet --option width=32 --input 256,256 --changes --out growth.png",
        "rf my_package.nets:make --input 512,1024 --format csv --out fields.csv",
        "rf --model regseg --input 3,1024,2048 --layer stage4 --unit 8,16",
    )
    _network_arguments(parser)
    parser.add_argument(
        "--layer", action="append", metavar="NAME",
        help="layer to print, by name or pattern: stage4, encoder.*; may be repeated; default: all",
    )  # fmt: skip
    parser.add_argument(
        "--changes", action="store_true", help="leave out lines with the field and stride of the line before"
    )
    parser.add_argument(
        "--unit", type=_unit, metavar="I,J",
        help="unit (row, column, from 0) whose box in the image is printed too; default: none",
    )  # fmt: skip
    parser.add_argument(
        "--global-paths", default="ignore", choices=("ignore", "include", "raise"),
        help="whether pooling to one unit, attention and the like are left out of fields, make them as large as the "
        "image, or are an error; default: %(default)s",
    )  # fmt: skip
    _output_arguments(parser, "the table (.csv, .json, .md), or growth along depth as a figure (.png, .pdf, .svg)")


def add_erf(commands: Any) -> None:
    """Add the command `rfkit erf`."""
    parser = command(
        commands,
        "erf",
        _erf,
        "measure the effective receptive field of layers of a network",
        "erf my_net.py:make --input 3,256,256 --count 8",
        "erf my_net.py:make --input 256,256 --layer encoder.* --layer output --out erf.png",
        "erf --model dwrseg_l --weights camvid --input 360,480 --data camvid --root ~/CamVid --layer stage4",
    )
    _network_arguments(parser)
    parser.add_argument(
        "--weights", metavar="FILE_OR_NAME",
        help="with --model: a .safetensors file, or a data set whose weights ship, as camvid; default: untrained",
    )  # fmt: skip
    parser.add_argument(
        "--layer", action="append", metavar="NAME",
        help="layer to measure, by name or pattern: stage4, encoder.*; may be repeated; default: output",
    )  # fmt: skip
    parser.add_argument(
        "--unit", type=_unit_or_centre, default="centre", metavar="I,J",
        help="unit (row, column, from 0) whose field is measured; default: centre",
    )  # fmt: skip
    parser.add_argument(
        "--reduce", default="abs", choices=("abs", "relu", "square", "signed"),
        help="what is averaged of each gradient: its size, its positive part, its square, itself; default: %(default)s",
    )  # fmt: skip
    data = parser.add_argument_group("data")
    data.add_argument("--images", type=place, metavar="FOLDER", help="folder of images to average over")
    data.add_argument(
        "--data", choices=DATA_NAMES, metavar="NAME",
        help=f"data set to average over: {DATA_WORDS}; default, without --images: noise",
    )  # fmt: skip
    root_argument(data)
    data.add_argument("--split", default="val", choices=SPLITS, help="split of the data set; default: %(default)s")
    data.add_argument(
        "--count", type=positive, metavar="N", help="average over the first N images; default: all, of noise 4"
    )
    device_arguments(parser)
    _output_arguments(parser, "the measures (.csv, .json, .md), or maps as a figure (.png, .pdf, .svg)")


def _network_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "network", nargs="?", metavar="MODULE:FACTORY",
        help="a file or module, and the function, class or network in it: my_net.py:make",
    )  # fmt: skip
    parser.add_argument("--model", metavar="NAME", help="instead: a network that `rfkit models` lists")
    parser.add_argument(
        "--input", required=True, type=_input, metavar="C,H,W",
        help="size of the input: channels, height and width, or height and width (3 channels), in pixels",
    )  # fmt: skip
    pairs(parser, "--option", "options", "argument of the factory, in TOML: width=32, stem=narrow")
    parser.add_argument(
        "--seed", type=count, default=0, metavar="N", help="seed of random weights and images; default: %(default)s"
    )


def _output_arguments(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument(
        "--format", default="table", choices=FORMATS, help="form of what is printed; default: %(default)s"
    )
    parser.add_argument(
        "--out", type=file_to_write(*_TABLES, *_FIGURES), metavar="FILE", help=f"file for {text}; default: only printed"
    )


def _input(text: str) -> tuple[int, int, int]:
    numbers = _numbers(text)
    if len(numbers) not in (2, 3) or min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form C,H,W or H,W, all above 0")
    channels, height, width = numbers if len(numbers) == 3 else (3, *numbers)
    return channels, height, width


def _unit(text: str) -> tuple[int, int]:
    numbers = _numbers(text)
    if len(numbers) != 2 or min(numbers) < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form I,J (row, column, both at least 0)")
    return numbers[0], numbers[1]


def _unit_or_centre(text: str) -> str | tuple[int, int]:
    return "centre" if text in ("centre", "center") else _unit(text)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.replace("x", ",").split(","))
    except ValueError:
        return ()


# ---- what is done ---------------------------------------------------------------------------------------------------


def _network(arguments: argparse.Namespace) -> Any:
    """The network that is asked for; what its file prints goes to stderr, so that stdout holds the table alone."""
    if (arguments.network is None) == (arguments.model is None):
        raise ValueError("give either MODULE:FACTORY or --model NAME.")
    options = dict(arguments.options)
    weights = getattr(arguments, "weights", None)
    if arguments.model is not None:
        from rfkit.models.registry import create_model

        return create_model(arguments.model, weights=weights, seed=arguments.seed, **options).eval()
    if weights is not None:
        raise ValueError("--weights belongs to --model; the factory of your own network loads its own weights.")
    from rfkit.loading import load_network

    with contextlib.redirect_stdout(sys.stderr):
        return load_network(arguments.network, options, seed=arguments.seed)


def _rf(arguments: argparse.Namespace) -> None:
    from rfkit.analysis.theoretical import TraceError, trace

    model = _network(arguments)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            graph = trace(model, arguments.input, global_paths=arguments.global_paths)
    except TraceError as error:
        # The layers before the failing one are what a reader needs to find the mistake.
        _print_fields(error.graph.table(), arguments)
        message = str(error).replace("The error's graph has the table up to there.", "Printed is what ran before.")
        raise ValueError(message) from error
    layers = _layers(graph, arguments.layer) if arguments.layer else []
    table = graph.table()
    if layers:
        inside = tuple(f"{layer}." for layer in layers)
        table = table[[name in layers or name.startswith(inside) for name in table["layer"]]]
    table = changed(table) if arguments.changes else table
    _print_fields(table, arguments)
    # Beside CSV and JSON, what is said goes to stderr.
    notes = sys.stderr if arguments.format in ("csv", "json") else sys.stdout
    print(file=notes)
    for layer in layers or [""]:
        for line in _summary(graph[layer], arguments.unit):
            print(line, file=notes)

    def draw() -> Any:
        from rfkit.api_fields import growth_figure

        return growth_figure(table, image_size=graph.image_size)

    _write(arguments, table, draw)


def _print_fields(table: pd.DataFrame, arguments: argparse.Namespace) -> None:
    print(printed(table, field_lines(table), arguments.format))


def _layers(graph: Graph, wanted: Sequence[str]) -> list[str]:
    """The layers that names and patterns mean; "output" is the network's own."""
    from rfkit._checks import unknown_name

    found: list[str] = []
    for name in wanted:
        matching = fnmatch.filter(graph.layers, name)
        if not matching:
            raise unknown_name("--layer", name, graph.layers)
        found += matching
    return [name for name in graph.layers if name in found]


def _summary(fields: FieldMap, unit: tuple[int, int] | None) -> list[str]:
    """What to know of a layer: size, stride, coverage, whether it sees the whole image, how tiles must overlap."""
    if fields.status == "unknown":
        return [f"{fields.name}: unknown, because of {fields.reason}"]
    axes = [fields.measures(axis) for axis in (0, 1)]
    line = field_lines(_as_table(fields, axes))[0]
    parts = [f"field {line['field (px)']} px", f"stride {line['stride']}"]
    parts += [f"coverage {line['coverage']}"] if fields.is_local else []
    covers = all(axis["covers_input"] for axis in axes)
    parts.append("at least as large as the image" if covers else "smaller than the image")
    if fields.is_global:
        parts.append("global paths reach every pixel" + (", which the field leaves out" if fields.is_local else ""))
    if fields.status == "bound":
        parts.append(f"at most: {fields.reason}")
    lines = [f"{fields.name}, {line['map']} units: " + "; ".join(parts)]
    try:
        tiles = fields.tile_overlap()
    except ValueError as error:
        lines.append(f"  tiles: {error}")
    else:
        lines.append(
            f"  tiles: overlap {tiles.rows} x {tiles.columns} px, begin at multiples of "
            f"{tiles.alignment[0]} x {tiles.alignment[1]} px"
        )
    if unit is not None:
        try:
            box = fields[unit]
        except IndexError as error:
            raise ValueError(f"--unit: {error}") from error
        beyond = f"; without borders {box.unclipped}" if box.unclipped and str(box.unclipped) != str(box) else ""
        lines.append(f"  unit {unit[0]},{unit[1]}: {box}{beyond}")
    return lines


def _as_table(fields: FieldMap, axes: Sequence[dict[str, object]]) -> pd.DataFrame:
    import pandas as pd

    head = {"layer": fields.name, "call": 0, "operator": "", "is_global": fields.is_global, "status": fields.status}
    return pd.DataFrame([{**head, **axis, "reason": fields.reason} for axis in axes])


def _write(arguments: argparse.Namespace, table: pd.DataFrame, draw: Any, lines: Any = None) -> None:
    """Write --out: a table by its suffix, or the figure that `draw` makes."""
    if arguments.out is None:
        return
    from rfkit._files import replacing, write_text

    suffix = arguments.out.suffix.lower()
    if suffix in _TABLES:
        rows = field_lines(table) if lines is None and suffix == ".md" else lines or []
        write_text(arguments.out, printed(table, rows, _TABLES[suffix]) + "\n")
        return
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure = draw()
    with replacing(arguments.out) as temporary:
        figure.savefig(temporary, dpi=200)
    plt.close(figure)


def _erf(arguments: argparse.Namespace) -> None:
    import pandas as pd

    from rfkit.analysis.effective import effective_rf

    device = device_of(arguments)
    model = _network(arguments).to(device)
    images, said = _images(arguments)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            fields = effective_rf(
                model, images, layers=arguments.layer, unit=arguments.unit, reduce=arguments.reduce
            )  # fmt: skip
    except IndexError as error:
        raise ValueError(f"--unit: {error}") from error
    except RuntimeError as error:
        raise ValueError(f"the network fails: {error}") from error
    lines = effective_lines(fields)
    table = pd.concat([rf.measures() for rf in fields.values()], ignore_index=True)
    print(printed(table, lines, arguments.format))
    print(f"mean over {said}", file=sys.stderr if arguments.format in ("csv", "json") else sys.stdout)

    def draw() -> Any:
        from rfkit.plots.receptive_field import plot_effective_rfs

        return plot_effective_rfs(fields, title=f"mean over {said}")

    _write(arguments, table, draw, lines)


def _images(arguments: argparse.Namespace) -> tuple[Any, str]:
    """The images to average over, all of the size of --input, and what they are."""
    import torch

    channels, height, width = arguments.input
    if arguments.images is not None and arguments.data is not None:
        raise ValueError("give either --images or --data.")
    if arguments.images is None and arguments.data is None:
        count = arguments.count or 4
        generator = torch.Generator().manual_seed(arguments.seed)
        images = [torch.randn(channels, height, width, generator=generator) for _ in range(count)]
        return images, f"{_several(count)} of normal noise (seed {arguments.seed}), which are no photographs"
    if channels != 3:
        raise ValueError(f"--input {channels},{height},{width}: photographs have 3 channels.")
    if arguments.images is not None:
        return _photographs(arguments.images, (height, width), arguments.count)
    from rfkit.data.opening import open_data

    data = open_data(arguments.data, arguments.root, split=arguments.split, size=(height, width))
    count = min(len(data), arguments.count or len(data))
    return [data[index].image for index in range(count)], f"{_several(count)} of {arguments.data} {arguments.split}"


def _photographs(folder: Path, size: tuple[int, int], count: int | None) -> tuple[Any, str]:
    import torch

    from rfkit.data.decoding import read_image
    from rfkit.data.pairs import files_by_name
    from rfkit.data.transforms import resample

    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder.")
    files = list(files_by_name(folder).values())[:count]
    if not files:
        raise ValueError(f"{folder}: no image in this folder.")

    def read(path: Path) -> Any:
        image = resample(torch.from_numpy(read_image(path)).permute(2, 0, 1).float(), size)
        return image.round().clamp(0, 255).to(torch.uint8)

    return [read(path) for path in files], f"{_several(len(files))} of {folder}, resized to {size[0]} x {size[1]}"


def _several(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"
