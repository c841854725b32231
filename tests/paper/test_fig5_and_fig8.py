from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import nn

from rfkit.models.registry import create_model
from rfkit.models.weights import Card
from rfkit.paper import fig5_region_maps, fig8_branch_weights, fig8_dwrseg
from rfkit.results.base import Result


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


class StubContext:
    """A context whose networks were "trained" by scaling d1 in stage2."""

    seed, data_label = 0, "procedural scene"

    def __init__(self, epochs: float = 30) -> None:
        self.epochs = epochs

    def initial_model(self, name: str) -> nn.Module:
        return create_model(name, num_classes=3, seed=4, blocks=(1, 1, 1)).eval()

    def model(self, name: str) -> tuple[nn.Module, Card]:
        model = self.initial_model(name)
        if name == "probe_dwrseg_l":
            with torch.no_grad():
                model.stage2[0].merge.conv.weight[:, :64] *= 4
        card = Card(
            name, 3, data="camvid", split="trainval", seed=4, steps=870, epochs=self.epochs, horizon_epochs=600,
            size=(360, 480),
        )  # fmt: skip
        return model, card

    def images(self, count: int) -> list[Any]:
        image = torch.randint(0, 256, (3, 96, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        return [SimpleNamespace(image=image)] * count


def titles(figure: plt.Figure) -> list[str]:
    return [ax.get_title() for ax in figure.axes if ax.get_title()]


@pytest.mark.parametrize("module", [fig5_region_maps, fig8_branch_weights, fig8_dwrseg])
def test_results_survive_the_disk_and_have_a_frame(module: Any, tmp_path: Path) -> None:
    result = module.compute(StubContext())
    again = Result.load(result.save(tmp_path / "result.npz"))
    assert again == result
    frame = again.to_frame()
    assert 100 < len(frame) < 20_000
    assert module.NAME.startswith("fig")
    assert len(module.CAPTION) > 100


def test_fig8_shows_three_stages_the_initialisation_and_the_claims() -> None:
    result = fig8_branch_weights.compute(StubContext(600))
    figure = fig8_branch_weights.draw(result)
    assert titles(figure) == ["stage2 · 1 block", "stage3 · 1 block", "stage4 · 1 block"]
    assert figure._suptitle.get_text().replace("\n", " ") == (
        "probe_dwrseg_l, trained on CamVid trainval at 480x360: 600 epochs, 870 steps, seed 4"
    )
    assert "→ holds" in figure.axes[0].get_xlabel()
    assert "initial" in [patch.get_label() for patch in figure.axes[0].patches]
    frame = result.to_frame()
    assert set(frame[frame["series"] == "ratio"]["measure"]) == {"weight", "gain"}
    ratio = frame[(frame["ratio"] == "d1/d3") & (frame["stage"] == "stage2")]["value"].iloc[0]
    assert ratio == pytest.approx(4, rel=0.1)
    before = StubContext().initial_model("probe_dwrseg_l").stage2[0].merge.conv.weight.detach().abs().flatten().numpy()
    low = next(panel for panel in result.panels.panels if panel.name == "stage2")
    counts, _ = np.histogram(before, low.edges)
    np.testing.assert_allclose(low.initial, counts / len(before))


def test_fig8_of_a_short_training_decides_nothing_and_says_how_short() -> None:
    figure = fig8_branch_weights.draw(fig8_branch_weights.compute(StubContext(16.931)))
    assert "16.9 of 600 epochs" in figure._suptitle.get_text()
    assert all("→ undecided at 16.9 epochs" in ax.get_xlabel() for ax in figure.axes[:3])


def test_fig8_of_dwrseg_has_two_stages_and_no_claim() -> None:
    figure = fig8_dwrseg.draw(fig8_dwrseg.compute(StubContext(600)))
    assert titles(figure) == ["stage3 · 1 block", "stage4 · 1 block"]
    assert "claim" not in figure.axes[1].get_xlabel()
    assert "d5/d1 = " in figure.axes[1].get_xlabel()


def test_fig5_says_that_the_scene_is_procedural_and_the_weights_are_not() -> None:
    figure = fig5_region_maps.draw(fig5_region_maps.compute(StubContext()))
    assert (
        figure._suptitle.get_text()
        .replace("\n", " ")
        .startswith(
            "procedural scene, weights trained on CamVid trainval at 480x360: 30 of 600 epochs, 870 steps, seed 4"
        )
    )
    assert titles(figure)[0].startswith("stage2.0\nch ")
    assert len(titles(figure)) == 6
