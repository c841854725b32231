"""How the weights behind the figures were trained: loss and mIoU over the epochs."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from rfkit.models.weights import Card
from rfkit.paper.context import Context, MissingInput
from rfkit.plots.curves import plot_runs
from rfkit.results.base import Table

__all__ = ["CAPTION", "INPUTS", "NAME", "compute", "draw"]

NAME = "training"
CAPTION = (
    "Training of the weights that ship. Left: mean loss of each epoch: of DWRSeg and its probe the cross-entropy of "
    "the hard pixels alone, which stays high while the network learns; of RegSeg and FRMNet that of all pixels, with "
    "FRMNet's contrastive term, so that these do not compare with the others. Right: mIoU on the test split, of which "
    "the last one counts; it is that of the weights file, at the size trained on. A run is finished where its "
    "learning rate reaches zero."
)
INPUTS = ("logs", "weights:*")
_COLUMNS = ("epoch", "step", "learning_rate", "loss", "miou")


def compute(context: Context) -> Table:
    """The logs of the trainings at hand, one row an epoch.

    Columns: `run` (in words), then `epoch`, `step`, `learning_rate`, `loss`, `miou` (0 to 1, None where
    it was not measured; in a run's last row that of its weights file as it ships, which may have been taken in the
    middle of an epoch and then has a row of its own, without loss).

    Raises:
        MissingInput: there is no log.
    """
    logs = context.logs()
    if not logs:
        raise MissingInput("there is no log of a training: none ships with rfkit, none was given.")
    frames = []
    for path, card in logs:
        frame = pd.read_csv(path)[list(_COLUMNS)].astype(object)
        if card.scores.get("miou") is not None:
            if frame["step"].iloc[-1] != card.steps:
                # The weights were taken in the middle of an epoch.
                frame.loc[len(frame), ["epoch", "step"]] = [card.epochs, card.steps]
            frame.loc[frame.index[-1], "miou"] = card.scores["miou"]
        frame.insert(0, "run", f"{card.model}, {card.data} {card.split}{_size(card)}, seed {card.seed}")
        frames.append(frame.where(frame.notna(), None))
    return Table.from_frame(NAME, pd.concat(frames, ignore_index=True), caption=CAPTION)


def _size(card: Card) -> str:
    """The size trained on, in words; nothing if unknown."""
    return f" at {card.size[1]}x{card.size[0]}" if len(card.size) == 2 else ""


def draw(result: Table) -> Figure:
    """Loss and mIoU side by side, a line for each run."""
    return plot_runs(result)
