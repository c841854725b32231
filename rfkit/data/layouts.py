"""Which of the folder layouts a data set is found in, and where."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rfkit._checks import data_error
from rfkit.data.dataset import SPLITS

__all__ = ["contents_of", "find_layout", "splits_in"]

# A layout's name -> the folders that all have to be there.
Signs = Mapping[str, tuple[str, ...]]


def find_layout(root: str | Path, signs: Signs, *, title: str, nested: str | None = None) -> tuple[Path, str]:
    """The folder that holds a layout, `root` or its folder `nested`, and the name of the layout.

    Args:
        root: Where to look.
        signs: What tells the layouts apart; the first that fits is taken.
        title: The data set, for messages.
        nested: The folder that archives of this data set often unpack to.

    Raises:
        FileNotFoundError: If `root` does not exist.
        DataError: If it holds none of the layouts.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder (root of {title})")
    for folder in (root, root / nested) if nested else (root,):
        name = _layout_of(folder, signs)
        if name is not None:
            return folder, name
    wanted = "; ".join(f"{' and '.join(f'{folder}/' for folder in part)} ({name})" for name, part in signs.items())
    raise data_error(
        root, f"holds no layout of {title}. Looked for {wanted}. It holds: {contents_of(root)}.{_hint(root, signs)}"
    )


def splits_in(folder: Path) -> tuple[str, ...]:
    """Which of train, val and test are folders in `folder`."""
    return tuple(split for split in SPLITS[:3] if (folder / split).is_dir())


def contents_of(folder: Path) -> str:
    """The first ten entries of a folder, for messages."""
    if not folder.is_dir():
        return "nothing, it does not exist"
    entries = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in folder.iterdir())
    shown = ", ".join(entries[:10]) or "nothing"
    return f"{shown} and {len(entries) - 10} more" if len(entries) > 10 else shown


def _layout_of(folder: Path, signs: Signs) -> str | None:
    return next((name for name, part in signs.items() if all((folder / sign).is_dir() for sign in part)), None)


def _hint(root: Path, signs: Signs) -> str:
    for folder in sorted(entry for entry in root.iterdir() if entry.is_dir()):
        if _layout_of(folder, signs):
            return f" Its folder {folder.name}/ does: pass that as root."
    above = root.resolve().parent
    return f" The folder above it, {above}, does: pass that as root." if _layout_of(above, signs) else ""
