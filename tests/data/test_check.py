from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rfkit._checks import DataError
from rfkit.data.camvid import CamVid
from rfkit.data.check import check_data
from rfkit.data.dataset import Dataset, InMemory, Sample
from rfkit.data.folder import Folder

CLASSES = '[[classes]]\nname = "road"\n[[classes]]\nname = "car"\n'


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def _add(root: Path, split: str, name: str, *, label: np.ndarray | None = None, size: tuple[int, int] = (4, 6)) -> None:
    """One sample; its label map is half road, half car, the first pixel ignored."""
    values = np.zeros(size, dtype=np.uint8)
    values[size[0] // 2 :] = 1
    values[0, 0] = 255
    _save(root / "images" / split / f"{name}.png", np.full((*size, 3), 9, dtype=np.uint8))
    _save(root / "labels" / split / f"{name}.png", values if label is None else label)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "classes.toml").write_text(CLASSES)
    for split, names in {"train": "abc", "val": "de"}.items():
        for name in names:
            _add(tmp_path, split, name)
    return tmp_path


def _problems(root: Path) -> tuple[str, ...]:
    return check_data("folder", root, progress=False).problems


def test_sound_data_is_counted(root: Path) -> None:
    _add(root, "train", "wide", size=(4, 8))
    report = check_data("folder", root, progress=False)
    assert report.ok
    assert report.problems == ()
    assert (report.name, report.root, report.classes) == ("folder", root, ("road", "car"))
    assert {split: part.count for split, part in report.splits.items()} == {"train": 4, "val": 2}
    assert report.splits["train"].sizes == {(4, 6): 3, (4, 8): 1}
    assert report.splits["val"].frequencies.pixels.tolist() == [22, 24]
    assert report.splits["val"].frequencies.ignored == 2


def test_the_frame_has_a_row_for_each_split_and_class(root: Path) -> None:
    frame = check_data("folder", root, progress=False).to_frame()
    assert list(frame.columns) == ["split", "id", "class", "pixels", "share", "images"]
    assert frame["split"].tolist() == ["train", "train", "val", "val"]
    assert frame["class"].tolist() == ["road", "car"] * 2
    assert frame["pixels"].tolist() == [33, 36, 22, 24]
    assert frame["share"].tolist() == pytest.approx([33 / 69, 36 / 69, 22 / 46, 24 / 46])
    assert frame["images"].tolist() == [3, 3, 2, 2]


def test_a_sound_report_reads_well(root: Path) -> None:
    _add(root, "train", "wide", size=(4, 8))
    assert str(check_data("folder", root, progress=False)).splitlines() == [
        f"folder at {root}: 2 classes, no problems",
        "  train    4 sound images: 6x4 (3), 8x4 (1)",
        "  val      2 sound images: 6x4",
        "",
        "% of labelled         train       val",
        "  road               48.000    47.826",
        "  car                52.000    52.174",
        "  ignored, of all     3.846     4.167",
    ]


def test_a_report_with_problems_lists_them(root: Path) -> None:
    (root / "labels" / "val" / "d.png").unlink()
    (root / "labels" / "val" / "e.png").write_bytes(b"")
    lines = str(check_data("folder", root, progress=False)).splitlines()
    assert lines[0] == f"folder at {root}: 2 classes, 2 problems"
    assert lines[2] == "  val      no sound images; 2 problems"
    assert "  road               47.826         -" in lines
    assert lines[-3:] == [
        "Problems:",
        f"  {root}/images/val/d.png: image without label: {root}/labels/val/d.png does not exist",
        f"  {root}/labels/val/e.png: is empty (0 bytes)",
    ]


def test_every_problem_is_found_in_one_go(root: Path) -> None:
    (root / "labels" / "train" / "a.png").unlink()
    (root / "images" / "train" / "b.png").unlink()
    _add(root, "train", "size", label=np.zeros((4, 5), dtype=np.uint8))
    _add(root, "train", "id", label=np.full((4, 6), 2, dtype=np.uint8))
    _add(root, "train", "alpha", label=np.zeros((4, 6, 4), dtype=np.uint8))
    _add(root, "val", "deep", label=np.zeros((4, 6), dtype=np.uint16))
    _add(root, "val", "cut", size=(60, 80))
    for folder in ("images", "labels"):
        path = root / folder / "val" / "cut.png"
        path.write_bytes(path.read_bytes()[:-30])
    report = check_data("folder", root, progress=False)
    expected = [
        "images/train/a.png: image without label",
        "labels/train/b.png: label without image",
        "labels/train/alpha.png: has mode RGBA; labels are 8-bit",
        "labels/train/id.png: label id 2 outside the classes",
        "labels/train/size.png: the label is 5x4, but its image",
        "images/val/cut.png: cannot be decoded",
        "labels/val/cut.png: cannot be decoded",
        "labels/val/deep.png: has mode I;16; labels are 8-bit",
    ]
    assert len(report.problems) == len(expected)
    for problem, start in zip(report.problems, expected, strict=True):
        assert problem.startswith(f"{root}/{start}"), problem
    assert not report.ok
    # What is sound is counted none the less: c of train, d and e of val.
    assert [part.count for part in report.splits.values()] == [1, 2]
    assert report.splits["train"].frequencies.pixels.tolist() == [11, 12]


def test_a_file_whose_end_is_missing_is_a_problem(root: Path) -> None:
    path = root / "labels" / "val" / "d.png"
    path.write_bytes(path.read_bytes()[:-14])
    Folder(root, "val")[0]
    (problem,) = _problems(root)
    assert problem.startswith(f"{path}: cannot be decoded")


