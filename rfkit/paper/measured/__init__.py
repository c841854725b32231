"""What this project measured and ships as tables: trained ablations, branches of probes, learned rates, speeds."""

from __future__ import annotations

from pathlib import Path

__all__ = ["ABLATION_RUNS", "LEARNED_RATES", "PROBE_MEASURES", "PROBE_WEIGHTS"]

ABLATION_RUNS = Path(__file__).with_name("ablations.csv")
"""One row a training run of a row of Table 2; its columns are the fields of `rfkit.paper.ablation_runs.AblationRun`."""

LEARNED_RATES = Path(__file__).with_name("learned_rates.csv")
"""One row a training, step and layer with a learned rate; columns of `rfkit.results.learned_rates.LearnedRates`."""

PROBE_WEIGHTS = Path(__file__).with_name("probe_weights.csv")
"""One row a probe, block, dilation rate and measure, see `rfkit.paper.measured.rates.collect_folder`."""

PROBE_MEASURES = Path(__file__).with_name("probe_measures.csv")
"""Measures of the branches of trained probes; `rfkit.paper.measured.probe` documents its columns and writes it."""
