from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rfkit._checks import DataError
from rfkit.cli import main
from rfkit.data.bdd100k import BDD100K
from rfkit.data.check import check_data
from rfkit.data.cityscapes_labels import CITYSCAPES_CLASSES
from rfkit.data.opening import open_data

NAMES = {"train": ("a1-b2", "c3-d4", "e5-f6"), "val": ("g7-h8",), "test": ("i9-j0", "k1-l2")}
FOLDERS = {
    "official": ("images/10k", "labels/sem_seg/masks", ".png"),
    "seg": ("seg/images", "seg/labels", "_train_id.png"),
    "compact": ("images", "labels", ".png"),
}


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def _label(number: int) -> np.ndarray:
    """All 19 classes and 255, and more of one class."""
    label = np.full((4, 20), number, dtype=np.uint8)
    label[0] = [*range(19), 255]
    return label


def _tree(root: Path, layout: str = "official") -> Path:
    images, labels, ending = FOLDERS[layout]
    for split, names in NAMES.items():
        for number, name in enumerate(names):
            _save(root / images / split / f"{name}.jpg", np.full((4, 20, 3), 10 * number, dtype=np.uint8))
            if split != "test":
                _save(root / labels / split / f"{name}{ending}", _label(number))
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return _tree(tmp_path)


@pytest.mark.parametrize("layout", list(FOLDERS))
def test_every_layout_gives_the_same_splits(tmp_path: Path, layout: str) -> None:
    root = _tree(tmp_path, layout)
    for split, names in {**NAMES, "trainval": NAMES["train"] + NAMES["val"]}.items():
        data = BDD100K(root, split)
        assert data.names == names
        assert (data.name, data.split, data.root, data.layout) == ("bdd100k", split, root, layout)
        assert data.classes == CITYSCAPES_CLASSES
    sample = BDD100K(root, "train")[1]
    assert sample.name == "c3-d4"
    assert torch.equal(sample.image, torch.full((3, 4, 20), 10, dtype=torch.uint8))
    assert sample.label[0].tolist() == [*range(19), 255]
    assert sample.label[1:].unique().tolist() == [1]
    assert "not-for-profit" in BDD100K(root).licence


def test_the_official_layout_goes_before_the_old(root: Path) -> None:
    assert BDD100K(_tree(root, "seg")).layout == "official"


def test_the_seg_folder_itself_is_read(tmp_path: Path) -> None:
    data = BDD100K(_tree(tmp_path, "seg") / "seg", "val")
    assert data.layout == "compact"
    assert data.pairs[0].label.name == "g7-h8_train_id.png"


def test_the_folder_may_be_inside(tmp_path: Path) -> None:
    _tree(tmp_path / "bdd100k")
    data = open_data("bdd100k", tmp_path, split="val", size=(2, 10))
    assert isinstance(data, BDD100K)
    assert data.root == tmp_path / "bdd100k"
    assert data[0].label.shape == (2, 10)
    assert data.note == "frames resized to 10x2"


def test_colour_maps_are_not_read(root: Path) -> None:
    colours = np.zeros((4, 20, 3), dtype=np.uint8)
    _save(root / "labels" / "sem_seg" / "colormaps" / "train" / "a1-b2.png", colours)
    assert BDD100K(root, "train")[0].label[1, 0] == 0
    path = root / "labels" / "sem_seg" / "masks" / "train" / "a1-b2.png"
    _save(path, colours)
    with pytest.raises(DataError, match=r"masks/train/a1-b2\.png: has mode RGB; labels are 8-bit"):
        BDD100K(root, "train")[0]


def test_test_has_no_labels(root: Path) -> None:
    data = BDD100K(root, "test")
    assert not data.labelled
    assert data[0].label.shape == (4, 20)
    assert data[0].label.unique().tolist() == [255]
    assert BDD100K(root, "val").labelled


