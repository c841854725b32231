"""The moving average of a network's weights."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

__all__ = ["MovingAverage"]


class MovingAverage:
    """A copy of a network whose weights and running statistics follow it as an exponential moving average.

    After step t (from 0) the average keeps the share min(decay, (1 + t) / (10 + t)) of itself, so that the initial
    weights do not dominate a short run.

    Args:
        model: The network as it is before the first step.
        decay: Share of the average that is kept in each step, in the long run.

    Attributes:
        model: The averaged network.
    """

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).requires_grad_(False)

    def update(self, model: nn.Module, *, step: int) -> None:
        """Take in the weights of `model` after `step`."""
        average = get_ema_multi_avg_fn(min(self.decay, (1 + step) / (10 + step)))
        moved: dict[torch.dtype, tuple[list[Any], list[Any]]] = {}
        for own, other in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True):
            if own.is_floating_point():
                pair = moved.setdefault(own.dtype, ([], []))
                pair[0].append(own)
                pair[1].append(other.detach())
            else:
                own.copy_(other)
        for owns, others in moved.values():
            average(owns, others, 0)
