"""Builds the figures and tables: what changed since the last time, and nothing else."""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import tomllib
import traceback
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from rfkit._checks import DataError, unknown_name
from rfkit._files import write_bytes
from rfkit._progress import Bar
from rfkit.paper import sources
from rfkit.paper.context import Context, MissingInput
from rfkit.paper.gallery import write_gallery
from rfkit.paper.manifest import FILE, Manifest, read_manifest, sha256
from rfkit.plots.styles import style
from rfkit.results.base import Result

__all__ = ["FIGURES", "build"]

FIGURES: Mapping[str, str] = MappingProxyType(
    {
        "fig1": "rfkit.paper.fig1_tradeoff",
        "fig2": "rfkit.paper.fig2_two_steps",
        "fig3": "rfkit.paper.fig3_network",
        "fig4": "rfkit.paper.fig4_modules",
        "fig5": "rfkit.paper.fig5_region_maps",
        "fig6": "rfkit.paper.fig6_stem_head",
        "fig7": "rfkit.paper.fig7_competing_branches",
        "fig8": "rfkit.paper.fig8_branch_weights",
        "fig8_dwrseg": "rfkit.paper.fig8_dwrseg",
        "probe_measures": "rfkit.paper.probe_measures",
        "probe_blocks": "rfkit.paper.probe_blocks",
        "probe_removal": "rfkit.paper.probe_removal",
        "training": "rfkit.paper.training_curves",
        "calibration": "rfkit.paper.calibration",
        "calibration_claims": "rfkit.paper.calibration_claims",
        "table1": "rfkit.paper.table1",
        "table2": "rfkit.paper.table2",
        "table2_short": "rfkit.paper.table2_short",
        "ablations": "rfkit.paper.ablations",
        "table3": "rfkit.paper.table3",
        "table4": "rfkit.paper.table4",
        "learned_rates": "rfkit.paper.learned_rates",
        "speed": "rfkit.paper.speeds",
    }
)
"""Name -> module with NAME, CAPTION, INPUTS, compute(context) and draw(result), and text(result) for a table."""

_LIBRARIES = ("numpy", "matplotlib", "torch", "seaborn")
_CACHE = ".rfkit-cache"
_INDEX = "README.md"
_CONTEXT = "rfkit.paper.context"
_DOTS_PER_INCH = 200


def build(
    names: str | Iterable[str] | None = None, *, context: Context, force: bool = False, progress: bool = True
) -> Manifest:
    """Bring figures and tables in `context.out` up to date, and return what is there then.

    An entry is made anew if its code, the code it uses, its inputs, the seed or a version of a library changed, or a
    file of it is missing or was edited. Each becomes a PNG, a PDF and its data as CSV, a table also Markdown; all
    files of an entry are ready before the first is written. The same inputs give the same bytes. An error in one
    entry does not keep the others from being built; see `Manifest.failures`. README.md and index.html show them all.

    Args:
        names: entries, keys of `FIGURES`; all if None.
        context: inputs and the folder to write to.
        force: build also what is up to date.
        progress: show a progress bar.

    Raises:
        ValueError: a name is unknown, or frames of a data set would go into the folder that is committed.
    """
    wanted = _select(names)
    _check_folder(context)
    old = read_manifest(context.out)
    files = {name: entry for name, entry in old.files.items() if entry["entry"] in FIGURES}
    skipped = {name: reason for name, reason in old.skipped.items() if name in FIGURES}
    captions = {name: caption for name, caption in old.captions.items() if name in FIGURES}
    built, failures = [], {}
    bar = Bar(wanted, disable=not progress, desc="figures")
    for name in bar:
        bar.set_postfix_str(name)
        try:
            entry = _Entry(name, context)
            if force or not entry.is_current(files):
                fresh = entry.make(force=force)
                files = {file: record for file, record in files.items() if record["entry"] != name} | fresh
                built.append(name)
            captions[name] = entry.module.CAPTION
            skipped.pop(name, None)
        except MissingInput as error:
            skipped[name] = str(error)
            captions.pop(name, None)
            files = {file: record for file, record in files.items() if record["entry"] != name}
        except Exception as error:
            failures[name] = _explain(error)
    _remove_orphans(context.out, old, files)
    manifest = Manifest(files, skipped, captions, tuple(built), failures)
    _save(context.out, manifest)
    return manifest


class _Entry:
    """One figure or table: its module, what it is made from, and the files it becomes."""

    def __init__(self, name: str, context: Context) -> None:
        self.name, self.context = name, context
        self.module: ModuleType = importlib.import_module(FIGURES[name])
        self.inputs = _inputs(self.module.INPUTS, context)
        roots = [FIGURES[name], *([_CONTEXT] if self.inputs else [])]
        used = sources.module_files(roots, without=() if self.inputs else (_CONTEXT,))
        computing = [path for path in used if not sources.drawing_only(path)]
        self.versions = {library: version(library).split("+")[0] for library in _LIBRARIES}
        common = {"entry": name, "inputs": self.inputs, "seed": context.seed, "versions": self.versions}
        if "data" in self.inputs:
            common["root"] = str(context.root)
        self.key = _hash({**common, "sources": sources.source_hash(used)})
        self.result_key = _hash({**common, "sources": sources.source_hash(computing)})

    def is_current(self, files: Mapping[str, Mapping[str, Any]]) -> bool:
        """Whether all files of the entry are there, unchanged, and made from what is there now."""
        mine = {file: record for file, record in files.items() if record["entry"] == self.name}
        return bool(mine) and all(
            record["key"] == self.key and _hash_of(self.context.out / file) == record["sha256"]
            for file, record in mine.items()
        )

    def make(self, *, force: bool) -> dict[str, dict[str, Any]]:
        """Write the files; returns their records."""
        result = self._result(force=force)
        contents = _render(self.module, result)
        records = {}
        for suffix, data in contents.items():
            file = f"{self.name}.{suffix}"
            write_bytes(self.context.out / file, data)
            records[file] = {
                "entry": self.name,
                "module": self.module.__name__,
                "inputs": self.inputs,
                "seed": self.context.seed,
                "versions": self.versions,
                "key": self.key,
                "sha256": sha256(data),
            }
        return records

    def _result(self, *, force: bool) -> Result:
        """The result, from the cache if nothing that it depends on has changed."""
        folder = self.context.out / _CACHE
        path = folder / f"{self.name}-{self.result_key[:16]}.npz"
        if path.exists() and not force:
            try:
                return Result.load(path)
            except DataError:
                path.unlink()
        result = self.module.compute(self.context)
        for stale in folder.glob(f"{self.name}-*.npz"):
            stale.unlink()
        result.save(path)
        return result


