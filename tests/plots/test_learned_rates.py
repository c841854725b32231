"""Learned rates by block, read from the artists."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from rfkit.plots.learned_rates import (
    plot_agreement,
    plot_learned_rates,
    plot_learned_rates_by_block,
    plot_probe_by_block,
)
from rfkit.plots.styles import dilation_colour
from rfkit.results.dilation_rates import RateTrajectory
from rfkit.results.learned_rates import LearnedRates, RateRun
from rfkit.results.magnitudes import BranchMagnitudes

LAYERS = ("stage3.0.a", "stage3.0.b", "stage3.1.a", "stage4.0.a", "stage4.0.b")
STAGES = ("stage3", "stage3", "stage3", "stage4", "stage4")
BLOCKS = ("stage3.0", "stage3.0", "stage3.1", "stage4.0", "stage4.0")


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def network(*, probed: bool = True) -> LearnedRates:
    def run(start: str, first: list[float], last: list[float]) -> RateRun:
        rates, bounds = np.array([first, last], float), np.full((2, 5), 40.0)
        path = RateTrajectory(np.array([0, 8]), LAYERS, ("d1", "d3", "d1", "d1", "d3"), rates, bounds)
        return RateRun(start, 0, 0.5, path)

    runs = (run("own", [1, 3, 1, 1, 3], [2, 4, 1, 5, 7]), run("9", [9] * 5, [4, 6, 3, 9, 9]))
    rows = [
        (block[:6], block, dilation, measure, mean, mean, mean)
        for measure in ("weight", "gain")
        for block, means in {"stage3.0": (1, 1, 1), "stage3.1": (3, 2, 1), "stage4.0": (1, 2, 3)}.items()
        for dilation, mean in zip((1, 3, 5), means, strict=True)
    ]
    frame = pd.DataFrame(rows, columns=["stage", "block", "dilation", "measure", "mean", "low", "high"])
    means = BranchMagnitudes.from_frame(frame) if probed else None
    return LearnedRates("net", "camvid trainval", 180, 240, 2, 4, STAGES, BLOCKS, runs, means)


def dots(ax: plt.Axes, start: str) -> dict[str, tuple[float, float, str, str]]:
    found = {}
    for line in ax.lines:
        label = str(line.get_label())
        if label.startswith(f"_{start} "):
            (x,), (y,) = line.get_data()
            found[label.split()[1]] = (float(x), float(y), to_hex(line.get_color()), str(line.get_marker()))
    return found


def test_each_dot_is_a_rate_in_its_block_and_the_line_leads_from_its_start() -> None:
    ax = plot_learned_rates_by_block(network())
    own, nine = dots(ax, "own"), dots(ax, "9")
    assert [own[layer][1] for layer in LAYERS] == [2, 4, 1, 5, 7]
    assert [nine[layer][1] for layer in LAYERS] == [4, 6, 3, 9, 9]
    assert [round(nine[layer][0]) for layer in LAYERS] == [0, 0, 1, 2, 2]
    assert all(own[layer][0] < nine[layer][0] for layer in LAYERS)
    assert {entry[2] for entry in nine.values()} == {dilation_colour(9)}
    assert {entry[2] for entry in own.values()} == {"#222222"}
    assert [own[layer][3] for layer in LAYERS] == ["o", "s", "o", "o", "s"]
    spans = {tuple(line.get_ydata()) for line in ax.lines if len(line.get_ydata()) == 2}
    assert {(1, 2), (9, 4), (3, 7), (9, 9)} <= spans
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "1", "0"]
    assert [text.get_text() for text in ax.texts] == ["block of stage3", "block of stage4"]
    assert "units of the map" in ax.get_ylabel()


def test_the_map_is_marked_in_its_stage_alone() -> None:
    ax = plot_learned_rates_by_block(network(), maps={"stage3": (12, 15), "stage4": (6, 8), "stage2": (1, 1)})
    (beyond,) = [part for part in ax.collections if part.get_label() == "_beyond the map"]
    box = beyond.get_paths()[0].get_extents()
    # stage3's maps are larger than all that is shown.
    assert (box.x0, box.x1, box.y0) == (1.5, 2.5, 8)
    assert box.y1 == ax.get_ylim()[1]
    sides = [part.get_segments()[0] for part in ax.collections if part.get_label() == "_map"]
    assert sorted(float(segment[0][1]) for segment in sides) == [6, 8]


def test_references_stand_in_a_column_of_their_own() -> None:
    ax = plot_learned_rates_by_block(network(), reference={"stage3.1": (2, 14), "stage9.0": (3,)})
    (line,) = [line for line in ax.lines if line.get_label() == "_reference"]
    assert list(line.get_ydata()) == [2, 14]
    assert max(entry[0] for entry in dots(ax, "9").values() if round(entry[0]) == 1) < line.get_xdata()[0] < 1.5
    assert ax.get_ylim()[1] > 14


def test_the_probe_is_shown_against_the_mean_of_its_block() -> None:
    ax = plot_probe_by_block(network())
    values = np.asarray(ax.collections[0].get_array()).reshape(3, 3)
    assert values == pytest.approx(np.array([[0, 50, -50], [0, 0, 0], [0, -50, 50]]))
    (mean,) = [line for line in ax.lines if line.get_label() == "_mean dilation rate"]
    assert np.asarray(mean.get_ydata()) == pytest.approx([3, (3 + 6 + 5) / 6, (1 + 6 + 15) / 6])
    assert ax.collections[0].norm.vmin == -ax.collections[0].norm.vmax
    with pytest.raises(ValueError, match="probe=None: no probe was trained beside these rates"):
        plot_probe_by_block(network(probed=False))
    with pytest.raises(ValueError, match="measure='size' is not known"):
        plot_probe_by_block(network(), measure="size")


def test_agreement_of_ranks_by_hand() -> None:
    rates = network()
    told = rates.beside_probe()
    # Means over branches and starts: (2 + 4 + 4 + 6) / 4, (1 + 3) / 2, (5 + 7 + 9 + 9) / 4.
    assert told["rate"].tolist() == [4, 2, 7.5]
    assert told[["low", "high"]].to_numpy().tolist() == [[3, 5], [1, 3], [6, 9]]
    found = rates.agreement(resamples=300)
    # Both rank the blocks 2, 1, 3.
    assert found.value == pytest.approx(1)
    assert found.low <= found.high <= 1 + 1e-9
    ax = plot_agreement(rates, found)
    shown = {(round(x, 3), y) for line in ax.lines for x, y in zip(*line.get_data(), strict=True)}
    assert shown == {(3.0, 4.0), (2.333, 2.0), (3.667, 7.5)}
    assert ax.get_title().startswith("rank correlation 1.00")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["stage3", "stage4"]



def test_a_row_a_network_and_no_panel_without_a_probe() -> None:
    figure = plot_learned_rates(
        [network(), network(probed=False)], notes={"net": "starts stay apart"}, references={"net": {"stage3.0": (2,)}},
        reference_name="a list",
    )  # fmt: skip
    titled = [ax.get_title(loc="left") for ax in figure.axes if ax.get_title(loc="left")]
    assert titled.count("net, camvid trainval at 240x180, 2 epochs, seed 0") == 2
    assert titled.count("probe: which rates a block listens to") == 1
    left, probe = figure.axes[0], figure.axes[1]
    assert left.get_xlabel() == "starts stay apart"
    assert left.get_ylim() == probe.get_ylim()
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == [
        "begin with own rates", "all begin with 9", "branch 1", "branch 2", "height and width of the map", "a list"
    ]  # fmt: skip
