"""The options of a recipe that change how a step is taken."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rfkit.models.learning_dilations import replace_dilated
from rfkit.models.weights import read_weights
from rfkit.training.averaging import MovingAverage
from rfkit.training.interruption import Interruption
from rfkit.training.losses import _gathered, cross_entropy, ohem_cross_entropy, weigh_classes
from rfkit.training.run import RunResult

Run = Callable[..., RunResult]


def _weights(result: RunResult) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in result.model.state_dict().items()}


def _case() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 4, (2, 5, 6), generator=generator)
    labels[0, 0] = 255
    return torch.randn(2, 4, 5, 6, generator=generator), labels


def test_label_smoothing_is_that_of_torch() -> None:
    logits, labels = _case()
    expected = F.cross_entropy(logits, labels, ignore_index=255, label_smoothing=0.2)
    assert cross_entropy(logits, labels, label_smoothing=0.2).item() == pytest.approx(expected.item(), rel=1e-6)


def test_ohem_takes_the_same_pixels_with_smoothing_and_weights() -> None:
    logits, labels = _case()
    weights = torch.tensor([1.0, 2.0, 0.0, 4.0])
    plain = F.cross_entropy(logits, labels, ignore_index=255, reduction="none")
    hard = plain > -torch.tensor(0.7).log()
    pixel = weights[labels.masked_fill(labels == 255, 0)] * hard
    smoothed = F.cross_entropy(logits, labels, ignore_index=255, reduction="none", label_smoothing=0.2)
    loss = ohem_cross_entropy(logits, labels, class_weights=weights, label_smoothing=0.2)
    assert loss.item() == pytest.approx(((smoothed * pixel).sum() / pixel.sum()).item(), rel=1e-5)


def test_the_losses_of_parts_add_up_to_that_of_the_batch() -> None:
    logits, labels = _case()
    weights = torch.tensor([1.0, 2.0, 0.5, 4.0])
    whole = cross_entropy(logits, labels, class_weights=weights)
    total = weights[labels[labels != 255]].sum()
    parts = [cross_entropy(logits[i : i + 1], labels[i : i + 1], class_weights=weights, total=total) for i in (0, 1)]
    assert sum(parts).item() == pytest.approx(whole.item(), rel=1e-6)


def test_the_deterministic_loss_is_the_same_loss() -> None:
    logits, labels = _case()
    expected = F.cross_entropy(logits, labels, ignore_index=255, reduction="none")
    torch.testing.assert_close(_gathered(logits, labels), expected)


def test_given_class_weights(patches: type) -> None:
    assert weigh_classes(patches(), (1.0, 2.0, 0.0)).tolist() == [1.0, 2.0, 0.0]
    with pytest.raises(ValueError, match="class_weights has 2 numbers; patches has 3 classes"):
        weigh_classes(patches(), (1.0, 2.0))


def test_a_batch_in_parts_has_the_gradient_of_the_whole(
    run: Run, network: Callable[..., nn.Module], tmp_path: Path
) -> None:
    def without_norm() -> nn.Module:
        model = network()
        model[1], model[3] = nn.Identity(), nn.Identity()
        return model

    options = {"loss": "cross-entropy", "class_weights": (1.0, 2.0, 0.5)}
    whole = run(without_norm(), **options)
    parts = run(without_norm(), **options, accumulate=4, out=tmp_path / "parts")
    torch.testing.assert_close(_weights(parts), _weights(whole), rtol=1e-4, atol=1e-6)
    assert parts.log["loss"].tolist() == pytest.approx(whole.log["loss"].tolist(), rel=1e-5)


def test_the_average_follows_the_weights_by_its_rule() -> None:
    model = nn.BatchNorm2d(1)
    average = MovingAverage(model, decay=0.5)
    expected = 1.0
    for step in range(12):
        with torch.no_grad():
            model.weight.fill_(step)
            model.running_mean.fill_(2 * step)
            model.num_batches_tracked.fill_(step)
        average.update(model, step=step)
        share = min(0.5, (1 + step) / (10 + step))
        expected = share * expected + (1 - share) * step
        assert average.model.weight.item() == pytest.approx(expected, rel=1e-6)
        assert average.model.num_batches_tracked == step
    assert average.model.running_mean.item() == pytest.approx(2 * expected, rel=1e-3)
    assert not average.model.weight.requires_grad


def test_a_run_with_an_average_scores_saves_and_returns_it(run: Run, patches: type, tmp_path: Path) -> None:
    held_out = patches(count=4, split="val")
    options = {"learning_rate": 0.1, "evaluation": held_out}
    plain = run(**options, out=tmp_path / "plain")
    averaged = run(**options, ema_decay=0.8)
    state = torch.load(averaged.out / "checkpoint.pt", weights_only=True)
    # Training itself is untouched by it.
    torch.testing.assert_close(dict(state["model"]), _weights(plain), rtol=0, atol=0)
    torch.testing.assert_close(dict(state["average"]), _weights(averaged), rtol=0, atol=0)
    assert not torch.equal(state["average"]["0.weight"], state["model"]["0.weight"])
    shipped = read_weights(averaged.weights).tensors["0.weight"]
    torch.testing.assert_close(shipped.float(), state["average"]["0.weight"], rtol=1e-3, atol=1e-4)
    run(**options, ema_decay=0.8, stop_after=1, out=tmp_path / "parts")
    parts = run(**options, ema_decay=0.8, out=tmp_path / "parts")
    torch.testing.assert_close(_weights(parts), _weights(averaged), rtol=0, atol=0)
    assert parts.scores.miou == averaged.scores.miou


def test_deterministic_algorithms_are_asked_for_while_training_only(
    run: Run, network: Callable[..., nn.Module], tmp_path: Path
) -> None:
    seen = []
    model = network()
    model[2].register_forward_pre_hook(lambda *_: seen.append(torch.are_deterministic_algorithms_enabled()))
    run(model, epochs=1, deterministic=True)
    assert seen
    assert all(seen)
    assert not torch.are_deterministic_algorithms_enabled()
    seen.clear()
    model.train()
    run(model, epochs=1, out=tmp_path / "plain")
    assert seen
    assert not any(seen)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("options", [{}, {"precision": "bf16", "channels_last": True}], ids=str)
def test_a_compiled_network_trains_to_the_same_weights(
    run: Run, network: Callable[..., nn.Module], tmp_path: Path, options: dict[str, Any]
) -> None:
    def dilated() -> nn.Module:
        model = network()
        model[3] = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8)
        with torch.no_grad():
            model[3].weight.fill_(0.2)
            model[3].bias.zero_()
        return model

    eager = run(dilated(), **options)
    compiled = run(dilated(), compile="default", out=tmp_path / "compiled", **options)
    tolerance = 3e-2 if options else 1e-4
    torch.testing.assert_close(_weights(compiled), _weights(eager), rtol=tolerance, atol=tolerance)
    assert list(_weights(compiled)) == list(_weights(eager))


def test_a_mode_of_the_compiler_that_there_is_not(run: Run) -> None:
    with pytest.raises(ValueError, match="compile='fast' is not known; allowed: default, reduce-overhead"):
        run(compile="fast")


def test_a_request_to_end_waits_for_the_step(run: Run, network: Callable[..., nn.Module], tmp_path: Path) -> None:
    def ask(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    model = network()
    handle = model[2].register_forward_pre_hook(ask)
    former = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt, match="stopped after step 1 of 9"):
        run(model)
    handle.remove()
    assert signal.getsignal(signal.SIGTERM) is former


def test_processes_of_one_run_bear_a_signal_that_comes_twice() -> None:
    with Interruption(repeated=False) as interruption:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        assert interruption.requested
    with Interruption():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def _learning(network: Callable[..., nn.Module]) -> nn.Module:
    model = network()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model[3] = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8)
    return replace_dilated(model, start=2.4, bound=3.0)


def test_learned_rates_have_their_own_learning_rate_and_stay_within_bounds(
    run: Run, network: Callable[..., nn.Module], tmp_path: Path
) -> None:
    options = {"momentum": 0.0, "weight_decay": 0.5, "epochs": 1, "batch_size": 12, "learning_rate": 0.01}

    def rate(factor: float) -> float:
        result = run(_learning(network), **options, rate_learning_rate=factor, out=tmp_path / str(factor))
        return result.model[3].rate.item()

    # One step of plain SGD, without the weight decay, is proportional to the learning rate.
    small, large = rate(0.02) - 2.4, rate(0.06) - 2.4
    assert small != 0
    assert large == pytest.approx(3 * small, rel=5e-3)
    assert rate(1e6) in (1.0, 3.0)


def test_the_rates_of_a_run_are_kept_also_across_a_stop(
    run: Run, network: Callable[..., nn.Module], tmp_path: Path
) -> None:
    whole = run(_learning(network), rate_learning_rate=0.5)
    table = pd.read_csv(whole.out / "rates.csv")
    assert table.columns.tolist() == ["step", "layer", "branch", "rate", "bound"]
    assert table["step"].tolist() == [0, 3, 6, 9]
    assert table["rate"].iloc[0] == pytest.approx(2.4)
    assert table["rate"].iloc[-1] == pytest.approx(whole.model[3].rate.item())
    run(_learning(network), rate_learning_rate=0.5, stop_after=2, out=tmp_path / "parts")
    run(_learning(network), rate_learning_rate=0.5, out=tmp_path / "parts")
    assert (tmp_path / "parts" / "rates.csv").read_bytes() == (whole.out / "rates.csv").read_bytes()


def test_classes_and_colours_are_drawn_anew_but_not_across_a_stop(run: Run, tmp_path: Path) -> None:
    options = {"class_uniform": 0.5, "colour_operations": 2}
    whole, plain = run(**options), run(out=tmp_path / "plain")
    run(**options, stop_after=1, out=tmp_path / "parts")
    parts = run(**options, out=tmp_path / "parts")
    assert all(torch.equal(value, _weights(parts)[name]) for name, value in _weights(whole).items())
    assert any(not torch.equal(value, _weights(plain)[name]) for name, value in _weights(whole).items())
    with pytest.raises(ValueError, match=r"holds another run: recipe.class_uniform is 0.5 in the folder and 0.0 now"):
        run(colour_operations=2, out=tmp_path / "parts")
