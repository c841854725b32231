from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rfkit.analysis.branches import branch_ratios, branch_weights, fig8_statistic
from rfkit.models.competing import probe
from rfkit.models.registry import create_model
from rfkit.results.branches import BlockWeights, BranchStatistic, BranchWeights, Ratio

SMALL = (3, 64, 64)


def conv(inputs: int, outputs: int, rate: int, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=rate, dilation=rate, **options)


class Aspp(nn.Module):
    """A 1x1 convolution, three dilated ones with norm and activation each, and image pooling, as in DeepLab."""

    def __init__(self, rates: tuple[int, ...] = (6, 12, 18)) -> None:
        super().__init__()
        self.backbone = nn.Conv2d(3, 5, 3, stride=4, padding=1)
        self.point = nn.Conv2d(5, 2, 1)
        self.convs = nn.ModuleList(
            nn.Sequential(conv(5, 4, rate, bias=False), nn.BatchNorm2d(4), nn.ReLU(True)) for rate in rates
        )
        self.pooled = nn.Conv2d(5, 3, 1)
        self.project = nn.Sequential(nn.Conv2d(2 + 4 * len(rates) + 3, 6, 1, bias=False), nn.BatchNorm2d(6), nn.ReLU())

    def forward(self, image: Tensor) -> Tensor:
        x = self.backbone(image)
        pooled = F.interpolate(self.pooled(F.adaptive_avg_pool2d(x, 1)), x.shape[-2:], mode="bilinear")
        return self.project(torch.cat([self.point(x), *(branch(x) for branch in self.convs), pooled], dim=1))


class Functional(nn.Module):
    """Everything in the forward pass: split, shared source, padding, weights without a module, activations in place."""

    def __init__(self) -> None:
        super().__init__()
        self.near = nn.Parameter(torch.randn(4, 1, 3, 3))
        self.far = nn.Parameter(torch.randn(6, 3, 3, 3))
        self.merge = nn.Conv2d(10, 5, 1)
        self.scale, self.shift = nn.Parameter(torch.rand(10)), nn.Parameter(torch.zeros(10))

    def forward(self, image: Tensor) -> Tensor:
        x = F.pixel_unshuffle(image, 4)[:, :7]
        left, right = x.split([4, 3], dim=1)
        left = F.conv2d(F.pad(left, (1, 1, 1, 1), mode="reflect"), self.near, groups=4)
        right = F.conv2d(right, self.far, padding="same", dilation=2)
        both = torch.cat((left, right), 1)
        both = F.batch_norm(both, torch.zeros(10), torch.ones(10), self.scale, self.shift)
        both = F.relu_(both)
        return self.merge(both * torch.sigmoid(both))


class Gated(nn.Module):
    """A block in the way of RegSeg: split, two grouped convolutions, norm, squeeze and excitation, 1x1."""

    def __init__(self) -> None:
        super().__init__()
        self.near, self.far = conv(8, 8, 1, groups=2), conv(8, 8, 4, groups=2)
        self.norm = nn.BatchNorm2d(16)
        self.squeeze, self.excite = nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1)
        self.merge = nn.Conv2d(16, 16, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, dim=1)
        y = F.relu(self.norm(torch.cat([self.near(left), self.far(right)], dim=1)))
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(y.mean((2, 3), keepdim=True)))))
        return x + self.merge(y * gate.expand_as(y))


