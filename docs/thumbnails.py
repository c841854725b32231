"""Makes the pictures of the README's gallery: one figure of each notebook, as small PNG files of one size.

    python docs/thumbnails.py [notebooks/NAME.ipynb ...] [--out docs/images/notebooks]

Each notebook is run from top to bottom, in a folder that is thrown away. It needs the extra `notebook`.
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from PIL import Image

from rfkit._files import write_bytes

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "images" / "notebooks"
SIZE = (480, 270)  # width and height in pixels, twice what the README shows
# The figure that tells most of a notebook; Figure 1 where it is not named.
CHOSEN = {
    "00_quickstart": 2, "04_theoretical_rf": 2, "09_train": 2, "10_regseg_dilations": 2, "12_feature_refinement": 2,
    "13_calibration": 2,
}  # fmt: skip


def figures(notebook: Any) -> list[bytes]:
    """The figures of a notebook that was run, as PNG files: Figure 1, Figure 2."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    found = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    return [base64.b64decode(picture) for picture in found]


def thumbnail(name: str, pictures: list[bytes]) -> Image.Image:
    """The chosen one of a notebook's figures, on white, in the size of all thumbnails."""
    picture = Image.open(io.BytesIO(pictures[CHOSEN.get(name, 1) - 1])).convert("RGB")
    # A tall figure is shown from its top, rather than too small to be recognised.
    tallest = picture.width * SIZE[1] * 5 // (SIZE[0] * 4)
    picture = picture.crop((0, 0, picture.width, min(picture.height, tallest)))
    picture.thumbnail(SIZE, Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", SIZE, "white")
    canvas.paste(picture, ((SIZE[0] - picture.width) // 2, (SIZE[1] - picture.height) // 2))
    return canvas


def main() -> None:
    """Run the notebooks and write a thumbnail of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, help="those to run; all by default")
    parser.add_argument("--out", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    os.environ.pop("MPLBACKEND", None)
    # As the tests run them: what is trained depends on the number of threads, in its last digits at first.
    os.environ["OMP_NUM_THREADS"] = "1"
    for path in arguments.notebooks or sorted((ROOT / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as folder:
            # A kernel warns at each start that others might listen.
            NotebookClient(
                notebook, timeout=600, resources={"metadata": {"path": folder}}, extra_arguments=["--log-level=ERROR"]
            ).execute()
        file = io.BytesIO()
        # A palette is enough at this size, and a quarter of the bytes; this one keeps the colours of thin lines.
        small = thumbnail(path.stem, figures(notebook))
        small = small.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        small.save(file, "PNG", optimize=True)
        write_bytes(arguments.out / f"{path.stem}.png", file.getvalue())
        print(f"{arguments.out / path.stem}.png: {len(file.getvalue()) / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
