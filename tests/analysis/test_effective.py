"""The effective receptive field: closed forms, hand-worked gradients, other libraries, bad input."""

from __future__ import annotations

import copy
import math
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rfkit.analysis.effective import effective_rf
from rfkit.models.registry import create_model
from rfkit.results.base import Result
from rfkit.results.effective import EffectiveRF


def field(model: nn.Module, images: object, **options: object) -> EffectiveRF:
    """The only field of a call."""
    (found,) = effective_rf(model, images, progress=False, **options).values()
    return found


def uniform(kernel: int, count: int, *, dilation: int = 1, stride: int = 1) -> nn.Sequential:
    convs = [
        nn.Conv2d(1, 1, kernel, stride, dilation * (kernel // 2), dilation, bias=False).double() for _ in range(count)
    ]
    for conv in convs:
        nn.init.constant_(conv.weight, 1 / kernel**2)
    return nn.Sequential(*convs)


def small(width: int = 4) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, width, 3, 2, 1),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, width, 3, padding=2, dilation=2),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, 2, 1),
    )


IMAGES = torch.rand(3, 3, 24, 30, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("count", "sigma"), [(5, 1.8257), (10, 2.5820), (20, 3.6515), (40, 5.1640)])
def test_a_stack_of_uniform_convolutions_has_the_closed_form_width(count: int, sigma: float) -> None:
    fit = field(uniform(3, count), torch.rand(1, 99, 101, dtype=torch.double)).gaussian()
    assert fit.moment_sigma_y == pytest.approx(math.sqrt(count * 8 / 12), rel=1e-9)
    assert fit.moment_sigma_x == pytest.approx(sigma, abs=5e-5)
    assert fit.moment_centre == pytest.approx((49, 50))
    assert fit.sigma_y == pytest.approx(sigma, rel=0.05)
    assert fit.r2 > 0.999


@pytest.mark.parametrize("dilation", [1, 2, 5])
@pytest.mark.parametrize("kernel", [3, 5])
def test_a_dilation_multiplies_the_variance_by_its_square(kernel: int, dilation: int) -> None:
    fit = field(uniform(kernel, 2, dilation=dilation), torch.rand(1, 61, 61, dtype=torch.double)).gaussian()
    assert fit.moment_sigma_y == pytest.approx(dilation * math.sqrt(2 * (kernel**2 - 1) / 12), rel=1e-9)


def test_a_stride_multiplies_the_variance_of_what_follows_by_its_square() -> None:
    found = field(uniform(3, 3, stride=2), torch.rand(1, 65, 65, dtype=torch.double))
    assert found.gaussian().moment_sigma_x == pytest.approx(math.sqrt((1 + 4 + 16) * 8 / 12), rel=1e-9)


@pytest.mark.parametrize("reduce", ["abs", "relu", "square", "signed"])
def test_the_map_is_the_mean_over_images_of_the_reduced_gradient(reduce: str) -> None:
    model = small().eval()
    found = field(model, IMAGES, unit=(4, 5), reduce=reduce, channels=1)
    total = torch.zeros(24, 30, dtype=torch.double)
    for image in IMAGES:
        leaf = image[None].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(model(leaf)[0, 1, 4, 5], leaf)
        if reduce != "signed":
            gradient = {"abs": gradient.abs(), "relu": gradient.relu(), "square": gradient**2}[reduce]
        total += gradient[0].double().sum(dim=0)
    assert found.map.dtype == np.float64
    np.testing.assert_allclose(found.map, total / 3, rtol=1e-5, atol=1e-12)
    assert (found.images, found.channels, found.units) == (3, (1,), ((4, 5),))


def test_it_agrees_with_captum_for_one_unit() -> None:
    from captum.attr import NeuronGradient

    model = create_model("dwrseg_b", seed=0).eval()
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(2)).requires_grad_()
    theirs = NeuronGradient(model, model.stage3[1]).attribute(image, neuron_selector=(7, 2, 3))
    ours = field(model, image.detach(), layers="stage3.1", unit=(2, 3), channels=7, reduce="signed")
    np.testing.assert_allclose(ours.map, theirs[0].sum(dim=0).detach().numpy(), rtol=1e-4, atol=1e-8)


