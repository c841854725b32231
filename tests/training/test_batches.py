from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch

from rfkit._checks import DataError
from rfkit.data.dataset import Dataset, InMemory, Sample
from rfkit.data.tiles import ClassTiles, find_tiles
from rfkit.data.transforms import apply
from rfkit.training.batches import Batches, Place, epoch_order, epoch_places, held_in_memory
from rfkit.training.recipe import Recipe, get_recipe

CPU = torch.device("cpu")


@pytest.fixture
def recipe() -> Recipe:
    return get_recipe("camvid-paper", batch_size=4, frame_size=(16, 24), crop_size=(12, 12))


def test_order_is_a_permutation_of_seed_and_epoch() -> None:
    order = epoch_order(3, 5, 100)
    assert sorted(order) == list(range(100))
    assert (order == epoch_order(3, 5, 100)).all()
    assert (order != epoch_order(3, 6, 100)).any()
    assert (order != epoch_order(4, 5, 100)).any()
    # Recorded once: a run that is continued later must meet the same order.
    assert epoch_order(0, 0, 8).tolist() == [4, 1, 3, 6, 0, 5, 2, 7]


def test_without_classes_the_places_are_the_frames_in_order() -> None:
    assert epoch_places(3, 5, 100) == [Place(frame, frame) for frame in epoch_order(3, 5, 100).tolist()]


def test_classes_take_their_share_of_the_places() -> None:
    # Nine frames in ten hold class 0 alone, one class 1: half of the places by turns.
    classes = np.array([0] * 90 + [1] * 10)
    tiles = ClassTiles(np.arange(100), classes, np.full((100, 2), 0.25))
    order = epoch_order(3, 5, 100).tolist()
    shown = np.zeros(100)
    for epoch in range(200):
        places = epoch_places(3, epoch, 100, class_uniform=0.5, tiles=tiles)
        assert places == epoch_places(3, epoch, 100, class_uniform=0.5, tiles=tiles)
        drawn = [place for place in places if place.around]
        # Spread evenly: one in two.
        assert [place.around for place in places] == [None, (0.25, 0.25)] * 50
        assert sum(classes[place.frame] for place in drawn) == 25
        assert len({place.draw for place in places}) == 100
        assert all(place.draw == place.frame for place in places if place.around is None)
        shown += np.bincount([place.frame for place in places], minlength=100)
    assert [place.frame for place in epoch_places(3, 5, 100, class_uniform=0.5, tiles=tiles)][::2] == order[::2]
    # A frame of class k is shown 1/2 + 25/n_k times an epoch, so that class 1 has (5 + 25)/100 of it instead of 10/100.
    expected = np.where(classes, 0.5 + 25 / 10, 0.5 + 25 / 90)
    assert abs(shown[classes == 1].mean() / 200 - 3.0) < 4 * np.sqrt(0.25 / 200 / 10)
    assert (abs(shown / 200 - expected) < 5 * np.sqrt((0.25 + expected) / 200)).all()
    assert sum(place.around is not None for place in epoch_places(0, 0, 100, class_uniform=0.3, tiles=tiles)) == 30


@pytest.mark.parametrize("workers", [0, 1])
def test_crops_hold_their_class_more_often(patches: type, recipe: Recipe, workers: int) -> None:
    """Squares of a rare class: crops around them show more of it, and are the same from memory and from processes."""

    class Rare(patches):
        def __getitem__(self, index: int) -> Sample:
            sample = super().__getitem__(index)
            label = torch.zeros_like(sample.label)
            if index == 7:
                label[2:4, 20:22] = 1
            return Sample(sample.image, label, sample.name)

    still = get_recipe(recipe, crop_size=(8, 8), frame_size=(16, 24), scale=(1.0, 1.0), epochs=60)
    uniform = get_recipe(still, class_uniform=1.0)
    data = Rare()

    def shown(plan: Recipe, source: Dataset = data, **options: int) -> list[list[int]]:
        batches = Batches(source, plan, seed=1, device=CPU, **options)
        counts = [
            [int((label == 1).any()) for label in labels]
            for epoch in range(8)
            for _, labels in batches.epoch(epoch)
        ]
        batches.close()
        return counts

    # Without: one frame in twelve, of which few crops reach the square. With: half of all crops are drawn around it.
    plain, half = sum(map(sum, shown(still))), shown(uniform, workers=workers)
    assert plain <= 8
    assert 48 <= sum(map(sum, half)) <= 52
    assert shown(uniform, held_in_memory(data, device=CPU, progress=False)) == half
    parts = [shown(uniform, rank=rank, processes=2) for rank in range(2)]
    assert [first + second for first, second in zip(*parts, strict=True)] == half


