"""Adds the finished runs of a sweep to the table of trained ablations that ships.

    python -m rfkit.paper.measured sweeps/table2/results.csv

A row is refused, and said to be, if it is not finished or is no row of Table 2 with matched block counts.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rfkit._checks import data_error
from rfkit.models.ablations import ABLATIONS, find_ablation
from rfkit.models.weights import Card, read_card
from rfkit.paper.ablation_runs import AblationRun, read_runs, recipe_text, write_runs
from rfkit.paper.ablations import ablation_cost
from rfkit.paper.measured import ABLATION_RUNS

__all__ = ["add_results", "main"]

_COLUMNS = ("label", "model", "model_options", "overrides", "seed", "status", "miou", "epochs", "horizon_epochs",
            "steps", "height", "width", "data", "split", "evaluated", "recipe", "folder")  # fmt: skip


def add_results(
    results: str | Path, path: str | Path = ABLATION_RUNS, *, device: str | None = None
) -> tuple[list[AblationRun], dict[str, str]]:
    """The runs added to the table at `path`, and for each row that was refused the reason.

    A run that is in the table already takes its new values, so that the same results can be added again. What a run's
    recipe was is read from the card in its run folder; where that is not at hand, from what varied in the sweep.

    Args:
        results: the table of a sweep, one row a run.
        path: a table of `AblationRun`.
        device: what the runs were trained on, where their run folders are not at hand; else their cards say so.

    Returns:
        The runs, and "label, seed" -> reason.

    Raises:
        rfkit._checks.DataError: `results` lacks a column, or the table at `path` is damaged; nothing is written.
    """
    results, path = Path(results), Path(path)
    with results.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise data_error(results, f"lacks the columns {', '.join(missing)}; it is no table of a sweep.")
        rows = list(reader)
    known = {(run.ablation, run.seed, run.schedule): run for run in read_runs(path)}
    added, refused = [], {}
    for row in rows:
        try:
            run = _run(row, results.parent, device)
        except ValueError as error:
            refused[f"{row['label']}, seed {row['seed']}"] = str(error)
        else:
            known[run.ablation, run.seed, run.schedule] = run
            added.append(run)
    if added:
        write_runs(path, known.values())
    return added, refused


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if every row was added, 1 if a row was refused."""
    parser = argparse.ArgumentParser(prog="python -m rfkit.paper.measured", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("results", metavar="RESULTS.csv", type=Path, help="table of a sweep, one row a run")
    parser.add_argument("--device", help="what the runs were trained on, where their run folders are not at hand")
    options = parser.parse_args(arguments)
    added, refused = add_results(options.results, ABLATION_RUNS, device=options.device)
    print(f"{len(added)} runs are in {ABLATION_RUNS}.")
    for name, reason in refused.items():
        print(f"refused: {name}: {reason}")
    return 1 if refused else 0


def _run(row: Mapping[str, str], folder: Path, device: str | None) -> AblationRun:
    """The run that a row tells of; `ValueError` says why it is refused."""
    label = row["label"]
    if row["status"] != "finished":
        raise ValueError(f"status={row['status']!r} is not 'finished'.")
    if label not in ABLATIONS:
        raise ValueError(f"label={label!r} is not in ABLATIONS.")
    options = json.loads(row["model_options"] or "{}")
    if row["model"] != "dwrseg_l" or find_ablation(options) != label:
        raise ValueError(f"{row['model']} with {options} is not the network of {label} with matched block counts.")
    card = _card(row["folder"], folder)
    if device is None and card is None:
        raise ValueError(f"folder={row['folder']!r} holds no weights; name the device with --device.")
    miou = float(row["miou"] or "nan")
    if not 0 <= miou <= 1:
        raise ValueError(f"miou={row['miou']!r} must be a number from 0 to 1.")
    fields: Mapping[str, Any] = card.recipe if card else json.loads(row["overrides"] or "{}")
    cost = ablation_cost(label)
    # A column with an empty cell elsewhere holds its whole numbers as 360.0.
    whole = {name: int(float(row[name])) for name in ("seed", "height", "width", "horizon_epochs", "steps")}
    return AblationRun(
        ablation=label, blocks=" ".join(map(str, cost.blocks)), macs=cost.macs, data=row["data"], split=row["split"],
        evaluated=row["evaluated"], recipe=recipe_text(row["recipe"], fields), epochs=float(row["epochs"]), miou=miou,
        device=device or (card.device if card else ""), **whole,
    )  # fmt: skip


def _card(name: str, folder: Path) -> Card | None:
    """The card of a run whose folder is written as it is, or as seen from the folder of the results."""
    for path in (Path(name), folder / name):
        if name and (path / "weights.safetensors").is_file():
            return read_card(path / "weights.safetensors")
    return None


if __name__ == "__main__":
    raise SystemExit(main())
