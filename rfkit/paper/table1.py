"""Table 1: the architecture, the paper's beside the built networks."""

from __future__ import annotations

from fractions import Fraction

from matplotlib.figure import Figure
from torch import nn, zeros

from rfkit.cost import multiply_adds, parameters
from rfkit.hooks import capture
from rfkit.models.registry import create_model
from rfkit.paper.context import Context
from rfkit.paper.published import published
from rfkit.plots.tables import Sheet, markdown, plot_table_figure
from rfkit.results import Table

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
_IMAGE = (3, 256, 512)


def table(models: dict[str, nn.Module]) -> Table:
    """The paper's rows beside those of `models` ("dwrseg_b" and "dwrseg_l").

    Columns: `row`, then with the prefix `paper_` and `built_` each `ratio`, `channels`, `branches`, `dwrseg_b` and
    `dwrseg_l` (repetitions; in the last rows multiply-adds and parameters), then `parameters_b` and `parameters_l` of
    the row in the built networks.
    """
    paper = published("table1")
    size = tuple(paper["input_size"])
    rows = [_row(row, models) for row in paper["rows"]]
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


def _row(row: dict, models: dict[str, nn.Module]) -> dict:
    module = row["module"]
    built = {name: _measure(model, module) for name, model in models.items()}
    shapes = {values[:3] for values in built.values()}
    if len(shapes) > 1:
        raise ValueError(f"{module}: DWRSeg-B and DWRSeg-L differ in (ratio, channels, branches): {sorted(shapes)}.")
    ratio, channels, branches = next(iter(shapes))
    result = {"row": row["stage"], "paper_ratio": row["ratio"], "paper_channels": row["channels"]}
    result["paper_branches"] = row.get("branches")
    result |= {f"paper_{name}": _text(row.get(name)) for name in _MODELS}
    result |= {"built_ratio": ratio, "built_channels": channels, "built_branches": branches}
    result |= {f"built_{name}": _text(built[name][3]) for name in _MODELS}
    return result | {f"parameters_{name[-1]}": built[name][4] for name in _MODELS}


def _measure(model: nn.Module, module: str) -> tuple[str, str, int | None, int | None, int | None]:
    """Ratio, channels, branches, repetitions and parameters of a submodule, from a real forward pass."""
    if not module:
        return "1", str(_IMAGE[0]), None, None, None
    with capture(model, module) as outputs:
        model(zeros(1, *_IMAGE))
    shape = outputs[module].shape
    channels = "N" if shape[1] == model.num_classes else str(shape[1])
    stage = next((stage for stage in model.stages if stage.name == module and module != "stem"), None)
    branches = len(stage.dilations) if stage else None
    count = sum(parameter.numel() for parameter in model.get_submodule(module).parameters())
    return str(Fraction(shape[-1], _IMAGE[-1])), channels, branches, len(stage.blocks) if stage else None, count


def _total(label: str, paper: dict[str, str], built: dict[str, str]) -> dict:
    empty = dict.fromkeys(["ratio", "channels", "branches"])
    return {
        "row": label,
        **{f"paper_{key}": value for key, value in empty.items()},
        **{f"paper_{name}": paper[name] for name in _MODELS},
        **{f"built_{key}": value for key, value in empty.items()},
        **{f"built_{name}": built[name] for name in _MODELS},
        **{f"parameters_{name[-1]}": None for name in _MODELS},
    }


def _text(value: int | None) -> str | None:
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
        align="l" + "ccc" + "rr" + "ccc" + "rr" + "rr",
        caption=result.caption,
        notes=result.notes,
    )
