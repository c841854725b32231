from __future__ import annotations

from pathlib import Path

import pytest

from rfkit.data.camvid import CamVid
from rfkit.data.folder import Folder
from rfkit.data.opening import open_data
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
