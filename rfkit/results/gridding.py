"""Holes that a stack of dilated convolutions leaves in its receptive field, and what published rules say of them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rfkit.results.base import Result

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Gridding", "GriddingLayer"]

_SHOWN = 4  # Missing offsets that a summary spells out.
_RUN = 4  # Equal layers that it counts instead.


@dataclass(frozen=True, eq=False)
class GriddingLayer(Result):
    """What one unit reaches after one layer of the stack, along one axis.

    Attributes:
        layer: number of the layer, from 1.
        dilations: dilation rate of each branch; one for an ordinary layer.
        kernels: kernel size of each branch.
        stride: stride of the layer.
        output_stride: pixels between neighbouring units, after the layer.
        support: which pixels of the extent are reached, (size,) booleans.
        first: offset in pixels of the first pixel of the extent from the one under the unit. That is the centre of the
            extent wherever kernels are odd.
        coverage_2d: share of the square extent that a square kernel of this kind reaches; NaN where it was not asked
            for. The square of `coverage` without parallel branches, less with them.
        hdc_m: HDC's M_i, NaN where the rule does not apply.
        bound: RegSeg's bound on the dilation rate of this layer: (size before it) / (output stride before it).
    """

    layer: int
    dilations: tuple[int, ...]
    kernels: tuple[int, ...]
    stride: int
    output_stride: int
    support: np.ndarray
    first: int
    coverage_2d: float
    hdc_m: float
    bound: float

    @property
    def dilation(self) -> int:
        """The largest dilation rate of the layer; of a branch with one tap only if there is no other."""
        rated = [rate for rate, kernel in zip(self.dilations, self.kernels, strict=True) if kernel > 1]
        return max(rated or self.dilations)

    @property
    def size(self) -> int:
        """Extent in pixels."""
        return len(self.support)

    @property
    def coverage(self) -> float:
        """Pixels reached / extent."""
        return int(self.support.sum()) / self.size

    @property
    def contiguous(self) -> bool:
        """Whether every pixel of the extent is reached."""
        return bool(self.support.all())

    @property
    def largest_gap(self) -> int:
        """Pixels of the longest run inside the extent that is not reached."""
        return int(np.diff(np.flatnonzero(self.support)).max(initial=1)) - 1

    @property
    def missing(self) -> tuple[int, ...]:
        """Offsets, in pixels from the one under the unit, that are inside the extent and not reached."""
        return tuple((self.first + np.flatnonzero(~self.support)).tolist())

    @property
    def within_bound(self) -> bool:
        """Whether RegSeg's bound allows the layer's largest dilation rate; always for a layer with one tap."""
        return max(self.kernels) == 1 or self.dilation <= self.bound


@dataclass(frozen=True, eq=False)
class Gridding(Result):
    """The support of a unit after a stack of dilated convolutions, exactly, beside the verdicts of the published rules.

    The verdicts need not agree: `contiguous` and `contiguous_2d` are exact, `hdc` and `within_bound` are rules of
    thumb.

    Attributes:
        layers: what a unit reaches after each layer; the properties below speak of the last one.
        field: receptive field, in pixels, of a unit before the stack.
        stride: output stride before the stack.
        log_paths: natural logarithm of the number of paths from each pixel of the extent to the unit, along one axis;
            -inf where there is none. With a `field` before the stack, each of its pixels begins one path.
        packed: the support in 2-D where it is not the product of two 1-D ones, 8 pixels of a row a byte; else empty.
        hdc_reason: why HDC's rule does not apply; empty where it does.
    """

    layers: tuple[GriddingLayer, ...]
    field: int
    stride: int
    log_paths: np.ndarray
    packed: np.ndarray
    hdc_reason: str

    @property
    def support(self) -> np.ndarray:
        """Which pixels of the extent are reached, (size,) booleans."""
        return self.layers[-1].support

    @property
    def offsets(self) -> np.ndarray:
        """Offset of each pixel of the extent from the one under the unit, (size,)."""
        return self.layers[-1].first + np.arange(self.size)

    @property
    def size(self) -> int:
        """Extent in pixels."""
        return self.layers[-1].size

    @property
    def coverage(self) -> float:
        """Pixels reached / extent, along one axis."""
        return self.layers[-1].coverage

    @property
    def coverage_2d(self) -> float:
        """Pixels reached / extent of a square kernel; NaN where it was not asked for."""
        return self.layers[-1].coverage_2d

    @property
    def largest_gap(self) -> int:
        """Pixels of the longest run inside the extent that is not reached, along one axis."""
        return self.layers[-1].largest_gap

    @property
    def missing(self) -> tuple[int, ...]:
        """Offsets inside the extent that are not reached, such as (-4, 4)."""
        return self.layers[-1].missing

    @property
    def contiguous(self) -> bool:
        """Whether every pixel of the extent is reached along one axis. Exact."""
        return self.layers[-1].contiguous

    @property
    def contiguous_2d(self) -> bool | None:
        """Whether every pixel of the square extent is reached. Exact; None where it was not asked for."""
        return None if np.isnan(self.coverage_2d) else self.coverage_2d == 1

    @property
    def m2(self) -> float:
        """HDC's M_2, NaN where the rule does not apply."""
        return self.layers[1].hdc_m if not self.hdc_reason else float("nan")

    @property
    def hdc(self) -> bool | None:
        """Verdict of HDC's rule M_2 <= kernel size; None where it does not apply (`hdc_reason` says why)."""
        return None if self.hdc_reason else self.m2 <= self.layers[0].kernels[0]

    @property
    def within_bound(self) -> bool:
        """Verdict of RegSeg's rule: every layer's dilation rate within its bound."""
        return all(layer.within_bound for layer in self.layers)

    def mask(self) -> np.ndarray:
        """Which pixels of the square extent a square kernel reaches, (size, size) booleans.

        Raises:
            ValueError: the stack has parallel branches and was computed with `plane=False`.
        """
        if np.isnan(self.coverage_2d):
            raise ValueError("the support in 2-D was not computed; call gridding with plane=True.")
        if not self.packed.size:
            return np.outer(self.support, self.support)
        return np.unpackbits(self.packed, axis=1, count=self.size, bitorder="little").astype(bool)

    def to_frame(self) -> pd.DataFrame:
        """One row per layer, from the first to the last.

        Columns: `layer` (from 1), `rates` (all dilation rates, such as "1, 4"), `kernel` (the largest), `dilation` (the
        largest), `stride`, `output_stride` (pixels, after the layer), `size` (extent, pixels), `coverage` and
        `coverage_2d` (shares; NaN where not computed), `largest_gap` (pixels), `missing` (number of pixels not
        reached), `contiguous` (exact), `hdc_m` (M_i, NaN where the rule does not apply), `bound` (RegSeg's, on the rate
        of this layer), `within_bound`.
        """
        import pandas as pd

        return pd.DataFrame([_row(layer) for layer in self.layers])

    def __str__(self) -> str:
        plane = "" if np.isnan(self.coverage_2d) else f" ({_percent(self.coverage_2d)} in 2-D)"
        return (
            f"[{_stack(self.layers)}]: {self.size} pixels, coverage {_percent(self.coverage)}{plane}, "
            f"{self._exact_verdict()}; HDC {self._hdc_verdict()}; RegSeg {self._bound_verdict()}"
        )

    def _exact_verdict(self) -> str:
        if not self.contiguous:
            return f"misses {_listed(self.missing)}, largest gap {self.largest_gap}"
        return "contiguous along each axis but not in 2-D" if self.contiguous_2d is False else "contiguous"

    def _hdc_verdict(self) -> str:
        if self.hdc is None:
            return f"does not apply ({self.hdc_reason})"
        kernel = self.layers[0].kernels[0]
        return f"passes (M_2 = {self.m2:g} <= {kernel})" if self.hdc else f"fails (M_2 = {self.m2:g} > {kernel})"

    def _bound_verdict(self) -> str:
        for layer in self.layers:
            if not layer.within_bound:
                return f"fails ({layer.dilation} > {layer.bound:.4g} at layer {layer.layer})"
        return "passes"


