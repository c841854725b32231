"""What a network says of its own stages."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Stage"]


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
