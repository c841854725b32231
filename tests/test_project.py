"""What the files around the package promise: versions, environments, lazy import, notebooks, the README's code."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import rfkit

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
DIRECT = [Requirement(text) for group in (PROJECT["dependencies"], *EXTRAS.values()) for text in group]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def _pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_one_version_everywhere() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert PROJECT["version"] == rfkit.__version__
    assert re.search(r"^version: (.+)$", citation, re.MULTILINE)[1] == rfkit.__version__


@pytest.mark.parametrize("requirement", DIRECT, ids=lambda requirement: requirement.name)
def test_constraints_pin_every_dependency_within_its_range(requirement: Requirement) -> None:
    assert requirement.name in _pins()
    assert requirement.specifier.contains(_pins()[requirement.name])


def test_constraints_pin_no_build_of_a_package() -> None:
    assert not [pin for pin in _pins().values() if "+" in pin]


def test_conda_environment_installs_what_pyproject_lists() -> None:
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    listed = re.search(r"^ +- -e \.\[(.+)\]$", text, re.MULTILINE)
    assert set(listed[1].split(",")) == set(EXTRAS) - {"docs"}
    assert "- -c constraints.txt" in text
    python = re.search(r"^ +- python=(.+)$", text, re.MULTILINE)[1]
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(f"{python}.0")
    # A package named here would have to be kept in step with pyproject.toml by hand.
    named = set(re.findall(r"^ +- ([\w-]+)", text, re.MULTILINE))
    assert named == {"conda-forge", "python", "pip", "-c", "-e"}


def test_make_installs_what_pyproject_lists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    everything = re.search(r"^EXTRAS = (.+)$", makefile, re.MULTILINE)
    assert everything
    # What only `make docs` needs, it installs itself.
    assert set(everything[1].split(",")) == set(EXTRAS) - {"docs"}
    assert re.findall(r"install-extras,(.+)\)$", makefile, re.MULTILINE) == ["$(EXTRAS)", "notebook"]
    assert re.findall(r"-c constraints.txt -e '\.\[(.+)\]'", makefile) == ["$(1)", "docs"]


def test_import_is_quick_and_loads_nothing_heavy() -> None:
    heavy = ["torch", "numpy", "pandas", "matplotlib", "seaborn", "captum", "jaxtyping"]
    code = (
        "import sys, time; start = time.perf_counter(); import rfkit; seconds = time.perf_counter() - start; "
        f"print(seconds, [name for name in {heavy} if name in sys.modules])"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
        for _ in range(3)
    ]
    assert runs[0].split(maxsplit=1)[1].strip() == "[]"
    assert min(float(run.split()[0]) for run in runs) < 0.1


def test_every_public_name_is_there() -> None:
    for name in rfkit.__all__:
        assert getattr(rfkit, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'brunch_weights'"):
        rfkit.brunch_weights  # noqa: B018


def test_no_public_function_shares_its_name_with_a_module() -> None:
    files = (ROOT / "rfkit").iterdir()
    modules = {path.stem for path in files if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert not modules & (set(rfkit.__all__) - {"__version__"})


def test_the_notebooks_are_there() -> None:
    names = [path.stem for path in NOTEBOOKS]
    assert [name[:3] for name in names] == [f"{number:02}_" for number in range(len(names))]
    assert names[:2] == ["00_quickstart", "01_explore"]
    first = json.loads(NOTEBOOKS[0].read_text(encoding="utf-8"))
    contents = "".join("".join(cell["source"]) for cell in first["cells"])
    gallery = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in NOTEBOOKS[1:]:
        assert f"]({path.name})" in contents, "the first notebook lists all others"
    for path in NOTEBOOKS:
        picture = f"docs/images/notebooks/{path.stem}.png"
        assert f"({picture})](notebooks/{path.name})" in gallery, "the README's gallery links each from its picture"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_text_and_calls_without_outputs(path: Path) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["cells"][0]["cell_type"] == "markdown"
    for cell in content["cells"]:
        if cell["cell_type"] != "code":
            continue
        source = "".join(cell["source"])
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        kinds = {type(node) for node in ast.walk(ast.parse(source.replace("%matplotlib", "#")))}
        assert not kinds & {ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef}, source


def _readme_code() -> str:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    # The second goes on with the names of the first.
    return "".join(blocks)


def test_the_readme_runs(tmp_path: Path) -> None:
    environment_free = "import matplotlib; matplotlib.use('Agg')\n"
    # Processor time, which another program on the machine does not change.
    start = os.times()
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", environment_free + _readme_code()],
        capture_output=True, text=True, check=False, cwd=tmp_path, env=_environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    end = os.times()
    spent = end.children_user + end.children_system - start.children_user - start.children_system
    assert spent < 120


def test_the_readme_names_files_that_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert links
    for link in links:
        assert (ROOT / link.split("#")[0]).exists(), link


def test_the_readme_lists_every_command() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "rfkit", "--help"], capture_output=True, text=True, check=True, env=_environment()
    )
    commands = re.findall(r"^  (\w+)  ", done.stdout.split("\ncommands:\n")[1].split("\n\n")[0], re.MULTILINE)
    assert len(commands) >= 7
    for command in commands:
        assert f"rfkit {command}" in text


def _environment() -> dict[str, str]:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "MPLBACKEND": "Agg"}