def test_the_centre_unit_is_the_one_that_looks_at_the_middle_of_the_image() -> None:
    # Units look at pixels 0, 4, 8, 12; the middle of the image is 7.5, the middle of the map lies between 1 and 2.
    conv = nn.Conv2d(1, 1, 1, stride=4)
    found = field(conv, torch.rand(1, 16, 16))
    assert (found.units, found.centre, found.placement) == (((2, 2),), (8.0, 8.0), "graph")
    assert np.argwhere(found.map).tolist() == [[8, 8]]


def test_several_layers_come_in_the_order_of_the_model_and_the_output_last() -> None:
    found = effective_rf(small(), IMAGES, layers=["output", "3", "[01]"], progress=False)
    assert list(found) == ["0", "1", "3", "output"]
    assert [entry.layer for entry in found.values()] == list(found)
    np.testing.assert_array_equal(found["output"].map, field(small(), IMAGES).map)
    np.testing.assert_allclose(found["3"].map, field(small(), IMAGES, layers="3").map, rtol=1e-6)


def test_a_relu_in_place_leaves_the_layer_before_it_alone() -> None:
    plain = small()
    for index in (2, 4):
        plain[index] = nn.ReLU()
    for layer in ("1", "3"):
        np.testing.assert_array_equal(field(small(), IMAGES, layers=layer).map, field(plain, IMAGES, layers=layer).map)
    assert (field(small(), IMAGES, layers="3").map != field(small(), IMAGES, layers="4").map).any()


def test_a_network_that_writes_into_its_input_leaves_the_images_alone() -> None:
    class Shifting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x.sub_(0.5))

    images = IMAGES.clone()
    assert field(Shifting(), images, crop=False).map.any()
    torch.testing.assert_close(images, IMAGES)


def test_units_of_a_mask_are_added_up_and_units_of_a_list_are_not() -> None:
    model, units = small(), [(1, 2), (9, -1)]
    mask = np.zeros((12, 15), bool)
    mask[1, 2] = mask[9, 14] = True
    single = [field(model, IMAGES, unit=unit, reduce="signed") for unit in units]
    summed = field(model, IMAGES, unit=mask, reduce="signed")
    listed = field(model, IMAGES, unit=units, reduce="signed")
    np.testing.assert_allclose(summed.map, single[0].map + single[1].map, atol=1e-7)
    np.testing.assert_allclose(listed.map, (single[0].map + single[1].map) / 2, atol=1e-7)
    assert summed.units == listed.units == ((1, 2), (9, 14))
    assert [part.unit for part in listed.parts] == [(1, 2), (9, 14)]
    assert (summed.parts, summed.unit) == ((), None)
    np.testing.assert_allclose(listed.parts[1].map, single[1].map, atol=1e-7)
    assert listed.box is not None
    assert (listed.box.y0, listed.box.x0) == (0, 0)
    same = field(model, IMAGES, unit=torch.from_numpy(mask), reduce="signed")
    np.testing.assert_array_equal(same.map, summed.map)


@pytest.mark.parametrize("batch_size", [2, 3, 8])
def test_batches_give_the_same_as_one_image_at_a_time(batch_size: int) -> None:
    np.testing.assert_allclose(
        field(small(), IMAGES, batch_size=batch_size).map, field(small(), IMAGES).map, rtol=1e-5, atol=1e-10
    )


def test_images_may_come_from_anywhere() -> None:
    @dataclass
    class Sample:
        image: Tensor

    expected = field(small(), IMAGES).map
    pairs = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(IMAGES, torch.zeros(3)), batch_size=2)
    for images in (
        list(IMAGES),
        (image for image in IMAGES),
        pairs,
        [Sample(image) for image in IMAGES],
        ({"pixel_values": image} for image in IMAGES),
    ):
        found = field(small(), images)
        assert found.images == 3
        np.testing.assert_allclose(found.map, expected, rtol=1e-6)


def test_memory_does_not_grow_with_the_number_of_images() -> None:
    alive: list[weakref.ref[Tensor]] = []
    most = 0

    def many() -> Iterator[Tensor]:
        nonlocal most
        for _ in range(12):
            image = torch.rand(3, 24, 30)
            alive.append(weakref.ref(image))
            most = max(most, sum(entry() is not None for entry in alive))
            yield image
            del image

    assert field(small(), many(), batch_size=2).images == 12
    # The one at hand, and those of the batch before.
    assert most <= 4


