"""The speed of networks, measured as papers on real-time segmentation do."""

from __future__ import annotations

import datetime
import itertools
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from rfkit._checks import check_choice, check_positive
from rfkit._progress import Bar
from rfkit.bench.backends import BACKENDS, PRECISIONS, Impossible, prepare
from rfkit.bench.clock import Clock, Run, summarise, take_turns
from rfkit.cost import multiply_adds, parameters
from rfkit.models.registry import create_model
from rfkit.results.speed import Speed, Speeds
from rfkit.training.environment import describe_environment
from rfkit.training.memory import kept_memory

__all__ = ["SIZES", "benchmark"]

SIZES = ((512, 1024), (768, 1536))
"""(height, width) of the images in the paper's tables on Cityscapes; its images of CamVid are (720, 960)."""

# Network, backend, precision.
_Way = tuple[str, str, str]


def benchmark(
    models: str | nn.Module | Sequence[str] | Mapping[str, nn.Module],
    *,
    sizes: Sequence[Sequence[int]] = SIZES,
    backends: Sequence[str] = ("eager",),
    precisions: Sequence[str] = ("fp32",),
    device: str | torch.device | None = None,
    threads: int | None = None,
    runs: int = 30,
    warmup: int = 5,
    minutes: float | None = None,
    progress: bool = True,
) -> Speeds:
    """The speed of `models` in every combination of size, backend and precision.

    As in the papers the network runs alone, on one image that lies on the device already, after a warm-up; the median
    counts. All that is measured at one size takes turns in this one process, one run of each a round, so that a
    disturbance hits all alike. A run on the processor counts if this process had the processor to itself, see `kept`
    of the rows. The processor's memory is kept between runs (`rfkit.training.memory`), without which rankings change.

    Args:
        models: a name that `create_model` takes, several, a network, or networks by name. They are left as found.
        sizes: (height, width) of images.
        backends: "eager", "compiled" (`torch.compile`: on CUDA with CUDA graphs, on the processor with frozen
            weights), "onnxruntime" (as `export_onnx` writes them; fp32 only).
        precisions: "fp32", "bf16", "fp16" (CUDA only): type of weights and image, channels-last below fp32.
        device: the GPU where there is one if None.
        threads: of the processor; as torch is set if None.
        runs: that count, at most.
        warmup: runs before them.
        minutes: for each size; no round is begun after that, though at least three are made.
        progress: show a progress bar.

    Returns:
        The rows. A combination that is impossible here has no row but a note with the reason.

    Raises:
        ValueError: an argument is unknown or out of range.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
        >>> speeds = benchmark({"net": net}, sizes=((32, 64),), runs=3, device="cpu", progress=False)
        >>> [(row.model, row.macs, row.runs) for row in speeds.rows]
        [('net', 401760, 3)]
    """
    networks, found = _networks(models), Speeds(())
    _check(sizes, backends, precisions, runs=runs, warmup=warmup, minutes=minutes, threads=threads)
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    with _threads(threads), kept_memory() as kept:
        machine = _machine(place, kept)
        for height, width in sizes:
            image = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0)).to(place)
            plan = _Plan(networks, tuple(itertools.product(networks, backends, precisions)), image)
            with Bar(disable=not progress, desc=f"{height}x{width}") as bar:
                plan.prepare(bar, rounds=warmup + runs)
                deadline = math.inf if minutes is None else time.monotonic() + 60 * minutes
                timed = take_turns(plan.calls, runs=runs, warmup=warmup, deadline=deadline, after=bar.update)
            found = found.with_rows(plan.speeds(timed, machine))
    return found


