"""Whether reading and augmentation hold training up: the real loop beside the same steps on one batch.

The batches of `rfkit.training.batches` go through the steps of `rfkit.training.steps` as in `rfkit.train`; then as many
steps see one batch that is already there. Both take turns in this one process, first with the data set in memory, then
from PNG files. The ratio is 1 where the network never waits; 0.95 (memory) and 0.9 (files) are wanted. On a processor
that others use too, the ratio of the processor time of this process is the steadier one; it leaves workers out.

    python benchmarks/training.py --data camvid --root FOLDER [--model dwrseg_l] [--size 360 480] [--batch-size 16]

Without --root, procedural street scenes are drawn and written to a temporary folder first.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from rfkit.data.dataset import Dataset, InMemory
from rfkit.data.opening import DATASETS, open_data
from rfkit.data.scenes import Scenes
from rfkit.models.registry import create_model, list_models
from rfkit.training.batches import Batches
from rfkit.training.environment import device_name, software_versions
from rfkit.training.precision import depthwise_in_single_precision
from rfkit.training.recipe import Recipe, get_recipe
from rfkit.training.steps import Stepper

# Dense bfloat16 peaks in TFLOP/s as NVIDIA's data sheets give them (with sparsity: twice as much); the first name that
# the device's name holds counts.
PEAKS = {"H200": 989.0, "H100 PCIe": 756.0, "H100": 989.0, "A100": 312.0}


@dataclass(frozen=True)
class Round:
    """Wall and processor seconds of the real loop and of the steps on one batch."""

    real: float
    real_processor: float
    fixed: float
    fixed_processor: float


def endless(batches: Batches) -> Iterator[tuple[Tensor, Tensor]]:
    """Epoch after epoch."""
    for epoch in range(batches.recipe.epochs):
        yield from batches.epoch(epoch)


def measure(stepper: Stepper, batches: Batches, *, steps: int, rounds: int) -> list[Round]:
    """The real loop and the steps on one batch in turns.

    Before each turn some steps are taken that do not count: what was made ahead in the other turn is used up there.
    """
    stream = endless(batches)
    fixed = next(stream)
    uncounted = max(2, 2 * batches.workers)
    for images, labels in (fixed, next(stream)):
        stepper.take(images, labels, step=0)
    measured = []
    for _ in range(rounds):
        begun: list[tuple[float, float]] = []
        for source in (stream, _repeated(fixed)):
            for count, (images, labels) in enumerate(source):
                if count == uncounted:
                    begun.append(_now(stepper.device))
                stepper.take(images, labels, step=0)
                if count + 1 == uncounted + steps:
                    break
            begun.append(_now(stepper.device))
        spans = [[end - start for start, end in zip(*begun[place : place + 2], strict=True)] for place in (0, 2)]
        measured.append(Round(*spans[0], *spans[1]))
    return measured


def report(label: str, rounds: Sequence[Round], *, images: int) -> float:
    """Print a line, and return the images a second of the real loop."""
    ratios = [turn.fixed / turn.real for turn in rounds]
    processor = [turn.fixed_processor / turn.real_processor for turn in rounds]
    real, fixed = (images / statistics.median(getattr(turn, kind) for turn in rounds) for kind in ("real", "fixed"))
    print(
        f"{label:<10} {real:9.2f} images/s, on one batch {fixed:9.2f}; ratio {_spread(ratios)}, "
        f"of the processor time {_spread(processor)}; {len(rounds)} rounds"
    )
    return real


def forward_flops(model: nn.Module, size: tuple[int, int], device: torch.device) -> float:
    """Floating-point operations of one frame's forward pass, two for each multiply-add."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model.eval()(torch.zeros(1, 3, *size, device=device))
    model.train()
    return float(counter.get_total_flops())