def test_8_bit_images_are_normalised() -> None:
    model = small()
    image = torch.randint(0, 256, (3, 24, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normalised = (image / 255 - mean[:, None, None]) / deviation[:, None, None]
    np.testing.assert_allclose(field(model, image).map, field(model, normalised).map, rtol=1e-6)


class Returning(nn.Module):
    """A network whose output takes any form."""

    def __init__(self, form: object) -> None:
        super().__init__()
        self.net, self.form = small(), form

    def forward(self, x: Tensor) -> object:
        return self.form(self.net(x), x)


@dataclass
class _ModelOutput(OrderedDict):
    loss: Tensor | None = None
    logits: Tensor | None = None


@pytest.mark.parametrize(
    ("form", "output"),
    [
        (lambda scores, x: {"out": scores, "aux": x}, None),
        (lambda scores, x: {"aux": x, "out": scores}, "out"),
        (lambda scores, x: (x.argmax(1), scores), None),
        (lambda scores, x: (x, scores), 1),
        (lambda scores, x: [x, {"deep": scores}], lambda value: value[1]["deep"]),
        (lambda scores, x: _ModelOutput(logits=scores), "logits"),
        (lambda scores, x: torch.return_types.max((scores, x)), "values"),
    ],
)
def test_the_output_may_be_a_dictionary_a_tuple_or_an_object(form: object, output: object) -> None:
    found = field(Returning(form), IMAGES, output=output)
    np.testing.assert_allclose(found.map, field(small(), IMAGES).map, rtol=1e-6)


@pytest.mark.parametrize(
    ("output", "message"),
    [("mask", r"output='mask' is not an entry of the dict returned; it has 'out', 'aux'"), (3, "output=3 is not an")],
)
def test_a_missing_part_of_the_output_is_an_error(output: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        field(Returning(lambda scores, x: {"out": scores, "aux": x}), IMAGES, output=output)


def test_an_output_without_a_tensor_is_an_error() -> None:
    with pytest.raises(ValueError, match="without a tensor of a floating type"):
        field(Returning(lambda scores, x: {"labels": scores.argmax(1)}), IMAGES)


def classifier() -> nn.Sequential:
    return nn.Sequential(small(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 5))


def test_a_class_score_has_a_field_of_the_whole_image() -> None:
    found = field(classifier(), IMAGES, channels=3, reduce="signed")
    every = field(classifier(), IMAGES, reduce="signed")
    assert (found.map_size, found.units, found.centre, found.cropped) == ((1, 1), ((0, 0),), (11.5, 14.5), False)
    parts = [field(classifier(), IMAGES, channels=index, reduce="signed").map for index in range(5)]
    np.testing.assert_allclose(sum(parts), every.map, atol=1e-7)
    np.testing.assert_allclose(field(classifier(), IMAGES, channels=[0, 1], reduce="signed").map, parts[0] + parts[1],
                               atol=1e-7)  # fmt: skip


def test_tokens_become_a_map_by_reshape() -> None:
    def tokens(scores: Tensor, _x: Tensor) -> Tensor:
        return scores.flatten(2).mT

    expected = field(small(), IMAGES, unit=(3, 4)).map
    for form, reshape in (
        (tokens, (12, 15)),
        (tokens, lambda found: found.mT.unflatten(2, (12, 15))),
        (tokens, {"output": (12, 15)}),
        (lambda scores, _x: scores.permute(0, 2, 3, 1), "NHWC"),
        (lambda scores, _x: F.pad(tokens(scores, _x), (0, 0, 1, 0)),
         lambda found: found[:, 1:].mT.unflatten(2, (12, 15))),
    ):  # fmt: skip
        found = field(Returning(form), IMAGES, unit=(3, 4), reshape=reshape)
        assert found.map_size == (12, 15)
        np.testing.assert_allclose(found.map, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("reshape", "message"),
    [
        (None, r"'output' returns \(1, 180, 2\), which looks like tokens N L C: say .* reshape=\(height, width\)"),
        ((12, 14), r"reshape=\(12, 14\) makes 168 tokens, but layer 'output' returns \(1, 180, 2\)"),
        ((1, 179), r"If 1 class tokens come first, drop them"),
        ("NLC", "reshape='NLC' is not known; allowed: 'NHWC'"),
        (lambda found: found, r"reshape returned \(1, 180, 2\) .* must be N C H W"),
    ],
)
def test_tokens_without_a_fitting_reshape_are_an_error(reshape: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        field(Returning(lambda scores, _x: scores.flatten(2).mT), IMAGES, reshape=reshape, crop=False)


class Dying(nn.Module):
    def __init__(self, ending: object) -> None:
        super().__init__()
        self.conv, self.ending = nn.Conv2d(3, 2, 3, padding=1), ending

    def forward(self, x: Tensor) -> Tensor:
        return self.ending(self.conv(x))


def _without_gradients(x: Tensor) -> Tensor:
    with torch.no_grad():
        return x * 2


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        (lambda x: F.relu(x - 1e3), r"of unit \(12, 15\) of layer 'output' is zero .* dead ReLU"),
        (lambda x: (x - 1e3).relu() + 1, "zero at every pixel of all 3 images: something between"),
        (
            lambda x: x.detach(),
            r"unit \(12, 15\) of layer 'output' is not connected to the input by gradients: .*no_gr",
        ),
        (_without_gradients, "is not connected to the input"),
        (lambda x: (x - x).sqrt(), "is NaN or infinite on image 0"),
        (lambda x: x.softmax(1), "channels of .* add up to a constant, as behind a softmax"),
        (lambda x: x - x.mean(1, keepdim=True), "choose one or some of them with channels="),
    ],
)
def test_a_gradient_that_is_none_is_an_error_that_says_why(ending: object, message: str) -> None:
    model = Dying(ending)
    with pytest.raises(ValueError, match=message):
        field(model, IMAGES, unit=(12, 15), crop=False)
    assert not any(module._forward_hooks for module in model.modules())


def test_a_gradient_that_is_nowhere_positive_is_an_error_for_relu() -> None:
    conv = nn.Conv2d(3, 1, 1)
    nn.init.constant_(conv.weight, -1)
    with pytest.raises(ValueError, match="nowhere positive, so reduce='relu' leaves nothing"):
        field(conv, torch.ones(3, 8, 8), reduce="relu")


def test_nan_names_the_image() -> None:
    images = IMAGES.clone()
    images[2] = float("nan")
    with pytest.raises(ValueError, match="NaN or infinite on image 2"):
        field(nn.Sequential(small(), nn.Softplus()), images, batch_size=2, channels=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit": (12, 0)}, r"unit=\(12, 0\) is outside the map of layer 'output', 12 x 15 units"),
        ({"unit": (0, -16)}, "outside the map"),
        ({"unit": "middle"}, "unit='middle' is not known; allowed: 'centre'"),
        ({"unit": []}, "names no unit"),
        ({"unit": [(1, 2, 3)]}, "is not a .row, column. of whole numbers"),
        ({"unit": (1.5, 2)}, "is not a .row, column. of whole numbers"),
        ({"unit": np.ones((3, 3), bool)}, r"mask is \(3, 3\), but the map of layer 'output' is 12 x 15"),
        ({"unit": np.zeros((12, 15), bool)}, "holds no unit"),
        ({"channels": 2}, "channels: 2 is not a channel of layer 'output', which has 0 to 1"),
        ({"layers": "9"}, "layers='9' is not known"),
        ({"layers": []}, "names no layer"),
        ({"reduce": "max"}, "reduce='max' is not known; allowed: abs, relu, square, signed"),
        ({"crop": "yes"}, "crop='yes' is not known; allowed: 'auto', True, False"),
        ({"batch_size": 0}, "batch_size=0 must be above 0"),
    ],
)
@pytest.mark.parametrize("crop", [False, "auto"])
def test_bad_arguments_are_named(options: dict[str, object], message: str, crop: object) -> None:
    with pytest.raises(ValueError, match=message):
        field(small(), IMAGES, **{"crop": crop, **options})


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        ([], ValueError, "images: got none"),
        ([torch.rand(3, 8, 8), torch.rand(3, 8, 9)], ValueError, r"sizes differ, \(3, 8, 8\) and \(3, 8, 9\)"),
        (["a.png"], TypeError, "an entry is a str"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), TypeError, "images are of torch.int64"),
    ],
)
def test_bad_images_are_named(images: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        field(small(), images)


def test_a_layer_that_does_not_run_is_an_error() -> None:
    model = small()
    model.forward = model[0].forward  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="layers: '3' did not run"):
        field(model, IMAGES, layers="3")


