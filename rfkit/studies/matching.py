"""Block counts with which a variant of DWRSeg-L costs as many multiply-adds as DWRSeg-L itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from rfkit.cost import multiply_adds
from rfkit.models.dwrseg import dwrseg_l

__all__ = ["matched_blocks"]


def matched_blocks(
    options: Mapping[str, Any], *, blocks: Sequence[int] = (8, 8, 3), input_size: Sequence[int] = (3, 512, 1024)
) -> tuple[int, int, int]:
    """Blocks in stage2, stage3 and stage4 with which `dwrseg_l(**options)` costs what the baseline costs.

    The paper adjusts "the number of modules in all models [...] to a similar inference speed" (section 4.3) and prints
    neither the counts nor the rule. This project's reading: only stages whose blocks cost something else than the
    baseline's change their count, all by the same share (the first of them counts 1, 2, 3, ...; the others follow in
    the baseline's proportion, rounded to whole blocks, halves up, at least one), and the counts whose multiply-adds of
    convolutions come nearest the baseline's are taken; of two equally near, the smaller network. So an option that
    moves no convolution (experiment IV) keeps the baseline's counts, and so does `offset` (experiment VII), where the
    number of blocks is the experiment.

    Args:
        options: options of `dwrseg_l`, without `blocks`.
        blocks: the baseline's counts.
        input_size: (channels, height, width) at which multiply-adds are counted.

    Raises:
        ValueError: `options` holds `blocks`.

    Example:
        >>> matched_blocks({"expansion": 1})
        (24, 8, 3)

    Reference: Wei et al., DWRSeg, section 4.3.
    """
    if "blocks" in options:
        raise ValueError(
            f"options holds blocks={tuple(options['blocks'])!r}, which is what is to be found; leave it out."
        )
    own = _Cost.of({name: value for name, value in options.items() if name != "offset"}, input_size)
    baseline = _Cost.of({}, input_size)
    changed = [stage for stage in range(3) if own.block[stage] != baseline.block[stage]]
    if not changed:
        return _three(blocks)
    target = baseline.of_blocks(blocks)
    candidates: list[tuple[int, int, int]] = []
    while not candidates or own.of_blocks(candidates[-1]) < target:
        candidates.append(_scaled(blocks, changed, len(candidates) + 1))
    return min(candidates, key=lambda counts: abs(own.of_blocks(counts) - target))


@dataclass(frozen=True)
class _Cost:
    """Multiply-adds of a network with one block a stage, and of each further block."""

    least: int
    block: tuple[int, ...]

    @classmethod
    def of(cls, options: Mapping[str, Any], input_size: Sequence[int]) -> _Cost:
        least, *more = (
            _multiply_adds({**options, "blocks": blocks}, input_size)
            for blocks in ((1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2))
        )
        return cls(least, tuple(count - least for count in more))

    def of_blocks(self, blocks: Sequence[int]) -> int:
        """All blocks of a stage but the first are alike, so that this is exact."""
        return self.least + sum((count - 1) * cost for count, cost in zip(blocks, self.block, strict=True))


def _multiply_adds(options: Mapping[str, Any], input_size: Sequence[int]) -> int:
    with torch.device("meta"):
        model = dwrseg_l(**options)
    return multiply_adds(model, input_size)


def _scaled(blocks: Sequence[int], changed: Sequence[int], first: int) -> tuple[int, int, int]:
    """The baseline's counts with `first` blocks in the first changed stage and the other changed ones in proportion."""
    whole = blocks[changed[0]]
    # (2 a + b) // 2 b is a / b rounded, halves up.
    scaled = {stage: max(1, (2 * first * blocks[stage] + whole) // (2 * whole)) for stage in changed}
    return _three([scaled.get(stage, count) for stage, count in enumerate(blocks)])


def _three(blocks: Sequence[int]) -> tuple[int, int, int]:
    stage2, stage3, stage4 = blocks
    return stage2, stage3, stage4
