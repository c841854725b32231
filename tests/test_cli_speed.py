"""`rfkit benchmark` and `rfkit export` as typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import rfkit._extras as extra
from rfkit import cli_speed
from rfkit.bench import backends
from rfkit.bench.clock import Run
from rfkit.cli_parser import Parser
from rfkit.results.speed import read_speeds

NETS = """
from torch import nn

def make(width=4):
    return nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
"""


@pytest.fixture
def nets(tmp_path: Path) -> str:
    path = tmp_path / "nets.py"
    path.write_text(NETS, encoding="utf-8")
    return f"{path}:make"


@pytest.fixture(autouse=True)
def _steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of 20 ms, on a machine that is never busy."""
    monkeypatch.setattr(backends, "ProcessorClock", lambda: lambda function: (function(), Run(0.02, 1.0))[1])


def run(*words: str) -> None:
    parser = Parser(prog="rfkit")
    commands = parser.add_subparsers()
    cli_speed.add_benchmark(commands)
    cli_speed.add_export(commands)
    arguments = parser.parse_args(words)
    arguments.run(arguments)


BENCHMARK = ("benchmark", "--device", "cpu", "--threads", "1", "--runs", "3", "--warmup", "1")


def test_a_table_and_what_it_was_measured_on(capsys: pytest.CaptureFixture[str], nets: str) -> None:
    run(*BENCHMARK, nets, "--size", "16", "24", "--precision", "fp32", "--precision", "fp16", "--compare-to", nets)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["network", "size", "backend"]
    assert lines[0].endswith(f"beside {nets}")
    cells = lines[1].split()
    assert cells[:8] == [nets, "16", "x", "24", "eager", "fp32", "50", "20"]
    assert "3 of 3" in lines[1]
    assert cells[-1] == "1.00"
    assert lines[2].startswith("cpu: ")
    assert ", 1 thread, batch 1; torch " in lines[2]
    assert lines[3].startswith(f"not measured: {nets}, 16x24, eager, fp16: fp16 is for CUDA devices; ")


def test_rows_go_to_a_file_that_keeps_others(capsys: pytest.CaptureFixture[str], nets: str, tmp_path: Path) -> None:
    out = str(tmp_path / "speeds.csv")
    run(*BENCHMARK, nets, "--size", "16", "24", "--size", "8", "8", "--out", out)
    run(*BENCHMARK, nets, "--size", "8", "8", "--option", "width=6", "--out", out)
    run(*BENCHMARK, nets, "--size", "8", "8", "--out", out, "--format", "json")
    captured = capsys.readouterr()
    rows = read_speeds(out).rows
    assert [(row.model, row.height) for row in rows] == [(nets, 16), (f"{nets} (width=6)", 8), (nets, 8)]
    printed = captured.out[captured.out.index("[") :]
    assert json.loads(printed)[0]["fps"] == 50
    assert "torch" in captured.err


def test_a_name_to_compare_to_that_is_not_measured(nets: str) -> None:
    with pytest.raises(ValueError, match="--compare-to='dwrseg_b' is not known"):
        run(*BENCHMARK, nets, "--size", "8", "8", "--compare-to", "dwrseg_b")


def test_export_says_what_was_written(capsys: pytest.CaptureFixture[str], nets: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    out = tmp_path / "net.onnx"
    run("export", nets, "--option", "width=6", "--out", str(out), "--size", "16", "24")
    lines = capsys.readouterr().out.splitlines()
    assert out.is_file()
    assert lines[0].startswith(f"{out}: ")
    assert lines[0].endswith("1 x 3 x 16 x 24")
    assert lines[1] == "norms: 1 folded into convolutions, 0 left"
    assert lines[2].endswith("100 % of the pixels have the same class")


@pytest.mark.parametrize(("words", "message"), [
    (("--out", "net.onnx", "--model", "dwrseg_b"), "give either MODULE:FACTORY, or --model and --weights"),
])  # fmt: skip
def test_export_refuses(nets: str, words: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run("export", nets, "--size", "8", "8", *words)


def test_export_refuses_options_of_a_registered_network() -> None:
    with pytest.raises(ValueError, match="--option belongs to MODULE:FACTORY"):
        run("export", "--model", "dwrseg_b", "--option", "width=1", "--out", "net.onnx", "--size", "8", "8")


def test_export_names_the_extra_that_is_missing(nets: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(extra, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"rfkit\[export\]"):
        run("export", nets, "--out", str(tmp_path / "net.onnx"), "--size", "8", "8")


@pytest.mark.parametrize("name", ["benchmark", "export"])
def test_help_has_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(name, "--help")
    assert f"examples:\n  rfkit {name} " in capsys.readouterr().out