def write_folder(scenes: Dataset, root: Path) -> None:
    """The data set as a folder of PNG files, which `open_data("folder", root)` reads."""
    for part in ("images", "labels"):
        (root / part).mkdir(parents=True)
    (root / "classes.toml").write_text("".join(f'[[classes]]\nname = "{name}"\n' for name in scenes.classes))
    for sample in scenes:
        Image.fromarray(sample.image.permute(1, 2, 0).numpy()).save(root / "images" / f"{sample.name}.png")
        Image.fromarray(sample.label.numpy()).save(root / "labels" / f"{sample.name}.png")


def compare(data: Dataset, recipe: Recipe, arguments: argparse.Namespace) -> None:
    """Print the lines of the data set in memory and from its files."""
    device = torch.device(arguments.device)
    model = create_model(arguments.model, num_classes=data.num_classes, seed=0)
    size = recipe.crop_size
    flops = 3 * forward_flops(model, size, torch.device("cpu")) if device.type == "cuda" else 0.0
    stepper = Stepper(model, recipe, seed=0, total_steps=10**9, device=device, compile=arguments.compile)
    held = InMemory(data, device=device, progress=False)
    for label, frames in (("in memory", held), ("from files", data)):
        batches = Batches(frames, recipe, seed=0, device=device, workers=arguments.workers)
        with depthwise_in_single_precision(model):
            rounds = measure(stepper, batches, steps=arguments.steps, rounds=arguments.rounds)
        batches.close()
        speed = report(label, rounds, images=arguments.steps * recipe.batch_size)
        peak = arguments.peak_tflops or next(
            (peak for name, peak in PEAKS.items() if name in device_name(device)), None
        )
        if device.type == "cuda" and peak is not None:
            print(
                f"{'':<10} {100 * speed * flops / (peak * 1e12):.1f} % of {peak:g} TFLOP/s (dense bfloat16), at "
                f"{flops / 1e9:.1f} GFLOP a frame: three times the forward pass"
            )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what is measured on what, then the speeds."""
    options = _parser().parse_args(arguments)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    size = (options.size[0], options.size[1])
    recipe = get_recipe(
        "camvid-paper",
        batch_size=options.batch_size,
        frame_size=size,
        crop_size=size,
        precision=options.precision,
        channels_last=options.channels_last,
        epochs=10**6,
    )
    software = ", ".join(f"{name} {version}" for name, version in software_versions().items())
    print(f"{device_name(torch.device(options.device))}, {torch.get_num_threads()} threads; {software}")
    print(
        f"{options.model}, {size[1]}x{size[0]}, batches of {options.batch_size}, {options.precision}"
        f"{f', compiled ({options.compile})' if options.compile else ''}; {options.steps} steps a turn"
    )
    with tempfile.TemporaryDirectory() as folder:
        if options.root is None:
            write_folder(Scenes("train", size=size, length=options.frames or 4 * options.batch_size), Path(folder))
        name, root = ("folder", Path(folder)) if options.root is None else (options.data, options.root)
        compare(open_data(name, root, split="train"), recipe, options)


def _repeated(batch: tuple[Tensor, Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        yield batch


def _now(device: torch.device) -> tuple[float, float]:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter(), time.process_time()


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=sorted(set(DATASETS) - {"scenes"}), default="camvid", help="with --root")
    parser.add_argument("--root", type=Path, help="folder of the data set")
    parser.add_argument("--frames", type=int, help="scenes to draw without --root; four batches")
    parser.add_argument("--model", choices=list_models(), default="dwrseg_l")
    parser.add_argument("--size", type=int, nargs=2, default=(360, 480), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, help="of the CPU, as `rfkit.train` takes them")
    parser.add_argument("--workers", type=int, help="processes that read; as many as `Batches` finds right")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compile", metavar="MODE", help="mode for torch.compile, as `rfkit.train` takes it")
    parser.add_argument("--steps", type=int, default=20, help="counted steps a turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peak-tflops", type=float, help="dense bfloat16 peak of a GPU that is not in the table")
    return parser


if __name__ == "__main__":
    main()
