"""The figure of learned rates: what it says follows from its numbers, and what ships is what the caption says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rfkit.models.learning_dilations import learned_layers
from rfkit.models.registry import create_model
from rfkit.paper import learned_rates
from rfkit.paper.context import Context, MissingInput
from rfkit.paper.learned_rates import CAPTION, RateFigure, compute, verdict
from rfkit.paper.measured.rates import read_rates
from rfkit.results.branches import Ratio
from rfkit.results.dilation_rates import RateTrajectory
from rfkit.results.learned_rates import LearnedRates, RateRun
from rfkit.studies.learned_rates import learn_dilations


def _network(*ends: tuple[float, float], first: tuple[float, float] = (1, 9)) -> LearnedRates:
    """One layer a stage, two starts; `ends` are their last rates, stage by stage."""
    count = len(ends)
    layers = tuple(f"s{index}.x" for index in range(count))
    runs = tuple(
        RateRun(
            str(first[which]), 0, 0.5,
            RateTrajectory(np.array([0, 2]), layers, ("d1",) * count,
                           np.array([[first[which]] * count, [end[which] for end in ends]], float),
                           np.full((2, count), 40.0)),
        )
        for which in (0, 1)
    )  # fmt: skip
    stages = tuple(f"s{index}" for index in range(count))
    return LearnedRates("net", "camvid trainval", 180, 240, 40, 2, stages, layers, runs)


def test_a_verdict_is_what_the_numbers_say() -> None:
    network = _network((4, 5), (1, 9), (3, 7))
    assert verdict(network, ()) == (
        "s0: starts 8.0 apart end 1.0 apart, they meet; s1: starts 8.0 apart end 8.0 apart, they stay apart; "
        "s2: starts 8.0 apart end 4.0 apart, they meet in part."
    )
    for low, high, words in (
        (0.1, 0.9, "large rates are learned where the probe wants large ones"),
        (-0.9, -0.1, "large rates are learned where the probe wants small ones"),
        (-0.1, 0.9, "no agreement is shown"),
    ):
        assert verdict(network, [Ratio("", "", 0.0, low, high)]).endswith(f". Probe: {words}.")
    # One start of two, at 9, is beyond a map of 6x8 but not beyond one of 12x15.
    stuck = verdict(network, (), maps={"s0": (6, 8), "s1": (12, 15), "s2": (6, 9)})
    assert stuck.endswith("they meet in part. 2 rates began beyond the map, where nothing moves them.")
    assert verdict(_network((4, 4), first=(1, 1)), ()) == "One start, so nothing is said about where others end."


def test_nothing_to_draw_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learned_rates, "read_rates", lambda: ())
    with pytest.raises(MissingInput, match="no learned dilation rates ship"):
        compute(Context(out=tmp_path))


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> RateFigure:
    return compute(Context(out=tmp_path_factory.mktemp("figures")))


def test_what_ships_is_what_the_caption_says(shipped: RateFigure) -> None:
    assert [network.model for network in shipped.networks] == ["dwrseg_l", "regseg"]
    for network in shipped.networks:
        assert (network.data, network.width, network.height, network.epochs) == ("camvid trainval", 240, 180, 40)
        assert f"{network.width}x{network.height} for {network.epochs} epochs" in CAPTION
        assert {run.seed for run in network.runs} == {0}
        assert len(network.runs) == len(network.starts)
        assert network.starts[0] == "own"
        model = learn_dilations(create_model(network.model))
        # The bounds are those of the field before each layer with the rates it began with.
        own = network.runs[0].trajectory
        layers = learned_layers(model)
        assert own.layers == tuple(layers)
        assert own.rates[0].tolist() == [float(layer.rate.detach()) for layer in layers.values()]
        assert own.bounds[-1] == pytest.approx([layer.bound for layer in layers.values()])
        for run in network.runs:
            path = run.trajectory
            assert path.steps[-1] == network.epochs * network.steps_per_epoch
            assert ((path.rates >= 1) & (path.rates <= path.bounds + 1e-4)).all()
            assert 0 < run.miou < 1


def test_maps_and_references_of_the_networks(shipped: RateFigure) -> None:
    assert shipped.maps["dwrseg_l"]["stage4"] == (6, 8)
    assert shipped.maps["regseg"]["stage4"] == shipped.maps["dwrseg_l"]["stage3"] == (12, 15)
    assert shipped.references["regseg"]["stage4.13"] == (5, 14)
    assert "dwrseg_l" not in shipped.references
    frame = shipped.to_frame()
    assert set(frame["series"]) >= {"rate", "stage"}
    rates = frame[(frame["series"] == "rate") & (frame["model"] == "regseg")]
    assert len(rates) == len(shipped.networks[1].runs) * len(shipped.networks[1].layers)


def test_a_rate_beyond_its_map_has_no_gradient_and_stays(shipped: RateFigure) -> None:
    """Why the gray part of the figure is gray: a start above the map's size is where the rate ends."""
    network = shipped.networks[0]
    for run in network.runs:
        for index, stage in enumerate(network.stages):
            path = run.trajectory
            if path.rates[0, index] >= max(shipped.maps[network.model][stage]):
                assert path.rates[-1, index] == path.rates[0, index]


def test_no_table_is_no_rates(tmp_path: Path) -> None:
    assert read_rates(tmp_path / "none.csv") == ()