def test_an_epoch_shows_every_frame_once_but_for_the_rest(patches: type, recipe: Recipe) -> None:
    data = patches(count=11)
    batches = Batches(data, recipe, seed=0, device=CPU)
    assert batches.steps_per_epoch == 2
    shown = list(batches.epoch(0))
    assert [tuple(images.shape) for images, _ in shown] == [(4, 3, 12, 12)] * 2
    assert all(labels.dtype == torch.uint8 for _, labels in shown)


def test_an_epoch_can_be_entered_in_the_middle(patches: type, recipe: Recipe) -> None:
    batches = Batches(patches(), recipe, seed=0, device=CPU)
    whole, rest = list(batches.epoch(2)), list(batches.epoch(2, start=1))
    assert len(rest) == len(whole) - 1
    for (images, labels), (other_images, other_labels) in zip(whole[1:], rest, strict=True):
        assert torch.equal(images, other_images)
        assert torch.equal(labels, other_labels)
    assert not torch.equal(whole[0][0], next(batches.epoch(3))[0])


def test_in_memory_or_not_is_the_same(patches: type, recipe: Recipe) -> None:
    kept = held_in_memory(patches(), device=CPU, progress=False)
    assert isinstance(kept, InMemory)
    assert held_in_memory(kept, device=CPU) is kept
    pairs = zip(
        Batches(patches(), recipe, seed=1, device=CPU).epoch(0),
        Batches(kept, recipe, seed=1, device=CPU).epoch(0),
        strict=True,
    )
    assert all(torch.equal(first[0], second[0]) and torch.equal(first[1], second[1]) for first, second in pairs)


def test_what_does_not_fit_stays_on_disk(patches: type, monkeypatch: pytest.MonkeyPatch) -> None:
    data = patches()
    monkeypatch.setattr("os.sysconf", lambda name: 10)
    assert held_in_memory(data, device=CPU, progress=False) is data


def test_processes_share_the_memory(patches: type, monkeypatch: pytest.MonkeyPatch) -> None:
    data = patches()
    # 12 frames of 16x24, 3 colours and a label: 18432 bytes, and half of the free memory may be taken.
    monkeypatch.setattr("os.sysconf", lambda name: {"SC_AVPHYS_PAGES": 40, "SC_PAGE_SIZE": 1024}[name])
    assert isinstance(held_in_memory(data, device=CPU, progress=False), InMemory)
    assert held_in_memory(data, device=CPU, progress=False, processes=2) is data


def test_scale_one_is_the_frame_size_of_the_recipe(patches: type) -> None:
    # Frames of 16x24 under a recipe made for 32x48: they are enlarged, so that nothing of the crop is empty.
    recipe = get_recipe(
        "camvid-paper", batch_size=4, frame_size=(32, 48), crop_size=(32, 48), scale=(1.0, 1.0), flip=0.0
    )
    _, labels = next(Batches(patches(), recipe, seed=0, device=CPU).epoch(0))
    assert ((labels == 255).flatten(1).sum(1) == 2 * 48).all()
    own = get_recipe(recipe, frame_size=None)
    _, labels = next(Batches(patches(), own, seed=0, device=CPU).epoch(0))
    assert ((labels == 255).flatten(1).sum(1) == 32 * 48 - 15 * 24).all()


def test_more_frames_a_batch_than_there_are_is_an_error(patches: type, recipe: Recipe) -> None:
    with pytest.raises(ValueError, match="batch_size=4 is more than the 3 frames of patches train; allowed: 1 to 3"):
        Batches(patches(count=3), recipe, seed=0, device=CPU)