def test_missing_files_are_errors_both_ways(root: Path) -> None:
    images, labels = root / "images" / "10k" / "train", root / "labels" / "sem_seg" / "masks" / "train"
    (labels / "a1-b2.png").unlink()
    (images / "e5-f6.jpg").unlink()
    with pytest.raises(DataError, match=r"a1-b2\.jpg: image without label: .*masks/train/a1-b2\.png does not exist"):
        BDD100K(root, "train")
    assert BDD100K(root, "train", strict=False).problems == (
        f"{images}/a1-b2.jpg: image without label: {labels}/a1-b2.png does not exist",
        f"{labels}/e5-f6.png: label without image: {images}/e5-f6.jpg does not exist",
    )


def test_a_root_that_holds_something_else_is_an_error(root: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such folder \(root of BDD100K\)"):
        BDD100K(tmp_path / "nowhere")
    (root / "other").mkdir()
    looked = (
        r"Looked for images/10k/ \(official\); seg/images/ \(seg\); images/ and labels/ \(compact\)\. It holds: nothing"
    )
    with pytest.raises(DataError, match=looked):
        BDD100K(root / "other")
    with pytest.raises(ValueError, match="split='dev' is not known"):
        BDD100K(root, "dev")


def test_a_folder_that_is_missing_is_an_error_that_names_it(root: Path) -> None:
    shutil.rmtree(root / "labels" / "sem_seg" / "masks" / "val")
    with pytest.raises(DataError, match=r"masks/val: no such folder; the labels of val .*masks holds: train/"):
        BDD100K(root, "val")
    shutil.rmtree(root / "images" / "10k" / "val")
    with pytest.raises(
        DataError, match=r"images/10k/val: no such folder; the images of val .*10k holds: test/, train/"
    ):
        BDD100K(root, "val")
    shutil.rmtree(root / "labels" / "sem_seg")
    with pytest.raises(DataError, match=r"masks/train: no such folder; .*masks holds: nothing, it does not exist"):
        BDD100K(root, "train")


def test_an_empty_split_is_an_error(root: Path) -> None:
    for folder in ("images/10k/val", "labels/sem_seg/masks/val"):
        shutil.rmtree(root / folder)
        (root / folder).mkdir()
    with pytest.raises(DataError, match=f"{root}: split 'val' is empty"):
        BDD100K(root, "val")


def test_an_id_that_must_not_occur_is_an_error(root: Path) -> None:
    label = _label(0)
    label[3, 2] = 19
    _save(root / "labels" / "sem_seg" / "masks" / "val" / "g7-h8.png", label)
    message = r"g7-h8\.png: label id 19 outside the classes \(first at row 3, column 2\); allowed: 0-18, ignored: 255"
    with pytest.raises(DataError, match=message):
        BDD100K(root, "val")[0]


def test_a_part_of_the_data_set_is_a_warning(root: Path) -> None:
    shutil.rmtree(root / "images" / "10k" / "test")
    report = check_data("bdd100k", root, progress=False)
    assert report.ok
    assert report.warnings == (
        f"{root}: split 'train' has 3 of the 7000 published images",
        f"{root}: split 'train' has 3 images of another size than the published 1280x720",
        f"{root}: split 'val' has 1 of the 1000 published images",
        f"{root}: split 'val' has 1 image of another size than the published 1280x720",
        f"{root}: split 'test' is not there; published are 2000 images",
    )
    assert report.splits["train"].frequencies.images.tolist() == [3] * 19


def test_the_command_checks(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "--data", "bdd100k", "--root", str(root)]) == 0
    assert "19 classes, no problems, 6 warnings" in capsys.readouterr().out
    (root / "labels" / "sem_seg" / "masks" / "val" / "g7-h8.png").unlink()
    assert main(["data", "check", "--data", "bdd100k", "--root", str(root)]) == 1
    assert "g7-h8.jpg: image without label" in capsys.readouterr().out


def test_real_frames_are_sound() -> None:
    folder = os.environ.get("RFKIT_BDD100K")
    if not folder:
        pytest.skip("RFKIT_BDD100K is not set: no real BDD100K frames at hand")
    report = check_data("bdd100k", folder, progress=False)
    assert report.ok
    assert {size for split in report.splits.values() for size in split.sizes} == {(720, 1280)}
    assert report.splits["train"].frequencies.share()[0] > 0.1
