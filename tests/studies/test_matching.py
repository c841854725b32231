"""Block counts that keep the multiply-adds of the baseline: recomputed, and checked one block to either side."""

from __future__ import annotations

import pytest
import torch

from rfkit.cost import multiply_adds
from rfkit.models.ablations import ABLATIONS, MATCHED_BLOCKS
from rfkit.models.dwrseg import dwrseg_l
from rfkit.studies.matching import matched_blocks


def macs(blocks: tuple[int, int, int], **options: object) -> int:
    with torch.device("meta"):
        return multiply_adds(dwrseg_l(blocks=blocks, **options), (3, 512, 1024))


@pytest.mark.parametrize("row", [row for row in ABLATIONS if row in ("baseline", "VII-stage3-2") or "VII" not in row])
def test_the_counts_that_ship_are_those_that_are_found(row: str) -> None:
    assert matched_blocks(ABLATIONS[row]) == MATCHED_BLOCKS[row]


def test_the_number_of_blocks_as_the_experiment_is_left_alone() -> None:
    for row, blocks in MATCHED_BLOCKS.items():
        assert "VII" not in row or blocks == (8, 8, 3)


@pytest.mark.parametrize(
    ("row", "others"),
    [
        ("VI-1", [(23, 8, 3), (25, 8, 3)]),
        ("III-3", [(8, 3, 1), (8, 5, 2)]),
        ("I-MS", [(8, 8, 3), (8, 6, 2)]),
        ("V-w", [(7, 8, 3), (9, 8, 3)]),
        ("II-1:1:1", [(8, 7, 3), (8, 9, 3)]),
    ],
)
def test_one_block_more_or_less_is_further_away(row: str, others: list[tuple[int, int, int]]) -> None:
    target = macs((8, 8, 3))
    own = abs(macs(MATCHED_BLOCKS[row], **ABLATIONS[row]) - target)
    assert own < 0.011 * target
    assert all(abs(macs(blocks, **ABLATIONS[row]) - target) > own for blocks in others)


def test_another_baseline_gets_counts_of_its_own() -> None:
    # lambda 1 costs a third of lambda 3.
    assert matched_blocks({"expansion": 1}, blocks=(7, 3, 3)) == (21, 3, 3)


def test_options_hold_no_blocks() -> None:
    with pytest.raises(ValueError, match=r"options holds blocks=\(8, 8, 3\).*leave it out"):
        matched_blocks({"beta": 3.0, "blocks": (8, 8, 3)})