@pytest.mark.parametrize("processes", [2, 3, 4])
def test_parts_of_the_processes_are_the_batch_of_one(patches: type, recipe: Recipe, processes: int) -> None:
    whole = Batches(patches(), recipe, seed=3, device=CPU).epoch(1, start=1)
    ranks = [
        Batches(patches(), recipe, seed=3, device=CPU, rank=rank, processes=processes) for rank in range(processes)
    ]
    count = 0
    for (images, labels), *parts in zip(whole, *(batches.epoch(1, start=1) for batches in ranks), strict=True):
        assert torch.equal(torch.cat([part[0] for part in parts]), images)
        assert torch.equal(torch.cat([part[1] for part in parts]), labels)
        sizes = [len(part[0]) for part in parts]
        assert max(sizes) - min(sizes) <= 1
        count += 1
    assert count == ranks[0].steps_per_epoch - 1 > 0


def test_every_process_needs_a_frame_of_each_batch(patches: type, recipe: Recipe) -> None:
    with pytest.raises(ValueError, match="batch_size=4 is less than processes=5"):
        Batches(patches(), recipe, seed=0, device=CPU, processes=5)
    with pytest.raises(ValueError, match="rank=2 with processes=2; allowed: 0 to 1"):
        Batches(patches(), recipe, seed=0, device=CPU, rank=2, processes=2)
    with pytest.raises(ValueError, match="processes=0 must be"):
        Batches(patches(), recipe, seed=0, device=CPU, processes=0)


@pytest.mark.parametrize("workers", [0, 1])
def test_the_global_generator_is_left_alone(patches: type, recipe: Recipe, workers: int) -> None:
    before = torch.get_rng_state()
    list(Batches(patches(), recipe, seed=0, device=CPU, workers=workers).epoch(0))
    assert torch.equal(before, torch.get_rng_state())


def _same(first: list[tuple[torch.Tensor, torch.Tensor]], second: list[tuple[torch.Tensor, torch.Tensor]]) -> bool:
    pairs = zip(first, second, strict=True)
    return all(torch.equal(one[0], other[0]) and torch.equal(one[1], other[1]) for one, other in pairs)


