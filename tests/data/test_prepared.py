from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from data.prepared_source import SIZES, make_folder
from torch.utils.data import DataLoader

from rfkit._checks import DataError
from rfkit.cli import main
from rfkit.data.check import check_data
from rfkit.data.dataset import Dataset
from rfkit.data.opening import open_data
from rfkit.data.prepared import Prepared
from rfkit.data.preparing import prepare_data


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "source")


@pytest.fixture
def folder(source: Path, tmp_path: Path) -> Path:
    prepare_data("folder", source, out=tmp_path / "prepared", progress=False)
    return tmp_path / "prepared"


def _same(first: Dataset, second: Dataset) -> None:
    assert first.names == second.names
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.label, other.label)
        assert one.name == other.name


def _rewrite(folder: Path, change: Callable[[dict], object]) -> None:
    path = folder / "prepared.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("split", ["train", "val", "trainval"])
def test_the_samples_are_those_of_the_source(source: Path, folder: Path, split: str) -> None:
    there, here = open_data("folder", source, split=split), open_data("folder", folder, split=split)
    assert isinstance(here, Prepared)
    _same(here, there)
    assert (here.name, here.split, here.root, here.classes, here.licence, here.note, here.labelled) == (
        "folder", split, folder, there.classes, "ours", "", True,
    )  # fmt: skip
    assert here.colours.tolist() == there.colours.tolist()
    assert here[-1].name == there.names[-1]
    with pytest.raises(IndexError):
        here[len(here)]


def test_trainval_is_not_stored(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["prepared.json", "train.bin", "val.bin"]
    area = sum(height * width for height, width in SIZES["train"])
    assert (folder / "train.bin").stat().st_size == 4 * area


def test_writing_to_a_sample_changes_nothing_else(folder: Path) -> None:
    data = Prepared(folder)
    sample, before = data[0], data[0].image.clone()
    sample.image.zero_()
    assert torch.equal(data[0].image, before)
    assert check_data("folder", folder, progress=False).ok


def test_worker_processes_get_no_pixels(folder: Path) -> None:
    data = Prepared(folder, "val")
    data[0]
    assert len(pickle.dumps(data)) < 2000
    _same(pickle.loads(pickle.dumps(data)), data)
    loader = DataLoader(data, batch_size=None, num_workers=1, multiprocessing_context="fork", collate_fn=_image)
    assert [torch.equal(image, data[index].image) for index, image in enumerate(loader)] == [True, True]


def _image(sample: object) -> torch.Tensor:
    return sample.image


def test_a_damaged_frame_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = bytearray((folder / "train.bin").read_bytes())
    content[4 * 4 * 6 + 7] ^= 1
    (folder / "train.bin").write_bytes(content)
    report = check_data("folder", folder, progress=False)
    assert len(report.problems) == 1
    assert report.problems[0].startswith(f"{folder}/train.bin: frame frame1 is damaged: its CRC-32 is ")
    assert (report.splits["train"].count, report.splits["val"].count) == (4, 2)
    assert main(["data", "check", "--data", "folder", "--root", str(folder)]) == 1
    assert "frame frame1 is damaged" in capsys.readouterr().out


def test_the_name_must_be_that_of_the_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match="holds the prepared data set 'folder', not 'camvid'"):
        open_data("camvid", folder, split="train")
    assert main(["data", "check", "--data", "camvid", "--root", str(folder)]) == 2
    assert "holds the prepared data set 'folder', not 'camvid'" in capsys.readouterr().err


def test_options_belong_to_the_preparation(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"size cannot be given for .*prepared: it is prepared, and read as it is"):
        open_data("folder", folder, split="train", size=(8, 8))


def test_only_what_was_prepared_is_there(source: Path, tmp_path: Path) -> None:
    prepare_data("folder", source, out=tmp_path / "val", splits="val", progress=False)
    for split in ("train", "trainval", "test"):
        with pytest.raises(DataError, match=f"val: split='{split}' is not prepared here; there is val"):
            Prepared(tmp_path / "val", split)
    with pytest.raises(FileNotFoundError, match=r"prepared\.json: no such file"):
        Prepared(source)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.update(format=2), r"json: has format 2; this rfkit reads up to 1: use a newer one"),
        (lambda content: content.pop("format"), r"json: has format=None; it should be a number up to 1"),
        (lambda content: content.pop("licence"), r"json: has licence=None; it should be a str"),
        (lambda content: content["colours"].pop(), r"json: has 1 colours for 2 classes"),
        (lambda content: content["splits"]["train"]["sizes"].pop(), r"json: the table of split 'train' is damaged"),
        (lambda content: content["splits"].update(val={}), r"json: the table of split 'val' is damaged"),
        (lambda content: content["joined"]["trainval"]["names"].pop(), "the table of split 'trainval' is damaged"),
        (lambda content: content["joined"].update(trainval=[1]), "the table of split 'trainval' is damaged"),
        (lambda content: content.update(name="bdd100k"), r"json: names the data set 'bdd100k' and the classes road, "
         "car; those of bdd100k are road, sidewalk"),
    ],
)  # fmt: skip
def test_a_description_that_does_not_fit_is_refused(
    folder: Path, change: Callable[[dict], object], message: str
) -> None:
    _rewrite(folder, change)
    with pytest.raises(DataError, match=message):
        Prepared(folder)


def test_a_file_of_another_length_is_refused(folder: Path) -> None:
    path = folder / "val.bin"
    whole = path.read_bytes()
    data = Prepared(folder, "val")
    path.write_bytes(whole[:-1])
    with pytest.raises(DataError, match=r"val\.bin: is cut short: it has 239 bytes of 240"):
        Prepared(folder, "val")
    with pytest.raises(DataError, match=r"val\.bin: frame frame1 cannot be read"):
        data[1]
    path.write_bytes(whole + b"x")
    with pytest.raises(DataError, match=r"val\.bin: is too long: it has 241 bytes of 240"):
        Prepared(folder, "val")
    path.unlink()
    with pytest.raises(DataError, match=r"val\.bin: cannot be read: No such file"):
        Prepared(folder, "val")
    (folder / "prepared.json").write_text("{")
    with pytest.raises(DataError, match=r"prepared\.json: cannot be read"):
        Prepared(folder, "train")
