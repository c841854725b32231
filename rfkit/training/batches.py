"""The batches of an epoch, in an order and with an augmentation that depend on the seed and the epoch alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from rfkit._checks import check_positive
from rfkit.data.dataset import Dataset, InMemory
from rfkit.data.transforms import apply_batch
from rfkit.training.recipe import Recipe

__all__ = ["Batches", "count_steps", "epoch_order", "held_in_memory"]

# Keeps this use of the seed apart from every other.
_STREAM = 0
# Share of the free memory that pixels may take.
_MEMORY_SHARE = 0.5


class Batches:
    """Augmented uint8 batches of a data set, the same for the same seed and epoch wherever they are made.

    Args:
        data: Frames with labels.
        recipe: Batch size, frame size and augmentation.
        seed: Of order and augmentation.
        device: Where batches are wanted.
        workers: Processes that read and augment; 0 does it in this one, and must be 0 for frames held on a GPU.
        rank: Number of this process among those that train one network together.
        processes: How many those are. Each gets its part of every batch; the parts in the order of the ranks are the
            batch that a single process gets.

    Raises:
        ValueError: The data set has fewer frames than a batch, or a batch fewer than there are processes.
    """

    def __init__(
        self,
        data: Dataset,
        recipe: Recipe,
        *,
        seed: int,
        device: torch.device,
        workers: int = 0,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.data, self.recipe, self.seed, self.device, self.workers = data, recipe, seed, device, workers
        self.steps_per_epoch = count_steps(data, recipe)
        self._part = _part_of_batch(recipe.batch_size, rank, processes)

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of `epoch` from number `start` on: images (N, 3, H, W) and labels (N, H, W), both uint8."""
        size = self.recipe.batch_size
        order = epoch_order(self.seed, epoch, len(self.data)).tolist()
        indices = [order[step * size : (step + 1) * size][self._part] for step in range(start, self.steps_per_epoch)]
        frames = _Frames(self.data, self.recipe, self.seed, epoch)
        batches: Iterable[tuple[Tensor, Tensor]] = (frames[chosen] for chosen in indices)
        if self.workers:
            # A loader without its own generator would draw from the global one.
            batches = DataLoader(
                frames,
                sampler=indices,
                batch_size=None,
                num_workers=self.workers,
                generator=torch.Generator(),
                pin_memory=self.device.type == "cuda",
            )
        for images, labels in batches:
            yield images.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)


def count_steps(data: Dataset, recipe: Recipe) -> int:
    """The number of whole batches in an epoch.

    Raises:
        ValueError: The data set has fewer frames than a batch.
    """
    if len(data) < recipe.batch_size:
        raise ValueError(
            f"batch_size={recipe.batch_size} is more than the {len(data)} frames of {data.name} {data.split}; "
            f"allowed: 1 to {len(data)}."
        )
    return len(data) // recipe.batch_size


def epoch_order(seed: int, epoch: int, count: int) -> Int[np.ndarray, " count"]:
    """The order of the frames in an epoch: a permutation that is a pure function of its arguments."""
    entropy = np.random.SeedSequence(seed, spawn_key=(_STREAM, epoch))
    return np.random.Generator(np.random.Philox(entropy)).permutation(count)


def held_in_memory(data: Dataset, *, device: torch.device, progress: bool = True) -> Dataset:
    """The data set decoded once and kept as uint8 where that fits: on the GPU, else in memory, else as it is."""
    if isinstance(data, InMemory):
        return data
    sample = data[0]
    needed = len(data) * (sample.image.nbytes + sample.label.nbytes)
    if device.type == "cuda" and needed < _MEMORY_SHARE * torch.cuda.mem_get_info(device)[0]:
        return InMemory(data, device=device, progress=progress)
    if needed < _MEMORY_SHARE * os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
        return InMemory(data, progress=progress)
    return data


def _part_of_batch(size: int, rank: int, processes: int) -> slice:
    """The frames of a batch that a process gets: consecutive ones, and at most one more or fewer than any other."""
    check_positive("processes", processes)
    if not 0 <= rank < processes:
        raise ValueError(f"rank={rank} with processes={processes}; allowed: 0 to {processes - 1}.")
    if size < processes:
        raise ValueError(
            f"batch_size={size} is less than processes={processes}; every process needs a frame of each batch."
        )
    return slice(rank * size // processes, (rank + 1) * size // processes)


class _Frames(TorchDataset):
    """The augmented frames of one epoch; an item is a whole batch, asked for by its indices."""

    def __init__(self, data: Dataset, recipe: Recipe, seed: int, epoch: int) -> None:
        self.data, self.recipe, self.seed, self.epoch = data, recipe, seed, epoch
        self.augmentation = recipe.augmentation

    def __getitem__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        samples = [self.data[index] for index in indices]
        parameters = [
            self.augmentation.draw(
                self.seed, self.epoch, index, self.recipe.frame_size or (sample.label.shape[0], sample.label.shape[1])
            )
            for index, sample in zip(indices, samples, strict=True)
        ]
        return apply_batch([sample.image for sample in samples], [sample.label for sample in samples], parameters)
