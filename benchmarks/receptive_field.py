"""What the theoretical receptive field of a whole network costs, beside one forward pass of that network.

First DWRSeg-L: trace and table, the forward pass, and, if it can be imported, torchlens (a public tool that records a
forward pass on real tensors and derives receptive fields from the record) take turns in this one process. Then a ResNet
of 152 layers at 1024 x 1024, at the published width and at a quarter of it: the same graph, a sixteenth of the
multiply-adds.

    python benchmarks/receptive_field.py [--size 512 1024] [--turns 5]
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from rfkit.analysis.theoretical import trace
from rfkit.models.registry import create_model


class Bottleneck(nn.Module):
    """Three convolutions with batch norm, the middle one 3 x 3 with the stride, and a shortcut."""

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(in_channels, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 4 * width, 1, bias=False),
            nn.BatchNorm2d(4 * width),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_channels != 4 * width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        return torch.relu(self.convolutions(x) + self.shortcut(x))


def resnet152(width: int = 64) -> nn.Sequential:
    """151 convolutions along the longest path and a classifier on each unit; `width` channels leave the stem."""
    layers: list[nn.Module] = [nn.Conv2d(3, width, 7, 2, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    channels = width
    for stage, count in enumerate((3, 8, 36, 3)):
        for block in range(count):
            inner = width * 2**stage
            layers.append(Bottleneck(channels, inner, 2 if stage and not block else 1))
            channels = 4 * inner
    return nn.Sequential(*layers, nn.Conv2d(channels, 1000, 1)).eval()


def medians(ways: Mapping[str, Callable[[], object]], turns: int) -> dict[str, float]:
    """The median seconds of each way: each runs once in every turn, and one turn more comes first."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(turns + 1):
        for name, run in ways.items():
            begun = time.perf_counter()
            run()
            if turn:
                times[name].append(time.perf_counter() - begun)
    return {name: statistics.median(values) for name, values in times.items()}


def passes(model: nn.Module, size: Sequence[int], turns: int) -> None:
    """Print what the table costs relative to the forward pass and to torchlens."""
    image = torch.rand(1, 3, *size)

    def forward() -> Tensor:
        with torch.no_grad():
            return model(image)

    ways: dict[str, Callable[[], object]] = {"table": lambda: trace(model, (3, *size)).table(), "forward pass": forward}
    found = medians(ways, turns)
    report(found)
    print(f"the table costs {found['table'] / found['forward pass']:.2f} of a forward pass")
    if not importlib.util.find_spec("torchlens"):
        print("torchlens cannot be imported: left out")
        return
    # Apart, because even between its calls it may slow PyTorch down.
    ways |= {"torchlens, record": recorded(model, image), "with its fields": recorded(model, image, fields=True)}
    report(medians(ways, turns))


def report(found: Mapping[str, float]) -> None:
    """Print seconds, and each relative to the table."""
    for name, middle in found.items():
        print(f"{name:18s} {1000 * middle:8.0f} ms   {middle / found['table']:6.2f} times as long as the table")


def recorded(model: nn.Module, image: Tensor, *, fields: bool = False) -> Callable[[], object]:
    """A function that records one forward pass with torchlens, and with `fields` also makes its table of fields."""
    import torchlens

    capture = torchlens.options.CaptureOptions(unwrap_when_done=True)

    def run() -> object:
        with torch.no_grad():
            found = torchlens.trace(model, image, capture=capture)
            return found.receptive_fields() if fields else found

    return run


def deep(turns: int) -> None:
    """Print what the table of a ResNet-152 costs, at two widths."""
    models = {f"{width} channels": resnet152(width) for width in (16, 64)}
    ways = {name: lambda model=model: trace(model, (3, 1024, 1024)).table() for name, model in models.items()}
    found = medians(ways, turns)
    for name, middle in found.items():
        print(f"ResNet-152, {name}: {middle:.2f} s")
    narrow, wide = found.values()
    print(f"four times the width: {wide / narrow:.2f} times as long")


def main() -> None:
    """Print times and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(512, 1024), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--turns", type=int, default=5, help="counted turns; one more comes first")
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads")
    print(f"DWRSeg-L at {arguments.size[0]} x {arguments.size[1]}")
    passes(create_model("dwrseg_l", seed=0).eval(), arguments.size, arguments.turns)
    deep(arguments.turns)


if __name__ == "__main__":
    main()
