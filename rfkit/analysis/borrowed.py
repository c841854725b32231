"""A network lent to captum: ready for gradients of its input, and given back as it was."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import nn

from rfkit.analysis.untouched import untouched

__all__ = ["borrowed"]


@contextmanager
def borrowed(model: nn.Module, seed: int, *, freeze: bool) -> Iterator[None]:
    """`model` ready for gradients of its input alone, random generators at `seed`; all as it was afterwards.

    Parameters need no gradient meanwhile (`freeze`), which saves the memory that their gradients would need. Captum's
    hooks on activation modules cannot be set where nothing needs a gradient, hence the choice. Activations run out of
    place, because a value that is overwritten has no gradient.
    """
    modules = list(model.modules())
    parameters = [(parameter, parameter.requires_grad, parameter.grad) for parameter in model.parameters()]
    in_place = [module for module in modules if getattr(module, "inplace", None) is True]
    attributes = [(module, set(vars(module))) for module in modules]
    # Captum draws from numpy's global generator.
    state = np.random.get_state()  # noqa: NPY002
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(untouched(model))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", message=r"\s*Setting (forward, )?backward hooks", category=UserWarning)
        try:
            _seed(model, seed)
            for module in in_place:
                module.inplace = False  # type: ignore[assignment]
            for parameter, _, _ in parameters:
                parameter.requires_grad_(parameter.requires_grad and not freeze)
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002
            for module in in_place:
                module.inplace = True  # type: ignore[assignment]
            for parameter, required, gradient in parameters:
                parameter.requires_grad_(required)
                parameter.grad = gradient
            for module, before in attributes:
                # What DeepLift keeps in a module when it fails midway.
                for left in {"input", "input_ref", "output"} & set(vars(module)) - before:
                    delattr(module, left)


def _seed(model: nn.Module, seed: int) -> None:
    torch.random.default_generator.manual_seed(seed)
    for index in {tensor.device.index for tensor in model.parameters() if tensor.is_cuda}:
        torch.cuda.default_generators[index].manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
