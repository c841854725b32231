from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rfkit._checks import DataError
from rfkit.data.folder import Folder, folder_splits

CLASSES = """
licence = "my own"
ignore = 9
ignore_colour = [0, 0, 0]
[[classes]]
name = "road"
colour = [128, 64, 128]
[[classes]]
name = "car"
colour = [64, 0, 128]
"""


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def _add(root: Path, name: str, *, number: int = 0, inner: str = "", suffix: str = "png") -> None:
    _save(root / "images" / inner / f"{name}.{suffix}", np.full((4, 6, 3), number, dtype=np.uint8))
    label = np.full((4, 6), number % 2, dtype=np.uint8)
    label[0, 0] = 9
    _save(root / "labels" / inner / f"{name}.png", label)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "classes.toml").write_text(CLASSES)
    return tmp_path


def test_an_undivided_folder_is_the_training_split(root: Path) -> None:
    for number, name in enumerate(("b", "a", "inner/c")):
        _add(root, name, number=number)
    data = Folder(root)
    assert data.names == ("a", "b", "inner/c")
    assert (data.name, data.split, data.root, data.licence) == ("folder", "train", root, "my own")
    assert data.classes == ("road", "car")
    assert data.colours.tolist() == [[128, 64, 128], [64, 0, 128]]
    sample = data[0]
    assert sample.image.unique().tolist() == [1]
    assert sample.label.flatten().tolist() == [255] + [1] * 23
    assert Folder(root, "trainval").names == data.names
    assert folder_splits(root) == ("train",)


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "png", "webp", "bmp", "JPG"])
def test_images_of_every_usual_format_are_read(root: Path, suffix: str) -> None:
    _add(root, "a", number=100, suffix=suffix)
    assert Folder(root)[0].image.float().mean().item() == pytest.approx(100, abs=1)


def test_files_that_are_no_images_are_passed_over(root: Path) -> None:
    _add(root, "a")
    (root / "images" / "Thumbs.db").touch()
    (root / "images" / "._a.png").touch()
    assert Folder(root).names == ("a",)


def test_splits_can_be_folders(root: Path) -> None:
    _add(root, "a", number=0, inner="train")
    _add(root, "a", number=1, inner="val")
    assert folder_splits(root) == ("train", "val")
    assert Folder(root, "train").names == ("a",)
    assert Folder(root, "val")[0].image.unique().tolist() == [1]
    both = Folder(root, "trainval")
    assert both.names == ("train/a", "val/a")
    assert [int(sample.image.max()) for sample in both] == [0, 1]


def test_splits_can_be_lists(root: Path) -> None:
    for number, name in enumerate(("a", "b", "c")):
        _add(root, name, number=number)
    (root / "train.txt").write_text("c\na.png\n")
    (root / "test.txt").write_text("b\n")
    assert folder_splits(root) == ("train", "test")
    assert Folder(root, "train").names == ("c", "a")
    assert Folder(root, "test").names == ("b",)
    assert Folder(root, "trainval").names == ("c", "a")


def test_a_split_that_is_not_there_is_an_error(root: Path) -> None:
    _add(root, "a")
    with pytest.raises(
        DataError, match=r"has no split 'val': neither images/val/ nor val\.txt exists; there is train$"
    ):
        Folder(root, "val")
    with pytest.raises(ValueError, match="split='evaluation' is not known"):
        Folder(root, "evaluation")


def test_trainval_without_train_is_an_error(root: Path) -> None:
    _add(root, "a", inner="val")
    with pytest.raises(DataError, match="has no split 'train'"):
        Folder(root, "trainval")


def test_colour_coded_labels_are_read_by_their_colours(root: Path) -> None:
    _add(root, "a")
    pixels = np.full((4, 6, 3), (64, 0, 128), dtype=np.uint8)
    pixels[0, 0], pixels[0, 1] = (0, 0, 0), (128, 64, 128)
    _save(root / "labels" / "a.png", pixels)
    assert Folder(root)[0].label.flatten().tolist() == [255, 0] + [1] * 22
    pixels[3, 5] = (1, 1, 1)
    _save(root / "labels" / "a.png", pixels)
    with pytest.raises(DataError, match=r"a\.png: colour \(1, 1, 1\) at row 3, column 5 is not one of the 3"):
        Folder(root)[0]


def test_colour_coded_labels_without_colours_are_an_error(root: Path) -> None:
    (root / "classes.toml").write_text('[[classes]]\nname = "road"\n')
    _add(root, "a")
    _save(root / "labels" / "a.png", np.zeros((4, 6, 3), dtype=np.uint8))
    with pytest.raises(DataError, match=r"a\.png: has mode RGB; .*colour-coded ones need the classes' colours"):
        Folder(root)[0]


def test_an_id_outside_the_classes_is_an_error(root: Path) -> None:
    _add(root, "a")
    _save(root / "labels" / "a.png", np.full((4, 6), 2, dtype=np.uint8))
    with pytest.raises(DataError, match=r"a\.png: label id 2 outside the classes .*allowed: 0-1, ignored: 9"):
        Folder(root)[0]


def test_a_lossy_label_is_an_error_not_a_missing_one(root: Path) -> None:
    _add(root, "a")
    (root / "labels" / "a.png").unlink()
    _save(root / "labels" / "a.jpg", np.zeros((4, 6), dtype=np.uint8))
    with pytest.raises(DataError, match=r"a\.jpg: is a JPEG file; labels are PNG"):
        Folder(root)[0]


def test_images_and_labels_without_partner_are_an_error(root: Path) -> None:
    for name in ("a", "b", "c"):
        _add(root, name)
    (root / "labels" / "a.png").unlink()
    with pytest.raises(DataError, match=r"images/a\.png: image without label: .*labels/a\.png does not exist"):
        Folder(root)
    (root / "images" / "b.png").unlink()
    with pytest.raises(DataError, match=r"labels/b\.png: label without image"):
        Folder(root)
    lenient = Folder(root, strict=False)
    assert lenient.names == ("c",)
    assert len(lenient.problems) == 2


def test_an_empty_folder_is_an_error(root: Path) -> None:
    (root / "images").mkdir()
    (root / "labels").mkdir()
    with pytest.raises(DataError, match="split 'train' is empty"):
        Folder(root)


def test_missing_folders_and_files_are_errors(root: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such folder \(root of the data\)"):
        Folder(root / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"images: no such folder; the data is read from images/ and labels/"):
        Folder(root)
    _add(root, "a")
    (root / "classes.toml").unlink()
    with pytest.raises(FileNotFoundError, match=r"classes\.toml: no such file"):
        Folder(root)


def test_the_class_file_may_lie_elsewhere(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "street.toml"
    (root / "classes.toml").rename(elsewhere)
    _add(root, "a")
    assert Folder(root, class_file=elsewhere).classes == ("road", "car")


def test_samples_are_delivered_in_the_size_asked_for(root: Path) -> None:
    _add(root, "a")
    data = Folder(root, size=(2, 3))
    assert data[0].image.shape == (3, 2, 3)
    assert data[0].label.shape == (2, 3)
    assert data.note == "images resized to 3x2"
