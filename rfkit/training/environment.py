"""What a run ran on: versions, device, threads."""

from __future__ import annotations

import os
import platform
from typing import Any

import numpy as np
import torch

from rfkit._version import __version__

__all__ = ["describe_environment", "device_name", "software_versions"]

# Settings that change speed or the last bits.
_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "ONEDNN_MAX_CPU_ISA",
    "CUDA_VISIBLE_DEVICES",
    "CUBLAS_WORKSPACE_CONFIG",
)
_PREFIX = "MALLOC_"


def software_versions() -> dict[str, str]:
    """The versions of what takes part in the numbers."""
    versions = {
        "rfkit": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
    if torch.version.cuda:
        versions |= {"cuda": torch.version.cuda, "cudnn": str(torch.backends.cudnn.version())}
    return versions


def device_name(device: torch.device) -> str:
    """A name a reader knows the device by."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({_processor()}, {torch.get_num_threads()} threads)"


def describe_environment(device: torch.device) -> dict[str, Any]:
    """Versions, device, threads and the variables that matter, in values that JSON has."""
    return {
        "software": software_versions(),
        "platform": platform.platform(),
        "device": device_name(device),
        "device_type": device.type,
        "processor": _processor(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "variables": {
            name: value for name, value in sorted(os.environ.items()) if name in _VARIABLES or name.startswith(_PREFIX)
        },
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
