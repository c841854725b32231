"""Ours in Table 2 and in the table of shorter runs: whole schedules there, all others here, from cards and from CSV."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib import pyplot as plt

from rfkit._checks import DataError
from rfkit.models.ablations import ABLATIONS, MATCHED_BLOCKS, ablation_options
from rfkit.models.weights import Card
from rfkit.paper import ablation_runs as ablation_runs_module
from rfkit.paper import ablations, table2, table2_short
from rfkit.paper import context as context_module
from rfkit.paper.ablation_runs import AblationRun, ablation_runs, read_runs, recipe_text, run_of_card, write_runs
from rfkit.paper.context import Context, MissingInput
from rfkit.paper.measured import ABLATION_RUNS
from rfkit.results.base import Table

RUN = AblationRun(
    ablation="baseline", blocks="8 8 3", macs=16_245_981_184, seed=0, data="camvid", split="trainval",
    evaluated="test", height=360, width=480, recipe="camvid-paper-half", epochs=600.0, horizon_epochs=600, steps=1,
    miou=0.6, device="none",
)  # fmt: skip
SHORT = replace(RUN, epochs=60.0, horizon_epochs=60)


def records(table: Table) -> list[dict]:
    return [dict(zip(table.columns, cells, strict=True)) for cells in zip(*table.columns.values(), strict=True)]


def cells(figure: plt.Figure, column: int) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts if text.get_gid().endswith(f" column {column}")]


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """A context without weights, and with a table of runs that `ship` fills."""
    monkeypatch.setattr(context_module, "packaged_weights", dict)
    monkeypatch.setattr(ablation_runs_module, "ABLATION_RUNS", tmp_path / "ablations.csv")
    ship(tmp_path)
    return Context(out=tmp_path)


def ship(folder: Path, *runs: AblationRun) -> None:
    write_runs(folder / "ablations.csv", runs)


def seeds(run: AblationRun, *scores: float) -> list[AblationRun]:
    return [replace(run, seed=seed, miou=miou) for seed, miou in enumerate(scores)]


def card(**fields: object) -> Card:
    scores = {"split": "test", "miou": 0.5}
    return Card(**{
        "model": "dwrseg_l", "num_classes": 11, "data": "camvid", "split": "trainval", "size": (360, 480),
        "recipe_name": "camvid-paper-half", "epochs": 600, "horizon_epochs": 600, "scores": scores, **fields,
    })  # fmt: skip


def test_table2_shows_mean_and_spread_over_seeds(context: Context) -> None:
    stage4 = replace(RUN, ablation="VII-stage4+1", miou=0.7)
    ship(context.out, *seeds(RUN, 0.60, 0.62, 0.64), *seeds(replace(RUN, ablation="I-MS"), 0.5), stage4, SHORT)
    table = table2.compute(context)
    rows = {row["ablation"]: row for row in records(table)}
    head = "CamVid, 480×360"
    assert rows["baseline"][head] == pytest.approx(62)
    assert rows["baseline"][f"{head}, std"] == pytest.approx(2)
    assert rows["baseline"][f"{head}, runs"] == 3
    assert rows["I-MS"][f"{head}, std"] is None
    assert rows["III-3"][head] is None
    shown = cells(table2.draw(table), 5)
    assert shown[:3] == [head, "62.0 ± 2.0 (3)", "50.0 (1)"]
    assert shown[-1] == "– / – / 70.0 (1)"
    assert shown[-2] == " / ".join(["62.0 ± 2.0 (3)"] * 3)
    assert "cannot be compared with the paper's" in table.notes[-1]


def test_table2_keeps_sizes_apart(context: Context) -> None:
    ship(context.out, RUN, replace(RUN, height=720, width=960, recipe="camvid-paper"))
    heads = cells(table2.draw(table2.compute(context)), 6)[0], cells(table2.draw(table2.compute(context)), 5)[0]
    assert set(heads) == {"CamVid, 480×360", "CamVid, 960×720"}


@pytest.mark.parametrize(("change", "full"), [
    ({}, True),
    ({"epochs": 599.0}, False),
    ({"horizon_epochs": 1200}, False),
    ({"split": "train"}, False),
    ({"evaluated": "val"}, False),
    ({"recipe": "camvid-paper-half, learning_rate=0.01"}, False),
    ({"recipe": "camvid-adam"}, False),
    ({"data": "bdd100k"}, False),
    ({"data": "cityscapes", "recipe": "cityscapes-paper", "split": "train", "evaluated": "val"}, False),
    ({"data": "cityscapes", "recipe": "cityscapes-paper", "split": "train", "evaluated": "val",
      "epochs": 1000.0, "horizon_epochs": 1000}, True),
])  # fmt: skip
def test_only_the_papers_whole_schedule_is_full(change: dict, full: bool, context: Context) -> None:
    run = replace(RUN, ablation="I-MS", **change)
    assert run.is_full == full
    ship(context.out, run)
    assert ("rfkit" in table2.compute(context).columns) == (not full)
    if full:
        with pytest.raises(MissingInput, match="no ablation trained for less"):
            table2_short.compute(context)
    else:
        assert table2_short.compute(context).columns["ablation"] == ("I-MS",)


def test_shorter_runs_have_a_row_an_ablation_and_a_block_a_schedule(context: Context) -> None:
    other = replace(SHORT, ablation="III-3", blocks="8 4 2", macs=16_226_000_000)
    small = replace(SHORT, ablation="I-MS", height=180, width=240, miou=0.4)
    half = replace(SHORT, ablation="I-MS", epochs=30.0, miou=0.45)
    ship(context.out, *seeds(SHORT, 0.55, 0.57), *seeds(other, 0.50, 0.54), small, half)
    table = table2_short.compute(context)
    assert table.columns["ablation"] == ("baseline", "III-3", "I-MS", "I-MS")
    row = records(table)[1]
    assert (row["miou"], row["std"], row["runs"]) == (pytest.approx(52), pytest.approx(8**0.5), 2)
    assert row["difference"] == pytest.approx(-4)
    assert (row["epochs"], row["horizon_epochs"], row["title"]) == (60, 60, "CamVid, 480×360")
    # Other schedules have no baseline to compare with here.
    assert table.columns["difference"][2:] == (None, None)
    figure = table2_short.draw(table)
    assert {line.get_gid() for line in figure.axes[0].lines} >= {"rule 2", "rule 3"}
    shown = [cells(figure, column)[2] for column in range(9)]
    assert shown == ["III", "β", "3", "8, 4, 2", "16.23", "52.0 ± 2.8 (2)", "−4.0", "CamVid, 480×360", "60 of 60"]
    assert cells(figure, 8)[1:] == ["60 of 60", "60 of 60", "30 of 60", "60 of 60"]
    assert "measure the short schedule, not the architecture" in table2_short.text(table)


def test_a_baseline_alone_is_no_table_of_ablations(context: Context) -> None:
    ship(context.out, *seeds(SHORT, 0.5, 0.6))
    with pytest.raises(MissingInput, match="no ablation trained"):
        table2_short.compute(context)


def test_a_run_of_a_card_and_of_the_table_counts_once(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = card(options={"blocks": [8, 8, 3]})
    monkeypatch.setattr(Context, "weights_files", lambda _: ((Path("weights.safetensors"), trained),))
    ship(context.out, *seeds(RUN, 0.61, 0.62))
    assert [(run.seed, run.miou) for run in ablation_runs(context)] == [(0, 0.5), (1, 0.62)]


def test_a_card_tells_which_row_it_is() -> None:
    run = run_of_card(card(options={"alpha": [1, 1, 1], "blocks": [8, 8, 3]}, seed=2, device="a CPU"))
    assert run is not None
    assert (run.ablation, run.blocks, run.seed, run.miou, run.device) == ("II-1:1:1", "8 8 3", 2, 0.5, "a CPU")
    assert run.is_full
    changed = run_of_card(card(recipe={"learning_rate": 0.01}))
    assert changed is not None
    assert not changed.is_full


@pytest.mark.parametrize("fields", [
    {"options": {"expansion": 1}}, {"model": "dwrseg_b"}, {"scores": {}}, {"scores": {"miou": None}}, {"size": ()},
])  # fmt: skip
def test_other_cards_are_no_row(fields: dict) -> None:
    assert run_of_card(card(**fields)) is None


@pytest.mark.parametrize(("fields", "text"), [
    ({}, "camvid-paper-half"),
    ({"epochs": 60, "precision": "bf16", "channels_last": True}, "camvid-paper-half"),
    ({"crop_size": [180, 240], "frame_size": [180, 240]}, "camvid-paper-half"),
    ({"frame_size": [720, 960]}, "camvid-paper-half, frame_size=[720, 960]"),
    ({"learning_rate": 0.01, "batch_size": 8}, "camvid-paper-half, learning_rate=0.01, batch_size=8"),
])  # fmt: skip
def test_what_differs_from_a_recipe_is_in_its_name(fields: dict, text: str) -> None:
    assert recipe_text("camvid-paper-half", fields) == text
    assert recipe_text("mine", fields) == "mine"


def test_runs_are_written_in_the_order_of_table_2_and_read_back(tmp_path: Path) -> None:
    runs = [replace(RUN, ablation=name, seed=seed) for seed in (1, 0) for name in ("VI-1", "I-MS", "baseline")]
    write_runs(tmp_path / "runs.csv", runs)
    found = read_runs(tmp_path / "runs.csv")
    assert sorted(map(str, found)) == sorted(map(str, runs))
    assert [(run.ablation, run.seed) for run in found] == [
        (name, seed) for name in ("baseline", "I-MS", "VI-1") for seed in (0, 1)
    ]


@pytest.mark.parametrize(("old", "new", "message"), [
    ("ablation,", "name,", r"runs.csv: has the columns .* they must be ablation, blocks"),
    ("baseline", "nothing", r"runs.csv: line 2: ablation='nothing' is not in ABLATIONS"),
    ("360", "high", r"runs.csv: line 2: .*'high'"),
])  # fmt: skip
def test_a_damaged_table_of_runs_is_refused(old: str, new: str, message: str, tmp_path: Path) -> None:
    write_runs(tmp_path / "runs.csv", [RUN])
    text = (tmp_path / "runs.csv").read_text()
    (tmp_path / "runs.csv").write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=message):
        read_runs(tmp_path / "runs.csv")


def test_the_runs_that_ship_are_of_the_networks_as_built() -> None:
    for run in read_runs(ABLATION_RUNS):
        cost = ablations.ablation_cost(run.ablation)
        assert (run.blocks, run.macs) == (" ".join(map(str, cost.blocks)), cost.macs)
        assert 0 <= run.miou <= 1


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return ablations.compute(Context(out=tmp_path_factory.mktemp("out")))


def test_the_table_of_ablations_prints_the_counts(built: Table) -> None:
    rows = {row["ablation"]: row for row in records(built)}
    assert list(rows) == list(ABLATIONS)
    baseline = rows["baseline"]
    assert (baseline["parameters"], baseline["macs"], baseline["ratio"]) == (3_530_579, 16_245_981_184, 1)
    for name, row in rows.items():
        stages = (row["stage2"], row["stage3"], row["stage4"])
        offset = ablation_options(name).get("offset", {})
        counts = dict(zip(("stage2", "stage3", "stage4"), MATCHED_BLOCKS[name], strict=True))
        assert stages == tuple(count + offset.get(stage, 0) for stage, count in counts.items())
        assert offset or row["ratio"] == pytest.approx(1, abs=0.011)
    assert rows["VI-1"]["unmatched"] == pytest.approx(0.670, abs=5e-4)
    assert rows["VI-1"]["ratio"] == pytest.approx(1, abs=1e-9)
    assert {name for name, row in rows.items() if row["unmatched"]} == {"I-MS", "III-3", "VI-1", "VI-2", "VI-4"}


def test_the_table_of_ablations_is_drawn_as_it_is_written(built: Table) -> None:
    figure, page = ablations.draw(built), ablations.text(built)
    assert cells(figure, 3)[1:3] == ["8, 8, 3", "8, 7, 3"]
    assert cells(figure, 2)[-1] == "+1 in stage 4"
    assert all(text.get_text() in page for text in figure.axes[0].texts if text.get_gid().startswith("row "))
