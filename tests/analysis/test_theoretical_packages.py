"""Theoretical receptive fields of networks from transformers, with random weights; runs where it is installed."""

from __future__ import annotations

from typing import Any

import pytest
from analysis import oracle
from torch import nn

from rfkit.analysis.theoretical import trace

transformers = pytest.importorskip("transformers", exc_type=ImportError)
pytestmark = pytest.mark.filterwarnings("ignore")

_STAGES = ["stage1", "stage2", "stage3", "stage4"]


def _swin(depths: list[int]) -> Any:
    count = len(depths)
    return transformers.SwinConfig(
        image_size=64, embed_dim=8, depths=depths, num_heads=[2] * count, window_size=4, out_features=_STAGES[:count]
    )


def _convnext(**options: Any) -> Any:
    return transformers.ConvNextConfig(depths=[1, 1, 1, 1], hidden_sizes=[4, 4, 8, 8], **options)


def _segformer() -> nn.Module:
    return transformers.SegformerForSemanticSegmentation(
        transformers.SegformerConfig(
            depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 16, 16], num_attention_heads=[1, 2, 2, 2],
            sr_ratios=[4, 2, 1, 1], decoder_hidden_size=16, num_labels=3,
        )
    )  # fmt: skip


def _upernet(backbone: Any) -> nn.Module:
    return transformers.UperNetForSemanticSegmentation(
        transformers.UperNetConfig(
            backbone_config=backbone, hidden_size=8, pool_scales=[1, 2], use_auxiliary_head=False, num_labels=3
        )
    )


def _mask2former() -> nn.Module:
    return transformers.Mask2FormerForUniversalSegmentation(
        transformers.Mask2FormerConfig(
            backbone_config=_swin([1, 1, 1, 1]), feature_size=32, mask_feature_size=32, hidden_dim=32,
            encoder_feedforward_dim=16, encoder_layers=1, decoder_layers=2, dim_feedforward=16,
            num_attention_heads=2, num_queries=4, num_labels=3,
        )
    )  # fmt: skip


def _dpt() -> nn.Module:
    return transformers.DPTForSemanticSegmentation(
        transformers.DPTConfig(
            hidden_size=8, num_hidden_layers=4, backbone_out_indices=[0, 1, 2, 3], num_attention_heads=2,
            intermediate_size=8, image_size=32, patch_size=8, neck_hidden_sizes=[4, 4, 4, 4],
            fusion_hidden_size=8, num_labels=3,
        )
    )  # fmt: skip


def _resnet() -> nn.Module:
    sizes = [8, 8, 8, 8]
    return transformers.ResNetModel(
        transformers.ResNetConfig(embedding_size=4, hidden_sizes=sizes, depths=[1, 2, 1, 1])
    )


def _mobilenet_v2() -> nn.Module:
    config = transformers.MobileNetV2Config(depth_multiplier=0.25, num_labels=3)
    return transformers.MobileNetV2ForSemanticSegmentation(config)


NETWORKS = {
    "segformer": (_segformer, (64, 96), True),
    "upernet_convnext": (lambda: _upernet(_convnext(out_features=_STAGES)), (64, 96), True),
    "upernet_swin": (lambda: _upernet(_swin([2, 2])), (64, 96), True),
    "dpt": (_dpt, (32, 32), True),
    "mobilenet_v2": (_mobilenet_v2, (65, 97), True),
    "convnext": (lambda: transformers.ConvNextModel(_convnext()), (64, 96), False),
    "resnet": (_resnet, (97, 66), False),
}


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_boxes_and_supports_are_those_of_gradients(name: str) -> None:
    make, size, has_global_path = NETWORKS[name]
    model = make().eval()
    output = trace(model, size, global_paths="include").output
    assert output.size == oracle.map_size(model, size)
    # A class token among the others may make their fields an upper bound.
    assert output.status == "exact" or (name, output.status) == ("dpt", "bound")
    assert output.is_global == has_global_path
    units = oracle.some_units(output.size, 5)
    assert oracle.disagreements(output, oracle.gradients(model, size, units), units) == []


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("convnext", "encoder.stages.1"),
        ("convnext", "encoder.stages.2.layers.0.dwconv"),
        ("resnet", "encoder.stages.1.layers.1"),
        ("resnet", "embedder"),
        ("upernet_swin", "backbone.swin.embeddings.patch_embeddings.projection"),
    ],
)
def test_layers_without_a_global_path_agree_with_gradients(name: str, layer: str) -> None:
    make, size, _ = NETWORKS[name]
    model = make().eval()
    inner = trace(model, size)[layer]
    assert (inner.status, inner.is_global) == ("exact", False)
    units = oracle.some_units(inner.size, 6)
    assert oracle.disagreements(inner, oracle.gradients(model, size, units, layer=layer), units) == []


def test_sampling_at_learned_positions_is_not_guessed() -> None:
    pytest.importorskip("scipy")
    table = trace(_mask2former().eval(), (64, 96)).table()
    unknown = table[table.status == "unknown"]
    assert unknown.reason.str.contains("grid_sample").any()
    assert unknown.size_max.isna().all()
    assert (table.status == "exact").any()
