from __future__ import annotations

import math
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from rfkit.analysis.theoretical import trace
from rfkit.models.learning_dilations import (
    clamp_rates,
    dilation_rates,
    freeze,
    parameter_groups,
    rate_parameters,
    replace_dilated,
)
from rfkit.models.registry import create_model
from rfkit.results.dilation_rates import RateTrajectory
from rfkit.studies.learned_rates import RateRecorder, learn_dilations, update_bounds

GOLDEN = tomllib.loads((Path(__file__).parents[1] / "golden" / "dilation_bounds.toml").read_text(encoding="utf-8"))


def _stack(*rates: int) -> nn.Sequential:
    return nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=rate, dilation=rate) for rate in rates))


def test_the_bounds_of_regseg_are_the_published_ones() -> None:
    model = learn_dilations(create_model("regseg", seed=0))
    bounds = dilation_rates(model).set_index("layer")["bound"]
    assert bounds[[f"stage4.{block}.branches.convs.1" for block in range(2, 14)]].tolist() == pytest.approx(
        GOLDEN["regseg"]["bounds"][1:], abs=0.005
    )


def test_the_field_bounds_the_rates_to_begin_with() -> None:
    # k before the layers: 1, 3, and 3 + 2 * rate of the second; the second may not be above 3, so k is 9.
    model = learn_dilations(_stack(1, 2, 4), layers="*", start={"1": 5.0, "2": 12.0}, input_size=(3, 32, 32))
    assert dilation_rates(model)["bound"].tolist() == [1, 3, 9]
    assert dilation_rates(model)["rate"].tolist() == [1, 3, 9]


def test_bounds_grow_with_the_rates_before_them() -> None:
    model = learn_dilations(_stack(1, 1, 2), layers="*", input_size=(3, 32, 32))
    assert dilation_rates(model)["bound"].tolist() == [1, 3, 5]
    rate_parameters(model)[1].data.fill_(2.6)
    assert update_bounds(model, (3, 32, 32)) == {"0": 1, "1": 3, "2": 9}
    assert dilation_rates(model)["rate"].tolist() == pytest.approx([1, 2.6, 2])


