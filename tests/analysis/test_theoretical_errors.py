"""What a trace says when it cannot answer, and that it leaves the model as it was."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from analysis import networks
from torch import nn

from rfkit.analysis.theoretical import TraceError, trace


def test_a_layer_that_does_not_exist_is_answered_with_the_nearest_names() -> None:
    graph = trace(networks.vgg_16(), (70, 97))
    with pytest.raises((KeyError, ValueError), match="conv3_2"):
        graph["conv3-2"]


def test_an_input_too_small_names_what_failed_and_keeps_the_table_so_far() -> None:
    with pytest.raises(TraceError, match="pool5") as caught:
        trace(networks.vgg_16(), (20, 40))
    table = caught.value.graph.table()
    assert "pool4" in set(table.layer)
    assert "pool5" not in set(table.layer)
    assert table[table.layer == "pool4"].size_max.tolist() == [100, 100]


def test_a_module_that_fails_gives_the_partial_table_and_the_operator() -> None:
    with pytest.raises(TraceError, match="wrong") as caught:
        trace(networks.Failing(), (20, 30))
    assert "conv" in str(caught.value)
    assert caught.value.__cause__ is not None
    table = caught.value.graph.table()
    assert {"first", "second"} <= set(table.layer)
    assert "wrong" not in set(table.layer)
    assert caught.value.graph["first"][1, 1].height == 3


@pytest.mark.parametrize("unit", [(2, 0), (0, 3), (-3, 0), (0, -4), (99, 99)])
def test_a_unit_outside_of_the_map_names_its_size(unit: tuple[int, int]) -> None:
    output = trace(networks.vgg_16(), (70, 97)).output
    for ask in (lambda: output[unit], lambda: output.support(*unit), lambda: output.pixel(*unit)):
        with pytest.raises(IndexError, match="2 x 3"):
            ask()


@pytest.mark.parametrize("operator", ["sort", "grid_sample", "argsort"])
def test_an_operator_without_a_rule_is_named_and_nothing_is_guessed_after_it(operator: str) -> None:
    graph = trace(networks.Sorting(operator), (12, 10))
    table = graph.table()
    named = {"sort": "sort", "grid_sample": "grid_sampler", "argsort": "sort"}[operator]
    after = table[table.layer == "after"]
    assert set(table[table.layer == "before"].status) == {"exact"}
    assert set(after.status) == {"unknown"}
    assert after.reason.str.contains(named).all()
    assert after[["size_min", "size_max", "path_min", "path_max", "coverage"]].isna().all(axis=None)
    for last in (graph["after"], graph.output):
        assert last.status == "unknown"
        for ask in (
            lambda last=last: last[0, 0],
            lambda last=last: last.support(0, 0),
            lambda last=last: last.pixel(0, 0),
            lambda last=last: last.unit(0, 0),
            lambda last=last: last.units_reached_by(0, 0),
            lambda last=last: last.tile_overlap(),
            lambda last=last: last.valid_region(),
        ):
            with pytest.raises(ValueError, match=named):
                ask()
    assert graph["before"][5, 5].height == 3


def test_a_branch_without_a_rule_makes_the_join_unknown() -> None:
    class Joined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1)

        def forward(self, image):
            features = self.first(image)
            return self.last(features + torch.sort(features, 2).values)

    assert trace(Joined(), (9, 9)).output.status == "unknown"


@pytest.mark.parametrize("size", [(3, 0, 8), (8,), (1, 2, 3, 4, 5), (-4, 8), "64x64"])
def test_an_input_size_that_is_none_is_refused(size) -> None:
    with pytest.raises((ValueError, TypeError), match="input_size"):
        trace(networks.ESPLike(), size)


# The model is as it was.


def _state(model: nn.Module) -> list:
    return [
        copy.deepcopy(model.state_dict()),
        [module.training for module in model.modules()],
        [(name, value.requires_grad, None if value.grad is None else value.grad.clone(), value.dtype, value.device)
         for name, value in model.named_parameters()],
        [(len(module._forward_hooks), len(module._forward_pre_hooks), len(module._backward_hooks), sorted(vars(module)))
         for module in model.modules()],
        [id(value) for value in (*model.parameters(), *model.buffers())],
        [value.data_ptr() for value in (*model.parameters(), *model.buffers())],
        torch.random.get_rng_state(),
        np.random.get_state()[1].tolist(),  # noqa: NPY002
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
    ]  # fmt: skip


def _same(first, second) -> bool:
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(_same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(_same(a, b) for a, b in zip(first, second, strict=True))
    return first == second


class _Random(nn.Module):
    """Dropout and noise, batch norm, and control flow that needs values."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.ReLU(inplace=True))

    def forward(self, image):
        features = self.body(image)
        features = features + torch.randn_like(features)
        return features if float(features.sum().detach()) > -1e30 else features * 2


