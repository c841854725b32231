"""What a traced graph can be asked: calls, several outputs, paths, rules of one's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from rfkit.analysis.theoretical import trace
from rfkit.analysis.tracing.rules import RULES, Operation, rule


class Residual(nn.Module):
    def __init__(self, blocks: int, dilation: int = 1) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Conv2d(3, 3, 3, padding=dilation, dilation=dilation) for _ in range(blocks))

    def forward(self, features: Tensor) -> Tensor:
        for block in self.blocks:
            features = features + torch.relu(block(features))
        return features


def test_paths_of_a_residual_chain_are_those_of_the_binomial_theorem() -> None:
    """Each block is taken or not: C(n, k) paths have the field 2 k + 1 (Veit et al., 2016)."""
    found = trace(Residual(4), (20, 20)).paths()
    assert list(found.height) == list(found.width) == [1, 3, 5, 7, 9]
    assert list(found.paths) == [1, 4, 6, 4, 1]
    assert found.share.sum() == pytest.approx(1)
    assert found.via.iloc[0] == "image"
    assert found.via.iloc[-1].count("convolution") == 4


def test_the_number_of_paths_is_exact_where_floats_are_not() -> None:
    found = trace(Residual(70), (8, 8)).paths()
    assert sum(found.paths) == 2**70


def test_paths_to_a_layer_behind_a_stride() -> None:
    model = nn.Sequential(Residual(1, dilation=2), nn.MaxPool2d(2), nn.Conv2d(3, 3, 3))
    found = trace(model, (24, 24)).paths("2")
    assert list(found.height) == [6, 10]
    assert set(found.stride_y) == {2}


def test_only_a_global_path_is_no_local_one() -> None:
    with pytest.raises(ValueError, match="no local path leads to '0'"):
        trace(nn.Sequential(nn.AdaptiveAvgPool2d(1)), (8, 8)).paths("0")


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, image: Tensor) -> dict[str, Tensor | list[Tensor]]:
        once = self.convolution(image)
        twice = self.convolution(once)
        return {"once": once, "both": [twice, self.convolution(twice)]}


def test_each_call_of_a_layer_has_its_map() -> None:
    graph = trace(Shared(), (16, 16))
    assert [graph["convolution", call][8, 8].height for call in (0, 1, 2)] == [3, 5, 7]
    assert graph["convolution"][8, 8].height == graph["convolution", -1][8, 8].height == 7
    with pytest.raises(IndexError, match="ran 3 times; there is no call 3"):
        graph["convolution", 3]


def test_every_output_has_its_map() -> None:
    graph = trace(Shared(), (16, 16))
    sizes = {path: found[8, 8].height for path, found in graph.outputs.items()}
    assert sizes == {"['once']": 3, "['both'][0]": 5, "['both'][1]": 7}
    assert graph.output[8, 8].height == 3


def test_a_layer_under_two_names_is_found_under_both() -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 3))
    model.add_module("again", model[0])
    assert trace(model, (9, 9))["again"].size == trace(model, (9, 9))["0"].size == (5, 5)


@torch.library.custom_op("rfkit_tests::blur", mutates_args=())
def blur(image: Tensor) -> Tensor:
    return nn.functional.avg_pool2d(image, 5, 1, 2)


@blur.register_fake
def _(image: Tensor) -> Tensor:
    return torch.empty_like(image)


class Blurred(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        return torch.relu(blur(self.convolution(image)))


def test_an_operator_of_ones_own_is_unknown_until_it_has_a_rule() -> None:
    graph = trace(Blurred(), (16, 16))
    assert graph.output.status == "unknown"
    with pytest.raises(ValueError, match="rfkit_tests::blur"):
        graph.output[0, 0]

    @rule("rfkit_tests::blur")
    def blurred(operation: Operation):
        return operation.window(kernel=5, padding=2, channels="same")

    try:
        output = trace(Blurred(), (16, 16)).output
        assert (output.status, str(output[8, 8])) == ("exact", "rows 5 to 11, columns 5 to 11 (7 x 7)")
    finally:
        del RULES["rfkit_tests::blur"]


@pytest.mark.parametrize(("answer", "is_global", "height"), [("everything", True, 16), ("same_place", False, 3)])
def test_a_rule_may_say_everything_or_the_same_place(answer: str, is_global: bool, height: int) -> None:
    rule("rfkit_tests::blur")(lambda operation: getattr(operation, answer)())
    try:
        output = trace(Blurred(), (16, 16), global_paths="include").output
    finally:
        del RULES["rfkit_tests::blur"]
    assert output.is_global == is_global
    assert output[8, 8].height == height


def test_a_rule_is_named_in_full() -> None:
    with pytest.raises(ValueError, match="'blur' is not of the form 'namespace::operator'"):
        rule("blur")
