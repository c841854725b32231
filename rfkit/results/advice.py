"""What the adviser found in its trainings, and what it suggests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rfkit.results.base import Result
from rfkit.results.found_stages import FoundStages

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Advice", "BranchEvidence", "Criterion", "StageAdvice", "TrainingEvidence"]


@dataclass(frozen=True, eq=False)
class BranchEvidence(Result):
    """What one training says of one dilation rate in one stage.

    Attributes:
        stage: the stage.
        dilation: the rate.
        drop: mIoU of the probe minus its mIoU without this rate in all blocks of the stage, from -1 to 1.
        drop_low: lower end of the 95 % interval of `drop`, over images.
        drop_high: upper end.
        weight: share of the rate's mean |w| in the sum over the rates of the stage.
        weight_low: lower end of the 95 % interval of `weight`, over input channels.
        weight_high: upper end.
        gain: the same share with |w| x |gain| in place of |w|.
        initial: `weight` before training.
    """

    stage: str
    dilation: int
    drop: float
    drop_low: float
    drop_high: float
    weight: float
    weight_low: float
    weight_high: float
    gain: float
    initial: float


@dataclass(frozen=True, eq=False)
class TrainingEvidence(Result):
    """What one training says.

    Attributes:
        seed: its seed.
        epochs: epochs trained.
        steps: steps taken.
        miou: of the probe on the validation images.
        constant: mIoU there of the most frequent class, predicted everywhere.
        images: number of validation images.
        branches: a rate of a stage each.
    """

    seed: int
    epochs: float
    steps: int
    miou: float
    constant: float
    images: int
    branches: tuple[BranchEvidence, ...]


@dataclass(frozen=True, eq=False)
class Criterion(Result):
    """One thing that evidence must have to be strong.

    Attributes:
        name: what it is called.
        met: whether it is so.
        text: what was found.
    """

    name: str
    met: bool
    text: str


@dataclass(frozen=True, eq=False)
class StageAdvice(Result):
    """The suggestion for one stage.

    Attributes:
        stage: its name.
        output_stride: of what its blocks return.
        channels: of what its last block returns.
        blocks: names of its blocks.
        tested: dilation rates that competed, the smallest first.
        verdicts: of each tested rate: "needed", "spare" or "undecided".
        rates: suggested rates.
        alpha: channels of each suggested rate, relative to each other.
        strength: how far to trust it: "strong", "moderate", "weak" or "none".
        criteria: what that rests on.
        sentence: the suggestion and its reason, for a reader.
        bound: the least bound k / s on a dilation rate in the suggested blocks; NaN where not known.
        bound_kept: whether the suggested rates keep their bounds; None where not known.
        contiguous: whether the stack of suggested blocks leaves no pixel out along an axis; None where not known.
        coverage: reached share of the pixels along an axis.
        field_before: receptive field behind the stage in your network, in pixels; NaN where not known.
        field_after: the same with the suggested blocks.
        cost_before: multiply-adds of your blocks.
        cost_probe: of the blocks of the probe.
        cost_after: of the suggested blocks.
    """

    stage: str
    output_stride: int
    channels: int
    blocks: tuple[str, ...]
    tested: tuple[int, ...]
    verdicts: tuple[str, ...]
    rates: tuple[int, ...]
    alpha: tuple[int, ...]
    strength: str
    criteria: tuple[Criterion, ...]
    sentence: str
    bound: float
    bound_kept: bool | None
    contiguous: bool | None
    coverage: float
    field_before: float
    field_after: float
    cost_before: int
    cost_probe: int
    cost_after: int

    def share(self, dilation: int) -> float:
        """Share of the filtered maps that a rate gets; 0 for one that is left out."""
        if dilation not in self.rates:
            return 0.0
        return self.alpha[self.rates.index(dilation)] / sum(self.alpha)


@dataclass(frozen=True, eq=False)
class Advice(Result):
    """What `rfkit.advise` returns.

    Attributes:
        network: name of the network, or where it comes from.
        data: name of the data set.
        split: split that the probes were trained on.
        validation: split that branches were removed on.
        images: number of training images.
        size: (height, width) that the network saw; everything is counted at this size.
        recipe: name of the recipe.
        overrides: what was changed in it, such as "batch_size=8".
        epochs: epochs of each training.
        minutes: minutes that were asked for; None if epochs were.
        trainings: the evidence, a seed each.
        stages: the suggestions, a stage each.
        together: for each training the drop in mIoU when all rates that are left out are removed at once; empty where
            none is.
        found: the stages and blocks, and what was skipped.
        cost: multiply-adds of the convolutions of the whole network "before", as "probe" and "after".
        parameters: likewise.
        code: Python code of the suggested blocks.
    """

    network: str
    data: str
    split: str
    validation: str
    images: int
    size: tuple[int, int]
    recipe: str
    overrides: tuple[str, ...]
    epochs: int
    minutes: float | None
    trainings: tuple[TrainingEvidence, ...]
    stages: tuple[StageAdvice, ...]
    together: tuple[float, ...]
    found: FoundStages
    cost: Mapping[str, int]
    parameters: Mapping[str, int]
    code: str

    def evidence(self, stage: str, dilation: int) -> tuple[BranchEvidence, ...]:
        """What each training says of a rate in a stage."""
        return tuple(
            branch
            for training in self.trainings
            for branch in training.branches
            if (branch.stage, branch.dilation) == (stage, dilation)
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per stage and tested rate.

        Columns: stage; output_stride; dilation; verdict ("needed", "spare", "undecided"); suggested (whether the rate
        is in the suggestion); share (of the filtered maps, 0 where not suggested); drop (in mIoU, mean over seeds);
        drop_low, drop_high (lowest and highest end of the seeds' 95 % intervals); weight, gain, initial (shares, means
        over seeds, see `BranchEvidence`); strength; bound, bound_kept, contiguous, coverage, field_before, field_after,
        cost_before, cost_probe, cost_after (of the stage, see `StageAdvice`); seeds (their number); epochs.
        """
        import pandas as pd

        rows = []
        for stage in self.stages:
            for dilation, verdict in zip(stage.tested, stage.verdicts, strict=True):
                found = self.evidence(stage.stage, dilation)
                rows.append(
                    {
                        "stage": stage.stage,
                        "output_stride": stage.output_stride,
                        "dilation": dilation,
                        "verdict": verdict,
                        "suggested": dilation in stage.rates,
                        "share": stage.share(dilation),
                        "drop": float(np.mean([branch.drop for branch in found])),
                        "drop_low": min(branch.drop_low for branch in found),
                        "drop_high": max(branch.drop_high for branch in found),
                        **{
                            name: float(np.mean([getattr(branch, name) for branch in found]))
                            for name in ("weight", "gain", "initial")
                        },
                        **{name: getattr(stage, name) for name in _OF_STAGE},
                        "seeds": len(self.trainings),
                        "epochs": self.epochs,
                    }
                )
        return pd.DataFrame(rows).astype({"bound_kept": "boolean", "contiguous": "boolean"})

    def evidence_frame(self) -> pd.DataFrame:
        """One row per training, stage and tested rate.

        Columns: seed; epochs; miou, constant (see `TrainingEvidence`); and the attributes of `BranchEvidence`.
        """
        import pandas as pd

        return pd.DataFrame(
            [
                {"seed": one.seed, "epochs": one.epochs, "miou": one.miou, "constant": one.constant, **vars(branch)}
                for one in self.trainings
                for branch in one.branches
            ]
        )

    def __str__(self) -> str:
        seeds = ", ".join(str(training.seed) for training in self.trainings)
        scores = ", ".join(f"{100 * training.miou:.1f}" for training in self.trainings)
        lines = [
            f"{self.network} on {self.data}: {self.epochs} epochs a training, seeds {seeds}, "
            f"mIoU of the probes {scores}"
        ]
        lines += [
            f"{stage.stage} (1/{stage.output_stride}), evidence {stage.strength}: {stage.sentence}"
            for stage in self.stages
        ]
        before, after = self.cost["before"] / 1e9, self.cost["after"] / 1e9
        lines.append(f"multiply-adds {before:.3g} G, with the suggested blocks {after:.3g} G; neither was trained.")
        return "\n".join(lines)


_OF_STAGE = (
    "strength", "bound", "bound_kept", "contiguous", "coverage", "field_before", "field_after", "cost_before",
    "cost_probe", "cost_after",
)  # fmt: skip
