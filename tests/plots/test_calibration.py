from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from calibration_rows import made_up

from rfkit.plots.calibration import plot_calibration, plot_calibration_claims
from rfkit.results.calibration import MEASURES, Calibration


@pytest.fixture(autouse=True)
def _closed() -> object:
    yield
    plt.close("all")


def test_a_point_stands_for_each_run_where_the_measure_puts_it() -> None:
    calibration = made_up()
    figure = plot_calibration(calibration, title="made up")
    assert len(figure.axes) == len(MEASURES)
    readings = calibration.readings()
    for ax, measure in zip(figure.axes, MEASURES, strict=True):
        lines = [line for line in ax.lines if str(line.get_label()).startswith(("_one", "_two"))]
        drawn = sorted(value for line in lines for value in line.get_ydata())
        expected = readings[(readings["measure"] == measure) & readings["needed"].notna()]["reading"]
        assert drawn == pytest.approx(sorted(expected))
        filled = sum(len(line.get_ydata()) for line in lines if line.get_markerfacecolor() != "white")
        assert filled == readings[(readings["measure"] == measure) & readings["needed"].notna()]["right"].sum()
        for line in lines:
            assert np.abs(line.get_xdata() - np.round(line.get_xdata() / 2 - 0.5) * 2 - 1).max() < 0.95
    assert figure.axes[4].get_title().endswith("ρ = 1.00 [1.00, 1.00]\n24 of 24 right")
    assert figure.get_suptitle() == "made up"


def test_the_claims_are_drawn_with_intervals_thresholds_and_verdicts() -> None:
    calibration = made_up()
    figure = plot_calibration_claims(calibration)
    mixtures, null, effect, learned = figure.axes
    means = {line.get_label(): line.get_ydata() for line in mixtures.lines if not line.get_label().startswith("_")}
    assert means["contribution"].tolist() == pytest.approx([0.25, 0.5, 0.75])
    # |w| of the null task is as large as that of the largest rate before training; nothing is lost.
    drawn = {label.get_text(): place for place, label in enumerate(null.get_yticklabels())}
    values = {place: [] for place in drawn.values()}
    for line in null.lines:
        values[round(float(line.get_ydata()[0]))] += line.get_xdata().tolist()
    assert values[drawn["contribution"]] == [0] * 6
    assert min(values[drawn["|w|"]]) > 0.8
    claims = calibration.claims()
    for ax, claim in zip((effect, learned), dict.fromkeys(claims["claim"]), strict=True):
        part = claims[claims["claim"] == claim]
        assert [text.get_text() for text in ax.texts] == part["verdict"].tolist()
        points = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "o"]
        assert points == pytest.approx(part["value"].tolist())
    assert effect.lines[0].get_xdata()[0] == 0.01


def test_a_quick_calibration_has_fewer_panels_and_no_claims() -> None:
    rows = made_up(seeds=1).to_frame().to_dict("records")
    quick = Calibration.from_rows([row for row in rows if row["network"] == "one block" and row["kind"] == "cue"])
    figure = plot_calibration(quick)
    titles = [ax.get_title().split("\n")[0] for ax in figure.axes]
    assert titles == [MEASURES[name] for name in MEASURES if name not in ("alone", "learned")]
    with pytest.raises(ValueError, match="no runs of mixture, null, ESP, DAB, two blocks; the claims need a full one"):
        plot_calibration_claims(quick)
