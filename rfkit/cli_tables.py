"""How `rfkit rf` and `rfkit erf` print tables: for the eye, as Markdown, CSV or JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from rfkit.results.effective import EffectiveRF

__all__ = ["FORMATS", "changed", "effective_lines", "field_lines", "plain", "printed"]

FORMATS = ("table", "csv", "json", "md")
_SIZES = ("size_min", "size_max", "output_stride", "is_global", "status")


def printed(tidy: pd.DataFrame, lines: Sequence[Mapping[str, str]], how: str) -> str:
    """A table as text: `tidy` itself as "csv" or "json" (a list of rows), `lines` as "table" or "md"."""
    if how == "csv":
        return tidy.to_csv(index=False).rstrip("\n")
    if how == "json":
        return str(tidy.to_json(orient="records", indent=1))
    columns = list(lines[0]) if lines else []
    cells = [columns, *([line[name] for name in columns] for line in lines)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in cells]
    if how == "table":
        return "\n".join("  ".join(row).rstrip() for row in padded)
    padded.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(row)} |" for row in padded)


def changed(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `rfkit.analysis.theoretical.Graph.table` whose field or stride is not that of the line before."""
    kept: list[int] = []
    before: object = None
    for places, pair in _pairs(table):
        now = [[plain(row[name]) for name in _SIZES] for row in pair]
        if now != before:
            kept += places
        before = now
    return table.iloc[kept]


def field_lines(table: pd.DataFrame) -> list[dict[str, str]]:
    """One line for the two rows, one an axis, that each operation has in `rfkit.analysis.theoretical.Graph.table`."""
    return [_field_line(pair) for _, pair in _pairs(table)]


def _pairs(table: pd.DataFrame) -> Iterator[tuple[list[int], list[dict[str, Any]]]]:
    rows = table.to_dict("records")
    for place in range(0, len(rows), 2):
        yield [place, place + 1], rows[place : place + 2]


def _field_line(pair: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    first = pair[0]
    line = {
        "layer": first["layer"] + (f" (call {first['call'] + 1})" if first["call"] else "") or "(network)",
        "operator": _operator(first["operator"]),
    }
    if first["status"] == "unknown":
        return {**line, **dict.fromkeys(("map", "field (px)", "stride", "coverage"), "?"), "": _notes(pair)}
    return {
        **line,
        "map": " x ".join(str(row["units"]) for row in pair),
        "field (px)": " x ".join(_range(row["size_min"], row["size_max"]) for row in pair),
        "stride": _both([row["output_stride"] for row in pair]),
        "coverage": _coverage([row["coverage"] for row in pair]),
        "": _notes(pair),
    }


def _operator(name: str) -> str:
    name = name.removeprefix("aten::").lstrip("_")
    return "batch_norm" if "batch_norm" in name else name.removesuffix("_with_indices")


def _range(least: int, most: int) -> str:
    return str(most) if least == most else f"{least}-{most}"


def _coverage(shares: Sequence[float]) -> str:
    """The lesser of both axes; nothing is said where only global paths lead."""
    least = min(shares)
    return "-" if math.isnan(least) else f"{100 * least:.3g} %"


def _both(values: Sequence[float]) -> str:
    texts = [f"{value:g}" for value in values]
    return texts[0] if len(set(texts)) == 1 else " x ".join(texts)


def _notes(pair: Sequence[Mapping[str, Any]]) -> str:
    if pair[0]["status"] == "unknown":
        return f"UNKNOWN: {pair[0]['reason']}"
    notes = []
    if all(row["covers_input"] for row in pair):
        notes.append("at least as large as the image")
    if pair[0]["is_global"]:
        notes.append("global path")
    if pair[0]["status"] == "bound":
        notes.append(f"at most: {pair[0]['reason']}")
    return ", ".join(notes)


def effective_lines(fields: Mapping[str, EffectiveRF]) -> list[dict[str, str]]:
    """One line for each effective receptive field: sides of squares, standard deviations, share of the theoretical."""
    return [_effective_line(rf) for rf in fields.values()]


def _effective_line(rf: EffectiveRF) -> dict[str, str]:
    sides, fit = rf.square_sides((0.5, 0.95, 0.99)), rf.gaussian()
    theoretical = "?"
    if rf.box is not None:
        whole = rf.box.unclipped or rf.box
        theoretical = f"{whole.height} x {whole.width}" + (" and global" if rf.is_global else "")
    return {
        "layer": rf.layer,
        "unit": " and ".join(f"{row},{column}" for row, column in rf.units) or "-",
        **{f"{100 * share:g} % in": f"{side:.4g} px" for share, side in sides.items()},
        "sigma (px)": f"{fit.sigma_y:.3g} x {fit.sigma_x:.3g}",
        "theoretical (px)": theoretical,
        "effective side": f"{rf.effective_side():.3g} px",
        "ratio": "?" if rf.box is None else f"{rf.trf_ratio():.3g}",
    }


def plain(value: Any) -> Any:
    """`value`, or None where it is missing; missing values are not equal to themselves."""
    import pandas as pd

    return None if pd.isna(value) else value
