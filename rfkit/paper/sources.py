"""Which source files a figure is made by, and their hash."""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

__all__ = ["PACKAGE", "drawing_only", "module_files", "source_hash"]

PACKAGE = Path(__file__).parents[1]
"""The folder whose sources are hashed."""

_DRAWING = {"matplotlib", "seaborn"}


def module_files(modules: Iterable[str], *, without: Iterable[str] = (), package: Path | None = None) -> list[Path]:
    """The files of `modules` and of every rfkit module they import, directly or not, also inside functions.

    Data files (.toml, .csv) that lie in an imported package belong to it.

    Args:
        modules: full names, such as "rfkit.paper.table1".
        without: full names of modules that are not followed.
        package: folder of the package; the installed one if None.
    """
    package = PACKAGE if package is None else package
    pending, seen, files = list(modules), set(without), set()
    while pending:
        name = pending.pop()
        path = _path(name, package)
        if name in seen or path is None:
            continue
        seen.add(name)
        files.add(path)
        if path.name == "__init__.py":
            files.update(path.parent.glob("*.toml"), path.parent.glob("*.csv"))
        pending += _imports(path)
    return sorted(files)


def source_hash(files: Iterable[Path], *, package: Path | None = None) -> str:
    """SHA-256 over the names (below the package) and the contents of `files`."""
    package = PACKAGE if package is None else package
    digest = hashlib.sha256()
    for path in files:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(package).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def drawing_only(path: Path, *, package: Path | None = None) -> bool:
    """Whether a file belongs to `rfkit.plots` and imports a drawing library, so that no result depends on it."""
    package = PACKAGE if package is None else package
    if path.suffix != ".py" or path.relative_to(package).parts[0] != "plots":
        return False
    return any(name.split(".")[0] in _DRAWING for name in _all_imports(path))


def _path(name: str, package: Path) -> Path | None:
    """The file of a module of rfkit; None for anything else."""
    first, *rest = name.split(".")
    if first != package.name:
        return None
    base = package.joinpath(*rest)
    candidates = (base.with_suffix(".py") if rest else base / "__init__.py", base / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


def _imports(path: Path) -> list[str]:
    return [name for name in _all_imports(path) if name.split(".")[0] == "rfkit"]


def _all_imports(path: Path) -> tuple[str, ...]:
    return _names(path.read_text(encoding="utf-8")) if path.suffix == ".py" else ()


@functools.cache
def _names(source: str) -> tuple[str, ...]:
    """Full names that a source file imports."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from package import module` names a module in its second half.
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(found)
