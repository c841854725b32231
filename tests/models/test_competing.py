"""The probe put into networks that are not ours."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from rfkit.cost import parameters
from rfkit.hooks import capture
from rfkit.models.competing import probe
from rfkit.models.registry import create_model
from rfkit.nn.probe import CompetingBranches


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).relu()


class _Network(nn.Module):
    """A network as a user writes it: no metadata, blocks in lists, one block with two inputs, one that is unused."""

    def __init__(self) -> None:
        super().__init__()
        self.first = _Block(3, 8, 4)
        self.low = nn.ModuleList([_Block(8, 12, 2), _Block(12, 12, 1)])
        self.valid = nn.Conv2d(12, 12, 3)
        self.pair = nn.Bilinear(12, 12, 4)
        self.unused = _Block(4, 4, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.first(image)
        for block in self.low:
            x = block(x)
        flat = self.valid(x).mean(dim=(2, 3))
        return self.pair(flat, flat)


def test_the_probe_of_dwrseg_l_is_the_registered_probe() -> None:
    built = probe(create_model("dwrseg_l"))
    registered = create_model("probe_dwrseg_l")
    shapes = {name: value.shape for name, value in built.state_dict().items()}
    assert shapes == {name: value.shape for name, value in registered.state_dict().items()}
    assert parameters(built) == 3_000_915


def test_other_networks_keep_their_shapes_and_their_other_weights() -> None:
    network = _Network()
    image = torch.randn(2, 3, 64, 64)
    probed = probe(network, dilations=(1, 2), stages={"low": "low.*"}, input_size=(3, 64, 64))
    assert probed(image).shape == (2, 4)
    with capture(probed, ["low.0", "low.1"]) as outputs:
        probed(image)
    assert [tuple(outputs[name].shape) for name in ("low.0", "low.1")] == [(2, 12, 8, 8)] * 2
    blocks = [module for module in probed.modules() if isinstance(module, CompetingBranches)]
    assert [(block.in_channels, block.out_channels, block.stride) for block in blocks] == [(8, 12, 2), (12, 12, 1)]
    assert torch.equal(probed.first.conv.weight, network.first.conv.weight)
    assert not any(isinstance(module, CompetingBranches) for module in network.modules())
    assert probed.probed_stages == {"low": ("low.0", "low.1")}


def test_the_seed_decides_the_new_weights() -> None:
    network = _Network()
    options = {"stages": {"low": ["low.0"]}, "input_size": (3, 64, 64)}
    before = torch.random.get_rng_state()
    first, second = (probe(network, seed=3, **options) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first.low[0].merge.conv.weight, second.low[0].merge.conv.weight)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (None, r"_Network does not list its stages"),
        ({"low": "lower.*"}, r"layers='lower\.\*' is not known"),
        ({"low": ["low.0", "low.0.conv"]}, r"'low\.0\.conv' lies inside block 'low\.0'"),
        ({"low": ["low.0"], "high": ["low.0"]}, r"'low\.0' is named twice"),
        ({"odd": ["unused"]}, r"'unused' is never called"),
        ({"odd": ["valid"]}, r"'valid' turns \(1, 12, 8, 8\) into \(1, 12, 6, 6\)"),
        ({"odd": ["pair"]}, r"'pair' takes 2 inputs and returns a Tensor"),
    ],
)
def test_errors_name_the_block(stages: dict | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        probe(_Network(), stages=stages, input_size=(3, 64, 64))
