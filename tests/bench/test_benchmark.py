"""Speeds of networks: every combination has a row or a reason, and networks are left as found."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from rfkit.bench import backends as backends_module
from rfkit.bench import benchmark as module
from rfkit.bench.backends import Impossible, prepare
from rfkit.bench.benchmark import benchmark
from rfkit.bench.clock import Run
from rfkit.cost import multiply_adds
from rfkit.training.memory import kept_memory


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())


class Steady:
    """A clock of runs that take 20 ms each and are never disturbed; it makes the call."""

    def __call__(self, function: Callable[[], object]) -> Run:
        function()
        return Run(0.02, 1.0)


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine these tests run on may be busy, and then has no runs that count."""
    monkeypatch.setattr(backends_module, "ProcessorClock", Steady)


OPTIONS = {"sizes": ((16, 24),), "runs": 4, "warmup": 1, "threads": 1, "device": "cpu", "progress": False}


def test_a_row_for_each_combination(steady: None) -> None:
    speeds = benchmark(
        {"one": net(), "two": net()}, precisions=("fp32", "bf16"), **{**OPTIONS, "sizes": ((16, 24), (8, 8))}
    )
    assert speeds.notes == ()
    found = [(row.height, row.width, row.model, row.precision) for row in speeds.rows]
    assert found == [
        (*size, name, kind) for size in ((16, 24), (8, 8)) for name in ("one", "two") for kind in ("fp32", "bf16")
    ]
    row = speeds.rows[0]
    assert (row.median_ms, row.low_ms, row.high_ms, row.fps) == pytest.approx((20, 20, 20, 50))
    assert (row.runs, row.kept, row.threads, row.batch, row.backend) == (4, 4, 1, 1, "eager")
    assert row.parameters == 3 * 4 * 9 + 4 + 8
    assert row.macs == multiply_adds(net(), (3, 16, 24)) == 16 * 24 * 4 * 27
    assert row.device.startswith("cpu: ")
    assert f"torch {torch.__version__}" in row.software
    assert "load before " in row.software


def test_the_network_is_left_as_found_and_runs_in_evaluation_mode(steady: None) -> None:
    modes = []

    class Watched(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            modes.append((self.training, x.dtype, torch.is_grad_enabled(), tuple(x.shape)))
            return super().forward(x)

    model = Watched(3, 4, 3).train()
    before, threads = copy.deepcopy(model.state_dict()), torch.get_num_threads()
    benchmark(model, precisions=("bf16",), **{**OPTIONS, "threads": threads + 1})
    assert torch.get_num_threads() == threads
    assert model.training
    assert model.weight.dtype == torch.float32
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert not model._forward_hooks
    # One to prepare, one of warm-up, four that count; the others count multiply-adds.
    real = [mode for mode in modes if mode[1] == torch.bfloat16]
    assert real == [(False, torch.bfloat16, False, (1, 3, 16, 24))] * 6


def test_what_is_impossible_is_noted_and_the_rest_goes_on(steady: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_libraries: str, extra: str) -> None:
        raise ModuleNotFoundError(f'onnx not installed; pip install "rfkit[{extra}]" installs it.')

    def no_compiler(*_arguments: object, **_options: object) -> Callable[[Tensor], Tensor]:
        def call(_x: Tensor) -> Tensor:
            raise RuntimeError("no working C++ compiler\nmore")

        return call

    monkeypatch.setattr(backends_module, "require", missing)
    monkeypatch.setattr(torch, "compile", no_compiler)
    speeds = benchmark(
        {"one": net()}, backends=("compiled", "onnxruntime", "eager"), precisions=("fp16", "fp32"), **OPTIONS
    )
    assert [(row.backend, row.precision) for row in speeds.rows] == [("eager", "fp32")]
    assert speeds.notes == (
        "one, 16x24, compiled, fp16: fp16 is for CUDA devices; bf16 is the half precision of processors.",
        "one, 16x24, compiled, fp32: RuntimeError: no working C++ compiler",
        "one, 16x24, onnxruntime, fp16: fp16 is for CUDA devices; bf16 is the half precision of processors.",
        'one, 16x24, onnxruntime, fp32: onnx not installed; pip install "rfkit[export]" installs it.',
        "one, 16x24, eager, fp16: fp16 is for CUDA devices; bf16 is the half precision of processors.",
    )


def test_a_busy_machine_gives_no_row_but_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends_module, "ProcessorClock", lambda: lambda function: Run(0.02, 0.4))
    speeds = benchmark({"one": net()}, **OPTIONS)
    assert speeds.rows == ()
    assert speeds.notes == (
        "one, 16x24, eager, fp32: in none of 4 runs did this process have the processor to itself.",
    )


def test_onnx_runtime_computes_what_the_network_does() -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model, image = net().eval(), torch.randn(1, 3, 16, 24)
    _, call = prepare(model, "onnxruntime", precision="fp32", image=image, threads=1)
    binding = call.__closure__[0].cell_contents
    call()
    with torch.no_grad():
        torch.testing.assert_close(
            torch.from_numpy(binding.copy_outputs_to_cpu()[0]), model(image), rtol=1e-4, atol=1e-5
        )
    with pytest.raises(Impossible, match="exported networks are measured in fp32, not in bf16"):
        prepare(model, "onnxruntime", precision="bf16", image=image, threads=1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
def test_compiled() -> None:
    _, call = prepare(net(), "compiled", precision="fp32", image=torch.randn(1, 3, 16, 24), threads=1)
    assert call().shape == (1, 4, 16, 24)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_cuda(precision: str) -> None:
    speeds = benchmark(
        "dwrseg_b", backends=("eager", "compiled"), precisions=(precision,), **{**OPTIONS, "device": "cuda"}
    )
    assert [row.backend for row in speeds.rows] == ["eager", "compiled"], speeds.notes
    assert all(row.kept == row.runs == 4 and row.median_ms > 0 for row in speeds.rows)


def test_a_network_whose_multiply_adds_cannot_be_counted_has_a_row(steady: None) -> None:
    class Reads(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * float(x.max())

    assert math.isnan(benchmark(Reads(), **OPTIONS).rows[0].macs)


def test_memory_is_kept_only_while_asked() -> None:
    with kept_memory() as kept:
        assert isinstance(kept, bool)


@pytest.mark.parametrize(("options", "message"), [
    ({"backends": ("egaer",)}, "backends='egaer' is not known.*Did you mean 'eager'"),
    ({"precisions": ("fp8",)}, "precisions='fp8' is not known"),
    ({"sizes": ((512,),)}, r"sizes: \(512,\) must be \(height, width\), both above 0"),
    ({"runs": 0}, "runs=0 must be above 0"),
    ({"minutes": 0}, "minutes=0 must be above 0"),
    ({"threads": -1}, "threads=-1 must be above 0"),
])  # fmt: skip
def test_wrong_arguments(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        benchmark({"one": net()}, **{**OPTIONS, **options})


def test_networks_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(module, "create_model", lambda name, seed: made.append(name) or net())
    assert list(module._networks(["dwrseg_b", "regseg"])) == ["dwrseg_b", "regseg"] == made
    assert list(module._networks(net())) == ["Sequential"]
