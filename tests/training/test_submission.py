from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from torch import nn
from training.cityscapes_frames import IDS, make_cityscapes, network

from rfkit.cli import main
from rfkit.data.cityscapes import Cityscapes
from rfkit.data.cityscapes_labels import CITYSCAPES_CLASSES
from rfkit.data.classes import CAMVID_CLASSES
from rfkit.models.registry import create_model
from rfkit.models.weights import Card, save_weights
from rfkit.training.evaluation import class_scores, evaluate
from rfkit.training.prediction import predict
from rfkit.training.submission import submission_name


def test_a_split_gives_label_ids_at_full_size(tmp_path: Path) -> None:
    data = Cityscapes(make_cityscapes(tmp_path / "cs", "test"), "test")
    result = predict(network(), data, out=tmp_path / "out", submission=True, size=(512, 1024), progress=False)
    assert result.labels == (tmp_path / "out" / "berlin_000000_000019.png",)
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == list(result.labels)
    assert result.overlays == ()
    assert result.classes == CITYSCAPES_CLASSES
    with Image.open(result.labels[0]) as picture:
        assert (picture.mode, picture.size, picture.format) == ("L", (2048, 1024), "PNG")
        found = np.asarray(picture)
    expected = class_scores(network(), data[0].image[None], size=(512, 1024))[0].argmax(0).numpy()
    assert (found == np.array(IDS)[expected]).all()
    assert result.shares.sum() == pytest.approx(1)


def test_a_folder_of_frames_gives_the_same_files(tmp_path: Path) -> None:
    root = make_cityscapes(tmp_path / "cs", "test")
    folder, out = root / "leftImg8bit" / "test" / "berlin", tmp_path / "out"
    first = predict(network(), Cityscapes(root, "test"), out=out, submission=True, progress=False)
    content = first.labels[0].read_bytes()
    assert predict(network(), folder, out=out, submission=True, progress=False).labels == first.labels
    assert first.labels[0].read_bytes() == content


@pytest.mark.parametrize("name", ["street", "berlin_1_2", "berlin_000000_0000190", "berlin_000000_000019x"])
def test_only_frames_of_cityscapes_can_be_submitted(tmp_path: Path, name: str) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / f"{name}.png")
    with pytest.raises(ValueError, match=f"{name} is not named as a frame of Cityscapes is: CITY_123456_123456"):
        predict(network(), tmp_path / f"{name}.png", out=tmp_path / "out", submission=True, progress=False)
    assert not (tmp_path / "out").exists()
    assert submission_name("bad-honnef_000000_000019_gtFine_labelIds") == "bad-honnef_000000_000019"


def test_only_full_size_can_be_submitted(tmp_path: Path) -> None:
    Image.new("RGB", (16, 8)).save(tmp_path / "berlin_000000_000019.png")
    with pytest.raises(ValueError, match="berlin_000000_000019 is 16x8; the server takes 2048x1024"):
        predict(network(), tmp_path / "berlin_000000_000019.png", out=tmp_path / "out", submission=True, progress=False)
    assert not (tmp_path / "out").exists()


def test_the_classes_must_be_those_of_cityscapes(tmp_path: Path) -> None:
    path = tmp_path / "berlin_000000_000019.png"
    Image.new("RGB", (2048, 1024)).save(path)
    model = network(11)
    with pytest.raises(ValueError, match="needs a network for the 19 classes of Cityscapes; model has 11 classes"):
        predict(model, path, out=tmp_path / "out", submission=True, progress=False)
    model.card = SimpleNamespace(class_names=CAMVID_CLASSES)
    with pytest.raises(ValueError, match="19 classes of Cityscapes; model has Sky, Building"):
        predict(model, path, out=tmp_path / "out", submission=True, progress=False)
    assert not (tmp_path / "out").exists()


def test_a_data_set_gives_labels_and_overlays_too(patches: type, tmp_path: Path) -> None:
    data = patches(count=2)
    result = predict(nn.Conv2d(3, 3, 1), data, out=tmp_path / "out", progress=False)
    assert [path.name for path in result.overlays] == ["train0.png", "train1.png"]
    assert [str(path) for path in result.images] == ["train0", "train1"]
    with Image.open(result.labels[1]) as picture:
        assert picture.size == (24, 16)


def test_the_command_line_writes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_cityscapes(tmp_path / "cs", "test")
    model = create_model("dwrseg_b", num_classes=19, seed=0)
    card = Card(model="dwrseg_b", num_classes=19, options={}, class_names=CITYSCAPES_CLASSES)
    save_weights(model, tmp_path / "w.safetensors", card=card)
    command = ["predict", "--weights", str(tmp_path / "w.safetensors"), "--out", str(tmp_path / "out"), "--submission"]
    assert main([*command, "--data", "cityscapes", "--root", str(root), "--size", "128", "256"]) == 0
    assert f"1 images; files to submit are in {tmp_path / 'out'}" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["berlin_000000_000019.png"]
    assert main(command) == 2
    assert "give an image or a folder of images, or --data" in capsys.readouterr().err


def test_scores_are_those_of_cityscapesscripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reason = "cityscapesScripts is not installed"
    official = pytest.importorskip("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling", reason=reason)
    root, out = make_cityscapes(tmp_path / "cs", "val", count=2), tmp_path / "out"
    data = Cityscapes(root, "val")
    scores = evaluate(network(), data, size=(512, 1024), batch_size=1, progress=False)
    predict(network(), data, out=out, submission=True, size=(512, 1024), progress=False)
    monkeypatch.setenv("CITYSCAPES_RESULTS", str(out))
    for name, value in (("evalInstLevelScore", False), ("JSONOutput", False), ("quiet", True)):
        monkeypatch.setattr(official.args, name, value)
    monkeypatch.setattr(official.args, "predictionPath", None)
    monkeypatch.setattr(official.args, "predictionWalk", None)
    truth = sorted(str(path) for path in (root / "gtFine" / "val").glob("*/*_gtFine_labelIds.png"))
    predictions = [official.getPrediction(official.args, path) for path in truth]
    assert [os.path.basename(path) for path in predictions] == [f"{name}.png" for name in data.names]
    result = official.evaluateImgLists(predictions, truth, official.args)
    assert result["averageScoreClasses"] == pytest.approx(scores.miou, abs=1e-12)
    assert {name: result["classScores"][name] for name in scores.classes} == pytest.approx(scores.class_iou, abs=1e-12)
    assert min(scores.class_iou.values()) > 0.4
