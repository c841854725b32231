from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rfkit._checks import DataError
from rfkit.data.camvid import CamVid, segnet_split
from rfkit.data.classes import CAMVID_CLASSES, CAMVID_ORIGINAL

# Names for small stand-ins of the layouts that come with lists; not in alphabetical order, so that order is seen.
NAMES = {"train": ("b", "a", "c"), "val": ("e", "d"), "test": ("f",)}


def _image(number: int) -> np.ndarray:
    return np.full((8, 12, 3), 10 * number, dtype=np.uint8)


def _label(number: int) -> np.ndarray:
    """All 12 values, and more of one of them."""
    label = np.full((8, 12), number % 12, dtype=np.uint8)
    label[0] = np.arange(12)
    return label


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def _compact(root: Path) -> Path:
    for split, names in NAMES.items():
        for number, name in enumerate(names):
            _save(root / "images" / split / f"{name}.jpg", _image(number))
            _save(root / "labels" / split / f"{name}.png", _label(number))
        (root / f"{split}.txt").write_text("\n".join(names) + "\n")
    (root / "trainval.txt").write_text("\n".join(NAMES["train"] + NAMES["val"]) + "\n")
    return root


def _segnet(root: Path) -> Path:
    for split, names in NAMES.items():
        for number, name in enumerate(names):
            _save(root / split / f"{name}.png", _image(number))
            _save(root / f"{split}annot" / f"{name}.png", _label(number))
        lines = [f"/SegNet/CamVid/{split}/{name}.png /SegNet/CamVid/{split}annot/{name}.png" for name in names]
        (root / f"{split}.txt").write_text("\n".join(lines) + "\n\n")
    return root


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All 701 frames of the original layout, alike: 12x8, with the 32 colours at the start of the first rows."""
    root = tmp_path_factory.mktemp("original")
    colours = [colour for colour, _ in CAMVID_ORIGINAL.values()]
    label = np.zeros((8, 12, 3), dtype=np.uint8)
    label[:4, :8] = np.array(colours, dtype=np.uint8).reshape(4, 8, 3)
    _save(root / "701_StillsRaw_full" / "first.png", _image(7))
    _save(root / "LabeledApproved_full" / "first.png", label)
    for folder, ending in (("701_StillsRaw_full", ""), ("LabeledApproved_full", "_L")):
        content = (root / folder / "first.png").read_bytes()
        (root / folder / "first.png").unlink()
        for name in segnet_split("trainval") + segnet_split("test"):
            (root / folder / f"{name}{ending}.png").write_bytes(content)
    return root


@pytest.mark.parametrize("build", [_compact, _segnet])
def test_listed_layouts_give_their_splits_in_order(tmp_path: Path, build: Callable[[Path], Path]) -> None:
    root = build(tmp_path)
    for split, names in {**NAMES, "trainval": NAMES["train"] + NAMES["val"]}.items():
        data = CamVid(root, split)
        assert data.names == names
        assert (data.name, data.split, data.root) == ("camvid", split, root)
        assert data.layout == build.__name__[1:]
    sample = CamVid(root, "train")[2]
    assert sample.name == "c"
    assert sample.image.shape == (3, 8, 12)
    assert torch.equal(sample.image, torch.full((3, 8, 12), 20, dtype=torch.uint8))
    assert sample.label[0].tolist() == [*range(11), 255]
    assert sample.label[1:].unique().tolist() == [2]


@pytest.mark.parametrize("build", [_compact, _segnet])
def test_without_lists_the_folders_are_the_splits(tmp_path: Path, build: Callable[[Path], Path]) -> None:
    root = build(tmp_path)
    for path in root.glob("*.txt"):
        path.unlink()
    assert CamVid(root, "train").names == ("a", "b", "c")
    assert CamVid(root, "trainval").names == ("a", "b", "c", "d", "e")


def test_segnet_lists_of_other_machines_are_understood(tmp_path: Path) -> None:
    root = _segnet(tmp_path)
    lines = [r"C:\data\CamVid\train\a.png C:\data\CamVid\trainannot\a.png", "train/c.png trainannot/c.png"]
    (root / "train.txt").write_text("\r\n".join(lines), encoding="utf-8-sig")
    assert CamVid(root, "train").names == ("a", "c")
    # The lists of 2015 name labels otherwise than images.
    shutil.move(root / "trainannot" / "a.png", root / "trainannot" / "trainannot_00001.png")
    (root / "train.txt").write_text("/SegNet/CamVid/train/a.png /SegNet/CamVid/trainannot/trainannot_00001.png\n")
    assert CamVid(root, "train").pairs[0].label.name == "trainannot_00001.png"


def test_a_list_line_without_a_label_is_an_error(tmp_path: Path) -> None:
    root = _segnet(tmp_path)
    (root / "val.txt").write_text("/a/val/d.png /a/valannot/d.png\n/a/val/e.png\n")
    with pytest.raises(DataError, match=r"val\.txt: line 2 is '/a/val/e\.png'; it should hold the path of an image"):
        CamVid(root, "val")
    (root / "val.txt").write_text("d.png d.png\n")
    with pytest.raises(DataError, match=r"val\.txt: line 1 is 'd\.png d\.png'"):
        CamVid(root, "val")


def test_a_list_that_names_a_frame_twice_is_an_error(tmp_path: Path) -> None:
    (_compact(tmp_path) / "train.txt").write_text("a\nb\na\n")
    with pytest.raises(DataError, match=r"train\.txt: line 3 names 'a' again, after line 1"):
        CamVid(tmp_path, "train")


def test_a_list_that_is_not_text_is_an_error(tmp_path: Path) -> None:
    (_compact(tmp_path) / "train.txt").write_bytes(b"a\n\xff\xfe")
    with pytest.raises(DataError, match=r"train\.txt: is not a text file in UTF-8: .* at byte 2"):
        CamVid(tmp_path, "train")


def test_a_list_may_carry_a_byte_order_mark(tmp_path: Path) -> None:
    (_compact(tmp_path) / "train.txt").write_text("a\r\nb.jpg\r\n", encoding="utf-8-sig")
    assert CamVid(tmp_path, "train").names == ("a", "b")


def test_the_original_layout_needs_no_lists(original: Path) -> None:
    assert [len(CamVid(original, split)) for split in ("train", "val", "test", "trainval")] == [367, 101, 233, 468]
    data = CamVid(original, "val")
    assert data.layout == "original"
    assert data.pairs[0].image == original / "701_StillsRaw_full" / "0016E5_07959.png"
    assert data.pairs[0].label == original / "LabeledApproved_full" / "0016E5_07959_L.png"


def test_the_32_colours_become_11_classes(original: Path) -> None:
    label = CamVid(original, "val")[0].label
    wanted = [255 if into is None else CAMVID_CLASSES.index(into) for _, into in CAMVID_ORIGINAL.values()]
    assert label[:4, :8].flatten().tolist() == wanted
    assert label[4:].unique().tolist() == [255]


def test_a_colour_outside_the_32_is_an_error(original: Path, tmp_path: Path) -> None:
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    pixels = np.zeros((8, 12, 3), dtype=np.uint8)
    pixels[5, 6] = (1, 2, 3)
    _save(tmp_path / "LabeledApproved_full" / "0016E5_07959_L.png", pixels)
    message = r"0016E5_07959_L\.png: colour \(1, 2, 3\) at row 5, column 6 is not one of the 32 label colours"
    with pytest.raises(DataError, match=message):
        CamVid(tmp_path, "val")[0]


def test_frames_are_delivered_in_the_size_asked_for(original: Path) -> None:
    sample = CamVid(original, "val", size=(4, 6))[0]
    assert sample.image.shape == (3, 4, 6)
    assert sample.label.shape == (4, 6)
    assert sample.image.unique().tolist() == [70]
    # Nearest pixel at half size: no class appears that is not in the block it stands for.
    whole = CamVid(original, "val")[0].label.reshape(4, 2, 6, 2).transpose(1, 2).reshape(4, 6, 4)
    assert (whole == sample.label[..., None]).any(dim=-1).all()


def test_the_note_says_how_the_frames_differ(tmp_path: Path, original: Path) -> None:
    root = _compact(tmp_path)
    assert CamVid(root, "val").note == "frames re-encoded as JPEG (lossy)"
    assert CamVid(root, "val", size=(4, 6)).note == "frames re-encoded as JPEG (lossy), resized to 6x4"
    assert CamVid(original, "val").note == ""
    assert CamVid(original, "val", size=(4, 6)).note == "frames resized to 6x4"


@pytest.mark.parametrize("build", [_compact, _segnet])
def test_an_image_without_label_is_an_error(tmp_path: Path, build: Callable[[Path], Path]) -> None:
    root = build(tmp_path)
    label = CamVid(root, "train").pairs[1].label
    label.unlink()
    with pytest.raises(DataError, match=r"a\.(jpg|png): image without label: .*a\.png does not exist"):
        CamVid(root, "train")
    assert CamVid(root, "val").names == NAMES["val"]


@pytest.mark.parametrize("build", [_compact, _segnet])
def test_a_label_without_image_is_an_error(tmp_path: Path, build: Callable[[Path], Path]) -> None:
    root = build(tmp_path)
    CamVid(root, "train").pairs[1].image.unlink()
    with pytest.raises(DataError, match=r"a\.png: label without image: .*a\.(jpg|png) does not exist"):
        CamVid(root, "train")


def test_a_listed_frame_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    (_compact(tmp_path) / "train.txt").write_text("a\nzebra\n")
    with pytest.raises(DataError, match=r"zebra\.jpg: no such file, and no label .*zebra\.png; .*train\.txt names it"):
        CamVid(tmp_path, "train")


def test_the_first_missing_files_are_listed_and_the_rest_counted(original: Path, tmp_path: Path) -> None:
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    for name in segnet_split("val")[:9]:
        (tmp_path / "LabeledApproved_full" / f"{name}_L.png").unlink()
    with pytest.raises(DataError, match=r"(?s)0016E5_07959\.png: image without.*0016E5_07967.*and 4 more such files"):
        CamVid(tmp_path, "val")
    lenient = CamVid(tmp_path, "val", strict=False)
    assert (len(lenient), len(lenient.problems)) == (92, 9)


def test_two_images_of_one_name_are_an_error(tmp_path: Path) -> None:
    root = _compact(tmp_path)
    _save(root / "images" / "train" / "a.png", _image(0))
    with pytest.raises(DataError, match=r"a\.png: has the name of a\.jpg beside it; only the suffix differs"):
        CamVid(root, "train")


def test_an_empty_split_is_an_error(tmp_path: Path) -> None:
    (_compact(tmp_path) / "val.txt").write_text("\n")
    with pytest.raises(DataError, match="split 'val' is empty"):
        CamVid(tmp_path, "val")
    assert len(CamVid(tmp_path, "val", strict=False)) == 0


def test_sizes_that_differ_are_an_error(tmp_path: Path) -> None:
    root = _compact(tmp_path)
    _save(root / "labels" / "train" / "a.png", np.zeros((9, 12), dtype=np.uint8))
    with pytest.raises(
        DataError, match=r"a\.png: the label is 12x9, but its image .*a\.jpg is 12x8 \(width x height\)"
    ):
        CamVid(root, "train")[1]


def test_an_id_outside_the_classes_is_an_error(tmp_path: Path) -> None:
    root = _compact(tmp_path)
    _save(root / "labels" / "train" / "a.png", np.full((8, 12), 12, dtype=np.uint8))
    with pytest.raises(DataError, match=r"a\.png: label id 12 outside the classes .*allowed: 0-10, ignored: 11"):
        CamVid(root, "train")[1]


def test_a_folder_of_no_layout_is_an_error_that_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "notes.txt").touch()
    message = (
        r"holds no layout of CamVid\. Looked for images/ and labels/ \(compact\); train/ and trainannot/ \(segnet\); "
        r"701_StillsRaw_full/ and LabeledApproved_full/ \(original\)\. It holds: notes\.txt, pictures/\.$"
    )
    with pytest.raises(DataError, match=message):
        CamVid(tmp_path, "train")
    for number in range(12):
        (tmp_path / f"more{number}").mkdir()
    with pytest.raises(DataError, match="and 4 more"):
        CamVid(tmp_path, "train")


def test_the_folder_above_a_layout_is_an_error_with_a_hint(tmp_path: Path) -> None:
    _segnet(tmp_path / "CamVid")
    with pytest.raises(DataError, match=r"Its folder CamVid/ does: pass that as root"):
        CamVid(tmp_path, "train")


def test_a_missing_root_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such folder \(root of CamVid\)"):
        CamVid(tmp_path / "nowhere", "train")


def test_an_unknown_split_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="split='training' is not known; allowed: train, val, test, trainval"):
        CamVid(tmp_path, "training")
    with pytest.raises(ValueError, match="split='all' is not known"):
        segnet_split("all")


@pytest.mark.parametrize("size", [(0, 4), (4, -1)])
def test_a_size_below_one_is_an_error(tmp_path: Path, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"size=\(.*\) must be \(height, width\), both at least 1"):
        CamVid(_compact(tmp_path), "val", size=size)


def test_segnets_split_has_its_published_counts() -> None:
    splits = {split: segnet_split(split) for split in ("train", "val", "test")}
    assert {split: len(names) for split, names in splits.items()} == {"train": 367, "val": 101, "test": 233}
    assert len(set().union(*splits.values())) == 701
    assert segnet_split("trainval") == splits["train"] + splits["val"]


def test_segnets_split_is_that_of_the_real_lists(camvid_root: Path) -> None:
    for split in ("train", "val", "test", "trainval"):
        names = tuple((camvid_root / f"{split}.txt").read_text().split())
        assert segnet_split(split) == names
        assert CamVid(camvid_root, split).names == names


def test_real_frames_have_the_classes_of_the_pack(camvid_root: Path) -> None:
    content = json.loads((camvid_root / "camvid.json").read_text())
    data = CamVid(camvid_root, "test")
    assert list(data.classes) == content["classes"]
    assert data.colours.tolist() == content["colours_rgb"][:11]
    assert content["ignore_index"] == 11
    sample = data[0]
    assert list(sample.image.shape[1:]) == list(sample.label.shape) == content["size_hw"]
    assert set(sample.label.unique().tolist()) <= {*range(11), 255}