def test_half_precision_is_refused() -> None:
    with pytest.raises(ValueError, match=r"torch.bfloat16; gradients are taken in full precision only: give model.fl"):
        field(small().bfloat16(), IMAGES)


def test_a_caller_s_autocast_and_no_grad_change_nothing() -> None:
    expected = field(small(), IMAGES).map
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_array_equal(field(small(), IMAGES).map, expected)


@pytest.mark.parametrize("failing", [False, True])
def test_the_model_is_left_as_it_was_found(failing: bool) -> None:
    model = nn.Sequential(small(), nn.Dropout(0.5))
    model.train()
    model[0][1].eval()
    model[0][0].weight.requires_grad_(False)
    model[0][3].bias.grad = torch.ones(4)
    before = copy.deepcopy(model)
    state = torch.get_rng_state()
    options = {"unit": (50, 50)} if failing else {}
    try:
        effective_rf(model, IMAGES, layers=["0.1", "output"], progress=False, **options)
        assert not failing
    except ValueError:
        assert failing
    assert torch.equal(torch.get_rng_state(), state)
    for one, other in zip(model.modules(), before.modules(), strict=True):
        assert one.training == other.training
        assert not one._forward_hooks
        assert not one._forward_pre_hooks
        assert not one._backward_hooks
    for (name, one), other in zip(model.named_parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(one, other)
        assert one.requires_grad == other.requires_grad
        assert (one.grad is None) == (name != "0.3.bias")
    torch.testing.assert_close(dict(model.named_buffers()), dict(before.named_buffers()))
    torch.testing.assert_close(model[0][3].bias.grad, torch.ones(4))


def test_the_result_survives_a_file_and_becomes_a_frame(tmp_path: object) -> None:
    found = field(small(), IMAGES, unit=[(1, 2), (3, 4)])
    assert Result.load(found.save(tmp_path / "field.npz")) == found
    frame = found.to_frame()
    assert list(frame.columns) == ["layer", "branch", "y", "x", "value"]
    assert len(frame) == 24 * 30
    row = frame[(frame["y"] == 5) & (frame["x"] == 7)]
    assert row["value"].item() == found.map[5, 7]


def test_a_field_of_dwrseg_lies_in_its_box() -> None:
    model = create_model("dwrseg_b", seed=0, blocks=(1, 1, 1))
    images = torch.rand(2, 3, 96, 160, generator=torch.Generator().manual_seed(1))
    found = effective_rf(model, images, layers=["stem", "stage2", "stage3"], progress=False)
    for entry in found.values():
        assert entry.box is not None
        inside = np.zeros(entry.image_size, bool)
        inside[entry.box.slices()] = True
        assert not entry.map[~inside].any()
        assert entry.map[inside].any()
    assert [entry.stride for entry in found.values()] == [(4.0, 4.0), (8.0, 8.0), (16.0, 16.0)]


def test_a_global_path_makes_the_image_the_box_and_leaves_the_unit_where_it_looks() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = small()

        def forward(self, x: Tensor) -> Tensor:
            found = self.net(x)
            return found * found.mean((2, 3), keepdim=True).sigmoid()

    found = field(Gated(), IMAGES)
    assert found.is_global
    assert not found.cropped
    assert found.box is not None
    assert (found.box.height, found.box.width) == (24, 30)
    assert (found.units, found.centre, found.placement) == (((6, 7),), (12.0, 14.0), "graph")
    assert found.map.all()


def test_units_are_placed_in_proportion_where_the_trace_fails() -> None:
    class Looking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x).sort(dim=3).values

    found = field(Looking(), torch.rand(3, 16, 20), unit=(1, 2))
    assert (found.placement, found.centre, found.box, found.stride) == ("proportion", (5.5, 9.5), None, None)
    assert "is not known" in found.reason
