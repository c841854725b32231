"""The speeds that this project measured and ships, and which of them may stand in a table of the paper."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from rfkit.paper import measured
from rfkit.results.speed import Speed, Speeds, read_speeds

__all__ = ["measured_speeds", "paper_speed"]

# Networks of the registry have as many classes as Cityscapes, unless their name says otherwise.
_CLASSES = 19


def measured_speeds() -> Speeds:
    """All measurements that ship; none if there is no file of them."""
    with resources.as_file(resources.files(measured) / "speeds.csv") as path:
        return read_speeds(path) if path.is_file() else Speeds(())


def paper_speed(model: str, num_classes: int, size: Sequence[int] | None, speeds: Speeds | None = None) -> Speed | None:
    """The measurement that may stand in a column of the paper: of a GPU, at this size, batch 1, eager, fp32.

    Args:
        model: a name of the registry.
        num_classes: that it was trained for.
        size: (height, width) at which its score was measured.
        speeds: measurements; those that ship if None.
    """
    name = model if num_classes == _CLASSES else f"{model} (num_classes={num_classes})"
    wanted = (name, *(size or ()), 1, "eager", "fp32")
    for row in (speeds or measured_speeds()).rows:
        found = (row.model, row.height, row.width, row.batch, row.backend, row.precision)
        if found == wanted and row.device.startswith("cuda"):
            return row
    return None
