"""Networks that are not rfkit's, written by hand and thin: a receptive field does not depend on the width."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Classification networks, with the layers named as in the tables they are compared with.


def vgg(counts: Sequence[int], width: int = 2) -> nn.Sequential:
    """Convolutions 3x3 and max pooling 2x2; `counts` convolutions in each of the five groups."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = 3
    for group, count in enumerate(counts, 1):
        for number in range(1, count + 1):
            layers[f"conv{group}_{number}"] = nn.Conv2d(channels, width, 3, padding=1)
            layers[f"relu{group}_{number}"] = nn.ReLU(inplace=True)
            channels = width
        layers[f"pool{group}"] = nn.MaxPool2d(2)
    return nn.Sequential(layers)


def vgg_16(width: int = 2) -> nn.Sequential:
    return vgg((2, 2, 3, 3, 3), width)


def vgg_a(width: int = 2) -> nn.Sequential:
    return vgg((1, 1, 2, 2, 2), width)


def alexnet_v2(width: int = 2) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, width, 11, 4),
            pool1=nn.MaxPool2d(3, 2),
            conv2=nn.Conv2d(width, width, 5, padding="same"),
            pool2=nn.MaxPool2d(3, 2),
            conv3=nn.Conv2d(width, width, 3, padding="same"),
            conv4=nn.Conv2d(width, width, 3, padding="same"),
            conv5=nn.Conv2d(width, width, 3, padding="same"),
            pool5=nn.MaxPool2d(3, 2),
        )
    )


