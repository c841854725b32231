from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rfkit._checks import DataError
from rfkit.cli import main
from rfkit.data.check import check_data
from rfkit.data.cityscapes import Cityscapes
from rfkit.data.cityscapes_labels import (
    CITYSCAPES_CLASS_IDS,
    CITYSCAPES_CLASSES,
    CITYSCAPES_COLOURS,
    CITYSCAPES_LABELS,
    to_label_ids,
)
from rfkit.data.dataset import InMemory
from rfkit.data.opening import open_data

# Frames of a small stand-in, in the order in which they are read: cities, then frames.
FRAMES = {
    "train": ("aachen/aachen_000001_000019", "aachen/aachen_000002_000019", "bochum/bochum_000000_000885"),
    "val": ("munster/munster_000000_000019",),
    "test": ("berlin/berlin_000000_000019", "bonn/bonn_000000_000019"),
}
NAMES = {split: tuple(name.split("/")[1] for name in names) for split, names in FRAMES.items()}

# What cityscapesScripts says, written apart from the table: label id of the classes road to bicycle.
IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
VOID = (0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30)


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def _label_ids(number: int) -> np.ndarray:
    """All 34 ids, and more of one of them."""
    label = np.full((4, 34), IDS[number], dtype=np.uint8)
    label[0] = np.arange(34)
    return label


def _train_ids(label_ids: np.ndarray) -> np.ndarray:
    """The train ids of label ids, pixel by pixel."""
    train = np.full_like(label_ids, 255)
    for number, label_id in enumerate(IDS):
        train[label_ids == label_id] = number
    return train


def _tree(root: Path, *, kinds: tuple[str, ...] = ("labelIds",)) -> Path:
    for split, names in FRAMES.items():
        for number, name in enumerate(names):
            _save(root / "leftImg8bit" / split / f"{name}_leftImg8bit.png", np.full((4, 34, 3), number, dtype=np.uint8))
            label = _label_ids(number) if split != "test" else np.ones((4, 34), dtype=np.uint8)
            files = {"labelIds": label, "labelTrainIds": _train_ids(label)}
            for kind in kinds:
                _save(root / "gtFine" / split / f"{name}_gtFine_{kind}.png", files[kind])
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return _tree(tmp_path)


def _label(root: Path, split: str, number: int, kind: str = "labelIds") -> Path:
    return root / "gtFine" / split / f"{FRAMES[split][number]}_gtFine_{kind}.png"


def _image(root: Path, split: str, number: int) -> Path:
    return root / "leftImg8bit" / split / f"{FRAMES[split][number]}_leftImg8bit.png"


def test_the_table_of_labels_is_the_official_one() -> None:
    assert [label.id for label in CITYSCAPES_LABELS] == [*range(34), -1]
    assert tuple(label.id for label in CITYSCAPES_LABELS if label.train_id == 255) == VOID
    assert CITYSCAPES_CLASS_IDS == IDS
    assert [label.train_id for label in CITYSCAPES_LABELS if label.id in IDS] == list(range(19))
    assert CITYSCAPES_CLASSES[:3] + CITYSCAPES_CLASSES[-3:] == (
        "road",
        "sidewalk",
        "building",
        "train",
        "motorcycle",
        "bicycle",
    )
    assert CITYSCAPES_COLOURS[[0, 13, 18]].tolist() == [[128, 64, 128], [0, 0, 142], [119, 11, 32]]
    assert len({label.name for label in CITYSCAPES_LABELS}) == 35
    assert {label.category for label in CITYSCAPES_LABELS} == {
        "void",
        "flat",
        "construction",
        "object",
        "nature",
        "sky",
        "human",
        "vehicle",
    }


def test_the_table_of_labels_is_that_of_cityscapesscripts() -> None:
    official = pytest.importorskip(
        "cityscapesscripts.helpers.labels", reason="cityscapesScripts is not installed"
    ).labels
    assert [tuple(label) for label in CITYSCAPES_LABELS] == [
        (label.name, label.id, label.trainId, label.category, label.color) for label in official
    ]


