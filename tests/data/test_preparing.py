from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from data.prepared_source import make_folder
from PIL import Image

from rfkit._checks import DataError
from rfkit.cli import main
from rfkit.data import blocks, preparing
from rfkit.data.folder import Folder
from rfkit.data.opening import open_data
from rfkit.data.prepared import Prepared
from rfkit.data.preparing import prepare_data
from rfkit.data.scenes import Scenes


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "source")


class _Decoded:
    """Which frames were decoded; raises an error at one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        self.stop_at: int | None = None
        read = Folder.__getitem__

        def counted(dataset: Folder, index: int) -> object:
            if len(self.names) == self.stop_at:
                raise KeyboardInterrupt
            self.names.append(f"{dataset.split}/{dataset.names[index]}")
            return read(dataset, index)

        monkeypatch.setattr(Folder, "__getitem__", counted)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> _Decoded:
    return _Decoded(monkeypatch)


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_result_does_not_depend_on_the_workers(source: Path, tmp_path: Path) -> None:
    for workers in (1, 3):
        prepare_data("folder", source, out=tmp_path / str(workers), workers=workers, progress=False)
    assert _content(tmp_path / "1") == _content(tmp_path / "3")
    content = json.loads((tmp_path / "1" / "prepared.json").read_text())
    assert (content["format"], content["name"], content["classes"]) == (1, "folder", ["road", "car"])
    assert content["splits"]["train"]["sizes"] == [[4, 6], [5, 3], [4, 6], [7, 9], [2, 2]]


def test_arguments_are_checked_before_anything_is_read(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparing, "_table", lambda *given, **options: pytest.fail("frames are listed"))
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"out='.*file' is a file; give a folder"):
        prepare_data("folder", source, out=tmp_path / "file")
    with pytest.raises(ValueError, match="workers=-2 must be above 0"):
        prepare_data("folder", source, out=tmp_path / "out", workers=-2)


def test_frames_can_be_resized(source: Path, tmp_path: Path) -> None:
    prepared = prepare_data("folder", source, out=tmp_path / "small", size=(8, 10), splits=["trainval"], progress=False)
    assert list(prepared) == ["train", "val"]
    expected = Folder(source, "trainval", size=(8, 10))
    found = open_data("folder", tmp_path / "small", split="trainval")
    assert found.note == "images resized to 10x8"
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.label, other.label)


def test_a_test_split_without_labels_stores_none(tmp_path: Path) -> None:
    path = tmp_path / "cs/leftImg8bit/test/berlin/berlin_000000_000019_leftImg8bit.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(np.full((4, 6, 3), 7, dtype=np.uint8)).save(path)
    data = prepare_data("cityscapes", tmp_path / "cs", out=tmp_path / "out", progress=False)["test"]
    assert not data.labelled
    assert (tmp_path / "out" / "test.bin").stat().st_size == 3 * 4 * 6
    assert data[0].image.unique().tolist() == [7]
    assert data[0].label.unique().tolist() == [255]


def test_any_data_set_can_be_prepared(tmp_path: Path) -> None:
    scenes = Scenes("val", size=(24, 32), length=3)
    data = prepare_data(scenes, out=tmp_path / "out", progress=False)["val"]
    assert data.names == scenes.names
    assert torch.equal(data[2].image, scenes[2].image)
    assert open_data("scenes", tmp_path / "out", split="val").names == scenes.names


def test_the_same_call_again_does_nothing(source: Path, tmp_path: Path, decoded: _Decoded) -> None:
    prepare_data("folder", source, out=tmp_path / "out", progress=False)
    before = _content(tmp_path / "out")
    assert sorted(decoded.names) == [*(f"train/frame{n}" for n in range(5)), "val/frame0", "val/frame1"]
    decoded.names.clear()
    prepare_data("folder", source, out=tmp_path / "out", progress=False)
    assert (decoded.names, _content(tmp_path / "out")) == ([], before)


def test_splits_can_be_added(source: Path, tmp_path: Path, decoded: _Decoded) -> None:
    prepare_data("folder", source, out=tmp_path / "whole", progress=False)
    prepare_data("folder", source, out=tmp_path / "out", splits="val", progress=False)
    decoded.names.clear()
    prepare_data("folder", source, out=tmp_path / "out", splits="train", progress=False)
    assert len(decoded.names) == 5
    assert _content(tmp_path / "out") == _content(tmp_path / "whole")


@pytest.mark.parametrize("stop_at", range(7))
def test_finished_frames_are_not_decoded_again(source: Path, tmp_path: Path, decoded: _Decoded, stop_at: int) -> None:
    out = tmp_path / "out"
    decoded.stop_at = stop_at
    with pytest.raises(KeyboardInterrupt):
        prepare_data("folder", source, out=out, workers=1, progress=False)
    with pytest.raises(DataError, match=r"out: is not fully prepared \((train|val)\.journal\): make the call"):
        open_data("folder", out, split="train")
    decoded.stop_at = None
    prepare_data("folder", source, out=out, workers=1, progress=False)
    assert len(decoded.names) == len(set(decoded.names)) == 7
    decoded.names.clear()
    prepare_data("folder", source, out=tmp_path / "whole", progress=False)
    assert _content(out) == _content(tmp_path / "whole")


def test_a_frame_that_was_half_written_is_not_taken(source: Path, tmp_path: Path, decoded: _Decoded) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    prepare_data("folder", source, out=whole, splits="train", progress=False)
    decoded.names.clear()
    decoded.stop_at = 3
    with pytest.raises(KeyboardInterrupt):
        prepare_data("folder", source, out=out, splits="train", workers=1, progress=False)
    # What a power failure leaves: the journal is ahead of the pixels, and its last line is cut.
    pixels = bytearray((out / "train.bin").read_bytes())
    pixels[100:110] = bytes(10)
    (out / "train.bin").write_bytes(pixels)
    journal = (out / "train.journal").read_text()
    (out / "train.journal").write_text(journal[:-4] + "\0\0\n\0")
    decoded.stop_at = None
    decoded.names.clear()
    prepare_data("folder", source, out=out, splits="train", progress=False)
    assert sorted(decoded.names) == ["train/frame1", "train/frame2", "train/frame3", "train/frame4"]
    assert _content(out) == _content(whole)


def test_other_files_are_not_mixed_in(source: Path, tmp_path: Path, decoded: _Decoded) -> None:
    out = tmp_path / "out"
    decoded.stop_at = 2
    with pytest.raises(KeyboardInterrupt):
        prepare_data("folder", source, out=out, workers=1, progress=False)
    decoded.stop_at = None
    with pytest.raises(DataError, match=r"train\.journal: was begun from other files or for another size"):
        prepare_data("folder", source, out=out, size=(4, 4), progress=False)
    prepare_data("folder", source, out=out, progress=False)
    with pytest.raises(ValueError, match="holds note='', not 'images resized to 4x4'; give another folder"):
        prepare_data("folder", source, out=out, size=(4, 4), progress=False)
    Image.fromarray(np.zeros((6, 6, 3), dtype=np.uint8)).save(source / "images" / "val" / "frame0.png")
    with pytest.raises(ValueError, match="holds the split 'val' of other files or of another size"):
        prepare_data("folder", source, out=out, progress=False)
    with pytest.raises(ValueError, match="holds name='folder', not 'scenes'"):
        prepare_data("scenes", out=out, splits="val", size=(24, 32), length=2, progress=False)


def test_arguments_are_checked(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="source' is the folder of the data set; give another one"):
        prepare_data("folder", source, out=source / ".." / "source")
    with pytest.raises(ValueError, match="splits='middle' is not known; allowed: train, val, test, trainval"):
        prepare_data("folder", source, out=tmp_path / "out", splits="middle")
    with pytest.raises(ValueError, match="belong to a name; a data set was given"):
        prepare_data(Folder(source), source, out=tmp_path / "out")
    prepare_data("folder", source, out=tmp_path / "out", progress=False)
    with pytest.raises(ValueError, match="out is prepared already; give the folder that the data set came in"):
        prepare_data("folder", tmp_path / "out", out=tmp_path / "again")


def test_a_file_that_cannot_be_read_is_named(source: Path, tmp_path: Path) -> None:
    path = source / "images" / "train" / "frame3.png"
    whole = path.read_bytes()
    path.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"frame3\.png: is not an image"):
        prepare_data("folder", source, out=tmp_path / "out", progress=False)
    path.write_bytes(whole[:-40])
    with pytest.raises(DataError, match=r"frame3\.png: cannot be decoded"):
        prepare_data("folder", source, out=tmp_path / "out", progress=False)
    path.write_bytes(whole)
    # The journal was begun with the damaged file.
    (tmp_path / "out" / "train.journal").unlink()
    prepare_data("folder", source, out=tmp_path / "out", progress=False)


def test_too_little_space_is_said_before_anything_is_decoded(
    source: Path, tmp_path: Path, decoded: _Decoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(preparing.shutil, "disk_usage", lambda path: usage._replace(free=200_000))
    with pytest.raises(OSError, match=r"out: 0\.8 MB are needed, and 0\.2 MB are free; nothing was decoded"):
        prepare_data("folder", source, out=tmp_path / "out", progress=False, size=(100, 280))
    assert decoded.names == []
    assert list((tmp_path / "out").iterdir()) == []


def test_a_disk_that_fills_up_leaves_nothing_that_looks_finished(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write, room = os.pwrite, 300

    def limited(descriptor: int, data: memoryview, offset: int) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = write(descriptor, data[:room], offset)
        room -= written
        return written

    monkeypatch.setattr(blocks.os, "pwrite", limited)
    out = tmp_path / "out"
    command = ["data", "prepare", "--data", "folder", "--root", str(source), "--out", str(out), "--workers", "1"]
    assert main(command) == 2
    assert f"{out}: the disk is full" in capsys.readouterr().err
    assert not (out / "prepared.json").exists()
    room = 10**6
    assert main(command) == 0
    assert "(train 5, val 2 frames)" in capsys.readouterr().out
    for one, other in zip(Prepared(out, "trainval"), Folder(source, "trainval"), strict=True):
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.label, other.label)


_KILLS = """
import os, random, shutil, signal, sys, time
from pathlib import Path
from rfkit.data.preparing import prepare_data

