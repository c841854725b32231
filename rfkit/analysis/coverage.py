"""Which pixels a stack of dilated convolutions reaches: exact, beside the rules of thumb."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from rfkit.results.gridding import Gridding, GriddingLayer

__all__ = ["gridding"]

# Sets of pixels are whole numbers here: bit p of a number says whether pixel p is reached. Moving a set is a shift and
# uniting two is `|`, both exact and fast at any length; counts of paths are the same with a wider field per pixel.

_LARGEST_PLANE = 16384  # Pixels a side; such a set takes 32 MiB.


@dataclass(frozen=True)
class _Layer:
    """A layer of the stack: for each branch, how far its taps are from the unit's own pixel, in pixels."""

    dilations: tuple[int, ...]
    kernels: tuple[int, ...]
    stride: int
    step: int  # Pixels between the units that the layer reads.
    taps: tuple[tuple[int, ...], ...]

    @property
    def first(self) -> int:
        return min(min(branch) for branch in self.taps)

    @property
    def last(self) -> int:
        return max(max(branch) for branch in self.taps)

    @property
    def growth(self) -> int:
        """Pixels by which the extent grows."""
        return self.last - self.first

    def shifts(self) -> list[list[int]]:
        """The taps of each branch, counted from the first tap of all of them."""
        return [[tap - self.first for tap in branch] for branch in self.taps]


