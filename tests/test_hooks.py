"""Recording outputs of layers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from rfkit.hooks import capture, find_layers, observe, recall, replace, replace_inputs, separate
from rfkit.models.registry import create_model


class _Overwriting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1)
        self.pair = _Pair()

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x.mul_(0)
        return self.pair(x)["first"]


class _Pair(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Tensor | tuple[Tensor, ...]]:
        return {"first": x + 1, "rest": (x, x + 2)}


def _leftover(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def test_an_output_is_kept_as_the_layer_returned_it() -> None:
    model = _Overwriting()
    x = torch.randn(1, 1, 2, 2)
    with capture(model, ["conv", "pair"]) as outputs:
        model(x)
    torch.testing.assert_close(outputs["conv"], model.conv(x))
    assert set(outputs["pair"]) == {"first", "rest"}
    assert isinstance(outputs["pair"]["rest"], tuple)
    assert _leftover(model) == 0


def test_gradients_flow_through_a_record() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(inplace=True))
    x = torch.randn(1, 1, 2, 2, requires_grad=True)
    with capture(model, "0") as outputs:
        model(x)
    outputs["0"].sum().backward()
    assert x.grad is not None


def test_names_patterns_and_modules_mean_the_same_layers() -> None:
    model = create_model("dwrseg_b", blocks=(2, 1, 1))
    assert list(find_layers(model, "stage2.*.region")) == ["stage2.0.region", "stage2.1.region"]
    assert list(find_layers(model, [model.stage2[1], "stem"])) == ["stem", "stage2.1"]


def test_nothing_stays_on_the_model_after_an_error() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(3, 1, 1))
    with pytest.raises(RuntimeError), capture(model, "*"):
        model(torch.zeros(1, 1, 8, 8))
    assert _leftover(model) == 0


@pytest.mark.parametrize("layers", ["stage2.7", ["stem", "stage9*"]])
def test_a_name_that_matches_nothing_leaves_no_hook(layers: object) -> None:
    model = create_model("dwrseg_b", blocks=(1, 1, 1))
    with pytest.raises(ValueError, match="is not known"), capture(model, layers):
        pass
    assert _leftover(model) == 0


def test_the_nearest_names_are_listed() -> None:
    model = create_model("dwrseg_b", blocks=(1, 1, 1))
    with pytest.raises(ValueError, match=r"Did you mean 'stage2\.0\.region'"):
        find_layers(model, "stage2.0.regoin")


def test_a_module_of_another_model_is_refused() -> None:
    with pytest.raises(ValueError, match="the Conv2d given is not a module of this Sequential"):
        find_layers(nn.Sequential(nn.ReLU()), nn.Conv2d(1, 1, 1))


def test_an_error_of_the_observer_ends_the_call_and_leaves_no_hook() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1))
    seen = []

    def look(name: str, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen.append((name, tuple(inputs[0].shape), tuple(output.shape)))
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"), observe(model, "0", look):
        model(torch.zeros(1, 1, 3, 4))
    assert seen == [("0", (1, 1, 3, 4), (1, 2, 3, 4))]
    assert _leftover(model) == 0


def test_a_replaced_output_goes_on_through_the_network() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Tanh())
    x = torch.randn(1, 1, 3, 4)
    with replace(model, "0", lambda name, inputs, output: output * 2 if name == "0" else None):
        found = model(x)
    torch.testing.assert_close(found, torch.tanh(model[0](x) * 2))
    assert _leftover(model) == 0


def test_a_separate_input_has_the_gradient_of_its_layer_alone() -> None:
    model, seen = nn.ReLU(inplace=True), []
    x = torch.ones(3, requires_grad=True)
    y = x * 2
    with observe(model, model, lambda _name, inputs, _output: seen.extend(inputs)), separate(model, model):
        (5 * model(y) + y).sum().backward(inputs=[seen[0], x])
    assert seen[0].grad.tolist() == [5, 5, 5]
    assert x.grad.tolist() == [12, 12, 12]
    assert _leftover(model) == 0
    with pytest.raises(RuntimeError), separate(model, model):
        raise RuntimeError
    assert _leftover(model) == 0


def test_inputs_are_replaced_while_the_context_is_open() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.ReLU(), nn.Conv2d(2, 1, 1, bias=False))
    x = torch.rand(1, 1, 2, 2)
    seen: list[str] = []

    def double(name: str, inputs: tuple[Tensor, ...]) -> Tensor:
        seen.append(name)
        return 2 * inputs[0]

    with replace_inputs(model, ["0", "2"], double):
        doubled = model(x)
    torch.testing.assert_close(doubled, 4 * model(x))
    assert seen == ["0", "2"]
    with pytest.raises(ZeroDivisionError), replace_inputs(model, "*", lambda *_: 1 / 0):
        model(x)
    assert _leftover(model) == 0


def test_a_recalled_layer_does_not_run_and_gives_what_nobody_can_spoil() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(inplace=True))
    x, held = torch.ones(1, 1, 2, 2), torch.full((1, 1, 2, 2), -3.0)
    runs: list[int] = []
    model[0].forward = lambda y: runs.append(1) or y  # type: ignore[method-assign, assignment]
    with recall(model, {"0": held}):
        assert model(x).sum() == 0
    assert held.sum() == -12
    assert runs == []
    # A forward pass that someone had replaced before is there again.
    assert torch.equal(model(x), x)
    assert runs == [1]
    with pytest.raises(ZeroDivisionError), recall(model, {"1": held}):
        model(1 / 0)
    assert "forward" not in vars(model[1])
