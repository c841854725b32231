"""What holds for every network of the registry: published stages, sizes of scores, gradients, seeds, options."""

from __future__ import annotations

import pytest
import torch

from rfkit.hooks import capture
from rfkit.models.registry import create_model, list_models
from rfkit.models.stages import Network

# Options that make a network small.
SMALL = {
    "dwrseg_b": {"blocks": (1, 1, 1)},
    "dwrseg_l": {"blocks": (1, 1, 1)},
    "probe_dwrseg_l": {"blocks": (1, 1, 1)},
    "regseg": {"blocks": (1, 1), "dilations": ((1,), (1, 2))},
    "regseg_l": {"blocks": (1, 1), "dilations": ((1,), (1, 2))},
    "frmnet": {"depths": (1, 1, 1, 1), "pyramid_width": 16},
    "dwrseg_l_frm": {"blocks": (1, 1, 1)},
}


def test_every_network_of_the_registry_is_tested() -> None:
    assert set(SMALL) == set(list_models())


@pytest.mark.parametrize("size", [(1, 1), (45, 67), (64, 96), (97, 33)])
@pytest.mark.parametrize("name", list_models())
def test_scores_have_the_size_of_the_image(name: str, size: tuple[int, int]) -> None:
    model = create_model(name, num_classes=5, **SMALL[name]).eval()
    with torch.no_grad():
        assert model(torch.randn(2, 3, *size)).shape == (2, 5, *size)


@pytest.mark.parametrize("name", list_models())
def test_every_parameter_gets_a_gradient(name: str) -> None:
    model = create_model(name, num_classes=5, seed=0)
    model(torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))).square().mean().backward()
    without = [key for key, value in model.named_parameters() if value.grad is None or not value.grad.abs().sum() > 0]
    assert without == []


@pytest.mark.parametrize("name", list_models())
def test_stages_are_what_a_forward_pass_shows(name: str) -> None:
    model = create_model(name).eval()
    assert [stage.name for stage in model.stages] == ["stem", "stage2", "stage3", "stage4"]
    image = torch.randn(1, 3, 128, 256)
    with torch.no_grad(), capture(model, [stage.name for stage in model.stages]) as outputs:
        model(image)
    for stage in model.stages:
        _, channels, height, width = outputs[stage.name].shape
        assert channels == stage.channels
        assert (128 // height, 256 // width) == (stage.output_stride, stage.output_stride)
        _check_blocks(model, stage.name)


def _check_blocks(model: Network, name: str) -> None:
    """The blocks that the stage lists are all there are, and their dilation rates those it names."""
    stage = next(stage for stage in model.stages if stage.name == name)
    if name == "stem":
        assert stage.blocks == ("stem",)
        return
    blocks = [model.get_submodule(block) for block in stage.blocks]
    rates = {rate for block in blocks for rate in getattr(block, "dilations", ()) or (1,)}
    assert rates == set(stage.dilations)
    assert blocks[-1].out_channels == stage.channels
    children = model.get_submodule(name).named_children()
    same = [f"{name}.{key}" for key, child in children if isinstance(child, type(blocks[-1]))]
    assert same == list(stage.blocks)


@pytest.mark.parametrize("name", list_models())
def test_the_seed_decides_the_weights_and_leaves_the_global_generator_alone(name: str) -> None:
    before = torch.random.get_rng_state()
    first, second, other = (create_model(name, seed=seed, **SMALL[name]).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[key], second[key]) for key in first)
    convolution = next(key for key, value in first.items() if value.dim() == 4)
    assert not torch.equal(first[convolution], other[convolution])


@pytest.mark.parametrize("name", list_models())
def test_an_unknown_option_is_named_with_the_nearest(name: str) -> None:
    with pytest.raises(
        ValueError, match=rf"option of {name}='initialization' is not known.*Did you mean 'initialisation'"
    ):
        create_model(name, initialization="he")
