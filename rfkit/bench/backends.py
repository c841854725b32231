"""A network made ready to run: as it is, compiled, or exported."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rfkit._extras import require
from rfkit.bench.clock import Clock, CudaClock, ProcessorClock
from rfkit.export.fold import quiet
from rfkit.export.onnx_file import export_onnx

__all__ = ["BACKENDS", "PRECISIONS", "Impossible", "prepare"]

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Name -> type of weights and image."""


class Impossible(Exception):  # noqa: N818 (not an error: it is noted, and the rest goes on)
    """A network cannot run this way here; the message says why."""


def prepare(
    model: nn.Module, backend: str, *, precision: str, image: Tensor, threads: int
) -> tuple[Clock, Callable[[], object]]:
    """A clock, and a call that runs a copy of `model` on `image` once.

    Args:
        model: the network; it is left as found.
        backend: one of `BACKENDS`.
        precision: one of `PRECISIONS`. In less than single precision weights and maps lie channels-last, which is
            what such kernels are written for; in single precision they lie as usual.
        image: a batch in single precision, on the device.
        threads: of the processor.

    Raises:
        Impossible: not this way, here; the message says why.
    """
    if precision == "fp16" and image.device.type != "cuda":
        raise Impossible("fp16 is for CUDA devices; bf16 is the half precision of processors.")
    twin = copy.deepcopy(model).eval().to(image.device)
    if backend != "onnxruntime" and precision != "fp32":
        twin = twin.to(PRECISIONS[precision], memory_format=torch.channels_last)  # type: ignore[call-overload]
        image = image.to(PRECISIONS[precision], memory_format=torch.channels_last)
    call = BACKENDS[backend](twin, image, precision, threads)
    try:
        # Whatever is made on first use is made here, and what fails fails here.
        # Networks of one class count as one that is compiled again and again, and past a limit no more.
        with quiet(), torch._dynamo.config.patch(recompile_limit=1000):
            call()
    except Exception as error:
        raise Impossible(f"{type(error).__name__}: {_first_line(error)}") from error
    if image.device.type == "cuda" and backend != "onnxruntime":
        return CudaClock(image.device), call
    return ProcessorClock(), call


def _eager(model: nn.Module, image: Tensor, _precision: str, _threads: int) -> Callable[[], object]:
    @torch.no_grad()
    def call() -> object:
        return model(image)

    return call


def _compiled(model: nn.Module, image: Tensor, _precision: str, _threads: int) -> Callable[[], object]:
    cuda = image.device.type == "cuda"
    # CUDA graphs, or weights taken as constants, which folds norms and lays weights out for the kernels.
    options: dict[str, Any] = {"mode": "reduce-overhead"} if cuda else {"options": {"freezing": True}}
    compiled = torch.compile(model, dynamic=False, **options)

    @torch.no_grad()
    def call() -> object:
        if cuda:
            # The graphs of several networks share memory: what the last call returned is no longer needed.
            torch.compiler.cudagraph_mark_step_begin()
        return compiled(image)

    return call


def _onnxruntime(model: nn.Module, image: Tensor, precision: str, threads: int) -> Callable[[], object]:
    if precision != "fp32":
        raise Impossible(f"exported networks are measured in fp32, not in {precision}.")
    try:
        require("onnx", "onnxruntime", "onnxscript", extra="export")
    except ModuleNotFoundError as error:
        raise Impossible(str(error)) from error
    import onnxruntime

    cuda = image.device.type == "cuda"
    provider = "CUDAExecutionProvider" if cuda else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise Impossible(f"this ONNX Runtime has no {provider}; pip install onnxruntime-gpu has.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Its threads would go on waiting at full speed while the next network runs.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        try:
            export_onnx(model, path, size=tuple(image.shape[-2:]), channels=image.shape[1])
        except ValueError as error:
            raise Impossible(str(error)) from error
        session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
    binding = session.io_binding()
    kind, index = image.device.type, image.device.index or 0
    binding.bind_input("image", kind, index, "float32", tuple(image.shape), image.data_ptr())
    for output in session.get_outputs():
        binding.bind_output(output.name, kind, index)

    def call() -> object:
        return session.run_with_iobinding(binding)

    # The binding holds the address of the image alone.
    call.image = image  # type: ignore[attr-defined]
    return call


BACKENDS = {"eager": _eager, "compiled": _compiled, "onnxruntime": _onnxruntime}
"""Name -> what makes the call."""


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