class SizeDependentPadding(nn.Module):
    """Padding that gives ceil(size / stride) units: how much depends on the size, the odd one comes last."""

    def __init__(self, kernel: int, stride: int, *, value: float = 0.0) -> None:
        super().__init__()
        self.kernel, self.stride, self.value = kernel, stride, value

    def forward(self, features: Tensor) -> Tensor:
        sides: list[int] = []
        for length in reversed(features.shape[2:]):
            total = max((math.ceil(length / self.stride) - 1) * self.stride + self.kernel - length, 0)
            sides += [total // 2, total - total // 2]
        return F.pad(features, sides, value=self.value)


def mobilenet_v1(width: int = 2) -> nn.Sequential:
    """Depth-wise separable convolutions, padding by size."""
    strides = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
    layers = OrderedDict(pad=SizeDependentPadding(3, 2), Conv2d_0=nn.Conv2d(3, width, 3, 2))
    for number, stride in enumerate(strides, 1):
        layers[f"pad_{number}"] = SizeDependentPadding(3, stride)
        layers[f"Conv2d_{number}_depthwise"] = nn.Conv2d(width, width, 3, stride, groups=width)
        layers[f"norm_{number}"] = nn.BatchNorm2d(width)
        layers[f"Conv2d_{number}_pointwise"] = nn.Conv2d(width, width, 1)
        layers[f"act_{number}"] = nn.ReLU6(inplace=True)
    return nn.Sequential(layers)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 and a shortcut; the stride sits in the 3x3 or in the first 1x1."""

    def __init__(self, channels: int, width: int, stride: int, dilation: int, *, layout: str) -> None:
        super().__init__()
        first, second = (stride, 1) if layout == "original" else (1, stride)
        self.reduce = nn.Conv2d(channels, width, 1, first, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.padding = SizeOfKernelPadding(3) if layout == "slim" and stride > 1 else nn.Identity()
        padding = 0 if layout == "slim" and stride > 1 else dilation
        self.spatial = nn.Conv2d(width, width, 3, second, padding, dilation, bias=False)
        self.expand = nn.Conv2d(width, 2 * width, 1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        if channels != 2 * width:
            self.shortcut: nn.Module = nn.Conv2d(channels, 2 * width, 1, stride, bias=False)
        else:
            self.shortcut = nn.MaxPool2d(1, stride) if stride > 1 else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        residual = self.spatial(self.padding(self.relu(self.norm(self.reduce(features)))))
        residual = self.expand(self.relu(residual))
        residual += self.shortcut(features)
        return self.relu(residual)


class SizeOfKernelPadding(nn.Module):
    """Padding by kernel - 1, whatever the size."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        before = (kernel - 1) // 2
        self.sides = (before, kernel - 1 - before) * 2

    def forward(self, features: Tensor) -> Tensor:
        return F.pad(features, self.sides)


class ResNet(nn.Module):
    """Four groups of bottlenecks. Layouts: "original" (stride in the first 1x1), "common" (v1.5: in the first 3x3),
    "slim" (in the last 3x3 of the groups 1 to 3)."""

    def __init__(
        self,
        counts: Sequence[int],
        *,
        layout: str = "common",
        output_stride: int = 32,
        width: int = 2,
    ) -> None:
        super().__init__()
        slim = layout == "slim"
        self.conv1 = nn.Conv2d(3, width, 7, 2, 0 if slim else 3, bias=False)
        self.before = SizeOfKernelPadding(7) if slim else nn.Identity()
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.between = SizeDependentPadding(3, 2, value=float("-inf")) if slim else nn.Identity()
        self.pool1 = nn.MaxPool2d(3, 2, 0 if slim else 1)
        channels, reached, dilation = width, 4, 1
        for group, count in enumerate(counts, 1):
            wanted = 2 if (group < 4 if slim else group > 1) else 1
            stride = wanted if reached * wanted <= output_stride else 1
            reached *= stride
            units = []
            for number in range(count):
                takes = number == (count - 1 if slim else 0)
                units.append(Bottleneck(channels, width, stride if takes else 1, dilation, layout=layout))
                channels = 2 * width
                if takes and stride < wanted:
                    dilation *= 2
            self.add_module(f"block{group}", nn.Sequential(*units))
        self.channels = channels

    def forward(self, image: Tensor) -> Tensor:
        features = self.pool1(self.between(self.relu(self.bn1(self.conv1(self.before(image))))))
        return self.block4(self.block3(self.block2(self.block1(features))))


def resnet_50(layout: str = "common") -> ResNet:
    return ResNet((3, 4, 6, 3), layout=layout)


def resnet_152(layout: str = "common") -> ResNet:
    return ResNet((3, 8, 36, 3), layout=layout)


# Segmentation networks.


class UNet(nn.Module):
    """Two levels down and up, with F.pad where an odd size left a row or column over."""

    def __init__(self, up: str = "transposed", width: int = 2) -> None:
        super().__init__()
        self.down1, self.down2 = self._double(3, width), self._double(width, width)
        self.bottom = self._double(width, width)
        self.up2, self.up1 = self._up(up, width), self._up(up, width)
        self.join2, self.join1 = self._double(2 * width, width), self._double(2 * width, width)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Conv2d(width, 2, 1)

    @staticmethod
    def _double(channels: int, width: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
        )  # fmt: skip

    @staticmethod
    def _up(up: str, width: int) -> nn.Module:
        if up == "transposed":
            return nn.ConvTranspose2d(width, width, 2, 2)
        return nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)

    @staticmethod
    def _pad(features: Tensor, like: Tensor) -> Tensor:
        rows, columns = like.shape[2] - features.shape[2], like.shape[3] - features.shape[3]
        return F.pad(features, [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2])

    def forward(self, image: Tensor) -> Tensor:
        high = self.down1(image)
        middle = self.down2(self.pool(high))
        low = self.bottom(self.pool(middle))
        middle = self.join2(torch.cat([middle, self._pad(self.up2(low), middle)], 1))
        high = self.join1(torch.cat([self._pad(self.up1(middle), high), high], dim=1))
        return self.head(high)


class DeepLabV3(nn.Module):
    """A dilated backbone and ASPP; `pooling` adds the image-level branch, which is a global path."""

    def __init__(self, rates: Sequence[int] = (1, 2, 3), *, pooling: bool = True, width: int = 2) -> None:
        super().__init__()
        self.backbone = ResNet((1, 1, 1, 1), output_stride=8, width=width)
        channels = self.backbone.channels
        self.branches = nn.ModuleList(
            nn.Conv2d(channels, width, 1) if rate == 0 else nn.Conv2d(channels, width, 3, padding=rate, dilation=rate)
            for rate in (0, *rates)
        )
        self.pooling = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, width, 1)) if pooling else None
        self.merge = nn.Conv2d(width * (len(rates) + 1 + pooling), 2, 1)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        features = self.backbone(image)
        maps = [branch(features) for branch in self.branches]
        if self.pooling is not None:
            pooled = self.pooling(features)
            maps.append(F.interpolate(pooled, size=features.shape[-2:], mode="bilinear", align_corners=False))
        scores = self.merge(torch.cat(maps, dim=1))
        return {"out": F.interpolate(scores, size=image.shape[-2:], mode="bilinear", align_corners=False)}


