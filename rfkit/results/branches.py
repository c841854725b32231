"""How much a network uses its parallel dilated branches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rfkit._checks import check_choice
from rfkit.results.base import Result

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "MEASURES",
    "BlockWeights",
    "BranchStatistic",
    "BranchWeights",
    "Claim",
    "Ratio",
    "branch_labels",
    "pool",
]

MEASURES = ("weight", "gain", "contribution")


def branch_labels(dilations: Sequence[int]) -> tuple[str, ...]:
    """The labels of branches by dilation: d1, d3, d5; a rate that comes again is d1 #2.

    Example:
        >>> branch_labels((1, 3, 3))
        ('d1', 'd3', 'd3 #2')
    """
    labels: list[str] = []
    for index, rate in enumerate(dilations):
        before = list(dilations[:index]).count(rate)
        labels.append(f"d{rate} #{before + 1}" if before else f"d{rate}")
    return tuple(labels)


@dataclass(frozen=True, eq=False)
class BlockWeights(Result):
    """The 1x1 convolution of one block with parallel branches.

    Attributes:
        stage: stage of the block.
        block: name of the block in the model.
        merge: name of the 1x1 convolution.
        convolutions: names of the branches' convolutions.
        dilations: dilation rate of each branch.
        branch_of_input: for each input channel of the 1x1 convolution the index of its branch; -1 for a channel that
            comes from elsewhere (an image-pooling path, say).
        weight: signed weights, (out_channels, in_channels / groups).
        gain: for each input channel, signed, gamma of the last norm before the 1x1 convolution; NaN without norm.
        gates: names of what scales channels on the way to the 1x1 convolution (channel attention); such a gate depends
            on the image and is in neither `weight` nor `gain`.
        contribution: standard deviation, over images and positions, of each branch's part of each output channel,
            (branches, out_channels); empty (0, 0) if it was not measured.
        groups: groups of the 1x1 convolution.
    """

    stage: str
    block: str
    merge: str
    convolutions: tuple[str, ...]
    dilations: tuple[int, ...]
    branch_of_input: np.ndarray
    weight: np.ndarray
    gain: np.ndarray
    gates: tuple[str, ...]
    contribution: np.ndarray
    groups: int = 1

    def inputs(self) -> np.ndarray:
        """Input channel of every entry of `weight`, same shape."""
        out, width = self.weight.shape
        group = np.arange(out) // (out // self.groups)
        return group[:, None] * width + np.arange(width)

    def values(self, branch: int, measure: str) -> np.ndarray:
        """Magnitudes of one branch: of every weight, or ("contribution") of every output channel.

        Args:
            branch: index of the branch.
            measure: "weight" for |w|, "gain" for |w| |gamma|, "contribution".

        Raises:
            ValueError: the measure is unknown, no norm gives a gain, or no contribution was measured.
        """
        check_choice("measure", measure, MEASURES)
        if measure == "contribution":
            if not self.contribution.size:
                raise ValueError(f"measure='contribution' was not measured on {self.block!r}: it needs images.")
            return self.contribution[branch]
        inputs = self.inputs()
        chosen = self.branch_of_input[inputs] == branch
        weight = np.abs(self.weight[chosen])
        if measure == "weight":
            return weight
        gain = self.gain[inputs[chosen]]
        if np.isnan(gain).any():
            raise ValueError(f"measure='gain' needs a norm before the 1x1 convolution; {self.merge!r} has none.")
        return weight * np.abs(gain)


@dataclass(frozen=True, eq=False)
class BranchWeights(Result):
    """The weights with which 1x1 convolutions use parallel dilated branches.

    Attributes:
        measure: what plots show by default: "weight" (|w|, the paper's), "gain" (|w| |gamma|) or "contribution".
        blocks: the blocks in the order in which they run.
        stages: names of the stages, first to last.
    """

    measure: str
    blocks: tuple[BlockWeights, ...]
    stages: tuple[str, ...]

    def in_stage(self, stage: str) -> tuple[BlockWeights, ...]:
        """The blocks of `stage`.

        Raises:
            ValueError: there is no such stage.
        """
        check_choice("stage", stage, self.stages)
        return tuple(block for block in self.blocks if block.stage == stage)

    def pooled(self, stage: str, measure: str | None = None) -> dict[str, np.ndarray]:
        """Branch label -> the magnitudes of that branch in all blocks of `stage`, see `BlockWeights.values`."""
        return pool(self.in_stage(stage), measure or self.measure)

    def to_frame(self) -> pd.DataFrame:
        """One row per weight of the 1x1 convolutions.

        Columns: stage, block (categories); branch (index within the block); dilation; out_channel; in_channel (of the
        1x1 convolution); weight (signed); gain (signed gamma of that input channel, NaN without norm).
        """
        import pandas as pd

        parts = []
        for block in self.blocks:
            inputs = block.inputs()
            branch = block.branch_of_input[inputs]
            out = np.broadcast_to(np.arange(len(inputs))[:, None], inputs.shape)
            keep = branch >= 0
            columns = {
                "branch": branch[keep],
                "dilation": np.array(block.dilations)[branch[keep]],
                "out_channel": out[keep],
                "in_channel": inputs[keep],
                "weight": block.weight[keep],
                "gain": block.gain[inputs[keep]],
            }
            parts.append(columns)
        counts = [len(columns["branch"]) for columns in parts]
        frame = {name: np.concatenate([columns[name] for columns in parts]) for name in parts[0]}
        return pd.DataFrame({**self._names(counts), **frame})

    def channel_frame(self) -> pd.DataFrame:
        """One row per output channel and branch.

        Columns: stage, block (categories); branch; dilation; out_channel; weight (mean |w|); gain (mean |w| |gamma|,
        NaN without norm); contribution (standard deviation of the branch's part of the output over images and
        positions, NaN if it was not measured).
        """
        import pandas as pd

        rows: list[dict[str, Any]] = []
        counts = []
        for block in self.blocks:
            inputs = block.inputs()
            weight = np.abs(block.weight.astype(float))
            gain = weight * np.abs(block.gain[inputs])
            for branch, dilation in enumerate(block.dilations):
                chosen = block.branch_of_input[inputs] == branch
                count = np.maximum(chosen.sum(axis=1), 1)
                measured = block.contribution[branch] if block.contribution.size else np.full(len(weight), np.nan)
                rows.append(
                    {
                        "branch": np.full(len(weight), branch),
                        "dilation": np.full(len(weight), dilation),
                        "out_channel": np.arange(len(weight)),
                        "weight": np.where(chosen, weight, 0).sum(axis=1) / count,
                        "gain": np.where(chosen, gain, 0).sum(axis=1) / count,
                        "contribution": measured,
                    }
                )
            counts.append(len(block.dilations) * len(weight))
        frame = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
        return pd.DataFrame({**self._names(counts), **frame})

    def summary(self) -> pd.DataFrame:
        """One row per branch.

        Columns: stage, block, branch, dilation, convolution (name of the branch's convolution), merge (name of the 1x1
        convolution), channels (of the 1x1 convolution that the branch feeds), weight (mean |w|), gates (names, joined
        by commas; a gate is reported and not folded into the weight).
        """
        import pandas as pd

        rows = [
            {
                "stage": block.stage,
                "block": block.block,
                "branch": branch,
                "dilation": dilation,
                "convolution": block.convolutions[branch],
                "merge": block.merge,
                "channels": int((block.branch_of_input == branch).sum()),
                "weight": float(block.values(branch, "weight").mean()),
                "gates": ", ".join(block.gates),
            }
            for block in self.blocks
            for branch, dilation in enumerate(block.dilations)
        ]
        return pd.DataFrame(rows)

    def _names(self, counts: Sequence[int]) -> dict[str, Any]:
        import pandas as pd

        # Categories keep the order of the network and cost a byte a row, not a string.
        stages = [self.stages.index(block.stage) for block in self.blocks]
        names = [block.block for block in self.blocks]
        return {
            "stage": pd.Categorical.from_codes(np.repeat(stages, counts), categories=list(self.stages)),
            "block": pd.Categorical.from_codes(np.repeat(np.arange(len(names)), counts), categories=names),
        }


def pool(blocks: Sequence[BlockWeights], measure: str) -> dict[str, np.ndarray]:
    """Branch label -> magnitudes of all `blocks` together, the smallest dilation first."""
    found: dict[tuple[int, str], list[np.ndarray]] = {}
    for block in blocks:
        for index, label in enumerate(branch_labels(block.dilations)):
            found.setdefault((block.dilations[index], label), []).append(block.values(index, measure))
    return {label: np.concatenate(parts) for (_, label), parts in sorted(found.items())}


@dataclass(frozen=True, eq=False)
class Ratio(Result):
    """A ratio with its bootstrap interval.

    Attributes:
        stage: stage it is taken in.
        name: what it is, such as "d1/d3".
        value: the ratio of means.
        low: lower end of the 95 % interval.
        high: upper end.
    """

    stage: str
    name: str
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        # Most ratios lie near 1, where three significant digits would round an interval's end onto it.
        value, low, high = (
            f"{number:.3f}" if number < 10 else f"{number:.1f}" for number in (self.value, self.low, self.high)
        )
        return f"{self.name} = {value} [{low}, {high}]"


@dataclass(frozen=True, eq=False)
class Claim(Result):
    """One claim of Fig. 8 and whether it holds.

    Attributes:
        stage: stage that it speaks of.
        statement: the claim in terms of ratios.
        verdict: "holds", "fails", "undecided", or "undecided at N epochs" for a short training.
        ratios: the ratios that decide.
    """

    stage: str
    statement: str
    verdict: str
    ratios: tuple[Ratio, ...]


@dataclass(frozen=True, eq=False)
class BranchStatistic(Result):
    """Ratios of mean weights between branches, with intervals, and the claims of Fig. 8 where they apply.

    Attributes:
        measure: "weight" or "gain".
        ratios: every branch over every other one, stage by stage.
        claims: the three claims, low, middle, high stage; empty if the network has not the stages for them.
        epochs: epochs of training, None if unknown.
        resamples: bootstrap resamples.
        seed: seed of the resampling.
    """

    measure: str
    ratios: tuple[Ratio, ...]
    claims: tuple[Claim, ...]
    epochs: float | int | None
    resamples: int
    seed: int

    def to_frame(self) -> pd.DataFrame:
        """One row per ratio and, after them, one per ratio of a claim.

        Columns: measure; stage; ratio (its name); value; low, high (95 % bootstrap interval); claim (statement, empty
        for a plain ratio); verdict (of the claim, else empty); epochs (of training, NaN if unknown); resamples; seed.
        """
        import pandas as pd

        rows = [(ratio, "", "") for ratio in self.ratios]
        rows += [(ratio, claim.statement, claim.verdict) for claim in self.claims for ratio in claim.ratios]
        return pd.DataFrame(
            [
                {
                    "measure": self.measure,
                    "stage": ratio.stage,
                    "ratio": ratio.name,
                    "value": ratio.value,
                    "low": ratio.low,
                    "high": ratio.high,
                    "claim": claim,
                    "verdict": verdict,
                    "epochs": np.nan if self.epochs is None else self.epochs,
                    "resamples": self.resamples,
                    "seed": self.seed,
                }
                for ratio, claim, verdict in rows
            ]
        )
