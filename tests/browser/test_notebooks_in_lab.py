"""Every notebook in JupyterLab, as a reader runs it: no error, nothing on stderr, figures present."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from browser.lab import PATIENCE, ROOT, open_notebook, run_all

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.browser
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_in_a_browser(path: Path, lab: tuple[str, Path], page: Any) -> None:
    address, folder = lab
    copy = open_notebook(page, address, path, folder)
    outputs = run_all(page, copy)
    assert [output.evalue for output in outputs if output.output_type == "error"] == []
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    assert [output for output in outputs if len(output.get("data", {}).get("image/png", "")) > 5000]
    # And a reader sees them.
    page.wait_for_function(
        "[...document.querySelectorAll('.jp-OutputArea-output img')].some(image => image.naturalWidth > 100)",
        timeout=PATIENCE,
    )
