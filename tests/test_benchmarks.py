from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

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


def test_the_contrastive_term_takes_more_and_its_similarities_are_bounded(capsys: pytest.CaptureFixture[str]) -> None:
    benchmark = _benchmark("contrastive")
    benchmark.main(["--model=dwrseg_l_frm", "--batch=1", "--sizes", "32", "48", "64", "96", "--turns=1"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[2:6]] == [
        ["48x32", "without"], ["48x32", "with"], ["96x64", "without"], ["96x64", "with"]
    ]  # fmt: skip
    assert lines[6] == "similarities of 950 sampled positions: 3.6 MB each, whatever the size of the images"


def test_the_peak_of_a_step_is_what_its_tensors_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark = _benchmark("contrastive")

    def step(model: object, images: torch.Tensor, labels: object, *, contrast: bool) -> None:
        first = torch.ones(250_000)
        second = first + 1
        del first
        torch.ones(100_000).sum()
        del second

    monkeypatch.setattr(benchmark, "step", step)
    peak = benchmark.peak_bytes(torch.nn.Identity(), torch.zeros(1), None, contrast=False)
    assert 2_000_000 <= peak < 2_010_000


def test_the_explorer_is_measured_panel_by_panel(capsys: pytest.CaptureFixture[str]) -> None:
    _benchmark("explorer").main(["--model=dwrseg_b", "--size", "64", "96", "--layer=stage2", "--turns=2"])
    printed = capsys.readouterr().out
    assert "dwrseg_b, 96x64, stage2" in printed
    for label in ("new unit", "seen before"):
        lines = [line.split()[2] for line in printed.splitlines() if line.startswith(label)]
        assert lines == ["box", "map", "support", "effective", "all"]
