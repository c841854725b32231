"""The rules by which evidence becomes a suggestion.

All but three were fixed before they were used on anything. In the first run on real frames the weights of the branches
had hardly moved, and still removing a rate cost the same in every training: that such evidence is weak, and not none,
was decided then. So was what becomes of channels where each training put another rate first. How far a probe must
exceed the most frequent class was raised to three times after a run on procedural scenes.

**Which rates.** A rate is *spare* if in every training the interval of what its removal costs ends below half a point
of mIoU; *needed* if it is not spare and in every training the interval begins above zero; else *undecided*. Spare rates
are left out. The smallest rate always stays, because what is near is needed everywhere, and what is undecided stays
too: a wide interval is no evidence that a rate can go.

**Which shares.** Half of a rate's evidence is its share of the costs (a negative cost counts as none), half its share
of |w| x |gain|, both among the rates that stay. The shares are rounded to quarters (eighths for more than four rates),
at least one each. Where the trainings do not all put the same rate first by cost, such shares would be noise, and the
paper's rule of thumb stands as a default: 2:1:1, twice the channels for the smallest rate.

**How sure.** *none* if a probe has less than three times the mIoU of the most frequent class alone, or if all rates are
undecided and the branches are weighed as before training: the tested rates and the paper's 2:1:1 then stand as a
default. *strong* if every criterion is met. *moderate* if all are but the number of epochs, and there were a hundred.
*weak* otherwise.

What these rules cannot see: removal tells what the trained probe relies on, not what a network trained without the rate
would do; a probe's blocks are not your blocks; and the intervals are over images, so that only other seeds tell what
another training would have given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rfkit.results.advice import BranchEvidence, Criterion, TrainingEvidence

__all__ = ["Judgement", "channel_ratio", "judge_stage", "verdict"]

SPARE = 0.005
"""Half a point of mIoU: a rate whose removal surely costs less is spare."""

_SEEDS_NEEDED, _EPOCHS_NEEDED, _EPOCHS_FOR_MODERATE = 3, 300, 100
# A probe has learned something if its mIoU is so many times that of the most frequent class alone.
_BETTER = 3.0


@dataclass(frozen=True)
class Judgement:
    """What the rules say of one stage.

    Attributes:
        verdicts: of each tested rate.
        rates: suggested ones.
        alpha: their channels, relative to each other.
        strength: "strong", "moderate", "weak" or "none".
        criteria: what that rests on.
        sentence: all of it for a reader.
    """

    verdicts: tuple[str, ...]
    rates: tuple[int, ...]
    alpha: tuple[int, ...]
    strength: str
    criteria: tuple[Criterion, ...]
    sentence: str


def judge_stage(stage: str, trainings: Sequence[TrainingEvidence]) -> Judgement:
    """The judgement of one stage, by the rules at the head of this file.

    Args:
        stage: its name.
        trainings: the evidence, one or more.
    """
    found = _by_rate(stage, trainings)
    verdicts = tuple(verdict(branches) for branches in found.values())
    criteria = _criteria(stage, trainings, verdicts)
    strength = _strength(criteria, verdicts, min(training.epochs for training in trainings))
    tested = tuple(found)
    if strength == "none":
        rates, alpha = tested, _rule_of_thumb(len(tested))
    else:
        pairs = zip(tested, verdicts, strict=True)
        rates = tuple(rate for rate, what in pairs if what != "spare" or rate == tested[0])
        wanted = [_weight_of(found, rate, rates) for rate in rates]
        alpha = channel_ratio(wanted) if _same_first(found, rates) else _rule_of_thumb(len(rates))
    return Judgement(verdicts, rates, alpha, strength, criteria, _sentence(found, verdicts, rates, alpha, strength))


def verdict(branches: Sequence[BranchEvidence]) -> str:
    """What the trainings say of one rate in one stage: "spare", "needed" or "undecided"."""
    if all(branch.drop_high < SPARE for branch in branches):
        return "spare"
    return "needed" if all(branch.drop_low > 0 for branch in branches) else "undecided"


def channel_ratio(evidence: Sequence[float]) -> tuple[int, ...]:
    """Whole numbers in the ratio of `evidence`, rounded to quarters of their sum, at least one quarter each.

    For more than four entries to eighths, and so on. No evidence at all gives equal numbers.

    Example:
        >>> channel_ratio([0.6, 0.25, 0.15])
        (2, 1, 1)
    """
    count = len(evidence)
    parts = 4
    while parts < count:
        parts *= 2
    total = sum(evidence)
    if total <= 0 or count == 1:
        return (1,) * count
    wanted = [parts * value / total for value in evidence]
    given = [max(1, math.floor(value)) for value in wanted]
    while sum(given) != parts:
        short = sum(given) < parts
        # The entry that is furthest from what it should get; of equal ones the first.
        places = [place for place in range(count) if short or given[place] > 1]
        gaps = {place: (wanted[place] - given[place]) * (1 if short else -1) for place in places}
        place = max(places, key=lambda entry: (gaps[entry], -entry))
        given[place] += 1 if short else -1
    divisor = math.gcd(*given)
    return tuple(number // divisor for number in given)


def _by_rate(stage: str, trainings: Sequence[TrainingEvidence]) -> dict[int, list[BranchEvidence]]:
    found: dict[int, list[BranchEvidence]] = {}
    for training in trainings:
        for branch in training.branches:
            if branch.stage == stage:
                found.setdefault(branch.dilation, []).append(branch)
    return dict(sorted(found.items()))


def _weight_of(found: Mapping[int, Sequence[BranchEvidence]], rate: int, rates: Sequence[int]) -> float:
    """Half the share of costs, half the share of |w| x |gain|, among `rates`."""
    costs = {entry: max(0.0, _mean(found[entry], "drop")) for entry in rates}
    gains = {entry: _mean(found[entry], "gain") for entry in rates}
    by_cost = costs[rate] / sum(costs.values()) if sum(costs.values()) > 0 else gains[rate] / sum(gains.values())
    return (by_cost + gains[rate] / sum(gains.values())) / 2


def _same_first(found: Mapping[int, Sequence[BranchEvidence]], rates: Sequence[int]) -> bool:
    """Whether all trainings find the same one of `rates` most costly to remove."""
    drops = np.array([[branch.drop for branch in found[rate]] for rate in rates])
    return len(set(drops.argmax(axis=0).tolist())) == 1


def _mean(branches: Sequence[BranchEvidence], name: str) -> float:
    return float(np.mean([getattr(branch, name) for branch in branches]))


def _rule_of_thumb(count: int) -> tuple[int, ...]:
    """The paper's 2:1:1."""
    return (2, *[1] * (count - 1)) if count > 1 else (1,)


