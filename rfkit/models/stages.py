"""What a network says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from rfkit.models.weights import Card

__all__ = ["Network", "Stage"]


@dataclass(frozen=True)
class Stage:
    """One stage of a network.

    Attributes:
        name: attribute of the model that holds the stage: "stem", "stage2", "stage3" or "stage4".
        channels: channels of its output.
        output_stride: input size over output size.
        dilations: dilation rate of each branch of its blocks; (1,) for a stage without parallel branches.
        blocks: names of its blocks as in `model.named_modules()`, first to last.
    """

    name: str
    channels: int
    output_stride: int
    dilations: tuple[int, ...]
    blocks: tuple[str, ...]


class Network(nn.Module):
    """A network of the registry: a module that says what it is made of.

    Attributes:
        name: its name in the registry.
        options: the options it was built with.
        num_classes: number of class scores.
        stages: its stages, in the order in which they run.
        card: the card of the weights it was created with, if any.
    """

    name: str
    options: dict[str, Any]
    num_classes: int
    stages: tuple[Stage, ...]
    card: Card | None
