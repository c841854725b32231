from __future__ import annotations

import numpy as np
import pytest
import torch

from rfkit.data.scene_classes import class_table
from rfkit.data.scenes import Scenes

SMALL = (72, 96)


@pytest.fixture(scope="module")
def twenty() -> list:
    """Samples and descriptions of twenty scenes with the finest classes, of which all others are mergers."""
    scenes = Scenes("train", size=(90, 120), length=20, seed=3, num_classes=20)
    return [(scenes[index], scenes.describe(index)) for index in range(20)]


@pytest.fixture(scope="module")
def large() -> list:
    scenes = Scenes("train", size=(360, 480), length=4)
    return [scenes.describe(index) for index in range(4)]


def test_two_data_sets_of_one_seed_are_the_same() -> None:
    first, second = Scenes("train", size=SMALL, length=3), Scenes("train", size=SMALL, length=3)
    second[1]
    for index in (2, 0):
        assert torch.equal(first[index].image, second[index].image)
        assert torch.equal(first[index].label, second[index].label)
        assert first.describe(index) == second.describe(index)


@pytest.mark.parametrize(
    "other",
    [
        lambda: Scenes("train", size=SMALL, length=3, seed=1)[0],
        lambda: Scenes("val", size=SMALL, length=3)[0],
        lambda: Scenes("train", size=SMALL, length=3)[1],
    ],
)
def test_seed_split_and_index_change_the_scene(other) -> None:
    reference, sample = Scenes("train", size=SMALL, length=3)[0], other()
    assert (reference.label != sample.label).float().mean() > 0.05
    assert reference.name != sample.name


def test_trainval_is_train_followed_by_val() -> None:
    train, val, both = (Scenes(split, size=(16, 16)) for split in ("train", "val", "trainval"))
    assert both.names == train.names + val.names
    assert torch.equal(both[len(train) + 1].image, val[1].image)
    assert not {*train.names} & {*val.names, *Scenes("test", size=(16, 16)).names}


def test_global_generators_are_left_alone() -> None:
    before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    Scenes("train", size=SMALL, length=1).describe(0)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(torch_before, torch.get_rng_state())


def test_every_class_occurs_and_the_thin_ones_are_rare(twenty: list) -> None:
    merged = class_table(11)
    counts = np.zeros(11)
    for sample, _ in twenty:
        label = sample.label.numpy()
        counts += np.bincount(merged.of_fine[label[label != 255]], minlength=11)
    share = dict(zip(merged.names, counts / counts.sum(), strict=True))
    assert min(share.values()) > 0.001, share
    assert share["Road"] + share["Building"] + share["Sky"] > 0.5
    for thin in ("Pole", "SignSymbol", "Pedestrian", "Bicyclist", "Fence"):
        assert share[thin] < 0.06, share


def test_the_sky_is_above_the_road(twenty: list) -> None:
    rows = np.arange(90)[:, None]
    for sample, description in twenty:
        label = sample.label.numpy()
        sky, road = label == 0, label == 3
        assert road.sum() > 0.05 * label.size
        assert (rows * road).sum() / road.sum() > description.horizon
        if sky.any():
            assert (rows * sky).sum() / sky.sum() < description.horizon
            assert np.flatnonzero(sky.any(axis=1)).max() <= description.horizon + 1


def test_boxes_and_counts_agree_with_the_label_map(twenty: list) -> None:
    for sample, description in twenty:
        label = sample.label.numpy()
        assert description.objects
        for item in description.objects:
            top, left, bottom, right = item.box
            inside = label[top : bottom + 1, left : right + 1] == item.class_index
            assert inside.sum() >= item.visible > 0
            for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
                assert edge.any(), item


def test_all_pixels_of_movable_classes_belong_to_objects(twenty: list) -> None:
    for sample, description in twenty:
        for index in (2, 6, 8, 9, 10, 11, 13, 14, 15, 17, 18):
            listed = sum(item.visible for item in description.objects if item.class_index == index)
            assert listed == int((sample.label == index).sum())


