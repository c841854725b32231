"""A network without some of its parallel dilated branches: their channels hold their mean, whatever the image."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rfkit._checks import check_choice, check_positive
from rfkit.analysis.image_stream import stream_images
from rfkit.analysis.stages import StagedBlock, staged_blocks
from rfkit.analysis.untouched import untouched
from rfkit.hooks import replace_inputs
from rfkit.results.removal import BlockMeans, BranchMeans

__all__ = ["branch_means", "weights_digest", "without_branches"]


def branch_means(
    model: nn.Module,
    images: Tensor | Iterable[Any],
    *,
    stages: Mapping[str, str | Sequence[str]] | None = None,
    batch_size: int = 4,
) -> BranchMeans:
    """The mean of every channel that the 1x1 convolutions behind the parallel branches of `model` read.

    Means are over all images, positions and calls, with norm, activation and gates applied, just
    as the 1x1 convolution reads them. Batch by batch, so that memory does not grow with the number of images. The model
    is left exactly as it was found.

    Args:
        model: any module that takes one N C H W image. Which blocks count is said in `rfkit.analysis.find_branches`.
        images: C H W or N C H W, or anything that yields these (a list, a generator, a `DataLoader`), of any sizes;
            8 bit, or normalised as the model takes them.
        stages: stage name -> names or patterns of modules that hold its blocks; see `rfkit.branch_weights`.
        batch_size: images in a forward pass, where neighbours have one size.

    Returns:
        The means, by the names that `rfkit.branch_weights` gives the blocks.

    Raises:
        ValueError: there is no image or no block with parallel dilated branches, or the 1x1 convolution of a block is
            not a module that is called with its input, or is called elsewhere in the network as well.
        TypeError: the images are neither 8 bit nor of a floating type.

    Example:
        >>> from rfkit.models.registry import create_model
        >>> model = create_model("probe_dwrseg_l", num_classes=2, seed=0, blocks=(1, 1, 1))
        >>> means = branch_means(model, torch.zeros(2, 3, 32, 64))
        >>> [(block.block, block.dilations, len(block.mean)) for block in means.blocks]
        [('stage2.0', (1, 3, 5), 192), ('stage3.0', (1, 3, 5), 384), ('stage4.0', (1, 3, 5), 384)]
    """
    check_positive("batch_size", batch_size)
    stream = stream_images(images, model, batch_size=batch_size, one_size=False)
    with untouched(model):
        first = next(stream)
        order, found = staged_blocks(model, first[:1], stages)
        _check_merges(model, found)
        sums = {entry.block.merge: _Mean(entry) for entry in found}
        count = 0
        for batch in chain([first], stream):
            _add(model, batch, sums, found)
            count += len(batch)
    return BranchMeans(tuple(_block_means(entry, sums[entry.block.merge]) for entry in found), order, count)


@contextmanager
def without_branches(model: nn.Module, branches: Iterable[tuple[str, int]], *, means: BranchMeans) -> Iterator[None]:
    """While open, `model` runs without the given branches: the 1x1 convolution behind them reads their means.

    So the network loses what a branch tells about the image, and keeps the level that it adds. Everything else is
    computed as before. A block that runs several times loses the branch in every run. The hooks are gone when the
    context closes, also after an error; weights are never touched.

    Args:
        model: the model `means` were taken of.
        branches: (name of the block, index of the branch in it) pairs; none leaves the network as it is.
        means: what `branch_means` returned.

    Raises:
        ValueError: there is no such block or branch; or, when the model runs, a 1x1 convolution reads another number of
            channels than when the means were taken.

    Example:
        >>> from rfkit.models.registry import create_model
        >>> model = create_model("probe_dwrseg_l", num_classes=2, seed=0, blocks=(1, 1, 1)).eval()
        >>> image = torch.randn(1, 3, 32, 64, generator=torch.Generator().manual_seed(0))
        >>> means = branch_means(model, image)
        >>> with torch.no_grad(), without_branches(model, [("stage4.0", 2)], means=means):
        ...     scores = model(image)
        >>> bool((scores == model(image)).all())
        False
    """
    constants = _constants(branches, means)

    def substitute(name: str, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        x = _read(name, inputs, len(constants[name]))
        constant = torch.from_numpy(constants[name]).to(x).view(-1, *[1] * (x.dim() - 2))
        # NaN marks the channels that stay.
        return (torch.where(constant.isnan(), x, constant), *inputs[1:])

    with replace_inputs(model, list(constants), substitute):
        yield


def weights_digest(model: nn.Module) -> str:
    """A digest of the names and values of all parameters and buffers of `model`, the same on every device."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


