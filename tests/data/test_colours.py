"""The colour operations are Pillow's, bit for bit, and so the same wherever frames are augmented."""

from __future__ import annotations

from collections import Counter
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from rfkit.data.colours import COLOUR_OPERATIONS, change_colours, draw_operations
from rfkit.data.scenes import Scenes

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
PILLOW = {
    "autocontrast": lambda image, strength: ImageOps.autocontrast(image),
    "equalize": lambda image, strength: ImageOps.equalize(image),
    "posterize": lambda image, strength: ImageOps.posterize(image, int(strength)),
    "solarize": lambda image, strength: ImageOps.solarize(image, int(strength)),
    "color": lambda image, strength: ImageEnhance.Color(image).enhance(strength),
    "contrast": lambda image, strength: ImageEnhance.Contrast(image).enhance(strength),
    "brightness": lambda image, strength: ImageEnhance.Brightness(image).enhance(strength),
    "sharpness": lambda image, strength: ImageEnhance.Sharpness(image).enhance(strength),
}
STRENGTHS = {"autocontrast": (0,), "equalize": (0,), "posterize": (8, 6, 4, 1), "solarize": (256, 192, 128, 1, 0)}


def _pillow(image: torch.Tensor, operations: list[tuple[str, float]]) -> torch.Tensor:
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    for name, strength in operations:
        picture = PILLOW[name](picture, strength)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


@cache
def _frames() -> list[torch.Tensor]:
    """A scene, noise, a dull picture, one of a single colour, one of two, and very small ones."""
    generator = np.random.default_rng(0)
    noise = torch.from_numpy(generator.integers(0, 256, (3, 40, 60), dtype=np.uint8))
    two = torch.zeros(3, 20, 30, dtype=torch.uint8)
    two[:, :, 11:] = torch.tensor([9, 200, 255], dtype=torch.uint8)[:, None, None]
    return [
        Scenes(size=(48, 64), length=1)[0].image,
        noise,
        90 + noise // 8,
        torch.full((3, 20, 30), 77, dtype=torch.uint8),
        two,
        noise[:, :2, :5].contiguous(),
        noise[:, :1, :1].contiguous(),
    ]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", COLOUR_OPERATIONS)
def test_an_operation_is_pillow_s(name: str, device: str) -> None:
    for strength in STRENGTHS.get(name, (0.0, 0.1, 0.37, 1.0, 1.45, 1.9)):
        for frame in _frames():
            before = frame.clone()
            result = change_colours(frame.to(device), [(name, strength)]).cpu()
            assert torch.equal(result, _pillow(frame, [(name, strength)])), (strength, tuple(frame.shape))
            assert torch.equal(frame, before)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(0, 4), magnitude=st.floats(0, 1))
def test_what_is_drawn_is_pillow_s_one_after_the_other(seed: int, count: int, magnitude: float) -> None:
    operations = draw_operations(np.random.default_rng(seed), count=count, magnitude=magnitude)
    frame = _frames()[seed % 5]
    assert len(operations) == count
    assert torch.equal(change_colours(frame, operations), _pillow(frame, list(operations)))


def test_magnitude_0_changes_nothing_where_an_operation_has_one() -> None:
    generator, frame = np.random.default_rng(0), _frames()[0]
    for _ in range(50):
        (name, strength), = draw_operations(generator, count=1, magnitude=0.0)
        if name not in ("autocontrast", "equalize"):
            assert torch.equal(change_colours(frame, [(name, strength)]), frame)


def test_every_operation_is_drawn_equally_often_and_in_both_directions() -> None:
    drawn = draw_operations(np.random.default_rng(0), count=8000, magnitude=0.5)
    counts = Counter(name for name, _ in drawn)
    # 1000 each, with a standard deviation of 29.6.
    assert all(abs(counts[name] - 1000) < 4 * 29.6 for name in COLOUR_OPERATIONS)
    strengths = {name: {round(strength, 9) for other, strength in drawn if other == name} for name in counts}
    assert strengths["color"] == strengths["sharpness"] == {0.55, 1.45}
    assert (strengths["posterize"], strengths["solarize"], strengths["equalize"]) == ({6.0}, {128.0}, {0.0})


def test_an_unknown_operation_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"operations='colour' is not known; allowed: .*Did you mean 'color'"):
        change_colours(_frames()[0], [("colour", 1.0)])