def test_splits_are_read_city_by_city(root: Path) -> None:
    for split, names in {**NAMES, "trainval": NAMES["train"] + NAMES["val"]}.items():
        data = Cityscapes(root, split)
        assert data.names == names
        assert (data.name, data.split, data.root, data.num_classes) == ("cityscapes", split, root, 19)
    sample = Cityscapes(root, "train")[2]
    assert sample.name == "bochum_000000_000885"
    assert torch.equal(sample.image, torch.full((3, 4, 34), 2, dtype=torch.uint8))
    assert sample.label[0, list(IDS)].tolist() == list(range(19))
    assert sample.label[0, list(VOID)].unique().tolist() == [255]
    assert sample.label[1:].unique().tolist() == [2]
    assert "non-commercial" in Cityscapes(root).licence


def test_label_ids_and_train_ids_give_the_same_labels(tmp_path: Path) -> None:
    by_ids = Cityscapes(_tree(tmp_path / "ids"), "trainval")
    by_train_ids = Cityscapes(_tree(tmp_path / "train", kinds=("labelTrainIds",)), "trainval")
    assert (by_ids.labels, by_train_ids.labels) == ("labelIds", "labelTrainIds")
    assert by_ids.names == by_train_ids.names
    for first, second in zip(by_ids, by_train_ids, strict=True):
        assert torch.equal(first.label, second.label)


def test_label_ids_are_read_where_both_are_there_and_train_ids_must_agree(tmp_path: Path) -> None:
    root = _tree(tmp_path, kinds=("labelIds", "labelTrainIds"))
    data = Cityscapes(root, "train")
    assert data.labels == "labelIds"
    assert data.pairs[0].label == _label(root, "train", 0)
    assert check_data(data, progress=False).ok
    wrong = _train_ids(_label_ids(0))
    wrong[1, 5:7] = 12
    other = _label(root, "train", 0, "labelTrainIds")
    _save(other, wrong)
    _save(_label(root, "train", 1, "labelTrainIds"), np.zeros((4, 33), dtype=np.uint8))
    _save(_label(root, "train", 2, "labelTrainIds"), np.full((4, 34), 19, dtype=np.uint8))
    problems = check_data(data, progress=False).problems
    stem = "aachen_000001_000019_gtFine_labelIds.png"
    assert problems[0] == (f"{other}: 2 pixels differ from {stem}, the first at row 1, column 5: train id 12, not 0")
    assert problems[1].endswith("_labelTrainIds.png: is 33x4, but aachen_000002_000019_gtFine_labelIds.png 34x4")
    assert "label id 19 outside the classes" in problems[2]
    assert len(problems) == 3


def test_the_folder_may_be_inside(tmp_path: Path) -> None:
    _tree(tmp_path / "cityscapes")
    data = open_data("cityscapes", tmp_path, split="val", size=(2, 17))
    assert isinstance(data, Cityscapes)
    assert data.root == tmp_path / "cityscapes"
    assert data[0].image.shape == (3, 2, 17)
    assert data[0].label.shape == (2, 17)
    assert data.note == "frames resized to 17x2"


@pytest.mark.parametrize("without", ["gtFine", "gtFine/test", None])
def test_test_has_no_labels(root: Path, without: str | None) -> None:
    if without:
        shutil.rmtree(root / without)
    data = Cityscapes(root, "test", size=(2, 17))
    assert not data.labelled
    assert data.labels == "none"
    assert len(data) == 2
    assert data[1].label.shape == (2, 17)
    assert data[1].label.unique().tolist() == [255]
    assert not InMemory(data, progress=False).labelled
    assert check_data("cityscapes", root, splits="test", progress=False).ok


def test_train_and_val_have_labels(root: Path) -> None:
    assert Cityscapes(root, "trainval").labelled


def test_files_of_another_kind_are_passed_by(root: Path) -> None:
    city = root / "leftImg8bit" / "train" / "aachen"
    for name in ("._aachen_000001_000019_leftImg8bit.png", "thumbs.png", "aachen_000001_000019_leftImg8bit.json"):
        (city / name).write_bytes(b"")
    (root / "gtFine" / "train" / "aachen" / "aachen_000001_000019_gtFine_color.png").write_bytes(b"")
    assert Cityscapes(root, "train").names == NAMES["train"]


