"""Frames of the size and layout of Cityscapes, drawn as blocks of colour, and a network that knows the colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from rfkit.data.transforms import MEAN, STD

HEIGHT, WIDTH = 1024, 2048
# The label ids of the 19 classes.
IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
NAMES = {
    "val": ("frankfurt/frankfurt_000000_000294", "munster/munster_000001_000019"),
    "test": ("berlin/berlin_000000_000019",),
}


def make_cityscapes(root: Path, split: str, *, count: int = 1) -> Path:
    """Blocks of 48 pixels, labelled by all 34 ids, with a colour for each id and some noise."""
    generator, palette = np.random.default_rng(1), _palette()
    for name in NAMES[split][:count]:
        coarse = generator.integers(0, 34, (HEIGHT // 48 + 1, WIDTH // 48 + 1))
        label = coarse.repeat(48, 0).repeat(48, 1)[:HEIGHT, :WIDTH].astype(np.uint8)
        noise = generator.integers(-9, 10, (HEIGHT // 2, WIDTH // 2, 3)).repeat(2, 0).repeat(2, 1)
        image = (palette[label] + noise).clip(0, 255).astype(np.uint8)
        for kind, pixels in (("leftImg8bit", image), ("gtFine", label)):
            path = root / kind / split / f"{name}_{'leftImg8bit' if kind == 'leftImg8bit' else 'gtFine_labelIds'}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path, compress_level=1)
    return root


def network(classes: int = 19) -> nn.Module:
    """Scores at an eighth of the size: highest for the class whose colour is nearest to the mean of 8x8 pixels."""
    model = nn.Conv2d(3, classes, 8, stride=8)
    colours = torch.from_numpy(_palette()[list(IDS[:classes])]).float() / 255
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    with torch.no_grad():
        # -|x - c|^2 without the part that is the same for every class, of x = std * input + mean.
        model.weight.copy_((2 * colours * std / 64)[:, :, None, None].expand(-1, -1, 8, 8))
        model.bias.copy_(2 * colours @ mean - colours.square().sum(1))
    return model


def _palette() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (34, 3))
