from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from rfkit.data.opening import open_data
from rfkit.data.scenes import Scenes

FOLDER = Path(__file__).parents[1] / "benchmarks"


def _benchmark(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by its name.
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
    return module


def test_the_loop_is_measured_from_memory_and_from_files(capsys: pytest.CaptureFixture[str]) -> None:
    _benchmark("training").main(
        [
            "--model=dwrseg_b",
            "--size",
            "32",
            "48",
            "--batch-size=2",
            "--frames=2",
            "--steps=1",
            "--rounds=1",
            "--device=cpu",
        ]
    )
    printed = capsys.readouterr().out
    assert "dwrseg_b, 48x32, batches of 2, fp32; 1 steps a turn" in printed
    for label in ("in memory", "from files"):
        line = next(line for line in printed.splitlines() if line.startswith(label))
        assert "images/s" in line
        assert "1 rounds" in line


def test_scenes_written_to_files_are_the_scenes(tmp_path: Path) -> None:
    scenes = Scenes("train", size=(32, 48), length=2)
    _benchmark("training").write_folder(scenes, tmp_path)
    folder = open_data("folder", tmp_path, split="train")
    assert folder.classes == scenes.classes
    for written, drawn in zip(folder, scenes, strict=True):
        assert (written.image == drawn.image).all()
        assert (written.label == drawn.label).all()


def test_the_explorer_is_measured_panel_by_panel(capsys: pytest.CaptureFixture[str]) -> None:
    _benchmark("explorer").main(["--model=dwrseg_b", "--size", "64", "96", "--layer=stage2", "--turns=2"])
    printed = capsys.readouterr().out
    assert "dwrseg_b, 96x64, stage2" in printed
    for label in ("new unit", "seen before"):
        lines = [line.split()[2] for line in printed.splitlines() if line.startswith(label)]
        assert lines == ["box", "map", "support", "effective", "all"]
