"""Receptive-field analysis and visualization for PyTorch segmentation networks.

Names are imported on first use (PEP 562), so that ``import rfkit`` costs next to nothing.
"""

from __future__ import annotations

import importlib

from rfkit._version import __version__

# Public name -> the module that defines it.
_HOME = {
    "CompetingBranches": "rfkit.nn.probe",
    "DWR": "rfkit.nn.dwr",
    "SIR": "rfkit.nn.dwr",
    "create_model": "rfkit.models.registry",
    "list_models": "rfkit.models.registry",
    "probe": "rfkit.models.competing",
    "advise": "rfkit.studies.adviser.advising",
    "find_stages": "rfkit.studies.adviser.stages",
    "load_weights": "rfkit.models.weights",
    "save_weights": "rfkit.models.weights",
    "capture": "rfkit.hooks",
    "multiply_adds": "rfkit.cost",
    "parameters": "rfkit.cost",
    "benchmark": "rfkit.bench.benchmark",
    "export_onnx": "rfkit.export.onnx_file",
    "fold_norms": "rfkit.export.fold",
    "CamVid": "rfkit.data.camvid",
    "Cityscapes": "rfkit.data.cityscapes",
    "BDD100K": "rfkit.data.bdd100k",
    "Folder": "rfkit.data.folder",
    "Scenes": "rfkit.data.scenes",
    "DistanceTask": "rfkit.data.distance_tasks",
    "limited_accuracy": "rfkit.data.distance_tasks",
    "open_data": "rfkit.data.opening",
    "check_data": "rfkit.data.check",
    "prepare_data": "rfkit.data.preparing",
    "Prepared": "rfkit.data.prepared",
    "ablation_options": "rfkit.models.ablations",
    "matched_blocks": "rfkit.studies.matching",
    "get_recipe": "rfkit.training.recipe",
    "dilation_bound": "rfkit.analysis.dilation_bounds",
    "learn_dilations": "rfkit.studies.learned_rates",
    "learn_rates": "rfkit.studies.rate_runs",
    "LearnedRates": "rfkit.results.learned_rates",
    "update_bounds": "rfkit.studies.learned_rates",
    "RateTrajectory": "rfkit.results.dilation_rates",
    "RateRecorder": "rfkit.studies.learned_rates",
    "LearnedDilation": "rfkit.nn.learned_dilation",
    "dilation_rates": "rfkit.models.learning_dilations",
    "parameter_groups": "rfkit.models.learning_dilations",
    "clamp_rates": "rfkit.models.learning_dilations",
    "freeze": "rfkit.models.learning_dilations",
    "plot_dilation_bounds": "rfkit.plots.dilation_bounds",
    "plot_learned_rates": "rfkit.plots.learned_rates",
    "plot_rate_trajectories": "rfkit.plots.dilation_rates",
    "plot_rate_trajectories_by_stage": "rfkit.plots.dilation_rates",
    "train": "rfkit.api",
    "sweep": "rfkit.api",
    "evaluate": "rfkit.api",
    "predict": "rfkit.training.prediction",
    "branch_weights": "rfkit.analysis.branches",
    "branch_means": "rfkit.analysis.branch_removal",
    "without_branches": "rfkit.analysis.branch_removal",
    "branch_removal": "rfkit.studies.removal",
    "trace": "rfkit.analysis.theoretical",
    "rule": "rfkit.analysis.tracing.rules",
    "gridding": "rfkit.analysis.coverage",
    "effective_rf": "rfkit.analysis.effective",
    "branch_effective_rf": "rfkit.analysis.effective_branches",
    "attribute": "rfkit.analysis.attribution",
    "SegmentationTarget": "rfkit.analysis.segmentation_target",
    "plot_advice": "rfkit.plots.advice",
    "plot_rf_growth": "rfkit.api_fields",
    "plot_receptive_field": "rfkit.api_fields",
    "plot_erf": "rfkit.api_fields",
    "style": "rfkit.plots.styles",
    "plot_growth": "rfkit.plots.growth",
    "plot_box": "rfkit.plots.boxes",
    "plot_effective_rf": "rfkit.plots.receptive_field",
    "plot_effective_rfs": "rfkit.plots.receptive_field",
    "plot_effective_rf_profile": "rfkit.plots.profile",
    "plot_support": "rfkit.plots.coverage",
    "plot_path_counts": "rfkit.plots.coverage",
    "plot_coverage": "rfkit.plots.coverage",
    "plot_gridding": "rfkit.plots.gridding",
    "plot_griddings": "rfkit.plots.gridding",
    "plot_attribution": "rfkit.api",
    "plot_attributions": "rfkit.plots.attribution",
    "plot_distance_profile": "rfkit.plots.attribution",
    "region_maps": "rfkit.analysis.regions",
    "region_statistics": "rfkit.analysis.regions",
    "plot_branch_weights": "rfkit.api",
    "plot_branch_removal": "rfkit.api_removal",
    "plot_region_maps": "rfkit.api",
    "calibrate": "rfkit.studies.calibration",
    "measured_calibration": "rfkit.paper.calibration",
    "plot_calibration": "rfkit.plots.calibration",
    "plot_calibration_claims": "rfkit.plots.calibration",
    "explore": "rfkit.explorer.exploring",
    "build_figures": "rfkit.api",
}

__all__ = [*sorted(_HOME), "__version__"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'rfkit' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_HOME))
