"""Files that cannot be written: the run stops and says so, and nothing that was there is lost."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from rfkit.cli import main
from rfkit.data import scenes
from rfkit.training.checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint
from rfkit.training.folder import LOCK, LOG_COLUMNS, unwritten
from rfkit.training.run import RunResult

Run = Callable[..., RunResult]


@contextmanager
def _files_of_at_most(size: int) -> Iterator[None]:
    """Let a write past so many bytes of a file fail, as one on a full disk does."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


@contextmanager
def _small_disk(folder: Path, size: int) -> Iterator[None]:
    """Mount a disk of so many bytes at `folder`."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this user may not mount a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _bytes(result: RunResult) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in result.model.state_dict().items()}


def test_a_checkpoint_that_does_not_fit_leaves_the_one_before(run: Run, tmp_path: Path) -> None:
    whole = run(out=tmp_path / "whole", optimizer="adam")
    out = run(stop_after=1, optimizer="adam").out
    names = sorted(path.name for path in out.iterdir())
    size = (out / CHECKPOINT).stat().st_size
    with (
        _files_of_at_most(size - 100),
        pytest.raises(
            OSError, match=rf"^{out / CHECKPOINT} could not be written: File too large \(.* MB free, "
        ) as caught,
    ):
        run(optimizer="adam", checkpoint_minutes=0)
    assert f"about {size / 1e6:,.2f} MB needed). The checkpoint of step 3 is intact: to go on, make room and" in str(
        caught.value
    )
    assert sorted(path.name for path in out.iterdir()) == names, "nothing half written is left"
    assert load_checkpoint(out)["step"] == 3
    assert _bytes(run(optimizer="adam")) == _bytes(whole)


@pytest.mark.parametrize(
    ("name", "room"),
    [("recipe.json", 100), ("checkpoint.pt", 5_000), ("weights.safetensors", 100_000), ("log.csv", 100_000)],
)
def test_any_file_that_does_not_fit_is_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, room: int
) -> None:
    whole = run(out=tmp_path / "whole")
    out = tmp_path / "run"
    with monkeypatch.context() as patched:
        if name == "weights.safetensors":
            patched.setattr("rfkit.models.weights.to_safetensors", lambda *_, **__: bytes(2 * room))
        if name == "log.csv":
            patched.setattr("rfkit.training.folder.LOG_COLUMNS", ["x" * 2 * room, *LOG_COLUMNS])
        with (
            _files_of_at_most(room),
            pytest.raises(OSError, match=f"^{out / name} could not be written: File too large"),
        ):
            run(out=out, checkpoint_minutes=0)
    assert not [path for path in out.iterdir() if path.name.startswith(".") and path.name != LOCK]
    assert _bytes(run(out=out)) == _bytes(whole)


def test_a_full_disk(run: Run, tmp_path: Path) -> None:
    whole = run(out=tmp_path / "whole")
    with _small_disk(tmp_path / "disk", 256 * 1024):
        out = run(out=tmp_path / "disk" / "run", stop_after=1).out
        free = shutil.disk_usage(out).free
        filler = tmp_path / "disk" / "filler"
        filler.write_bytes(bytes(free - 4096))
        with pytest.raises(
            OSError, match=r"could not be written: No space left on device \(.* MB free.* step \d is intact"
        ):
            run(out=out, checkpoint_minutes=0)
        filler.unlink()
        assert _bytes(run(out=out)) == _bytes(whole)


@pytest.mark.parametrize("room", [0, 100_000, 900_000])
def test_a_large_checkpoint_fails_with_the_reason_wherever_the_disk_is_full(tmp_path: Path, room: int) -> None:
    state = {"step": 1, "epoch_loss": 0.0, "epoch_seconds": 0.0, "log": [], "optimizer": {}}
    with (
        # torch raises an error of its own archive where a write in the middle fails.
        _files_of_at_most(room),
        pytest.raises(OSError, match=rf"File too large: '{tmp_path / CHECKPOINT}'"),
    ):
        save_checkpoint(tmp_path, {**state, "model": {"first": torch.ones(125_000), "second": torch.ones(125_000)}})
    assert not list(tmp_path.iterdir())


def test_events_that_do_not_fit_stop_the_run_too(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensorboard = pytest.importorskip("torch.utils.tensorboard")

    def fail(*arguments: Any) -> None:
        # As tensorboard does, in the call after the one that did not fit.
        raise OSError(errno.ENOSPC, "No space left on device")

    whole = run(out=tmp_path / "whole")
    with monkeypatch.context() as patched:
        for name in ("add_scalar", "close"):
            patched.setattr(tensorboard.SummaryWriter, name, fail)
        with pytest.raises(OSError, match=r"run could not be written: No space left on device.* step 2 is intact"):
            run(tensorboard=True, checkpoint_minutes=0)
    assert _bytes(run(tensorboard=True)) == _bytes(whole)


def test_the_command_says_it_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(scenes._LENGTHS, "train", 2)
    out = tmp_path / "run"
    command = ["train", "--model", "dwrseg_b", "--data", "scenes", "--split", "train", "--out", str(out)]
    for setting in ("batch_size=2", "frame_size=[32,32]", "crop_size=[32,32]"):
        command += ["--set", setting]
    with _files_of_at_most(100_000):
        assert main([*command, "--option", "blocks=[1,1,1]", "--epochs", "1"]) == 2
    shown = capsys.readouterr().err.splitlines()
    assert shown[-1].startswith(f"rfkit: error: {out / CHECKPOINT} could not be written: File too large (")
    assert shown[-1].endswith("to go on, make room and make the same call again.")
    assert len([line for line in shown if "rfkit" in line]) == 1


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_another_reason_is_said_without_talk_of_room(tmp_path: Path, number: int) -> None:
    error = unwritten(OSError(number, os.strerror(number), str(tmp_path / "log.csv")), tmp_path, step=-1)
    assert str(error) == (
        f"{tmp_path / 'log.csv'} could not be written: {os.strerror(number)}. What was in the folder before is intact: "
        "to go on, put that right and make the same call again."
    )
