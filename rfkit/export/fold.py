"""Batch norms folded into the convolutions before them."""

from __future__ import annotations

import copy
import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node
from torch.nn.utils.fusion import fuse_conv_bn_eval

__all__ = ["fold_norms", "quiet"]

# Types of torch itself alone: a class derived from one may do more in its forward.
_CONVOLUTIONS = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
)  # fmt: skip
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def fold_norms(model: nn.Module, *, input_size: Sequence[int] = (3, 128, 256)) -> nn.Module:
    """A copy of `model` in evaluation mode, its batch norms folded into the convolutions before them where that can be.

    What follows what is read off a real forward pass (`torch.export`), not off the order of modules. A norm is folded
    where it reads a convolution, or a concatenation along the channels of several, each of which then takes its own
    channels of the norm. Each convolution must run once, share no weight, and be read by nothing else. A folded norm
    becomes `nn.Identity`, its convolution gets a bias; all other norms stay. Rounding moves the outputs by about one
    part in a million in single precision.

    Args:
        model: any network that `torch.export` follows; it is left as found.
        input_size: (channels, height, width) of the image with which it is followed.

    Raises:
        ValueError: torch cannot follow the network; the message says where it stopped.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.BatchNorm2d(8))
        >>> fold_norms(model, input_size=(3, 8, 8))
        Sequential(
          (0): Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))
          (1): Identity()
          (2): ReLU()
          (3): BatchNorm2d(8, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)
        )
    """
    folded = copy.deepcopy(model).eval()
    graph = _Graph(folded, input_size)
    for name, convolutions in graph.foldable():
        _fold(folded, name, convolutions)
    return folded


@contextmanager
def quiet() -> Iterator[None]:
    """While open, torch's exporter keeps its own deprecations and its hints at absent libraries to itself."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)


class _Graph:
    """The operations of one forward pass, and the modules they belong to."""

    def __init__(self, model: nn.Module, input_size: Sequence[int]) -> None:
        self.modules = dict(model.named_modules())
        parameter = next((value for value in model.parameters() if value.is_floating_point()), torch.empty(0))
        image = torch.zeros(1, *input_size, dtype=parameter.dtype, device=parameter.device)
        try:
            with quiet(), torch.no_grad():
                program = torch.export.export(model, (image,))
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            raise ValueError(f"model: torch.export cannot follow this {type(model).__name__}: {reason}") from error
        self.nodes: list[Any] = [node for node in program.graph.nodes if node.op == "call_function"]
        names = program.graph_signature.inputs_to_parameters
        state = dict(model.named_parameters(remove_duplicate=False))
        self.weights = {node: state[names[node.name]] for node in program.graph.nodes if names.get(node.name) in state}
        self.holders = Counter(id(value) for value in state.values())

    def foldable(self) -> Iterator[tuple[str, list[Any]]]:
        """The name of each norm that can be folded, with the convolutions whose channels it scales, in order."""
        for node in self.nodes:
            norm = self._module(node)
            # Argument 5 says whether the statistics are those of the batch; 1 to 4 are the numbers of the norm.
            if node.target is not torch.ops.aten.batch_norm.default or type(norm) not in _NORMS or node.args[5]:
                continue
            if any(isinstance(value, Node) and len(value.users) > 1 for value in node.args[1:5]):
                continue
            found = [self._convolution(source) for source in _sources(node)]
            convolutions = [module for module in found if module is not None]
            if found and len(convolutions) == len(found):
                yield self._name(node), convolutions

    def _convolution(self, node: Any) -> Any:
        """The convolution that gives a value, if it gives it to one reader and its weights are its own."""
        module = self._module(node)
        if type(module) not in _CONVOLUTIONS or len(node.users) != 1:
            return None
        if isinstance(module, nn.modules.conv._ConvTransposeNd) and module.groups > 1:
            return None
        read = [value for value in node.args[1:3] if isinstance(value, Node)]
        own = [value for value in (module.weight, module.bias) if value is not None]
        if [id(self.weights.get(value)) for value in read] != [id(value) for value in own]:
            return None
        alone = all(len(value.users) == 1 for value in read) and all(self.holders[id(value)] == 1 for value in own)
        return module if alone else None

    def _name(self, node: Any) -> str:
        stack = list(node.meta.get("nn_module_stack", {}).values())
        # The second call of a module is named "name@1".
        return stack[-1][0].partition("@")[0] if stack else ""

    def _module(self, node: Any) -> Any:
        return self.modules.get(self._name(node)) if node.op == "call_function" else None


def _sources(norm: Any) -> list[Node]:
    """The values of which a norm reads the channels, each a different one; empty where it reads something else."""
    value = norm.args[0]
    if value.target is not torch.ops.aten.cat.default:
        return [value]
    parts, axis = value.args[0], value.args[1] if len(value.args) > 1 else 0
    channels = axis in (1, 1 - value.meta["val"].dim())
    return list(parts) if channels and len(value.users) == 1 and len(set(parts)) == len(parts) else []


def _fold(model: nn.Module, name: str, convolutions: Sequence[Any]) -> None:
    """Fold the norm called `name` into `convolutions`, in place."""
    norm: Any = model.get_submodule(name)
    first = 0
    for convolution in convolutions:
        count = convolution.out_channels
        part = _channels(norm, slice(first, first + count))
        transposed = isinstance(convolution, nn.modules.conv._ConvTransposeNd)
        fused = fuse_conv_bn_eval(convolution, part, transposed)
        convolution.weight, convolution.bias = fused.weight, fused.bias
        first += count
    for key, module in list(model.named_modules(remove_duplicate=False)):
        if module is norm:
            model.set_submodule(key, nn.Identity())


def _channels(norm: Any, which: slice) -> Any:
    """The norm of some of the channels of `norm`."""
    part = copy.deepcopy(norm)
    for key in ("weight", "bias", "running_mean", "running_var"):
        value: Tensor | None = getattr(norm, key)
        if value is not None:
            kept = value.detach()[which].clone()
            setattr(part, key, nn.Parameter(kept) if key in ("weight", "bias") else kept)
    return part
