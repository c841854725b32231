"""RegSeg and its larger sibling, with the dilation lists of its ablation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from rfkit._checks import check_positive
from rfkit.models.stages import Network, Stage
from rfkit.nn.branches import check_dilations
from rfkit.nn.conv import ConvNorm, initialise
from rfkit.nn.dblock import DBlock
from rfkit.nn.decoders import RegSegDecoder

__all__ = ["DILATIONS", "RegSeg", "regseg", "regseg_l"]

_Rates = tuple[tuple[int, ...], ...]


def _beside_one(*rates: int) -> _Rates:
    """For each block a branch with dilation rate 1, and beside it one with the given rate unless that is 1 too."""
    return tuple((rate,) if rate == 1 else (1, rate) for rate in rates)


# The dilation lists of the paper's ablation as it writes them: a parenthesis a block, the branches inside. The last is
# no row of it: public ports attribute it to the paper's search for dilation rates.
DILATIONS: Mapping[str, _Rates] = MappingProxyType(
    {
        "(1)(1,2)4x(1,4)7x(1,14)": _beside_one(1, 2, *[4] * 4, *[14] * 7),
        "(1)(1,2)(1,4)(1,6)(1,8)(1,10)7x(1,12)": _beside_one(1, 2, 4, 6, 8, 10, *[12] * 7),
        "(1)(1,2)(1,4)(1,6)(1,8)8x(1,10)": _beside_one(1, 2, 4, 6, 8, *[10] * 8),
        "(1)(1,2)(1,4)10x(1,6)": _beside_one(1, 2, 4, *[6] * 10),
        "(1)(1,2)(1,4)(1,6)(1,8)(1,10)(1,12)6x(1,14)": _beside_one(1, 2, 4, 6, 8, 10, 12, *[14] * 6),
        "5x(1,4)8x(1,10)": _beside_one(*[4] * 5, *[10] * 8),
        "searched": (
            (1, 1), (1, 2), (1, 2), (1, 3), (2, 3), (2, 7), (2, 3), (2, 6), (2, 5), (2, 9), (2, 11), (4, 7), (5, 14),
        ),
    }
)  # fmt: skip

_MAIN = DILATIONS["(1)(1,2)4x(1,4)7x(1,14)"]


class RegSeg(Network):
    """A stem, three stages of D blocks, of which the last gains its receptive field by dilation, and a light decoder.

    Output strides are 2, 4, 8 and 16; the first block of a stage has stride 2 and one branch with dilation rate 1.
    Dilation begins behind that block of stage4, and the last block there is wider. With the published list the
    theoretical receptive field of stage4 is 3807 pixels, the squeeze-excite gates (global paths) left aside.

    The published 39.1 G multiply-adds at 1024x2048 are 38.353 G of convolutions with norm, upsampling and pooling on
    top: 2 per output element of a norm, 4 of a bilinear upsampling and 1 per element that a gate averages make 39.08 G.
    `rfkit.cost.multiply_adds(..., count="published")`, fitted to DWRSeg with 8 for upsampling, gives 39.24 G.

    Args:
        num_classes: number of class scores.
        dilations: for each block of stage4 behind its first one, the dilation rates of its branches. `DILATIONS` holds
            the lists of the paper's ablation.
        widths: channels of stage2, stage3, stage4 and of stage4's last block.
        blocks: number of blocks in stage2 and stage3.
        group_width: channels of each group of the 3x3 convolutions.
        squeeze: width of a gate's hidden layer per channel that comes into its block.
        stem_width: channels of the stem.
        head_widths: channels into which the decoder brings stage2, stage3 and stage4.
        decoder_width: channels of the decoder's 3x3 convolutions.
        initialisation: "torch" or "he", see `rfkit.nn.conv.initialise`.

    Shape:
        N, 3, H, W (any H, W of at least 1) -> N, num_classes, H, W.

    Raises:
        ValueError: a number of channels, blocks or a dilation rate is not allowed.

    Reference: Gao, Rethinking Dilated Convolution for Real-time Semantic Segmentation, arXiv 2111.09957.
    """

    def __init__(
        self,
        num_classes: int = 19,
        *,
        dilations: Sequence[Any] = _MAIN,
        widths: Sequence[int] = (48, 128, 256, 320),
        blocks: Sequence[int] = (1, 3),
        group_width: int = 16,
        squeeze: float = 0.25,
        stem_width: int = 32,
        head_widths: Sequence[int] = (8, 128, 128),
        decoder_width: int = 64,
        initialisation: str = "torch",
    ) -> None:
        super().__init__()
        check_positive("num_classes", num_classes)
        check_positive("stem_width", stem_width)
        self.num_classes = num_classes
        low, middle, high, last = _widths(widths)
        rates = _stage_rates(blocks, dilations)
        options = {"group_width": group_width, "squeeze": squeeze}

        self.stem = ConvNorm(3, stem_width, stride=2)
        self.stage2 = _stage(stem_width, [low] * len(rates["stage2"]), rates["stage2"], options)
        self.stage3 = _stage(low, [middle] * len(rates["stage3"]), rates["stage3"], options)
        self.stage4 = _stage(middle, [*[high] * (len(rates["stage4"]) - 1), last], rates["stage4"], options)
        self.decoder = RegSegDecoder((low, middle, last), num_classes, head_widths=head_widths, width=decoder_width)
        self.stages = (
            Stage("stem", stem_width, 2, (1,), ("stem",)),
            _published("stage2", low, 4, rates),
            _published("stage3", middle, 8, rates),
            _published("stage4", last, 16, rates),
        )
        initialise(self, initialisation)

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes height width"]:
        """Class scores (logits) at the image's size."""
        low = self.stage2(self.stem(image))
        middle = self.stage3(low)
        high = self.stage4(middle)
        return self.decoder((low, middle, high), image.shape[-2:])


