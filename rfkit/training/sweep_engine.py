"""Runs side by side, on this machine or a cluster, through Ray."""

from __future__ import annotations

import contextlib
import logging
import os
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rfkit._extras import require

__all__ = ["Engine", "Outcome", "RayEngine", "train_one", "using_ray"]

_ATTEMPTS = 5
# Read by Ray when it is imported or started: nothing is reported to its makers; no process is started before it is
# needed, since they would all want the CPUs at once; a run has the priority that it has alone (Ray would lower it);
# CUDA_VISIBLE_DEVICES is left alone for a run without a GPU.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_worker_niceness": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
# Ray's least; runs hand nothing but their outcome through it.
_OBJECT_STORE = 80 * 2**20


@dataclass(frozen=True)
class Outcome:
    """How a run came to its end: with an empty `traceback`, or not; `interrupted` after a Ctrl-C."""

    traceback: str = ""
    interrupted: bool = False


class Engine(Protocol):
    """What runs the runs.

    Attributes:
        jobs: how many runs at most are under way at once.
    """

    jobs: int

    def start(self, name: str, settings: dict[str, Any]) -> None:
        """Begin `train(**settings)` as the run called `name`."""

    def ended(self, seconds: float) -> list[tuple[str, Outcome]]:
        """The runs that have ended since the last call, once one has or after so many seconds."""

    def interrupt(self) -> None:
        """Let every run that is under way write a checkpoint and end."""


def train_one(settings: dict[str, Any]) -> Outcome:
    """Train a run in this process; an error is an outcome."""
    from rfkit.training.loop import train

    folder, draw = Path(settings["out"]), settings.get("on_checkpoint")
    try:
        try:
            train(progress=False, **settings)
        finally:
            # The epochs up to an error as well.
            if draw is not None:
                draw(folder)
    except KeyboardInterrupt:
        return Outcome(interrupted=True)
    except Exception:
        return Outcome(traceback.format_exc())
    return Outcome()


class RayEngine:
    """Runs as tasks of Ray, each in a process of its own.

    Attributes:
        jobs: how many runs at most are under way at once.
        threads: CPU threads of each run.
        gpus: share of a GPU, or GPUs, of each run.
    """

    def __init__(self, ray: Any, *, jobs: int | None, threads: int | None, gpus_per_run: float) -> None:
        self._ray = ray
        total = ray.cluster_resources()
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self.gpus = gpus_per_run if total.get("GPU", 0) else 0
        fitting = int(total["GPU"] / gpus_per_run) if self.gpus else len(machines)
        self.jobs = jobs or max(1, fitting)
        widest = int(max(machine.get("CPU", 0) for machine in machines))
        self.threads = threads or min(widest, max(1, int(total.get("CPU", 1) / self.jobs)))
        for name, wanted, kind in (("threads", self.threads, "CPU"), ("gpus_per_run", self.gpus, "GPU")):
            most = max(machine.get(kind, 0) for machine in machines)
            if wanted > most:
                raise ValueError(f"{name}={wanted!r}: no machine here has more than {most:g} {kind}s.")
        self._names: dict[Any, str] = {}

    def start(self, name: str, settings: dict[str, Any]) -> None:
        """Begin `train(**settings)` as the run called `name`."""
        threads = settings.get("threads", self.threads)
        gpus = 0 if str(settings.get("device", "")).startswith("cpu") else self.gpus
        task = self._ray.remote(num_cpus=threads, num_gpus=gpus, max_retries=0)(train_one)
        self._names[task.remote({**settings, "threads": threads})] = name

    def ended(self, seconds: float) -> list[tuple[str, Outcome]]:
        """The runs that have ended since the last call, once one has or after so many seconds."""
        if not self._names:
            return []
        done, _ = self._ray.wait(list(self._names), num_returns=1, timeout=seconds)
        return [(self._names.pop(task), self._outcome(task)) for task in done]

    def interrupt(self) -> None:
        """Let every run that is under way write a checkpoint and end."""
        for task in self._names:
            self._ray.cancel(task)

    def _outcome(self, task: Any) -> Outcome:
        try:
            return self._ray.get(task)
        except self._ray.exceptions.TaskCancelledError:
            return Outcome(interrupted=True)
        except self._ray.exceptions.RayError as error:
            # The process is gone: out of memory, killed, or its machine was lost.
            return Outcome(f"{type(error).__name__}: {error}")


@contextlib.contextmanager
def using_ray(
    *, address: str | None, jobs: int | None, threads: int | None, gpus_per_run: float
) -> Iterator[RayEngine]:
    """An engine on the cluster at `address`, or on a Ray of this machine that ends with the context.

    A Ray that the process uses already is used, and left running.

    Raises:
        rfkit._extras.MissingExtraError: Ray is not installed.
        ConnectionError: There is no cluster at `address`.
        ValueError: A run needs more than any machine has.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    require("ray", extra="sweep")
    import ray

    ours = not ray.is_initialized()
    try:
        if ours:
            _connect(ray, address, least_cpus=(jobs or 1) * (threads or 1))
        yield RayEngine(ray, jobs=jobs, threads=threads, gpus_per_run=gpus_per_run)
    finally:
        if ours:
            ray.shutdown()


def _connect(ray: Any, address: str | None, *, least_cpus: int) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is not None:
        ray.init(address=address, **quiet)
        return
    cpus = max(os.cpu_count() or 1, least_cpus)
    for _ in range(_ATTEMPTS):
        try:
            # "local": Ray would otherwise join a cluster that it finds.
            ray.init("local", num_cpus=cpus, include_dashboard=False, object_store_memory=_OBJECT_STORE, **quiet)
            return
        except Exception as error:
            # Ray gives its own helpers 15 seconds to start, which is short on a busy machine. What has started of them
            # does nothing, and ends with this process.
            if "timed out during startup" not in str(error):
                raise
            ray.shutdown()
    raise TimeoutError(f"Ray did not start in {_ATTEMPTS} attempts; the machine may be too busy.")
