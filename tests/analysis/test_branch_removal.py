"""Branches held at their mean, against what a hand computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from analysis.networks import DeepLabV3
from analysis.test_branches import Aspp, Branches, Functional, Gated, Separable
from torch import Tensor, nn
from torch.nn import functional as F

from rfkit.analysis.branch_removal import branch_means, without_branches
from rfkit.analysis.branches import branch_weights
from rfkit.models.registry import create_model
from rfkit.results.base import Result
from rfkit.results.removal import BranchMeans


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def run(model: nn.Module, x: Tensor, branches: Any = (), means: BranchMeans | None = None) -> Tensor:
    model.eval()
    with torch.no_grad():
        if means is None:
            return model(x)
        with without_branches(model, branches, means=means):
            return model(x)


def leftover(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def shaken(model: nn.Module) -> nn.Module:
    """With norms that do something."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.weight, module.bias, module.running_mean):
                nn.init.normal_(values, generator=generator)
    return model


NETWORKS = {
    "probe": lambda: create_model("probe_dwrseg_l", num_classes=2, seed=0, blocks=(2, 1, 1)),
    "dwrseg": lambda: create_model("dwrseg_b", num_classes=2, seed=0, blocks=(1, 1, 1)),
    "regseg": lambda: create_model("regseg", num_classes=2, seed=0),
    "aspp": Aspp,
    "deeplab": lambda: DeepLabV3((1, 2)),
    "gated": lambda: nn.Sequential(nn.Conv2d(3, 16, 3, stride=2, padding=1), Gated()),
    "separable": lambda: nn.Sequential(nn.Conv2d(3, 4, 1), Separable()),
    "functional": Functional,
    "plain": Branches,
}


def output(model: nn.Module, x: Tensor, **options: Any) -> Tensor:
    found = run(model, x, **options)
    return found["out"] if isinstance(found, dict) else found