def gridding(
    dilations: Sequence[int | Sequence[int]] | np.ndarray,
    kernel: int | Sequence[int | Sequence[int]] | np.ndarray = 3,
    *,
    strides: Sequence[int] | np.ndarray | None = None,
    field: int = 1,
    stride: int = 1,
    plane: bool = True,
) -> Gridding:
    """The pixels that a unit reaches through a stack of dilated convolutions, and what the published rules say of them.

    `contiguous`, `coverage`, `largest_gap` and `missing` are exact. The rules are not a substitute for them: [2, 2, 2]
    passes HDC's and has holes, [1, 4, 2] fails both and has none. A tuple among `dilations` means parallel branches
    whose outputs are added or concatenated, not (row, column).

    Args:
        dilations: dilation rate of each layer, from the first to the last; a tuple for parallel branches, such as
            (1, 4) for a block of RegSeg. A branch with kernel 1 stands for a shortcut.
        kernel: kernel size of all layers, or one for each; for a layer with branches, also a tuple with one for each.
            Even kernels sit as `padding="same"` puts them, with the odd pixel after the unit.
        strides: stride of each layer; 1 by default.
        field: receptive field of a unit before the stack, in pixels; it is taken as contiguous.
        stride: output stride before the stack.
        plane: whether to compute the coverage in 2-D of parallel branches too, which takes time and memory with the
            square of the extent. Without branches it is the square of the coverage, and always there.

    Returns:
        The result after every layer; `print` shows a line with all verdicts, `to_frame()` a row per layer.
        HDC's rule is given for plain stacks only: one rate a layer, equal kernels, no stride, nothing before the stack.
        It is as published, made for kernels of 3: [1, 1, 9] with kernels of 5 fails it and has no hole.
        RegSeg's takes the largest rate of a block with branches.

    Raises:
        ValueError: a number is not whole or below 1, lists differ in length, or the extent is above 16384 pixels where
            the coverage in 2-D of parallel branches is wanted.

    Example:
        >>> print(gridding([1, 2, 9]))
        [1, 2, 9]: 25 pixels, coverage 84 % (70.6 % in 2-D), misses ±4, ±5, largest gap 2; HDC fails (M_2 = 5 > 3); \
RegSeg fails (9 > 7 at layer 3)

    Reference: Wang et al., Understanding convolution for semantic segmentation, 2018 (HDC); Gao, Rethinking dilated
    convolution for real-time semantic segmentation, 2021 (bound on the dilation rate).
    """
    layers = _layers(dilations, kernel, strides, _whole("stride", stride))
    before = _whole("field", field)
    sets = list(_supports(layers, before))
    shares, packed = _planes(layers, before, sets, plane=plane)
    sizes = list(accumulate((layer.growth for layer in layers), initial=before))
    firsts = accumulate((layer.first for layer in layers), initial=-((before - 1) // 2))
    reason = _hdc_reason(layers, before)
    hdc_m = _hdc_m([layer.dilations[0] for layer in layers]) if not reason else [math.nan] * len(layers)
    rows = [
        GriddingLayer(
            layer=index + 1,
            dilations=layer.dilations,
            kernels=layer.kernels,
            stride=layer.stride,
            output_stride=layer.step * layer.stride,
            support=_bits(sets[index], sizes[index + 1]),
            first=first,
            coverage_2d=shares[index],
            hdc_m=float(hdc_m[index]),
            bound=sizes[index] / layer.step,
        )
        for index, (layer, first) in enumerate(zip(layers, list(firsts)[1:], strict=True))
    ]
    return Gridding(tuple(rows), before, layers[0].step, _log_paths(layers, before), packed, reason)


def _layers(dilations: object, kernel: object, strides: object, step: int) -> list[_Layer]:
    """The layers, their arguments checked."""
    rates = [_branches(f"dilations[{index}]", entry) for index, entry in enumerate(_listed("dilations", dilations))]
    if not rates:
        raise ValueError(f"dilations={dilations!r} must name at least one layer.")
    if isinstance(kernel, Sequence | np.ndarray):
        sizes = [_branches(f"kernel[{index}]", entry) for index, entry in enumerate(kernel)]
    else:
        sizes = [(_whole("kernel", kernel),)] * len(rates)
    steps = [1] * len(rates) if strides is None else _listed("strides", strides)
    for name, entries in (("kernel", sizes), ("strides", steps)):
        if len(entries) != len(rates):
            raise ValueError(
                f"{name} has {len(entries)} entries for the {len(rates)} layers of `dilations`; give one each."
            )
    layers = []
    for index, (own, kernels) in enumerate(zip(rates, sizes, strict=True)):
        if len(kernels) not in (1, len(own)):
            raise ValueError(
                f"kernel[{index}] has {len(kernels)} entries for the {len(own)} branches of dilations[{index}]; give "
                "one, or one each."
            )
        each = kernels * len(own) if len(kernels) == 1 else kernels
        stride = _whole(f"strides[{index}]", steps[index])
        taps = tuple(_taps(size, rate, step) for size, rate in zip(each, own, strict=True))
        layers.append(_Layer(own, each, stride, step, taps))
        step *= stride
    return layers


def _taps(kernel: int, rate: int, step: int) -> tuple[int, ...]:
    """Distances in pixels; an even kernel reaches one tap further behind, as with `padding="same"`."""
    left = rate * (kernel - 1) // 2
    return tuple(step * (rate * tap - left) for tap in range(kernel))


def _listed(name: str, value: object) -> list[object]:
    if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray):
        raise ValueError(f"{name}={value!r} must be a list, with one entry per layer.")
    return list(value)


def _branches(name: str, value: object) -> tuple[int, ...]:
    """A number, or one per branch, as a tuple."""
    if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str):
        if not len(value):
            raise ValueError(f"{name}={value!r} must name at least one branch.")
        return tuple(_whole(f"{name}[{branch}]", entry) for branch, entry in enumerate(value))
    return (_whole(name, value),)


def _whole(name: str, value: object) -> int:
    """`value` as an int, if it is a whole number above 0."""
    try:
        number = 0 if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = 0
    if number < 1:
        raise ValueError(f"{name}={value!r} must be a whole number of at least 1.")
    return number


def _moved(pixels: int, shifts: Sequence[int], pitch: int = 1) -> int:
    """The union of `pixels` moved by each of `shifts`."""
    union = 0
    for shift in shifts:
        union |= pixels << (shift * pitch)
    return union


def _supports(layers: Sequence[_Layer], field: int) -> Iterator[int]:
    """The set of pixels reached after each layer, bit 0 being the first of its extent."""
    pixels = (1 << field) - 1
    for layer in layers:
        pixels = _moved(pixels, [shift for branch in layer.shifts() for shift in branch])
        yield pixels


