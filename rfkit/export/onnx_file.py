"""A network as one ONNX file, compared with the network before the file is there."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from rfkit._checks import check_positive
from rfkit._extras import require
from rfkit._files import replacing
from rfkit.export.fold import fold_norms, quiet

__all__ = ["Exported", "export_onnx"]

# What protocol buffers hold in one file, less room for the graph.
_MOST_BYTES = 2**31 - 2**26


@dataclass(frozen=True)
class Exported:
    """An ONNX file, and how far its outputs are from those of the network.

    Attributes:
        path: the file.
        opset: version of the ONNX operators.
        size: (height, width) of its input; others too if `dynamic`.
        dynamic: whether height, width and batch are free.
        folded: norms that were folded into convolutions.
        norms: norms that are left.
        difference: largest absolute difference of an output from the network's, in ONNX Runtime on the CPU.
        relative: that, over the largest absolute output.
        agreement: share of positions at which the highest of the scores is the same one; 1 for a single score.
        bytes: size of the file.
    """

    path: Path
    opset: int
    size: tuple[int, int]
    dynamic: bool
    folded: int
    norms: int
    difference: float
    relative: float
    agreement: float
    bytes: int


def export_onnx(
    model: nn.Module,
    path: str | Path,
    *,
    size: Sequence[int] = (512, 1024),
    channels: int = 3,
    dynamic: bool = False,
    fold: bool = True,
    tolerance: float = 1e-4,
    seed: int = 0,
) -> Exported:
    """Write `model` to `path` as one ONNX file, and say how far its outputs are from the network's.

    The file is run in ONNX Runtime on a random image (normal noise, as normalised images are) and compared with the
    network as it is, norms not folded; one that is written with free sizes also on two smaller images. The input is
    called "image", a single output "scores".

    Args:
        model: network that maps one batch of images to tensors. A copy in evaluation mode and single precision is
            written; `model` is left as found.
        path: the file; it is written whole or not at all, after the comparison.
        size: (height, width) of an image.
        channels: channels of an image.
        dynamic: whether the file takes any height, width and batch.
        fold: whether `fold_norms` comes first. Torch and ONNX Runtime fold some norms by themselves, but not one that
            follows a concatenation, such as that of each DWR block.
        tolerance: largest difference that is allowed, over the largest absolute output.
        seed: draws the images.

    Raises:
        ModuleNotFoundError: onnx, onnxruntime or onnxscript is missing.
        ValueError: torch cannot follow the network, it is too large for one file, an argument is out of range, or the
            outputs differ by more than `tolerance`.

    Example:
        ``export_onnx(rfkit.create_model("dwrseg_b", weights="camvid"), "dwrseg_b.onnx", size=(360, 480))``
    """
    require("onnx", "onnxruntime", "onnxscript", extra="export")
    path, (height, width) = Path(path), _size(size)
    check_positive("tolerance", tolerance)
    plain = copy.deepcopy(model).float().cpu().eval()
    if sum(tensor.nbytes for tensor in plain.state_dict().values()) > _MOST_BYTES:
        raise ValueError(f"model: this {type(model).__name__} is too large for one ONNX file, which holds 2 GiB.")
    written = fold_norms(plain, input_size=(channels, height, width)) if fold else plain
    program = _program(written, torch.zeros(2 if dynamic else 1, channels, height, width), dynamic=dynamic)
    sizes = [(1, height, width)]
    if dynamic:
        # Neither side is a multiple of an output stride.
        sizes += [(2, height // 2 + 1, width // 2 + 3), (1, height // 2 + 7, width)]
    generator = torch.Generator().manual_seed(seed)
    images = [torch.randn(batch, channels, *sides, generator=generator) for batch, *sides in sizes]
    with replacing(path) as temporary:
        program.save(str(temporary), external_data=False)
        measured = _compare(plain, temporary, images)
        if not measured["relative"] <= tolerance:
            raise ValueError(
                f"{path} was not written: its outputs differ from the network's by {measured['relative']:.2g} of the "
                f"largest output; tolerance={tolerance:g} is allowed."
            )
    return Exported(
        path,
        program.model.opset_imports[""],
        (height, width),
        dynamic,
        folded=_norms(plain) - _norms(written),
        norms=_norms(written),
        bytes=path.stat().st_size,
        **measured,
    )


def _size(size: Sequence[int]) -> tuple[int, int]:
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"size={tuple(size)!r} must be (height, width), both above 0.")
    return int(size[0]), int(size[1])


def _program(model: nn.Module, image: Tensor, *, dynamic: bool) -> Any:
    try:
        with quiet(), torch.no_grad():
            outputs = pytree.tree_leaves(model(image))
            return torch.onnx.export(
                model,
                (image,),
                dynamo=True,
                verbose=False,
                input_names=["image"],
                output_names=["scores"] if len(outputs) == 1 else None,
                dynamic_shapes=({0: "batch", 2: "height", 3: "width"},) if dynamic else None,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        cause = error.__cause__ or error
        reason = str(cause).strip().partition("\n")[0]
        raise ValueError(f"model: this {type(model).__name__} cannot be written as ONNX: {reason}") from error


@torch.no_grad()
def _compare(model: nn.Module, path: Path, images: Sequence[Tensor]) -> dict[str, float]:
    """How far the file's outputs are from the network's: the worst over `images`."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    rows = []
    for image in images:
        expected = pytree.tree_leaves(model(image))
        found = [torch.from_numpy(output) for output in session.run(None, {name: image.numpy()})]
        if [value.shape for value in found] != [value.shape for value in expected]:
            return {"difference": math.inf, "relative": math.inf, "agreement": 0.0}
        for one, other in zip(found, expected, strict=True):
            difference = float((one - other).abs().max())
            others = (one.argmax(1) != other.argmax(1)).float().mean() if one.dim() > 1 else 0.0
            rows.append((difference, difference / max(float(other.abs().max()), 1e-12), float(others)))
    # The maximum of numpy is NaN where one value is; that of Python need not be.
    difference, relative, others = np.max(rows, axis=0).tolist()
    return {"difference": difference, "relative": relative, "agreement": 1 - others}


def _norms(model: nn.Module) -> int:
    return sum(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
