"""What does the contrastive term cost in a training step?

Prints, for each image size, time and peak memory of a step (forward, loss, backward) without the term and with it, both
taken in turns in this one process. The time is that of the processor (of all its threads) on the CPU, so that other
programs do not count, and that on the wall with a GPU. The peak is that of the tensors the step holds, counted by
torch's profiler on the CPU and by its allocator on a GPU. Last comes what the similarities of the sampled positions
take, which does not grow with the images.

    python benchmarks/contrastive.py [--model dwrseg_l_frm] [--batch 2] [--turns 5]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from rfkit.hooks import observe
from rfkit.models.registry import create_model, list_models
from rfkit.training.contrastive import find_classifier, pixel_contrast
from rfkit.training.losses import cross_entropy

_CLASSES = 19
_ANCHORS = 50


def step(model: nn.Module, images: Tensor, labels: Tensor, *, contrast: bool) -> None:
    """One step without the optimiser, as the training loop takes it."""
    seen: list[Tensor] = []
    with observe(model, find_classifier(model), lambda _name, inputs, _output: seen.append(inputs[0])):
        logits = model(images)
    loss = cross_entropy(logits, labels)
    if contrast:
        generator = torch.Generator(images.device).manual_seed(0)
        loss = loss + 0.1 * pixel_contrast(seen[0], labels, logits=logits, anchors=_ANCHORS, generator=generator)
    loss.backward()
    if images.is_cuda:
        torch.cuda.synchronize()


def step_seconds(model: nn.Module, images: Tensor, labels: Tensor, *, contrast: bool) -> float:
    """Seconds of a step."""
    clock = time.perf_counter if images.is_cuda else time.process_time
    model.zero_grad(set_to_none=True)
    begun = clock()
    step(model, images, labels, contrast=contrast)
    return clock() - begun


def peak_bytes(model: nn.Module, images: Tensor, labels: Tensor, *, contrast: bool) -> int:
    """The most that tensors of one step hold at once, beyond what was there before it."""
    model.zero_grad(set_to_none=True)
    if images.is_cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step(model, images, labels, contrast=contrast)
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        step(model, images, labels, contrast=contrast)
    held, most = 0, 0
    # Every allocation and release, in the order of time.
    for event in sorted(_memory_events(record), key=lambda pair: pair[0]):
        held += event[1]
        most = max(most, held)
    return most


def _memory_events(record: profile) -> list[tuple[int, int]]:
    kineto = record.profiler.kineto_results if record.profiler is not None else None
    assert kineto is not None
    return [(event.start_ns(), event.nbytes()) for event in kineto.events() if event.name() == "[memory]"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print two lines for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="dwrseg_l_frm", choices=list_models(), metavar="NAME")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--sizes", type=int, nargs="+", default=(180, 240, 360, 480), metavar="HEIGHT WIDTH")
    parser.add_argument("--turns", type=int, default=5, help="counted turns; one more comes first")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    print(f"torch {torch.__version__}, {options.device}, {torch.get_num_threads()} threads")
    print(f"{options.model}, batches of {options.batch}, {_CLASSES} classes, up to {_ANCHORS} anchors a class")
    model = create_model(options.model, num_classes=_CLASSES, seed=0).to(options.device).train()
    for height, width in zip(options.sizes[::2], options.sizes[1::2], strict=True):
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(options.batch, 3, height, width, generator=generator).to(options.device)
        # Blocks of a class, as large as a position of the map that the classifier reads.
        coarse = torch.randint(0, _CLASSES, (options.batch, 1, height // 8, width // 8), generator=generator)
        labels = nn.functional.interpolate(coarse.float(), (height, width)).to(options.device)[:, 0].to(torch.uint8)
        times: dict[bool, list[float]] = {False: [], True: []}
        for turn in range(options.turns + 1):
            for contrast, kept in times.items():
                taken = step_seconds(model, images, labels, contrast=contrast)
                if turn:
                    kept.append(taken)
        memory = {contrast: peak_bytes(model, images, labels, contrast=contrast) for contrast in times}
        seconds = {contrast: statistics.median(kept) for contrast, kept in times.items()}
        for contrast, label in ((False, "without"), (True, "with")):
            cost = f"{1000 * seconds[contrast]:8.1f} ms a step {memory[contrast] / 1e6:9.1f} MB"
            shares = f"{seconds[contrast] / seconds[False]:.3f} and {memory[contrast] / memory[False]:.3f}"
            print(f"{width}x{height} {label:8s} {cost} ({shares} of it without)")
    side = _CLASSES * _ANCHORS
    print(f"similarities of {side} sampled positions: {4 * side**2 / 1e6:.1f} MB each, whatever the size of the images")


if __name__ == "__main__":
    main()
