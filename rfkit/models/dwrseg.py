"""DWRSeg-B and DWRSeg-L, and the probe network made of competing branches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from rfkit._checks import check_choice, check_positive
from rfkit.models.stages import Network, Stage
from rfkit.nn.branches import TwoStepResidual
from rfkit.nn.conv import ConvNorm, initialise
from rfkit.nn.decoders import ConcatDecoder
from rfkit.nn.dwr import DWR, SIR
from rfkit.nn.probe import CompetingBranches
from rfkit.nn.stem import Stem

__all__ = ["DWRSeg", "dwrseg_b", "dwrseg_l", "probe_dwrseg_l"]

_CHANNELS = {"stage2": 64, "stage3": 128, "stage4": 128}


class DWRSeg(Network):
    """Encoder of a stem and three stages of residual blocks, and a decoder that concatenates the stages.

    Output strides are 4, 8, 16 and 32; each stage reaches its own inside its first block. Where the paper leaves the
    structure open (stem, transitions between stages), the defaults are the reading that gives the published sizes of
    both networks; they are inferred, and the other readings are options.

    Args:
        num_classes: number of class scores.
        blocks: number of blocks in stage2, stage3 and stage4.
        offset: stage name -> number of blocks added to it (delta of Table 2, VII).
        dilations: dilation rates of the branches in stage3 and in stage4 (with `competing`: three lists, for
            stage2, stage3 and stage4, or one flat list for all).
        competing: replace every block by `CompetingBranches` (section 4.2).
        region_ratio: with `competing`, region maps per channel.
        stem: "wide" or "narrow", see `rfkit.nn.stem.Stem`.
        downsample: "block": the first block of a stage has stride 2; "conv": a 3x3 convolution with stride 2 and norm
            goes before the stage.
        decoder_width: channels of the head's hidden map.
        alpha, beta, multiple, region_norm, semantic_norm, semantic_activation, merge_norm: options of `DWR`.
        expansion, depthwise: options of `SIR`.
        initialisation: "torch" or "he", see `rfkit.nn.conv.initialise`.
        activation: activation of the region maps in DWR and competing-branch blocks ("relu", "prelu", "none").
        sir_activation: the same for SIR blocks (switch 1 of Table 2, IV, concerns DWR alone).

    Shape:
        N, 3, H, W (any H, W of at least 1) -> N, num_classes, H, W.

    Reference: Wei et al., DWRSeg, sections 3 and 4, Table 1.
    """

    def __init__(
        self,
        num_classes: int = 19,
        *,
        blocks: Sequence[int] = (8, 8, 3),
        offset: Mapping[str, int] | None = None,
        dilations: Sequence[Any] = ((1, 3), (1, 3, 5)),
        competing: bool = False,
        region_ratio: float = 1.0,
        stem: str = "wide",
        downsample: str = "block",
        decoder_width: int = 128,
        alpha: Sequence[int] = (2, 1, 1),
        beta: float = 1.5,
        multiple: bool = False,
        activation: str = "relu",
        sir_activation: str = "relu",
        region_norm: bool = True,
        semantic_norm: bool = True,
        semantic_activation: str = "none",
        merge_norm: bool = False,
        expansion: int = 3,
        depthwise: bool = False,
        initialisation: str = "torch",
    ) -> None:
        super().__init__()
        check_positive("num_classes", num_classes)
        check_choice("downsample", downsample, ("block", "conv"))
        self.num_classes = num_classes
        dwr = {
            "alpha": alpha, "beta": beta, "multiple": multiple, "activation": activation,
            "region_norm": region_norm, "semantic_norm": semantic_norm,
            "semantic_activation": semantic_activation, "merge_norm": merge_norm,
        }  # fmt: skip
        sir = {"expansion": expansion, "depthwise": depthwise, "activation": sir_activation}
        probe = {"region_ratio": region_ratio, "activation": activation}
        rates = _stage_dilations(dilations, competing)
        counts = _block_counts(blocks, offset or {})

        self.stem = Stem(stem)
        self.stage2: nn.Sequential
        self.stage3: nn.Sequential
        self.stage4: nn.Sequential
        stages, in_channels, stride = [Stage("stem", 64, 4, (1,), ("stem",))], 64, 4
        for name, channels in _CHANNELS.items():
            make: Callable[..., TwoStepResidual]
            if competing:
                make, options = CompetingBranches, {"dilations": rates[name], **probe}
            elif name == "stage2":
                make, options = SIR, sir
            else:
                make, options = DWR, {"dilations": rates[name], **dwr}
            setattr(self, name, _stage(make, in_channels, channels, counts[name], downsample, options))
            stride *= 2
            names = tuple(
                f"{name}.{key}"
                for key, block in getattr(self, name).named_children()
                if isinstance(block, TwoStepResidual)
            )
            stages.append(Stage(name, channels, stride, rates[name], names))
            in_channels = channels
        self.decoder = ConcatDecoder(tuple(_CHANNELS.values()), num_classes, width=decoder_width)
        self.stages = tuple(stages)
        initialise(self, initialisation)

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes height width"]:
        """Class scores (logits) at the image's size."""
        low = self.stage2(self.stem(image))
        middle = self.stage3(low)
        high = self.stage4(middle)
        return self.decoder((low, middle, high), image.shape[-2:])


