"""What this project measured and ships as tables: scores of trained ablations, what the branches of probes tell."""

from __future__ import annotations

from pathlib import Path

__all__ = ["ABLATION_RUNS", "PROBE_MEASURES"]

ABLATION_RUNS = Path(__file__).with_name("ablations.csv")
"""One row a training run of a row of Table 2; its columns are the fields of `rfkit.paper.ablation_runs.AblationRun`."""

PROBE_MEASURES = Path(__file__).with_name("probe_measures.csv")
"""Measures of the branches of trained probes; `rfkit.paper.measured.probe` documents its columns and writes it."""
