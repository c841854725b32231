"""What is looked at: a layer, a unit, a branch, a channel, a class."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["METHODS", "PANELS", "Choice"]

PANELS = {
    "box": "Image and theoretical field (TRF)",
    "map": "Feature map",
    "support": "Support",
    "effective": "Effective field (ERF)",
    "region": "RR: region map",
    "semantic": "SR: semantic map",
    "attribution": "Attribution",
}
"""Panels in the order in which they are computed and shown: name -> title."""

# Method -> options of `rfkit.attribute`. A view is for looking around: few steps, so that one is not kept waiting.
METHODS: dict[str, dict[str, int]] = {
    "saliency": {},
    "input_x_gradient": {},
    "integrated_gradients": {"n_steps": 8},
    "smooth_grad": {"nt_samples": 8},
    "guided_backprop": {},
    "deep_lift": {},
    "grad_cam": {},
    "occlusion": {},
}
"""Methods of attribution that can be chosen -> their options."""


@dataclass(frozen=True)
class Choice:
    """What is looked at.

    Attributes:
        layer: full name of the layer, or "output".
        unit: (row, column) on its map.
        pixel: (row, column) of the pixel in the image for whose class attribution asks.
        channel: channel of the layer's map; None for all of them (their mean in the map, their sum in the ERF).
        branch: label of the branch, "d3"; "" for all of them.
        region_channel: channel of the region map; None for the one that the rule of `rfkit.region_maps` chooses.
        class_index: class to explain; None for the one predicted at the pixel.
        whole_class: whether its score is taken over all pixels predicted as that class, rather than at the pixel.
        method: method of attribution, one of `METHODS`.
    """

    layer: str
    unit: tuple[int, int]
    pixel: tuple[int, int]
    channel: int | None = None
    branch: str = ""
    region_channel: int | None = None
    class_index: int | None = None
    whole_class: bool = False
    method: str = "saliency"
