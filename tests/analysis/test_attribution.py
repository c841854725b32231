from __future__ import annotations

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import captum.attr
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rfkit.analysis.attribution import attribute
from rfkit.analysis.attribution_methods import METHODS
from rfkit.analysis.images import MEAN, STANDARD_DEVIATION
from rfkit.analysis.segmentation_target import SegmentationTarget
from rfkit.hooks import observe
from rfkit.models.registry import create_model
from rfkit.results.attribution import Attribution
from rfkit.results.base import Result
from rfkit.results.box import Box
from rfkit.results.distance import distance_to_region

SIZE = (9, 12)
NEED_LAYER = ("grad_cam", "guided_grad_cam")


def picture(height: int = SIZE[0], width: int = SIZE[1], *, seed: int = 0) -> Tensor:
    return torch.randn(3, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def net(*, classes: int = 4, dilation: int = 2, seed: int = 0) -> nn.Module:
    """Two 3x3 convolutions, in-place ReLU, batch norm: receptive field of 1 + 2 + 2 x dilation pixels."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, classes, 3, padding=dilation, dilation=dilation),
        ).double()


def linear(classes: int = 3) -> nn.Conv2d:
    layer = nn.Conv2d(3, classes, 1, bias=False).double()
    with torch.no_grad():
        layer.weight.copy_(torch.arange(3 * classes, dtype=torch.float64).view(classes, 3, 1, 1) - 4)
    return layer


def maps_of(model: nn.Module, image: Tensor) -> Tensor:
    with torch.no_grad():
        return copy.deepcopy(model).eval()(image[None])[0]


def in_layer(method: str, layer: str = "0") -> dict[str, Any]:
    return {"layer": layer} if method in NEED_LAYER else {}


class Wrapped(nn.Module):
    """A network whose output is `shape(maps)`."""

    def __init__(self, body: nn.Module, shape: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.body, self.shape = body, shape

    def forward(self, images: Tensor) -> Any:
        return self.shape(self.body(images))


# Correctness ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["input_x_gradient", "integrated_gradients", "gradient_shap", "deep_lift"])
def test_of_a_linear_network_it_is_weight_times_input_over_the_region(method: str) -> None:
    model, image = linear(), picture()
    mask = np.zeros(SIZE, bool)
    mask[2:4, 5:9] = True
    result = attribute(model, image, target=(1, mask), method=method)
    weight = model.weight[1].detach().numpy()  # -1, 0, 1
    np.testing.assert_allclose(result.values, weight * image.numpy() * mask, atol=1e-12)
    assert result.score == pytest.approx((weight * image.numpy() * mask).sum())
    assert result.values.dtype == np.float64
    assert result.unit == "logits"
    if method != "input_x_gradient":
        assert result.baseline_score == 0
        assert result.delta == pytest.approx(0, abs=1e-7)
    else:
        assert result.delta is None


def test_occlusion_and_ablation_of_a_linear_network_by_hand() -> None:
    model, image = linear(), picture()
    expected = (model.weight[2].detach() * image).sum(dim=0).numpy()
    for method, options in (
        ("occlusion", {"sliding_window_shapes": (3, 1, 1), "strides": 1}),
        ("feature_ablation", {"feature_mask": torch.arange(108).view(1, 1, *SIZE)}),
    ):
        result = attribute(model, image, target=(2, np.ones(SIZE, bool)), method=method, **options)
        for channel in result.values:
            np.testing.assert_allclose(channel, expected, atol=1e-10)
    squares = attribute(model, picture(32, 48), target=(2, (5, 6)), method="feature_ablation")
    # An eighth of the shorter side: pixel (5, 6) lies in the square of rows 4 to 7 and columns 4 to 7.
    assert np.argwhere(squares.map("abs")).min(axis=0).tolist() == [4, 4]
    assert np.argwhere(squares.map("abs")).max(axis=0).tolist() == [7, 7]


@pytest.mark.parametrize(("reduce", "score"), [("sum", "logits"), ("mean", "logits"), ("mean", "probabilities")])
def test_saliency_is_the_gradient(reduce: str, score: str) -> None:
    model, image = net().eval(), picture()
    result = attribute(model, image, target=1, method="saliency", reduce=reduce, score=score)
    given = image.clone()[None].requires_grad_()
    maps = model(given)[0]
    region = maps.argmax(dim=0) == 1
    values = (maps.softmax(dim=0) if score == "probabilities" else maps)[1][region]
    total = values.mean() if reduce == "mean" else values.sum()
    np.testing.assert_allclose(result.values, torch.autograd.grad(total, given)[0][0].numpy(), rtol=1e-9, atol=1e-14)
    np.testing.assert_array_equal(result.region, region.numpy())
    assert result.score == pytest.approx(float(total.detach()))
    assert (result.values < 0).any()
    assert result.unit == f"{score} per unit of input"


def test_integrated_gradients_and_deep_lift_are_complete() -> None:
    model, image = net(), picture(24, 32)
    coarse, fine = (attribute(model, image, target=2, n_steps=steps) for steps in (4, 200))
    change = fine.score - fine.baseline_score
    assert fine.values.sum() == pytest.approx(change, rel=2e-3)
    assert fine.delta == pytest.approx(fine.values.sum() - change, abs=1e-9)
    assert abs(coarse.delta) > abs(fine.delta)
    lift = attribute(model, image, target=2, method="deep_lift")
    assert lift.values.sum() == pytest.approx(change, rel=1e-9)


@pytest.mark.parametrize("method", [name for name in METHODS if name != "grad_cam"])
def test_one_pixel_gets_nothing_from_outside_its_receptive_field(method: str) -> None:
    model, image = net(dilation=2), picture(21, 24)
    windows = {"sliding_window_shapes": (3, 1, 1), "strides": 1} if method == "occlusion" else {}
    windows |= {"feature_mask": torch.arange(21 * 24).view(1, 1, 21, 24)} if method == "feature_ablation" else {}
    options = {"n_steps": 5} if method == "integrated_gradients" else {}
    options |= in_layer(method)
    result = attribute(model, image, target=(0, (8, 11)), method=method, **options, **windows)
    box = Box(8 - 3, 11 - 3, 8 + 3, 11 + 3)
    outside = np.ones((21, 24), bool)
    outside[box.slices()] = False
    assert not result.map("abs")[outside].any()
    reached = np.argwhere(result.map("abs"))
    assert reached.min(axis=0).tolist() == [box.y0, box.x0]
    assert reached.max(axis=0).tolist() == [box.y1, box.x1]
    # The same in the words of the result.
    assert result.share_within(3, metric="chebyshev") == pytest.approx(1)
    assert result.share_within(2, metric="chebyshev") < 1
    assert result.distance_holding(1, metric="chebyshev") == 3


def test_grad_cam_is_the_weighted_sum_of_the_layer() -> None:
    model, image = net(), picture()
    result = attribute(model, image, target=1, method="grad_cam", layer="1")
    twin = copy.deepcopy(model).eval()
    maps = twin[1](twin[0](image[None])).detach().requires_grad_()
    scores = twin[3](twin[2](maps.clone()))
    gradient = torch.autograd.grad(scores[0, 1][scores[0].argmax(dim=0) == 1].sum(), maps)[0]
    expected = (gradient.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1).detach().numpy()
    np.testing.assert_allclose(result.values, expected, rtol=1e-9)
    assert (result.layer, result.unit, result.delta) == ("1", "", None)


# The target ----------------------------------------------------------------------------------------------------------


def test_the_predicted_region_stays_that_of_the_image() -> None:
    model, image, other = net().eval(), picture(), picture(seed=5)
    scores = SegmentationTarget(model, image)
    labels = maps_of(model, image).argmax(dim=0)
    changed = maps_of(model, other)
    assert not torch.equal(labels, changed.argmax(dim=0))
    expected = torch.stack([changed[index][labels == index].sum() for index in range(4)])
    torch.testing.assert_close(scores(torch.stack([other, image]))[0], expected)
    assert torch.equal(scores.mask(2), labels == 2)


def test_regions_are_pixels_of_the_image() -> None:
    model, image = linear(), picture()
    maps = maps_of(model, image)
    mask = torch.zeros(SIZE, dtype=torch.bool)
    mask[3:6, 4:7] = True
    for region, expected in (
        (mask, maps[:, 3:6, 4:7]),
        (mask.numpy(), maps[:, 3:6, 4:7]),
        (Box(3, 4, 5, 6), maps[:, 3:6, 4:7]),
        (Box(-4, 8, 1, 30), maps[:, :2, 8:]),
        ((8, 11), maps[:, 8:, 11:]),
        ((np.int64(0), 0), maps[:, :1, :1]),
    ):
        scores = SegmentationTarget(model, image, region=region)(image[None].expand(3, -1, -1, -1))
        torch.testing.assert_close(scores, expected.sum(dim=(1, 2)).expand(3, -1))
    names = [attribute(model, image, target=(1, region)) for region in (mask, Box(3, 4, 5, 6), (8, 11))]
    names.append(attribute(net(), image, target=1))
    assert [entry.region_name for entry in names] == [
        "mask", "rows 3 to 5, columns 4 to 6 (3 x 3)", "pixel (8, 11)", "predicted",
    ]  # fmt: skip
    assert [entry.title for entry in names[1:3]] == [
        "class 1 in a box · integrated gradients",
        "class 1 at pixel (8, 11) · integrated gradients",
    ]


def test_maps_smaller_than_the_image_are_resized_to_it() -> None:
    model = nn.Conv2d(3, 5, 3, stride=4, padding=1).double()
    image = picture(17, 22)
    maps = F.interpolate(maps_of(model, image)[None], size=(17, 22), mode="bilinear", align_corners=False)[0]
    scores = SegmentationTarget(model, image, region=(16, 3))(image[None])[0]
    torch.testing.assert_close(scores, maps[:, 16, 3])
    predicted = SegmentationTarget(model, image)
    assert torch.equal(predicted.masks.int().argmax(dim=0), maps.argmax(dim=0))
    assert attribute(model, image, target=int(maps[:, 4, 4].argmax())).values.shape == (3, 17, 22)


def test_one_class_is_predicted_where_its_score_is_positive() -> None:
    model, image = net(classes=1).eval(), picture()
    positive = maps_of(model, image)[0] > 0
    assert 0 < positive.sum() < positive.numel()
    result = attribute(model, image, target=0, score="probabilities", reduce="mean", method="saliency")
    np.testing.assert_array_equal(result.region, positive.numpy())
    assert result.score == pytest.approx(float(maps_of(model, image)[0][positive].sigmoid().mean()))


class Output(dict):
    """As transformers' ModelOutput: keys are attributes, too."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


@pytest.mark.parametrize(
    ("shape", "output"),
    [
        (lambda maps: {"out": maps, "aux": maps * 2}, None),
        (lambda maps: {"aux": maps * 2, "seg": maps}, "seg"),
        (lambda maps: Output(loss=maps.sum(), logits=maps), None),
        (lambda maps: (maps,), None),
        (lambda maps: (maps * 2, maps), 1),
        (lambda maps: [maps, maps * 2], 0),
        (lambda maps: SimpleNamespace(heads=maps), "heads"),
        (lambda maps: {"deep": [maps * 3, maps]}, lambda found: found["deep"][-1]),
    ],
)
def test_outputs_of_all_kinds(shape: Callable[[Tensor], Any], output: Any) -> None:
    body, image = net(), picture()
    plain = attribute(body, image, target=1, method="saliency")
    result = attribute(Wrapped(body, shape), image, target=1, method="saliency", output=output)
    np.testing.assert_array_equal(result.values, plain.values)


def test_the_network_is_called_once_a_forward() -> None:
    model, image = net().eval(), picture()
    scorer, seen = SegmentationTarget(model, image), []
    with observe(model, "0", lambda _name, inputs, _output: seen.append(len(inputs[0]))):
        scorer(image[None].expand(5, -1, -1, -1))
    assert seen == [5]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("Saliency", {}),
        ("InputXGradient", {}),
        ("IntegratedGradients", {"n_steps": 10, "internal_batch_size": 4}),
        ("IntegratedGradients", {"n_steps": 10}),
        ("GradientShap", {"n_samples": 4, "baselines": torch.zeros(1, 3, *SIZE, dtype=torch.float64)}),
        ("DeepLift", {}),
        ("GuidedBackprop", {}),
        ("Deconvolution", {}),
        ("FeatureAblation", {"feature_mask": (torch.arange(108) // 12).view(1, 1, *SIZE), "perturbations_per_eval": 4}),
        ("Occlusion", {"sliding_window_shapes": (3, 4, 4), "strides": (3, 4, 4), "perturbations_per_eval": 3}),
        ("ShapleyValueSampling", {"feature_mask": (torch.arange(108) // 36).view(1, 1, *SIZE), "n_samples": 3}),
        ("LayerGradCam", {}),
        ("LayerIntegratedGradients", {"n_steps": 10}),
    ],
)
@pytest.mark.filterwarnings("ignore:.*Setting.*backward hooks:UserWarning")
def test_captum_takes_it(kind: str, options: dict[str, Any]) -> None:
    model, image = net().eval(), picture()
    model[2].inplace = False
    scorer, layer = SegmentationTarget(model, image), kind.startswith("Layer")
    method = getattr(captum.attr, kind)(scorer, model[1]) if layer else getattr(captum.attr, kind)(scorer)
    values = method.attribute(image[None].clone().requires_grad_(), target=2, **options)
    assert values.shape[-2:] == SIZE
    assert values.abs().sum() > 0
    if kind not in ("GradientShap", "ShapleyValueSampling"):
        same = attribute(
            model, image, target=2, method=getattr(captum.attr, kind), layer="1" if layer else None,
            **{name: value for name, value in options.items()},
        )  # fmt: skip
        np.testing.assert_allclose(same.values, values[0].detach().numpy(), rtol=1e-9, atol=1e-12)
        assert same.method == kind


def test_a_method_of_captum_as_function_or_object() -> None:
    model, image = net().eval(), picture()
    named = attribute(model, image, target=2, method="smooth_grad", nt_samples=3, stdevs=0.5)
    built = attribute(
        model, image, target=2, nt_samples=3, stdevs=0.5, nt_samples_batch_size=1, abs=False,
        method=lambda scorer: captum.attr.NoiseTunnel(captum.attr.Saliency(scorer)),
    )  # fmt: skip
    np.testing.assert_array_equal(built.values, named.values)
    scorer = SegmentationTarget(model, image, region=(3, 3))
    bound = attribute(scorer, image, target=2, method=captum.attr.InputXGradient(scorer))
    np.testing.assert_array_equal(
        bound.values, attribute(model, image, target=(2, (3, 3)), method="input_x_gradient").values
    )
    assert (bound.method, bound.region_name) == ("InputXGradient", "as given")


def test_a_classifier_has_scores_and_no_region() -> None:
    model = nn.Sequential(net(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    result = attribute(model, picture(), target=3)
    assert result.region is None
    assert result.region_name == ""
    assert abs(result.delta) < 0.05 * abs(result.score - result.baseline_score)
    with pytest.raises(ValueError, match="no region to measure distances from"):
        result.distance_profile()
    with pytest.raises(ValueError, match=r"region=\(1, 1\): this Sequential gives one score for each class, \(1, 4\)"):
        attribute(model, picture(), target=(3, (1, 1)))
    with pytest.raises(ValueError, match="there is no region"):
        SegmentationTarget(model, picture()).mask(0)


def test_names_images_and_baselines() -> None:
    model = net(classes=3).float()
    image = torch.randint(0, 256, (3, *SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    named = attribute(model, image, target="road", class_names=("sky", "road", "car"))
    assert (named.class_index, named.class_name, named.title) == (1, "road", "road · integrated gradients")
    assert named.values.dtype == np.float32
    np.testing.assert_array_equal(named.image, image.permute(1, 2, 0).numpy())
    model.card = SimpleNamespace(class_names=("sky", "road", "car"))
    assert attribute(model, image, target="road") == named
    black = attribute(model, image, target=1, baseline="black")
    same = attribute(model, image, target=1, baseline=torch.zeros(3, *SIZE, dtype=torch.uint8))
    np.testing.assert_allclose(black.values, same.values, rtol=1e-5, atol=1e-6)
    start = -torch.tensor(MEAN) / torch.tensor(STANDARD_DEVIATION)
    scores = SegmentationTarget(model.eval(), image)(start.view(1, 3, 1, 1).expand(1, 3, *SIZE))
    assert black.baseline_score == pytest.approx(float(scores[0, 1].detach()), rel=1e-4)
    assert attribute(model, image, target=1, baseline=0.5).baseline_score != named.baseline_score


def test_an_image_of_one_channel_is_shown_in_gray() -> None:
    result = attribute(nn.Conv2d(1, 2, 3, padding=1), torch.rand(1, 8, 10), target=(0, (4, 4)), method="saliency")
    assert result.values.shape == (1, 8, 10)
    assert result.image.shape == (8, 10, 3)
    assert (result.image.min(), result.image.max()) == (0, 255)


def test_large_images_go_through_one_by_one() -> None:
    model, seen = nn.Conv2d(3, 2, 3, padding=1), []
    with observe(model, model, lambda _name, inputs, _output: seen.append(len(inputs[0]))):
        for method, options in (
            ("integrated_gradients", {"n_steps": 3}),
            ("gradient_shap", {"n_samples": 3}),
            ("smooth_grad", {"nt_samples": 3}),
            ("feature_ablation", {}),
        ):
            attribute(model, torch.rand(3, 400, 420), target=(0, (200, 200)), method=method, **options)
    assert set(seen) == {1}


# The model as found --------------------------------------------------------------------------------------------------


def state_of(model: nn.Module) -> list[Any]:
    modules = list(model.modules())
    return [
        [module.training for module in modules],
        [getattr(module, "inplace", None) for module in modules],
        [
            len(module._forward_hooks) + len(module._forward_pre_hooks) + len(module._backward_hooks)
            for module in modules
        ],
        [sorted(vars(module)) for module in modules],
        [(parameter.requires_grad, id(parameter.grad)) for parameter in model.parameters()],
        [tensor.clone() for tensor in [*model.state_dict().values()]],
        [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None],
        [torch.random.get_rng_state()],
        [np.random.get_state()[1].tolist()],  # noqa: NPY002
    ]


def same(one: list[Any], other: list[Any]) -> None:
    for before, after in zip(one, other, strict=True):
        for left, right in zip(before, after, strict=True):
            assert torch.equal(left, right) if isinstance(left, Tensor) else left == right


def used() -> nn.Module:
    """A network in training mode, with a gradient, a frozen parameter and a module in evaluation mode."""
    model = net()
    model(picture()[None]).sum().backward()
    model[0].bias.requires_grad_(False)
    model[1].eval()
    return model


@pytest.mark.parametrize("method", METHODS)
def test_the_model_is_left_as_found(method: str) -> None:
    model, image = used(), picture()
    before, copied = state_of(model), image.clone()
    options = {"n_steps": 3} if method == "integrated_gradients" else {}
    attribute(model, image, target=1, method=method, **options, **in_layer(method))
    same(before, state_of(model))
    assert torch.equal(image, copied)
    assert not image.requires_grad


class Failing(nn.Module):
    """Fails the n-th time it runs, or when a gradient passes."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.left = [calls]

    def forward(self, maps: Tensor) -> Tensor:
        self.left[0] -= 1
        if not self.left[0]:
            raise RuntimeError("failed on purpose")
        return maps


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("calls", [1, 2, 3])
def test_the_model_is_left_as_found_after_an_error(method: str, calls: int) -> None:
    model = nn.Sequential(*used(), Failing(calls))
    before = state_of(model)
    with pytest.raises(RuntimeError, match="failed on purpose"):
        attribute(model, picture(), target=1, method=method, **in_layer(method))
    same(before, state_of(model))


def test_under_no_grad_and_inference_mode_it_works_as_well() -> None:
    model, image = net(), picture()
    plain = attribute(model, image, target=1, method="saliency")
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            inside = attribute(model, image.clone(), target=1, method="saliency")
        np.testing.assert_array_equal(inside.values, plain.values)


class Careless(nn.Module):
    """Writes into its input and into the output of its layers."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, images: Tensor) -> Tensor:
        images -= 1
        maps = self.body[1](self.body[0](images))
        maps += 0.5
        return self.body[3](F.relu_(maps))


def test_networks_that_work_in_place() -> None:
    model, image = Careless(net()), picture()
    copied = image.clone()
    assert attribute(model, image, target=(1, (3, 3)), method="saliency").values.any()
    assert attribute(model, image, target=(1, (3, 3)), method="grad_cam", layer="body.0").values.any()
    assert torch.equal(image, copied)
    first = nn.Sequential(nn.ReLU(inplace=True), linear())
    with torch.no_grad():
        first[1].weight.abs_()
    assert attribute(first, image, target=(1, (3, 3)), method="guided_backprop").values.any()


@pytest.mark.parametrize(
    ("method", "options"), [("smooth_grad", {"nt_samples": 3}), ("gradient_shap", {"n_samples": 3})]
)
def test_what_is_drawn_follows_from_the_seed(method: str, options: dict[str, int]) -> None:
    model, image = net(), picture()
    one, again, other = (
        attribute(model, image, target=1, method=method, seed=seed, **options) for seed in (1, 1, 2)
    )  # fmt: skip
    np.testing.assert_array_equal(one.values, again.values)
    assert not np.allclose(one.values, other.values)


def test_progress_is_shown_after_a_while(monkeypatch: pytest.MonkeyPatch, notebook: pytest.CaptureFixture[str]) -> None:
    attribute(net(), picture(), target=1, n_steps=4)
    assert notebook.readouterr().err == ""
    monkeypatch.setattr("rfkit.analysis.attribution._PATIENCE", 0)
    attribute(net(), picture(), target=1, n_steps=4)
    assert "integrated_gradients" in notebook.readouterr().err
    attribute(net(), picture(), target=1, n_steps=4, progress=False)
    assert notebook.readouterr().err == ""


# Errors --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (4, r"target: class 4 is out of range; this network has 4 classes, 0 to 3"),
        (-1, r"class -1 is out of range"),
        ("Car", r"target='Car' is a name, and this network has no card .* index, 0 to 3, or class_names="),
        (1.5, r"target=1.5: the class must be an index or a name"),
        (True, r"target=True: the class must be"),
        ((1, 2, 3), r"must be a class, or \(class, region\); a pixel is \(class, \(row, column\)\)"),
        ((1, (9, 0)), r"pixel \(row 9, column 0\) is outside of the image of 9 x 12 pixels"),
        ((1, (0, -1)), r"pixel \(row 0, column -1\) is outside"),
        ((1, Box(20, 20, 30, 30)), r"lies outside the image of 9 x 12"),
        ((1, np.ones((12, 9), bool)), r"mask has shape \(12, 9\); the image is \(9, 12\)"),
        ((1, np.zeros(SIZE, bool)), r"the mask is empty"),
        ((1, "everywhere"), r"region='everywhere' is not known; allowed: 'predicted', a boolean mask"),
        ((1, 3), r"region=3 is not known"),
    ],
)  # fmt: skip
def test_targets_that_cannot_be(target: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attribute(net(), picture(), target=target)


def test_a_mask_of_numbers_is_refused() -> None:
    with pytest.raises(TypeError, match=r"the mask is of torch\.int64; give a boolean one"):
        attribute(net(), picture(), target=(1, np.ones(SIZE, int)))


def test_a_class_predicted_nowhere_is_refused_with_what_is() -> None:
    model = linear()
    with torch.no_grad():
        model.weight.zero_()
    model.bias = nn.Parameter(torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))
    with pytest.raises(ValueError, match=r"class 2 is predicted nowhere .* predicted: 1 \(108 pixels\)"):
        attribute(model, picture(), target=2)


def test_class_names_that_do_not_fit() -> None:
    names = ("sky", "road", "car", "tree")
    with pytest.raises(ValueError, match=r"target='raod' is not known; .* Did you mean 'road'\?"):
        attribute(net(), picture(), target="raod", class_names=names)
    with pytest.raises(ValueError, match="class_names has 3 names; the network has 4 classes"):
        attribute(net(), picture(), target=0, class_names=names[:3])


@pytest.mark.parametrize(
    ("shape", "output", "message"),
    [
        (lambda maps: maps.flatten(2), None, r"gives \(1, 4, 108\) for 1 image\(s\); attribution needs class scores"),
        (lambda maps: maps.repeat(2, 1, 1, 1), None, r"gives \(2, 4, 9, 12\) for 1 image"),
        (lambda maps: (maps, maps), None, r"returns 2 things; choose one with output="),
        (lambda maps: {"a": maps, "b": maps}, None, r"returns a mapping with a, b; name one"),
        (lambda maps: {"a": maps, "b": maps}, "c", r"output='c' is not in what the network returns: a, b"),
        (lambda maps: (maps, maps), 2, r"output=2 is not in what the network returns: 2 things"),
        (lambda maps: SimpleNamespace(maps=maps), None, r"output is a SimpleNamespace, not a tensor"),
        (lambda maps: maps, lambda found: 3, r"output is a int, not a tensor"),
    ],
)
def test_outputs_that_are_no_map(shape: Callable[[Tensor], Any], output: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attribute(Wrapped(net(), shape), picture(), target=1, output=output)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "integrated_gradient"}, r"method='integrated_gradient' .* Did you mean 'integrated_gradients'"),
        ({"n_step": 3}, r"option of method 'integrated_gradients'='n_step' is not known; .* Did you mean 'n_steps'"),
        ({"baselines": 0}, r"here it is the argument baseline="),
        ({"inputs": 0}, r"'inputs' is not known"),
        ({"method": "grad_cam"}, r"method='grad_cam' needs layer="),
        ({"layer": "1"}, r"layer= is given, but method='integrated_gradients' attributes to the image"),
        ({"method": "grad_cam", "layer": "7"}, r"layers='7' is not known"),
        ({"method": "grad_cam", "layer": "*"}, r"layer='\*' means 5 layers"),
        ({"baseline": "blak"}, r"baseline='blak' is not known; .* Did you mean 'black'"),
        ({"baseline": torch.zeros(3, 4, 4)}, r"baseline has shape \(3, 4, 4\); the image is \(3, 9, 12\)"),
        ({"reduce": "max"}, r"reduce='max' is not known; allowed: sum, mean"),
        ({"score": "odds"}, r"score='odds' is not known; allowed: logits, probabilities"),
        ({"method": "deep_lift", "score": "probabilities"}, r"no rule for the softmax over maps; use score='logits'"),
    ],
)
def test_arguments_that_are_not_allowed(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attribute(net(), picture(), target=(1, (4, 4)), **options)


def test_several_images_are_refused_and_other_methods() -> None:
    model, image = net(), picture()
    with pytest.raises(ValueError, match="image holds 2 images; give one"):
        attribute(model, image[None].expand(2, -1, -1, -1), target=1)
    with pytest.raises(TypeError, match="method=3 must be a name, a class of captum"):
        attribute(model, image, target=1, method=3)
    scorer = SegmentationTarget(model, image)
    with pytest.raises(ValueError, match="bound to a forward function of its own: build it on a SegmentationTarget"):
        attribute(model, image, target=1, method=captum.attr.Saliency(scorer))
    with pytest.raises(ValueError, match="a SegmentationTarget has its region already"):
        attribute(scorer, image, target=(1, (2, 2)), method=captum.attr.Saliency(scorer))
    with pytest.raises(ValueError, match=r"images are \(5, 5\) pixels; the region was made for an image of \(9, 12\)"):
        scorer(torch.zeros(1, 3, 5, 5, dtype=torch.float64))
    with pytest.raises(ValueError, match="class 9 is not one of the 4 classes"):
        scorer.mask(9)
    with pytest.raises(ValueError, match="baseline='black' is a colour; the image has 1 channels"):
        attribute(nn.Conv2d(1, 2, 1), torch.rand(1, 4, 4), target=(0, (1, 1)), baseline="black")


def test_zero_everywhere_says_why() -> None:
    image = picture()
    dead = nn.Sequential(linear(), nn.ReLU())
    with torch.no_grad():
        dead[0].weight.zero_()
    dead[0].bias = nn.Parameter(torch.full((3,), -1.0, dtype=torch.float64))
    for method in ("saliency", "integrated_gradients", "guided_backprop"):
        with pytest.raises(ValueError, match=rf"method='{method}' gives zero everywhere: .*dead ReLU"):
            attribute(dead, image, target=(1, (3, 3)), method=method)
    with pytest.raises(ValueError, match="nothing that was covered changes the score"):
        attribute(dead, image, target=(1, (3, 3)), method="occlusion")
    with pytest.raises(ValueError, match="the image is equal to the baseline"):
        attribute(net(), image, target=(1, (3, 3)), baseline=image)
    detached = Wrapped(net(), lambda maps: maps.detach())
    with pytest.raises(ValueError, match="the score is detached from the image"):
        attribute(detached, image, target=(1, (3, 3)))
    assert attribute(detached, image, target=(1, (3, 3)), method="occlusion").values.any()
    with pytest.raises(ValueError, match="values that are not finite; look for NaN"):
        attribute(Wrapped(net(), lambda maps: maps * np.nan), image, target=(1, (3, 3)), method="saliency")


class Shared(nn.Module):
    """One ReLU at two places."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.act = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1), nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        return self.act(self.second(self.act(self.first(images))))


def test_methods_that_rewrite_activations_say_what_they_need() -> None:
    model, image = Shared(), torch.rand(3, 6, 6)
    before = state_of(model)
    with pytest.raises(ValueError, match=r"these run several times in a forward pass: act\. Give each place its own"):
        attribute(model, image, target=(1, (3, 3)), method="deep_lift")
    same(before, state_of(model))
    for method in ("guided_backprop", "deconvolution", "guided_grad_cam"):
        functional = Wrapped(nn.Sequential(nn.Conv2d(3, 2, 1)), F.relu)
        with pytest.raises(ValueError, match=rf"method='{method}' changes what nn.ReLU modules pass back, and no such"):
            attribute(functional, image, target=(1, (3, 3)), method=method, **in_layer(method, "body.0"))


class PreActivation(nn.Module):
    """A residual block whose activation reads what the shortcut reads, too."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.stem, self.body, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1)
        self.act = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stem(images)
        return self.head(maps + self.body(self.act(maps)))


class GuidedRelu(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        context.save_for_backward(values)
        return values.clamp(min=0)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return gradient.clamp(min=0) * (context.saved_tensors[0] > 0)


def test_an_activation_is_rewritten_without_the_shortcut_beside_it() -> None:
    model, image = PreActivation().double(), picture()
    lift = attribute(model, image, target=(1, (3, 3)), method="deep_lift")
    assert lift.delta == pytest.approx(0, abs=1e-9)
    guided = attribute(model, image, target=(1, (3, 3)), method="guided_backprop")
    given = image.clone()[None].requires_grad_()
    maps = model.stem(given)
    score = model.head(maps + model.body(GuidedRelu.apply(maps)))[0, 1, 3, 3]
    np.testing.assert_allclose(guided.values, torch.autograd.grad(score, given)[0][0].numpy(), atol=1e-12)


def test_deep_lift_warns_where_it_does_not_add_up() -> None:
    model = nn.Sequential(linear(4), nn.MaxPool2d(3, stride=1, padding=1))
    with pytest.warns(UserWarning, match=r"deep_lift: the values add up to .* max pooling with overlapping windows"):
        gap = attribute(model, picture(), target=(1, Box(2, 2, 6, 6)), method="deep_lift")
    assert abs(gap.delta) > 0.02 * abs(gap.score - gap.baseline_score)
    with pytest.warns(UserWarning, match="no exact rule for functional activations"):
        attribute(Wrapped(net(), torch.sin), picture(), target=(1, (3, 3)), method="deep_lift")


def test_a_layer_without_maps_cannot_be_shown() -> None:
    model = nn.Sequential(net(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(
        ValueError, match=r"the attribution is \(1, 1\); it can be shown only for a layer that returns N"
    ):
        attribute(model, picture(), target=1, method="grad_cam", layer="2")


# The result ----------------------------------------------------------------------------------------------------------


def result(values: np.ndarray, region: np.ndarray, **options: Any) -> Attribution:
    image = np.zeros((*region.shape, 3), np.uint8)
    return Attribution(values, image, 1, "road", region, "mask", "saliency", "logits", 2.0, **options)


def test_maps_and_frame() -> None:
    values = np.array([[[1.0, -2.0]], [[-3.0, 1.0]]])
    entry = result(values, np.array([[True, False]]))
    assert entry.map().tolist() == [[-2, -1]]
    assert entry.map("abs").tolist() == [[4, 3]]
    assert entry.map("max").tolist() == [[3, 2]]
    with pytest.raises(ValueError, match="reduce='mean' is not known; allowed: sum, abs, max"):
        entry.map("mean")
    frame = entry.to_frame()
    assert frame["value"].tolist() == [1, -2, -3, 1]
    assert frame["channel"].tolist() == [0, 0, 1, 1]
    assert frame["column"].tolist() == [0, 1, 0, 1]
    assert set(frame["class_name"]) == {"road"}


def test_shares_over_distance_by_hand() -> None:
    values, region = np.zeros((1, 5, 7)), np.zeros((5, 7), bool)
    region[2, 3] = True
    values[0, 2, 3], values[0, 2, 5], values[0, 1, 4], values[0, 4, 6] = 4, -3, 2, 1
    entry = result(values, region)
    assert entry.share_within(0) == pytest.approx(0.4)
    assert entry.share_within(1.4) == pytest.approx(0.4)
    assert entry.share_within(1.5) == pytest.approx(0.6)
    assert entry.share_within(1, metric="chebyshev") == pytest.approx(0.6)
    assert entry.distance_holding(0.4) == 0
    assert entry.distance_holding(0.41) == pytest.approx(2**0.5)
    assert entry.distance_holding(0.9) == 2
    assert entry.distance_holding(1) == pytest.approx(13**0.5)
    assert entry.distance_holding(1, metric="chebyshev") == 3
    profile = entry.distance_profile()
    assert profile["distance"].tolist() == [0, 1, 2, 3, 4]
    assert profile["pixels"].tolist() == [1, 4, 8, 14, 8]
    np.testing.assert_allclose(profile["mass"], [0.4, 0, 0.5, 0, 0.1])
    np.testing.assert_allclose(profile["cumulative"], [0.4, 0.4, 0.9, 0.9, 1])
    np.testing.assert_allclose(profile["area"], np.cumsum([1, 4, 8, 14, 8]) / 35)
    square = entry.distance_profile(metric="chebyshev")
    assert square["pixels"].tolist() == [1, 8, 16, 10]
    assert entry.distance_profile(step=2)["pixels"].tolist() == [1, 12, 22]
    for wrong in (lambda: entry.distance_profile(step=0), lambda: entry.distance_holding(1.2)):
        with pytest.raises(ValueError, match=r"must be (above 0|from 0 to 1)"):
            wrong()


def test_shares_do_not_change_with_scale() -> None:
    values = np.random.default_rng(0).standard_normal((3, 6, 8))
    region = np.zeros((6, 8), bool)
    region[1:3, 2:4] = True
    one, other = (result(values * scale, region).distance_profile() for scale in (1, 1e-9))
    np.testing.assert_allclose(one, other, rtol=1e-9)


def test_units_of_a_layer_lie_in_the_middle_of_their_share_of_the_image() -> None:
    region = np.zeros((8, 8), bool)
    region[0:4, 0:4] = True
    entry = result(np.ones((1, 2, 2)), region, layer="stage4")
    np.testing.assert_allclose(entry.distances(metric="chebyshev"), [[0.5, 2.5], [2.5, 2.5]])


@pytest.mark.parametrize("metric", ["euclidean", "chebyshev"])
def test_distances_agree_with_all_pairs(metric: str) -> None:
    region = np.random.default_rng(3).random((13, 17)) < 0.04
    places = np.argwhere(region)
    offsets = np.abs(np.indices(region.shape).reshape(2, -1).T[:, None] - places[None])
    apart = offsets.max(axis=2) if metric == "chebyshev" else np.sqrt((offsets**2).sum(axis=2))
    np.testing.assert_allclose(distance_to_region(region, metric=metric), apart.min(axis=1).reshape(region.shape))


def test_distance_errors() -> None:
    with pytest.raises(ValueError, match="region is empty"):
        distance_to_region(np.zeros((2, 2), bool))
    with pytest.raises(ValueError, match="metric='manhattan' is not known; allowed: euclidean, chebyshev"):
        distance_to_region(np.ones((2, 2), bool), metric="manhattan")


def test_a_result_is_stored_and_read_again(tmp_path: Any) -> None:
    stored = attribute(net(), picture(), target=1, n_steps=3)
    assert Result.load(stored.save(tmp_path / "a.npz")) == stored


def test_the_shipped_network_is_complete_under_deep_lift() -> None:
    model = create_model("dwrseg_b", weights="camvid")
    image = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    name = model.card.class_names[int(maps_of(model, torch.zeros(3, 64, 96)).mean(dim=(1, 2)).argmax())]
    lift = attribute(model, image, target=(name, Box(20, 30, 40, 60)), method="deep_lift")
    assert lift.class_name == name
    assert abs(lift.delta) < 1e-3 * abs(lift.score - lift.baseline_score)
