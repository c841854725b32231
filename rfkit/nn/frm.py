"""The feature refinement module (FRM): context modelled on the maps of all stages at once."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from rfkit._checks import check_choice, check_positive
from rfkit.nn.norms import make_norm

__all__ = ["FRM", "ContextBlock", "DisentangledNonLocal"]


class DisentangledNonLocal(nn.Module):
    """Attention of two terms: a pairwise one of whitened queries and keys, and a unary one; a global path.

    `project(pairwise @ values + unary @ values)`, where `pairwise` is the softmax over positions of the products of
    queries and keys, both centred over the positions, and `unary` the softmax over positions of one score a position,
    the same for every query. Biases that the centring or a softmax cancels are left out.

    Args:
        channels: channels that come in and go out.
        width: channels of queries, keys and values.
        temperature: divides the products, beside sqrt(width); small values make the pairwise term pick few positions.

    Shape:
        N, channels, H, W -> the same.

    Reference: Yin et al., Disentangled Non-Local Neural Networks, ECCV 2020.
    """

    def __init__(self, channels: int, *, width: int, temperature: float = 0.05) -> None:
        super().__init__()
        check_positive("width", width)
        check_positive("temperature", temperature)
        self.temperature = temperature
        self.query = nn.Conv2d(channels, width, 1, bias=False)
        self.key = nn.Conv2d(channels, width, 1, bias=False)
        self.value = nn.Conv2d(channels, width, 1, bias=False)
        self.score = nn.Conv2d(channels, 1, 1, bias=False)
        self.project = nn.Conv2d(width, channels, 1)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
        """What each position gathers from all positions."""
        query, key = (_centred(layer(x).flatten(2)) for layer in (self.query, self.key))
        scale = 1 / (math.sqrt(query.shape[1]) * self.temperature)
        pairwise = torch.softmax((query * scale).transpose(1, 2) @ key, dim=-1)
        unary = torch.softmax(self.score(x).flatten(2), dim=-1)
        gathered = self.value(x).flatten(2) @ (pairwise + unary).transpose(1, 2)
        return self.project(gathered.unflatten(2, x.shape[-2:]))


class ContextBlock(nn.Module):
    """A transformer block on a feature map: norm and attention, norm and MLP, each added to its input.

    Args:
        channels: channels that come in and go out.
        width: channels of queries, keys and values.
        temperature: of the pairwise term.
        mlp_ratio: hidden channels of the MLP (1x1, GELU, 1x1) per channel.
        norm: "batch", "layer" or "none".
    """

    def __init__(
        self, channels: int, *, width: int, temperature: float = 0.05, mlp_ratio: float = 4.0, norm: str = "batch"
    ) -> None:
        super().__init__()
        check_positive("mlp_ratio", mlp_ratio)
        hidden = max(1, round(mlp_ratio * channels))
        self.norm = make_norm(norm, channels)
        self.attention = DisentangledNonLocal(channels, width=width, temperature=temperature)
        self.mlp = nn.Sequential(
            OrderedDict(
                norm=make_norm(norm, channels),
                enter=nn.Conv2d(channels, hidden, 1),
                activation=nn.GELU(),
                leave=nn.Conv2d(hidden, channels, 1),
            )
        )

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
        """The block's output, of the input's size."""
        x = x + self.attention(self.norm(x))
        return x + self.mlp(x)


class FRM(nn.Module):
    """The maps of a backbone with their common context in them.

    All maps are pooled to the size of the last and concatenated with it; context blocks model what depends on what
    anywhere in the image; the result goes back to the maps. It takes the stages of any backbone whose output strides
    are multiples of each other.

    Assumptions: the paper names the pooling to the last stage's size, the concatenation, a transformer-style block
    with disentangled non-local attention, and nothing of the following, each of which is an argument here: average
    pooling with kernel = stride, queries, keys and values of half the channels, temperature 0.05, batch norm before
    attention and MLP, an MLP of ratio 4, one block, and that the context replaces the last map.

    Args:
        in_channels: channels of each map, finest first.
        output_strides: output stride of each map.
        width: channels of queries, keys and values; half of all channels if not given.
        temperature: of the pairwise term, see `DisentangledNonLocal`.
        mlp_ratio: of the context blocks.
        depth: number of context blocks.
        norm: "batch", "layer" or "none".
        pool: "average" or "max".
        merge: "top": the context (all channels) takes the place of the last map. "add": it is split into the maps'
            shares of the channels, and each share brought to its map's size (bilinearly) and added.

    Attributes:
        out_channels: channels of each map that is returned.

    Shape:
        maps N, in_channels[i], ceil(H / output_strides[i]), ceil(W / output_strides[i]) -> the same sizes, with
        `out_channels`.

    Raises:
        ValueError: the numbers of maps and strides differ, a stride does not divide the last, or an option is unknown.

    Example:
        >>> maps = [torch.zeros(1, 8, 16, 16), torch.zeros(1, 8, 8, 8), torch.zeros(1, 16, 2, 2)]
        >>> [tuple(refined.shape) for refined in FRM((8, 8, 16), output_strides=(4, 8, 32)).eval()(maps)]
        [(1, 8, 16, 16), (1, 8, 8, 8), (1, 32, 2, 2)]

    Reference: Wang et al., A feature refinement module for light-weight semantic segmentation network, arXiv
        2412.08670.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        output_strides: Sequence[int] = (4, 8, 16, 32),
        width: int | None = None,
        temperature: float = 0.05,
        mlp_ratio: float = 4.0,
        depth: int = 1,
        norm: str = "batch",
        pool: str = "average",
        merge: str = "top",
    ) -> None:
        super().__init__()
        check_choice("pool", pool, ("average", "max"))
        check_choice("merge", merge, ("top", "add"))
        check_positive("depth", depth)
        self.in_channels, self.merge = tuple(in_channels), merge
        channels = sum(in_channels)
        self.out_channels = (*self.in_channels[:-1], channels) if merge == "top" else self.in_channels
        make = nn.AvgPool2d if pool == "average" else nn.MaxPool2d
        self.pools = nn.ModuleList(
            make(factor, stride=factor, ceil_mode=True) for factor in _factors(in_channels, output_strides)
        )
        self.context = nn.Sequential(
            *(
                ContextBlock(
                    channels,
                    width=width or max(1, channels // 2),
                    temperature=temperature,
                    mlp_ratio=mlp_ratio,
                    norm=norm,
                )
                for _ in range(depth)
            )
        )

    def forward(self, maps: Sequence[Float[Tensor, "batch _ _ _"]]) -> list[Float[Tensor, "batch _ _ _"]]:
        """The refined maps, finest first."""
        if len(maps) != len(self.in_channels):
            raise ValueError(f"maps holds {len(maps)} maps; this FRM takes {len(self.in_channels)}.")
        pooled = [pool(finer) for pool, finer in zip(self.pools, maps[:-1], strict=True)]
        context = self.context(torch.cat([*pooled, maps[-1]], dim=1))
        if self.merge == "top":
            return [*maps[:-1], context]
        shares = context.split(self.in_channels, dim=1)
        return [own + _resize(share, own.shape[-2:]) for own, share in zip(maps, shares, strict=True)]


def _centred(values: Tensor) -> Tensor:
    return values - values.mean(dim=-1, keepdim=True)


def _resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)


def _factors(in_channels: Sequence[int], output_strides: Sequence[int]) -> list[int]:
    """By how much each map but the last is pooled."""
    strides = tuple(output_strides)
    if len(strides) != len(in_channels) or not strides:
        raise ValueError(f"output_strides={strides} must have one entry for each of in_channels={tuple(in_channels)}.")
    if any(stride < 1 or strides[-1] % stride for stride in strides):
        raise ValueError(f"output_strides={strides} must all divide the last one, the coarsest.")
    return [strides[-1] // stride for stride in strides[:-1]]
