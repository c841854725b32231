"""The table of measured speeds, and which of them stand in the paper's tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from rfkit.models.registry import create_model
from rfkit.models.weights import Card, save_weights
from rfkit.paper import context as context_module
from rfkit.paper import fig1_tradeoff, measured_speeds, ours, speeds, table3, table4
from rfkit.paper.context import Context, MissingInput
from rfkit.paper.measured_speeds import paper_speed
from rfkit.results.speed import Speed, Speeds

GPU = {"device": "cuda: Card X"}


def speed(**fields: object) -> Speed:
    return Speed(**{
        "model": "dwrseg_b", "parameters": 10, "macs": 1e9, "height": 512, "width": 1024, "batch": 1,
        "backend": "eager", "precision": "fp32", "device": "cpu: Processor Y", "threads": 1, "median_ms": 20.0,
        "low_ms": 19.5, "high_ms": 25.25, "fps": 50.0, "runs": 30, "kept": 28, "software": "torch 1",
        "date": "2026-11-21", **fields,
    })  # fmt: skip


MEASURED = Speeds((
    speed(backend="onnxruntime", fps=75.0), speed(), speed(height=768, width=1536, fps=20.0), speed(**GPU, fps=500.0),
))  # fmt: skip


def test_what_ships_can_be_read_and_says_on_what() -> None:
    for row in measured_speeds.measured_speeds().rows:
        assert row.device.startswith(("cpu: ", "cuda: "))
        assert "torch" in row.software
        assert "load" in row.software
        assert 0 < row.kept <= row.runs


def test_a_row_states_device_precision_backend_and_size() -> None:
    table = speeds.table(MEASURED)
    figure = speeds.draw(table)
    texts = {text.get_gid(): text.get_text() for text in figure.axes[0].texts}
    rows = [[texts[f"row {row} column {column}"] for column in range(9)] for row in range(4)]
    first = [
        "dwrseg_b",
        "1024×512",
        "eager",
        "fp32",
        "Processor Y, 1 thread (1)",
        "50",
        "20 (19.5 to 25.2)",
        "1.00",
        "28 of 30",
    ]
    assert rows[0] == first
    assert rows[1][2:8] == ["onnxruntime", "fp32", "Processor Y, 1 thread (1)", "75", "20 (19.5 to 25.2)", "1.50"]
    assert rows[2][1] == "1536×768"
    assert rows[3][4:6] == ["Card X, 1 thread (2)", "500"]
    assert table.notes == (
        "(1) cpu: Processor Y, 1 thread; torch 1; 2026-11-21.", "(2) cuda: Card X, 1 thread; torch 1; 2026-11-21.",
    )  # fmt: skip
    rules = [line.get_gid() for line in figure.axes[0].lines]
    assert {"rule 2", "rule 3"} <= set(rules)
    assert "| dwrseg_b | 1024×512 | eager |" in speeds.text(table)


def test_without_measurements_there_is_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speeds, "measured_speeds", lambda: Speeds(()))
    with pytest.raises(MissingInput, match="no speeds ship"):
        speeds.compute(Context(out=tmp_path))


@pytest.mark.parametrize(("fields", "found"), [
    (GPU, True), ({}, False), ({**GPU, "precision": "fp16"}, False), ({**GPU, "backend": "compiled"}, False),
    ({**GPU, "height": 256}, False), ({**GPU, "batch": 2}, False),
    ({**GPU, "model": "dwrseg_b (num_classes=11)"}, False),
])  # fmt: skip
def test_only_eager_speeds_of_a_gpu_stand_beside_the_papers(fields: dict, found: bool) -> None:
    assert (paper_speed("dwrseg_b", 19, (512, 1024), Speeds((speed(**fields),))) is not None) is found


def test_a_network_of_other_classes_is_another_network() -> None:
    row = speed(**GPU, model="dwrseg_b (num_classes=11)")
    assert paper_speed("dwrseg_b", 11, (512, 1024), Speeds((row,))) == row


@pytest.fixture
def scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """A network that was trained and scored on Cityscapes at 1024 x 512."""
    monkeypatch.setattr(context_module, "packaged_weights", dict)
    card = Card(model="dwrseg_b", num_classes=19, data="cityscapes", size=(512, 1024),
                scores={"split": "test", "miou": 0.7}, epochs=5, recipe_name="cityscapes-paper")  # fmt: skip
    model = create_model("dwrseg_b", num_classes=19, blocks=(1, 1, 1))
    save_weights(model, tmp_path / "dwrseg_b-cityscapes.safetensors", card=card)
    return Context(out=tmp_path, weights=tmp_path)


def test_a_measured_speed_stands_in_our_row_with_its_device(scored: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "paper_speed", lambda *key: paper_speed(*key, MEASURED))
    table = table3.compute(scored)
    assert table.columns["fps"][-1] == 500
    assert table.columns["device"][-1] == "Card X, fp32"
    assert "measured by this project on Card X, fp32. The paper's: one GTX 1080 Ti." in table.notes[-1]
    points = fig1_tradeoff.compute(scored)
    assert points.columns["label"][-1] == "DWRSeg-B (rfkit, Card X, fp32)"
    assert points.columns["group"][-1] == "ours"
    labels = {text.get_gid() for ax in fig1_tradeoff.draw(points).axes for text in ax.texts}
    assert "label DWRSeg-B (rfkit, Card X, fp32)" in labels


def test_without_a_speed_of_a_gpu_there_is_a_dash(scored: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "paper_speed", lambda *key: paper_speed(*key, Speeds((speed(),))))
    table = table3.compute(scored)
    assert table.columns["fps"][-1] is None
    assert "not measured on a GPU" in table.notes[-1]
    assert "ours" not in fig1_tradeoff.compute(scored).columns["group"]
    assert table4.compute(scored).columns["source"].count("rfkit") == 0
