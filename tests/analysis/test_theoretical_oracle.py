"""The gradient oracle against answers known by hand, and against the networks themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from analysis import networks, oracle
from torch import Tensor, nn


class Apply(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, image: Tensor) -> Tensor:
        return self.function(image)


@pytest.mark.parametrize(
    ("function", "unit", "rows"),
    [
        (lambda x: F.max_pool2d(x, 2, dilation=2, stride=1), 1, [1, 3]),
        (lambda x: F.max_pool2d(x, 3, 2, 1), 0, [0, 1]),
        (lambda x: F.max_pool2d(x, 2, 2, ceil_mode=True), 4, [8]),
        (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), 0, [0]),
        (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), 1, [0, 1]),
        (lambda x: F.interpolate(x, scale_factor=3, mode="bilinear"), 4, [1]),
        (lambda x: F.interpolate(x, size=(17, 17), mode="bilinear", align_corners=True), 4, [2]),
        (lambda x: F.interpolate(x, size=(17, 17), mode="bilinear", align_corners=True), 5, [2, 3]),
        (lambda x: F.interpolate(x, scale_factor=3, mode="bicubic"), 4, [1]),
        (lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"), 4, [0, 1, 2, 3]),
        (lambda x: F.interpolate(x, size=(4, 4), mode="nearest"), 1, [2]),
        (lambda x: F.adaptive_max_pool2d(x, 2), 1, [4, 5, 6, 7, 8]),
        (lambda x: F.pad(x, (0, 0, 2, 0), mode="reflect"), 0, [2]),
        (lambda x: F.relu(x, inplace=True) * torch.sigmoid(x), 3, [3]),
        (lambda x: x - x.roll(1, 2), 0, [0, 8]),
        (lambda x: x.softmax(2), 3, list(range(9))),
        (lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True)), 3, list(range(9))),
        (lambda x: x.amax(3, keepdim=True) / 2, 3, [3]),
        (lambda x: torch.maximum(x, x[:, :, :1]), 3, [0, 3]),
        (lambda x: x.clone().mul_(x[:, :, 4:5]), 3, [3, 4]),
        (lambda x: torch.where(x > 0, x, x.flip(2)), 2, [2, 6]),
        (lambda x: (x @ x.transpose(2, 3)).softmax(-1) @ x, 2, list(range(9))),
        (lambda x: F.instance_norm(x), 2, list(range(9))),
        (lambda x: x[:, :, 1::2], 2, [5]),
        (lambda x: torch.zeros_like(x) + 1 - x.detach(), 2, []),
    ],
)
def test_oracle_reaches_what_a_function_reads(function, unit: int, rows: list[int]) -> None:
    mask = oracle.reached(Apply(function), (9, 9), (unit, 0))
    assert np.flatnonzero(mask.any(1)).tolist() == rows


def test_oracle_counts_the_paths_of_two_convolutions() -> None:
    model = nn.Sequential(nn.Conv2d(3, 1, 3, padding=1), nn.BatchNorm2d(1), nn.ReLU(), nn.Conv2d(1, 1, 3, padding=1))
    paths = oracle.gradients(model, (9, 9), [(4, 4), (0, 4)], count=True)
    single = np.array([0, 0, 1, 2, 3, 2, 1, 0, 0.0])
    np.testing.assert_array_equal(paths[0], np.outer(single, single))
    np.testing.assert_array_equal(paths[1][:3], np.outer([2, 2, 1], single))


@pytest.mark.parametrize("name", sorted(networks.EXACT))
def test_oracle_holds_for_the_network_itself(name: str) -> None:
    """New values outside of what the oracle reaches leave a unit of the real network as it was."""
    make, size = networks.EXACT[name]
    torch.manual_seed(1)
    model = make().double().eval()
    height, width = oracle.map_size(model, size)
    generator = torch.Generator().manual_seed(0)
    image, other = torch.randn(2, 1, 3, *size, dtype=torch.float64, generator=generator)
    for unit in [(0, 0), (height - 1, width // 2)]:
        mask = torch.from_numpy(oracle.reached(model, size, unit))
        with torch.no_grad():
            before, after = (oracle.first_map(model(x)) for x in (image, torch.where(mask, image, other)))
        torch.testing.assert_close(after[..., unit[0], unit[1]], before[..., unit[0], unit[1]], rtol=1e-9, atol=1e-12)
