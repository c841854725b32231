"""Our own rows of a table of scores: from the cards of trained weights, never beside a row of the paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rfkit.models.weights import Card
from rfkit.paper.context import Context
from rfkit.paper.measured_speeds import paper_speed

__all__ = ["own_rows", "speed_note"]

# Networks that the paper's tables of scores know; the probe is an instrument, not a contender.
_LABELS = {"dwrseg_b": "DWRSeg-B", "dwrseg_l": "DWRSeg-L"}


def own_rows(context: Context, data: str) -> list[dict[str, Any]]:
    """One row for every weights file trained on `data` whose card has a score on the test split.

    Keys: `model`, `miou` (percent), `fps` and `device` (None unless a speed at the size of the score was measured on
    a GPU), `size`, `pretraining`, `schedule`.
    """
    rows = []
    for _, card in context.weights_files():
        scores = card.scores
        if card.data != data or card.model not in _LABELS or scores.get("split") != "test" or "miou" not in scores:
            continue
        size = scores.get("size") or card.size
        speed = paper_speed(card.model, card.num_classes, size)
        rows.append(
            {
                "model": _LABELS[card.model],
                "miou": 100 * float(scores["miou"]),
                "fps": None if speed is None else speed.fps,
                "device": None if speed is None else f"{speed.device.partition(': ')[2]}, {speed.precision}",
                "size": _size(size),
                "pretraining": "none",
                "schedule": _schedule(card),
            }
        )
    return sorted(rows, key=lambda row: (row["model"], row["schedule"]))


def speed_note(rows: Sequence[Mapping[str, Any]]) -> str:
    """What to know of the FPS of our rows."""
    devices = sorted({row["device"] for row in rows if row["device"]})
    if not devices:
        return "FPS of these rows: not measured on a GPU at these sizes; see the table of measured speeds for others."
    return f"FPS of these rows: measured by this project on {'; '.join(devices)}. The paper's: one GTX 1080 Ti."


def _size(size: Any) -> str | None:
    """Width x height of a (height, width)."""
    return f"{size[1]}×{size[0]}" if isinstance(size, tuple | list) and len(size) == 2 else None


def _schedule(card: Card) -> str:
    horizon = card.horizon_epochs
    whole = not horizon or card.epochs >= horizon
    done = f"{card.epochs:g} epochs" if whole else f"{card.epochs:g} of {horizon} epochs"
    return f"{card.recipe_name}, {done}" if card.recipe_name else done
