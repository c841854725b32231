"""The builder makes what changed, nothing else, the same way each time, and whole."""

from __future__ import annotations

import csv
import hashlib
import importlib
import json
import shutil
from pathlib import Path

import pytest

from rfkit._checks import DataError
from rfkit._files import write_text
from rfkit.paper import builder, sources, table1, table3
from rfkit.paper.builder import FIGURES, build
from rfkit.paper.context import Context, MissingInput
from rfkit.paper.manifest import FILE, read_manifest

# Entries that are quick to make and use different code.
QUICK = ("fig1", "table2", "table3", "table4")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.is_file()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("figures")
    manifest = build(QUICK, context=Context(out=out), progress=False)
    assert manifest.ok
    assert manifest.built == QUICK
    return out


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    """A copy of a finished build, to change."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package's sources, whose hashes the builder takes instead of the real ones."""
    copy = Path(shutil.copytree(sources.PACKAGE, tmp_path / "rfkit", ignore=shutil.ignore_patterns("__pycache__")))
    monkeypatch.setattr(sources, "PACKAGE", copy)
    return copy


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pictures, where only what is built matters."""
    monkeypatch.setattr(builder, "_render", lambda module, result: {"csv": result.to_frame().to_csv().encode()})


def test_every_figure_has_its_module() -> None:
    for name, module in FIGURES.items():
        if (sources.PACKAGE / "paper" / f"{module.rpartition('.')[2]}.py").exists():
            found = importlib.import_module(module)
            assert name == found.NAME
            assert found.CAPTION
            assert callable(found.compute)
            assert callable(found.draw)


def test_files_and_manifest(finished: Path) -> None:
    manifest = json.loads((finished / FILE).read_text())
    expected = {f"{name}.{suffix}" for name in QUICK for suffix in ("png", "pdf", "csv")}
    expected |= {f"{name}.md" for name in QUICK if name.startswith("table")}
    assert set(manifest["files"]) == expected
    for file, record in manifest["files"].items():
        assert record["sha256"] == hashlib.sha256((finished / file).read_bytes()).hexdigest()
        assert record["module"] == FIGURES[record["entry"]]
        assert set(record["versions"]) == {"numpy", "matplotlib", "torch", "seaborn"}
        assert record["seed"] == 0
    with (finished / "table3.csv").open(newline="") as file:
        assert [row["model"] for row in csv.DictReader(file)] == list(
            table3.compute(Context(out=finished)).columns["model"]
        )
    assert (finished / "fig1.png").read_bytes().startswith(b"\x89PNG")
    assert (finished / "fig1.pdf").read_bytes().startswith(b"%PDF")
    index = (finished / "README.md").read_text()
    assert all(f"![{name}]({name}.png)" in index for name in QUICK)


def test_a_second_run_touches_nothing(out: Path) -> None:
    before, stamps = contents(out), times(out)
    manifest = build(QUICK, context=Context(out=out), progress=False)
    assert manifest.built == ()
    assert contents(out) == before
    assert times(out) == stamps


def test_building_again_gives_the_same_bytes(out: Path) -> None:
    before = contents(out)
    manifest = build(["fig1", "table3"], context=Context(out=out), force=True, progress=False)
    assert manifest.built == ("fig1", "table3")
    assert contents(out) == before


@pytest.mark.usefixtures("fast")
def test_a_change_in_one_figure_rebuilds_that_figure_only(package: Path, out: Path) -> None:
    assert build(QUICK, context=Context(out=out), progress=False).built == ()
    source = package / "paper" / "table3.py"
    write_text(source, source.read_text() + "\n# changed\n")
    assert build(QUICK, context=Context(out=out), progress=False).built == ("table3",)
    assert build(QUICK, context=Context(out=out), progress=False).built == ()


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize(("file", "rebuilt"), [
    ("plots/tradeoff.py", ("fig1",)),
    ("plots/tables.py", ("table2", "table3", "table4")),
    ("paper/ours.py", ("fig1", "table3", "table4")),
    ("paper/published/table3.toml", QUICK),
    ("paper/measured/ablations.csv", QUICK),
    ("nn/dwr.py", QUICK),
    ("training/loop.py", ()),
])  # fmt: skip
def test_code_that_is_used_counts_too(file: str, rebuilt: tuple[str, ...], package: Path, out: Path) -> None:
    path = package / file
    write_text(path, path.read_text() + "\n# changed\n")
    assert build(QUICK, context=Context(out=out), progress=False).built == rebuilt


@pytest.mark.usefixtures("fast")
def test_another_look_is_drawn_from_the_stored_result(
    package: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = package / "plots" / "tables.py"
    write_text(path, path.read_text() + "\n# changed\n")
    monkeypatch.setattr(table3, "compute", _never)
    assert build("table3", context=Context(out=out), progress=False).built == ("table3",)


@pytest.mark.usefixtures("fast")
def test_a_damaged_cache_is_computed_again(package: Path, out: Path) -> None:
    path = package / "plots" / "tables.py"
    write_text(path, path.read_text() + "\n# changed\n")
    (cached,) = (out / ".rfkit-cache").glob("table3-*.npz")
    cached.write_bytes(b"broken")
    manifest = build("table3", context=Context(out=out), progress=False)
    assert (manifest.ok, manifest.built) == (True, ("table3",))


@pytest.mark.parametrize("damage", ["delete", "edit"])
def test_a_file_that_is_missing_or_edited_is_made_again(damage: str, out: Path) -> None:
    path = out / "table3.png"
    before = path.read_bytes()
    path.unlink() if damage == "delete" else path.write_bytes(b"edited")
    assert build(QUICK, context=Context(out=out), progress=False).built == ("table3",)
    assert path.read_bytes() == before


@pytest.mark.usefixtures("fast")
def test_seed_versions_and_weights_count(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert build("fig1", context=Context(out=out, seed=1), progress=False).built == ("fig1",)
    monkeypatch.setattr(builder, "version", lambda library: "99.0")
    assert build("fig1", context=Context(out=out, seed=1), progress=False).built == ("fig1",)
    monkeypatch.setattr(builder, "_inputs", lambda names, context: {"weights:dwrseg_l": "another hash"})
    assert build("fig1", context=Context(out=out, seed=1), progress=False).built == ("fig1",)


@pytest.mark.usefixtures("fast")
def test_an_error_is_named_and_the_others_are_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(context: Context) -> None:
        raise ZeroDivisionError("no such luck")

    monkeypatch.setattr(table3, "compute", broken)
    manifest = build(["table3", "table4"], context=Context(out=tmp_path), progress=False)
    assert not manifest.ok
    assert manifest.built == ("table4",)
    assert manifest.failures["table3"].startswith("ZeroDivisionError: no such luck (test_builder.py, line ")
    assert "FAILED table3: ZeroDivisionError" in str(manifest)
    assert not list(tmp_path.glob("table3*"))


def test_an_error_while_drawing_leaves_the_old_files(out: Path, package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(out)
    path = package / "plots" / "tables.py"
    write_text(path, path.read_text() + "\n# changed\n")
    monkeypatch.setattr(table3, "text", _never)
    assert not build("table3", context=Context(out=out), progress=False).ok
    assert contents(out) == before


@pytest.mark.usefixtures("fast")
def test_what_has_no_weights_is_skipped_with_the_reason(
    out: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def skipping(context: Context) -> None:
        raise MissingInput("there are no trained weights of dwrseg_l.")

    source = package / "paper" / "table3.py"
    write_text(source, source.read_text() + "\n# changed\n")
    monkeypatch.setattr(table3, "compute", skipping)
    manifest = build(QUICK, context=Context(out=out), progress=False)
    assert manifest.ok
    assert manifest.skipped == {"table3": "there are no trained weights of dwrseg_l."}
    assert read_manifest(out).skipped == manifest.skipped
    assert not list(out.glob("table3*"))
    assert "Not built: there are no trained weights" in (out / "README.md").read_text()


def test_entries_no_longer_known_are_removed(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "FIGURES", {name: FIGURES[name] for name in QUICK if name != "table3"})
    (out / "table3.csv").write_text("edited by a person")
    (out / "mine.png").write_bytes(b"not ours")
    manifest = build(context=Context(out=out), progress=False)
    assert "table3" not in {record["entry"] for record in manifest.files.values()}
    assert sorted(path.name for path in out.glob("table3*")) == ["table3.csv"]
    assert (out / "mine.png").exists()
    assert "table3" not in json.loads((out / FILE).read_text())["captions"]


def test_an_unknown_name_lists_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"names='table33' is not known.*Did you mean 'table3'"):
        build("table33", context=Context(out=Path("nowhere")), progress=False)
    assert not Path("nowhere").exists()


@pytest.mark.parametrize("folder", ["figures", "figures/deeper"])
def test_frames_do_not_go_where_figures_are_committed(folder: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "rfkit"\n')
    context = Context(out=tmp_path / folder, data="camvid", root=tmp_path)
    with pytest.raises(ValueError, match=r"would put frames of a data set there.*--out figures-local"):
        build("table3", context=context, progress=False)
    assert not context.out.exists()


@pytest.mark.usefixtures("fast")
@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize(("folder", "data", "project"), [
    ("figures-local", "camvid", "rfkit"), ("figures", None, "rfkit"), ("figures", "scenes", "rfkit"),
    ("figures", "camvid", "thesis"),
])  # fmt: skip
def test_other_folders_and_other_images_are_free(folder: str, data: str | None, project: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "{project}"\n')
    assert build("table4", context=Context(out=tmp_path / folder, data=data), progress=False).built == ("table4",)


def test_a_damaged_manifest_is_named(out: Path) -> None:
    (out / FILE).write_text("{")
    with pytest.raises(DataError, match=r"MANIFEST.json: is damaged"):
        build("table3", context=Context(out=out), progress=False)


def test_unknown_inputs_are_a_mistake_of_the_module(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table1, "INPUTS", ("weight:dwrseg_l",))
    manifest = build("table1", context=Context(out=out), progress=False)
    assert "INPUTS: 'weight:dwrseg_l' is not known" in manifest.failures["table1"]


def _never(*_: object) -> None:
    raise AssertionError("must not be called")


def test_the_committed_figures_are_those_of_the_manifest() -> None:
    folder = sources.PACKAGE.parent / "figures"
    if not (folder / FILE).exists():
        return
    for file, record in read_manifest(folder).files.items():
        assert hashlib.sha256((folder / file).read_bytes()).hexdigest() == record["sha256"], file