def test_missing_files_are_errors_both_ways(root: Path) -> None:
    _label(root, "train", 0).unlink()
    _image(root, "train", 2).unlink()
    with pytest.raises(DataError, match=r"aachen_000001_000019_leftImg8bit\.png: image without label: .*labelIds\.png"):
        Cityscapes(root, "train")
    data = Cityscapes(root, "train", strict=False)
    assert data.names == NAMES["train"][1:2]
    assert data.problems == (
        f"{_image(root, 'train', 0)}: image without label: {_label(root, 'train', 0)} does not exist",
        f"{_label(root, 'train', 2)}: label without image: {_image(root, 'train', 2)} does not exist",
    )


def test_labels_that_are_not_made_yet_are_one_error(root: Path) -> None:
    for path in (root / "gtFine" / "train").rglob("*.png"):
        path.rename(path.with_name(path.name.replace("labelIds.png", "polygons.json")))
    with pytest.raises(
        DataError, match=r"gtFine/train: no CITY/\*_gtFine_labelIds\.png and no .*holds: aachen/, bochum/"
    ):
        Cityscapes(root, "train")
    report = check_data("cityscapes", root, progress=False)
    assert len(report.problems) == 1
    assert report.splits["val"].count == 1


def test_train_ids_do_not_stand_in_for_single_label_ids(tmp_path: Path) -> None:
    root = _tree(tmp_path, kinds=("labelIds", "labelTrainIds"))
    _label(root, "train", 1).unlink()
    with pytest.raises(DataError, match=r"aachen_000002.*image without label: .*_gtFine_labelIds\.png does not exist"):
        Cityscapes(root, "train")


