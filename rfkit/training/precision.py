"""A wrong gradient of PyTorch on the CPU, kept out of training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["depthwise_in_single_precision"]


@contextmanager
def depthwise_in_single_precision(model: nn.Module) -> Iterator[None]:
    """While open, grouped dilated convolutions on the CPU compute in float32 also under bfloat16 autocast.

    With torch 2.13 on a CPU with avx512_bf16, the weight gradient of a depth-wise convolution with a dilation rate
    above 1 is noise in bfloat16 with channels_last tensors (relative error about 1, some values infinite), while its
    output and input gradient are right. In float32 the gradient is right, and a step of DWRSeg's probe is a little
    faster than in bfloat16 throughout. `benchmarks/depthwise_gradient.py` measures both.
    On other devices, and outside autocast, nothing changes.

    Args:
        model: any module; it is as it was when the context closes.
    """
    changed = [module for module in model.modules() if _is_affected(module) and module.weight.device.type == "cpu"]
    try:
        for module in changed:
            module.forward = _Single(module)  # type: ignore[method-assign, assignment, arg-type]
        yield
    finally:
        for module in changed:
            vars(module).pop("forward", None)


class _Single:
    """Forward of a convolution, outside autocast where the input is on the CPU."""

    def __init__(self, module: nn.Conv2d) -> None:
        self._module = module

    def __call__(self, features: Tensor) -> Any:
        if features.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            return type(self._module).forward(self._module, features)
        with torch.autocast("cpu", enabled=False):
            return type(self._module).forward(self._module, features.float())


def _is_affected(module: nn.Module) -> bool:
    if not isinstance(module, nn.Conv2d) or module.groups == 1:
        return False
    # A learned rate may begin at 1, which is what `dilation` then tells, and leave it.
    return max(module.dilation) > 1 or hasattr(module, "rate")
