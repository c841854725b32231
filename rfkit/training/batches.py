"""The batches of an epoch, in an order and with an augmentation that depend on the seed and the epoch alone."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from rfkit._checks import check_positive
from rfkit.data.colours import change_colours
from rfkit.data.dataset import Dataset, InMemory
from rfkit.data.prepared import Prepared
from rfkit.data.tiles import ClassTiles, find_tiles
from rfkit.data.together import apply_together, pack
from rfkit.data.transforms import apply_batch
from rfkit.training.prefetch import prefetch
from rfkit.training.recipe import Recipe

__all__ = ["Batches", "Place", "count_steps", "epoch_order", "epoch_places", "held_in_memory"]

# Keep these uses of the seed apart from every other: augmentation has 1 and 3, a step 2.
_STREAM = 0
_CLASS_STREAM = 4
# Share of the free memory that pixels may take.
_MEMORY_SHARE = 0.5
# More do not decode faster than a GPU trains.
_MOST_WORKERS = 16
# So many are far enough ahead with one batch each.
_MANY_WORKERS = 4

_Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Place:
    """A place in an epoch.

    Attributes:
        frame: Index of the frame that is shown there.
        draw: Number by which its augmentation is drawn; no two places of an epoch share one.
        around: Point of the frame that the crop holds, see `rfkit.data.transforms.Augmentation.draw`, or None.
    """

    frame: int
    draw: int
    around: tuple[float, float] | None = None


class Batches:
    """Augmented uint8 batches of a data set, the same for the same seed and epoch wherever they are made.

    They are made ahead of the network, and over the end of an epoch too: in a thread, or in worker processes. Frames
    for a GPU are only read there, and augmented on the GPU beside the step that is running.

    Args:
        data: Frames with labels.
        recipe: Batch size, frame size and augmentation.
        seed: Of order and augmentation.
        device: Where batches are wanted.
        workers: Processes that read; 0: a thread of this one. None: as many as the processors allow where a GPU waits
            for files, else 0. Frames held on a GPU need none, whatever is given.
        rank: Number of this process among those that train one network together.
        processes: How many those are. Each gets its part of every batch; the parts in the order of the ranks are the
            batch that a single process gets.
        tiles: Of the data set, for a recipe that draws classes; found in it if not given.

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
        workers: int | None = 0,
        rank: int = 0,
        processes: int = 1,
        tiles: ClassTiles | None = None,
    ) -> None:
        self.data, self.recipe, self.seed, self.device = data, recipe, seed, device
        self.steps_per_epoch = count_steps(data, recipe)
        self.workers = _count_workers(workers, data, device, processes)
        self._part = _part_of_batch(recipe.batch_size, rank, processes)
        self._tiles = find_tiles(data) if recipe.class_uniform and tiles is None else tiles
        self._made: Generator[_Batch, None, None] | None = None
        self._next_place = (-1, -1)

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[_Batch]:
        """The batches of `epoch` from number `start` on: images (N, 3, H, W) and labels (N, H, W), both uint8.

        What was made ahead for the next epoch is kept when this one was taken to its end; otherwise it is dropped.

        Raises:
            RuntimeError: A worker process died.
        """
        finished = False
        try:
            for step in range(start, self.steps_per_epoch):
                yield self._take(epoch, step)
            finished = True
        finally:
            if not finished:
                self.close()

    def close(self) -> None:
        """End the thread or the processes that make batches ahead; a later `epoch` starts new ones."""
        if self._made is not None:
            self._made.close()
        self._made = None

    def _take(self, epoch: int, step: int) -> _Batch:
        batch = next(self._made, None) if self._made is not None and self._next_place == (epoch, step) else None
        if batch is None:
            self.close()
            self._made = self._make(epoch, step)
            batch = next(self._made)
        self._next_place = (epoch, step + 1) if step + 1 < self.steps_per_epoch else (epoch + 1, 0)
        return batch

    def _make(self, epoch: int, step: int) -> Generator[_Batch, None, None]:
        """The batches from this one on, to the end of the recipe's last epoch.

        Nothing in here refers to this object, so that dropping it ends the thread.
        """
        on_gpu = self.device.type == "cuda"
        frames = _Frames(self.data, self.recipe, self.seed, for_gpu=on_gpu, pinned=on_gpu and not self.workers)
        keys = _keys(
            self.seed,
            len(self.data),
            size=self.recipe.batch_size,
            part=self._part,
            first=(epoch, step),
            epochs=max(self.recipe.epochs, epoch + 1),
            class_uniform=self.recipe.class_uniform,
            tiles=self._tiles,
        )
        if self.workers:
            made = _from_workers(frames, keys, self.workers, pinned=on_gpu)
        elif _held_on_gpu(self.data):
            made = map(frames.__getitem__, keys)
        else:
            made = prefetch(map(frames.__getitem__, keys))
        return _beside_the_network(made, self.recipe.crop_size, self.device) if on_gpu else _moved(made, self.device)


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


