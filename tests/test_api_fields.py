"""The one-line calls about receptive fields: what they compute, and what they draw."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.patches import Rectangle
from torch import nn

import rfkit


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    plt.close("all")


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 9, padding=4))


def _curve(figure: plt.Figure, index: int = 0) -> list[float]:
    return figure.axes[0].lines[index].get_ydata().tolist()


def test_growth_is_that_of_the_table(net: nn.Module) -> None:
    assert _curve(rfkit.plot_rf_growth(net, (3, 32, 48), image_size=None)) == [3, 11]


def test_networks_are_compared_by_name(net: nn.Module) -> None:
    figure = rfkit.plot_rf_growth({"whole": net, "first": net[:1]}, (32, 48), axis="row", title="Two")
    assert figure.get_suptitle() == "Two"
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert {"whole", "first"} <= set(labels)


def test_layers_without_a_size_of_their_own_are_left_out(net: nn.Module) -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, image):
            found = self.net(image)
            return found * found.mean((2, 3), keepdim=True).sigmoid()

    assert max(_curve(rfkit.plot_rf_growth(Gated(), (32, 48), image_size=None))) == 11


def test_the_box_of_a_unit_lies_on_the_image(net: nn.Module) -> None:
    image = torch.zeros(3, 32, 48, dtype=torch.uint8)
    figure = rfkit.plot_receptive_field(net, image, layers=["0", "output"], unit=(10, 20))
    boxes = [
        patch.get_bbox().bounds for patch in figure.axes[0].patches if isinstance(patch, Rectangle)
    ]  # fmt: skip
    assert (18.5, 8.5, 3, 3) in boxes
    assert (14.5, 4.5, 11, 11) in boxes


def test_stages_are_shown_by_default() -> None:
    model = rfkit.create_model("dwrseg_b", num_classes=3, seed=0, blocks=(1, 1, 1)).eval()
    figure = rfkit.plot_receptive_field(model, torch.zeros(3, 64, 96, dtype=torch.uint8))
    text = " ".join(text.get_text() for legend in figure.axes[0].get_children() for text in _texts(legend))
    for name in ("stage2", "stage3", "stage4", "output"):
        assert name in text


def _texts(artist: object) -> list:
    return artist.get_texts() if hasattr(artist, "get_texts") else []


def test_what_cannot_be_shown_is_said(net: nn.Module) -> None:
    image = torch.zeros(3, 32, 48, dtype=torch.uint8)
    with pytest.raises(ValueError, match="unit='corner' must be 'centre' or"):
        rfkit.plot_receptive_field(net, image, unit="corner")
    with pytest.raises(IndexError, match="outside the map"):
        rfkit.plot_receptive_field(net, image, unit=(40, 0))
    with pytest.raises(ValueError, match=r"layers=\[\] names no layer"):
        rfkit.plot_receptive_field(net, image, layers=[])
    with pytest.raises(ValueError, match="layer='9' is not known"):
        rfkit.plot_receptive_field(net, image, layers="9")


def test_effective_fields_have_a_panel_each(net: nn.Module) -> None:
    figure = rfkit.plot_erf(
        net, torch.rand(2, 3, 32, 48), layers=["0", "output"], unit=(4, 5), progress=False, plot={"title": "ERF"}
    )
    assert figure.get_suptitle() == "ERF"
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title().split()[0] for axes in panels] == ["0", "output"]
    assert np.isfinite(panels[1].images[0].get_array()).any()
