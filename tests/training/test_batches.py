from __future__ import annotations

import pytest
import torch

from rfkit.data.dataset import InMemory
from rfkit.training.batches import Batches, epoch_order, held_in_memory
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


def test_the_global_generator_is_left_alone(patches: type, recipe: Recipe) -> None:
    before = torch.get_rng_state()
    list(Batches(patches(), recipe, seed=0, device=CPU).epoch(0))
    assert torch.equal(before, torch.get_rng_state())