def epoch_places(
    seed: int, epoch: int, count: int, *, class_uniform: float = 0.0, tiles: ClassTiles | None = None
) -> list[Place]:
    """What is shown in an epoch, as many places as there are frames: a pure function of its arguments.

    Without class-uniform places these are the frames in the order of `epoch_order`. The places of a class take that
    share of them, spread evenly, and the frames that would have stood there are left out.

    Args:
        seed: Of the run.
        epoch: Number of the epoch, from 0.
        count: Number of frames.
        class_uniform: Share of the places in which classes come equally often, see `ClassTiles.draw`.
        tiles: Of the data set, needed for that.
    """
    places = [Place(frame, frame) for frame in epoch_order(seed, epoch, count).tolist()]
    if not class_uniform:
        return places
    assert tiles is not None
    due = [place for place in range(count) if int((place + 1) * class_uniform) > int(place * class_uniform)]
    entropy = np.random.SeedSequence(seed, spawn_key=(_CLASS_STREAM, epoch))
    drawn = tiles.draw(np.random.Generator(np.random.Philox(entropy)), len(due))
    for place, tile in zip(due, drawn.tolist(), strict=True):
        row, column = tiles.centres[tile].tolist()
        # Numbers that no frame has: it may be shown at another place of the epoch as well.
        places[place] = Place(int(tiles.frames[tile]), count + place, (row, column))
    return places


def held_in_memory(data: Dataset, *, device: torch.device, progress: bool = True, processes: int = 1) -> Dataset:
    """The data set decoded once and kept as uint8 where that fits: on the GPU, else in memory, else as it is.

    Each of the `processes` that train together keeps its own copy, so that they share the memory of the computer. A
    prepared data set is decoded already, and the system keeps its files in memory, one copy for all.
    """
    if isinstance(data, InMemory):
        return data
    sample = data[0]
    needed = len(data) * (sample.image.nbytes + sample.label.nbytes)
    if device.type == "cuda" and needed < _MEMORY_SHARE * torch.cuda.mem_get_info(device)[0]:
        return InMemory(data, device=device, progress=progress)
    if isinstance(data, Prepared):
        return data
    if needed * processes < _MEMORY_SHARE * os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
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