def test_an_empty_split_is_a_problem(root: Path) -> None:
    (root / "images" / "test").mkdir()
    report = check_data("folder", root, progress=False)
    assert report.problems == (f"{root}: split 'test' is empty",)
    assert report.splits["test"].count == 0


def test_a_split_that_cannot_be_opened_is_a_problem(root: Path) -> None:
    (root / "val.txt").write_text("d\nd\n")
    report = check_data("folder", root, progress=False)
    assert report.problems == (f"{root}/val.txt: line 2 names 'd' again, after line 1",)
    assert report.splits["train"].count == 3


def test_a_file_in_two_splits_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "classes.toml").write_text(CLASSES)
    for name in "abc":
        _add(tmp_path, "", name)
    (tmp_path / "train.txt").write_text("a\nb\n")
    (tmp_path / "val.txt").write_text("b\nc\n")
    assert _problems(tmp_path) == (f"{tmp_path}/images/b.png: used twice: by train and val",)
    report = check_data("folder", tmp_path, splits=["train", "val", "trainval"], progress=False)
    assert len(report.problems) == 1
    assert report.splits["trainval"].count == 4


def test_nothing_that_can_be_opened_is_an_error(root: Path) -> None:
    (root / "classes.toml").write_text("colour = 3")
    with pytest.raises(DataError, match=r"classes\.toml: key='colour' is not known"):
        check_data("folder", root, progress=False)
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        check_data("folder", root / "nowhere", progress=False)
    with pytest.raises(ValueError, match="root=None: 'folder' is read from files"):
        check_data("folder", progress=False)


def test_which_splits_can_be_chosen(root: Path) -> None:
    assert list(check_data("folder", root, splits=["val", "train"], progress=False).splits) == ["val", "train"]
    assert list(check_data("folder", root, splits="val", progress=False).splits) == ["val"]
    with pytest.raises(ValueError, match="splits='dev' is not known; allowed: train, val, test, trainval"):
        check_data("folder", root, splits=["dev"], progress=False)


def test_a_data_set_is_checked_as_it_is(root: Path) -> None:
    _add(root, "val", "id", label=np.full((4, 6), 2, dtype=np.uint8))
    report = check_data(Folder(root, "val"), progress=False)
    assert list(report.splits) == ["val"]
    assert report.problems[0].startswith(f"{root}/labels/val/id.png: label id 2 outside")
    with pytest.raises(ValueError, match="root, splits and options belong to a name"):
        check_data(Folder(root, "val"), root, progress=False)


def test_sizes_are_those_of_the_files(root: Path) -> None:
    assert check_data(Folder(root, "val", size=(2, 3)), progress=False).splits["val"].sizes == {(4, 6): 2}


def test_a_data_set_in_memory_is_checked(root: Path) -> None:
    memory = InMemory(Folder(root, "train"), progress=False)
    assert check_data(memory, progress=False).ok
    memory.labels[1][0, 0] = 7
    assert check_data(memory, progress=False).problems == ("b: label ids [7] outside the 2 classes",)


class _Faulty(Dataset):
    """Samples of the user's own class that break the rules."""

    name, split, root, licence = "faulty", "train", None, "free"
    classes, names = ("road",), ("sound", "sizes", "file")
    colours = np.zeros((1, 3), dtype=np.uint8)

    def __getitem__(self, index: int) -> Sample:
        if index == 2:
            raise DataError("three.png: is damaged")
        image = torch.zeros((3, 2, 2), dtype=torch.uint8)
        sample = Sample(image=image, label=image[0], name=self.names[index])
        if index == 1:
            # Shapes are checked when a sample is made in a test, but not when one is made in earnest.
            object.__setattr__(sample, "label", sample.label[:, :1])
        return sample


def test_a_sample_that_breaks_the_rules_is_a_problem() -> None:
    report = check_data(_Faulty(), progress=False)
    assert report.problems == (
        "sizes: image (3, 2, 2) and label (2, 1) differ in size",
        "three.png: is damaged",
    )
    assert report.splits["train"].count == 1
    assert str(report).startswith("faulty: 1 class, 2 problems")


def test_the_bar_names_the_split(root: Path, notebook: pytest.CaptureFixture[str]) -> None:
    check_data("folder", root)
    shown = notebook.readouterr().err
    assert "Checking folder train" in shown
    assert "Checking folder val" in shown
    check_data("folder", root, progress=False)
    assert notebook.readouterr().err == ""


def test_scenes_are_checked_by_name() -> None:
    report = check_data("scenes", splits=["val"], progress=False, size=(24, 32), length=2)
    assert report.ok
    assert report.splits["val"].sizes == {(24, 32): 2}


def test_real_frames_are_sound(camvid_root: Path) -> None:
    stated = json.loads((camvid_root / "camvid.json").read_text())["stats"]
    report = check_data("camvid", camvid_root, progress=False)
    assert report.ok
    assert {split: part.count for split, part in report.splits.items()} == {"train": 367, "val": 101, "test": 233}
    for split, part in report.splits.items():
        assert part.sizes == {(360, 480): stated[split]["images"]}
        assert [*part.frequencies.pixels.tolist(), part.frequencies.ignored] == stated[split]["pixels"]


def test_a_real_label_that_is_cut_short_is_found(camvid_root: Path, tmp_path: Path) -> None:
    source = CamVid(camvid_root, "val")
    for pair in source.pairs[:3]:
        for path in (pair.image, pair.label):
            copy = tmp_path / path.relative_to(camvid_root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    label = tmp_path / "labels" / "val" / f"{source.names[1]}.png"
    label.write_bytes(label.read_bytes()[:2000])
    (problem,) = check_data("camvid", tmp_path, splits=["val"], progress=False).problems
    assert problem.startswith(f"{label}: cannot be decoded")