# ---- how sure -------------------------------------------------------------------------------------------------------


def _criteria(stage: str, trainings: Sequence[TrainingEvidence], verdicts: Sequence[str]) -> tuple[Criterion, ...]:
    found = _by_rate(stage, trainings)
    epochs = min(training.epochs for training in trainings)
    alone = [tuple(verdict([branches[place]]) for branches in found.values()) for place in range(len(trainings))]
    first = {name: max(found, key=lambda rate: _mean(found[rate], name)) for name in ("drop", "gain")}
    unsure = [f"d{rate}" for rate, what in zip(found, verdicts, strict=True) if what == "undecided"]
    moved = [_moved(stage, training) for training in trainings]
    scores = ", ".join(f"{100 * training.miou:.1f}" for training in trainings)
    constant = f"{100 * trainings[0].constant:.1f}"
    return (
        Criterion(
            "learned",
            all(training.miou > _BETTER * training.constant for training in trainings),
            f"mIoU {scores}; the most frequent class alone has {constant}, and {_BETTER:g} times that is needed",
        ),
        Criterion(
            "moved",
            all(moved),
            f"in {sum(moved)} of {len(moved)} trainings a rate is weighed otherwise than before training",
        ),
        Criterion(
            "seeds", len(trainings) >= _SEEDS_NEEDED, f"{_several(len(trainings))}, {_SEEDS_NEEDED} are needed"
        ),
        Criterion(
            "seeds agree",
            len(trainings) > 1 and len(set(alone)) == 1,
            "one training has none to agree with"
            if len(trainings) == 1
            else f"taken alone, the trainings give {len(set(alone))} different "
            f"{'verdict' if len(set(alone)) == 1 else 'verdicts'}".replace("1 different verdict", "one verdict"),
        ),
        Criterion(
            "measures agree",
            first["drop"] == first["gain"],
            f"removal puts d{first['drop']} first, |w| x |gain| d{first['gain']}",
        ),
        Criterion("decided", not unsure, f"undecided: {', '.join(unsure)}" if unsure else "no rate is undecided"),
        Criterion("epochs", epochs >= _EPOCHS_NEEDED, f"{epochs:g} epochs, {_EPOCHS_NEEDED} are needed"),
    )


def _moved(stage: str, training: TrainingEvidence) -> bool:
    """Whether the interval of a rate's share leaves out what the share was before training."""
    return any(
        not branch.weight_low <= branch.initial <= branch.weight_high
        for branch in training.branches
        if branch.stage == stage
    )


def _strength(criteria: Sequence[Criterion], verdicts: Sequence[str], epochs: float) -> str:
    missing = {criterion.name for criterion in criteria if not criterion.met}
    if "learned" in missing or ("moved" in missing and set(verdicts) == {"undecided"}):
        return "none"
    if not missing:
        return "strong"
    return "moderate" if missing == {"epochs"} and epochs >= _EPOCHS_FOR_MODERATE else "weak"


# ---- in words -------------------------------------------------------------------------------------------------------


def _sentence(
    found: Mapping[int, Sequence[BranchEvidence]],
    verdicts: Sequence[str],
    rates: Sequence[int],
    alpha: Sequence[int],
    strength: str,
) -> str:
    if strength == "none":
        return (
            "nothing can be told yet. The tested rates stand here as a default, with the paper's "
            f"{_ratio(alpha)} for their channels."
        )
    parts = [_kept(rates, alpha)]
    if len(rates) > 1 and not _same_first(found, rates):
        parts[0] += " (the paper's, because the trainings do not agree on the rate that matters most)"
    spare = [rate for rate in found if rate not in rates]
    if spare:
        parts.append(f"leave out {_listed(spare)}: removal costs less than half a point of mIoU in every training")
    unsure = [rate for rate, what in zip(found, verdicts, strict=True) if what == "undecided" and rate in rates]
    if unsure:
        parts.append(f"{_listed(unsure)} undecided and therefore kept")
    return "; ".join(parts) + "."


def _kept(rates: Sequence[int], alpha: Sequence[int]) -> str:
    if len(rates) == 1:
        return f"rate {rates[0]} alone"
    return f"rates {_listed(rates)} with channels {_ratio(alpha)}"


def _ratio(alpha: Sequence[int]) -> str:
    return ":".join(map(str, alpha))


def _listed(rates: Sequence[int]) -> str:
    names = [str(rate) for rate in rates]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _several(count: int) -> str:
    return "1 training" if count == 1 else f"{count} trainings"
