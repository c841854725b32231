"""What this project measured and ships as tables: scores of trained ablations."""

from __future__ import annotations

from pathlib import Path

__all__ = ["ABLATION_RUNS"]

ABLATION_RUNS = Path(__file__).with_name("ablations.csv")
"""One row a training run of a row of Table 2; its columns are the fields of `rfkit.paper.ablation_runs.AblationRun`."""
