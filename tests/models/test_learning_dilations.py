from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from rfkit.models.learning_dilations import (
    clamp_rates,
    dilation_rates,
    freeze,
    learned_layers,
    parameter_groups,
    rate_parameters,
    replace_dilated,
    set_bounds,
)
from rfkit.models.registry import create_model
from rfkit.models.regseg import RegSeg
from rfkit.nn.dwr import DWR
from rfkit.nn.learned_dilation import LearnedDilation

TINY = {"blocks": (1, 1), "dilations": ((1,), (1, 2), (1, 4))}


def _tiny() -> RegSeg:
    return create_model("regseg", num_classes=4, seed=0, **TINY).eval()


def _image(side: int = 40) -> Tensor:
    return torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))


class _Foreign(nn.Module):
    """As others write networks: one convolution under two names, a dense dilated one, an even kernel, a strided one."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.shared = nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4)
        self.again = self.shared
        self.dense = nn.Sequential(nn.Conv2d(4, 4, 5, padding=6, dilation=3), nn.BatchNorm2d(4), nn.ReLU())
        self.even = nn.Conv2d(4, 4, 2)

    def forward(self, image: Tensor) -> Tensor:
        return self.even(self.dense(self.again(self.shared(self.first(image)))))


def test_a_copy_with_learned_rates_computes_the_same() -> None:
    model = _tiny()
    before = copy.deepcopy(model.state_dict())
    learned = replace_dilated(model)
    assert list(learned_layers(learned)) == [
        f"stage4.{block}.branches.convs.{branch}" for block in (2, 3) for branch in (0, 1)
    ]
    assert torch.equal(learned(_image()), model(_image()))
    assert set(learned.state_dict()) - set(before) == {f"{name}.rate" for name in learned_layers(learned)}
    # The model given is as it was, and shares nothing with the copy.
    assert not any(isinstance(module, LearnedDilation) for module in model.modules())
    learned(_image()).sum().backward()
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_networks_of_others() -> None:
    model = _Foreign()
    learned = replace_dilated(model)
    assert list(learned_layers(learned)) == ["shared", "dense.0"]
    assert learned.again is learned.shared
    torch.testing.assert_close(learned(_image()), model(_image()))
    assert isinstance(replace_dilated(nn.Conv2d(1, 1, 3, padding=2, dilation=2)), LearnedDilation)


def test_layers_can_be_named() -> None:
    model = _tiny()

    def names(layers: object) -> list[str]:
        return list(learned_layers(replace_dilated(model, layers=layers)))  # type: ignore[arg-type]

    assert names("stage4.1") == ["stage4.1.branches.convs.0"]
    assert names(["stage4.*.convs.1", "stem"]) == ["stem.conv", *(f"stage4.{b}.branches.convs.1" for b in (2, 3))]
    assert names(model.stage4[2]) == ["stage4.2.branches.convs.0", "stage4.2.branches.convs.1"]


def test_rates_begin_where_they_are_told() -> None:
    model = _tiny()
    assert dilation_rates(replace_dilated(model))["rate"].tolist() == [1, 2, 1, 4]
    assert dilation_rates(replace_dilated(model, start=2.5))["rate"].tolist() == [2.5] * 4
    frame = dilation_rates(replace_dilated(model, start={"*convs.1": 3, "stage4.2.*.0": 1.5}, bound=8))
    assert frame["rate"].tolist() == [1.5, 3, 1, 3]
    assert frame["branch"].tolist() == ["d1", "d2", "d1", "d4"]
    assert frame["bound"].tolist() == [8] * 4
    assert list(frame) == ["layer", "branch", "rate", "bound"]


def test_rates_have_a_learning_rate_of_their_own_and_no_decay() -> None:
    model = replace_dilated(_tiny().train(), start=2.4)
    groups = parameter_groups(model, rate_learning_rate=0.5)
    assert groups[1]["params"] == rate_parameters(model)
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    optimizer = torch.optim.SGD(groups, lr=0.0, weight_decay=0.1)
    before = {name: value.clone() for name, value in model.named_parameters()}
    torch.nn.functional.cross_entropy(model(_image()), torch.zeros(1, 40, 40, dtype=torch.long)).backward()
    optimizer.step()
    for name, value in model.named_parameters():
        moved = before[name] - value.detach()
        if name.endswith(".rate"):
            assert moved.item() == pytest.approx(0.5 * value.grad.item(), rel=1e-3)
            assert moved.item() != 0
        else:
            assert not moved.any()


def test_clamped_rates_lie_within_their_bounds() -> None:
    model = replace_dilated(_tiny(), bound=6)
    for rate, value in zip(rate_parameters(model), (-3.0, 9.0, 4.2, 6.0), strict=True):
        rate.data.fill_(value)
    clamp_rates(model)
    assert dilation_rates(model)["rate"].tolist() == pytest.approx([1, 6, 4.2, 6])
    set_bounds(model, {"stage4.2.branches.convs.1": 3.5, "stage4.3.branches.convs.0": 0.5})
    assert dilation_rates(model)["rate"].tolist() == pytest.approx([1, 3.5, 1, 6])
    assert dilation_rates(model)["bound"].tolist() == [6, 3.5, 1, 6]


def test_frozen_networks_are_ordinary() -> None:
    model = _tiny()
    learned = replace_dilated(model, bound=4.8)
    for rate, value in zip(rate_parameters(learned), (1.4, 2.5, 3.2, 4.7), strict=True):
        rate.data.fill_(value)
    frozen = freeze(learned)
    assert not any(isinstance(module, LearnedDilation) for module in frozen.modules())
    assert {name: value.shape for name, value in frozen.state_dict().items()} == {
        name: value.shape for name, value in model.state_dict().items()
    }
    # The same as RegSeg built with the rounded list: outputs, options and what it publishes.
    twin = create_model("regseg", num_classes=4, blocks=(1, 1), dilations=((1,), (1, 3), (3, 4))).eval()
    twin.load_state_dict(frozen.state_dict())
    assert torch.equal(frozen(_image()), twin(_image()))
    assert frozen.stages == twin.stages
    assert [block.dilations for block in frozen.stage4] == [(1,), (1,), (1, 3), (3, 4)]
    rebuilt = create_model("regseg", num_classes=4, **frozen.options)
    assert [block.dilations for block in rebuilt.stage4] == [(1,), (1,), (1, 3), (3, 4)]
    # What was learned is as it was.
    assert dilation_rates(learned)["rate"].tolist() == pytest.approx([1.4, 2.5, 3.2, 4.7])
    assert learned.options == model.options


def test_freezing_networks_of_others() -> None:
    learned = replace_dilated(_Foreign(), start=1.6)
    frozen = freeze(learned)
    assert frozen.shared.dilation == frozen.dense[0].dilation == (2, 2)
    assert frozen.again is frozen.shared
    assert frozen(_image()).shape == _Foreign()(_image()).shape
    _Foreign().load_state_dict(frozen.state_dict())


def test_weights_with_rates_that_no_option_can_name_are_refused_by_the_registry() -> None:
    frozen = freeze(replace_dilated(create_model("dwrseg_l", seed=0), start={"stage4.0.*convs.2": 6.2}))
    assert frozen.options == {"learned_dilations": {"stage4.0.semantic.branches.convs.2": 6}}
    assert frozen.stages[3].dilations == (1, 3, 5, 6)
    with pytest.raises(ValueError, match="learned_dilations"):
        create_model("dwrseg_l", **frozen.options)
    unchanged = freeze(replace_dilated(create_model("dwrseg_l", seed=0)))
    assert unchanged.options == create_model("dwrseg_l").options


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (nn.Sequential(nn.Conv2d(3, 3, 3)), {}, "Sequential has no dilated convolution; name those"),
        (_Foreign(), {"layers": "dense.1"}, r"layers: there is no convolution with more than one tap in dense\.1"),
        (_Foreign(), {"layers": "densed"}, r"layers='densed' is not known; .*Did you mean 'dense"),
        (_Foreign(), {"layers": "even"}, r"layer 'even': conv: kernel_size=\(2, 2\) must be odd"),
        (_Foreign(), {"start": 0.5}, r"layer 'shared': rate=0\.5 must lie between 1 and bound=inf"),
        (_Foreign(), {"bound": 2.5}, r"layer 'dense\.0': rate=3 must lie between 1 and bound=2\.5"),
        (_Foreign(), {"start": {"first": 2}}, r"start: 'first' names no layer that learns its rate; there are shared"),
    ],
)
def test_errors_name_the_layer(model: nn.Module, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace_dilated(model, **options)


@pytest.mark.parametrize(
    "function",
    [dilation_rates, rate_parameters, clamp_rates, freeze, lambda model: parameter_groups(model, rate_learning_rate=1)],
)
def test_a_network_without_learned_rates_is_an_error(function: object) -> None:
    with pytest.raises(ValueError, match="DWR has no learned dilation rates; make it with learn_dilations"):
        function(DWR(6))  # type: ignore[operator]


def test_bounds_must_be_numbers_of_layers_that_learn() -> None:
    model = replace_dilated(_Foreign())
    with pytest.raises(ValueError, match="'first' is no layer with a learned rate; there are shared, dense"):
        set_bounds(model, {"first": 3})
    with pytest.raises(ValueError, match="the bound of 'shared' is not a number"):
        set_bounds(model, {"shared": math.nan})