def _planes(
    layers: Sequence[_Layer], field: int, supports: Sequence[int], *, plane: bool
) -> tuple[list[float], np.ndarray]:
    """The coverage in 2-D after each layer, and the last set as packed rows where it is no product of 1-D ones."""
    sizes = list(accumulate((layer.growth for layer in layers), initial=field))
    split = next((index for index, layer in enumerate(layers) if len(set(layer.taps)) > 1), len(layers))
    # Before the first layer with branches the support is a product. Exact: one division of whole numbers.
    shares = [pixels.bit_count() ** 2 / size**2 for pixels, size in zip(supports[:split], sizes[1:], strict=False)]
    none = np.zeros((0, 0), np.uint8)
    if split == len(layers):
        return shares, none
    if not plane:
        return shares + [math.nan] * (len(layers) - split), none
    if sizes[-1] > _LARGEST_PLANE:
        raise ValueError(
            f"dilations reach {sizes[-1]} pixels; with parallel branches the coverage in 2-D is computed up to "
            f"{_LARGEST_PLANE}: use plane=False."
        )
    width = -(-sizes[-1] // 8)
    row = supports[split - 1] if split else (1 << field) - 1
    pixels = _square(row, sizes[split], width)
    for index in range(split, len(layers)):
        pixels = _joined(pixels, layers[index], 8 * width)
        shares.append(pixels.bit_count() / sizes[index + 1] ** 2)
    rows = np.frombuffer(pixels.to_bytes(sizes[-1] * width, "little"), np.uint8)
    return shares, rows.reshape(sizes[-1], width).copy()


def _square(row: int, size: int, width: int) -> int:
    """The product of a 1-D set with itself, in rows of `width` bytes."""
    filled, empty = row.to_bytes(width, "little"), bytes(width)
    return int.from_bytes(b"".join(filled if row >> y & 1 else empty for y in range(size)), "little")


def _joined(pixels: int, layer: _Layer, pitch: int) -> int:
    """The set after a layer: for each branch along rows, then along columns, and the union of these."""
    union = 0
    for shifts in layer.shifts():
        union |= _moved(_moved(pixels, shifts), shifts, pitch)
    return union


def _bits(pixels: int, size: int) -> np.ndarray:
    """A set as booleans, (size,)."""
    packed = np.frombuffer(pixels.to_bytes(-(-size // 8), "little"), np.uint8)
    return np.unpackbits(packed, count=size, bitorder="little").astype(bool)


def _log_paths(layers: Sequence[_Layer], field: int) -> np.ndarray:
    """Natural logarithm of the number of paths from each pixel; the counts themselves are exact."""
    total = math.prod((sum(map(len, layer.taps)) for layer in layers), start=1)
    width = -(-total.bit_length() // 8)  # Bytes that hold any count, so that no pixel spills into the next.
    counts = int.from_bytes((1).to_bytes(width, "little") * field, "little")
    for layer in layers:
        counts = sum(counts << (8 * width * shift) for branch in layer.shifts() for shift in branch)
    size = field + sum(layer.growth for layer in layers)
    data = counts.to_bytes(size * width, "little")
    each = (int.from_bytes(data[start : start + width], "little") for start in range(0, len(data), width))
    return np.array([math.log(count) if count else -math.inf for count in each])


def _hdc_reason(layers: Sequence[_Layer], field: int) -> str:
    """Why HDC's rule says nothing about the stack; empty if it does."""
    if any(len(layer.dilations) > 1 for layer in layers):
        return "a layer has parallel branches"
    if field > 1 or layers[0].step > 1 or any(layer.stride > 1 for layer in layers[:-1]):
        return "strides, or a field before the stack"
    if len({layer.kernels for layer in layers}) > 1:
        return "kernels differ"
    if layers[0].kernels[0] == 1:
        return "kernels have one tap"
    return "a single layer has no M_2" if len(layers) == 1 else ""


def _hdc_m(rates: Sequence[int]) -> list[int]:
    """M_i of each layer, HDC's bound on the distance between what layers i to n reach (Wang et al., 2018)."""
    found = [rates[-1]]
    for rate in reversed(rates[:-1]):
        after = found[-1]
        found.append(max(after - 2 * rate, after - 2 * (after - rate), rate))
    return found[::-1]