class _Mean:
    """The running sum of each channel that one 1x1 convolution reads."""

    def __init__(self, entry: StagedBlock) -> None:
        self.total = torch.zeros(len(entry.block.gamma), dtype=torch.float64)
        self.count = 0

    def add(self, x: Tensor) -> None:
        axes = [axis for axis in range(x.dim()) if axis != 1]
        kind = torch.float32 if x.device.type == "mps" else torch.float64  # That device has no double precision.
        positions = x.numel() // x.shape[1]
        self.total += x.mean(dim=axes, dtype=kind).cpu() * positions
        self.count += positions


def _add(model: nn.Module, batch: Tensor, sums: Mapping[str, _Mean], found: Sequence[StagedBlock]) -> None:
    calls: Counter[str] = Counter()

    def read(name: str, inputs: tuple[Any, ...]) -> None:
        calls[name] += 1
        sums[name].add(_read(name, inputs, len(sums[name].total)))

    with replace_inputs(model, list(sums), read):
        model(batch)
    runs: Counter[str] = Counter()
    for entry in found:
        runs[entry.block.merge] = max(runs[entry.block.merge], entry.block.runs)
    for name in sums:
        if calls[name] != runs[name]:
            raise ValueError(
                f"the 1x1 convolution {name!r} is called {calls[name]} times, {runs[name]} of them behind parallel "
                "branches; to remove a branch it must be called as a module, and there alone."
            )


def _check_merges(model: nn.Module, found: Sequence[StagedBlock]) -> None:
    modules = dict(model.named_modules())
    for entry in found:
        module = modules.get(entry.block.merge)
        # Of any other module it is not known that the convolution reads just what the module is called with.
        if not isinstance(module, nn.modules.conv._ConvNd):
            kind = "no module" if module is None else f"a {type(module).__name__}"
            raise ValueError(
                f"the 1x1 convolution {entry.block.merge!r} is {kind}, so that what it reads cannot be replaced; make "
                "it an nn.Conv2d."
            )


def _read(name: str, inputs: tuple[Any, ...], channels: int) -> Tensor:
    x = inputs[0] if inputs else None
    if not isinstance(x, Tensor) or x.dim() < 3 or x.shape[1] != channels:
        got = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else "no positional tensor"
        raise ValueError(f"the 1x1 convolution {name!r} was called with {got}; N {channels} H W is needed.")
    return x


def _block_means(entry: StagedBlock, mean: _Mean) -> BlockMeans:
    block = entry.block
    branch_of_input = np.full(len(block.gamma), -1, np.int32)
    for index, branch in enumerate(block.branches):
        branch_of_input[list(branch.channels)] = index
    dilations = tuple(branch.dilation for branch in block.branches)
    values = (mean.total / mean.count).float().numpy()
    return BlockMeans(entry.stage, entry.name, block.merge, dilations, branch_of_input, values)


def _constants(branches: Iterable[tuple[str, int]], means: BranchMeans) -> dict[str, np.ndarray]:
    """1x1 convolution -> the value that each of its input channels takes; NaN where it stays what it is."""
    constants: dict[str, np.ndarray] = {}
    for name, branch in branches:
        check_choice("branches", name, [block.block for block in means.blocks])
        block = means.block(name)
        if not 0 <= branch < len(block.dilations):
            raise ValueError(
                f"branches: {name!r} has no branch {branch!r}; allowed: 0 to {len(block.dilations) - 1}, with the "
                f"dilation rates {', '.join(map(str, block.dilations))}."
            )
        values = constants.setdefault(block.merge, np.full(len(block.mean), np.nan, np.float32))
        chosen = block.branch_of_input == branch
        values[chosen] = block.mean[chosen]
    return constants
