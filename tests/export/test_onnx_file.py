"""ONNX files: equal to the network, in one piece, or not there at all."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import rfkit._extras as extra
from rfkit._extras import require
from rfkit.export import onnx_file as module
from rfkit.export.onnx_file import export_onnx
from rfkit.models.registry import create_model, list_models

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def network(name: str = "dwrseg_b") -> nn.Module:
    return create_model(name, num_classes=5, seed=0, blocks=(1, 1, 1))


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())


class Branches(nn.Module):
    """Two strided branches, one norm over both, scores at the size of the image."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convs = nn.ModuleList(nn.Conv2d(3, 4, 3, stride=2, padding=rate, dilation=rate) for rate in (1, 2))
        self.norm = nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(torch.cat([conv(x) for conv in self.convs], dim=1))
        return nn.functional.interpolate(y, x.shape[-2:], mode="bilinear", align_corners=False)


def run(path: Path, image: Tensor) -> Tensor:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["scores"], {"image": image.numpy()})[0])


def test_the_file_computes_what_the_network_does(tmp_path: Path) -> None:
    model = network().train()
    before = copy.deepcopy(model.state_dict())
    written = export_onnx(model, tmp_path / "net.onnx", size=(64, 96))
    assert model.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = model.eval()(image)
    torch.testing.assert_close(run(written.path, image), expected, rtol=1e-4, atol=1e-5)
    assert 0 < written.relative < 1e-5
    assert written.agreement == 1
    operators = [node.op_type for node in onnx.load(written.path).graph.node]
    # What is left stands between a concatenation of upsampled maps and a convolution.
    assert operators.count("BatchNormalization") == written.norms == 1
    assert written.folded == sum(isinstance(part, nn.BatchNorm2d) for part in model.modules()) - 1
    assert written.opset == onnx.load(written.path).opset_import[0].version
    assert written.bytes == written.path.stat().st_size


def test_torch_alone_does_not_fold_the_norm_after_a_concatenation(tmp_path: Path) -> None:
    model = Branches()
    for fold, left in ((True, 0), (False, 1)):
        written = export_onnx(model, tmp_path / "net.onnx", size=(16, 24), fold=fold)
        operators = [node.op_type for node in onnx.load(written.path).graph.node]
        assert operators.count("BatchNormalization") == written.norms == left


def test_free_sizes(tmp_path: Path) -> None:
    model = Branches().eval()
    path = export_onnx(model, tmp_path / "net.onnx", size=(16, 24), dynamic=True).path
    shape = onnx.load(path).graph.input[0].type.tensor_type.shape.dim
    assert [side.dim_param or side.dim_value for side in shape] == ["batch", 3, "height", "width"]
    image = torch.randn(3, 3, 11, 37)
    with torch.no_grad():
        torch.testing.assert_close(run(path, image), model(image), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", list_models())
def test_free_sizes_of_every_network(name: str, tmp_path: Path) -> None:
    # In a process of its own: the checks of shapes that run in tests do not know sizes that are symbols.
    code = (
        "import sys; from rfkit.export.onnx_file import export_onnx; from rfkit.models.registry import create_model; "
        "print(export_onnx(create_model(sys.argv[1], seed=0), sys.argv[2], size=(64, 96), dynamic=True).relative)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, name, str(tmp_path / "net.onnx")], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert float(result.stdout) < 1e-5


def test_fixed_sizes_unless_asked(tmp_path: Path) -> None:
    shape = onnx.load(export_onnx(small(), tmp_path / "net.onnx", size=(8, 12)).path).graph.input[0]
    assert [side.dim_value for side in shape.type.tensor_type.shape.dim] == [1, 3, 8, 12]


def test_several_outputs(tmp_path: Path) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = small(), small()

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"a": self.first(x), "b": self.second(x).mean((2, 3))}

    assert export_onnx(Two(), tmp_path / "net.onnx", size=(8, 12)).relative < 1e-5


def test_an_export_that_differs_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(model: nn.Module, **_options: object) -> nn.Module:
        other = copy.deepcopy(model)
        other[0].weight.data *= 1.01
        return other

    monkeypatch.setattr(module, "fold_norms", wrong)
    with pytest.raises(ValueError, match=r"net.onnx was not written: its outputs differ .* tolerance=0.0001"):
        export_onnx(small(), tmp_path / "net.onnx", size=(8, 12))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "net.onnx").write_text("older")
    with pytest.raises(ValueError, match="was not written"):
        export_onnx(small(), tmp_path / "net.onnx", size=(8, 12))
    assert (tmp_path / "net.onnx").read_text() == "older"


def test_outputs_that_are_not_finite_are_an_error(tmp_path: Path) -> None:
    model = small()
    model[0].bias.data[0] = torch.nan
    with pytest.raises(ValueError, match="was not written"):
        export_onnx(model, tmp_path / "net.onnx", size=(8, 12))


def test_wrong_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"size=\(8,\) must be \(height, width\), both above 0"):
        export_onnx(small(), tmp_path / "net.onnx", size=(8,))
    with pytest.raises(ValueError, match=r"tolerance=0 must be above 0"):
        export_onnx(small(), tmp_path / "net.onnx", tolerance=0)
    monkeypatch.setattr(module, "_MOST_BYTES", 100)
    with pytest.raises(ValueError, match="this Sequential is too large for one ONNX file"):
        export_onnx(small(), tmp_path / "net.onnx")


def test_a_network_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.linalg.eigvals(x.mean((0, 1))[:4, :4]).real

    with pytest.raises(ValueError, match="model: this Fails cannot be written as ONNX"):
        export_onnx(Fails(), tmp_path / "net.onnx", size=(8, 12))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    require("onnx", extra="export")
    monkeypatch.setattr(extra, "find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(ModuleNotFoundError, match=r'onnxscript not installed; pip install "rfkit\[export\]"'):
        export_onnx(small(), tmp_path / "net.onnx")
