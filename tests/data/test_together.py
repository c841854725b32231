from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from rfkit.data.colours import change_colours
from rfkit.data.together import apply_together, pack
from rfkit.data.transforms import Augmentation, Parameters, apply_batch

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def _frames(count: int, height: int = 48, width: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, 3, height, width), dtype=np.uint8)
    return torch.from_numpy(images), torch.from_numpy(generator.integers(0, 5, (count, height, width), dtype=np.uint8))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("crop", [(20, 30), (48, 64), (90, 40)])
@pytest.mark.parametrize("operations", [0, 2])
def test_it_is_what_the_frames_get_one_by_one(device: str, crop: tuple[int, int], operations: int) -> None:
    augmentation = Augmentation(scale=(0.25, 1.5), crop=crop, hue=0.05, colour_operations=operations)
    images, labels = _frames(24)
    drawn = [augmentation.draw(0, epoch=0, index=index, size=(48, 64)) for index in range(24)]
    expected, expected_labels = apply_batch(images, labels, drawn)
    frames = zip(images.to(device), drawn, strict=True)
    changed = torch.stack([change_colours(image, one.operations) for image, one in frames])
    result, targets = apply_together(changed, labels.to(device), pack(drawn).to(device), crop=crop)
    difference = (result.cpu().int() - expected.int()).abs()
    assert difference.max() <= 1
    assert difference.float().mean() < 0.1
    assert ((targets.cpu() == 255) == (expected_labels == 255)).all()
    assert (targets.cpu() != expected_labels).float().mean() < 0.01


def test_nothing_drawn_changes_nothing() -> None:
    images, labels = _frames(2)
    still = Parameters(size=(48, 64), offset=(0, 0), crop=(48, 64))
    flipped = dataclasses.replace(still, flip=True)
    result, targets = apply_together(images, labels, pack([still, flipped]), crop=(48, 64))
    assert torch.equal(result, torch.stack([images[0], images[1].flip(-1)]))
    assert torch.equal(targets, torch.stack([labels[0], labels[1].flip(-1)]))