class PyramidPooling(nn.Module):
    """Average pooling to several fixed sizes, brought back and concatenated."""

    def __init__(self, sizes: Sequence[int] = (2, 3, 6), width: int = 2) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, 2, 1)
        self.levels = nn.ModuleList(nn.Sequential(nn.AdaptiveAvgPool2d(n), nn.Conv2d(width, width, 1)) for n in sizes)
        self.head = nn.Conv2d(width * (len(sizes) + 1), 2, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        features = self.stem(image)
        size = features.shape[2:]
        levels = [F.interpolate(level(features), size, mode="bilinear", align_corners=True) for level in self.levels]
        return F.interpolate(self.head(torch.cat([features, *levels], 1)), scale_factor=2, mode="nearest")


class ENetLike(nn.Module):
    """An initial block of a convolution beside pooling, channel padding, asymmetric and dilated convolutions."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.initial = nn.Conv2d(3, width - 3, 3, 2, 1)
        self.reduce = nn.Conv2d(width, width, 2, 2)
        self.asymmetric = nn.Sequential(
            nn.Conv2d(width, width, (5, 1), padding=(2, 0)), nn.Conv2d(width, width, (1, 5), padding=(0, 2)), nn.PReLU()
        )
        self.dilated = nn.Conv2d(2 * width, 2 * width, 3, padding=4, dilation=4)
        self.up = nn.ConvTranspose2d(2 * width, 2, 3, 2, 1, 1)
        self.last = nn.ConvTranspose2d(2, 2, 2, 2)

    def forward(self, image: Tensor) -> Tensor:
        features = torch.cat([self.initial(image), F.max_pool2d(image, 2, 2, ceil_mode=True)], 1)
        residual = self.asymmetric(F.prelu(self.reduce(features), self.asymmetric[2].weight))
        pooled, _indices = F.max_pool2d(features, 2, return_indices=True)
        features = F.pad(residual, (0, 0, 0, 0, 0, pooled.shape[1])) + F.pad(pooled, (0, 0, 0, 0, 0, pooled.shape[1]))
        features = features + torch.dropout(self.dilated(features), 0.1, self.training)
        return self.last(self.up(features))


class ESPLike(nn.Module):
    """Parallel dilated convolutions whose outputs are added up one after the other, then concatenated."""

    def __init__(self, rates: Sequence[int] = (1, 2, 4), width: int = 2) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(3, width, 1)
        self.branches = nn.ModuleList(nn.Conv2d(width, width, 3, padding=rate, dilation=rate) for rate in rates)

    def forward(self, image: Tensor) -> Tensor:
        features = self.reduce(image)
        total, maps = None, []
        for branch in self.branches:
            total = branch(features) if total is None else total + branch(features)
            maps.append(total)
        return F.leaky_relu(torch.cat(maps, 1), 0.1)


class SqueezeExcite(nn.Module):
    """Two convolutions, the second gated by a mean over the image."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, width, 3, 2, 1), nn.Conv2d(width, width, 3, padding=1)
        self.squeeze, self.excite = nn.Linear(width, 2), nn.Linear(2, width)

    def forward(self, image: Tensor) -> Tensor:
        features = self.second(F.relu(self.first(image)))
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(features.mean((2, 3))))))
        return features * gate[:, :, None, None]


class HighResolutionExchange(nn.Module):
    """Three resolutions, each the sum of all three."""

    def __init__(self, width: int = 2) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, 2, 1)
        self.to_half, self.to_quarter = nn.Conv2d(width, width, 3, 2, 1), nn.Conv2d(width, width, 3, 2, 1)
        self.streams = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(3))
        self.down = nn.ModuleList(nn.Conv2d(width, width, 3, 2, 1) for _ in range(3))
        self.across = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(3))

    def forward(self, image: Tensor) -> list[Tensor]:
        high = self.stem(image)
        half = self.to_half(high)
        maps = [high, half, self.to_quarter(half)]
        high, half, quarter = (stream(one) for stream, one in zip(self.streams, maps, strict=True))

        def up(features: Tensor, like: Tensor) -> Tensor:
            return F.interpolate(features, like.shape[2:], mode="nearest")

        return [
            F.relu(high + up(self.across[0](half), high) + up(self.across[1](quarter), high)),
            F.relu(self.down[0](high) + half + up(self.across[2](quarter), half)),
            F.relu(self.down[2](F.relu(self.down[1](high))) + self.down[0](half) + quarter),
        ]