def regseg(num_classes: int = 19, **options: Any) -> RegSeg:
    """RegSeg: 3 334 951 parameters and 38.353 G multiply-adds (convolutions, 1024x2048) at 19 classes."""
    return RegSeg(num_classes, **options)


def regseg_l(num_classes: int = 19, **options: Any) -> RegSeg:
    """RegSeg with wider groups, stages and decoder: 6 131 579 parameters at 19 classes."""
    larger = {
        "widths": (48, 120, 336, 384),
        "blocks": (2, 6),
        "group_width": 24,
        "head_widths": (16, 256, 256),
        "decoder_width": 128,
    }
    return RegSeg(num_classes, **{**larger, **options})


def _stage(
    in_channels: int, widths: Sequence[int], rates: Sequence[tuple[int, ...]], options: Mapping[str, Any]
) -> nn.Sequential:
    stage = nn.Sequential()
    for index, (width, branches) in enumerate(zip(widths, rates, strict=True)):
        stage.append(DBlock(width, in_channels, dilations=branches, stride=2 if index == 0 else 1, **options))
        in_channels = width
    return stage


def _published(name: str, channels: int, stride: int, rates: Mapping[str, _Rates]) -> Stage:
    of_stage = tuple(sorted({rate for branches in rates[name] for rate in branches}))
    return Stage(name, channels, stride, of_stage, tuple(f"{name}.{index}" for index in range(len(rates[name]))))


def _stage_rates(blocks: Sequence[int], dilations: Sequence[Any]) -> dict[str, _Rates]:
    """For each stage the dilation rates of its blocks."""
    if len(blocks) != 2 or any(count < 1 for count in blocks):
        raise ValueError(f"blocks={tuple(blocks)!r} must be two numbers of at least 1, for stage2 and stage3.")
    if not dilations or not all(isinstance(branches, Sequence) for branches in dilations):
        raise ValueError(
            f"dilations={dilations!r} must be a list of dilation rates for each block, such as [[1], [1, 2], [1, 4]]."
        )
    return {
        "stage2": ((1,),) * blocks[0],
        "stage3": ((1,),) * blocks[1],
        "stage4": ((1,), *(check_dilations(branches) for branches in dilations)),
    }


def _widths(widths: Sequence[int]) -> tuple[int, int, int, int]:
    if len(widths) != 4:
        raise ValueError(f"widths={tuple(widths)!r} must be four, for stage2, stage3, stage4 and stage4's last block.")
    low, middle, high, last = widths
    return low, middle, high, last
