"""Dilation rates of a network beside the bound up to which they leave no gaps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rfkit.results.base import Result

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DilationBound", "DilationBounds"]


@dataclass(frozen=True, eq=False)
class DilationBound(Result):
    """One call of a convolution with more than one tap, along the axis in which its rate is nearest to the bound.

    Attributes:
        layer: full name of the innermost module that runs it.
        call: how often that module had run before.
        axis: "row" (vertical) or "column".
        rate: its dilation rate.
        kernel: its taps along the axis.
        size: receptive field of the units that it reads, in pixels (k); NaN where not known. Where units differ, after
            upsampling, the smallest.
        output_stride: pixels between neighbouring units that it reads (s); NaN where not known.
        reason: why `size` is not known; else "".
    """

    layer: str
    call: int
    axis: str
    rate: int
    kernel: int
    size: float
    output_stride: float
    reason: str = ""

    @property
    def bound(self) -> float:
        """The largest rate at which the windows that neighbouring taps read leave no gap, k / s; NaN if not known."""
        return self.size / self.output_stride

    @property
    def kept(self) -> bool | None:
        """Whether the rate is within the bound; None where that is not known."""
        return None if self.reason else self.rate <= self.bound


@dataclass(frozen=True, eq=False)
class DilationBounds(Result):
    """The dilation rates of a network and their bounds, in the order in which its convolutions run.

    Attributes:
        layers: one entry for each call of a convolution with more than one tap.
    """

    layers: tuple[DilationBound, ...]

    def __len__(self) -> int:
        return len(self.layers)

    @property
    def kept(self) -> bool | None:
        """Whether all dilated convolutions keep their bounds; None where none breaks it and one is not known."""
        verdicts = [layer.kept for layer in self.layers if layer.rate > 1]
        return False if False in verdicts else None if None in verdicts else True

    @property
    def broken(self) -> tuple[str, ...]:
        """Names of the dilated convolutions whose rate is above the bound."""
        return tuple(dict.fromkeys(layer.layer for layer in self.layers if layer.rate > 1 and layer.kept is False))

    def bounds(self) -> dict[str, float]:
        """Layer -> its bound, the least over its calls; NaN where it is not known."""
        found: dict[str, float] = {}
        for layer in self.layers:
            known = found.get(layer.layer, layer.bound)
            found[layer.layer] = min(known, layer.bound) if known == known else known
            if layer.bound != layer.bound:
                found[layer.layer] = layer.bound
        return found

    def to_frame(self) -> pd.DataFrame:
        """One row per entry of `layers`.

        Columns: `layer`, `call`, `axis` ("row" or "column"), `rate`, `kernel` (taps), `size` (pixels), `output_stride`
        (pixels), `bound`, `kept` (missing where not known), `dilated` (whether the rate is above 1), `reason`.
        """
        import pandas as pd

        rows = [
            {
                "layer": entry.layer,
                "call": entry.call,
                "axis": entry.axis,
                "rate": entry.rate,
                "kernel": entry.kernel,
                "size": entry.size,
                "output_stride": entry.output_stride,
                "bound": entry.bound,
                "kept": entry.kept,
                "dilated": entry.rate > 1,
                "reason": entry.reason,
            }
            for entry in self.layers
        ]
        return pd.DataFrame(rows, columns=_COLUMNS).astype({"kept": "boolean"})


_COLUMNS = ["layer", "call", "axis", "rate", "kernel", "size", "output_stride", "bound", "kept", "dilated", "reason"]