def _stack(layers: tuple[GriddingLayer, ...]) -> str:
    """The rates of all layers, long runs of equal ones as "7 x (1, 14)"."""
    words = []
    for rates, group in itertools.groupby(layer.dilations for layer in layers):
        text = ", ".join(map(str, rates))
        text, count = f"({text})" if len(rates) > 1 else text, len(list(group))
        words += [text] * count if count < _RUN else [f"{count} x {text}"]
    return ", ".join(words)


def _percent(share: float) -> str:
    text = f"{100 * share:.3g} %"
    return text if text != "100 %" or share == 1 else "just under 100 %"


def _row(layer: GriddingLayer) -> dict[str, object]:
    return {
        "layer": layer.layer,
        "rates": ", ".join(map(str, layer.dilations)),
        "kernel": max(layer.kernels),
        "dilation": layer.dilation,
        "stride": layer.stride,
        "output_stride": layer.output_stride,
        "size": layer.size,
        "coverage": layer.coverage,
        "coverage_2d": layer.coverage_2d,
        "largest_gap": layer.largest_gap,
        "missing": len(layer.missing),
        "contiguous": layer.contiguous,
        "hdc_m": layer.hdc_m,
        "bound": layer.bound,
        "within_bound": layer.within_bound,
    }


def _listed(offsets: tuple[int, ...]) -> str:
    """Offsets as text: "±4, ±5" where they come in pairs; the first few alone where there are many."""
    paired = set(offsets) == {-offset for offset in offsets}
    names = [f"{'±' if paired else '+'}{offset}" if offset > 0 else str(offset) for offset in offsets]
    if paired:
        names = names[len(names) // 2 :]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