@pytest.mark.parametrize("name", NETWORKS)
def test_means_are_those_of_what_the_merge_reads(name: str) -> None:
    torch.manual_seed(0)
    model = shaken(NETWORKS[name]()).eval()
    x = images(3, 3, 64, 96)
    means = branch_means(model, x, batch_size=2)
    modules = dict(model.named_modules())
    read: dict[str, Tensor] = {}
    handles = [
        modules[block.merge].register_forward_pre_hook(
            lambda _module, inputs, at=block.merge: read.__setitem__(at, inputs[0].double().mean((0, 2, 3)))
        )
        for block in means.blocks
    ]
    run(model, x)
    for handle in handles:
        handle.remove()
    weights = branch_weights(model, images=x)
    assert means.images == 3
    assert means.stages == weights.stages
    for block, of_weights in zip(means.blocks, weights.blocks, strict=True):
        assert (block.stage, block.block, block.merge) == (of_weights.stage, of_weights.block, of_weights.merge)
        assert block.dilations == of_weights.dilations
        np.testing.assert_array_equal(block.branch_of_input, of_weights.branch_of_input)
        np.testing.assert_allclose(block.mean, read[block.merge].numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_each_branch_tells_something_and_a_branch_without_weight_nothing(name: str) -> None:
    torch.manual_seed(0)
    model = shaken(NETWORKS[name]())
    x = images(2, 3, 64, 96)
    means = branch_means(model, x)
    last = means.blocks[-1]
    merge = dict(model.named_modules())[last.merge]
    intact = output(model, x)
    for branch in range(len(last.dilations)):
        assert not torch.equal(output(model, x, branches=[(last.block, branch)], means=means), intact)
    assert torch.equal(output(model, x, branches=[], means=means), intact)
    with torch.no_grad():
        merge.weight[:, torch.from_numpy(last.branch_of_input == 0)[: merge.weight.shape[1]]] = 0
    silent = output(model, x)
    assert not torch.equal(silent, intact)
    # Bit for bit: nothing but the removed channels may change.
    assert torch.equal(output(model, x, branches=[(last.block, 0)], means=means), silent)
    assert leftover(model) == 0


def test_without_any_branch_the_merge_gives_one_colour_worked_out_by_hand() -> None:
    model = Branches()
    x = images(2, 3, 9, 11)
    means = branch_means(model, x)
    (block,) = means.blocks
    both = torch.cat([model.one(x), model.two(x)], dim=1)
    mean = both.detach().double().mean((0, 2, 3))
    by_hand = model.merge.weight.detach().double().flatten(1) @ mean + model.merge.bias.detach()
    found = run(model, x, [(block.block, 0), (block.block, 1)], means)
    torch.testing.assert_close(found.double(), by_hand[None, :, None, None].expand_as(found).double())
    # One branch: the other one still sees the image.
    both[:, 3:] = mean[3:, None, None].float()
    torch.testing.assert_close(run(model, x, [(block.block, 1)], means), model.merge(both).detach())


def test_the_decisive_branch_is_the_one_that_reaches_the_point() -> None:
    """Bright where the pixel three columns to the left is bright: d3 alone can tell."""
    model = Branches((1, 3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.one.weight[0, 0, 1, 1] = 1
        model.two.weight[0, 0, 1, 0] = 1
        model.merge.weight[0, 0], model.merge.weight[1, 3] = 0.25, 1.0
    x = torch.zeros(1, 3, 6, 12)
    x[0, 0, 2, 4] = 1
    means = branch_means(model, x)
    (block,) = means.blocks
    target = torch.zeros(6, 12)
    target[2, 7] = 1
    assert torch.equal(run(model, x)[0, 1], target)
    assert torch.equal(run(model, x, [(block.block, 0)], means)[0, 1], target)
    without = run(model, x, [(block.block, 1)], means)[0, 1]
    torch.testing.assert_close(without, torch.full((6, 12), 1 / 72))


def test_channels_from_elsewhere_are_left_alone() -> None:
    model = shaken(Aspp()).eval()
    x = images(2, 3, 40, 40)
    means = branch_means(model, x)
    (block,) = means.blocks
    read: list[Tensor] = []
    # Registered after the context opens, so that it sees what the convolution reads.
    with without_branches(model, [(block.block, branch) for branch in range(3)], means=means), torch.no_grad():
        handle = model.project[0].register_forward_pre_hook(lambda _module, inputs: read.append(inputs[0]))
        model(x)
        handle.remove()
    features = model.backbone(x)
    torch.testing.assert_close(read[0][:, :2], model.point(features).detach())
    means_as_maps = torch.from_numpy(block.mean[2:14])[None, :, None, None].expand(2, 12, 10, 10)
    torch.testing.assert_close(read[0][:, 2:14], means_as_maps)
    assert read[0][:, 14:].var() > 0


def test_groups_and_blocks_that_run_several_times() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = Branches()
            self.block.merge = nn.Conv2d(6, 4, 1, groups=2)

        def forward(self, x: Tensor) -> Tensor:
            return self.block(self.block(x)[:, :3])

    model = Twice()
    x = images(2, 3, 8, 8)
    means = branch_means(model, x)
    (block,) = means.blocks

    def read(y: Tensor) -> Tensor:
        return torch.cat([model.block.one(y), model.block.two(y)], dim=1)

    with torch.no_grad():
        first = read(x)
        second = read(model.block.merge(first)[:, :3])
        mean = torch.cat([first, second]).double().mean((0, 2, 3)).float()
        np.testing.assert_allclose(block.mean, mean.numpy(), rtol=1e-4, atol=1e-6)

        def without(y: Tensor) -> Tensor:
            both = read(y)
            both[:, :3] = mean[:3, None, None]
            return model.block.merge(both)

        by_hand = without(without(x)[:, :3])
    torch.testing.assert_close(run(model, x, [("block", 0)], means), by_hand, rtol=1e-4, atol=1e-5)


def test_images_may_come_in_any_way_and_size() -> None:
    model = Branches()
    x, y = images(3, 3, 8, 8), images(2, 3, 6, 10, seed=1)
    means = branch_means(model, (batch for batch in (x, y)), batch_size=2)
    with torch.no_grad():
        values = [torch.cat([model.one(z), model.two(z)], dim=1).transpose(0, 1).flatten(1) for z in (x, y)]
    np.testing.assert_allclose(means.blocks[0].mean, torch.cat(values, 1).mean(1).numpy(), rtol=1e-4, atol=1e-6)
    assert means.images == 5
    assert branch_means(model, list(x)).images == 3
    eight = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    assert branch_means(model, eight).images == 2


def test_the_model_is_left_as_it_was_found_also_after_an_error() -> None:
    model = nn.Sequential(Branches(), nn.BatchNorm2d(2))
    model.train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    means = branch_means(model, images(2, 3, 8, 8))
    with pytest.raises(RuntimeError, match="channels"), without_branches(model, [("0", 1)], means=means):
        model(images(2, 4, 8, 8))
    assert leftover(model) == 0
    assert model.training
    assert model[1].training
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_means_are_tidy_and_can_be_stored(tmp_path: Any) -> None:
    model = create_model("probe_dwrseg_l", num_classes=2, seed=0, blocks=(1, 1, 1))
    means = branch_means(model, images(1, 3, 32, 32), stages={"low": "stage2"})
    frame = means.to_frame()
    assert list(frame.columns) == ["stage", "block", "branch", "dilation", "in_channel", "mean"]
    assert len(frame) == 192
    assert frame["dilation"].tolist() == [1] * 64 + [3] * 64 + [5] * 64
    assert set(frame["stage"]) == {"low"}
    assert Result.load(means.save(tmp_path / "means.npz")) == means


def test_what_cannot_be_removed_is_named() -> None:
    model = Branches()
    x = images(1, 3, 8, 8)
    means = branch_means(model, x)
    with pytest.raises(ValueError, match=r"branches='two' is not known; allowed: merge"):
        run(model, x, [("two", 0)], means)
    with pytest.raises(ValueError, match=r"'merge' has no branch 2; allowed: 0 to 1, with the dilation rates 1, 3"):
        run(model, x, [("merge", 2)], means)
    with pytest.raises(ValueError, match=r"images: got none"):
        branch_means(model, [])
    with pytest.raises(ValueError, match=r"batch_size=0 must be above 0"):
        branch_means(model, x, batch_size=0)
    with pytest.raises(ValueError, match=r"no parallel dilated branches"):
        branch_means(nn.Conv2d(3, 2, 3), x)
    with pytest.raises(ValueError, match=r"stages: 'late' holds no block"):
        branch_means(model, x, stages={"late": "one"})
    other = Branches()
    other.merge = nn.Conv2d(9, 2, 1)
    other.forward = lambda x: other.merge(torch.cat([other.one(x), other.two(x), x], 1))  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=r"'merge' was called with shape \(1, 9, 8, 8\); N 6 H W is needed"):
        run(other, x, [("merge", 0)], means)


def test_a_merge_that_is_no_module_of_its_own_is_refused() -> None:
    class Bare(Branches):
        def __init__(self, how: str) -> None:
            super().__init__()
            self.call = how
            if how == "parameter":
                self.merge = nn.ParameterList([nn.Parameter(torch.randn(2, 6, 1, 1))])

        def forward(self, x: Tensor) -> Tensor:
            both = torch.cat([self.one(x), self.two(x)], dim=1)
            if self.call == "parameter":
                return F.conv2d(both, self.merge[0])
            if self.call == "weight":
                return F.conv2d(both, self.merge.weight)
            if self.call == "keyword":
                return self.merge(input=both)
            return self.merge(both) + self.merge(both.roll(3, 1).mean(1, keepdim=True).expand_as(both))

    x = images(1, 3, 8, 8)
    with pytest.raises(ValueError, match=r"the 1x1 convolution 'merge' is a ParameterList.*make it an nn\.Conv2d"):
        branch_means(Bare("parameter"), x)
    with pytest.raises(ValueError, match=r"'merge' is called 0 times, 1 of them behind parallel"):
        branch_means(Bare("weight"), x)
    with pytest.raises(ValueError, match=r"'merge' was called with no positional tensor"):
        branch_means(Bare("keyword"), x)
    with pytest.raises(ValueError, match=r"'merge' is called 2 times, 1 of them behind parallel"):
        branch_means(Bare("elsewhere"), x)
