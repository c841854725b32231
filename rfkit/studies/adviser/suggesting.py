"""From evidence to the advice: every stage judged, the suggestion written as code and measured as a network."""

from __future__ import annotations

from collections.abc import Sequence

from rfkit.cost import multiply_adds, parameters
from rfkit.results.advice import Advice, StageAdvice, TrainingEvidence
from rfkit.results.found_stages import FoundStage
from rfkit.studies.adviser.blocks import rebuilt, suggested_code
from rfkit.studies.adviser.budget import Budget
from rfkit.studies.adviser.evidence import drop_together
from rfkit.studies.adviser.judging import Judgement, judge_stage
from rfkit.studies.adviser.structure import Structure, compare
from rfkit.studies.adviser.task import Task
from rfkit.training.recipe import RECIPES

__all__ = ["make_advice"]


def make_advice(task: Task, budget: Budget, trainings: Sequence[TrainingEvidence]) -> Advice:
    """The advice that the evidence of all trainings gives.

    Args:
        task: what it is about.
        budget: how long was trained.
        trainings: the evidence.
    """
    judged = {stage.name: judge_stage(stage.name, trainings) for stage in task.found.stages}
    code = suggested_code(
        task.found,
        {name: (judgement.rates, judgement.alpha) for name, judgement in judged.items()},
        title=_title(task, budget, trainings),
    )
    own, probe = task.network(0), task.probe(0)
    suggested = rebuilt(code, own)
    networks = {"before": own, "probe": probe, "after": suggested}
    rates = {name: judgement.rates for name, judgement in judged.items()}
    structures = compare(task.found, (own, probe, suggested), rates, task.input_size)
    removed = {name: [rate for rate in task.dilations if rate not in kept] for name, kept in rates.items()}
    left_out = any(removed.values())
    return Advice(
        network=task.label,
        data=task.data.name,
        split=task.data.split,
        validation=f"{task.validation.name} {task.validation.split}",
        images=len(task.data),
        size=task.recipe.crop_size,
        recipe=task.recipe.name,
        overrides=_overrides(task),
        epochs=budget.epochs,
        minutes=budget.minutes,
        trainings=tuple(trainings),
        stages=tuple(_stage(task, stage, judged[stage.name], structures[stage.name]) for stage in task.found.stages),
        together=tuple(drop_together(task, training.seed, removed) for training in trainings) if left_out else (),
        found=task.found,
        cost={name: multiply_adds(network, task.input_size) for name, network in networks.items()},
        parameters={name: parameters(network) for name, network in networks.items()},
        code=code,
    )


def _stage(task: Task, stage: FoundStage, judgement: Judgement, structure: Structure) -> StageAdvice:
    return StageAdvice(
        stage=stage.name,
        output_stride=stage.output_stride,
        channels=stage.channels,
        blocks=tuple(block.name for block in stage.blocks),
        tested=task.dilations,
        **vars(judgement),
        **vars(structure),
    )


def _title(task: Task, budget: Budget, trainings: Sequence[TrainingEvidence]) -> str:
    seeds = "1 training" if len(trainings) == 1 else f"{len(trainings)} trainings"
    return f"Blocks that rfkit suggests for {task.label} on {task.data.name}, after {seeds} of {budget.epochs} epochs."


def _overrides(task: Task) -> tuple[str, ...]:
    """What differs from the named recipe; its epochs are said elsewhere."""
    if task.recipe.name not in RECIPES:
        return ()
    named = RECIPES[task.recipe.name].to_dict()
    return tuple(
        f"{name}={value}" for name, value in task.recipe.to_dict().items() if value != named[name] and name != "epochs"
    )
