"""The figures and tables of a folder as one web page, index.html, which needs no other file but theirs."""

from __future__ import annotations

import os
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from rfkit._checks import data_error
from rfkit._files import write_bytes
from rfkit.paper import sources
from rfkit.paper.manifest import FILE, Manifest, read_manifest

__all__ = ["PAGE", "gallery_page", "write_gallery"]

PAGE = "index.html"
_LABELS = {"png": "PNG", "pdf": "PDF (vector)", "csv": "CSV (data)", "md": "Markdown"}


def write_gallery(folder: Path, *, names: Iterable[str]) -> Path:
    """Write the page of the figures that are in `folder`, and return its path. Nothing is built.

    Args:
        folder: where the figures, tables and their manifest are.
        names: the entries in the order of the page.

    Raises:
        rfkit._checks.DataError: `folder` holds no manifest, or a damaged one.
    """
    if not (folder / FILE).exists():
        raise data_error(folder / FILE, f"there is none, so no figures to show; `rfkit figures --out {folder}` builds.")
    page = gallery_page(read_manifest(folder), folder, names=names).encode()
    path = folder / PAGE
    if not path.exists() or path.read_bytes() != page:
        write_bytes(path, page)
    return path


def gallery_page(manifest: Manifest, folder: Path, *, names: Iterable[str]) -> str:
    """The page as HTML: a card for each entry that was built or skipped, and a search over all that a card says.

    Styles and the script are inside; pictures, data and code are linked by relative paths, so that the page can be
    opened from a disk. The code is linked where `folder` is in the project that rfkit's sources are in, and only named
    elsewhere. The same manifest and pictures give the same page.

    Args:
        manifest: what is in `folder`.
        folder: where the page goes; the sizes of pictures and what is in tables are read there.
        names: the entries in the order of the page.
    """
    cards = []
    for name in names:
        mine = {file: record for file, record in manifest.files.items() if record["entry"] == name}
        if mine:
            cards.append(_card(name, mine, manifest.captions.get(name, ""), folder))
        elif name in manifest.skipped:
            cards.append(_skipped(name, manifest.skipped[name]))
    template = Path(__file__).with_suffix(".html").read_text(encoding="utf-8")
    count = "1 figure or table" if len(cards) == 1 else f"{len(cards)} figures and tables"
    return string.Template(template).substitute(cards="\n".join(cards), count=count, manifest=FILE)


def _card(name: str, files: Mapping[str, Mapping[str, str]], caption: str, folder: Path) -> str:
    suffixes = {file.rpartition(".")[2]: file for file in files}
    module = next(iter(files.values()))["module"]
    links = [
        f'<li><a href="{escape(suffixes[suffix])}">{label}</a></li>'
        for suffix, label in _LABELS.items()
        if suffix in suffixes
    ]
    return "\n".join(
        [
            f'<article id="{escape(name)}">',
            _heading(name),
            *_picture(name, suffixes.get("png"), folder),
            f'<p id="{escape(name)}-caption" data-find>{escape(caption)}</p>',
            *_table(name, suffixes.get("md"), folder),
            f'<p class="soft">Made by {_code(module, folder)}, anew with <code>rfkit figures {escape(name)}</code></p>',
            f"<ul>{''.join(links)}</ul>",
            "</article>",
        ]
    )


def _skipped(name: str, reason: str) -> str:
    return "\n".join(
        [
            f'<article id="{escape(name)}">',
            _heading(name),
            f'<p class="soft" data-find>Not built: {escape(reason)}</p>',
            "</article>",
        ]
    )


def _heading(name: str) -> str:
    """The title of a card, which is a link to it, and the name by which the command line knows it."""
    mark = escape(name)
    return f'<h2 data-find><a href="#{mark}">{escape(_title(name))}</a> <code>{mark}</code></h2>'


def _title(name: str) -> str:
    """"fig8_dwrseg" is read as "Fig. 8, dwrseg", "probe_measures" as "Probe measures"."""
    numbered = re.fullmatch(r"(fig|table)(\d+)_?(.*)", name)
    if numbered is None:
        return name.replace("_", " ").capitalize()
    kind, number, rest = numbered.groups()
    return f"{'Fig.' if kind == 'fig' else 'Table'} {number}" + (f", {rest.replace('_', ' ')}" if rest else "")


def _table(name: str, file: str | None, folder: Path) -> list[str]:
    """The table of a Markdown file, to be searched, copied and read aloud, which its picture cannot be."""
    path = folder / (file or "")
    if file is None or not path.is_file():
        return []
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith("|")
    ]
    head, _, *body = rows
    return [
        "<details>",
        "<summary>The table as text</summary>",
        f'<div class="table" role="region" tabindex="0" aria-label="{escape(_title(name))} as text">',
        "<table data-find>",
        "<thead><tr>" + "".join(f'<th scope="col">{_cell(cell)}</th>' for cell in head) + "</tr></thead>",
        "<tbody>" + "\n".join(f"<tr>{_cells(row)}</tr>" for row in body) + "</tbody>",
        "</table></div>",
        "</details>",
    ]


def _cells(row: Sequence[str]) -> str:
    return "".join(f"<td>{_cell(cell)}</td>" for cell in row)


def _cell(text: str) -> str:
    """A cell as HTML; of Markdown only bold and escaped bars and stars occur."""
    bold = re.sub(r"(?<!\\)\*\*(.+?)(?<!\\)\*\*", r"<b>\1</b>", escape(text))
    return bold.replace("\\|", "|").replace("\\*", "*")


def _picture(name: str, file: str | None, folder: Path) -> list[str]:
    """A link to the picture that shows it; its size is given, so that a page being loaded does not jump."""
    if file is None:
        return []
    # The header of a PNG: 8 bytes of signature, 8 of the first chunk's length and name, then width and height.
    header = (folder / file).read_bytes()[:24]
    width, height = (int.from_bytes(header[at : at + 4], "big") for at in (16, 20))
    return [
        f'<a class="picture" href="{escape(file)}"><img src="{escape(file)}" alt="{escape(_title(name))}" '
        f'loading="lazy" width="{width}" height="{height}" style="--width:{width}" '
        f'aria-describedby="{escape(name)}-caption"></a>'
    ]


def _code(module: str, folder: Path) -> str:
    named = f"<code data-find>{escape(module)}</code>"
    project, out = sources.PACKAGE.resolve().parent, folder.resolve()
    if project not in out.parents or not (project / "pyproject.toml").exists():
        return named
    path = project.joinpath(*module.split(".")).with_suffix(".py")
    return f'<a href="{escape(Path(os.path.relpath(path, out)).as_posix())}">{named}</a>'
