"""The ablations of the paper's Table 2: options of `dwrseg_l`, and the block counts that keep its multiply-adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from rfkit._checks import check_choice

__all__ = ["ABLATIONS", "MATCHED_BLOCKS", "ablation_options", "block_counts", "find_ablation"]

_STAGES = ("stage2", "stage3", "stage4")
_BASELINE = (8, 8, 3)

ABLATIONS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "baseline": {},
        "I-MS": {"multiple": True},
        "II-1:1:1": {"alpha": (1, 1, 1)},
        "II-3:1:1": {"alpha": (3, 1, 1)},
        "III-3": {"beta": 3.0},
        "IV-1": {"activation": "none"},
        "IV-2": {"region_norm": False},
        "IV-3": {"semantic_norm": False},
        "IV-4": {"semantic_activation": "relu"},
        "IV-5": {"merge_norm": True},
        "V-w": {"depthwise": True},
        "VI-1": {"expansion": 1},
        "VI-2": {"expansion": 2},
        "VI-4": {"expansion": 4},
        **{
            f"VII-{stage}{offset:+d}": {"offset": {stage: offset}}
            for stage in ("stage2", "stage3", "stage4")
            for offset in (-2, -1, 1)
        },
    }
)
"""Experiment and row -> options of `dwrseg_l`; each row but the baseline changes one thing."""

MATCHED_BLOCKS: Mapping[str, tuple[int, int, int]] = MappingProxyType(
    {
        **dict.fromkeys(ABLATIONS, _BASELINE),
        "I-MS": (8, 7, 3),
        "III-3": (8, 4, 2),
        "VI-1": (24, 8, 3),
        "VI-2": (12, 8, 3),
        "VI-4": (6, 8, 3),
    }
)
"""Experiment and row -> blocks in stage2, stage3 and stage4 with which it costs what the baseline costs.

They are the counts that `rfkit.studies.matching.matched_blocks` finds. In experiment VII the number of blocks is the
experiment: its rows start from the baseline's counts, and `offset` changes them.
"""


def ablation_options(name: str, *, matched: bool = True) -> dict[str, Any]:
    """The options of `dwrseg_l` that build a row of Table 2.

    Args:
        name: a key of `ABLATIONS`.
        matched: with the block counts of `MATCHED_BLOCKS`, as in the paper's comparison; False: the one change alone.

    Raises:
        ValueError: `name` is unknown.

    Example:
        >>> ablation_options("VI-2")
        {'expansion': 2, 'blocks': (12, 8, 3)}
    """
    check_choice("name", name, ABLATIONS)
    return {**ABLATIONS[name], **({"blocks": MATCHED_BLOCKS[name]} if matched else {})}


def block_counts(options: Mapping[str, Any]) -> tuple[int, ...]:
    """Blocks in stage2, stage3 and stage4 of a `dwrseg_l` with these options."""
    offset = options.get("offset") or {}
    return tuple(
        count + offset.get(stage, 0) for stage, count in zip(_STAGES, options.get("blocks", _BASELINE), strict=True)
    )


def find_ablation(options: Mapping[str, Any]) -> str | None:
    """The row of Table 2, with matched block counts, that a `dwrseg_l` with these options is; None if it is none.

    Options may come from JSON or TOML, where a tuple is a list.

    Example:
        >>> find_ablation({"expansion": 2, "blocks": [12, 8, 3]})
        'VI-2'
    """
    wanted = _network(options)
    return next((name for name in ABLATIONS if _network(ablation_options(name)) == wanted), None)


def _network(options: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Options in one form: sequences as lists, the block counts by themselves."""
    rest = {name: _plain(value) for name, value in options.items() if name not in ("blocks", "offset")}
    return rest, block_counts(options)


def _plain(value: Any) -> Any:
    sequence = isinstance(value, Sequence) and not isinstance(value, str)
    return [_plain(item) for item in value] if sequence else value
