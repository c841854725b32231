from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rfkit.data.camvid import CamVid
from rfkit.data.folder import Folder
from rfkit.data.opening import open_data, open_image
from rfkit.data.scenes import Scenes


def test_scenes_need_no_root() -> None:
    data = open_data("scenes", split="val", size=(24, 32), length=2)
    assert isinstance(data, Scenes)
    assert (data.split, len(data)) == ("val", 2)
    with pytest.raises(ValueError, match=r"root='here' was given, but 'scenes' reads no files; leave root out"):
        open_data("scenes", "here", split="val")


def test_data_sets_of_files_are_opened_where_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such folder \(root of CamVid\)"):
        open_data("camvid", tmp_path / "nowhere", split="val")
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such folder \(root of the data\)"):
        open_data("folder", tmp_path / "nowhere", split="val")
    for name in ("camvid", "folder"):
        with pytest.raises(ValueError, match=rf"root=None: '{name}' is read from files; give the folder"):
            open_data(name, split="val")


@pytest.mark.parametrize("name", ["ade20k", "CamVid"])
def test_an_unknown_name_is_an_error_that_lists_the_known(name: str) -> None:
    allowed = "camvid, cityscapes, bdd100k, folder, scenes"
    with pytest.raises(ValueError, match=f"name='{name}' is not known; allowed: {allowed}"):
        open_data(name, "here", split="val")


def test_an_unknown_option_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"option='sise' is not known; allowed: size, strict\. Did you mean 'size'"):
        open_data("camvid", "here", split="val", sise=(4, 6))


def test_options_reach_the_data_set(camvid_root: Path) -> None:
    data = open_data("camvid", camvid_root, split="val", size=(36, 48))
    assert isinstance(data, CamVid)
    assert data[0].image.shape == (3, 36, 48)


def test_a_folder_is_opened_by_name(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    (tmp_path / "classes.toml").write_text('[[classes]]\nname = "road"\n')
    data = open_data("folder", tmp_path, split="train", strict=False)
    assert isinstance(data, Folder)
    assert data.classes == ("road",)


def test_an_image_is_taken_in_every_form_in_which_people_have_one(tmp_path: Path) -> None:
    sample = Scenes("test", size=(24, 32), length=1)[0]
    pixels = sample.image.permute(1, 2, 0).numpy()
    file = tmp_path / "street.png"
    Image.fromarray(pixels).save(file)
    for form in (sample.image, sample, pixels, Image.fromarray(pixels), file, str(file)):
        assert torch.equal(open_image(form), sample.image)
    gray = open_image(Image.fromarray(pixels).convert("L"))
    assert gray.shape == (3, 24, 32)
    # What is changed afterwards in the array is not changed in the image.
    assert not np.shares_memory(open_image(pixels).numpy(), pixels)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((3, 24, 32), np.uint8), r"image is an array \(3, 24, 32\) of uint8; allowed: height x width x 3"),
        (np.zeros((24, 32, 3)), r"image is an array \(24, 32, 3\) of float64"),
        (np.zeros((24, 32), np.uint8), r"image is an array \(24, 32\) of uint8"),
    ],
)
def test_an_array_that_is_no_8_bit_image_is_an_error(image: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_image(image)


def test_what_is_no_image_is_an_error_that_lists_what_is() -> None:
    with pytest.raises(TypeError, match="image is a int; allowed: a tensor, a sample of a data set, a file name"):
        open_image(3)
