"""Effective receptive fields of networks that are not rfkit's, against plain gradients and against their boxes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from analysis import networks, oracle

from rfkit.analysis.effective import effective_rf
from rfkit.analysis.theoretical import trace

NAMES = ["vgg_16", "resnet_50", "exchange", "unet_transposed", "esp", "enet", "swin", "fcn_8s"]


def _case(name: str) -> tuple[torch.nn.Module, tuple[int, int], tuple[int, int]]:
    make, size = networks.EXACT[name]
    # Positive weights: no unit is dead.
    model = oracle.positive(make()).float()
    rows, columns = trace(model, size).output.size
    return model, size, (rows // 3, columns // 2)


@pytest.mark.parametrize("name", NAMES)
def test_the_field_is_the_plain_gradient_of_the_unit(name: str) -> None:
    model, size, unit = _case(name)
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1), requires_grad=True)
    oracle.first_map(model(image))[0, :, unit[0], unit[1]].sum().backward()
    assert image.grad is not None
    expected = image.grad.abs().sum(dim=(0, 1)).double().numpy()
    found = effective_rf(model, image.detach(), unit=unit, progress=False)["output"]
    np.testing.assert_allclose(found.map, expected, rtol=1e-4, atol=1e-6 * expected.max())


@pytest.mark.parametrize("name", NAMES)
def test_with_positive_weights_it_fills_the_support_of_the_unit(name: str) -> None:
    """Without activations and with positive weights nothing cancels: what structure reaches has a gradient."""
    model, size, unit = _case(name)
    output = trace(model, size).output
    gradient = oracle.gradients(model, size, [unit])[0]
    box, support = output[unit], output.support(*unit)
    assert oracle.extent(gradient > 0) == (box.y0, box.x0, box.y1, box.x1)
    np.testing.assert_array_equal(gradient[box.slices()] > 0, support.mask)
    measured = effective_rf(model, torch.rand(1, 3, *size), unit=unit, progress=False)["output"]
    outside = np.ones(size, dtype=bool)
    outside[box.slices()] = ~support.mask
    assert not measured.map[outside].any()
    assert measured.box is not None
    assert (measured.box.y0, measured.box.x0, measured.box.y1, measured.box.x1) == (box.y0, box.x0, box.y1, box.x1)
