"""Batch norm over the batches of all processes together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from rfkit.training.processes import Processes

__all__ = ["norms_synchronised"]


@contextmanager
def norms_synchronised(model: nn.Module, processes: Processes) -> Iterator[None]:
    """While open, the batch norms of `model` normalise by the statistics of all processes' batches, as of one batch.

    With it, training with several processes equals training with one on the same global batch, up to rounding. On
    GPUs `torch.nn.SyncBatchNorm` computes it; on CPUs, for which torch has none, two sums over the processes do.
    The modules, their parameters and the names in the state dict stay what they are.

    Args:
        model: Any module, already on its device; it is as it was when the context closes.
        processes: Those that take part; a process alone changes nothing.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)] if processes.count > 1 else []
    try:
        for norm in norms:
            norm.forward = _Synchronised(norm, processes)  # type: ignore[method-assign, assignment]
        yield
    finally:
        for norm in norms:
            vars(norm).pop("forward", None)


class _Synchronised:
    """Forward of a batch norm over all processes."""

    def __init__(self, norm: _BatchNorm, processes: Processes) -> None:
        self._norm, self._processes = norm, processes
        self._on_gpu: nn.SyncBatchNorm | None = None

    def __call__(self, features: Tensor) -> Tensor:
        norm = self._norm
        if not norm.training:
            return type(norm).forward(norm, features)
        if features.device.type == "cuda":
            return self._gpu_norm()(features)
        return _normalised(norm, features, self._processes)

    def _gpu_norm(self) -> nn.SyncBatchNorm:
        """A synchronised norm of torch that shares parameters and statistics with the module."""
        norm = self._norm
        if self._on_gpu is None:
            made = nn.SyncBatchNorm(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
            made._parameters, made._buffers = norm._parameters, norm._buffers
            self._on_gpu = made.train()
        return self._on_gpu


class _Sum(torch.autograd.Function):
    """The sum over processes; so is its gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total


def _normalised(norm: _BatchNorm, features: Tensor, processes: Processes) -> Tensor:
    """Batch norm by the mean and variance of all processes' values, which move the running statistics as usual."""
    values = features.to(torch.promote_types(features.dtype, torch.float32))
    axes = [axis for axis in range(values.dim()) if axis != 1]
    shape = [1, -1] + [1] * (values.dim() - 2)
    count = processes.add(values.new_tensor([values.numel() / values.shape[1]], dtype=torch.float64)).item()
    mean = _Sum.apply(values.sum(axes)) / count
    centred = values - mean.view(shape)
    variance = _Sum.apply(centred.square().sum(axes)) / count
    _move_statistics(norm, mean.detach(), variance.detach(), count)
    normal = centred * torch.rsqrt(variance + norm.eps).view(shape)
    if norm.affine:
        normal = normal * norm.weight.view(shape) + norm.bias.view(shape)
    return normal.to(features.dtype)


@torch.no_grad()
def _move_statistics(norm: _BatchNorm, mean: Tensor, variance: Tensor, count: float) -> None:
    if not norm.track_running_stats or norm.running_mean is None or norm.running_var is None:
        return
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    momentum = norm.momentum if norm.momentum is not None else 1.0 / float(norm.num_batches_tracked)
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), momentum)
    # The running variance is the unbiased one, that of the batch the biased one, as in torch.
    norm.running_var.lerp_((variance * count / max(count - 1, 1)).to(norm.running_var.dtype), momentum)
