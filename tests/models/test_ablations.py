"""The rows of Table 2: networks that train, each another one, and found again by their options."""

from __future__ import annotations

import json

import pytest
import torch

from rfkit.models.ablations import ABLATIONS, MATCHED_BLOCKS, ablation_options, block_counts, find_ablation
from rfkit.models.registry import create_model


@pytest.mark.parametrize("row", ABLATIONS)
def test_every_row_is_a_network_that_can_be_trained(row: str) -> None:
    model = create_model("dwrseg_l", num_classes=3, blocks=(3, 3, 3), **ABLATIONS[row])
    model(torch.randn(2, 3, 32, 64)).mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_every_row_but_the_baseline_is_another_network() -> None:
    with torch.device("meta"):
        shown = {row: str(create_model("dwrseg_l", **ablation_options(row))) for row in ABLATIONS}
        assert shown["baseline"] == str(create_model("dwrseg_l"))
    assert len(set(shown.values())) == len(ABLATIONS)


@pytest.mark.parametrize("row", ABLATIONS)
def test_a_row_is_found_by_its_options_also_after_json(row: str) -> None:
    assert find_ablation(ablation_options(row)) == row
    assert find_ablation(json.loads(json.dumps(ablation_options(row)))) == row


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({}, "baseline"),
        ({"blocks": [6, 8, 3]}, "VII-stage2-2"),
        ({"expansion": 1}, None),
        ({"multiple": True}, None),
        ({"beta": 2.25}, None),
        ({"stem": "narrow"}, None),
    ],
)
def test_a_network_without_matched_blocks_is_no_row(options: dict, found: str | None) -> None:
    assert find_ablation(options) == found


def test_options_with_and_without_matched_blocks() -> None:
    assert ablation_options("VI-1") == {"expansion": 1, "blocks": (24, 8, 3)}
    assert ablation_options("VI-1", matched=False) == {"expansion": 1}
    assert block_counts(ablation_options("VII-stage3-2")) == (8, 6, 3)
    assert list(MATCHED_BLOCKS) == list(ABLATIONS)
    with pytest.raises(ValueError, match=r"name='VI-3'.*Did you mean 'VI-[124]'"):
        ablation_options("VI-3")