def test_a_number_bounds_all_rates() -> None:
    model = _stack(1, 2)
    learned = learn_dilations(model, bound=6)
    assert dilation_rates(learned).to_dict("records") == [{"layer": "1", "branch": "d2", "rate": 2, "bound": 6}]
    image = torch.randn(1, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    assert torch.equal(learned(image), model(image))


def test_rates_move_in_training_and_are_recorded() -> None:
    model = learn_dilations(_stack(1, 2), bound=4)
    recorder = RateRecorder(model)
    optimizer = torch.optim.SGD(rate_parameters(model), lr=0.05)
    image = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for step in range(3):
        recorder.record(step)
        optimizer.zero_grad()
        model(image).square().mean().backward()
        optimizer.step()
    found = recorder.trajectory()
    assert found.steps.tolist() == [0, 1, 2]
    assert (found.layers, found.branches, found.rates.shape) == (("1",), ("d2",), (3, 1))
    assert found.rates[0, 0] == 2
    assert len(set(found.rates[:, 0])) == 3
    frame = found.to_frame()
    assert list(frame) == ["step", "layer", "branch", "rate", "bound"]
    assert frame["bound"].tolist() == [4, 4, 4]
    assert found.final == {"1": found.rates[2, 0]}


def test_a_network_learns_the_context_of_its_task_and_is_frozen_at_it() -> None:
    """The label is the sign of the input 6 columns to the left and right; a 1x1 convolution follows, as in a block."""
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 1, (1, 3), padding=(0, 3), dilation=(1, 3), bias=False), nn.Conv2d(1, 1, 1))
    with torch.no_grad():
        network[0].weight.fill_(0.2)
        network[1].weight.fill_(1.0)
    model = learn_dilations(network, bound=12)
    recorder = RateRecorder(model)
    optimizer = torch.optim.Adam(parameter_groups(model, rate_learning_rate=0.05), lr=0.03, betas=(0.9, 0.99))
    blur = torch.exp(-(torch.linspace(-2, 2, 9) ** 2) / 2)[None, None, None]
    for step in range(300):
        recorder.record(step)
        maps = 2 * nn.functional.conv2d(
            torch.randn(4, 1, 20, 60, generator=generator), blur / blur.sum(), padding="same"
        )
        wide = nn.functional.pad(maps, (6, 6))
        label = (wide[..., :-12] + wide[..., 12:] > 0).float()
        loss = nn.functional.binary_cross_entropy_with_logits(model(maps), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        clamp_rates(model)
    rates = recorder.trajectory().rates[:, 0]
    assert rates[0] == 3
    assert rates[-1] == pytest.approx(6, abs=0.3)
    assert freeze(model)[0].dilation == (1, 6)


def test_the_field_of_a_learned_rate_is_that_of_the_positions_it_reads() -> None:
    learned = replace_dilated(nn.Conv2d(3, 3, 3, padding=2, dilation=2), start=2.5)
    measures = trace(learned, (3, 32, 32)).output.measures(0)
    # Rows -3, -2, 0, 2 and 3.
    assert (measures["size_max"], measures["coverage"]) == (7, 5 / 7)


def test_trajectories_are_saved_and_selected(tmp_path: Path) -> None:
    rates = np.array([[1.0, 3.0, 5.0], [1.5, 2.5, 5.5]])
    found = RateTrajectory(np.array([0, 10]), ("a.1.conv", "a.10.conv", "b"), ("d1", "d3", "d5"), rates, rates + 4)
    assert RateTrajectory.load(found.save(tmp_path / "rates.npz")) == found
    assert found.select("a.1").layers == ("a.1.conv",)
    assert found.select(("b", "a.10")).rates.tolist() == [[3, 5], [2.5, 5.5]]
    assert found.to_frame()["rate"].tolist() == [1, 3, 5, 1.5, 2.5, 5.5]
    with pytest.raises(ValueError, match=r"layers='c' begins no layer's name; there are a\.1\.conv"):
        found.select("c")
    with pytest.raises(ValueError, match=r"rates \(2, 3\), bounds \(2, 3\) and 2 branches must be of 2 steps"):
        RateTrajectory(found.steps, found.layers, ("d1", "d3"), rates, rates)


def test_trajectories_are_read_from_tables(tmp_path: Path) -> None:
    rates = np.array([[1.0, 3.0], [1.5, 2.5], [1.25, 2.0]])
    bounds = np.array([[math.inf, 4.0]] * 3)
    found = RateTrajectory(np.array([0, 2, 10]), ("b.conv", "a.conv"), ("d1", "d3"), rates, bounds)
    frame = found.to_frame()
    frame.to_csv(tmp_path / "rates.csv", index=False)
    assert RateTrajectory.from_frame(pd.read_csv(tmp_path / "rates.csv")) == found
    assert RateTrajectory.from_frame(frame.iloc[::-1]).select("b").rates.ravel().tolist() == [1, 1.5, 1.25]
    numbered = RateTrajectory(found.steps, ("0", "2"), found.branches, rates, bounds)
    numbered.to_frame().to_csv(tmp_path / "rates.csv", index=False)
    assert RateTrajectory.from_frame(pd.read_csv(tmp_path / "rates.csv")) == numbered
    no_bound = frame.assign(bound=np.nan)
    assert np.isinf(RateTrajectory.from_frame(no_bound).bounds).all()


def test_tables_that_are_no_trajectory_are_refused() -> None:
    rates = np.array([[1.0, 3.0], [1.5, 2.5]])
    frame = RateTrajectory(np.array([0, 1]), ("a", "b"), ("d1", "d3"), rates, rates + 4).to_frame()
    with pytest.raises(ValueError, match="frame lacks branch, bound; it must have rows with step, layer, branch"):
        RateTrajectory.from_frame(frame[["step", "layer", "rate"]])
    with pytest.raises(ValueError, match="frame has no row"):
        RateTrajectory.from_frame(frame[:0])
    with pytest.raises(ValueError, match="frame has 3 rows for 2 steps and 2 layers; one for each is needed"):
        RateTrajectory.from_frame(frame[:3])
    with pytest.raises(ValueError, match="frame has 4 rows for 2 steps and 2 layers"):
        RateTrajectory.from_frame(frame.iloc[[0, 1, 2, 2]])


def test_errors() -> None:
    with pytest.raises(ValueError, match="bound='fields' is not known; allowed: field"):
        learn_dilations(_stack(1, 2), bound="fields")
    with pytest.raises(ValueError, match="no learned dilation rates"):
        RateRecorder(_stack(1, 2))
    with pytest.raises(ValueError, match="no learned dilation rates"):
        update_bounds(_stack(1, 2))
    recorder = RateRecorder(replace_dilated(_stack(1, 2)))
    with pytest.raises(ValueError, match="nothing has been recorded"):
        recorder.trajectory()
    recorder.record(4)
    with pytest.raises(ValueError, match="step=4 must be above the last one recorded, 4"):
        recorder.record(4)


class _Sorted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=2, dilation=2)

    def forward(self, image: Tensor) -> Tensor:
        return self.conv(image.flatten(1).sort().values.view_as(image))


def test_a_field_that_is_not_known_bounds_nothing() -> None:
    with pytest.raises(ValueError, match="the receptive field before 'conv' is not known; give a number as bound"):
        learn_dilations(_Sorted(), input_size=(3, 16, 16))


def test_frozen_networks_take_the_bounds_into_account() -> None:
    model = learn_dilations(_stack(1, 2), bound=3.7)
    rate_parameters(model)[0].data.fill_(3.6)
    assert freeze(model)[1].dilation == (3, 3)
