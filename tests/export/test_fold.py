"""Norms folded into convolutions: the same outputs, and only where folding is allowed."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rfkit.export.fold import fold_norms
from rfkit.models.registry import create_model, list_models

# Norms that stay: decoders normalise upsampled maps, attention normalises the block's input.
KEPT = {
    **{name: {"decoder.norm"} for name in ("dwrseg_b", "dwrseg_l", "probe_dwrseg_l")},
    **{name: set() for name in ("regseg", "regseg_l")},
    "dwrseg_l_frm": {"decoder.norm", "frm.context.0.norm", "frm.context.0.mlp.norm"},
}


def shaken(model: nn.Module, seed: int = 0) -> nn.Module:
    """`model` in evaluation mode with norms that are no identity."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for value, low, high in ((module.weight, 0.5, 1.5), (module.bias, -0.5, 0.5),
                                     (module.running_mean, -0.5, 0.5), (module.running_var, 0.5, 2.0)):  # fmt: skip
                if value is not None:
                    value.data.uniform_(low, high, generator=generator)
    return model.eval()


def norms(model: nn.Module) -> set[str]:
    return {name for name, module in model.named_modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)}


def image(*size: int) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def difference(model: nn.Module, folded: nn.Module, x: Tensor) -> float:
    """Largest difference of the outputs, over the largest output."""
    expected = model(x)
    return float((folded(x) - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("name", list_models())
def test_a_folded_network_computes_the_same(name: str) -> None:
    model = shaken(create_model(name, num_classes=5, seed=0))
    folded = fold_norms(model)
    # Another size and batch than it was followed with.
    assert difference(model, folded, image(2, 3, 65, 98)) < 1e-5
    kept = KEPT.get(name)
    if kept is None:
        assert all(name.endswith((".norm", ".attention.norm", ".mlp.norm")) for name in norms(folded))
        assert len(norms(folded)) < len(norms(model))
    else:
        assert norms(folded) == kept


class Net(nn.Module):
    """A small network whose forward is given."""

    def __init__(self, forward: Callable[[Net, Tensor], Tensor], **parts: nn.Module) -> None:
        super().__init__()
        self._forward = forward
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self._forward(self, x)


def conv(inputs: int = 3, outputs: int = 4, **options: object) -> nn.Conv2d:
    torch.manual_seed(inputs + outputs)
    return nn.Conv2d(inputs, outputs, 3, padding=1, **options)


class Scaled(nn.BatchNorm2d):
    """More than a norm: a folded one would lose the factor."""

    def forward(self, x: Tensor) -> Tensor:
        return 3 * super().forward(x)


class Doubled(nn.Conv2d):
    """More than a convolution."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, padding=1)


def _shared_weight(net: Net, x: Tensor) -> Tensor:
    return net.norm(net.conv(x)) + net.other(x)


def _tied() -> Net:
    net = Net(_shared_weight, conv=conv(), other=conv(), norm=nn.BatchNorm2d(4))
    net.other.weight = net.conv.weight
    return net


ALLOWED = {
    "a convolution with a bias": lambda: nn.Sequential(conv(), nn.BatchNorm2d(4), nn.ReLU()),
    "no scale": lambda: nn.Sequential(conv(), nn.BatchNorm2d(4, affine=False)),
    "grouped and strided": lambda: nn.Sequential(conv(3, 6, groups=3, stride=2, bias=False), nn.BatchNorm2d(6)),
    "edges reflected": lambda: nn.Sequential(conv(padding_mode="reflect"), nn.BatchNorm2d(4)),
    "transposed": lambda: nn.Sequential(nn.ConvTranspose2d(3, 4, 2, stride=2), nn.BatchNorm2d(4)),
    "declared in another order": lambda: Net(
        lambda net, x: net.norm(net.conv(x)), norm=nn.BatchNorm2d(4), conv=conv()
    ),
    "a concatenation": lambda: Net(
        lambda net, x: net.norm(torch.cat([net.one(x), net.two(x)], dim=-3)),
        one=conv(3, 4, bias=False), two=conv(3, 6), norm=nn.BatchNorm2d(10),
    ),
}  # fmt: skip

FORBIDDEN = {
    "an activation between": lambda: nn.Sequential(conv(), nn.ReLU(), nn.BatchNorm2d(4)),
    "an activation between, in place": lambda: Net(
        lambda net, x: (y := net.conv(x), F.relu_(y), net.norm(y))[2], conv=conv(), norm=nn.BatchNorm2d(4)
    ),
    "a norm before": lambda: nn.Sequential(nn.BatchNorm2d(3), conv()),
    "an output used twice": lambda: Net(
        lambda net, x: (y := net.conv(x)) + net.norm(y), conv=conv(), norm=nn.BatchNorm2d(4)
    ),
    "a convolution called twice": lambda: Net(
        lambda net, x: net.norm(net.conv(x)) + net.conv(-x), conv=conv(), norm=nn.BatchNorm2d(4)
    ),
    "a norm called twice": lambda: Net(
        lambda net, x: net.norm(net.one(x)) + net.norm(net.two(x)), one=conv(), two=conv(), norm=nn.BatchNorm2d(4)
    ),
    "a weight of two convolutions": _tied,
    "a weight read elsewhere": lambda: Net(
        lambda net, x: net.norm(net.conv(x)) * net.conv.weight.mean(), conv=conv(), norm=nn.BatchNorm2d(4)
    ),
    "a scale read elsewhere": lambda: Net(
        lambda net, x: net.norm(net.conv(x)) * net.norm.weight.mean(), conv=conv(), norm=nn.BatchNorm2d(4)
    ),
    "statistics of the batch": lambda: nn.Sequential(conv(), nn.BatchNorm2d(4, track_running_stats=False)),
    "a class derived from a norm": lambda: nn.Sequential(conv(), Scaled(4)),
    "a class derived from a convolution": lambda: nn.Sequential(Doubled(3, 4, 3, bias=False), nn.BatchNorm2d(4)),
    "a weight borrowed by the parent": lambda: Net(
        lambda net, x: net.norm(F.conv2d(x, net.conv.weight)), conv=conv(), norm=nn.BatchNorm2d(4)
    ),
    "a concatenation with the input": lambda: Net(
        lambda net, x: net.norm(torch.cat([net.conv(x), x], dim=1)), conv=conv(), norm=nn.BatchNorm2d(7)
    ),
    "a concatenation of one output twice": lambda: Net(
        lambda net, x: net.norm(torch.cat([y := net.conv(x), y], dim=1)), conv=conv(), norm=nn.BatchNorm2d(8)
    ),
    "a concatenation along the rows": lambda: Net(
        lambda net, x: net.norm(torch.cat([net.one(x), net.two(x)], dim=2)),
        one=conv(), two=conv(), norm=nn.BatchNorm2d(4),
    ),
    "a concatenation used twice": lambda: Net(
        lambda net, x: (y := torch.cat([net.one(x), net.two(x)], dim=1)) + net.norm(y),
        one=conv(), two=conv(), norm=nn.BatchNorm2d(8),
    ),
    "transposed in groups": lambda: nn.Sequential(nn.ConvTranspose2d(4, 4, 2, groups=2), nn.BatchNorm2d(4)),
}  # fmt: skip


@pytest.mark.parametrize("case", ALLOWED)
def test_folded(case: str) -> None:
    model = shaken(ALLOWED[case]())
    folded = fold_norms(model, input_size=(3, 8, 10))
    assert norms(folded) == set()
    assert difference(model, folded, image(2, 3, 9, 12)) < 1e-5


@pytest.mark.parametrize("case", FORBIDDEN)
def test_not_folded(case: str) -> None:
    model = shaken(FORBIDDEN[case]())
    channels = 4 if "groups" in case else 3
    folded = fold_norms(model, input_size=(channels, 8, 10))
    assert norms(folded) == norms(model)
    assert difference(model, folded, image(2, channels, 9, 12)) == 0


def test_the_model_is_left_as_found() -> None:
    model = create_model("dwrseg_b", num_classes=5, seed=0, blocks=(1, 1, 1)).train()
    before = copy.deepcopy(model.state_dict())
    folded = fold_norms(model)
    assert model.training
    assert not folded.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(
        not part._forward_hooks and not part._forward_pre_hooks for part in (*model.modules(), *folded.modules())
    )
    assert {parameter.data_ptr() for parameter in model.parameters()}.isdisjoint(
        parameter.data_ptr() for parameter in folded.parameters()
    )


def test_a_network_that_torch_cannot_follow_is_named() -> None:
    model = Net(lambda net, x: net.conv(x) if x.sum() > 0 else x, conv=conv())
    with pytest.raises(ValueError, match=r"model: torch.export cannot follow this Net: "):
        fold_norms(model, input_size=(3, 8, 8))
