"""Effective receptive fields of transformers, with random weights; runs where the package is installed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rfkit.analysis.attribution import attribute
from rfkit.analysis.effective import effective_rf

transformers = pytest.importorskip("transformers", exc_type=ImportError)
pytestmark = pytest.mark.filterwarnings("ignore")

SIZE = (64, 96)


def _segformer() -> torch.nn.Module:
    torch.manual_seed(0)
    config = transformers.SegformerConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 16, 16], num_attention_heads=[1, 2, 2, 2],
        sr_ratios=[4, 2, 1, 1], decoder_hidden_size=16, num_labels=3,
    )  # fmt: skip
    return transformers.SegformerForSemanticSegmentation(config).eval()


def _image() -> torch.Tensor:
    return torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def test_logits_of_a_model_output_are_found() -> None:
    model, image = _segformer(), _image().requires_grad_()
    model(image).logits[0, 1, 7, 11].backward()
    assert image.grad is not None
    expected = image.grad.abs().sum(dim=(0, 1)).double().numpy()
    found = effective_rf(model, image.detach(), unit=(7, 11), channels=1, output="logits", progress=False)["output"]
    assert found.is_global
    assert not found.cropped
    np.testing.assert_allclose(found.map, expected, rtol=1e-4, atol=1e-6 * expected.max())


def test_tokens_are_a_map_once_their_shape_is_given() -> None:
    model, image = _segformer(), _image().requires_grad_()
    layer = (
        "segformer.stages.0.blocks.0.mlp" if hasattr(model.segformer, "stages") else "segformer.encoder.block.0.0.mlp"
    )
    tokens: list[torch.Tensor] = []
    handle = model.get_submodule(layer).register_forward_hook(lambda _m, _i, output: tokens.append(output))
    model(image)
    handle.remove()
    rows, columns = SIZE[0] // 4, SIZE[1] // 4
    assert tokens[0].shape[1] == rows * columns
    tokens[0][0, 5 * columns + 7].sum().backward()
    assert image.grad is not None
    expected = image.grad.abs().sum(dim=(0, 1)).double().numpy()
    found = effective_rf(
        model, image.detach(), layers=layer, unit=(5, 7), reshape=(rows, columns), progress=False
    )[layer]  # fmt: skip
    np.testing.assert_allclose(found.map, expected, rtol=1e-4, atol=1e-6 * expected.max())
    with pytest.raises(ValueError, match="reshape"):
        effective_rf(model, image.detach(), layers=layer, progress=False)


def test_evidence_for_a_class_of_a_model_output() -> None:
    found = attribute(
        _segformer(), _image()[0], target=(1, (10, 20)), method="saliency", output="logits", progress=False
    )
    assert found.values.shape == (3, *SIZE)
    assert np.abs(found.values).max() > 0
