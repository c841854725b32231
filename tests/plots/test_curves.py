from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from rfkit.plots.curves import plot_curves, plot_runs
from rfkit.results.base import Table


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def log(epochs: int = 6) -> pd.DataFrame:
    epoch = np.arange(1, epochs + 1)
    miou = np.where(epoch % 3 == 0, 0.1 * epoch, np.nan)
    return pd.DataFrame({"epoch": epoch, "learning_rate": 0.02 / epoch, "loss": 1.0 / epoch, "miou": miou})


def test_loss_rate_and_miou_are_drawn_as_logged() -> None:
    figure = plot_curves(log(), title="run")
    loss, miou, rate = figure.axes
    np.testing.assert_array_equal(loss.lines[0].get_ydata(), log()["loss"])
    np.testing.assert_array_equal(rate.lines[0].get_ydata(), log()["learning_rate"])
    assert miou.lines[0].get_xdata().tolist() == [3, 6]
    np.testing.assert_allclose(miou.lines[0].get_ydata(), [30, 60])
    assert [ax.get_ylabel() for ax in figure.axes] == ["training loss (nats)", "mIoU (%)", "learning rate"]
    assert {loss.get_xlabel(), miou.get_xlabel()} == {"epoch"}
    assert miou.texts[0].get_text() == "60.0"
    assert loss.get_xlim() == miou.get_xlim()
    assert figure._suptitle.get_text() == "run"


def test_without_a_measurement_there_is_one_panel() -> None:
    assert len(plot_curves(log(2)).axes) == 2
    assert len(plot_curves(log()[["epoch", "loss"]]).axes) == 1


def test_a_log_that_cannot_be_drawn_says_why() -> None:
    with pytest.raises(ValueError, match=r"log has no column 'loss'; it has epoch"):
        plot_curves(log()[["epoch"]])
    with pytest.raises(ValueError, match="log has no row: not one epoch was finished"):
        plot_curves(log(0))


def test_runs_are_lines_of_their_own_with_miou_in_percent() -> None:
    logs = Table(
        "training",
        {
            "run": ("a", "a", "b"),
            "epoch": (1, 2, 1),
            "loss": (2.0, 1.0, 3.0),
            "miou": (None, 0.25, 0.5),
        },
    )
    figure = plot_runs(logs)
    left, right = figure.axes
    assert [line.get_label() for line in left.lines] == ["a", "b"]
    assert [list(line.get_ydata()) for line in left.lines] == [[2.0, 1.0], [3.0]]
    assert [list(line.get_ydata()) for line in right.lines] == [[25.0], [50.0]]
    assert len({line.get_color() for line in left.lines}) == 2
    with pytest.raises(ValueError, match="logs has no column 'miou'"):
        plot_runs(Table("x", {"run": (), "epoch": (), "loss": ()}))
