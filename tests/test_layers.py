"""The layers of the package: a module imports only from lower ones, and heavy libraries stay where they belong."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "rfkit"

LEVELS = {
    "_checks": 0, "_extras": 0, "_files": 0, "_progress": 0, "_version": 0, "cli_parser": 0,
    "nn": 1, "hooks": 1, "data": 1, "metrics": 1, "cost": 1, "results": 1, "loading": 1,
    "models": 2, "plots": 2,
    "analysis": 3, "training": 3, "export": 3, "cli_arguments": 3, "cli_tables": 3,
    "paper": 4, "studies": 4, "explorer": 4, "bench": 4, "api_fields": 4,
    "api": 5, "api_removal": 5, "cli_calibrate": 5, "cli_completion": 5, "cli_data": 5, "cli_fields": 5,
    "cli_advise": 5, "cli_rates": 5, "cli_removal": 6, "cli_speed": 5, "cli_sweep": 6,
    "cli": 7, "__init__": 7, "__main__": 8,
}  # fmt: skip

# What each part may import from rfkit beside itself and level 0.
ALLOWED = {
    "nn": set(), "hooks": set(), "data": set(), "metrics": set(), "cost": set(), "results": set(),
    "models": {"nn", "hooks"},
    "plots": {"results"},
    "analysis": {"results", "hooks"},
    "training": {"models", "data", "metrics", "cost", "hooks", "results"},
    "export": set(), "loading": set(), "cli_arguments": {"models"}, "cli_tables": {"results"},
}  # fmt: skip

FORBIDDEN = {
    "analysis": {"matplotlib", "seaborn"},
    "plots": {"torch", "captum"},
    "results": {"torch", "captum"},
    **{
        part: {"torch", "matplotlib", "seaborn", "captum", "pandas", "numpy"}
        for part in (
            "__init__",
            "cli",
            "cli_advise",
            "cli_arguments",
            "cli_calibrate",
            "cli_completion",
            "cli_data",
            "cli_fields",
            "cli_parser",
            "cli_rates",
            "cli_removal",
            "cli_speed",
            "cli_sweep",
            "cli_tables",
            "loading",
        )
    },
}

FILES = sorted(PACKAGE.rglob("*.py"))


def _part(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def _imports(path: Path, *, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import on line {node.lineno}"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    part = _part(path)
    for name in _imports(path):
        if name.split(".")[0] != "rfkit":
            continue
        pieces = name.split(".")
        assert len(pieces) > 1 or part in {"cli", "__main__", "__init__"}, (
            f"{path}: import names from the file that defines them"
        )
        if len(pieces) == 1:
            continue
        other = pieces[1]
        if other == part or LEVELS[other] == 0:
            continue
        assert LEVELS[other] < LEVELS[part], f"{path} imports {name}"
        if part in ALLOWED:
            assert other in ALLOWED[part], f"{path} imports {name}: {part} may use only {sorted(ALLOWED[part])}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_heavy_libraries_stay_where_they_belong(path: Path) -> None:
    part = _part(path)
    lazy = part.startswith("cli") or part in {"loading", "__init__"}
    roots = {name.split(".")[0] for name in _imports(path, top_level_only=lazy)}
    assert not roots & FORBIDDEN.get(part, set())


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import rfkit", ["torch", "numpy", "matplotlib", "pandas", "seaborn", "captum"]),
        ("import rfkit.cli", ["torch", "numpy", "matplotlib", "pandas", "seaborn", "captum"]),
        ("import rfkit.results.branches, rfkit.results.regions", ["torch", "captum", "matplotlib"]),
        ("import rfkit.plots.branches, rfkit.plots.regions", ["torch", "captum"]),
        ("import rfkit.analysis.branches", ["matplotlib", "seaborn", "rfkit.models", "rfkit.data"]),
        ("import rfkit.analysis.regions", ["matplotlib", "seaborn", "rfkit.models", "rfkit.data"]),
        ("import rfkit.analysis.theoretical", ["matplotlib", "seaborn", "captum", "rfkit.models", "rfkit.data"]),
        ("import rfkit.analysis.attribution", ["matplotlib", "seaborn", "captum", "rfkit.models", "rfkit.data"]),
        ("import rfkit.plots.attribution", ["torch", "captum"]),
        ("import rfkit.plots.receptive_field, rfkit.plots.growth", ["torch", "captum"]),
        ("import rfkit.export.onnx_file, rfkit.bench.benchmark", ["onnx", "onnxruntime", "onnxscript", "matplotlib"]),
        ("import rfkit.training.loop", ["matplotlib", "seaborn", "rfkit.analysis", "rfkit.plots"]),
    ],
)  # fmt: skip
def test_what_an_import_loads(statement: str, absent: list[str]) -> None:
    code = f"import sys; {statement}; print([name for name in {absent!r} if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=PACKAGE.parent
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"
