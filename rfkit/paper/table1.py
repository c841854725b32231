"""Table 1: the architecture, the paper's beside the built networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from matplotlib.figure import Figure
from torch import no_grad, zeros

from rfkit.cost import multiply_adds, parameters
from rfkit.hooks import capture
from rfkit.models.registry import create_model
from rfkit.models.stages import Network
from rfkit.paper.context import Context
from rfkit.paper.published import published
from rfkit.plots.tables import Sheet, markdown, plot_table_figure
from rfkit.results.base import Table

__all__ = ["CAPTION", "INPUTS", "NAME", "compute", "draw", "table", "text"]

NAME = "table1"
CAPTION = (
    "Table 1. Architecture of DWRSeg-B and DWRSeg-L: the paper's table beside what the built networks "
    "say of themselves. R: output size over input size; C: output channels; B: branches; N: number of classes (19)."
)
INPUTS: tuple[str, ...] = ()
NOTES = (
    "Paper: Wei et al., DWRSeg, Table 1. Its FLOPs are multiply-adds, at 3×512×1024; FLOPs in the usual sense "
    "are twice that.",
    "Multiply-adds, first line: convolutions alone. Second line: with 2 per output element of a batch norm and 8 per "
    "output element of bilinear upsampling; these two numbers were fitted to the published counts, so that the "
    "agreement of the second line is consistency, not evidence.",
    "The stem's order and widths and the way a stage downsamples are inferred, not given in the paper.",
)
_MODELS = ("dwrseg_b", "dwrseg_l")
_IMAGE = (3, 64, 128)


def table(models: dict[str, Network]) -> Table:
    """The paper's rows beside those of `models` ("dwrseg_b" and "dwrseg_l").

    Columns: `row`, then with the prefix `paper_` and `built_` each `ratio`, `channels`, `branches`, `dwrseg_b` and
    `dwrseg_l` (repetitions; in the last rows multiply-adds and parameters), then `parameters_b` and `parameters_l` of
    the row in the built networks.
    """
    paper = published("table1")
    size = tuple(paper["input_size"])
    built = {name: _measure(model, [row["module"] for row in paper["rows"]]) for name, model in models.items()}
    rows = [_row(row, {name: measured[row["module"]] for name, measured in built.items()}) for row in paper["rows"]]
    for label, count in (("Multiply-adds, convolutions", "convolutions"), ("with norm and upsampling", "published")):
        numbers = {name: f"{multiply_adds(model, size, count=count) / 1e9:.3f} G" for name, model in models.items()}
        rows.append(_total(label, paper["flops"], numbers))
    numbers = {name: f"{parameters(model) / 1e6:.3f} M" for name, model in models.items()}
    total = _total("Parameters", paper["params"], numbers)
    for name, model in models.items():
        total[f"parameters_{name[-1]}"] = parameters(model)
    rows.append(total)
    return Table(NAME, {key: tuple(row[key] for row in rows) for key in rows[0]}, CAPTION, NOTES)


def compute(context: Context) -> Table:
    """The table of the built DWRSeg-B and DWRSeg-L at 19 classes."""
    return table({name: create_model(name, seed=context.seed).eval() for name in _MODELS})


def draw(result: Table) -> Figure:
    """The table as a figure."""
    return plot_table_figure(_sheet(result))


def text(result: Table) -> str:
    """The table in Markdown."""
    return markdown(_sheet(result))


@dataclass(frozen=True)
class _Built:
    """What one submodule is found to do: output size over input size, channels, branches, repetitions, parameters."""

    ratio: str
    channels: str
    branches: int | None = None
    repetitions: int | None = None
    parameters: int | None = None


def _row(row: dict[str, Any], built: dict[str, _Built]) -> dict[str, Any]:
    shapes = {(found.ratio, found.channels, found.branches) for found in built.values()}
    if len(shapes) > 1:
        raise ValueError(f"{row['module']}: the networks differ in (ratio, channels, branches): {sorted(shapes)}.")
    ratio, channels, branches = next(iter(shapes))
    return {
        "row": row["stage"],
        "paper_ratio": row["ratio"],
        "paper_channels": row["channels"],
        "paper_branches": row.get("branches"),
        **{f"paper_{name}": _string(row.get(name)) for name in _MODELS},
        "built_ratio": ratio,
        "built_channels": channels,
        "built_branches": branches,
        **{f"built_{name}": _string(built[name].repetitions) for name in _MODELS},
        **{f"parameters_{name[-1]}": built[name].parameters for name in _MODELS},
    }


def _measure(model: Network, modules: Sequence[str]) -> dict[str, _Built]:
    """What each submodule does, from one real forward pass; "" is the image."""
    found = {"": _Built("1", str(_IMAGE[0]))}
    named = [module for module in modules if module]
    with capture(model, named) as outputs, no_grad():
        model(zeros(1, *_IMAGE))
    stages = {stage.name: stage for stage in model.stages if stage.name != "stem"}
    for module in named:
        shape = outputs[module].shape
        stage = stages.get(module)
        found[module] = _Built(
            str(Fraction(shape[-1], _IMAGE[-1])),
            "N" if shape[1] == model.num_classes else str(shape[1]),
            len(stage.dilations) if stage else None,
            len(stage.blocks) if stage else None,
            parameters(model.get_submodule(module)),
        )
    return found


def _total(label: str, paper: dict[str, str], built: dict[str, str]) -> dict[str, Any]:
    empty = dict.fromkeys(["ratio", "channels", "branches"])
    return {
        "row": label,
        **{f"paper_{key}": value for key, value in empty.items()},
        **{f"paper_{name}": paper[name] for name in _MODELS},
        **{f"built_{key}": value for key, value in empty.items()},
        **{f"built_{name}": built[name] for name in _MODELS},
        **{f"parameters_{name[-1]}": None for name in _MODELS},
    }


def _string(value: int | None) -> str | None:
    return None if value is None else str(value)


def _sheet(result: Table) -> Sheet:
    columns = result.columns
    keys = list(columns)[1:]
    rows = []
    for index, name in enumerate(columns["row"]):
        cells = [columns[key][index] for key in keys]
        rows.append((name, *("" if cell is None else f"{cell:,}".replace(",", " ") if isinstance(cell, int) else cell
                             for cell in cells)))  # fmt: skip
    return Sheet(
        header=("", "R", "C", "B", "DWRSeg-B", "DWRSeg-L", "R", "C", "B", "DWRSeg-B", "DWRSeg-L", "B", "L"),
        rows=tuple(rows),
        spans=(("paper", 1, 5), ("as built", 6, 10), ("parameters as built", 11, 12)),
        rules=(len(rows) - 3,),
        align="l" + "ccccc" + "ccccc" + "rr",
        caption=result.caption,
        notes=result.notes,
    )
