"""Makes the screenshots of the README: rfkit's explorer in JupyterLab, on a procedural scene, as PNG files.

    python docs/screenshots.py [--out docs/images]

It needs the extras `notebook` and `dev`, and Chromium (RFKIT_CHROMIUM names it, if it is not /usr/bin/chromium).
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from pathlib import Path

import nbformat
from PIL import Image
from playwright.sync_api import sync_playwright

from rfkit._files import write_bytes

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from browser.lab import ARGUMENTS, CHROMIUM, PATIENCE, open_notebook, run_all, running_lab

CODE = """\
import rfkit

model = rfkit.create_model("dwrseg_l", weights="camvid").eval()
scene = rfkit.Scenes("test", size=(360, 480), length=3)[1]
rfkit.explore(model, scene.image, layer="stage3.1", pixel=(215, 300))
"""


def main() -> None:
    """Run the cell in a browser, drive the explorer as a reader would, and save what is seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images")
    arguments = parser.parse_args()
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CODE)], metadata=kernel)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        nbformat.write(notebook, folder / "explorer.ipynb")
        with running_lab(folder / "lab") as address:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            page = browser.new_page(viewport={"width": 1660, "height": 1500})
            copy = open_notebook(page, address, folder / "explorer.ipynb", folder / "lab")
            run_all(page, copy)
            page.get_by_label("Support", exact=True).uncheck()
            page.get_by_label("Attribution", exact=True).check()
            page.locator(".rfkit-picture[alt^='attribution of']").wait_for(timeout=PATIENCE)
            page.locator('[role="status"]', has_text="Ready.").wait_for(timeout=PATIENCE)
            seen = page.locator(".jp-OutputArea-output").first.screenshot()
            browser.close()
    file = io.BytesIO()
    # All colours: a palette of 256 changes those of thin lines, which mean something.
    Image.open(io.BytesIO(seen)).convert("RGB").save(file, "PNG", optimize=True)
    write_bytes(arguments.out / "explorer.png", file.getvalue())
    print(f"{arguments.out / 'explorer.png'}: {len(file.getvalue()) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