class ShuffleNetLike(nn.Module):
    """Units that send half of the channels through a depth-wise convolution and shuffle the channels afterwards."""

    def __init__(self, width: int = 4, units: int = 3) -> None:
        super().__init__()
        half = width // 2
        self.stem = nn.Conv2d(3, width, 3, 2, 1)
        self.units = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(half, half, 1), nn.ReLU(inplace=True),
                nn.Conv2d(half, half, 3, padding=1, groups=half), nn.BatchNorm2d(half), nn.Conv2d(half, half, 1),
            )
            for _ in range(units)
        )  # fmt: skip

    def forward(self, image: Tensor) -> Tensor:
        features = self.stem(image)
        for unit in self.units:
            first, second = features.chunk(2, dim=1)
            features = torch.cat((first, unit(second)), dim=1)
            number, channels, height, width = features.size()
            features = features.view(number, 2, channels // 2, height, width).transpose(1, 2).contiguous()
            features = features.view(number, -1, height, width)
        return features


class FCN8s(nn.Module):
    """VGG-like groups after a large padding; scores of three strides cropped to each other and to the image."""

    def __init__(self, padding: int = 30, width: int = 2) -> None:
        super().__init__()
        channels = 3
        self.groups = nn.ModuleList()
        for group in range(5):
            first = nn.Conv2d(channels, width, 3, padding=padding if group == 0 else 1)
            self.groups.append(nn.Sequential(first, nn.ReLU(inplace=True), nn.MaxPool2d(2, ceil_mode=True)))
            channels = width
        self.fully = nn.Sequential(nn.Conv2d(width, width, 3), nn.ReLU(inplace=True), nn.Dropout2d())
        self.scores = nn.ModuleList(nn.Conv2d(width, 2, 1) for _ in range(3))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2, 2, 2 * f, f, bias=False) for f in (2, 2, 8))

    def forward(self, image: Tensor) -> Tensor:
        maps, features = [], image
        for group in self.groups:
            features = group(features)
            maps.append(features)
        scores = self.up[0](self.scores[0](self.fully(maps[4])))
        for number, one in ((1, maps[3]), (2, maps[2])):
            height, width = scores.shape[2:]
            side = self.scores[number](one)[:, :, number : number + height, number : number + width]
            scores = self.up[number](scores[:, :, : side.shape[2], : side.shape[3]] + side)
        height, width = image.shape[2:]
        return scores[:, :, 3 : 3 + height, 3 : 3 + width].contiguous()


# Transformers.


