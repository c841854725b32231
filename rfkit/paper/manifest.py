"""What was built from what: MANIFEST.json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rfkit._checks import data_error
from rfkit._files import write_text

__all__ = ["FILE", "Manifest", "read_manifest", "sha256"]

FILE = "MANIFEST.json"
_FORMAT = "rfkit-figures-1"


@dataclass(frozen=True)
class Manifest:
    """The files in a folder of figures and where each comes from.

    Attributes:
        files: file name -> entry, module, inputs (with hashes), seed, versions, key (hash of all that), sha256.
        skipped: entry -> why it could not be made here.
        captions: entry -> caption.
        built: entries that this build made anew; not stored.
        failures: entry -> error that this build met; not stored.
    """

    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    captions: Mapping[str, str] = field(default_factory=dict)
    built: tuple[str, ...] = ()
    failures: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether no entry failed. A skipped entry is not a failure."""
        return not self.failures

    def __str__(self) -> str:
        entries = {entry["entry"] for entry in self.files.values()}
        lines = [f"{len(entries)} figures and tables up to date, {len(self.built)} of them built now."]
        lines += [f"skipped {name}: {reason}" for name, reason in self.skipped.items()]
        lines += [f"FAILED {name}: {error}" for name, error in self.failures.items()]
        return "\n".join(lines)

    def save(self, folder: Path) -> Path:
        """Write MANIFEST.json into `folder`, without what concerns this build alone."""
        content = {
            "format": _FORMAT,
            "files": {name: dict(self.files[name]) for name in sorted(self.files)},
            "skipped": dict(sorted(self.skipped.items())),
            "captions": dict(sorted(self.captions.items())),
        }
        path = folder / FILE
        write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        return path


def read_manifest(folder: Path) -> Manifest:
    """The manifest in `folder`; an empty one if there is none.

    Raises:
        rfkit._checks.DataError: the file is damaged or of another kind.
    """
    path = folder / FILE
    if not path.exists():
        return Manifest()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != _FORMAT:
            raise data_error(path, f"is of format {content['format']!r}, this rfkit writes {_FORMAT!r}; delete it.")
        return Manifest(content["files"], content["skipped"], content["captions"])
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise data_error(path, f"is damaged ({error!r}); delete it and build again.") from error


def sha256(data: bytes) -> str:
    """Hash of a file's content."""
    return hashlib.sha256(data).hexdigest()
