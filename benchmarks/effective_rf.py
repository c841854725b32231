"""What cropping is worth for an effective receptive field, beside the same call without it and beside captum.

First the peak memory of a run over 10 and over 100 images, each in a process of its own. Then a dilated CNN of 20
layers at 512 x 512: the three ways take turns in this one process, and must give the same numbers.

    python benchmarks/effective_rf.py [--size 512 512] [--width 32] [--turns 5]
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn

from rfkit.analysis.effective import effective_rf

DILATIONS = (1, 2, 3, 1) * 5


def network(width: int) -> nn.Sequential:
    """20 convolutions of 3 x 3 with dilation rates 1, 2, 3, 1, ..., each with batch norm and ReLU."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for index, rate in enumerate(DILATIONS):
        layers += [
            nn.Conv2d(width if index else 3, width, 3, padding=rate, dilation=rate, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers).eval()


def seconds(run: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    """Seconds that `run` takes, and what it returns."""
    begun = time.perf_counter()
    found = run()
    return time.perf_counter() - begun, found


def compare(size: tuple[int, int], width: int, turns: int) -> None:
    """Time the three ways in turns, check their numbers, print ratios."""
    from captum.attr import NeuronGradient

    model, image = network(width), torch.rand(1, 3, *size)
    row, column = (size[0] - 1) // 2, (size[1] - 1) // 2

    def ours(crop: bool) -> np.ndarray:
        found = effective_rf(model, image, unit=(row, column), crop=crop, progress=False)["output"]
        assert found.cropped == crop
        return found.map

    def captum() -> np.ndarray:
        # captum takes one channel, or a function of the layer's output: the sum over channels, as above.
        neuron = NeuronGradient(model, model[-1])
        leaf = image.clone().requires_grad_()
        gradient = neuron.attribute(leaf, neuron_selector=lambda output: output[:, :, row, column].sum(dim=1))
        return gradient[0].double().abs().sum(dim=0).detach().numpy()

    ways = {"with the crop": lambda: ours(True), "without": lambda: ours(False), "captum": captum}
    times: dict[str, list[float]] = {name: [] for name in ways}
    maps: dict[str, np.ndarray] = {}
    for turn in range(turns + 1):
        for name, run in ways.items():
            taken, maps[name] = seconds(run)
            # The first turn loads and compiles.
            if turn:
                times[name].append(taken)
    fastest = statistics.median(times["with the crop"])
    for name, values in times.items():
        middle = statistics.median(values)
        print(f"{name:14s} {1000 * middle:8.1f} ms   {middle / fastest:6.1f} times as long as with the crop")
    peak = maps["without"].max()
    for name in ("with the crop", "captum"):
        error = np.abs(maps[name] - maps["without"]).max() / peak
        print(f"{name:14s} largest difference from without: {error:.1e} of the largest value")
        assert error < 1e-5


def images(count: int, size: tuple[int, int]) -> Iterator[torch.Tensor]:
    """`count` images, one after the other."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(count):
        yield torch.rand(3, *size, generator=generator)


def peak_memory(count: int, size: tuple[int, int], width: int) -> None:
    """Run over `count` images without a crop, and print the most memory this process has held, in MiB."""
    effective_rf(network(width), images(count, size), crop=False, progress=False)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    """Print times, ratios, differences and memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(512, 512), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--width", type=int, default=32, help="channels of each layer")
    parser.add_argument("--turns", type=int, default=5, help="counted turns; one more comes first")
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    size = tuple(arguments.size)
    if arguments.memory:
        peak_memory(arguments.memory, (128, 128), arguments.width)
        return
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads")
    # First, because on Linux a process begins with the peak of the one that started it.
    peaks = {}
    for count in (10, 100):
        command = [sys.executable, __file__, "--memory", str(count), "--width", str(arguments.width)]
        peaks[count] = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        print(f"{count:4d} images of 128 x 128: at most {peaks[count]:.0f} MiB")
    print(f"100 images take {peaks[100] / peaks[10]:.2f} times the memory of 10")
    print(f"{len(DILATIONS)} layers of {arguments.width} channels at {size[0]} x {size[1]}, one unit, all channels")
    compare(size, arguments.width, arguments.turns)


if __name__ == "__main__":
    main()