class Attention(nn.Module):
    """Multi-head attention written out, N L C."""

    def __init__(self, width: int, heads: int = 2, *, fused: bool = False) -> None:
        super().__init__()
        self.heads, self.fused = heads, fused
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        number, length, width = tokens.shape
        mixed = self.qkv(tokens).reshape(number, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = mixed.unbind(0)
        if self.fused:
            attended = F.scaled_dot_product_attention(query, key, value)
        else:
            weights = ((query @ key.transpose(-2, -1)) * (width // self.heads) ** -0.5).softmax(dim=-1)
            attended = weights @ value
        return self.out(attended.transpose(1, 2).reshape(number, length, width))


class TransformerBlock(nn.Module):
    def __init__(self, width: int, *, fused: bool = False) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, fused=fused)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attention(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class ViTLike(nn.Module):
    """Patches, attention over all of them, a map of scores."""

    def __init__(self, patch: int = 4, width: int = 4, *, fused: bool = False) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, width, patch, patch)
        self.block = TransformerBlock(width, fused=fused)
        self.head = nn.Conv2d(width, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        features = self.embed(image)
        tokens = self.block(features.flatten(2).transpose(1, 2))
        return self.head(tokens.transpose(1, 2).reshape(features.shape))


class SwinLike(nn.Module):
    """Attention inside windows, then inside windows shifted by half, then patch merging. Not a global path."""

    def __init__(self, window: int = 2, width: int = 4, patch: int = 2) -> None:
        super().__init__()
        self.window = window
        self.embed = nn.Conv2d(3, width, patch, patch)
        self.blocks = nn.ModuleList([TransformerBlock(width), TransformerBlock(width)])
        self.merge = nn.Linear(4 * width, 2 * width)

    def forward(self, image: Tensor) -> Tensor:
        features = self.embed(image).permute(0, 2, 3, 1)
        for number, block in enumerate(self.blocks):
            shift = self.window // 2 if number else 0
            features = torch.roll(features, (-shift, -shift), (1, 2)) if shift else features
            count, height, width, channels = features.shape
            side = self.window
            windows = features.view(count, height // side, side, width // side, side, channels)
            windows = windows.permute(0, 1, 3, 2, 4, 5).reshape(-1, side * side, channels)
            windows = block(windows).view(count, height // side, width // side, side, side, channels)
            features = windows.permute(0, 1, 3, 2, 4, 5).reshape(count, height, width, channels)
            features = torch.roll(features, (shift, shift), (1, 2)) if shift else features
        corners = [features[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.merge(torch.cat(corners, -1)).permute(0, 3, 1, 2)


class SegFormerLike(nn.Module):
    """Overlapping patches, attention to a reduced map, depth-wise convolution between the linear layers."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.embeds = nn.ModuleList([nn.Conv2d(3, width, 7, 4, 3), nn.Conv2d(width, width, 3, 2, 1)])
        self.reduce = nn.Conv2d(width, width, 2, 2)
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.norm = nn.LayerNorm(width)
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.decode = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.fuse = nn.Conv2d(2 * width, 2, 1)

    def _block(self, features: Tensor) -> Tensor:
        number, channels, height, width = features.shape
        tokens = self.norm(features.flatten(2).transpose(1, 2))
        reduced = self.reduce(tokens.transpose(1, 2).reshape(features.shape)).flatten(2).transpose(1, 2)
        key, value = self.key_value(reduced).chunk(2, -1)
        weights = torch.softmax(torch.matmul(self.query(tokens), key.transpose(1, 2)) / channels**0.5, -1)
        tokens = tokens + torch.matmul(weights, value)
        inner = self.first(tokens).transpose(1, 2).view(number, channels, height, width)
        inner = F.gelu(self.depthwise(inner)).flatten(2).transpose(1, 2)
        return (tokens + self.second(inner)).transpose(1, 2).reshape(number, channels, height, width)

    def forward(self, image: Tensor) -> Tensor:
        maps, features = [], image
        for embed, decode in zip(self.embeds, self.decode, strict=True):
            features = self._block(embed(features))
            maps.append(decode(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
        maps = [F.interpolate(one, maps[0].shape[2:], mode="bilinear", align_corners=False) for one in maps]
        return self.fuse(torch.cat(maps[::-1], 1))


# Small networks with one peculiarity each.


class ThreeTimes(nn.Module):
    """One module called three times."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(width, width, 3, padding=1, dilation=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, image: Tensor) -> Tensor:
        for _ in range(3):
            image = self.relu(self.convolution(image))
        return image


class Functional(nn.Module):
    """Functions instead of modules: padding="same", a non-square kernel, splits, pixel shuffle, strided slices."""

    def __init__(self) -> None:
        super().__init__()
        shapes = [(8, 3, 3, 5), (4, 1, 5, 1), (16, 8, 1, 1)]
        self.weights = nn.ParameterList(nn.Parameter(torch.ones(shape)) for shape in shapes)

    def forward(self, image: Tensor) -> Tensor:
        features = F.conv2d(image, self.weights[0], padding="same", dilation=(1, 2))
        first, second = features.split([4, 4], dim=1)
        first = F.conv2d(first, self.weights[1], None, 1, (2, 0), 1, 4)
        features = torch.cat([F.hardswish(first), F.max_pool2d(second, 3, 1, 1)], 1)
        features = F.pixel_shuffle(F.conv2d(features, self.weights[2], stride=3), 2)
        return features[:, :, 1:, ::2].narrow(1, 1, 2)


class TupleOutput(nn.Module):
    """Returns (scores, [auxiliary])."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 2, 3, 2, 1), nn.Conv2d(2, 2, 3)

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        features = self.first(image)
        return self.second(features), [features]


class RegSegBody(nn.Module):
    """Only what the field of view of RegSeg's backbone depends on: strides, dilation rates and shortcuts."""

    def __init__(self, dilations: Sequence[Sequence[int]], width: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, 2, 1)
        plan = [((1,), 2), ((1,), 2), ((1,), 1), ((1,), 1), ((1,), 2), *((rates, 1) for rates in dilations)]
        self.blocks = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(width // len(rates), width // len(rates), 3, stride, rate, rate) for rate in rates)
            for rates, stride in plan
        )
        self.strides = [stride for _, stride in plan]

    def forward(self, image: Tensor) -> Tensor:
        features = self.stem(image)
        for block, stride in zip(self.blocks, self.strides, strict=True):
            parts = features.chunk(len(block), 1)
            residual = torch.cat([branch(part) for branch, part in zip(block, parts, strict=True)], 1)
            features = residual + (F.avg_pool2d(features, 2, 2, ceil_mode=True) if stride == 2 else features)
        return features


class DataDependent(nn.Module):
    """The number of calls depends on values, so there is no way around real ones."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        features = self.convolution(image)
        if bool((features.abs().sum() >= 0).item()):
            features = self.convolution(features)
        return features


class Sorting(nn.Module):
    """An operator that nobody has a rule for between two convolutions."""

    def __init__(self, operator: str = "sort") -> None:
        super().__init__()
        self.before, self.after = nn.Conv2d(3, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)
        self.operator = operator

    def forward(self, image: Tensor) -> Tensor:
        features = self.before(image)
        if self.operator == "sort":
            features = torch.sort(features, dim=3).values
        elif self.operator == "grid_sample":
            grid = self.before(image).tanh().permute(0, 2, 3, 1)
            features = F.grid_sample(features, grid, align_corners=False)
        else:
            features = torch.gather(features, 3, features.argsort(3))
        return self.after(features)


class Normalised(nn.Module):
    """A convolution, a norm that reads the whole map, a convolution."""

    def __init__(self, norm: str) -> None:
        super().__init__()
        self.before, self.after = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1)
        self.norm = {
            "instance": lambda: nn.InstanceNorm2d(4),
            "group": lambda: nn.GroupNorm(2, 4),
            "batch": lambda: nn.BatchNorm2d(4),
        }[norm]()

    def forward(self, image: Tensor) -> Tensor:
        return self.after(self.norm(self.before(image)))


class Failing(nn.Module):
    """Two layers that work, then one whose input has the wrong number of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4)
        self.wrong = nn.Conv2d(7, 4, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.wrong(self.second(self.first(image)))


# The networks that have an exact answer, with an odd, non-square image size for each.
EXACT: dict[str, tuple[Any, tuple[int, int]]] = {
    "vgg_16": (vgg_16, (70, 97)),
    "alexnet_v2": (alexnet_v2, (99, 131)),
    "mobilenet_v1": (mobilenet_v1, (65, 98)),
    "resnet_50": (resnet_50, (97, 70)),
    "resnet_50_slim": (lambda: resnet_50("slim"), (97, 70)),
    "resnet_50_original": (lambda: resnet_50("original"), (64, 97)),
    "unet_transposed": (UNet, (57, 74)),
    "unet_bilinear": (lambda: UNet("bilinear"), (59, 66)),
    "deeplab_v3": (lambda: DeepLabV3((1, 2), pooling=False), (121, 202)),
    "pyramid_pooling": (PyramidPooling, (33, 26)),
    "enet": (ENetLike, (32, 44)),
    "esp": (ESPLike, (23, 18)),
    "exchange": (HighResolutionExchange, (37, 30)),
    "shufflenet": (ShuffleNetLike, (31, 22)),
    "fcn_8s": (FCN8s, (33, 46)),
    "swin": (SwinLike, (16, 24)),
    "three_times": (ThreeTimes, (17, 12)),
    "functional": (Functional, (25, 31)),
    "tuple_output": (TupleOutput, (15, 20)),
    "data_dependent": (DataDependent, (13, 16)),
}

# The networks with a global path, and one without it where there is one to compare with.
GLOBAL: dict[str, tuple[Any, tuple[int, int]]] = {
    "deeplab_v3": (DeepLabV3, (41, 58)),
    "squeeze_excite": (SqueezeExcite, (21, 16)),
    "vit": (ViTLike, (12, 16)),
    "vit_fused": (lambda: ViTLike(fused=True), (12, 16)),
    "segformer": (SegFormerLike, (32, 48)),
    "instance_norm": (lambda: Normalised("instance"), (14, 11)),
    "group_norm": (lambda: Normalised("group"), (14, 11)),
}
