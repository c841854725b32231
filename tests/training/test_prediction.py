from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from rfkit._checks import DataError
from rfkit.data.classes import CAMVID_CLASSES, CAMVID_COLOURS, default_colours
from rfkit.training.prediction import predict


@pytest.fixture
def model() -> nn.Module:
    """Class 0, 1 or 2 where red, green or blue is brightest."""
    network = nn.Conv2d(3, 3, 1, bias=False)
    with torch.no_grad():
        network.weight.copy_(torch.eye(3)[:, :, None, None])
    return network


def _picture(path: Path, size: tuple[int, int] = (6, 10)) -> Path:
    """The left half red, the right half blue."""
    pixels = np.zeros((*size, 3), dtype=np.uint8)
    pixels[:, : size[1] // 2, 0] = 200
    pixels[:, size[1] // 2 :, 2] = 200
    Image.fromarray(pixels).save(path)
    return path


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        picture.load()
    return picture


def test_a_file_gives_a_label_map_and_an_overlay(model: nn.Module, tmp_path: Path) -> None:
    result = predict(model, _picture(tmp_path / "street.png"), out=tmp_path / "out", opacity=0.25, progress=False)
    assert result.labels == (tmp_path / "out" / "labels" / "street.png",)
    label = _opened(result.labels[0])
    assert label.mode == "P"
    assert (np.asarray(label)[:, :5] == 0).all()
    assert (np.asarray(label)[:, 5:] == 2).all()
    colours = default_colours(3)
    assert (np.asarray(label.convert("RGB"))[0, 9] == colours[2]).all()
    overlay = np.asarray(_opened(result.overlays[0]))
    assert overlay[0, 9] == pytest.approx(0.75 * np.array([0, 0, 200]) + 0.25 * colours[2], abs=0.51)
    assert result.shares.tolist() == [[0.5, 0, 0.5]]


def test_a_folder_keeps_names_and_sizes(model: nn.Module, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for name, size in (("b.jpg", (16, 16)), ("a.webp", (6, 10)), ("c.bmp", (7, 5)), ("d.PNG", (4, 4))):
        _picture(folder / name, size)
    (folder / "notes.txt").write_text("not an image")
    result = predict(model, folder, out=tmp_path / "out", overlay=False, size=(8, 8), progress=False)
    assert [path.name for path in result.images] == ["a.webp", "b.jpg", "c.bmp", "d.PNG"]
    assert [path.name for path in result.labels] == ["a.png", "b.png", "c.png", "d.png"]
    assert [_opened(path).size for path in result.labels] == [(10, 6), (16, 16), (5, 7), (4, 4)]
    assert result.overlays == ()
    assert not (tmp_path / "out" / "overlays").exists()
    frame = result.to_frame()
    assert frame.columns.tolist() == ["image", "label", "class", "share"]
    assert len(frame) == 12
    assert frame.groupby("image")["share"].sum().to_numpy() == pytest.approx(np.ones(4))


def test_colours_are_given_or_those_of_the_classes(model: nn.Module, tmp_path: Path) -> None:
    source = _picture(tmp_path / "street.png")

    def first_colour(network: nn.Module, **options: object) -> list[int]:
        result = predict(network, source, out=tmp_path / "out", overlay=False, progress=False, **options)
        return np.asarray(_opened(result.labels[0]).convert("RGB"))[0, 0].tolist()

    assert first_colour(model, colours=[(9, 8, 7), (0, 0, 0), (1, 1, 1)]) == [9, 8, 7]
    camvid = nn.Conv2d(3, 11, 1)
    with torch.no_grad():
        camvid.bias[3] += 100
    assert first_colour(camvid) == default_colours(11)[3].tolist()
    camvid.card = SimpleNamespace(class_names=CAMVID_CLASSES)
    assert first_colour(camvid) == CAMVID_COLOURS[3].tolist() != default_colours(11)[3].tolist()
    assert predict(camvid, source, out=tmp_path / "out", progress=False).classes == CAMVID_CLASSES


def test_the_network_is_left_as_it_was(model: nn.Module, tmp_path: Path) -> None:
    model.train()
    predict(model, _picture(tmp_path / "street.png"), out=tmp_path / "out", progress=False)
    assert model.training


def test_files_that_cannot_be_read_are_named(model: nn.Module, tmp_path: Path) -> None:
    whole = _picture(tmp_path / "whole.png", (64, 64))
    cut = tmp_path / "cut.png"
    cut.write_bytes(whole.read_bytes()[:60])
    with pytest.raises(DataError, match=f"^{cut}: "):
        predict(model, cut, out=tmp_path / "out", progress=False)
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    with pytest.raises(DataError, match=f"^{text}: is not an image"):
        predict(model, text, out=tmp_path / "out", progress=False)
    with pytest.raises(FileNotFoundError, match="nowhere: no such file or folder of images"):
        predict(model, tmp_path / "nowhere", out=tmp_path / "out", progress=False)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(FileNotFoundError, match=r"empty: no image in this folder; known are \.jpg"):
        predict(model, empty, out=tmp_path / "out", progress=False)


def test_arguments_are_checked(model: nn.Module, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.png", "a.jpg"):
        _picture(folder / name)
    with pytest.raises(ValueError, match=r"a\.jpg and .*a\.png would both write a\.png"):
        predict(model, folder, out=tmp_path / "out", progress=False)
    with pytest.raises(ValueError, match=r"opacity=1\.5 must be in \[0, 1\]"):
        predict(model, folder / "a.png", out=tmp_path / "out", opacity=1.5, progress=False)
    with pytest.raises(ValueError, match=r"colours has shape \(2, 3\); 3 rows"):
        predict(model, folder / "a.png", out=tmp_path / "out", colours=[(0, 0, 0), (1, 1, 1)], progress=False)
    with pytest.raises(ValueError, match="model gives 256 class scores; a label map holds at most 255"):
        predict(nn.Conv2d(3, 256, 1), folder / "a.png", out=tmp_path / "out", progress=False)
