"""Evidence made by hand, and the advice that follows from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from rfkit.cost import multiply_adds, parameters
from rfkit.loading import load_network
from rfkit.models.competing import probe
from rfkit.results.advice import Advice, BranchEvidence, StageAdvice, TrainingEvidence
from rfkit.studies.adviser.blocks import rebuilt, suggested_code
from rfkit.studies.adviser.judging import judge_stage
from rfkit.studies.adviser.stages import find_stages
from rfkit.studies.adviser.structure import compare

STREET_NET = f"{Path(__file__).parent / 'street_net.py'}:make"
SIZE = (64, 96)

# Stage -> rate -> (drop, lower end, upper end, gain).
Drops = Mapping[str, Mapping[int, tuple[float, float, float, float]]]


def _training(
    drops: Drops, *, seed: int = 0, epochs: float = 300, miou: float = 0.5, moved: bool = True
) -> TrainingEvidence:
    branches = []
    for stage, rates in drops.items():
        for dilation, (drop, low, high, gain) in rates.items():
            initial = 1 / len(rates)
            width = 0.01 if moved else 1.0
            branches.append(
                BranchEvidence(stage, dilation, drop, low, high, gain, gain - width, gain + width, gain, initial)
            )
    return TrainingEvidence(seed, epochs, 100, miou, 0.05, 20, tuple(branches))


@pytest.fixture
def training() -> Callable[..., TrainingEvidence]:
    """Makes the evidence of a training from drops, see `Drops`."""
    return _training


@pytest.fixture(scope="session")
def advice() -> Advice:
    """An advice on the network in street_net.py: rate 5 spare at 1/4, everything undecided at 1/8."""
    drops: Drops = {
        "stride4": {1: (0.1, 0.08, 0.12, 0.6), 3: (0.03, 0.02, 0.04, 0.3), 5: (0.0, -0.002, 0.002, 0.1)},
        "stride8": {1: (0.01, -0.01, 0.03, 0.5), 3: (0.0, -0.02, 0.02, 0.3), 5: (0.005, -0.01, 0.02, 0.2)},
    }
    trainings = tuple(_training(drops, seed=seed, epochs=12) for seed in (0, 1))
    network = load_network(STREET_NET, seed=0)
    found = find_stages(network)
    judged = {stage.name: judge_stage(stage.name, trainings) for stage in found.stages}
    code = suggested_code(found, {name: (one.rates, one.alpha) for name, one in judged.items()}, title="Made by hand.")
    networks = (network, probe(network, stages=found.names(), seed=0), rebuilt(code, network))
    structures = compare(found, networks, {name: one.rates for name, one in judged.items()}, (3, *SIZE))
    stages = tuple(
        StageAdvice(
            stage.name, stage.output_stride, stage.channels, tuple(block.name for block in stage.blocks), (1, 3, 5),
            **vars(judged[stage.name]), **vars(structures[stage.name]),
        )
        for stage in found.stages
    )  # fmt: skip
    places = ("before", "probe", "after")
    return Advice(
        network="my_nets.py:make<script>",
        data="scenes",
        split="train",
        validation="scenes val",
        images=8,
        size=SIZE,
        recipe="camvid-paper-half",
        overrides=("batch_size=4",),
        epochs=12,
        minutes=None,
        trainings=trainings,
        stages=stages,
        together=(0.001, 0.002),
        found=found,
        cost={place: multiply_adds(one, (3, *SIZE)) for place, one in zip(places, networks, strict=True)},
        parameters={place: parameters(one) for place, one in zip(places, networks, strict=True)},
        code=code,
    )