def dwrseg_b(num_classes: int = 19, **options: Any) -> DWRSeg:
    """DWRSeg-B: 7, 3 and 3 blocks; 2 535 315 parameters at 19 classes (paper, Table 1: 2.54 M)."""
    return DWRSeg(num_classes, **{"blocks": (7, 3, 3), **options})


def dwrseg_l(num_classes: int = 19, **options: Any) -> DWRSeg:
    """DWRSeg-L: 8, 8 and 3 blocks; 3 530 579 parameters at 19 classes (paper, Table 1: 3.53 M)."""
    return DWRSeg(num_classes, **{"blocks": (8, 8, 3), **options})


def probe_dwrseg_l(num_classes: int = 19, *, dilations: Sequence[int] = (1, 3, 5), **options: Any) -> DWRSeg:
    """DWRSeg-L with each of its 19 blocks replaced by competing branches (paper, section 4.2)."""
    return DWRSeg(num_classes, **{"blocks": (8, 8, 3), "competing": True, "dilations": dilations, **options})


def _stage(
    make: Callable[..., TwoStepResidual],
    in_channels: int,
    channels: int,
    count: int,
    downsample: str,
    options: Mapping[str, Any],
) -> nn.Sequential:
    parts: dict[str, nn.Module] = {}
    stride = 2
    if downsample == "conv":
        parts["downsample"] = ConvNorm(in_channels, channels, stride=2, activation="none")
        in_channels, stride = channels, 1
    for index in range(count):
        first = index == 0
        parts[str(index)] = make(channels, in_channels if first else channels, stride=stride if first else 1, **options)
    stage = nn.Sequential()
    for name, part in parts.items():
        stage.add_module(name, part)
    return stage


def _stage_dilations(dilations: Sequence[Any], competing: bool) -> dict[str, tuple[int, ...]]:
    lists = [tuple(rates) if isinstance(rates, Sequence) else rates for rates in dilations]
    flat = all(isinstance(rates, int) for rates in lists)
    if competing and flat:
        lists = [tuple(lists)] * 3
    expected = 3 if competing else 2
    if len(lists) != expected or not all(isinstance(rates, tuple) for rates in lists):
        raise ValueError(
            f"dilations={dilations!r} must be {expected} lists of dilation rates"
            + (" or one list for all stages." if competing else ", for stage3 and stage4.")
        )
    if not competing:
        lists = [(1,), *lists]
    return dict(zip(_CHANNELS, lists, strict=True))


def _block_counts(blocks: Sequence[int], offset: Mapping[str, int]) -> dict[str, int]:
    if len(blocks) != len(_CHANNELS):
        raise ValueError(f"blocks={tuple(blocks)!r} must hold three numbers, for {', '.join(_CHANNELS)}.")
    for name in offset:
        check_choice("offset", name, _CHANNELS)
    counts = {name: count + offset.get(name, 0) for name, count in zip(_CHANNELS, blocks, strict=True)}
    for name, count in counts.items():
        if count < 1:
            raise ValueError(
                f"blocks={tuple(blocks)!r} with offset={dict(offset)!r} leaves {count} blocks in {name}; at least 1."
            )
    return counts