def test_a_root_that_holds_something_else_is_an_error(root: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such folder \(root of Cityscapes\)"):
        Cityscapes(tmp_path / "nowhere")
    for folder, hint in ((root / "gtFine", f"The folder above it, {root}, does"), (root.parent, root.name)):
        with pytest.raises(DataError, match=r"holds no layout of Cityscapes\. Looked for leftImg8bit/ \(off") as error:
            Cityscapes(folder)
        assert hint in str(error.value)
    with pytest.raises(DataError, match=r"It holds: test/, train/, val/\."):
        Cityscapes(root / "gtFine")
    with pytest.raises(ValueError, match="split='dev' is not known; allowed: train, val, test, trainval"):
        Cityscapes(root, "dev")


def test_a_folder_that_is_missing_is_an_error_that_names_it(root: Path) -> None:
    shutil.rmtree(root / "leftImg8bit" / "val")
    with pytest.raises(DataError, match=r"leftImg8bit/val: no such folder; .*leftImg8bit holds: test/, train/"):
        Cityscapes(root, "val")
    shutil.rmtree(root / "gtFine")
    with pytest.raises(
        DataError, match=r"gtFine/train: no such folder; the labels of train are .* holds: leftImg8bit/"
    ):
        Cityscapes(root, "train")


def test_an_empty_split_is_an_error(root: Path) -> None:
    for part in ("leftImg8bit", "gtFine"):
        shutil.rmtree(root / part / "val")
        (root / part / "val" / "munster").mkdir(parents=True)
    with pytest.raises(DataError, match=f"{root}: split 'val' is empty"):
        Cityscapes(root, "val")


@pytest.mark.parametrize(("kind", "wrong"), [("labelIds", 34), ("labelIds", 255), ("labelTrainIds", 19)])
def test_an_id_that_must_not_occur_is_an_error(tmp_path: Path, kind: str, wrong: int) -> None:
    root = _tree(tmp_path, kinds=(kind,))
    label = np.zeros((4, 34), dtype=np.uint8)
    label[2, 3] = wrong
    path = _label(root, "val", 0, kind)
    _save(path, label)
    message = rf"{kind}\.png: label id {wrong} outside the classes \(first at row 2, column 3\); allowed: "
    with pytest.raises(DataError, match=message):
        Cityscapes(root, "val")[0]
    assert [problem.split(": ")[0] for problem in check_data("cityscapes", root, progress=False).problems] == [
        str(path)
    ]


def test_a_part_of_the_data_set_is_a_warning(root: Path) -> None:
    shutil.rmtree(root / "leftImg8bit" / "test")
    report = check_data("cityscapes", root, progress=False)
    assert report.ok
    assert report.warnings == (
        f"{root}: split 'train' has 3 of the 2975 published images; none from bremen, cologne, darmstadt, "
        "dusseldorf, erfurt, hamburg, hanover, jena, krefeld, monchengladbach, strasbourg, stuttgart, tubingen, "
        "ulm, weimar, zurich",
        f"{root}: split 'train' has 3 images of another size than the published 2048x1024",
        f"{root}: split 'val' has 1 of the 500 published images; none from frankfurt, lindau",
        f"{root}: split 'val' has 1 image of another size than the published 2048x1024",
        f"{root}: split 'test' is not there; published are 1525 images",
    )
    lines = str(report).splitlines()
    assert lines[0] == f"cityscapes at {root}: 19 classes, no problems, 5 warnings"
    assert lines[-6:] == ["Warnings:", *(f"  {warning}" for warning in report.warnings)]
    # One pixel of each class a frame, and three rows of road, sidewalk and building.
    assert report.splits["train"].frequencies.pixels.tolist() == [105, 105, 105, *[3] * 16]
    assert report.splits["train"].frequencies.ignored == 3 * len(VOID)


def test_frames_of_the_published_size_and_number_are_no_warning(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = type(Cityscapes.published)(counts={"train": 3, "val": 1, "test": 2}, size=(4, 34))
    monkeypatch.setattr(Cityscapes, "published", published)
    report = check_data("cityscapes", root, splits=["train", "val", "test", "trainval"], progress=False)
    assert report.warnings == ()
    assert "warning" not in str(report)


def test_published_counts() -> None:
    published = Cityscapes.published
    assert [published.count(split) for split in ("train", "val", "test", "trainval")] == [2975, 500, 1525, 3475]
    assert published.size == (1024, 2048)
    # 27 cities, each in one split.
    assert [len(published.folders[split]) for split in ("train", "val", "test")] == [18, 3, 6]


def test_the_command_checks(root: Path, notebook: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "--data", "cityscapes", "--root", str(root)]) == 0
    shown = notebook.readouterr()
    assert "19 classes, no problems, 6 warnings" in shown.out
    assert "Checking cityscapes train" in shown.err
    _label(root, "train", 0).unlink()
    _image(root, "train", 1).write_bytes(b"")
    assert main(["data", "check", "--data", "cityscapes", "--root", str(root)]) == 1
    shown = notebook.readouterr()
    assert "19 classes, 2 problems" in shown.out
    assert f"{_image(root, 'train', 0)}: image without label" in shown.out
    assert f"{_image(root, 'train', 1)}: is empty (0 bytes)" in shown.out


def test_classes_go_back_to_label_ids(root: Path) -> None:
    assert to_label_ids(torch.arange(19)).tolist() == list(IDS)
    for path in (_label(root, "train", number) for number in range(3)):
        stored = np.array(Image.open(path))
        number = next(index for index in range(3) if path == _label(root, "train", index))
        back = to_label_ids(Cityscapes(root, "train")[number].label)
        assert back.dtype == np.uint8
        # What is ignored goes to 0, all else to where it came from.
        assert np.array_equal(back, np.where(np.isin(stored, IDS), stored, 0))
    assert Cityscapes(root).class_ids == IDS


@pytest.mark.parametrize("wrong", [19, 254, -1, 256])
def test_only_classes_go_back_to_label_ids(wrong: int) -> None:
    with pytest.raises(ValueError, match=rf"label holds \[{wrong}\]; allowed: classes 0 to 18, and 255"):
        to_label_ids(np.array([0, wrong]))


def test_scores_are_not_label_ids() -> None:
    with pytest.raises(ValueError, match="label has dtype float32; it must hold integers"):
        to_label_ids(torch.zeros(2, 2))
