"""Each branch's part of what comes out of the 1x1 convolution behind it, measured on images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from rfkit.analysis.find_branches import BranchBlock

__all__ = ["branch_contributions"]


def branch_contributions(
    model: nn.Module, blocks: Sequence[BranchBlock], batches: Sequence[Tensor]
) -> list[np.ndarray]:
    """For each block the standard deviation, over images and positions, of each branch's part of each output channel.

    The parts of all branches (and of whatever else is concatenated) plus the bias sum to the output of the 1x1
    convolution. Call it inside `rfkit.analysis.untouched.untouched`.

    Args:
        model: the module the blocks were found in.
        blocks: the blocks.
        batches: images in the form the model takes; without any, every result is empty, (0, 0).

    Returns:
        One array (branches, out_channels) per block.

    Raises:
        ValueError: a block did not run on these images.
    """
    if not batches:
        return [np.zeros((0, 0), np.float32) for _ in blocks]
    parts = [_Parts(block) for block in blocks]
    for batch in batches:
        with _Watch(parts):
            model(batch)
    return [part.deviation() for part in parts]


class _Parts:
    """Running moments of the branches' parts of one block's output, merged batch by batch in double precision."""

    def __init__(self, block: BranchBlock) -> None:
        self.block = block
        self.moments: list[_Moments | None] = [None] * len(block.branches)

    def owns(self, weight: Tensor) -> bool:
        ours = self.block.weight
        if weight.shape[:2] != ours.shape or weight.device != ours.device:
            return False
        # A weight that is computed in the forward pass is another tensor each time, with the same values.
        return weight.data_ptr() == ours.data_ptr() or torch.equal(weight.flatten(1), ours)

    def add(self, func: Any, x: Tensor, weight: Tensor, rest: tuple[Any, ...]) -> None:
        out, width = weight.shape[:2]
        group = torch.arange(out, device=weight.device) // (out // self.block.groups)
        inputs = group[:, None] * width + torch.arange(width, device=weight.device)
        for index, branch in enumerate(self.block.branches):
            chosen = torch.isin(inputs, torch.tensor(branch.channels, device=weight.device))
            masked = weight * chosen.view(out, width, *[1] * (weight.dim() - 2))
            part = func(x, masked, None, *rest)
            new = _Moments.of(part)
            old = self.moments[index]
            self.moments[index] = new if old is None else old.merge(new)

    def deviation(self) -> np.ndarray:
        if any(moments is None for moments in self.moments):
            raise ValueError(f"images: block {self.block.name!r} did not run on all of these images.")
        spreads = [moments.squares / moments.count for moments in self.moments if moments is not None]
        return torch.stack(spreads).sqrt().float().cpu().numpy()


@dataclass(frozen=True)
class _Moments:
    """Number of values, mean and sum of squared deviations per output channel."""

    count: int
    mean: Tensor
    squares: Tensor

    @classmethod
    def of(cls, part: Tensor) -> _Moments:
        values = part.transpose(0, 1).flatten(1).double()
        mean = values.mean(dim=1)
        return cls(values.shape[1], mean, (values - mean[:, None]).square().sum(dim=1))

    def merge(self, other: _Moments) -> _Moments:
        # Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
        count = self.count + other.count
        shift = other.mean - self.mean
        mean = self.mean + shift * (other.count / count)
        squares = self.squares + other.squares + shift.square() * (self.count * other.count / count)
        return _Moments(count, mean, squares)


class _Watch(TorchDispatchMode):
    """Hands the input of every 1x1 convolution of a block to its `_Parts` while the model runs."""

    def __init__(self, parts: Sequence[_Parts]) -> None:
        super().__init__()
        self._parts = parts

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        with self:
            done = func.decompose(*args, **kwargs)
        if done is not NotImplemented:
            return done
        if func is torch.ops.aten.convolution.default:
            for part in self._parts:
                if part.owns(args[1]):
                    part.add(func, args[0], args[1], tuple(args[3:]))
        return func(*args, **kwargs)
