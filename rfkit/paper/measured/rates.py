"""Writes the tables of learned dilation rates, and of probes trained beside them, that ship.

    python -m rfkit.paper.measured.rates runs/rates --probe 1 3 5 7 9

The folder is one that `rfkit rates` has written. A run is refused, and said to be, if it is not finished or its network
is none of the registry. What is written takes the place of what the tables held of the same network.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from torch import nn

from rfkit._checks import DataError, check_choice
from rfkit._files import write_text
from rfkit.analysis.branches import branch_weights
from rfkit.analysis.ratios import branch_magnitudes
from rfkit.models.competing import probe
from rfkit.models.registry import create_model, list_models
from rfkit.models.weights import Card, WeightsFile, apply_weights, read_card, read_weights
from rfkit.paper.measured import LEARNED_RATES, PROBE_WEIGHTS
from rfkit.results.learned_rates import LearnedRates
from rfkit.results.magnitudes import BranchMagnitudes
from rfkit.training.folder import WEIGHTS
from rfkit.training.rate_folders import FinishedRun, collect_rates, read_rate_run

__all__ = ["collect_folder", "main", "read_rates"]

# Of the recorded steps, one in so many ships.
_EVERY = 5
_DIGITS = 5


def collect_folder(folder: str | Path, *, dilations: Sequence[int]) -> tuple[list[LearnedRates], pd.DataFrame, dict]:
    """The learned rates of every network in `folder`, the probes' mean weights, and for each refused run the reason.

    Args:
        folder: holds run folders MODEL-start-START-seedN and MODEL-probe-seedN.
        dilations: the dilation rates that competed in the probes.

    Returns:
        A result a network; one row a probe, block, dilation rate and measure (columns of `BranchMagnitudes.to_frame`
        behind `model`, `data`, `height`, `width`, `epochs`, `seed`, `miou`); name of a run folder -> reason.
    """
    grouped: dict[str, list[FinishedRun]] = {}
    refused: dict[str, str] = {}
    frames = []
    for path in sorted(Path(folder).iterdir()):
        if not path.is_dir() or not ("-start-" in path.name or "-probe-" in path.name):
            continue
        try:
            card = _finished(path)
            if "-start-" in path.name:
                run = read_rate_run(path)
                grouped.setdefault(card.model, []).append(run)
            else:
                model = _trained_probe(read_weights(path / WEIGHTS), dilations)
                frames.append(_told(card, branch_magnitudes(branch_weights(model)).to_frame()))
        except (ValueError, FileNotFoundError) as error:
            refused[path.name] = str(error)
    rates = []
    for name, runs in grouped.items():
        card = runs[0].card
        network = create_model(name, num_classes=card.num_classes, **card.options)
        # The network's own rates first, then starts by size.
        runs.sort(key=lambda one: (one.run.start != "own", 0 if one.run.start == "own" else float(one.run.start)))
        rates.append(collect_rates(name, network, runs).thinned(_EVERY))
    return rates, pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(), refused


def read_rates(path: Path = LEARNED_RATES, probes: Path = PROBE_WEIGHTS) -> tuple[LearnedRates, ...]:
    """What ships: the learned rates of each network, with its probe; none if there is no table.

    Raises:
        rfkit._checks.DataError: a table is damaged.
    """
    if not path.is_file():
        return ()
    frame = pd.read_csv(path, dtype={"start": str})
    told = pd.read_csv(probes) if probes.is_file() else pd.DataFrame({"model": []})
    found = []
    try:
        for name, part in frame.groupby("model", sort=False):
            mine = told[told["model"] == name]
            probed = BranchMagnitudes.from_frame(mine) if len(mine) else None
            found.append(LearnedRates.from_frame(part, probe=probed))
    except (KeyError, ValueError) as error:
        raise DataError(f"{path}: {error}") from error
    return tuple(found)


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if every run was taken, 1 if one was refused."""
    parser = argparse.ArgumentParser(
        prog="python -m rfkit.paper.measured.rates", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="holds the run folders")
    parser.add_argument("--probe", type=int, nargs="+", default=(1, 3, 5, 7, 9), metavar="N", help="its dilation rates")
    options = parser.parse_args(arguments)
    rates, probes, refused = collect_folder(options.folder, dilations=options.probe)
    _write(LEARNED_RATES, pd.concat([one.to_frame() for one in rates]) if rates else pd.DataFrame())
    _write(PROBE_WEIGHTS, probes)
    print(f"{sum(len(one.runs) for one in rates)} runs of {len(rates)} networks are in {LEARNED_RATES}.")
    for name, reason in refused.items():
        print(f"refused: {name}: {reason}")
    return 1 if refused else 0


def _write(path: Path, frame: pd.DataFrame) -> None:
    """Put the rows of `frame` in the place of those of the same networks."""
    if not len(frame):
        return
    if path.is_file():
        former = pd.read_csv(path, dtype={"start": str})
        frame = pd.concat([former[~former["model"].isin(frame["model"])], frame])
    # Networks in one order, whatever was added last.
    frame = frame.sort_values("model", kind="stable").round(_DIGITS)
    write_text(path, frame.to_csv(index=False, lineterminator="\n"))


def _finished(folder: Path) -> Card:
    card = read_card(folder / WEIGHTS)
    check_choice("model", card.model, list_models())
    if card.epochs < card.horizon_epochs:
        raise ValueError(f"not finished: {card.epochs:g} of {card.horizon_epochs} epochs.")
    return card


def _told(card: Card, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with what their probe is."""
    height, width = card.size
    columns = {
        "model": card.model, "data": f"{card.data} {card.split}", "height": height, "width": width,
        "epochs": card.horizon_epochs, "seed": card.seed, "miou": card.scores.get("miou"),
    }  # fmt: skip
    for place, (name, value) in enumerate(columns.items()):
        frame.insert(place, name, value)
    return frame


def _trained_probe(weights: WeightsFile, dilations: Sequence[int]) -> nn.Module:
    """The probe whose weights these are: of the blocks that have as many branches as there are dilation rates."""
    card, last = weights.card, len(dilations) - 1
    base = create_model(card.model, num_classes=card.num_classes, **card.options)
    branch = "{}.semantic.branches.convs.{}.weight"
    stages = {
        stage.name: [
            block
            for block in stage.blocks
            if branch.format(block, last) in weights.tensors and branch.format(block, last + 1) not in weights.tensors
        ]
        for stage in base.stages
    }
    found = {name: blocks for name, blocks in stages.items() if blocks}
    if not found:
        raise ValueError(f"no block has {len(dilations)} branches, as a probe with rates {tuple(dilations)} has.")
    model = probe(base, dilations=dilations, stages=found)
    apply_weights(model, weights)
    return model.eval()


if __name__ == "__main__":
    raise SystemExit(main())
