"""Our own rows of a table of scores: from the cards of trained weights, never beside a row of the paper."""

from __future__ import annotations

from typing import Any

from rfkit.models.weights import Card
from rfkit.paper.context import Context

__all__ = ["own_rows"]

# Networks that the paper's tables of scores know; the probe is an instrument, not a contender.
_LABELS = {"dwrseg_b": "DWRSeg-B", "dwrseg_l": "DWRSeg-L"}


def own_rows(context: Context, data: str) -> list[dict[str, Any]]:
    """One row for every weights file trained on `data` whose card has a score on the test split.

    Keys: `model`, `miou` (percent), `size`, `pretraining`, `schedule`.
    """
    rows = []
    for _, card in context.weights_files():
        scores = card.scores
        if card.data != data or card.model not in _LABELS or scores.get("split") != "test" or "miou" not in scores:
            continue
        rows.append(
            {
                "model": _LABELS[card.model],
                "miou": 100 * float(scores["miou"]),
                "size": _size(scores.get("size") or card.size),
                "pretraining": "none",
                "schedule": _schedule(card),
            }
        )
    return sorted(rows, key=lambda row: (row["model"], row["schedule"]))


def _size(size: Any) -> str | None:
    """Width x height of a (height, width)."""
    return f"{size[1]}×{size[0]}" if isinstance(size, tuple | list) and len(size) == 2 else None


def _schedule(card: Card) -> str:
    horizon = card.horizon_epochs
    whole = not horizon or card.epochs >= horizon
    done = f"{card.epochs:g} epochs" if whole else f"{card.epochs:g} of {horizon} epochs"
    return f"{card.recipe_name}, {done}" if card.recipe_name else done
