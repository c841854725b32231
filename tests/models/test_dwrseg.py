"""DWRSeg and its probe: published sizes, shapes, gradients, metadata, options."""

from __future__ import annotations

import pytest
import torch

from rfkit.cost import multiply_adds, parameters
from rfkit.hooks import capture
from rfkit.models.dwrseg import DWRSeg
from rfkit.models.registry import create_model

# Wei et al., DWRSeg, Table 1: 2.54 M and 13.62 G, 3.53 M and 16.42 G at 3x512x1024 and 19 classes.
TABLE_1 = {"dwrseg_b": (2_535_315, 13.460, 13.62), "dwrseg_l": (3_530_579, 16.246, 16.42)}
NAMES = ("dwrseg_b", "dwrseg_l", "probe_dwrseg_l")
SMALL = {"blocks": (2, 2, 2)}


@pytest.mark.parametrize("name", TABLE_1)
def test_sizes_of_table_1(name: str) -> None:
    count, convolutions, published = TABLE_1[name]
    model = create_model(name)
    assert parameters(model) == count
    assert multiply_adds(model, (3, 512, 1024)) / 1e9 == pytest.approx(convolutions, abs=5e-4)
    assert round(multiply_adds(model, (3, 512, 1024), count="published") / 1e9, 2) == published


@pytest.mark.parametrize(
    ("name", "classes", "count"),
    [
        ("dwrseg_b", 11, 2_534_283),
        ("dwrseg_l", 11, 3_529_547),
        ("probe_dwrseg_l", 19, 3_000_915),
        ("probe_dwrseg_l", 11, 2_999_883),
    ],
)
def test_parameters(name: str, classes: int, count: int) -> None:
    assert parameters(create_model(name, num_classes=classes)) == count


def test_multiply_adds_of_the_probe() -> None:
    assert multiply_adds(create_model("probe_dwrseg_l"), (3, 512, 1024)) / 1e9 == pytest.approx(11.872, abs=5e-4)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # The other readings of the stem and the transitions: parameters in M, multiply-adds of convolutions in G.
        ({"stem": "narrow"}, {"dwrseg_b": (2.528, 12.99), "dwrseg_l": (3.523, 15.78)}),
        ({"stem": "narrow", "downsample": "conv"}, {"dwrseg_b": (2.831, 13.615), "dwrseg_l": (3.827, 16.401)}),
    ],
)
def test_other_readings_of_the_structure(options: dict, expected: dict) -> None:
    for name, (millions, giga) in expected.items():
        model = create_model(name, **options)
        assert parameters(model) / 1e6 == pytest.approx(millions, abs=6e-4)
        assert multiply_adds(model, (3, 512, 1024)) / 1e9 == pytest.approx(giga, abs=6e-3)


@pytest.mark.parametrize("downsample", ["block", "conv"])
@pytest.mark.parametrize("name", NAMES)
def test_stages_are_what_a_forward_pass_shows(name: str, downsample: str) -> None:
    model = create_model(name, downsample=downsample).eval()
    assert [stage.name for stage in model.stages] == ["stem", "stage2", "stage3", "stage4"]
    image = torch.randn(1, 3, 128, 256)
    with torch.no_grad(), capture(model, [stage.name for stage in model.stages]) as outputs:
        model(image)
    for stage in model.stages:
        _, channels, height, width = outputs[stage.name].shape
        assert channels == stage.channels
        assert (128 // height, 256 // width) == (stage.output_stride, stage.output_stride)
        for block in stage.blocks:
            module = model.get_submodule(block)
            if stage.name != "stem":
                assert (module.dilations or (1,)) == stage.dilations
                assert module.out_channels == stage.channels
    named = dict(model.named_children())
    assert sum(len(stage.blocks) for stage in model.stages[1:]) == sum(
        hasattr(block, "region") for stage in ("stage2", "stage3", "stage4") for block in named[stage]
    )


def test_repetitions_of_table_1() -> None:
    counts = {name: tuple(len(stage.blocks) for stage in create_model(name).stages[1:]) for name in NAMES}
    assert counts == {"dwrseg_b": (7, 3, 3), "dwrseg_l": (8, 8, 3), "probe_dwrseg_l": (8, 8, 3)}


def test_the_seed_decides_the_weights_and_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    first, second, other = (create_model("dwrseg_b", seed=seed, **SMALL).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["stem.first.conv.weight"], other["stem.first.conv.weight"])


def test_the_probe_takes_any_list_of_dilations() -> None:
    model = create_model("probe_dwrseg_l", dilations=(1, 3, 5, 7, 9), **SMALL)
    assert model.stages[1].dilations == (1, 3, 5, 7, 9)
    model = DWRSeg(3, blocks=(1, 1, 1), competing=True, dilations=((1,), (1, 3), (1, 3, 5)))
    assert [stage.dilations for stage in model.stages[1:]] == [(1,), (1, 3), (1, 3, 5)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: create_model("dwrseg_x"), r"name='dwrseg_x'.*Did you mean 'dwrseg_[bl]'"),
        (lambda: create_model("dwrseg_b", alfa=(1, 1)), r"option of dwrseg_b='alfa'.*Did you mean 'alpha'"),
        (lambda: create_model("dwrseg_b", num_classes=0), r"num_classes=0 must be above 0"),
        (lambda: create_model("dwrseg_b", blocks=(1, 2)), r"blocks=\(1, 2\) must hold three numbers"),
        (lambda: create_model("dwrseg_b", offset={"stage3": -3}), r"leaves 0 blocks in stage3"),
        (lambda: create_model("dwrseg_b", offset={"stage5": 1}), r"offset='stage5' is not known"),
        (lambda: create_model("dwrseg_b", dilations=((1, 3),)), r"must be 2 lists of dilation rates"),
        (lambda: create_model("dwrseg_b", downsample="pool"), r"downsample='pool'.*block, conv"),
        (lambda: multiply_adds(create_model("dwrseg_b"), (512, 1024)), r"input_size=\(512, 1024\) must be \(channels"),
        (lambda: multiply_adds(create_model("dwrseg_b"), (3, 8, 8), count="all"), r"count='all'"),
    ],
)
def test_errors_name_the_argument(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
