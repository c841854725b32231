"""Every notebook runs from top to bottom, quietly, and shows what its text speaks of."""

from __future__ import annotations

import os
import re
import resource
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image
from thumbnails import FOLDER, figures, thumbnail

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

# A notebook is to take less than a minute, here on one thread: several threads that wait for each other on a busy
# machine take many times as long. Processor time, for the same reason.
CPU_SECONDS = 60
TIMEOUT = 600
# Between a thumbnail and its notebook's figure, the mean difference of gray values of 0 to 255. The last digits of a
# training differ from one machine to the next; two of different notebooks are 16 and more apart.
ALIKE = 6.0


@pytest.mark.notebook
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The kernel is to find this checkout, wherever the notebook writes, and no settings of the user's.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("MPLCONFIGDIR", os.environ.get("MPLCONFIGDIR", str(tmp_path / "matplotlib")))
    monkeypatch.delenv("MPLBACKEND", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    work = tmp_path / "work"
    work.mkdir()
    start = _cpu_seconds_of_children()
    NotebookClient(
        notebook, timeout=TIMEOUT, kernel_name="python3", resources={"metadata": {"path": str(work)}}
    ).execute()
    assert _cpu_seconds_of_children() - start < CPU_SECONDS

    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    assert len(_captions(notebook)) == len(figures(notebook))
    for cell, after in zip(notebook.cells, [*notebook.cells[1:], None], strict=True):
        drawn = [output for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]
        assert len(drawn) == (after is not None and _caption(after) is not None), cell.source
        assert all(len(picture.data["image/png"]) > 5000 for picture in drawn)
    now = np.asarray(thumbnail(path.stem, figures(notebook)).convert("L"), float)
    shown = np.asarray(Image.open(FOLDER / f"{path.stem}.png").convert("L"), float)
    assert np.abs(now - shown).mean() < ALIKE, f"the README shows an old {path.stem}; `make screenshots` takes it anew"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_asks_shows_explains_and_goes_on(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    assert texts[0].startswith("# ")
    assert "?" in texts[0], "its question comes first"
    captions = _captions(notebook)
    assert [number for number, _ in captions] == list(range(1, len(captions) + 1))
    assert 1 <= len(captions) <= 2
    for _, caption in captions:
        assert 15 <= len(caption.split()) <= 75, caption
    explained = [text for text in texts if _CAPTION.match(text)]
    assert all("**How to read it.**" in text for text in explained)
    assert "**Try next.**" in texts[-1]
    links = [link for text in texts for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert [link for link in links if not (path.parent / link).exists()] == []
    later = NOTEBOOKS[NOTEBOOKS.index(path) + 1 :]
    assert not later or later[0].name in links, "the story goes on with the next notebook"


_CAPTION = re.compile(r"\*\*Figure (\d)\.\*\* \*(.+?)\*\n\n", re.DOTALL)


def _caption(cell: Any) -> tuple[int, str] | None:
    """Number and text of the caption that a cell begins with."""
    found = _CAPTION.match(cell.source) if cell.cell_type == "markdown" else None
    return None if found is None else (int(found[1]), found[2])


def _captions(notebook: Any) -> list[tuple[int, str]]:
    return [caption for caption in map(_caption, notebook.cells) if caption is not None]


def _cpu_seconds_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
