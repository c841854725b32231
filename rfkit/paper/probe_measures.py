"""What the branches of trained probes are worth by every measure: weights, contributions, and what is lost without."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from rfkit.paper import measured
from rfkit.paper.context import Context, MissingInput
from rfkit.plots.measures import plot_measures
from rfkit.results.base import Table
from rfkit.results.ranks import rank_correlation

__all__ = ["CAPTION", "INPUTS", "NAME", "compute", "draw", "network_words", "read_measures"]

NAME = "probe_measures"
CAPTION = (
    "Branches of the probe in each stage by four measures; the legend names the trainings (size that the network "
    "sees, epochs, seeds), all of them shorter than the paper's. Above: the mean of |w|, of |w| times |gamma| of the "
    "norm before, and of the contribution (standard deviation of the branch's part of the output on images), of d3 and "
    "d5 beside d1, the gray line. Below: the drop in mIoU when the branch of one rate is held at its mean in all "
    "blocks of a stage at once. Bars are 95 % bootstrap intervals, over channels above and over test images below; of "
    "several seeds, over seeds as well, and black points are the single seeds. Drops are of the trained network, which "
    "is not trained again, and do not add up. The note gives Spearman's rank correlation of each measure (mean of the "
    "branch, not beside d1) with the drop, over all pairs of a stage and a branch."
)
INPUTS: tuple[str, ...] = ()

_TRAINING = ["model", "data", "split", "epochs", "horizon_epochs", "height", "width"]


def compute(context: Context) -> Table:
    """The measures of whole stages that ship, without classes.

    Columns: `network` (the training in words), then those that `rfkit.paper.measured.probe` documents.

    Raises:
        MissingInput: none ship.
    """
    frame = read_measures()
    frame = frame[(frame["block"] == "") & (frame["class"] == "")]
    return Table.from_frame(NAME, frame.drop(columns=["block", "class"]), caption=CAPTION)


def draw(result: Table) -> Figure:
    """Two rows of panels, one column a stage."""
    frame = result.to_frame()
    groups = {
        network: sorted(dict.fromkeys(rows["seeds"]), key=lambda seeds: -len(str(seeds).split()))
        for network, rows in frame.groupby("network", sort=False)
    }
    return plot_measures(result, groups=groups, note=_note(frame, groups))


def read_measures() -> pd.DataFrame:
    """The table that ships, with the training of each row in words as `network`.

    Raises:
        MissingInput: there is none.
    """
    if not measured.PROBE_MEASURES.is_file():
        raise MissingInput(
            "no measures of probes ship with rfkit; `python -m rfkit.paper.measured.probe` writes them."
        )
    text = {name: str for name in ("seeds", "block", "class")}
    frame = pd.read_csv(measured.PROBE_MEASURES, dtype=text, keep_default_na=False, na_values={
        name: [""] for name in ("value", "low", "high", "level")})  # fmt: skip
    seeds = frame.groupby(_TRAINING)["seeds"].transform(lambda column: max(column, key=len))
    frame.insert(
        0, "network", [network_words(row, of) for row, of in zip(frame.to_dict("records"), seeds, strict=True)]
    )
    return frame


def network_words(row: dict[str, object], seeds: str) -> str:
    """How a network was trained, and on how large images it is seen, in a line."""
    kind = "seeds" if " " in seeds else "seed"
    names = ", ".join(seeds.split())
    epochs = f"{float(str(row['epochs'])):.0f} of {row['horizon_epochs']} epochs"
    return f"{row['width']}×{row['height']}, {epochs}, {kind} {names}"


def _note(frame: pd.DataFrame, groups: dict[str, list[str]]) -> str:
    lines = []
    for network, (seeds, *_) in groups.items():
        rows = frame[(frame["network"] == network) & (frame["seeds"] == seeds)]
        table = rows.pivot_table(index=["stage", "dilation"], columns="measure", values="level")
        drops = rows[rows["measure"] == "removal"].set_index(["stage", "dilation"])["value"]
        table, drops = table.loc[drops.index], drops.to_numpy()
        found = [
            f"{name} {rank_correlation(table[measure].to_numpy(), drops):+.2f}".replace("-", "−")
            for measure, name in (("weight", "|w|"), ("gain", "|w|·|γ|"), ("contribution", "contribution"))
        ]
        last = rows[rows["measure"] == "removal"].iloc[0]
        images, evaluated = int(last["images"]), last["evaluated"]
        shown = int(rows[rows["measure"] == "contribution"]["images"].iloc[0])
        told = f"{len(drops)} pairs, drops on {images} images of {evaluated}, contributions on {shown}"
        lines.append(f"{network}: {', '.join(found)} ({told}).")
    return "Rank correlation with the drop. " + " ".join(lines)
