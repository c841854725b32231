from __future__ import annotations

from collections.abc import Iterator

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import StepPatch

from rfkit.plots.branches import plot_branch_pmf, plot_branch_weights
from rfkit.plots.distributions import BranchPanels, cumulative, distributions
from rfkit.plots.styles import dilation_colour
from rfkit.results.branches import BlockWeights, BranchStatistic, BranchWeights, Claim, Ratio


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def weights(
    *, scale: float = 1.0, dilations: tuple[int, ...] = (1, 3, 5), stages: tuple[str, ...] = ("stage2", "stage3"),
    width: int = 30, seed: int = 0, measure: str = "weight",
) -> BranchWeights:  # fmt: skip
    generator = np.random.default_rng(seed)
    blocks = tuple(
        BlockWeights(
            stage=stage,
            block=f"{stage}.{index}",
            merge=f"{stage}.{index}.merge",
            convolutions=tuple(f"c{rate}" for rate in dilations),
            dilations=dilations,
            branch_of_input=np.repeat(np.arange(len(dilations)), width),
            weight=scale * generator.standard_normal((20, width * len(dilations))),
            gain=generator.standard_normal(width * len(dilations)),
            gates=(),
            contribution=generator.random((len(dilations), 20)),
        )
        for stage in stages
        for index in range(2)
    )
    return BranchWeights(measure, blocks, stages)


def filled(ax: plt.Axes) -> list[StepPatch]:
    return [patch for patch in ax.patches if isinstance(patch, StepPatch) and patch.get_fill()]


def test_the_bars_of_every_branch_sum_to_one_on_shared_edges_in_the_branches_colours() -> None:
    figure = plot_branch_weights(weights())
    left, right = figure.axes[:2], figure.axes[2:]
    assert [ax.get_title() for ax in left] == ["stage2 · 2 blocks", "stage3 · 2 blocks"]
    for ax in left:
        bars = filled(ax)
        assert [bar.get_label() for bar in bars] == ["d1", "d3", "d5"]
        assert len({bar.get_data().edges.tobytes() for bar in bars}) == 1
        for bar, rate in zip(bars, (1, 3, 5), strict=True):
            assert len(bar.get_data().values) == 50
            assert bar.get_data().values.sum() == pytest.approx(1)
            assert to_hex(bar.get_facecolor()) == dilation_colour(rate)
        assert ax.get_xlabel() == "|w| of the 1×1 convolution"
    assert left[0].get_ylabel() == "share of weights per bin (PMF, steps)"
    for ax in right:
        assert ax.get_ylim() == (0, 1)
        assert [to_hex(line.get_color()) for line in ax.lines] == [dilation_colour(rate) for rate in (1, 3, 5)]
        assert len({str(line._dash_pattern) for line in ax.lines}) == 3
    assert right[-1].get_ylabel() == "cumulative share (CDF, curves)"


def test_the_curves_are_the_empirical_distribution_and_the_triangles_the_means() -> None:
    result = weights(width=10)
    figure = plot_branch_weights(result)
    pooled = result.pooled("stage2")
    left, right = figure.axes[0], figure.axes[2]
    for line, values in zip(right.lines, pooled.values(), strict=True):
        for x, share in zip(line.get_xdata()[1:-1], line.get_ydata()[1:-1], strict=True):
            assert share == pytest.approx((values <= x).mean())
    means = [line.get_xdata()[0] for line in left.lines if line.get_marker() == "v"]
    assert means == [pytest.approx(values.mean()) for values in pooled.values()]


def test_before_training_is_one_thin_dashed_line_and_in_the_legend() -> None:
    figure = plot_branch_weights(weights(), initial=weights(seed=1))
    (line,) = [patch for patch in figure.axes[0].patches if patch.get_label() == "initial"]
    assert line.get_linestyle() != "-"
    assert line.get_linewidth() < 1
    assert line.get_data().values.sum() == pytest.approx(1)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["d1 (dilation 1)", "d3 (dilation 3)", "d5 (dilation 5)", "mean", "before training, all branches"]
    assert len(plot_branch_weights(weights()).legends[0].get_texts()) == 4