def _keys(
    seed: int,
    count: int,
    *,
    size: int,
    part: slice,
    first: tuple[int, int],
    epochs: int,
    class_uniform: float,
    tiles: ClassTiles | None,
) -> Iterator[tuple[int, list[Place]]]:
    """Of each batch from `first` on: its epoch, and the places in this process's part."""
    for epoch in range(first[0], epochs):
        places = epoch_places(seed, epoch, count, class_uniform=class_uniform, tiles=tiles)
        for step in range(first[1] if epoch == first[0] else 0, count // size):
            yield epoch, places[step * size : (step + 1) * size][part]


class _Frames(TorchDataset):
    """The frames of a batch, asked for by epoch and places: augmented, or with what `apply_together` needs."""

    def __init__(self, data: Dataset, recipe: Recipe, seed: int, *, for_gpu: bool, pinned: bool) -> None:
        self.data, self.frame_size, self.seed = data, recipe.frame_size, seed
        self.augmentation = recipe.augmentation
        self.for_gpu, self.pinned = for_gpu, pinned

    def __getitem__(self, key: tuple[int, list[Place]]) -> tuple[Tensor, ...]:
        epoch, places = key
        samples = [self.data[place.frame] for place in places]
        images, labels = [sample.image for sample in samples], [sample.label for sample in samples]
        drawn = [
            self.augmentation.draw(
                self.seed,
                epoch,
                place.draw,
                self.frame_size or (label.shape[0], label.shape[1]),
                around=place.around,
            )
            for place, label in zip(places, labels, strict=True)
        ]
        if self.for_gpu and len({label.shape for label in labels}) == 1:
            packed = pack(drawn)
            images = [change_colours(image, one.operations) for image, one in zip(images, drawn, strict=True)]
            return self._stack(images), self._stack(labels), packed.pin_memory() if self.pinned else packed
        return apply_batch(images, labels, drawn)

    def _stack(self, parts: list[Tensor]) -> Tensor:
        if not self.pinned or parts[0].is_cuda:
            return torch.stack(parts)
        # Straight to where a GPU reads without the host waiting for it.
        return torch.stack(parts, out=torch.empty((len(parts), *parts[0].shape), dtype=torch.uint8, pin_memory=True))


def _count_workers(workers: int | None, data: Dataset, device: torch.device, processes: int) -> int:
    if workers is not None and workers < 0:
        raise ValueError(f"workers={workers!r} must be at least 0, or None.")
    if _held_on_gpu(data):
        return 0
    if workers is not None:
        return workers
    if isinstance(data, InMemory) or device.type != "cuda":
        return 0
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(_MOST_WORKERS, processors // processes - 1))


def _held_on_gpu(data: Dataset) -> bool:
    return isinstance(data, InMemory) and len(data) > 0 and data.images[0].is_cuda


def _from_workers(
    frames: _Frames, keys: Iterator[tuple[int, list[Place]]], workers: int, *, pinned: bool
) -> Iterator[tuple[Tensor, ...]]:
    # One loader for all epochs: its processes start once. One without its own generator draws from the global one.
    loader = DataLoader(
        frames,
        sampler=keys,  # type: ignore[arg-type]
        batch_size=None,
        num_workers=workers,
        prefetch_factor=2 if workers < _MANY_WORKERS else 1,
        generator=torch.Generator(),
        pin_memory=pinned,
        worker_init_fn=_ignore_interrupts,
    )
    try:
        yield from loader
    except (RuntimeError, OSError, EOFError) as error:
        # What was raised in a worker comes with these words; anything else is what its death looks like from here.
        if "in DataLoader worker process" in str(error).partition("\n")[0]:
            raise
        raise RuntimeError(
            f"A process that reads batches died: {error} Where memory ran out (also shared memory, /dev/shm), use "
            f"fewer than workers={workers}; workers=0 reads in this process and shows the cause of a crash."
        ) from error


def _ignore_interrupts(worker: int) -> None:
    """Ctrl-C reaches every process; this one goes on until the one that trains has done its step and ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _moved(made: Iterable[tuple[Tensor, ...]], device: torch.device) -> Generator[_Batch, None, None]:
    for images, labels in made:
        yield images.to(device), labels.to(device)


def _beside_the_network(
    made: Iterable[tuple[Tensor, ...]], crop: tuple[int, int], device: torch.device
) -> Generator[_Batch, None, None]:
    """The batches on a GPU, copied and augmented on a stream of their own while the step before them runs."""
    stream, batches = torch.cuda.Stream(device), iter(made)
    waiting: tuple[_Batch, torch.cuda.Event] | None = None
    while True:
        # No further ahead than one step, or the memory of the GPU would fill with batches.
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            frames = next(batches, None)
            ready = None if frames is None else (_augmented(frames, crop, device), stream.record_event())
        if waiting is not None:
            batch, event = waiting
            network = torch.cuda.current_stream(device)
            network.wait_event(event)
            for tensor in batch:
                # Its memory may be used anew on the other stream once the network is done with it, not before.
                tensor.record_stream(network)
            yield batch
        if ready is None:
            return
        waiting = ready


def _augmented(frames: tuple[Tensor, ...], crop: tuple[int, int], device: torch.device) -> _Batch:
    images, labels, *packed = (tensor.to(device, non_blocking=True) for tensor in frames)
    return apply_together(images, labels, packed[0], crop=crop) if packed else (images, labels)
