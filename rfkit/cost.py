"""Multiply-adds and parameters of a network."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from rfkit._checks import check_choice

__all__ = ["multiply_adds", "parameters"]

# Multiply-adds per output element of operations that "published" counts beside convolutions and matrix products.
_NORM, _BILINEAR = 2, 8


def parameters(model: nn.Module) -> int:
    """Number of learnable numbers of `model`."""
    return sum(parameter.numel() for parameter in model.parameters())


def multiply_adds(model: nn.Module, input_size: Sequence[int], *, count: str = "convolutions") -> int:
    """Multiply-adds of one forward pass in evaluation mode. FLOPs are twice that.

    Nothing is computed: a copy of the model runs on tensors without data (torch's "meta" device).

    Args:
        model: any module that runs on the meta device.
        input_size: (channels, height, width) of one image, or (batch, channels, height, width).
        count: "convolutions": convolutions and matrix products alone. "published": in addition 2 per output element of
            a batch norm and 8 per output element of bilinear upsampling. With these two numbers the counts of DWRSeg
            are the published ones (13.62 G and 16.42 G at 512x1024); they were fitted to them, so the agreement is
            consistency, not evidence.

    Raises:
        ValueError: `input_size` has not three or four entries, or `count` is unknown.
    """
    check_choice("count", count, ("convolutions", "published"))
    if len(input_size) not in (3, 4):
        raise ValueError(f"input_size={tuple(input_size)} must be (channels, height, width), with or without a batch.")
    size = tuple(input_size) if len(input_size) == 4 else (1, *input_size)
    twin = copy.deepcopy(model).to("meta").eval()
    extra = {
        torch.ops.aten.native_batch_norm: _per_output_element(_NORM),
        torch.ops.aten._native_batch_norm_legit_no_training: _per_output_element(_NORM),
        torch.ops.aten.upsample_bilinear2d: _per_output_element(_BILINEAR),
    }
    counter = FlopCounterMode(display=False, custom_mapping=extra if count == "published" else None)
    with torch.no_grad(), counter:
        twin(torch.empty(size, device="meta"))
    return counter.get_total_flops() // 2


def _per_output_element(weight: int) -> Any:
    # FlopCounterMode counts FLOPs, hence the factor of two.
    def formula(*_args: Any, out_val: Tensor | tuple[Tensor, ...], **_kwargs: Any) -> int:
        output = out_val if isinstance(out_val, Tensor) else out_val[0]
        return 2 * weight * output.numel()

    formula._get_raw = True  # type: ignore[attr-defined]
    return formula