def test_what_lies_beyond_the_axis_before_training_does_not_flatten_the_bars() -> None:
    figure = plot_branch_weights(weights(), initial=weights(seed=1, scale=50.0))
    highest = max(bar.get_data().values.max() for bar in filled(figure.axes[0]))
    (line,) = [patch for patch in figure.axes[0].patches if patch.get_label() == "initial"]
    assert line.get_data().values[-1] > 5 * highest
    assert figure.axes[0].get_ylim()[1] == pytest.approx(1.05 * highest)


def test_nothing_lies_on_anything_else() -> None:
    statistic = BranchStatistic("weight", (), (Claim("stage2", "d1/d3 and d1/d5 above 1.5", "fails", ()),), 600, 10, 0)
    for stages in (("a",), ("stage2", "stage3"), ("stage2", "stage3", "stage4")):
        figure = plot_branch_weights(
            weights(stages=stages), initial=weights(stages=stages, seed=1), title="a title " * 15,
            statistic=statistic if "stage2" in stages else None,
        )  # fmt: skip
        figure.canvas.draw()
        renderer = figure.canvas.get_renderer()
        boxes = [ax.get_tightbbox(renderer) for ax in figure.axes[: len(stages)]]
        boxes += [figure.legends[0].get_window_extent(renderer), figure._suptitle.get_window_extent(renderer)]
        for index, box in enumerate(boxes):
            assert box.x0 >= -1
            assert box.x1 <= figure.bbox.width + 1
            assert not any(box.padded(-1).overlaps(other) for other in boxes[index + 1 :])


def test_the_statistic_is_written_below_its_panel() -> None:
    ratio = Ratio("stage2", "d1/d3", 1.0, 0.995, 12.0)
    statistic = BranchStatistic(
        "weight",
        (Ratio("stage3", "d3/d1", 0.5, 0.4, 0.6), Ratio("stage3", "d1/d3", 2.0, 1.0, 3.0)),
        (Claim("stage2", "d1/d3 above 1.5", "undecided at 30 epochs", (ratio,)),),
        30,
        100,
        0,
    )
    figure = plot_branch_weights(weights(), statistic=statistic, title="CamVid, 30 epochs, seed 0")
    assert figure.axes[0].get_xlabel().split("\n")[2:] == [
        "claim: d1/d3 above 1.5",
        "d1/d3 = 1.000 [0.995, 12.0]",
        "→ undecided at 30 epochs",
    ]
    assert figure.axes[1].get_xlabel().split("\n")[2:] == ["d3/d1 = 0.500 [0.400, 0.600]"]
    assert figure._suptitle.get_text() == "CamVid, 30 epochs, seed 0"


def test_small_multiples_have_a_panel_a_block() -> None:
    figure = plot_branch_weights(weights(), kind="blocks")
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert titles == ["stage2.0", "stage2.1", "stage3.0", "stage3.1"]
    assert sum(patch.get_data().values.sum() for patch in filled(figure.axes[0])) == pytest.approx(3)


@pytest.mark.parametrize(
    ("measure", "label", "counted"),
    [("gain", "|w| · |γ| of the 1×1 convolution", "weights"),
     ("contribution", "std of a branch's part of the output\n(feature units)", "output channels")],
)  # fmt: skip
def test_other_measures_say_what_they_are(measure: str, label: str, counted: str) -> None:
    figure = plot_branch_weights(weights(), measure=measure)
    assert figure.axes[0].get_xlabel() == label
    assert counted in figure.axes[0].get_ylabel()
    assert plot_branch_weights(weights(measure=measure)).axes[0].get_xlabel() == label


