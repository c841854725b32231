"""Evaluation as the paper describes it, computed once more from its parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from training.cityscapes_frames import IDS, make_cityscapes, network

from rfkit.data.cityscapes import Cityscapes
from rfkit.data.preparing import prepare_data
from rfkit.training.evaluation import evaluate


def _weights(new: int, old: int) -> np.ndarray:
    """Bilinear interpolation along one axis: pixel centres keep their places, and what shrinks is averaged."""
    scale = old / new
    centres = (np.arange(new) + 0.5) * scale - 0.5
    distances = np.abs(centres[:, None].clip(0, old - 1) - np.arange(old)) if scale < 1 else np.abs(
        centres[:, None] - np.arange(old)
    ) / scale  # fmt: skip
    weights = (1 - distances).clip(0)
    return weights / weights.sum(1, keepdims=True)


def _confusion(root: Path, small: tuple[int, int], *, antialias: bool = True) -> np.ndarray:
    confusion = np.zeros((19, 19), dtype=np.int64)
    for path in sorted((root / "leftImg8bit" / "val").rglob("*.png")):
        pixels = np.asarray(Image.open(path)).transpose(2, 0, 1) / 255
        pixels = (pixels - np.reshape((0.485, 0.456, 0.406), (3, 1, 1))) / np.reshape((0.229, 0.224, 0.225), (3, 1, 1))
        if antialias:
            pixels = _weights(small[0], 1024) @ pixels @ _weights(small[1], 2048).T
        else:
            pixels = pixels[:, :: 1024 // small[0], :: 2048 // small[1]]
        with torch.no_grad():
            scores = network()(torch.from_numpy(pixels).float()[None])[0].numpy()
        whole = _weights(1024, scores.shape[1]) @ scores @ _weights(2048, scores.shape[2]).T
        label = np.asarray(Image.open(str(path).replace("leftImg8bit/val", "gtFine/val")[:-15] + "gtFine_labelIds.png"))
        truth = np.full(34, 255)
        truth[list(IDS)] = range(19)
        known = truth[label] < 19
        pairs = 19 * truth[label][known] + whole.argmax(0)[known]
        confusion += np.bincount(pairs, minlength=361).reshape(19, 19)
    return confusion


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cityscapes(tmp_path_factory.mktemp("cityscapes"), "val")


@pytest.mark.parametrize("size", [(512, 1024), pytest.param((768, 1536), marks=pytest.mark.slow)])
def test_scores_are_compared_at_full_size(root: Path, size: tuple[int, int]) -> None:
    scores = evaluate(network(), Cityscapes(root, "val"), size=size, batch_size=1, progress=False)
    expected = _confusion(root, size)
    assert scores.confusion.sum() == expected.sum()
    # Rounding may decide otherwise where two classes have all but the same score.
    assert np.abs(scores.confusion - expected).sum() < 1e-4 * expected.sum()
    iou = np.diag(expected) / (expected.sum(0) + expected.sum(1) - np.diag(expected))
    assert iou.min() > 0.4
    assert scores.miou == pytest.approx(iou.mean(), abs=1e-5)
    assert list(scores.class_iou.values()) == pytest.approx(iou.tolist(), abs=1e-4)


def test_images_are_averaged_as_they_shrink(root: Path) -> None:
    scores = evaluate(network(), Cityscapes(root, "val"), size=(512, 1024), batch_size=1, progress=False)
    other = _confusion(root, (512, 1024), antialias=False)
    assert np.abs(scores.confusion - other).sum() > 1e-3 * other.sum()


def test_prepared_frames_score_the_same(root: Path, tmp_path: Path) -> None:
    source = Cityscapes(root, "val")
    prepared = prepare_data(source, out=tmp_path, progress=False)["val"]
    first, second = (evaluate(network(), data, size=(512, 1024), progress=False) for data in (source, prepared))
    assert (first.confusion == second.confusion).all()
    assert (second.data, second.split) == ("cityscapes", "val")
