"""Running on a part of the image gives the numbers of the whole, or is not done."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rfkit.analysis.effective import effective_rf
from rfkit.models.registry import create_model
from rfkit.results.effective import EffectiveRF


def field(model: nn.Module, images: Tensor, **options: object) -> EffectiveRF:
    (found,) = effective_rf(model, images, progress=False, **options).values()
    return found


def image(height: int, width: int) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(height + width))


def dilated() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.Conv2d(6, 6, 3, padding=2, dilation=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(6, 6, (3, 5), padding=(3, 2), dilation=(3, 1)),
        nn.ReLU(inplace=True),
        nn.Conv2d(6, 4, 2, 2),
    ).double()


@pytest.mark.parametrize("size", [(131, 157), (128, 160), (97, 200)])
@pytest.mark.parametrize("unit", ["centre", (0, 0), (-1, -1), (0, -1), (-1, 3), (5, 0), [(2, 3), (6, 9)]])
def test_the_crop_gives_the_numbers_of_the_whole(size: tuple[int, int], unit: object) -> None:
    model, images = dilated(), image(*size).double()
    for layers in (None, "3"):
        cropped = field(model, images, layers=layers, unit=unit, crop=True)
        whole = field(model, images, layers=layers, unit=unit, crop=False)
        assert cropped.cropped
        assert (whole.cropped, whole.reason) == (False, "crop=False")
        assert cropped.crop is not None
        assert cropped.crop.height * cropped.crop.width < 0.8 * size[0] * size[1]
        assert (cropped.units, cropped.centre, cropped.map_size) == (whole.units, whole.centre, whole.map_size)
        np.testing.assert_allclose(cropped.map, whole.map, rtol=1e-6, atol=1e-15)


def test_layers_with_small_fields_run_on_small_crops() -> None:
    found = effective_rf(dilated(), image(131, 157).double(), layers=["0", "3", "output"], progress=False)
    areas = [entry.crop.height * entry.crop.width for entry in found.values() if entry.crop is not None]
    assert len(areas) == 3
    assert areas[0] < areas[1] < areas[2]


class Decoder(nn.Module):
    """An encoder, and back to the size of the image in one of several ways."""

    def __init__(self, up: object) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.down, self.deep = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 6, 3, 2, 1)
        self.head = nn.Conv2d(6, 2, 3, padding=1)
        self.up = up

    def forward(self, x: Tensor) -> Tensor:
        first = F.softplus(self.down(x))
        return self.head(self.up(F.softplus(self.deep(first)), first))


def _aligned(deep: Tensor, first: Tensor) -> Tensor:
    return F.interpolate(deep, first.shape[2:], mode="bilinear", align_corners=True) + first


def _unaligned(deep: Tensor, first: Tensor) -> Tensor:
    return F.interpolate(deep, first.shape[2:], mode="bilinear", align_corners=False) + first


def _doubled(deep: Tensor, first: Tensor) -> Tensor:
    return F.interpolate(deep, scale_factor=2, mode="nearest") + first


def _fixed(deep: Tensor, _first: Tensor) -> Tensor:
    return F.interpolate(deep, (64, 80), mode="bilinear")


def _coordinates(deep: Tensor, _first: Tensor) -> Tensor:
    rows = torch.linspace(0, 1, deep.shape[2], device=deep.device, dtype=deep.dtype)
    return F.softplus(deep + 3 * rows[:, None])


def _squeezed(deep: Tensor, _first: Tensor) -> Tensor:
    return deep * deep.mean((2, 3), keepdim=True).sigmoid()


def _dependent(deep: Tensor, _first: Tensor) -> Tensor:
    return deep.relu() if deep.shape[3] > 20 else deep.square()


@pytest.mark.parametrize(
    ("up", "size", "exact"),
    [
        (_unaligned, (128, 160), True),
        (_unaligned, (131, 157), False),  # 66 x 79 from 33 x 40: the scale is not 2.
        (_doubled, (128, 160), True),
        (_aligned, (128, 160), False),
        (_fixed, (128, 160), False),
        (_coordinates, (128, 160), False),
        (_squeezed, (128, 160), False),
        (_dependent, (128, 160), False),
    ],
)
@pytest.mark.parametrize("unit", [(12, 17), (0, 0), (-1, 5)])
def test_a_network_that_depends_on_the_size_is_not_cropped(
    up: object, size: tuple[int, int], exact: bool, unit: tuple[int, int]
) -> None:
    model, images = Decoder(up).double(), image(*size).double()
    found, whole = (field(model, images, unit=unit, crop=crop) for crop in ("auto", False))
    assert found.cropped == exact, found.reason
    assert bool(found.reason) != exact
    np.testing.assert_allclose(found.map, whole.map, rtol=1e-6, atol=1e-15)
    if not exact:
        with pytest.raises(ValueError, match="crop=True is not exact here: "):
            field(model, images, unit=unit, crop=True)


def test_the_reason_names_the_global_path_or_the_operation() -> None:
    with pytest.raises(ValueError, match=r"crop=True is not exact here: layer 'output' sees every pixel through a glo"):
        field(Decoder(_squeezed), image(128, 160), crop=True)
    for up, reason in (
        (_aligned, "its maps begin anew nowhere inside the image"),
        (_coordinates, "aten::linspace depends on the size of the image"),
        (_dependent, "aten::"),
    ):
        assert reason in field(Decoder(up), image(128, 160), unit=(5, 6)).reason


def test_a_reshaped_layer_is_not_cropped() -> None:
    assert "is reshaped" in field(nn.Conv2d(3, 2, 3), image(20, 20), reshape=lambda found: found).reason


def test_a_field_of_the_whole_image_needs_no_crop() -> None:
    found = field(dilated(), image(24, 24).double(), crop=True)
    assert (found.cropped, found.reason) == (False, "the theoretical field takes up the whole image.")


def test_dwrseg_gives_the_same_with_and_without_crop() -> None:
    model = create_model("dwrseg_b", seed=0, blocks=(1, 1, 1)).double()
    images = image(192, 256).double()
    found, whole = (
        effective_rf(model, images, layers=["stem", "stage2.0.region"], crop=crop, progress=False)
        for crop in ("auto", False)
    )
    for name in whole:
        assert found[name].cropped
        np.testing.assert_allclose(found[name].map, whole[name].map, rtol=1e-6, atol=1e-15)


class _Remembering(nn.Module):
    """Keeps a mask for the next image of the same size, as attention in windows often does."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        features = self.convolution(image)
        if not hasattr(self, "mask") or self.mask.shape != features.shape:
            self.mask = torch.ones_like(features)
        return features * self.mask


def test_what_a_network_keeps_while_a_crop_is_proven_does_not_reach_the_images() -> None:
    model, image = _Remembering(), torch.randn(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    found = effective_rf(model, image, progress=False)["output"]
    assert found.cropped
    assert not hasattr(model, "mask")
    whole = effective_rf(model, image, crop=False, progress=False)["output"]
    np.testing.assert_allclose(found.map, whole.map, rtol=1e-6)