def _one_by_one(data: Dataset, recipe: Recipe, epoch: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The batches of an epoch as the definition says."""
    tiles = find_tiles(data) if recipe.class_uniform else None
    places = epoch_places(5, epoch, len(data), class_uniform=recipe.class_uniform, tiles=tiles)
    frames = [
        apply(
            data[place.frame].image,
            data[place.frame].label,
            recipe.augmentation.draw(5, epoch=epoch, index=place.draw, size=(16, 24), around=place.around),
        )
        for place in places
    ]
    size = recipe.batch_size
    return [
        (torch.stack([image for image, _ in part]), torch.stack([label for _, label in part]))
        for part in (frames[first : first + size] for first in range(0, len(frames) - size + 1, size))
    ]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("more", [{}, {"class_uniform": 0.5, "colour_operations": 2}])
def test_batches_made_ahead_are_those_of_the_definition(
    patches: type, recipe: Recipe, workers: int, more: dict[str, float]
) -> None:
    data, recipe = patches(count=11), get_recipe(recipe, **more)
    batches = Batches(data, recipe, seed=5, device=CPU, workers=workers)
    for epoch in (0, 1, 4):
        assert _same(list(batches.epoch(epoch)), _one_by_one(data, recipe, epoch))
    batches.close()


def test_epochs_taken_in_turns_are_not_mixed_up(patches: type, recipe: Recipe) -> None:
    data = patches()
    batches = Batches(data, recipe, seed=5, device=CPU)
    first, second = [], []
    for one, other in zip(batches.epoch(0), batches.epoch(1), strict=True):
        first.append(one)
        second.append(other)
    assert _same(first, _one_by_one(data, recipe, 0))
    assert _same(second, _one_by_one(data, recipe, 1))


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "rfkit-prefetch"]


@pytest.mark.parametrize("how", ["left early", "closed", "dropped", "last epoch"])
def test_no_thread_is_left_over(patches: type, recipe: Recipe, how: str) -> None:
    batches = Batches(patches(), get_recipe(recipe, epochs=2), seed=0, device=CPU)
    if how == "left early":
        next(batches.epoch(0))
    else:
        list(batches.epoch(1 if how == "last epoch" else 0))
    if how == "closed":
        assert _threads()
        batches.close()
    if how == "dropped":
        assert _threads()
        del batches
    if how == "last epoch":
        batches.close()
    assert not _threads()


class _Damaged(Dataset):
    """A frame of this data set cannot be read."""

    def __init__(self, frames: Dataset, error: Exception | None) -> None:
        self.frames, self.error = frames, error
        self.name, self.split, self.names, self.classes = frames.name, frames.split, frames.names, frames.classes

    def __getitem__(self, index: int) -> Sample:
        if index == 3 and self.error is None:
            os.kill(os.getpid(), signal.SIGKILL)
        if index == 3 and self.error is not None:
            raise self.error
        return self.frames[index]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    "error", [DataError("cannot be decoded"), FileNotFoundError("cannot be decoded"), RuntimeError("cannot be decoded")]
)
def test_what_is_wrong_with_a_frame_is_told(patches: type, recipe: Recipe, workers: int, error: Exception) -> None:
    batches = Batches(_Damaged(patches(), error), recipe, seed=0, device=CPU, workers=workers)
    with pytest.raises(type(error), match="cannot be decoded"):
        list(batches.epoch(0))
    assert not _threads()


# torch's connection to a process that died may be left to the garbage collector; and where its handler hears of the
# death while torch's own iterator is being deleted, the error is raised there, and nobody can catch it.
def _quiet_about_a_death(test: Callable[..., None]) -> Callable[..., None]:
    for ignored in ("unclosed <socket:ResourceWarning", "Exception ignored:pytest.PytestUnraisableExceptionWarning"):
        test = pytest.mark.filterwarnings(f"ignore:{ignored}")(test)
    return test


@_quiet_about_a_death
def test_a_worker_that_dies_is_an_error(patches: type, recipe: Recipe) -> None:
    batches = Batches(_Damaged(patches(), None), recipe, seed=0, device=CPU, workers=1)
    with pytest.raises(RuntimeError, match=r"A process that reads batches died: .* fewer than workers=1"):
        list(batches.epoch(0))


@_quiet_about_a_death
def test_a_worker_that_is_killed_is_an_error(patches: type, recipe: Recipe) -> None:
    # The batches that it has made and that nobody has fetched die with it.
    epoch = Batches(patches(count=24), recipe, seed=0, device=CPU, workers=1).epoch(0)
    next(epoch)
    for child in multiprocessing.active_children():
        os.kill(child.pid or 0, signal.SIGKILL)
        child.join()
    with pytest.raises(RuntimeError, match="A process that reads batches died"):
        list(epoch)


def test_a_worker_outlives_ctrl_c(patches: type, recipe: Recipe) -> None:
    data = patches()
    batches = Batches(data, recipe, seed=5, device=CPU, workers=1)
    epoch = batches.epoch(0)
    shown = [next(epoch)]
    for child in multiprocessing.active_children():
        os.kill(child.pid or 0, signal.SIGINT)
    assert _same([*shown, *epoch], _one_by_one(data, recipe, 0))
    batches.close()


def test_workers_are_as_many_as_are_needed(patches: type, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(12)), raising=False)

    def workers(data: Dataset, device: str, given: int | None = None, processes: int = 1) -> int:
        return Batches(data, recipe, seed=0, device=torch.device(device), workers=given, processes=processes).workers

    assert workers(patches(), "cpu") == 0
    assert workers(InMemory(patches(), progress=False), "cuda") == 0
    assert workers(patches(), "cuda") == 11
    assert workers(patches(), "cuda", processes=4) == 2
    assert workers(patches(), "cuda", given=5) == 5
    with pytest.raises(ValueError, match="workers=-1 must be at least 0, or None"):
        workers(patches(), "cpu", given=-1)


@pytest.mark.gpu
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("more", [{}, {"class_uniform": 0.5, "colour_operations": 2}])
def test_batches_on_a_gpu_are_those_of_the_cpu(
    patches: type, recipe: Recipe, workers: int, held: bool, more: dict[str, float]
) -> None:
    gpu = torch.device("cuda")
    data, recipe = patches(count=11), get_recipe(recipe, **more)
    batches = Batches(
        InMemory(data, device=gpu, progress=False) if held else data, recipe, seed=5, device=gpu, workers=workers
    )
    for epoch in range(3):
        made = list(batches.epoch(epoch))
        for (images, labels), (expected, expected_labels) in zip(made, _one_by_one(data, recipe, epoch), strict=True):
            assert (images.cpu().int() - expected.int()).abs().max() <= 1
            assert (labels.cpu() != expected_labels).float().mean() < 0.02
    batches.close()