class _FailsLate(_Random):
    def forward(self, image):
        super().forward(image)
        raise RuntimeError("late")


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("mode", [False, True])
@pytest.mark.parametrize(
    "make", [networks.UNet, networks.DeepLabV3, networks.Failing, networks.Sorting, _Random, _FailsLate]
)
def test_a_trace_leaves_the_model_as_it_was(make, mode: bool, training: bool) -> None:
    torch.manual_seed(0)
    model = make().train(mode)
    modules = list(model.modules())
    modules[-1].train(not mode)
    for number, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(number % 2 == 0)
        if number % 2 == 0:
            parameter.grad = torch.ones_like(parameter)
    modules[0].register_forward_hook(lambda *_: None)
    before = _state(model)
    try:
        graph = trace(model, (33, 41), training=training)
        graph.table()
        if graph.output.status == "exact":
            graph.output.support(0, 0)
    except TraceError:
        pass
    after = _state(model)
    names = [
        "state",
        "training",
        "parameters",
        "hooks",
        "identities",
        "storages",
        "torch",
        "numpy",
        "grad",
        "dtype",
    ]
    assert [name for name, one, other in zip(names, before, after, strict=True) if not _same(one, other)] == []


def test_an_image_given_as_example_is_not_changed() -> None:
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(3, 2, 3))
    image = torch.randn(1, 3, 9, 8)
    before = image.clone()
    output = trace(model, image).output
    assert torch.equal(image, before)
    assert (output.size, output.image_size) == ((7, 6), (9, 8))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_models_of_another_precision_are_traced(dtype: torch.dtype) -> None:
    model = networks.DataDependent().to(dtype)
    assert trace(model, (13, 16)).output[6, 6].height == 5
    assert trace(networks.UNet().to(dtype), (13, 16)).output.status == "exact"


def test_sizes_with_and_without_channels_and_examples_mean_the_same() -> None:
    tables = [trace(networks.ESPLike(), size).table() for size in ((20, 24), (3, 20, 24), torch.zeros(1, 3, 20, 24))]
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])
    one = nn.Conv2d(1, 2, 3)
    assert trace(one, (1, 9, 9)).output.size == (7, 7)


class _Remembering(nn.Module):
    """Keeps a mask for the next image of the same size, as attention in windows often does."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)
        self.masks: dict[tuple[int, int], torch.Tensor] = {}
        self.watched = False
        self.sizes: list[tuple[int, int]] = []

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        if not self.watched:
            self.convolution.register_forward_hook(lambda _module, _inputs, output: output * 2)
            self.watched = True
        features = self.convolution(image)
        size = (features.shape[2], features.shape[3])
        if not hasattr(self, "last") or self.last.shape[2:] != size:
            self.last = torch.ones_like(features[:, :1])
        if size not in self.masks:
            self.masks[size] = torch.ones_like(features)
        self.sizes.append(size)
        return features * self.masks[size] * self.last


def test_what_a_network_keeps_for_next_time_is_not_of_the_trace() -> None:
    model = _Remembering()
    assert trace(model, (8, 9)).output.status == "exact"
    assert (model.masks, model.sizes, hasattr(model, "last"), model.watched) == ({}, [], False, False)
    assert not model.convolution._forward_hooks
    kept = model(torch.ones(1, 3, 8, 9))
    mask = model.last
    trace(model, (8, 9))
    assert model.last is mask
    assert model.sizes == [(8, 9)]
    torch.testing.assert_close(model(torch.ones(1, 3, 8, 9)), kept)
