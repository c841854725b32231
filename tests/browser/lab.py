"""JupyterLab on 127.0.0.1 with settings of its own, and a page of Chromium that runs notebooks in it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat

ROOT = Path(__file__).parents[2]
CHROMIUM = Path(os.environ.get("RFKIT_CHROMIUM", "/usr/bin/chromium"))
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
# Generous: a busy machine may be ten times as slow as an idle one.
MINUTE = 60_000
PATIENCE = 5 * MINUTE


@contextlib.contextmanager
def running_lab(folder: Path) -> Iterator[str]:
    """The address of a JupyterLab that serves `folder`/work and keeps all of its files in `folder`."""
    work = folder / "work"
    work.mkdir(parents=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTERLAB_SETTINGS_DIR", "IPYTHONDIR")
    settings = {name: str(folder / name.lower()) for name in places}
    quiet = folder / "jupyterlab_settings_dir" / "@jupyterlab/apputils-extension" / "notification.jupyterlab-settings"
    quiet.parent.mkdir(parents=True)
    quiet.write_text('{"fetchNews": "false", "checkForUpdates": false}')
    environment = {
        **os.environ, **settings, "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }  # fmt: skip
    environment.pop("MPLBACKEND", None)
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
        "--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True", f"--ServerApp.root_dir={work}",
        "--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait_for(address, server, folder / "server.log")
        yield address
    finally:
        server.terminate()
        try:
            server.wait(60)
        except subprocess.TimeoutExpired:
            server.kill()


def _wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 300
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/api", timeout=10)
            return
        except OSError:
            time.sleep(0.5)
    raise RuntimeError(f"JupyterLab did not start: {log.read_text()[-2000:]}")


def open_notebook(page: Any, address: str, notebook: Path, folder: Path) -> Path:
    """Put a copy of a notebook into the served folder and open it, whatever dialog comes first; the copy."""
    copy = Path(shutil.copy(notebook, folder / "work" / notebook.name))
    page.goto(f"{address}/lab/workspaces/{notebook.stem}/tree/{notebook.name}?reset", timeout=PATIENCE)
    page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=PATIENCE)
    # What is run before the kernel is there is lost. "Select Kernel" may come before, or not.
    idle, accept = page.get_by_text("| Idle"), page.locator(".jp-Dialog button.jp-mod-accept")
    idle.or_(accept).first.wait_for(timeout=PATIENCE)
    if accept.count():
        accept.first.click()
    idle.first.wait_for(timeout=PATIENCE)
    return copy


def run_all(page: Any, notebook: Path) -> list[Any]:
    """Run all cells, wait until the last one is done or one fails, save; the outputs, as they stand in the file."""
    page.locator(".jp-NotebookPanel-toolbar").wait_for(timeout=PATIENCE)
    choose(page, "Run", "Run All Cells")
    end = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < end:
        page.wait_for_timeout(2000)
        choose(page, "File", "Save Notebook")
        page.wait_for_timeout(1000)
        # The file rather than the page, which need not hold cells outside of the window.
        try:
            cells = [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
        except nbformat.reader.NotJSONError:
            continue  # It is being written.
        outputs = [output for cell in cells for output in cell.outputs]
        failed = any(output.output_type == "error" for output in outputs)
        if failed or all(cell.execution_count for cell in cells):
            return outputs
    raise AssertionError(f"{notebook.name}: not all cells are done after {PATIENCE / MINUTE:.0f} minutes")


def choose(page: Any, menu: str, entry: str) -> None:
    """An entry of the menu bar."""
    page.get_by_role("menuitem", name=menu, exact=True).click(timeout=PATIENCE)
    page.locator(".lm-Menu-itemLabel", has_text=re.compile(f"^{entry}$")).click(timeout=PATIENCE)
