"""The table of what branches tell: written by a command, read by two figures."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from rfkit._checks import DataError
from rfkit.analysis.branches import branch_ratios, branch_weights, fig8_statistic
from rfkit.data.opening import open_data
from rfkit.models.registry import create_model
from rfkit.models.weights import Card, save_weights
from rfkit.paper import measured, probe_blocks, probe_measures, probe_removal
from rfkit.paper.context import Context, MissingInput
from rfkit.paper.measured import probe as command
from rfkit.results.base import Result
from rfkit.studies.removal import branch_removal

OPTIONS = {"blocks": (2, 1, 1)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Path]]:
    """Weights and removals of two seeds of one training and of another, longer one."""
    data = open_data("scenes", split="test")
    folder, made = tmp_path_factory.mktemp("runs"), []
    for seed, epochs in ((0, 9), (0, 4), (1, 4)):
        model = create_model("probe_dwrseg_l", num_classes=data.num_classes, seed=seed, **OPTIONS)
        card = Card(
            model="probe_dwrseg_l", num_classes=data.num_classes, options=OPTIONS, class_names=data.classes,
            data="scenes", split="train", epochs=epochs, horizon_epochs=9, seed=seed, size=(32, 64),
        )  # fmt: skip
        weights = folder / f"{seed}-{epochs}.safetensors"
        save_weights(model, weights, card=card)
        model = create_model("probe_dwrseg_l", weights=weights)
        removal = branch_removal(model, data, limit=3, size=(32, 64), progress=False)
        made.append((weights, removal.save(weights.with_suffix(".npz"))))
    return made


@pytest.fixture(scope="module")
def table(runs: list[tuple[Path, Path]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("table") / "probe_measures.csv"
    networks = [part for weights, removal in runs for part in ("--network", str(weights), str(removal))]
    assert command.main(["--data", "scenes", "--images", "2", "--out", str(out), *networks]) == 0
    return out


def read(table: Path) -> pd.DataFrame:
    return pd.read_csv(table, dtype={"seeds": str}, keep_default_na=False)


def test_the_rows_are_those_of_the_measures(table: Path, runs: list[tuple[Path, Path]]) -> None:
    frame = read(table)
    assert list(frame.columns) == list(command.COLUMNS)
    assert [f"{epochs:g}: {seeds}" for epochs, seeds in frame[["epochs", "seeds"]].drop_duplicates().to_numpy()] == [
        "9: 0", "4: 0", "4: 1", "4: 0 1",
    ]  # fmt: skip
    single = frame[(frame["epochs"] == 4) & (frame["seeds"] == "1")]
    model = create_model("probe_dwrseg_l", weights=runs[2][0])
    weights = branch_weights(model)
    for measure in ("weight", "gain"):
        rows = single[(single["measure"] == measure) & (single["block"] == "") & (single["stage"] == "stage3")]
        ratio = next(
            ratio for ratio in branch_ratios(weights, measure=measure).ratios
            if (ratio.stage, ratio.name) == ("stage3", "d5/d1")
        )  # fmt: skip
        found = rows[rows["branch"] == "d5"].iloc[0]
        assert found["value"] == pytest.approx(ratio.value, rel=1e-4)
        assert (found["low"], found["high"]) == pytest.approx((ratio.low, ratio.high), rel=0.05)
        assert found["level"] == pytest.approx(weights.pooled("stage3", measure)["d5"].mean(), rel=1e-4)
    removal = Result.load(runs[2][1]).to_frame()
    rows = single[single["measure"] == "removal"]
    assert len(rows) == len(removal)
    np.testing.assert_allclose(rows[["value", "low", "high", "level"]].astype(float),
                               removal[["drop", "low", "high", "iou"]], rtol=1e-4, atol=1e-8)  # fmt: skip
    assert set(single[single["block"] != ""]["block"]) == {"stage2.0", "stage2.1", "stage3.0", "stage4.0"}


def test_the_rows_of_all_seeds_are_hierarchical(table: Path, runs: list[tuple[Path, Path]]) -> None:
    frame = read(table)
    both = frame[frame["seeds"] == "0 1"]
    networks = [branch_weights(create_model("probe_dwrseg_l", weights=weights)) for weights, _ in runs[1:]]
    statistic = fig8_statistic(networks, epochs=4)
    ratio = next(ratio for ratio in statistic.ratios if (ratio.stage, ratio.name) == ("stage4", "d3/d1"))
    row = both[(both["measure"] == "weight") & (both["stage"] == "stage4") & (both["block"] == "")].iloc[1]
    assert (row["value"], row["low"], row["high"]) == pytest.approx((ratio.value, ratio.low, ratio.high), rel=0.05)
    removals = [Result.load(removal).resampled_drops() for _, removal in runs[1:]]
    rows = both[both["measure"] == "removal"]
    np.testing.assert_allclose(rows["value"], np.mean(removals, axis=0)[0].ravel(), rtol=1e-4, atol=1e-8)
    assert (rows["low"] <= rows["high"]).all()


def test_a_removal_of_another_network_is_refused(runs: list[tuple[Path, Path]]) -> None:
    scenes = open_data("scenes", split="test")
    with pytest.raises(DataError, match=r"1-4\.npz: was measured on another network than"):
        command.read_probe(str(runs[1][0]), [runs[2][1]], scenes, images=1)
    with pytest.raises(DataError, match=r"was measured on scenes test, not on scenes val"):
        command.read_probe(str(runs[1][0]), [runs[1][1]], open_data("scenes", split="val"), images=1)


def test_blocks_join_the_stages_of_a_network(runs: list[tuple[Path, Path]], tmp_path: Path) -> None:
    scenes = open_data("scenes", split="test")
    model = create_model("probe_dwrseg_l", weights=runs[0][0])
    by_block = branch_removal(model, scenes, level="block", limit=2, size=(32, 64), progress=False)
    file = by_block.save(tmp_path / "blocks.npz")
    frame = command.measure_rows([command.read_probe(str(runs[0][0]), [runs[0][1], file], scenes, images=1)])
    rows = frame[(frame["measure"] == "removal") & (frame["class"] == "")]
    assert rows.groupby(rows["block"] == "")["images"].agg(["count", "first"]).to_numpy().tolist() == [[12, 2], [9, 3]]
    with pytest.raises(ValueError, match=r"blocks\.npz: another file has level .block."):
        command.read_probe(str(runs[0][0]), [file, file], scenes, images=1)
    other = branch_removal(model, scenes, limit=1, size=(16, 32), progress=False).save(tmp_path / "other.npz")
    with pytest.raises(DataError, match=r"other\.npz: was measured at size \(16, 32\), the other file at \(32, 64\)"):
        command.read_probe(str(runs[0][0]), [file, other], scenes, images=1)
    with pytest.raises(SystemExit):
        command.main(["--data", "scenes", "--network", str(runs[0][0])])


def test_figures_show_what_the_table_holds(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = Context(out=tmp_path)
    monkeypatch.setattr(measured, "PROBE_MEASURES", tmp_path / "none.csv")
    with pytest.raises(MissingInput, match=r"no measures of probes ship"):
        probe_measures.compute(context)
    monkeypatch.setattr(measured, "PROBE_MEASURES", table)
    result = probe_measures.compute(context)
    figure = probe_measures.draw(result)
    assert [ax.get_title() for ax in figure.axes[:3]] == ["stage2", "stage3", "stage4"]
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    trainings = ["64×32, 9 of 9 epochs, seed 0", "64×32, 4 of 9 epochs, seeds 0, 1", "each seed"]
    assert texts == [text for pair in zip(["d1", "d3", "d5"], trainings, strict=True) for text in pair]
    note = " ".join(figure.get_supxlabel().split())
    assert "(9 pairs, drops on 3 images of scenes test, contributions on 2)" in note
    frame = result.to_frame()
    row = frame[(frame["measure"] == "removal") & (frame["stage"] == "stage2") & (frame["branch"] == "d3")].iloc[0]
    heights = [container[0].get_ydata()[0] for container in figure.axes[3].containers]
    assert 100 * row["value"] in heights
    plt.close(figure)
    by_block = probe_blocks.compute(context)
    figure = probe_blocks.draw(by_block)
    # Without removals of single blocks there are three rows; d3 and d5 stand beside d1.
    assert [ax.get_ylabel().split("\n")[0] for ax in figure.axes] == ["|w|", "|w| · |γ|", "contribution"]
    frame = by_block.to_frame()
    of_d5 = frame[(frame["measure"] == "gain") & (frame["branch"] == "d5")]
    np.testing.assert_allclose(figure.axes[1].containers[1][0].get_ydata(), of_d5["value"].to_numpy(float))
    assert [text.get_text() for text in figure.axes[2].get_xticklabels()] == ["0", "1", "0", "0"]
    plt.close(figure)
    classes = probe_removal.draw(probe_removal.compute(context))
    assert classes.axes[0].images[0].get_array().shape == (12, 9)
    assert "9 of 9 epochs, seed 0" in classes.get_suptitle()
    plt.close(classes)


def test_what_ships_says_how_it_was_trained() -> None:
    frame = probe_measures.read_measures()
    assert set(frame["measure"]) == {"weight", "gain", "contribution", "removal"}
    assert (frame["horizon_epochs"] >= frame["epochs"]).all()
    assert (frame["low"] <= frame["high"]).all()
