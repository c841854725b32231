"""How wrong is the bfloat16 weight gradient of a dilated depth-wise convolution on this CPU, and what does float32 cost?

Prints the relative error of the weight gradient against float32 for both memory layouts, then the time of a training
step of the probe with such layers in bfloat16 and in float32, taken in turns in this one process.

    python benchmarks/depthwise_gradient.py
"""

from __future__ import annotations

import statistics
import time
from contextlib import nullcontext

import torch
from torch import nn

from rfkit.models.registry import create_model
from rfkit.training.precision import depthwise_in_single_precision


def relative_error(channels: int, size: tuple[int, int], rate: int, layout: torch.memory_format) -> float:
    """Error of the bfloat16 weight gradient relative to the float32 one, in the Frobenius norm."""
    torch.manual_seed(0)
    x, upstream = torch.randn(4, channels, *size), torch.randn(4, channels, *size)
    conv = nn.Conv2d(channels, channels, 3, padding=rate, dilation=rate, groups=channels, bias=False)
    gradients = []
    for bf16 in (False, True):
        conv.to(memory_format=layout if bf16 else torch.contiguous_format).zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            output = conv(x.contiguous(memory_format=layout if bf16 else torch.contiguous_format))
        output.float().backward(upstream)
        gradients.append(conv.weight.grad.clone())
    return ((gradients[1] - gradients[0]).norm() / gradients[0].norm()).item()


def step_seconds(model: nn.Module, images: torch.Tensor, *, guarded: bool) -> float:
    """Seconds of one forward and backward pass under bfloat16 autocast."""
    begun = time.perf_counter()
    with depthwise_in_single_precision(model) if guarded else nullcontext():
        with torch.autocast("cpu", torch.bfloat16):
            scores = model(images)
        scores.float().square().mean().backward()
    return time.perf_counter() - begun


def main() -> None:
    """Print the errors and the ratio of the times."""
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads")
    for layout in (torch.contiguous_format, torch.channels_last):
        for channels, size in ((64, (45, 60)), (128, (23, 30))):
            errors = [relative_error(channels, size, rate, layout) for rate in (1, 3, 5)]
            shown = ", ".join(f"rate {rate}: {error:.1e}" for rate, error in zip((1, 3, 5), errors, strict=True))
            print(f"{str(layout):24s} {channels} x {size[0]} x {size[1]}  relative error  {shown}")
    model = create_model("probe_dwrseg_l", num_classes=11, seed=0).to(memory_format=torch.channels_last)
    images = torch.randn(4, 3, 360, 480).contiguous(memory_format=torch.channels_last)
    times: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(8):
        for guarded in (False, True):
            seconds = step_seconds(model, images, guarded=guarded)
            if turn >= 3:
                times[guarded].append(seconds)
    ratio = statistics.median(times[False]) / statistics.median(times[True])
    print(f"step of the probe in bfloat16 throughout : such layers in float32 = {ratio:.2f}")


if __name__ == "__main__":
    main()