class Separable(nn.Module):
    """Depth-wise separable branches: a point-wise convolution of its own in each."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.ModuleList(conv(4, 4, rate, groups=4) for rate in (2, 5))
        self.pointwise = nn.ModuleList(nn.Conv2d(4, 3, 1) for _ in range(2))
        self.norm = nn.BatchNorm2d(4)
        self.merge = nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = zip(self.depthwise, self.pointwise, strict=True)
        return self.merge(torch.cat([point(self.norm(depth(x))) for depth, point in parts], dim=1))


class Branches(nn.Module):
    """Two branches with adjustable rates; with `add`, a sum on the way; with `chain`, one after the other."""

    def __init__(self, rates: tuple[int, int] = (1, 3), *, how: str = "") -> None:
        super().__init__()
        self.one, self.two, self.how = conv(3, 3, rates[0]), conv(3, 3, rates[1]), how
        self.merge = nn.Conv2d(3 if how in ("concatenated in space", "reshaped") else 6, 2, 3 if how == "3x3" else 1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.one(x)
        two = self.two(one if self.how == "chain" else x)
        if self.how == "hierarchical sum":
            two = two + one
        if self.how == "sum of branches":
            return self.merge(torch.cat([one + two, x], dim=1))
        both = torch.cat([one, two], dim=1)
        if self.how == "spatial gate":
            both = both * both.mean(1, keepdim=True)
        if self.how == "pooled":
            both = F.avg_pool2d(both, 2)
        if self.how == "reshaped":
            both = both.view(len(x), 3, -1, x.shape[-1])
        if self.how == "concatenated in space":
            both = torch.cat([one, two], dim=2)
        return self.merge(both)


class Declared(nn.Module):
    """A parallel block that says so: attributes convs, dilations and shared."""

    def __init__(self, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.branches = nn.Module()
        self.branches.convs = nn.ModuleList(conv(3, 4, rate) for rate in rates)
        self.branches.dilations, self.branches.shared = rates, True
        self.merge = nn.Conv2d(4 * len(rates), 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.merge(torch.cat([conv(x) for conv in self.branches.convs], dim=1))


def only(model: nn.Module, **options: Any) -> BlockWeights:
    (block,) = branch_weights(model, input_size=options.pop("input_size", SMALL), **options).blocks
    return block


def test_the_probe_gives_the_slices_of_its_merge_convolutions() -> None:
    model = create_model("probe_dwrseg_l", num_classes=11, seed=0)
    for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm2d)):
        nn.init.normal_(norm.weight)
    weights = branch_weights(model)
    assert weights.stages == ("stage2", "stage3", "stage4")
    assert [block.block for block in weights.blocks] == [name for stage in model.stages[1:] for name in stage.blocks]
    frame = weights.to_frame()
    assert list(frame.columns) == [
        "stage",
        "block",
        "branch",
        "dilation",
        "out_channel",
        "in_channel",
        "weight",
        "gain",
    ]
    assert len(frame) == sum(module.merge.conv.weight.numel() for stage in (model.stage2, model.stage3, model.stage4)
                             for module in stage)  # fmt: skip
    block = model.stage3[2]
    rows = frame[(frame["block"] == "stage3.2") & (frame["dilation"] == 3)]
    assert set(rows["branch"]) == {1}
    by_hand = block.merge.conv.weight.detach().flatten(1)[:, 128:256].numpy()
    grid = rows.pivot_table(index="out_channel", columns="in_channel", values="weight")
    np.testing.assert_array_equal(grid.to_numpy(), by_hand)
    gains = rows.groupby("in_channel")["gain"].first().to_numpy()
    np.testing.assert_array_equal(gains, block.semantic.norm.weight.detach()[128:256].numpy())
    pooled = weights.pooled("stage3", "gain")
    assert list(pooled) == ["d1", "d3", "d5"]
    expected = [
        (module.merge.conv.weight.detach().flatten(1)[:, 256:] * module.semantic.norm.weight.detach()[256:]).abs()
        for module in model.stage3
    ]
    np.testing.assert_allclose(np.sort(pooled["d5"]), np.sort(torch.stack(expected).flatten().numpy()), rtol=1e-6)


def test_dwrseg_itself_has_two_panels_and_branches_of_their_own_width() -> None:
    weights = branch_weights(create_model("dwrseg_l", num_classes=11, seed=0))
    assert weights.stages == ("stage3", "stage4")
    summary = weights.summary()
    last = summary[summary["block"] == "stage4.2"]
    assert last["dilation"].tolist() == [1, 3, 5]
    assert last["channels"].tolist() == [128, 64, 64]


def test_a_network_turned_into_a_probe_keeps_its_stages() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1))
    weights = branch_weights(probe(net, stages={"low": "1"}, seed=0, dilations=(1, 2)), input_size=SMALL)
    assert weights.stages == ("low",)
    assert weights.blocks[0].dilations == (1, 2)


def test_aspp_with_other_paths_beside_the_branches() -> None:
    model = Aspp().eval()
    block = only(model)
    assert block.dilations == (6, 12, 18)
    assert block.convolutions == ("convs.0.0", "convs.1.0", "convs.2.0")
    assert block.branch_of_input.tolist() == [-1] * 2 + [0] * 4 + [1] * 4 + [2] * 4 + [-1] * 3
    assert block.merge == "project.0"
    np.testing.assert_array_equal(block.gain[6:10], model.convs[1][1].weight.detach().numpy())
    assert np.isnan(block.gain[:2]).all()
    by_hand = model.project[0].weight.detach()[:, 2:6].abs().flatten().numpy()
    np.testing.assert_array_equal(np.sort(block.values(0, "weight")), np.sort(by_hand))
    frame = branch_weights(model, input_size=SMALL).to_frame()
    assert sorted(set(frame["in_channel"])) == list(range(2, 14))


def test_functional_calls_without_a_single_module() -> None:
    model = Functional()
    block = only(model, input_size=(3, 32, 32))
    assert block.dilations == (1, 2)
    assert block.branch_of_input.tolist() == [0] * 4 + [1] * 6
    np.testing.assert_array_equal(block.gain, model.scale.detach().numpy())
    assert block.stage == "merge"


def test_a_gate_is_reported_and_not_folded_in() -> None:
    model = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2, padding=1), Gated())
    block = only(model)
    assert (block.block, block.stage) == ("1", "1")
    assert block.dilations == (1, 4)
    assert block.gates == ("1.excite",)
    np.testing.assert_array_equal(block.weight, model[1].merge.weight.detach().flatten(1).numpy())
    assert branch_weights(model, input_size=SMALL).summary()["gates"].tolist() == ["1.excite", "1.excite"]


def test_depthwise_separable_branches_count() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), Separable())
    block = only(model)
    assert block.dilations == (2, 5)
    assert block.convolutions == ("1.depthwise.0", "1.depthwise.1")
    assert block.branch_of_input.tolist() == [0, 0, 0, 1, 1, 1]
    # The norm sits before the point-wise convolution of the branch: it scales no input channel of the last one.
    assert np.isnan(block.gain).all()


@pytest.mark.parametrize(
    "model",
    [
        Branches((2, 2)),
        Branches(how="chain"),
        Branches(how="hierarchical sum"),
        Branches(how="sum of branches"),
        Branches(how="spatial gate"),
        Branches(how="pooled"),
        Branches(how="3x3"),
        Branches(how="concatenated in space"),
        Branches(how="reshaped"),
        Aspp((4, 4)),
        nn.Conv2d(3, 1, 1),
        nn.Sequential(nn.Conv2d(3, 8, 3, padding=2, dilation=2), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 1)),
    ],
    ids=lambda model: getattr(model, "how", "") or type(model).__name__,
)
def test_decoys_do_not_count(model: nn.Module) -> None:
    with pytest.raises(
        ValueError, match=r"no parallel dilated branches\. Looked for: two or more spatial convolutions"
    ):
        branch_weights(model, input_size=SMALL)


def test_the_decoys_differ_from_a_block_that_counts_in_one_thing() -> None:
    assert only(Branches()).dilations == (1, 3)


def test_a_declared_block_counts_with_equal_dilations() -> None:
    weights = branch_weights(Declared((3, 3)), input_size=SMALL)
    assert list(weights.pooled("merge")) == ["d3", "d3 #2"]


def test_real_weights_are_reported_under_a_parametrization() -> None:
    model = Branches()
    nn.utils.parametrizations.weight_norm(model.merge)
    with torch.no_grad():
        model.merge.parametrizations.weight.original0.mul_(3)
    block = only(model)
    np.testing.assert_allclose(block.weight, model.merge.weight.detach().flatten(1).numpy(), rtol=1e-6)
    assert block.merge == "merge"


def test_a_shared_block_is_one_block_and_grouped_merges_keep_their_channels() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = Branches()
            self.block.merge = nn.Conv2d(6, 4, 1, groups=2)

        def forward(self, x: Tensor) -> Tensor:
            return self.block(self.block(x)[:, :3])

    model = Twice()
    frame = branch_weights(model, input_size=SMALL).to_frame()
    weight = model.block.merge.weight.detach().flatten(1)
    assert len(frame) == weight.numel()
    row = frame[(frame["out_channel"] == 3) & (frame["in_channel"] == 4)].iloc[0]
    assert row["weight"] == weight[3, 1].item()
    assert row["branch"] == 1


def test_stages_by_hand() -> None:
    model = nn.ModuleDict({"a": Branches(), "b": nn.Conv2d(2, 3, 1), "c": Branches((1, 5))})
    model.forward = lambda x: model["c"](model["b"](model["a"](x)))  # type: ignore[method-assign]
    assert branch_weights(model, input_size=SMALL).stages == ("a", "c")
    weights = branch_weights(model, input_size=SMALL, stages={"late": "c*"})
    assert [(block.stage, block.block) for block in weights.blocks] == [("late", "c")]
    with pytest.raises(ValueError, match=r"stages: 'none' holds no block with parallel dilated branches"):
        branch_weights(model, input_size=SMALL, stages={"none": "b", "late": "c"})
    with pytest.raises(ValueError, match=r"layers='d' is not known"):
        branch_weights(model, input_size=SMALL, stages={"late": "d"})


def test_contributions_are_the_spread_of_each_part_over_all_images() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2, padding=1), Gated())
    images = [torch.randn(2, 3, 20, 24), torch.randn(3, 16, 12)]
    block = only(model, measure="contribution", images=images)
    captured: list[Tensor] = []
    handle = model[1].merge.register_forward_pre_hook(lambda _module, inputs: captured.append(inputs[0]))
    with torch.no_grad():
        model.eval()
        outputs = [model(image) for image in (images[0], images[1][None])]
    handle.remove()
    weight = model[1].merge.weight.detach()
    for branch, channels in enumerate((slice(0, 8), slice(8, 16))):
        parts = [F.conv2d(x[:, channels], weight[:, channels]) for x in captured]
        values = torch.cat([part.transpose(0, 1).flatten(1) for part in parts], dim=1)
        np.testing.assert_allclose(block.contribution[branch], values.std(dim=1, correction=0), rtol=1e-4)
    assert outputs[0].shape[0] == 2
    frame = branch_weights(model, measure="contribution", images=images).channel_frame()
    assert list(frame.columns) == [
        "stage", "block", "branch", "dilation", "out_channel", "weight", "gain", "contribution",
    ]  # fmt: skip
    np.testing.assert_array_equal(frame["contribution"], block.contribution.ravel())
    np.testing.assert_allclose(frame["weight"][:16], weight.flatten(1)[:, :8].abs().mean(dim=1), rtol=1e-6)


def test_eight_bit_images_are_normalised() -> None:
    model = create_model("probe_dwrseg_l", num_classes=2, seed=0, blocks=(1, 1, 1))
    image = torch.randint(0, 256, (3, 32, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    by_hand = (image / 255 - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)
    assert branch_weights(model, images=image) == branch_weights(model, images=by_hand)


def test_the_model_is_left_as_it_was_found() -> None:
    class Restless(nn.Module):
        """Draws random numbers, counts in a buffer and replaces another, even in evaluation mode."""

        def __init__(self) -> None:
            super().__init__()
            self.block = Branches()
            self.register_buffer("calls", torch.zeros(1))
            self.register_buffer("last", torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            self.last = x.mean()[None]
            return self.block(x + torch.rand_like(x))

    model = nn.Sequential(Restless(), nn.BatchNorm2d(2))
    model.train()
    model[1].eval()
    model[0].block.one.weight.requires_grad_(False)
    model[0].block.two.weight.grad = torch.ones_like(model[0].block.two.weight)
    handle = model[0].register_forward_hook(lambda *_: None)
    flags = [module.training for module in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    buffers = [id(buffer) for buffer in model.buffers()]
    random = torch.get_rng_state()
    branch_weights(model, images=torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1)))
    assert [module.training for module in model.modules()] == flags
    assert [id(buffer) for buffer in model.buffers()] == buffers
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert not model[0].block.one.weight.requires_grad
    assert torch.equal(model[0].block.two.weight.grad, torch.ones_like(model[0].block.two.weight))
    assert torch.is_grad_enabled()
    assert sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()) == 1
    handle.remove()


def test_the_result_does_not_share_memory_with_the_model() -> None:
    model = Branches()
    block = only(model)
    before = block.weight.copy()
    with torch.no_grad():
        model.merge.weight.zero_()
    np.testing.assert_array_equal(block.weight, before)


def test_other_types_and_inference_mode_work() -> None:
    class Inference(Branches):
        @torch.inference_mode()
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x)

    assert only(Branches().double()).dilations == (1, 3)
    assert only(Branches().bfloat16()).weight.dtype == np.float32
    assert only(Inference()).dilations == (1, 3)


def test_bad_arguments_are_named() -> None:
    model = Branches()
    with pytest.raises(ValueError, match=r"measure='size' is not known; allowed: weight, gain, contribution"):
        branch_weights(model, measure="size")
    with pytest.raises(ValueError, match=r"images=None: measure='contribution' is measured on images"):
        branch_weights(model, measure="contribution")
    with pytest.raises(ValueError, match=r"measure='gain' needs a norm before the 1x1 convolution; 'merge' has none"):
        branch_weights(model, measure="gain", input_size=SMALL)
    with pytest.raises(TypeError, match=r"images are of torch.int64"):
        branch_weights(model, images=torch.zeros(3, 8, 8, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"images: got shape \(8, 8\)"):
        branch_weights(model, images=torch.zeros(8, 8))
    with pytest.raises(ValueError, match=r"images: got none"):
        branch_weights(model, images=[])
    with pytest.raises(ValueError, match=r"does not run on an input of shape \(1, 4, 8, 8\)"):
        branch_weights(model, input_size=(4, 8, 8))
    weights = branch_weights(model, input_size=SMALL)
    with pytest.raises(ValueError, match=r"measure='contribution' was not measured on 'merge'"):
        weights.pooled("merge", "contribution")
    with pytest.raises(ValueError, match=r"stage='stage9' is not known; allowed: merge"):
        weights.in_stage("stage9")


def made(scales: dict[str, tuple[float, float, float]], *, channels: int = 200, noise: float = 0.2) -> BranchWeights:
    """Weights of known mean magnitude per stage and branch."""
    generator = np.random.default_rng(0)
    blocks = []
    for stage, means in scales.items():
        scale = np.repeat(means, channels)
        weight = generator.choice([-1.0, 1.0], (4, 3 * channels)) * scale * (1 + noise * generator.random(3 * channels))
        blocks.append(
            BlockWeights(
                stage=stage,
                block=f"{stage}.0",
                merge="m",
                convolutions=("a", "b", "c"),
                dilations=(1, 3, 5),
                branch_of_input=np.repeat([0, 1, 2], channels),
                weight=weight,
                gain=np.full(3 * channels, 2.0),
                gates=(),
                contribution=np.zeros((0, 0)),
            )
        )
    return BranchWeights("weight", tuple(blocks), tuple(scales))


PAPER = {"stage2": (3.0, 1.0, 1.0), "stage3": (1.0, 0.8, 0.6), "stage4": (1.0, 0.7, 1.0)}


def verdicts(weights: BranchWeights, **options: Any) -> list[str]:
    return [claim.verdict for claim in fig8_statistic(weights, **{"epochs": 600, **options}).claims]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["holds", "holds", "holds"]),
        ({"stage2": (1.2, 1.0, 0.5)}, ["fails", "fails", "holds"]),
        ({"stage2": (1.5, 1.0, 0.5)}, ["undecided", "holds", "holds"]),
        ({"stage3": (1.0, 1.2, 0.6)}, ["holds", "fails", "holds"]),
        ({"stage3": (1.0, 0.2, 0.6)}, ["holds", "fails", "holds"]),
        ({"stage3": (1.0, 1.0, 0.6)}, ["holds", "undecided", "holds"]),
        ({"stage4": (1.0, 1.0, 0.5)}, ["holds", "holds", "fails"]),
        ({"stage4": (1.0, 1.0, 2.0)}, ["holds", "holds", "fails"]),
        ({"stage4": (1.0, 1.0, 0.8)}, ["holds", "holds", "undecided"]),
    ],
)
def test_verdicts_follow_from_the_intervals(
    changes: dict[str, tuple[float, float, float]], expected: list[str]
) -> None:
    assert verdicts(made({**PAPER, **changes})) == expected
    assert verdicts(made({**PAPER, **changes}), measure="gain") == expected


def test_a_short_training_decides_nothing() -> None:
    assert verdicts(made(PAPER), epochs=299) == ["undecided at 299 epochs"] * 3
    assert verdicts(made(PAPER), epochs=0.5) == ["undecided at 0.5 epochs"] * 3
    assert verdicts(made(PAPER), epochs=None) == ["undecided, epochs unknown"] * 3
    assert verdicts(made(PAPER), epochs=300)[0] == "holds"


def test_ratios_are_those_of_the_means_and_the_interval_is_the_bootstraps() -> None:
    weights = made(PAPER)
    statistic = branch_ratios(weights, seed=3)
    ratio = next(ratio for ratio in statistic.ratios if (ratio.stage, ratio.name) == ("stage3", "d3/d5"))
    pooled = weights.pooled("stage3")
    assert ratio.value == pytest.approx(pooled["d3"].mean() / pooled["d5"].mean())
    # For means of many channels the interval is close to the one of the normal approximation.
    columns = np.abs(weights.blocks[1].weight).mean(axis=0).reshape(3, -1)
    relative = columns.std(axis=1) / columns.mean(axis=1) / np.sqrt(columns.shape[1])
    width = 2 * 1.96 * ratio.value * np.hypot(relative[1], relative[2])
    assert ratio.high - ratio.low == pytest.approx(width, rel=0.1)
    assert len(statistic.ratios) == 3 * 6
    assert statistic.claims == ()


def test_the_same_seed_gives_the_same_intervals_and_the_global_generator_is_not_used() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002 (that it is left alone is what is tested)
    one, two = (branch_ratios(made(PAPER), seed=1) for _ in range(2))
    assert one == two
    assert one != branch_ratios(made(PAPER), seed=2)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_the_statistics_frame_has_the_documented_columns() -> None:
    frame = fig8_statistic(made(PAPER), epochs=600).to_frame()
    assert list(frame.columns) == [
        "measure", "stage", "ratio", "value", "low", "high", "claim", "verdict", "epochs", "resamples", "seed",
    ]  # fmt: skip
    claims = frame[frame["claim"] != ""]
    assert claims["ratio"].tolist()[:2] == ["d1/d3", "d1/d5"]
    assert set(claims["verdict"]) == {"holds"}


def scaled(weights: BranchWeights, **factors: float) -> BranchWeights:
    """The same network with the first branch of the stages named made stronger."""
    blocks = []
    for block in weights.blocks:
        first = (block.branch_of_input == 0) * (factors.get(block.stage, 1.0) - 1) + 1
        blocks.append(dataclasses.replace(block, weight=block.weight * first))
    return dataclasses.replace(weights, blocks=tuple(blocks))


def ratio(statistic: BranchStatistic, stage: str, name: str) -> Ratio:
    return next(ratio for ratio in statistic.ratios if (ratio.stage, ratio.name) == (stage, name))


def test_one_network_among_seeds_is_that_network() -> None:
    weights = made(PAPER)
    assert fig8_statistic([weights], epochs=600, seed=4) == fig8_statistic(weights, epochs=600, seed=4)


def test_networks_that_do_not_differ_leave_only_the_doubt_of_their_channels() -> None:
    weights = made(PAPER)
    one = ratio(fig8_statistic(weights, epochs=600), "stage3", "d3/d5")
    four = ratio(fig8_statistic([weights] * 4, epochs=600), "stage3", "d3/d5")
    assert four.value == pytest.approx(one.value)
    # The mean of four independent resamples spreads half as much as one.
    assert four.high - four.low == pytest.approx((one.high - one.low) / 2, rel=0.15)


def test_networks_are_resampled_and_stages_stay_together() -> None:
    # Without noise nothing but the draw of networks spreads: both the one, both the other, or half the time each once.
    quiet = made({stage: (1.0, 1.0, 1.0) for stage in PAPER}, noise=0.0)
    both = [quiet, scaled(quiet, stage2=2.0, stage3=2.0)]
    statistic = fig8_statistic(both, epochs=600)
    found = ratio(statistic, "stage2", "d1/d3")
    assert (found.value, found.low, found.high) == pytest.approx((1.5, 1.0, 2.0))
    # What is doubled in both stages at once leaves their ratio as it is.
    together = next(entry for entry in statistic.claims[1].ratios if entry.name == "d3/d1 over its stage2 value")
    assert (together.value, together.low, together.high) == pytest.approx((1, 1, 1))
    apart = fig8_statistic([quiet, scaled(quiet, stage2=2.0)], epochs=600).claims[1].ratios[0]
    assert apart.high > 1.9


@pytest.mark.parametrize(("factor", "expected"), [(1.0, "holds"), (0.2, "undecided")])
def test_a_claim_holds_for_the_training_only_if_it_holds_whatever_seed_is_drawn(factor: float, expected: str) -> None:
    networks = [made(PAPER), made(PAPER), scaled(made(PAPER), stage2=factor)]
    assert fig8_statistic(networks, epochs=300).claims[0].verdict == expected
    assert fig8_statistic(networks, epochs=40).claims[0].verdict == "undecided at 40 epochs"


def test_networks_must_be_alike() -> None:
    with pytest.raises(ValueError, match=r"weights: got no network; give at least one"):
        fig8_statistic([], epochs=600)
    with pytest.raises(ValueError, match=r"the networks differ in their blocks and branches"):
        fig8_statistic([made(PAPER), made(PAPER, channels=20)], epochs=600)


def test_claims_need_three_stages_with_three_branches() -> None:
    weights = made({"stage3": (1.0, 1.0, 1.0), "stage4": (1.0, 1.0, 1.0)})
    with pytest.raises(ValueError, match=r"three stages with branches d1, d3 and d5; 'stage2' has none"):
        fig8_statistic(weights, epochs=600)
    with pytest.raises(ValueError, match=r"measure='contribution' is not known; allowed: weight, gain"):
        fig8_statistic(made(PAPER), epochs=600, measure="contribution")
