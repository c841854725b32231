"""A model put to use by an analysis and given back as it was."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

__all__ = ["untouched"]


@contextmanager
def untouched(model: nn.Module) -> Iterator[nn.Module]:
    """`model` in evaluation mode, without gradients, for the time of the context; afterwards it is as it was found.

    The training flag of every module, every buffer (batch-norm statistics, counters), every attribute that a forward
    pass may set (a mask kept for the next image of the same size, an entry in a list or dictionary, a hook) and the
    state of torch's random generators are restored, also after an error. Parameters are not protected: nobody writes
    to them without gradients.

    Yields:
        `model` itself.
    """
    flags = [(module, module.training) for module in model.modules()]
    attributes = [(module, _attributes(module)) for module in model.modules()]
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
            for module, before in attributes:
                _restore(module, before)
            for module, training in flags:
                module.training = training
            for module, name, buffer, copy in buffers:
                # A forward pass may write into a buffer or put another tensor in its place.
                if not torch.equal(buffer, copy):
                    buffer.copy_(copy)
                module._buffers[name] = buffer


# What every module has, such as parameters and buffers; but hooks may be registered by a forward pass.
_OF_TORCH = frozenset(name for name in vars(nn.Module()) if "hooks" not in name)
_HOLDERS = (list, dict, set, OrderedDict)


def _attributes(module: nn.Module) -> dict[str, tuple[Any, Any]]:
    """The attributes that are the module's own, and its hooks: each value, and a copy of it if it holds others."""
    return {
        name: (value, value.copy() if type(value) in _HOLDERS else None)
        for name, value in vars(module).items()
        if name not in _OF_TORCH
    }


def _restore(module: nn.Module, before: dict[str, tuple[Any, Any]]) -> None:
    for name in [name for name in vars(module) if name not in _OF_TORCH and name not in before]:
        del module.__dict__[name]
    for name, (value, held) in before.items():
        module.__dict__[name] = value
        if isinstance(value, list) and held is not None:
            value[:] = held
        elif isinstance(value, dict | set) and held is not None:
            value.clear()
            value.update(held)
