"""Ablations trained for less than the paper's schedule, each schedule by itself, apart from the paper's numbers."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev
from typing import Any

from matplotlib.figure import Figure

from rfkit.models.ablations import ABLATIONS
from rfkit.paper.ablation_runs import AblationRun, ablation_runs
from rfkit.paper.ablations import ablation_rows
from rfkit.paper.context import Context, MissingInput
from rfkit.plots.tables import DASH, Sheet, markdown, plot_table_figure
from rfkit.results.base import Table

__all__ = ["CAPTION", "INPUTS", "NAME", "compute", "draw", "text"]

NAME = "table2_short"
INPUTS = ("weights:*",)
CAPTION = (
    "The ablations of Table 2 after schedules other than the paper's, trained by this project. Blocks: in stages 2, 3 "
    "and 4. MACs: multiply-adds of convolutions at 3×512×1024. mIoU: mean ± standard deviation over seeds (number of "
    "runs). Δ: difference of the means to the baseline of the same schedule, in points. Epochs: trained, and those at "
    "which the learning rate reaches zero."
)
_NOTES = (
    "These rows measure the short schedule, not the architecture: an order found after few epochs need not last, and "
    "a difference that is not well above the spreads over seeds says nothing. They are not to be compared with the "
    "paper's.",
)
_SCHEDULE = ("data", "split", "evaluated", "height", "width", "recipe", "horizon_epochs", "epochs")


def compute(context: Context) -> Table:
    """One row an ablation and schedule, the schedules one after the other.

    Columns: `experiment`, `factor`, `setting`, `ablation`, `blocks`, `macs`, `miou` (percent, mean over seeds), `std`
    (sample standard deviation, None for one run), `runs`, `difference` (points to the baseline of the same schedule;
    None without one), `data`, `title` (data and size), `split`, `evaluated`, `height`, `width`, `recipe`, `epochs`,
    `horizon_epochs`.

    Raises:
        MissingInput: there is no such run.
    """
    groups: dict[tuple[Any, ...], dict[str, list[AblationRun]]] = {}
    for run in ablation_runs(context):
        if not run.is_full:
            groups.setdefault(run.schedule, {}).setdefault(run.ablation, []).append(run)
    # A baseline alone is no ablation; its score stands elsewhere.
    groups = {schedule: group for schedule, group in groups.items() if set(group) != {"baseline"}}
    if not groups:
        raise MissingInput("there is no ablation trained for less than the paper's schedule.")
    rows = [row for group in sorted(groups.values(), key=_order) for row in _rows(group)]
    return Table(NAME, {key: tuple(row[key] for row in rows) for key in rows[0]}, CAPTION, _NOTES)


def draw(result: Table) -> Figure:
    """The table as a figure."""
    return plot_table_figure(_sheet(result))


def text(result: Table) -> str:
    """The table in Markdown."""
    return markdown(_sheet(result))


def _order(group: dict[str, list[AblationRun]]) -> tuple[Any, ...]:
    """Larger frames and longer schedules first."""
    run = next(iter(group.values()))[0]
    return run.data, -run.height * run.width, -run.horizon_epochs, -run.epochs, run.schedule


def _rows(group: dict[str, list[AblationRun]]) -> list[dict[str, Any]]:
    """The rows of one schedule, in the order of Table 2."""
    means = {name: mean(100 * run.miou for run in runs) for name, runs in group.items()}
    rows = []
    for name in sorted(group, key=list(ABLATIONS).index):
        runs, row = group[name], ablation_rows()[name]
        compared = name != "baseline" and "baseline" in means
        rows.append({
            "experiment": row.experiment, "factor": row.factor, "setting": row.setting, "ablation": name,
            "blocks": runs[0].blocks, "macs": runs[0].macs, "miou": means[name],
            "std": stdev(100 * run.miou for run in runs) if len(runs) > 1 else None, "runs": len(runs),
            "difference": means[name] - means["baseline"] if compared else None,
            "title": runs[0].title, **{key: getattr(runs[0], key) for key in _SCHEDULE},
        })  # fmt: skip
    return rows


def _sheet(result: Table) -> Sheet:
    rows: list[tuple[str, ...]] = []
    rules: list[int] = []
    shown: Sequence[Any] = ()
    experiment = None
    for cells in zip(*result.columns.values(), strict=True):
        row = dict(zip(result.columns, cells, strict=True))
        schedule = [row[key] for key in _SCHEDULE]
        new = schedule != shown
        if rows and new:
            rules.append(len(rows))
        names = (row["experiment"], row["factor"]) if new or row["experiment"] != experiment else ("", "")
        shown, experiment = schedule, row["experiment"]
        spread = "" if row["std"] is None else f" ± {row['std']:.1f}"
        difference = DASH if row["difference"] is None else f"{row['difference']:+.1f}".replace("-", "−")
        rows.append((
            *names, row["setting"], row["blocks"].replace(" ", ", "), f"{row['macs'] / 1e9:.2f}",
            f"{row['miou']:.1f}{spread} ({row['runs']})", difference,
            row["title"], f"{row['epochs']:g} of {row['horizon_epochs']}",
            *((f"{row['split']} → {row['evaluated']}", row["recipe"]) if new else ("", "")),
        ))  # fmt: skip
    return Sheet(
        header=(
            "Expt.",
            "Factor",
            "Setting",
            "Blocks",
            "MACs (G)",
            "mIoU (%)",
            "Δ",
            "Data, size",
            "Epochs",
            "Splits",
            "Recipe",
        ),
        rows=tuple(rows),
        rules=tuple(rules),
        align="lllcrrrlrll",
        caption=result.caption,
        notes=result.notes,
    )
