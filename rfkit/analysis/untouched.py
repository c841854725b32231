"""A model put to use by an analysis and given back as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

__all__ = ["untouched"]


@contextmanager
def untouched(model: nn.Module) -> Iterator[nn.Module]:
    """`model` in evaluation mode, without gradients, for the time of the context; afterwards it is as it was found.

    The training flag of every module, every buffer (batch-norm statistics, counters) and the state of torch's random
    generators are restored, also after an error. Parameters are not protected: nobody writes to them without
    gradients.

    Yields:
        `model` itself.
    """
    flags = [(module, module.training) for module in model.modules()]
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    tensors = [*model.parameters(), *model.buffers()]
    devices = sorted({tensor.device.index for tensor in tensors if tensor.is_cuda})
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        try:
            model.eval()
            yield model
        finally:
            for module, training in flags:
                module.training = training
            for module, name, buffer, before in buffers:
                # A forward pass may write into a buffer or put another tensor in its place.
                if not torch.equal(buffer, before):
                    buffer.copy_(before)
                module._buffers[name] = buffer
