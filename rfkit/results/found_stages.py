"""The stages of a network and their blocks, as they were found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rfkit.results.base import Result

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FoundBlock", "FoundStage", "FoundStages"]


@dataclass(frozen=True, eq=False)
class FoundBlock(Result):
    """A block: a module from one map to another.

    Attributes:
        name: its full name.
        in_channels: channels that come in.
        channels: channels that go out.
        stride: output stride of what goes out over that of what comes in.
    """

    name: str
    in_channels: int
    channels: int
    stride: int


@dataclass(frozen=True, eq=False)
class FoundStage(Result):
    """Blocks that share an output stride.

    Attributes:
        name: the network's own name for it, the one that was given, or "stride8".
        output_stride: pixels of the image between neighbouring units of what its blocks return.
        blocks: in the order in which they run.
    """

    name: str
    output_stride: int
    blocks: tuple[FoundBlock, ...]

    @property
    def channels(self) -> int:
        """Channels of what the last block returns."""
        return self.blocks[-1].channels


@dataclass(frozen=True, eq=False)
class FoundStages(Result):
    """The stages of a network, first to last.

    Attributes:
        how: "published" by the network, "given" by the caller, or "found" in a forward pass.
        stages: the stages.
        skipped: (module, reason) for what holds spatial convolutions and belongs to no stage.
    """

    how: str
    stages: tuple[FoundStage, ...]
    skipped: tuple[tuple[str, str], ...] = ()

    def names(self) -> dict[str, list[str]]:
        """Stage -> names of its blocks, as `rfkit.probe` takes them."""
        return {stage.name: [block.name for block in stage.blocks] for stage in self.stages}

    def to_frame(self) -> pd.DataFrame:
        """One row per block.

        Columns: stage, output_stride, block, in_channels, channels, stride.
        """
        import pandas as pd

        rows = [
            (stage.name, stage.output_stride, block.name, block.in_channels, block.channels, block.stride)
            for stage in self.stages
            for block in stage.blocks
        ]
        return pd.DataFrame(rows, columns=["stage", "output_stride", "block", "in_channels", "channels", "stride"])

    def __str__(self) -> str:
        lines = [
            f"{stage.name}: {_several(len(stage.blocks))} at 1/{stage.output_stride}, {stage.channels} channels: "
            f"{_listed([block.name for block in stage.blocks])}"
            for stage in self.stages
        ]
        return "\n".join([*lines, *(f"skipped {name}: {reason}" for name, reason in self.skipped)])


def _several(count: int) -> str:
    return "1 block" if count == 1 else f"{count} blocks"


def _listed(names: list[str]) -> str:
    return ", ".join(names if len(names) < 5 else [*names[:2], "...", names[-1]])
