"""Tables 1 to 4: the paper's numbers as printed, the built models beside them, ours below a rule."""

from __future__ import annotations

import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from matplotlib import pyplot as plt

from rfkit.models.ablations import ABLATIONS
from rfkit.models.registry import create_model
from rfkit.models.weights import Card, save_weights
from rfkit.paper import context as context_module
from rfkit.paper import fig1_tradeoff, table1, table2, table3, table4
from rfkit.paper.context import Context
from rfkit.paper.published import published
from rfkit.results.base import Table

GOLDEN = tomllib.loads((Path(__file__).parents[1] / "golden" / "dwrseg_tables.toml").read_text(encoding="utf-8"))


def rows(name: str) -> list[list[str]]:
    return [line.split("\t") for line in GOLDEN[name].strip("\n").split("\n")]


def records(table: Table) -> list[dict]:
    return [dict(zip(table.columns, cells, strict=True)) for cells in zip(*table.columns.values(), strict=True)]


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """A context without any weights, whatever ships with the package."""
    monkeypatch.setattr(context_module, "packaged_weights", dict)
    return Context(out=tmp_path)


def trained(folder: Path, name: str, *, model: str = "dwrseg_b", **fields: object) -> None:
    """A small weights file with a card; the weights themselves do not matter here."""
    card = Card(
        **{"model": model, "num_classes": 11, "data": "camvid", "scores": {"split": "test", "miou": 0.6512}, **fields}
    )
    save_weights(create_model("dwrseg_b", num_classes=11, blocks=(1, 1, 1)), folder / name, card=card)


def text_of(figure: plt.Figure) -> dict[str, str]:
    return {text.get_gid(): text.get_text() for text in figure.axes[0].texts}


