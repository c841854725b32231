from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rfkit.data.colours import change_colours
from rfkit.data.transforms import (
    MEAN,
    Augmentation,
    Parameters,
    apply,
    apply_batch,
    denormalize,
    normalize,
    resample,
)


def _frame(height: int = 24, width: int = 32, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = np.random.default_rng(seed)
    image = generator.integers(0, 256, (3, height, width), dtype=np.uint8)
    return torch.from_numpy(image), torch.from_numpy(generator.integers(0, 5, (height, width), dtype=np.uint8))


def _still(size: tuple[int, int], crop: tuple[int, int] | None = None, **changes: object) -> Parameters:
    return dataclasses.replace(Parameters(size=size, offset=(0, 0), crop=crop or size), **changes)


def test_draw_depends_on_seed_epoch_and_index_alone() -> None:
    augmentation = Augmentation(crop=(16, 16))
    state = torch.get_rng_state()
    first = augmentation.draw(1, epoch=2, index=3, size=(24, 32))
    assert first == augmentation.draw(1, epoch=2, index=3, size=(24, 32))
    for other in ((2, 2, 3), (1, 3, 3), (1, 2, 4), (1, 3, 2)):
        assert first != augmentation.draw(other[0], epoch=other[1], index=other[2], size=(24, 32))
    assert torch.equal(torch.get_rng_state(), state)


def test_draw_is_the_same_in_every_version() -> None:
    # A run that is continued later must meet the same numbers: these were recorded once.
    drawn = Augmentation(crop=(16, 16), hue=0.1).draw(7, epoch=1, index=5, size=(24, 32))
    assert (drawn.size, drawn.offset, drawn.flip) == ((17, 23), (1, 2), True)
    jitter = [drawn.brightness, drawn.contrast, drawn.saturation, drawn.hue]
    assert jitter == pytest.approx(
        [0.7697179086071171, 0.6427089172545467, 1.0789804786535915, -0.07825308131580118], abs=1e-12
    )


def test_draws_fill_their_ranges() -> None:
    augmentation = Augmentation(scale=(0.5, 1.5), crop=(100, 100), hue=0.1)
    drawn = [augmentation.draw(0, epoch=0, index=index, size=(100, 200)) for index in range(2000)]
    scales = np.array([parameters.size[0] / 100 for parameters in drawn])
    # Uniform on [0.5, 1.5]: mean 1, standard deviation 1 / sqrt(12); four standard errors of the mean.
    assert abs(scales.mean() - 1) < 4 / np.sqrt(12 * 2000)
    assert 0.5 <= scales.min() < 0.51
    assert 1.49 < scales.max() <= 1.5
    assert abs(np.mean([parameters.flip for parameters in drawn]) - 0.5) < 4 * 0.5 / np.sqrt(2000)
    for name in ("brightness", "contrast", "saturation"):
        factors = np.array([getattr(parameters, name) for parameters in drawn])
        assert 0.5 <= factors.min() < 0.51
        assert 1.49 < factors.max() <= 1.5
    assert max(abs(parameters.hue) for parameters in drawn) <= 0.1
    assert all(parameters.size[1] == pytest.approx(2 * parameters.size[0], abs=1) for parameters in drawn)


@settings(max_examples=60, deadline=None)
@given(index=st.integers(0, 10_000), height=st.integers(1, 60), width=st.integers(1, 60))
def test_crop_lies_in_the_frame_or_covers_it(index: int, height: int, width: int) -> None:
    drawn = Augmentation(crop=(20, 30)).draw(0, epoch=0, index=index, size=(height, width))
    for side, offset, crop in zip(drawn.size, drawn.offset, drawn.crop, strict=True):
        low, high = sorted((0, side - crop))
        assert low <= offset <= high
    image, label = _frame(height, width)
    result, target = apply(image, label, drawn)
    assert result.shape == (3, 20, 30)
    assert target.shape == (20, 30)
    assert (result.dtype, target.dtype) == (torch.uint8, torch.uint8)
    # What is labelled is exactly the part of the frame that the crop holds.
    inside = np.prod([min(side, crop) for side, crop in zip(drawn.size, drawn.crop, strict=True)])
    assert int((target != 255).sum()) == inside


@settings(max_examples=100, deadline=None)
@given(
    index=st.integers(0, 10_000),
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    around=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_crop_around_a_point_holds_it(index: int, height: int, width: int, around: tuple[float, float]) -> None:
    augmentation = Augmentation(crop=(20, 30))
    drawn = augmentation.draw(0, epoch=0, index=index, size=(height, width), around=around)
    for share, side, offset, crop in zip(around, drawn.size, drawn.offset, drawn.crop, strict=True):
        assert offset <= min(side - 1, int(share * side)) < offset + crop
        low, high = sorted((0, side - crop))
        assert low <= offset <= high
    elsewhere = augmentation.draw(0, epoch=0, index=index, size=(height, width))
    assert dataclasses.replace(drawn, offset=elsewhere.offset) == elsewhere


def test_a_point_lies_anywhere_in_the_crop() -> None:
    augmentation = Augmentation(crop=(20, 30), scale=(1.0, 1.0))
    drawn = [augmentation.draw(0, epoch=0, index=n, size=(200, 300), around=(0.5, 0.5)).offset for n in range(2000)]
    assert {100 - row for row, _ in drawn} == set(range(20))
    assert {150 - column for _, column in drawn} == set(range(30))


def test_colour_operations_come_first_and_leave_the_other_draws_alone() -> None:
    image, label = _frame()
    plain, changed = Augmentation(crop=(16, 16)), Augmentation(crop=(16, 16), colour_operations=2)
    for index in range(20):
        drawn = changed.draw(0, epoch=1, index=index, size=(24, 32))
        assert len(drawn.operations) == 2
        assert dataclasses.replace(drawn, operations=()) == plain.draw(0, epoch=1, index=index, size=(24, 32))
        expected = apply(change_colours(image, drawn.operations), label, dataclasses.replace(drawn, operations=()))
        assert all(torch.equal(one, other) for one, other in zip(apply(image, label, drawn), expected, strict=True))
    assert len({changed.draw(0, 1, index, (24, 32)).operations for index in range(20)}) > 10


def test_nothing_drawn_changes_nothing() -> None:
    image, label = _frame()
    result, target = apply(image, label, _still((24, 32)))
    assert torch.equal(result, image)
    assert torch.equal(target, label)


def test_flip_exchanges_left_and_right_of_both() -> None:
    image, label = _frame()
    result, target = apply(image, label, _still((24, 32), flip=True))
    assert torch.equal(result, image.flip(-1))
    assert torch.equal(target, label.flip(-1))


@pytest.mark.parametrize("flip", [False, True])
def test_crop_beyond_the_frame_is_the_mean_colour_and_unlabelled(flip: bool) -> None:
    image, label = _frame(4, 6)
    result, target = apply(image, label, _still((4, 6), (8, 10), offset=(-1, -3), flip=flip))
    if flip:
        result, target = result.flip(-1), target.flip(-1)
    assert torch.equal(result[:, 1:5, 3:9], image)
    assert torch.equal(target[1:5, 3:9], label)
    outside = torch.ones(8, 10, dtype=torch.bool)
    outside[1:5, 3:9] = False
    assert (target[outside] == 255).all()
    assert normalize(result)[:, outside].abs().max() < 0.5 / 255 / 0.22


def test_crop_takes_the_offset_in_the_resampled_frame() -> None:
    image, label = _frame()
    whole, whole_target = apply(image, label, _still((36, 48)))
    part, part_target = apply(image, label, _still((36, 48), (10, 12), offset=(5, 7)))
    assert torch.equal(part, whole[:, 5:15, 7:19])
    assert torch.equal(part_target, whole_target[5:15, 7:19])


def test_image_and_label_stay_aligned_when_resampled() -> None:
    label = torch.zeros(40, 40, dtype=torch.uint8)
    label[12:28, 16:36] = 1
    image = (label * 200)[None].expand(3, -1, -1).contiguous()
    for size in ((20, 20), (60, 60), (80, 80)):
        result, target = apply(image, label, _still(size))
        for dimension in (0, 1):
            places = torch.arange(size[dimension])
            bright, inside = (values.float().sum(1 - dimension) for values in (result[0], target))
            shift = (bright * places).sum() / bright.sum() - (inside * places).sum() / inside.sum()
            # Aligning the corners of one and the pixel areas of the other would move them by half a pixel and more.
            assert abs(float(shift)) < 0.35


def test_labels_are_never_mixed() -> None:
    _, label = _frame()
    label = label * 50
    label[:5] = 255
    for size in ((13, 17), (47, 63)):
        _, target = apply(_frame()[0], label, _still(size))
        assert set(target.unique().tolist()) <= set(label.unique().tolist())


def test_shrinking_averages_instead_of_skipping() -> None:
    # One column in four is white: taking the nearest two pixels would give black, averaging gives a quarter.
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    image[:, :, ::4] = 255
    result, _ = apply(image, torch.zeros(32, 32, dtype=torch.uint8), _still((8, 8)))
    assert result[:, :, 1:-1].float().sub(255 / 4).abs().max() < 10


def test_labels_take_the_pixel_at_their_centre() -> None:
    label = torch.arange(9, dtype=torch.uint8).expand(3, 9).contiguous()
    _, target = apply(torch.zeros(3, 3, 9, dtype=torch.uint8), label, _still((1, 3)))
    assert target.tolist() == [[1, 4, 7]]


def test_brightness_contrast_and_saturation_by_hand() -> None:
    image = torch.tensor([[[100, 20]], [[50, 20]], [[10, 20]]], dtype=torch.uint8)
    label = torch.zeros(1, 2, dtype=torch.uint8)

    def pixels(**changes: float) -> list[list[int]]:
        return apply(image, label, _still((1, 2), **changes))[0][:, 0].T.tolist()

    assert pixels(brightness=1.5) == [[150, 75, 15], [30, 30, 30]]
    # Gray of the first pixel 0.299 * 100 + 0.587 * 50 + 0.114 * 10 = 60.39, of the second 20.
    assert pixels(saturation=0.5) == [[80, 55, 35], [20, 20, 20]]
    assert pixels(saturation=0.0) == [[60, 60, 60], [20, 20, 20]]
    # Mean gray 40.195: 40.195 + 0.5 * (value - 40.195).
    assert pixels(contrast=0.5) == [[70, 45, 25], [30, 30, 30]]
    # A third of a turn moves red to green, green to blue, blue to red.
    assert pixels(hue=1 / 3) == [[10, 100, 50], [20, 20, 20]]
    assert pixels(brightness=3.0) == [[255, 150, 30], [60, 60, 60]]


def test_jitter_leaves_gray_gray_and_labels_alone() -> None:
    image = torch.full((3, 5, 5), 90, dtype=torch.uint8)
    label = _frame(5, 5)[1]
    result, target = apply(image, label, _still((5, 5), saturation=1.4, contrast=0.6, hue=0.2))
    assert (result.int() - 90).abs().max() <= 1
    assert torch.equal(target, label)


def test_batch_is_the_frames_one_by_one() -> None:
    augmentation = Augmentation(crop=(20, 20), hue=0.05)
    frames = [_frame(24, 32, 0), _frame(24, 32, 1), _frame(30, 18, 2)]
    drawn = [
        augmentation.draw(0, epoch=0, index=index, size=tuple(frame[1].shape)) for index, frame in enumerate(frames)
    ]
    images, labels = apply_batch([frame[0] for frame in frames], [frame[1] for frame in frames], drawn)
    for place, (frame, parameters) in enumerate(zip(frames, drawn, strict=True)):
        image, label = apply(*frame, parameters)
        assert torch.equal(images[place], image)
        assert torch.equal(labels[place], label)


@pytest.mark.gpu
def test_same_draw_on_cpu_and_gpu() -> None:
    augmentation = Augmentation(crop=(90, 120), hue=0.05)
    image, label = _frame(120, 160)
    for index in range(20):
        drawn = augmentation.draw(0, epoch=0, index=index, size=(120, 160))
        here, there = apply(image, label, drawn), apply(image.cuda(), label.cuda(), drawn)
        assert (here[0].int() - there[0].cpu().int()).abs().max() <= 1
        assert (here[1] != there[1].cpu()).float().mean() < 0.01


def test_normalize_by_hand_and_back() -> None:
    image = torch.tensor([0, 255, 128], dtype=torch.uint8)[:, None, None].expand(3, 2, 2)
    expected = [(0 - MEAN[0]) / 0.229, (1 - MEAN[1]) / 0.224, (128 / 255 - MEAN[2]) / 0.225]
    assert normalize(image)[:, 0, 0].tolist() == pytest.approx(expected, abs=1e-5)
    every = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(2, 3, 16, 16)
    assert torch.equal(denormalize(normalize(every)), every)


def test_resample_takes_batches_and_keeps_what_fits() -> None:
    image = torch.rand(2, 3, 8, 8)
    assert resample(image, (8, 8)) is image
    assert torch.equal(resample(image, (4, 4))[1], resample(image[1], (4, 4)))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("scale", (1.5, 0.5), r"scale=\(1.5, 0.5\) must be \(lowest, highest\)"),
        ("scale", (0.0, 1.0), "0 < lowest"),
        ("crop", (0, 10), "crop=0 must be above 0"),
        ("flip", 1.5, r"flip=1.5 must be in \[0, 1\]"),
        ("brightness", -0.1, "brightness=-0.1"),
        ("hue", 0.6, r"hue=0.6 must be in \[0, 0.5\] turns"),
    ],
)
def test_ranges_are_checked(field: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation(**{field: value})