def _render(module: ModuleType, result: Result) -> dict[str, bytes]:
    """Suffix -> content. Dates and program names are left out, so that the same picture is the same file."""
    with style(), plt.rc_context({"svg.hashsalt": "rfkit"}):
        figure: Figure = module.draw(result)
        try:
            contents = {
                "png": _picture(figure, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None}),
                "pdf": _picture(figure, format="pdf", metadata={"CreationDate": None, "Title": module.NAME}),
            }
        finally:
            plt.close(figure)
    contents["csv"] = result.to_frame().to_csv(index=False, lineterminator="\n").encode()
    if hasattr(module, "text"):
        contents["md"] = module.text(result).encode()
    return contents


def _picture(figure: Figure, **options: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, **options)
    return buffer.getvalue()


def _select(names: str | Iterable[str] | None) -> list[str]:
    wanted = list(FIGURES) if names is None else [names] if isinstance(names, str) else list(names)
    for name in wanted:
        if name not in FIGURES:
            raise unknown_name("names", name, FIGURES)
    return [name for name in FIGURES if name in wanted]


def _check_folder(context: Context) -> None:
    """Frames of a data set are never committed, so they may not go where the committed figures are."""
    if not context.shows_frames:
        return
    out = context.out.resolve()
    for folder in (out, *out.parents):
        project = folder.parent / "pyproject.toml"
        if folder.name == "figures" and project.is_file():
            name = tomllib.loads(project.read_text(encoding="utf-8")).get("project", {}).get("name")
            if name == "rfkit":
                raise ValueError(
                    f"out={str(context.out)!r} holds the committed figures, and data={context.data!r} would put frames "
                    "of a data set there; give another folder: --out figures-local."
                )


def _inputs(names: Iterable[str], context: Context) -> dict[str, Any]:
    """What an entry is made from: file names with hashes; None for weights that are not there."""
    found: dict[str, Any] = {}
    for name in names:
        kind, _, which = name.partition(":")
        if kind == "data":
            found["data"] = context.data_label
        elif kind == "weights" and which == "*":
            found |= {f"weights:{path.name}": sha256(path.read_bytes()) for path, _ in context.weights_files()}
            found.setdefault("weights", "all")
        elif kind == "logs":
            logs = context.logs()
            found |= {f"log:{card.model}-{card.seed}": sha256(path.read_bytes()) for path, card in logs}
            found.setdefault("logs", "all")
        elif kind == "weights":
            path = context.weights_file(which)
            found[name] = None if path is None else {"file": path.name, "sha256": context.weights_hash(which)}
        else:
            raise ValueError(f"INPUTS: {name!r} is not known; allowed: 'data', 'logs', 'weights:MODEL', 'weights:*'.")
    return found


def _remove_orphans(out: Path, old: Manifest, files: Mapping[str, Any]) -> None:
    """Delete generated files that nothing makes any more; a file that someone edited stays."""
    for file, record in old.files.items():
        if file not in files and _hash_of(out / file) == record["sha256"]:
            (out / file).unlink()


def _save(out: Path, manifest: Manifest) -> None:
    """Write the index, the manifest and the page where they differ from what is there."""
    index = _index(manifest).encode()
    if _hash_of(out / _INDEX) != sha256(index):
        write_bytes(out / _INDEX, index)
    stored = read_manifest(out)
    if (stored.files, stored.skipped, stored.captions) != (manifest.files, manifest.skipped, manifest.captions) or not (
        out / FILE
    ).exists():
        manifest.save(out)
    write_gallery(out, names=FIGURES)


def _index(manifest: Manifest) -> str:
    """A page that shows every figure with its caption."""
    lines = ["# Figures and tables", "", f"Generated by `rfkit figures`; what each is made from is in {FILE}.", ""]
    for name in FIGURES:
        mine = sorted(file for file, record in manifest.files.items() if record["entry"] == name)
        if mine:
            links = ", ".join(f"[{file.rpartition('.')[2]}]({file})" for file in mine)
            lines += [
                f"## {name}",
                "",
                f"![{name}]({name}.png)",
                "",
                f"{manifest.captions.get(name, '')} ({links})",
                "",
            ]
        elif name in manifest.skipped:
            lines += [f"## {name}", "", f"Not built: {manifest.skipped[name]}", ""]
    return "\n".join(lines)


def _hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _hash_of(path: Path) -> str | None:
    return sha256(path.read_bytes()) if path.is_file() else None


def _explain(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"
