from __future__ import annotations

import copy
import math
import tomllib
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from rfkit.analysis.coverage import gridding
from rfkit.analysis.dilation_bounds import dilation_bound
from rfkit.analysis.theoretical import trace
from rfkit.models.registry import create_model
from rfkit.models.regseg import DILATIONS
from rfkit.results.dilation_bounds import DilationBounds

GOLDEN = tomllib.loads((Path(__file__).parents[1] / "golden" / "dilation_bounds.toml").read_text(encoding="utf-8"))


def _conv(rate: int = 1, *, kernel: int = 3, stride: int = 1, inputs: int = 3) -> nn.Conv2d:
    return nn.Conv2d(inputs, 3, kernel, stride, padding=rate * (kernel // 2), dilation=rate)


def test_regseg_has_the_published_bounds() -> None:
    found = dilation_bound(create_model("regseg"))
    bounds = found.bounds()
    names = [f"stage4.{block}.branches.convs.0" for block in range(1, 14)]
    assert [bounds[name] for name in names] == pytest.approx(GOLDEN["regseg"]["bounds"], abs=0.005)
    assert bounds["stage4.13.branches.convs.1"] == bounds["stage4.13.branches.convs.0"]
    assert found.kept is True
    assert found.broken == ()


def test_the_list_of_the_ablation_that_breaks_the_bound() -> None:
    found = dilation_bound(create_model("regseg", dilations=DILATIONS["5x(1,4)8x(1,10)"]))
    assert found.kept is False
    assert found.broken == ("stage4.1.branches.convs.1",)


@pytest.mark.parametrize(("rates", "strides"), [((1, 2, 9), (1, 1, 1)), ((1, 3, 4, 2), (2, 1, 2, 1)), ((5, 1), (1, 3))])
def test_stacks_agree_with_gridding(rates: tuple[int, ...], strides: tuple[int, ...]) -> None:
    model = nn.Sequential(*(_conv(rate, stride=stride) for rate, stride in zip(rates, strides, strict=True)))
    expected = gridding(rates, strides=strides).layers
    found = dilation_bound(model, (3, 64, 64)).layers
    assert [layer.bound for layer in found] == [layer.bound for layer in expected]
    assert [layer.kept for layer in found] == [layer.within_bound for layer in expected]
    assert [layer.rate for layer in found] == list(rates)


class _Uneven(nn.Module):
    """Strides and rates that differ between rows and columns, a functional call, and layers that do not count."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3, stride=(1, 2), padding=1)
        self.point = nn.Conv2d(3, 3, 1)
        self.dilated = nn.Conv2d(3, 3, 3, padding=(4, 3), dilation=(4, 3))
        self.line = nn.Conv2d(3, 3, (1, 3), padding=(0, 4), dilation=(7, 4))
        self.up = nn.ConvTranspose2d(3, 3, 2, stride=2)

    def forward(self, image: Tensor) -> Tensor:
        x = self.line(self.dilated(self.point(self.first(image))))
        return self.up(nn.functional.conv2d(x, self.dilated.weight, dilation=2))


def test_the_axis_that_is_nearer_to_its_bound_counts() -> None:
    found = dilation_bound(_Uneven(), (3, 40, 40))
    rows = [(entry.layer, entry.axis, entry.rate, entry.bound) for entry in found.layers]
    # Columns: k = 3, s = 2 behind the first layer; 3 + 2 * 3 * 2 = 15 behind the second; 31 behind the third.
    # The second also breaks the bound of rows, 4 > 3 / 1, but 3 > 3 / 2 is worse.
    assert rows == [
        ("first", "row", 1, 1),
        ("dilated", "column", 3, 1.5),
        ("line", "column", 4, 7.5),
        ("", "row", 2, 11),
    ]
    assert [entry.kept for entry in found.layers] == [True, False, True, True]


def test_calls_and_shared_layers_are_told_apart() -> None:
    conv = _conv(2)
    found = dilation_bound(nn.Sequential(_conv(), conv, conv), (3, 32, 32))
    assert [(entry.layer, entry.call, entry.bound) for entry in found.layers] == [("0", 0, 1), ("1", 0, 3), ("1", 1, 7)]
    assert found.bounds() == {"0": 1, "1": 3}


def test_the_frame_has_a_row_per_convolution(tmp_path: Path) -> None:
    found = dilation_bound(nn.Sequential(_conv(), _conv(4)), (3, 32, 32))
    frame = found.to_frame()
    assert list(frame) == [
        "layer", "call", "axis", "rate", "kernel", "size", "output_stride", "bound", "kept", "dilated", "reason",
    ]  # fmt: skip
    assert frame.iloc[1].to_dict() == {
        "layer": "1", "call": 0, "axis": "row", "rate": 4, "kernel": 3, "size": 3, "output_stride": 1, "bound": 3,
        "kept": False, "dilated": True, "reason": "",
    }  # fmt: skip
    assert len(found) == 2
    assert DilationBounds.load(found.save(tmp_path / "bounds.npz")) == found


class _Sorted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = _conv(), _conv(2)

    def forward(self, image: Tensor) -> Tensor:
        return self.second(self.first(image).flatten(1).sort().values.view_as(image))


def test_what_is_not_known_is_said() -> None:
    found = dilation_bound(_Sorted(), (3, 16, 16))
    first, second = found.layers
    assert (first.bound, first.kept) == (1, True)
    assert math.isnan(second.bound)
    assert second.kept is None
    assert "sort" in second.reason
    assert found.kept is None
    assert found.broken == ()
    assert math.isnan(found.bounds()["second"])
    assert found.to_frame()["kept"].isna().tolist() == [False, True]


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(_conv(), nn.BatchNorm2d(3), _conv(2)).train()
    before = copy.deepcopy(model.state_dict())
    random = torch.random.get_rng_state()
    dilation_bound(model, (3, 16, 16))
    assert model.training
    assert torch.equal(torch.random.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_the_convolutions_of_a_graph_come_with_the_maps_they_read() -> None:
    found = [(node.layer, fields.size) for node, fields in trace(_Uneven(), (3, 40, 40)).convolutions()]
    assert found[:2] == [("first", (40, 40)), ("point", (40, 20))]


def test_errors() -> None:
    with pytest.raises(ValueError, match="Conv2d has no 2-D convolution with more than one tap"):
        dilation_bound(_conv(kernel=1), (3, 16, 16))
    with pytest.raises(ValueError, match=r"input_size=\(16,\) must be"):
        dilation_bound(_conv(), (16,))
