"""FRM on two backbones: FRMNet, with a Visual Attention Network, and DWRSeg-L."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from rfkit._checks import check_positive
from rfkit.models.dwrseg import DWRSeg
from rfkit.models.stages import Network, Stage
from rfkit.nn.conv import initialise
from rfkit.nn.decoders import ConcatDecoder
from rfkit.nn.fpn import FPNDecoder
from rfkit.nn.frm import FRM
from rfkit.nn.van import VANStage

__all__ = ["DWRSegFRM", "FRMNet", "dwrseg_l_frm", "frmnet"]

_NAMES = ("stem", "stage2", "stage3", "stage4")


class FRMNet(Network):
    """A Visual Attention Network, a feature refinement module on its four stages, and a feature pyramid.

    The stages are those of the backbone, before refinement; "stem" is its whole first stage, at output stride 4. The
    refined maps are what `frm` returns.

    Assumptions: the paper's full text and code were not at hand. Known are the backbone's family, the refinement
    module in outline, the pyramid, and the cost: 214.82 G on Cityscapes (1024x2048). Assumed, and arguments here, are
    the backbone's size (VAN-B0's widths, depths and MLP ratios, layer norm behind each stage), all that is listed in
    `rfkit.nn.frm.FRM`, and the pyramid's 256 and the head's 128 channels. So built, the network takes 211.0 G
    multiply-adds without norm and upsampling, near the published cost; that is no evidence for each assumption, and no
    accuracy of the paper is claimed for it.

    Args:
        num_classes: number of class scores.
        widths: channels of the four stages.
        depths: number of blocks of the four stages.
        mlp_ratios: hidden channels of a block's MLP per channel, in the four stages.
        layer_scale: initial value of the blocks' scales.
        stage_norm: norm of each stage's output: "layer", "batch" or "none".
        context_width, context_depth, context_ratio, context_norm, temperature, pool, merge: `width`, `depth`,
            `mlp_ratio`, `norm`, `temperature`, `pool` and `merge` of `rfkit.nn.frm.FRM`.
        pyramid_width: channels of the pyramid.
        head_width: channels of the pyramid's head.
        upsampling: "nearest" or "bilinear", inside the pyramid.
        initialisation: "torch" or "he", see `rfkit.nn.conv.initialise`.

    Shape:
        N, 3, H, W (any H, W of at least 1) -> N, num_classes, H, W.

    Raises:
        ValueError: an option is out of range.

    Reference: Wang et al., A feature refinement module for light-weight semantic segmentation network, arXiv
        2412.08670; Guo et al., Visual Attention Network, Computational Visual Media 2023.
    """

    def __init__(
        self,
        num_classes: int = 19,
        *,
        widths: Sequence[int] = (32, 64, 160, 256),
        depths: Sequence[int] = (3, 3, 5, 2),
        mlp_ratios: Sequence[int] = (8, 8, 4, 4),
        layer_scale: float = 0.01,
        stage_norm: str = "layer",
        context_width: int | None = None,
        context_depth: int = 1,
        context_ratio: float = 4.0,
        context_norm: str = "batch",
        temperature: float = 0.05,
        pool: str = "average",
        merge: str = "top",
        pyramid_width: int = 256,
        head_width: int = 128,
        upsampling: str = "nearest",
        initialisation: str = "torch",
    ) -> None:
        super().__init__()
        check_positive("num_classes", num_classes)
        for name, values in (("widths", widths), ("depths", depths), ("mlp_ratios", mlp_ratios)):
            if len(values) != len(_NAMES):
                raise ValueError(f"{name}={tuple(values)!r} must be four numbers, for {', '.join(_NAMES)}.")
        self.num_classes = num_classes
        stages: list[Stage] = []
        in_channels, stride = 3, 1
        for name, channels, depth, ratio in zip(_NAMES, widths, depths, mlp_ratios, strict=True):
            first = name == "stem"
            stage = VANStage(
                in_channels,
                channels,
                depth=depth,
                kernel_size=7 if first else 3,
                stride=4 if first else 2,
                mlp_ratio=ratio,
                layer_scale=layer_scale,
                norm=stage_norm,
            )
            self.add_module(name, stage)
            in_channels, stride = channels, stride * (4 if first else 2)
            blocks = ("stem",) if first else tuple(f"{name}.{index}" for index in range(depth))
            stages.append(Stage(name, channels, stride, (1,), blocks))
        self.frm = FRM(
            widths,
            width=context_width,
            depth=context_depth,
            mlp_ratio=context_ratio,
            norm=context_norm,
            temperature=temperature,
            pool=pool,
            merge=merge,
        )
        self.decoder = FPNDecoder(
            self.frm.out_channels, num_classes, width=pyramid_width, head_width=head_width, upsampling=upsampling
        )
        self.stages = tuple(stages)
        initialise(self, initialisation)

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes height width"]:
        """Class scores (logits) at the image's size."""
        maps: list[Tensor] = []
        features = image
        for name in _NAMES:
            features = self.get_submodule(name)(features)
            maps.append(features)
        return self.decoder(self.frm(maps), image.shape[-2:])


class DWRSegFRM(DWRSeg):
    """DWRSeg with a feature refinement module between its stages and its decoder.

    The module refines the maps that the decoder reads: stage2, stage3 and stage4. By default their context is added to
    each of them, so that the decoder stays DWRSeg's own. This combination is of this project, in no paper.

    Args:
        num_classes: number of class scores.
        context_width, context_depth, context_ratio, context_norm, temperature, pool, merge: `width`, `depth`,
            `mlp_ratio`, `norm`, `temperature`, `pool` and `merge` of `rfkit.nn.frm.FRM`.
        **options: of `DWRSeg`.

    Shape:
        N, 3, H, W (any H, W of at least 1) -> N, num_classes, H, W.
    """

    def __init__(
        self,
        num_classes: int = 19,
        *,
        context_width: int | None = None,
        context_depth: int = 1,
        context_ratio: float = 4.0,
        context_norm: str = "batch",
        temperature: float = 0.05,
        pool: str = "average",
        merge: str = "add",
        **options: Any,
    ) -> None:
        super().__init__(num_classes, **options)
        refined = self.stages[1:]
        self.frm = FRM(
            [stage.channels for stage in refined],
            output_strides=[stage.output_stride for stage in refined],
            width=context_width,
            depth=context_depth,
            mlp_ratio=context_ratio,
            norm=context_norm,
            temperature=temperature,
            pool=pool,
            merge=merge,
        )
        added: list[nn.Module] = [self.frm]
        if merge == "top":
            width = options.get("decoder_width", 128)
            self.decoder = ConcatDecoder(self.frm.out_channels, num_classes, width=width)
            added.append(self.decoder)
        for part in added:
            initialise(part, options.get("initialisation", "torch"))

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes height width"]:
        """Class scores (logits) at the image's size."""
        low = self.stage2(self.stem(image))
        middle = self.stage3(low)
        high = self.stage4(middle)
        return self.decoder(self.frm((low, middle, high)), image.shape[-2:])


def frmnet(num_classes: int = 19, **options: Any) -> FRMNet:
    """FRMNet on VAN-B0, a reconstruction: see the assumptions in `FRMNet`."""
    return FRMNet(num_classes, **options)


def dwrseg_l_frm(num_classes: int = 19, **options: Any) -> DWRSegFRM:
    """DWRSeg-L with a feature refinement module; its receptive field before and after it is what this kit can show."""
    return DWRSegFRM(num_classes, **{"blocks": (8, 8, 3), **options})
