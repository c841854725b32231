"""What does a learned dilation rate cost?

Prints the time of forward and backward pass of a 3x3 depth-wise convolution with a learned rate, over that of the plain
convolution, both taken in turns in this one process, in eager mode.

    python benchmarks/learned_dilation.py
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch import Tensor, nn

from rfkit.nn.learned_dilation import LearnedDilation

# Images, channels, height, width: maps of DWRSeg-L and RegSeg at output strides 8 and 16, on CamVid crops and larger.
SIZES = ((4, 64, 45, 60), (4, 128, 23, 30), (4, 64, 90, 120), (4, 128, 45, 60), (8, 256, 48, 48))
TURNS = 20


def step_seconds(conv: nn.Module, maps: Tensor, upstream: Tensor) -> float:
    """Seconds of one forward and backward pass, down to the input."""
    for tensor in (maps, *conv.parameters()):
        tensor.grad = None
    begun = time.perf_counter()
    conv(maps).backward(upstream)
    if maps.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def ratio(size: tuple[int, int, int, int], rate: float, *, device: str, layout: torch.memory_format) -> float:
    """Time with a learned rate over the time of the plain convolution with the next lower whole one."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(size, generator=generator).to(device=device, memory_format=layout).requires_grad_()
    upstream = torch.randn(size, generator=generator).to(device=device, memory_format=layout)
    whole, channels = int(rate), size[1]
    plain = nn.Conv2d(channels, channels, 3, padding=whole, dilation=whole, groups=channels, bias=False, device=device)
    learned = LearnedDilation(plain, rate=rate)
    times: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(TURNS):
        for is_learned, conv in ((False, plain), (True, learned)):
            seconds = step_seconds(conv, maps, upstream)
            if turn >= TURNS // 4:
                times[is_learned].append(seconds)
    return statistics.median(times[True]) / statistics.median(times[False])


def main() -> None:
    """Print a ratio for each size, rate and memory layout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    device = parser.parse_args().device
    print(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads")
    print("3x3 depth-wise, forward and backward: learned rate over plain convolution")
    worst = 0.0
    for layout in (torch.contiguous_format, torch.channels_last):
        for size in SIZES:
            ratios = {rate: ratio(size, rate, device=device, layout=layout) for rate in (3.4, 7.6)}
            worst = max(worst, *ratios.values())
            shown = ", ".join(f"rate {rate:g}: {value:.2f}" for rate, value in ratios.items())
            print(f"{layout!s:24s} {' x '.join(map(str, size)):18s} {shown}")
    print(f"largest ratio {worst:.2f} (at most 6 is wanted)")


if __name__ == "__main__":
    main()