def test_sizes_follow_from_height_and_depth(large: list) -> None:
    exact = 0
    for description in large:
        for item in description.objects:
            tall = description.focal * item.height / item.depth
            top, _, bottom, _ = item.box
            # The near end of a long vehicle is nearer than its middle.
            if item.name not in ("bus", "truck", "tram"):
                assert bottom - top + 1 <= 1.9 * tall + 3, item
            if item.name == "lamp post" and top > 0 and bottom < 359:
                exact += abs(bottom - top + 1 - tall) <= 0.1 * tall + 2
    assert exact >= 2


def test_objects_span_a_broad_range_of_sizes(large: list) -> None:
    cars = [item for description in large for item in description.objects if item.class_index == 8]
    widths = [item.box[3] - item.box[1] + 1 for item in cars]
    assert min(widths) <= 10
    assert max(widths) >= 120


@pytest.mark.parametrize("size", [(33, 47), (16, 16), (16, 300), (301, 17), (128, 256)])
def test_any_size(size: tuple[int, int]) -> None:
    sample = Scenes("val", size=size, length=3)[1]
    assert sample.image.shape == (3, *size)
    assert sample.label.shape == size
    assert sample.image.float().std() > 5


def test_a_scene_shows_the_same_at_any_size() -> None:
    small = Scenes("train", size=(90, 120), length=2, void_border=False)
    large = Scenes("train", size=(180, 240), length=2, void_border=False)
    for index in range(2):
        assert (small[index].label == large[index].label[1::2, 1::2]).float().mean() > 0.9


@pytest.mark.parametrize("num_classes", [2, 5, 11, 19, 20])
def test_numbers_of_classes(num_classes: int, twenty: list) -> None:
    scenes = Scenes("train", size=(90, 120), length=20, seed=3, num_classes=num_classes)
    assert scenes.num_classes == len(set(scenes.classes)) == len(scenes.colours) == num_classes
    merged = class_table(num_classes).of_fine
    seen = {int(merged[value]) for sample, _ in twenty for value in sample.label.unique() if value != 255}
    assert len(seen) >= min(num_classes, 17)
    assert set(scenes[0].label.unique().tolist()) <= {*seen, 255}


def test_fewer_classes_are_a_merger_of_more() -> None:
    fine, coarse = (Scenes("train", size=SMALL, length=1, num_classes=n, void_border=False) for n in (20, 7))
    pairs = torch.stack([fine[0].label.flatten(), coarse[0].label.flatten()]).unique(dim=1)
    assert pairs.shape[1] == pairs[0].unique().numel()
    assert torch.equal(fine[0].image, coarse[0].image)


@pytest.mark.parametrize("num_classes", range(2, 21))
def test_class_tables_use_every_class(num_classes: int) -> None:
    table = class_table(num_classes)
    assert len(set(table.names)) == num_classes
    assert set(table.of_fine.tolist()) == set(range(num_classes))
    assert len({tuple(colour) for colour in table.colours.tolist()}) == num_classes


def test_void_borders_are_thin_and_optional() -> None:
    with_border = Scenes("train", size=(120, 160), length=2)
    without = Scenes("train", size=(120, 160), length=2, void_border=False)
    for index in range(2):
        void = with_border[index].label == 255
        assert 0.002 < void.float().mean() < 0.15
        assert not (without[index].label == 255).any()
        assert torch.equal(with_border[index].label[~void], without[index].label[~void])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(split="training"), "split='training' is not known; allowed: train, val, test, trainval"),
        (dict(size=(8, 64)), r"size=\(8, 64\) must be \(height, width\), whole numbers of at least 16"),
        (dict(length=0), "length=0 must be a whole number above 0, or None for 400"),
        (dict(num_classes=1), "num_classes=1 must be a whole number from 2 to 20"),
        (dict(num_classes=21), "num_classes=21 must be"),
        (dict(seed=-1), "seed=-1 must be a whole number from 0"),
    ],
)
def test_bad_arguments_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Scenes(**options)


def test_an_index_out_of_range_is_named() -> None:
    scenes = Scenes("val", size=SMALL, length=2)
    assert scenes[-1].name == scenes.names[1]
    with pytest.raises(IndexError, match="index=2 is out of range; there are 2 scenes"):
        scenes[2]
