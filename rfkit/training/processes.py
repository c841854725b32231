"""The processes that train one network together."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

__all__ = ["ALONE", "Processes", "is_first_process", "joined_processes"]

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Processes:
    """Where this process stands among those that train together; a process alone needs nothing of `torch.distributed`.

    What each method does is done by all processes at the same point of the program, or the others wait for the one
    that does not come.

    Attributes:
        rank: Number of this process, from 0.
        count: How many there are.
        local_rank: Number of this process on its machine.
        control: The group, on the CPU, over which they agree; None for a process alone.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    control: dist.ProcessGroup | None = None

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files and shows bars."""
        return self.rank == 0

    def share(self, answer: Callable[[], Answer]) -> Answer:
        """What `answer` gives in the first process, which alone calls it; its error, too, is raised in all."""
        if self.count == 1:
            return answer()
        outcome: list[Any] = [None, None]
        if self.first:
            try:
                outcome[0] = answer()
            except Exception as error:
                outcome[1] = _portable(error)
        dist.broadcast_object_list(outcome, src=0, group=self.control)
        if outcome[1] is not None:
            raise outcome[1]
        return outcome[0]

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag, whether it is set in any process."""
        if self.count == 1:
            return flags
        raised = torch.tensor(flags, dtype=torch.uint8)
        dist.all_reduce(raised, dist.ReduceOp.MAX, group=self.control)
        return tuple(bool(flag) for flag in raised)

    def add(self, values: Tensor) -> Tensor:
        """The values added up over the processes, in place, on the device they are on."""
        if self.count > 1:
            # A group of GPUs that others set up may know no tensors of the processor.
            dist.all_reduce(values, group=self.control if values.device.type == "cpu" else None)
        return values

    def gather(self, values: Tensor) -> Tensor:
        """The values of all processes, one after the other along the first axis; they have one shape everywhere."""
        if self.count == 1:
            return values
        parts = [torch.empty_like(values) for _ in range(self.count)]
        dist.all_gather(parts, values)
        return torch.cat(parts)

    def take_over(self, model: nn.Module) -> None:
        """Give every process the parameters and buffers of the first one's `model`."""
        if self.count > 1:
            with torch.no_grad():
                for value in model.state_dict().values():
                    sent = value.contiguous()
                    dist.broadcast(sent, src=0)
                    value.copy_(sent)

    def replicated(self, model: nn.Module) -> nn.Module:
        """A call of it is a call of `model`; its backward pass averages the gradients over the processes."""
        if self.count == 1:
            return model
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise ValueError("model has no parameter that is trained (requires_grad).")
        device = next(model.parameters()).device
        return DistributedDataParallel(
            model,
            device_ids=[device.index] if device.type == "cuda" else None,
            init_sync=False,  # `take_over` did it
            gradient_as_bucket_view=True,
        )


ALONE = Processes()


def _portable(error: Exception) -> Exception:
    """The error, or what it says where it cannot be sent."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def is_first_process() -> bool:
    """Whether this is the process that writes and speaks, before and after the processes are joined."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def joined_processes(device: torch.device) -> Iterator[Processes]:
    """The processes that `torchrun` started, joined while this is open; `ALONE` without torchrun.

    A process group that is initialised already is used, and left, as it is.

    Args:
        device: What this process trains on; NCCL joins GPUs, gloo CPUs.
    """
    ready = dist.is_available() and dist.is_initialized()
    if not ready and int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    if not ready:
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        count = dist.get_world_size()
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        yield Processes(dist.get_rank(), count, local_rank, dist.new_group(backend="gloo")) if count > 1 else ALONE
    finally:
        if not ready:
            dist.destroy_process_group()
