"""What precision and memory layout are worth in training: a step of each kind, taken in turns in this one process.

Prints, for each network, the time of a forward and backward pass relative to float32 in the usual layout. Dilated
depth-wise convolutions compute in float32 throughout on the CPU, see `rfkit.training.precision`.

    python benchmarks/training_step.py [--size 360 480] [--batch 8] [--turns 5]

On Linux, start it with MALLOC_TRIM_THRESHOLD_=2000000000 MALLOC_MMAP_THRESHOLD_=2000000000: otherwise the C library
returns the memory of the maps after every step and faults it in again, which costs the kinds unequally.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch import nn

from rfkit.models.registry import create_model, list_models
from rfkit.training.losses import ohem_cross_entropy
from rfkit.training.precision import depthwise_in_single_precision

KINDS = {
    "fp32": (False, torch.contiguous_format),
    "fp32, channels last": (False, torch.channels_last),
    "bf16": (True, torch.contiguous_format),
    "bf16, channels last": (True, torch.channels_last),
}


def step_seconds(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, *, bf16: bool) -> float:
    """Seconds of one forward and backward pass."""
    begun = time.perf_counter()
    with depthwise_in_single_precision(model), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        scores = model(images)
    ohem_cross_entropy(scores, labels).backward()
    return time.perf_counter() - begun


def main() -> None:
    """Print a line for each network and kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(360, 480), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--turns", type=int, default=5, help="counted turns; two more come first")
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads")
    images = torch.randn(arguments.batch, 3, *arguments.size)
    labels = torch.randint(0, 11, (arguments.batch, *arguments.size), dtype=torch.uint8)
    for name in list_models():
        times: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for turn in range(arguments.turns + 2):
            for kind, (bf16, layout) in KINDS.items():
                model = create_model(name, num_classes=11, seed=0).to(memory_format=layout)
                seconds = step_seconds(model, images.contiguous(memory_format=layout), labels, bf16=bf16)
                if turn >= 2:
                    times[kind].append(seconds / arguments.batch)
        base = statistics.median(times["fp32"])
        for kind, values in times.items():
            middle = statistics.median(values)
            print(f"{name:16s} {kind:20s} {1000 * middle:6.0f} ms a frame   {base / middle:5.2f} times as fast as fp32")


if __name__ == "__main__":
    main()