@pytest.fixture(scope="module")
def architecture(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return table1.compute(Context(out=tmp_path_factory.mktemp("out")))


def test_table1_built_is_the_paper_row_by_row(architecture: Table) -> None:
    for row, golden in zip(records(architecture)[:8], rows("table1")[:8], strict=True):
        golden = [cell or None for cell in [*golden, *[""] * 6][:6]]
        branches = None if golden[3] is None else int(golden[3])
        expected = [golden[0], golden[1], golden[2], branches, golden[4], golden[5]]
        keys = ("ratio", "channels", "branches", "dwrseg_b", "dwrseg_l")
        assert [row["row"], *(row[f"paper_{key}"] for key in keys)] == expected
        assert [row["row"], *(row[f"built_{key}"] for key in keys)] == expected


def test_table1_built_sizes_round_to_the_papers(architecture: Table) -> None:
    convolutions, counted, total = records(architecture)[8:]
    flops, params = (dict(zip(("b", "l"), row[4:], strict=True)) for row in rows("table1")[8:])
    for key in ("b", "l"):
        assert f"{float(counted[f'built_dwrseg_{key}'].split()[0]):.2f}G" == flops[key]
        assert f"{float(total[f'built_dwrseg_{key}'].split()[0]):.2f}M" == params[key]
        assert counted[f"paper_dwrseg_{key}"].replace(" ", "") == flops[key]
        assert total[f"paper_dwrseg_{key}"].replace(" ", "") == params[key]
    # Convolutions alone: the closed count, below the published one.
    assert (convolutions["built_dwrseg_b"], convolutions["built_dwrseg_l"]) == ("13.460 G", "16.246 G")
    assert (total["parameters_b"], total["parameters_l"]) == (2_535_315, 3_530_579)
    for key in ("b", "l"):
        assert sum(row[f"parameters_{key}"] or 0 for row in records(architecture)[:8]) == total[f"parameters_{key}"]


def test_table1_follows_the_models() -> None:
    models = {name: create_model(name, blocks=(1, 2, 1)).eval() for name in ("dwrseg_b", "dwrseg_l")}
    row = records(table1.table(models))[3]
    assert (row["paper_dwrseg_b"], row["paper_dwrseg_l"]) == ("3", "8")
    assert (row["built_dwrseg_b"], row["built_dwrseg_l"]) == ("2", "2")


def test_table1_refuses_models_of_different_shape() -> None:
    models = {
        "dwrseg_b": create_model("dwrseg_b", blocks=(1, 1, 1), dilations=((1, 3), (1, 3))).eval(),
        "dwrseg_l": create_model("dwrseg_l", blocks=(1, 1, 1)).eval(),
    }
    with pytest.raises(ValueError, match=r"stage4: the networks differ in \(ratio, channels, branches\)"):
        table1.table(models)


def test_table2_is_the_papers(bare: Context) -> None:
    table = records(table2.compute(bare))
    single = [row for row in table if row["experiment"] != "VII"]
    golden = rows("table2")
    assert [(row["experiment"], row["miou"], row["fps"]) for row in single] == [
        (experiment, float(miou), float(fps)) for experiment, _, _, miou, fps in golden
    ]
    baselines = [index for index, row in enumerate(single) if row["ablation"] == "baseline"]
    assert baselines == [index for index, row in enumerate(golden) if "B/L" in row[2]]
    blocks = [row["miou"] for row in table if row["experiment"] == "VII"]
    assert blocks == [float(cell) for row in rows("table2_blocks") for cell in row[1:]]


def test_table2_names_a_configuration_for_every_row(bare: Context) -> None:
    names = {row["ablation"] for row in records(table2.compute(bare))}
    assert names == set(ABLATIONS)


def test_table2_has_a_dash_where_nothing_was_trained_in_full(bare: Context) -> None:
    table = table2.compute(bare)
    assert set(table.columns["rfkit"]) == {None}
    texts = text_of(table2.draw(table))
    assert texts["header column 5"] == "rfkit"
    assert {text for name, text in texts.items() if name.startswith("row ") and name.endswith("column 5")} == {"–"}


@pytest.mark.parametrize(("epochs", "recipe", "shown"), [
    (600, "camvid-paper-half", True), (599, "camvid-paper-half", False), (600, "camvid-adam", False),
])  # fmt: skip
def test_table2_shows_ours_only_after_the_whole_schedule(
    bare: Context, tmp_path: Path, epochs: float, recipe: str, shown: bool
) -> None:
    options = dict(ABLATIONS["IV-4"])
    trained(tmp_path, "dwrseg_l-camvid.safetensors", model="dwrseg_l", options=options, epochs=epochs,
            recipe_name=recipe, size=(360, 480), split="trainval")  # fmt: skip
    table = table2.compute(Context(out=tmp_path, weights=tmp_path))
    if not shown:
        assert "rfkit" in table.columns
        return
    column = dict(zip(table.columns["ablation"], table.columns["CamVid, 480×360"], strict=True))
    assert column.pop("IV-4") == pytest.approx(65.12)
    assert set(column.values()) == {None}


def test_table3_is_the_papers(bare: Context) -> None:
    table = table3.compute(bare)
    expected = []
    for model, ratio, miou, fps, params in rows("table3"):
        expected.append((model.removesuffix(" †"), "†" in model, ratio, float(miou), float(fps), params))
    keys = ("model", "pretrained", "ratio", "miou", "fps", "params")
    assert [tuple(row[key] for key in keys) for row in records(table)] == expected
    assert set(table.columns["source"]) == {"paper"}


def test_table3_prints_the_best_of_each_column_bold(bare: Context) -> None:
    figure = table3.draw(table3.compute(bare))
    bold = {text.get_text() for text in figure.axes[0].texts if text.get_fontweight() == "bold"}
    assert bold == {"76.8", "319.5", "0.37"}


def test_table4_is_the_papers(bare: Context) -> None:
    marks = {"†": "ImageNet", "*": "Cityscapes"}
    expected = [(name[:-2], marks[name[-1]], float(miou), float(fps)) for name, miou, fps in rows("table4")]
    table = records(table4.compute(bare))
    assert [(row["model"], row["pretraining"], row["miou"], row["fps"]) for row in table] == expected


def test_table4_puts_ours_below_a_rule_with_what_differs(bare: Context, tmp_path: Path) -> None:
    trained(tmp_path, "dwrseg_b-camvid.safetensors", epochs=60, horizon_epochs=600, size=(360, 480),
            recipe_name="camvid-paper-half")  # fmt: skip
    table = table4.compute(Context(out=tmp_path, weights=tmp_path))
    own = records(table)[-1]
    assert own["source"] == "rfkit"
    assert own["miou"] == pytest.approx(65.12)
    assert own["fps"] is None
    assert (own["size"], own["pretraining"]) == ("480×360", "none")
    assert own["schedule"] == "camvid-paper-half, 60 of 600 epochs"
    figure = table4.draw(table)
    assert [line.get_gid() for line in figure.axes[0].lines].count("rule 7") == 1
    texts = text_of(figure)
    assert [texts[f"row 7 column {column}"] for column in range(6)] == [
        "DWRSeg-B (rfkit)", "65.1", "–", "480×360", "none", "camvid-paper-half, 60 of 600 epochs",
    ]  # fmt: skip


@pytest.mark.parametrize("fields", [{"data": "scenes"}, {"scores": {}}, {"scores": {"split": "val", "miou": 0.7}}])
def test_table4_leaves_out_what_was_not_scored_on_camvid_test(bare: Context, tmp_path: Path, fields: dict) -> None:
    trained(tmp_path, "dwrseg_b-camvid.safetensors", **fields)
    assert set(table4.compute(Context(out=tmp_path, weights=tmp_path)).columns["source"]) == {"paper"}


def test_published_files_cite_their_source() -> None:
    for name in ("table1", "table2", "table3", "table4"):
        assert published(name)["citation"].endswith(f"Table {name[-1]}")


def test_fig1_points_are_those_of_table3(bare: Context) -> None:
    points = records(fig1_tradeoff.compute(bare))
    for point, (model, _, miou, fps, params) in zip(points, rows("table3"), strict=True):
        name = model.removesuffix(" †")
        assert point["label"] == f"{name}{'†' if '†' in model else ''} ({params})"
        assert (point["fps"], point["miou"]) == (float(fps), float(miou))
        assert (point["group"] == "highlighted") == name.startswith("DWRSeg")


@pytest.mark.parametrize("module", [table1, table2, table3, table4])
def test_markdown_holds_every_cell(module: ModuleType, bare: Context, architecture: Table) -> None:
    table = architecture if module is table1 else module.compute(bare)
    figure = module.draw(table)
    page = module.text(table)
    for text in figure.axes[0].texts:
        if text.get_gid().startswith("row "):
            assert text.get_text().replace("*", "\\*") in page
    widths = {line.count(" | ") for line in page.split("\n") if line.startswith("| ")}
    assert len(widths) == 1
