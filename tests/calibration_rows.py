"""A calibration with made-up numbers, in which every measure but |w| is right."""

from __future__ import annotations

import math
from typing import Any

from rfkit.results.calibration import COLUMNS, Calibration

RATES = (1, 3, 5, 7, 9, 11)


def made_up(*, seeds: int = 3) -> Calibration:
    """Cues and bars, the null task, mixtures, two blocks and single-step modules."""
    rows: list[dict[str, Any]] = []
    for seed in range(seeds):
        for rate in RATES:
            rows += _run("one block", "cue", rate, seed)
            rows += _run("learned", "cue", rate, seed, rates=(4, 8), learned=(2.5, rate + 0.2))
            for alone in RATES:
                rows += _run("alone", "cue", rate, seed, rates=(alone,), accuracy=0.95 if alone == rate else 0.52)
        for rate in (1, 9):
            rows += _run("one block", "size", rate, seed)
            rows += _run("two blocks", "cue", rate, seed)
            rows += _run("ESP", "cue", rate, seed)
            rows += _run("DAB", "cue", rate, seed, rates=(1, 9))
        rows += _run("two blocks", "cue", 9, seed, rates=(1, 3, 5, 7), accuracy=0.7)
        for network in ("one block", "two blocks"):
            rows += _run(network, "null", 0, seed)
        for share in (0.25, 0.5, 0.75):
            rows += _run("one block", "mixture", {3: 1 - share, 9: share}, seed)
    return Calibration.from_rows(rows)


def _run(
    network: str, kind: str, distance: Any, seed: int, *, rates: Any = RATES, learned: Any = None,
    accuracy: float = 0.98,
) -> list[dict[str, Any]]:
    shares = distance if isinstance(distance, dict) else {distance: 1.0} if kind != "null" else {}
    where = " ".join(f"{key}:{share:g}" for key, share in shares.items()) if len(shares) > 1 else str(distance)
    needed = float(distance) if kind in ("cue", "size") else math.nan
    rows = []
    for branch, start in enumerate(rates):
        share = shares.get(start, 0.0)
        rate = start if learned is None else learned[branch]
        used = share if learned is None else float(branch == 1)
        row = dict.fromkeys(COLUMNS, math.nan) | {
            "run": f"{network}-{kind}-{where}-{rates}-{seed}", "network": network, "kind": kind, "distance": where,
            "needed": needed, "seed": seed, "smoothness": 1, "rates": " ".join(map(str, rates)), "steps": 10,
            "batch_size": 4, "learning_rate": 0.05, "images": 8, "test_images": 8, "field_images": 4, "side": 48,
            "accuracy": accuracy, "radius": float(max(shares, default=0)), "branch": branch, "start": start,
            "rate": float(rate), "share": share, "moved": 0.1 + share, "still": 1.0 - 0.7 * share,
        }  # fmt: skip
        if network != "alone":
            # |w| stays what it was before training, larger for larger rates; the rest follows the truth.
            row |= {"weight_initial": 0.05 + 0.01 * branch, "weight": 0.05 + 0.01 * branch + 0.02 * used,
                    "gain": 0.1 * used, "contribution": 2 * used, "lost": 0.4 * used}  # fmt: skip
        rows.append(row)
    return rows