class _Plan:
    """All that is measured at one size."""

    def __init__(self, networks: Mapping[str, nn.Module], ways: Sequence[_Way], image: Tensor) -> None:
        self.networks, self.ways, self.image = networks, ways, image
        self.calls: dict[_Way, tuple[Clock, Callable[[], object]]] = {}
        self.notes: list[str] = []

    def prepare(self, bar: Bar, *, rounds: int) -> None:
        """Make everything ready to run, and note what cannot be."""
        # The size is a constant of compiled networks.
        torch.compiler.reset()
        bar.reset(total=len(self.ways) * (1 + rounds))
        for way in self.ways:
            name, backend, precision = way
            bar.set_postfix_str(f"prepare {', '.join(way)}")
            try:
                self.calls[way] = prepare(
                    self.networks[name],
                    backend,
                    precision=precision,
                    image=self.image,
                    threads=torch.get_num_threads(),
                )
            except Impossible as reason:
                self._note(way, str(reason))
            bar.update()
        bar.set_postfix_str("")
        bar.total = len(self.ways) + len(self.calls) * rounds

    def speeds(self, timed: Mapping[_Way, Sequence[Run]], machine: Mapping[str, str]) -> Speeds:
        """The rows of what was run."""
        threads = torch.get_num_threads()
        batch, _, height, width = self.image.shape
        rows = []
        for way, runs in timed.items():
            name, backend, precision = way
            timing = summarise(runs, threads if self.image.device.type == "cpu" else 0)
            if timing is None:
                self._note(way, f"in none of {len(runs)} runs did this process have the processor to itself.")
                continue
            rows.append(
                Speed(
                    model=name,
                    parameters=parameters(self.networks[name]),
                    macs=_macs(self.networks[name], self.image),
                    height=height,
                    width=width,
                    batch=batch,
                    backend=backend,
                    precision=precision,
                    device=machine["device"],
                    threads=threads,
                    median_ms=1000 * timing.median,
                    low_ms=1000 * timing.low,
                    high_ms=1000 * timing.high,
                    fps=batch / timing.median,
                    runs=timing.runs,
                    kept=timing.kept,
                    software=_software(backend, machine["software"]),
                    date=datetime.date.today().isoformat(),
                )
            )
        return Speeds(tuple(rows), tuple(self.notes))

    def _note(self, way: _Way, reason: str) -> None:
        name, *others = way
        self.notes.append(f"{name}, {self.image.shape[2]}x{self.image.shape[3]}, {', '.join(others)}: {reason}")


def _networks(models: Any) -> dict[str, nn.Module]:
    if isinstance(models, Mapping):
        return dict(models)
    if isinstance(models, nn.Module):
        return {getattr(models, "name", type(models).__name__): models}
    names = [models] if isinstance(models, str) else list(models)
    return {name: create_model(name, seed=0) for name in names}


def _check(
    sizes: Sequence[Sequence[int]], backends: Sequence[str], precisions: Sequence[str], **numbers: float | None
) -> None:
    for size in sizes:
        if len(size) != 2 or min(size) < 1:
            raise ValueError(f"sizes: {tuple(size)!r} must be (height, width), both above 0.")
    for backend in backends:
        check_choice("backends", backend, BACKENDS)
    for precision in precisions:
        check_choice("precisions", precision, PRECISIONS)
    for name, number in numbers.items():
        if number is not None:
            check_positive(name, number)


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _machine(device: torch.device, kept: bool) -> dict[str, str]:
    """The names of the device and of what changes its speed."""
    found = describe_environment(torch.device("cpu"))
    parts = [f"torch {torch.__version__}"]
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        parts += [f"CUDA {torch.version.cuda}", f"cuDNN {torch.backends.cudnn.version()}"]
        parts += ["TF32 convolutions"] if torch.backends.cudnn.allow_tf32 else []
    else:
        name = found["processor"]
        parts += [found["cpu_capability"], "memory kept" if kept else "memory not kept"]
    if hasattr(os, "getloadavg"):
        parts.append(f"load before {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    return {"device": f"{device.type}: {name}", "software": ", ".join(parts)}


def _software(backend: str, common: str) -> str:
    if backend != "onnxruntime":
        return common
    import onnxruntime

    return f"onnxruntime {onnxruntime.__version__}, {common}"


def _macs(model: nn.Module, image: Tensor) -> float:
    """Multiply-adds of a batch; NaN for a network that needs numbers to run."""
    try:
        return multiply_adds(model, tuple(image.shape))
    except (RuntimeError, NotImplementedError):
        return math.nan
