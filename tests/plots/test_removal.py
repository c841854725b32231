"""Drops as dots with intervals, and as a map of classes: what is drawn is what was measured."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

from rfkit.plots.removal import plot_branch_removal, plot_class_drops, plot_drops
from rfkit.plots.styles import dilation_colour
from rfkit.results.removal import BranchRemoval, Removal

CLASSES = ("sky", "road", "car")


def removal(blocks: int = 1, *, level: str = "stage") -> BranchRemoval:
    steps = tuple(
        Removal(stage, f"{stage}.{block}" if level == "block" else "", f"d{rate}", rate, 1)
        for stage in ("stage2", "stage3")
        for block in range(blocks)
        for rate in (1, 3)
    )
    counts = np.random.default_rng(0).integers(0, 20, (1 + len(steps), 6, 3, 3))
    counts[0] += 60 * np.eye(3, dtype=int)
    counts[:, :, 2] = counts[:, :, :, 2] = 0  # No car anywhere.
    return BranchRemoval(level, steps, ("stage2", "stage3"), CLASSES, counts, "x", "val", None, "fp32", "x", 100, 0)


def test_a_dot_stands_at_each_drop_with_its_interval() -> None:
    result = removal()
    frame = result.to_frame()
    frame = frame[frame["class"] == ""]
    ax = plot_drops(result, ax=plt.figure().subplots())
    assert [label.get_text() for label in ax.get_xticklabels()] == ["stage2", "stage3"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["without d1", "without d3"]
    for container, rate in zip(ax.containers, (1, 3), strict=True):
        line, _, (bars,) = container
        rows = frame[frame["dilation"] == rate]
        np.testing.assert_allclose(line.get_ydata(), 100 * rows["drop"])
        assert line.get_color() == dilation_colour(rate)
        ends = np.array(bars.get_segments())[:, :, 1]
        np.testing.assert_allclose(ends, 100 * rows[["low", "high"]].to_numpy())
        assert np.abs(line.get_xdata() - np.arange(2)).max() < 0.5
    assert "points" in ax.get_ylabel()


def test_the_map_holds_every_drop_and_says_which_are_sure() -> None:
    result = removal()
    frame = result.to_frame()
    ax = plot_class_drops(result, ax=plt.figure().subplots())
    (image,) = ax.images
    table = frame.pivot_table(index="class", columns=["stage", "branch"], values="drop", dropna=False)
    np.testing.assert_allclose(image.get_array()[0].filled(np.nan), 100 * table.loc[""])
    np.testing.assert_allclose(image.get_array()[2].filled(np.nan), 100 * table.loc["road"])
    assert image.get_array().mask[3].all()
    assert image.norm.vmin == -image.norm.vmax
    assert [label.get_text() for label in ax.get_yticklabels()] == ["mIoU", *CLASSES]
    cells = [text for text in ax.texts if text.get_text() not in ("stage2", "stage3")]
    sure = frame[(frame["low"] > 0) | (frame["high"] < 0)]
    assert len(cells) == 12
    assert sum(text.get_fontweight() == "bold" for text in cells) == len(sure)
    assert 0 < len(sure) < 13


@pytest.mark.parametrize("kind", ["drops", "classes"])
def test_the_figure_has_a_title_and_room_for_many_blocks(kind: str) -> None:
    few = plot_branch_removal(removal(), kind=kind, title="probe, 40 epochs")
    many = plot_branch_removal(removal(8, level="block"), kind=kind)
    assert few.get_suptitle() == "probe, 40 epochs"
    assert many.get_figwidth() > few.get_figwidth()
    with pytest.raises(ValueError, match=r"kind='pie' is not known; allowed: drops, classes"):
        plot_branch_removal(removal(), kind="pie")
