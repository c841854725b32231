"""Is a dilation rate too large for what stands before it? The bound k / s, for every convolution of any network."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from rfkit.analysis.theoretical import trace
from rfkit.analysis.tracing.field_map import FieldMap
from rfkit.analysis.tracing.fields import AXES
from rfkit.analysis.tracing.recording import Node
from rfkit.results.dilation_bounds import DilationBound, DilationBounds

__all__ = ["dilation_bound"]


def dilation_bound(model: nn.Module, input_size: Sequence[int] | Tensor = (3, 256, 512)) -> DilationBounds:
    """For every convolution of a network its dilation rate, and the bound up to which that leaves no gaps.

    The network before a layer acts as one convolution of kernel k, the receptive field of the units that the layer
    reads, and stride s, their output stride. Taps at rate r read windows of k pixels that lie r * s apart, so that none
    lies between them unread if and only if r <= k / s. The bound is about neighbouring taps of one layer: with paths
    beside it, or layers behind it, the field of the output may be without gaps although a bound is broken
    (`rfkit.trace` has its coverage).

    Convolutions with a rate of 1 are listed too, 1x1 and transposed ones are not. A network with learned rates is to be
    frozen first: its layers run as several convolutions each.

    Args:
        model: any module that takes one image; it is left as it was found.
        input_size: (channels, height, width), (height, width) or an image, as for `rfkit.trace`. Neither k nor s
            depend on it where the network can run.

    Returns:
        One entry per convolution and call, in the order in which they run. Global paths (squeeze-excite gates) are left
        out of k. Where the receptive field is not known, neither is the bound, and the reason is given.

    Raises:
        ValueError: `input_size` is not allowed, or the network has no convolution with more than one tap.
        rfkit.analysis.theoretical.TraceError: the network cannot take such an input.

    Example:
        >>> convs = [nn.Conv2d(3, 3, 3, padding=rate, dilation=rate) for rate in (1, 3, 5)]
        >>> [(layer.rate, layer.bound, layer.kept) for layer in dilation_bound(nn.Sequential(*convs)).layers]
        [(1, 1.0, True), (3, 3.0, True), (5, 9.0, True)]

    Reference: Gao, Rethinking Dilated Convolution for Real-time Semantic Segmentation, arXiv 2111.09957 (upper bound on
    the dilation rate).
    """
    graph = trace(model, input_size)
    entries = [_entry(node, fields) for node, fields in graph.convolutions()]
    found = tuple(entry for entry in entries if entry is not None)
    if not found:
        raise ValueError(f"model: {type(model).__name__} has no 2-D convolution with more than one tap.")
    return DilationBounds(found)


def _entry(node: Node, fields: FieldMap) -> DilationBound | None:
    """The bound of one convolution that reads the map `fields`; None if it has one tap along each axis."""
    kernels = node.arguments["weight"].shape[2:]
    rates = list(node.arguments["dilation"])
    rates = rates if len(rates) == len(kernels) else rates * len(kernels)
    if len(kernels) != 2 or node.arguments.get("transposed") or max(kernels) == 1:
        return None
    entries = []
    for axis, (kernel, rate) in enumerate(zip(kernels, rates, strict=True)):
        if kernel > 1:
            size, stride, reason = _measured(fields, axis)
            entries.append(DilationBound(node.layer, node.call, AXES[axis], rate, kernel, size, stride, reason))
    return max(entries, key=lambda entry: entry.rate if entry.reason else entry.rate / entry.bound)


def _measured(fields: FieldMap, axis: int) -> tuple[float, float, str]:
    """Size and output stride along an axis of the map; NaN with the reason where they are not known."""
    if fields.status == "unknown":
        return math.nan, math.nan, fields.reason
    own = fields.image_axis(axis)
    return float(fields.measures(own)["size_min"]), float(fields.output_stride[own]), ""  # type: ignore[arg-type]