source, folder, kills = sys.argv[1], Path(sys.argv[2]), 0

def prepare(out, after=0.0):
    # A forked process is killed by its alarm, as by kill -9: nothing is tidied up.
    child = os.fork()
    if not child:
        signal.setitimer(signal.ITIMER_REAL, after)
        prepare_data("folder", source, out=out, workers=2, progress=False)
        os._exit(0)
    return os.waitpid(child, 0)[1]

def content(out):
    return {path.name: path.read_bytes() for path in out.iterdir()}

started = time.monotonic()
assert prepare(folder / "whole") == 0
duration, chance, whole = time.monotonic() - started, random.Random(0), content(folder / "whole")
while kills < 100:
    status = prepare(folder / "out", chance.uniform(0.001, duration))
    if status:
        assert os.WTERMSIG(status) == signal.SIGALRM, status
        kills += 1
    else:
        assert content(folder / "out") == whole
        shutil.rmtree(folder / "out")
print(kills)
"""


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on(tmp_path: Path) -> None:
    root, generator = make_folder(tmp_path / "source"), np.random.default_rng(0)
    for number in range(40):
        for kind, shape in (("images", (96, 128, 3)), ("labels", (96, 128))):
            pixels = generator.integers(0, 2, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(root / kind / "train" / f"more{number}.png")
    command = [sys.executable, "-c", _KILLS, str(root), str(tmp_path)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stdout) == (0, "100\n"), finished.stderr