def test_a_logarithmic_axis_has_equal_bins_in_the_logarithm_and_loses_no_zero() -> None:
    result = weights()
    result.blocks[0].weight[:, 0] = 0
    figure = plot_branch_weights(result, log=True, bins=20)
    ax = figure.axes[0]
    assert ax.get_xscale() == "log"
    steps = np.diff(np.log(filled(ax)[0].get_data().edges))
    np.testing.assert_allclose(steps, steps[0])
    assert filled(ax)[0].get_data().values.sum() == pytest.approx(1)


def test_one_panel_goes_into_the_axes_given() -> None:
    _, (first, second) = plt.subplots(1, 2)
    assert plot_branch_pmf(weights(), "stage3", ax=first) is first
    assert not second.patches
    assert plt.gca() is first
    plt.sca(second)
    assert plot_branch_pmf(weights(), "stage3") is second
    assert second.get_ylabel() == "share of weights per bin (PMF)"
    with pytest.raises(ValueError, match=r"panel='stage9' is not known; allowed: stage2, stage3"):
        plot_branch_pmf(weights(), "stage9")


def test_branches_with_equal_rates_are_told_apart() -> None:
    figure = plot_branch_weights(weights(dilations=(2, 2)))
    assert [text.get_text() for text in figure.legends[0].get_texts()][:2] == ["d2 (dilation 2)", "d2 #2 (dilation 2)"]


def test_plots_leave_matplotlib_as_it_was() -> None:
    before = dict(mpl.rcParams)
    plot_branch_weights(weights(), look="talk")
    assert dict(mpl.rcParams) == before


def test_panels_can_be_saved_and_drawn_again(tmp_path: object) -> None:
    panels = distributions(weights(), initial=weights(seed=2))
    again = BranchPanels.load(panels.save(f"{tmp_path}/panels.npz"))
    assert again == panels
    assert len(plot_branch_weights(again).axes) == 4
    frame = again.to_frame()
    assert list(frame.columns) == [
        "measure",
        "stage",
        "panel",
        "branch",
        "dilation",
        "series",
        "lower",
        "upper",
        "value",
    ]
    sums = frame[frame["series"] == "pmf"].groupby(["panel", "branch"])["value"].sum()
    np.testing.assert_allclose(sums, 1)
    assert len(sums) == 2 * 4


def test_edges_reach_to_where_the_widest_branch_ends() -> None:
    result = weights(width=400)
    (panel, _) = distributions(result).panels
    widest = max(np.quantile(values, 0.999) for values in result.pooled("stage2").values())
    assert panel.edges[0] == 0
    assert panel.edges[-1] == pytest.approx(widest)
    for branch, values in zip(panel.branches, result.pooled("stage2").values(), strict=True):
        # What lies beyond the last edge is counted in the last bin.
        assert branch.probability[-1] == pytest.approx((values >= panel.edges[-2]).mean())


def test_cumulative_curves_keep_exact_vertices() -> None:
    values = np.array([3.0, 1.0, 1.0, 2.0])
    steps, share = cumulative(values)
    assert steps.tolist() == [1, 2, 3]
    assert share.tolist() == [0.5, 0.75, 1.0]
    many = np.random.default_rng(0).random(5000)
    steps, share = cumulative(many, 100)
    assert 90 <= len(steps) <= 101
    assert steps[0] == many.min()
    assert steps[-1] == many.max()
    np.testing.assert_allclose(share, [(many <= step).mean() for step in steps])


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"kind='rows' is not known; allowed: stages, blocks"):
        plot_branch_weights(weights(), kind="rows")
    with pytest.raises(ValueError, match=r"bins=0 must be above 0"):
        plot_branch_weights(weights(), bins=0)
    with pytest.raises(ValueError, match=r"initial has the panels \['other'\], weights have \['stage2', 'stage3'\]"):
        plot_branch_weights(weights(), initial=weights(stages=("other",)))
    broken = weights()
    broken.blocks[0].weight[0, 0] = np.nan
    with pytest.raises(ValueError, match="a NaN or an infinite weight has no place in a histogram"):
        plot_branch_weights(broken)
