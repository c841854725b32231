from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rfkit._checks import DataError
from rfkit.training.checkpoint import CHECKPOINT, DAMAGED, PREVIOUS, DivergenceError, load_checkpoint, save_checkpoint


def _state(step: int, value: float = 1.0) -> dict[str, Any]:
    return {
        "step": step,
        "epoch_loss": 0.5,
        "epoch_seconds": 1.0,
        "log": [{"epoch": 1, "loss": 2.0, "miou": float("nan")}],
        "model": {"weight": torch.full((3,), value), "count": torch.tensor(step)},
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
    }


def test_gives_back_what_it_took(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path) is None
    save_checkpoint(tmp_path, _state(7))
    loaded = load_checkpoint(tmp_path)
    assert loaded["step"] == 7
    assert torch.equal(loaded["model"]["weight"], torch.ones(3))
    assert torch.equal(loaded["optimizer"]["state"][0]["momentum_buffer"], torch.ones(3))
    assert loaded["optimizer"]["param_groups"] == _state(7)["optimizer"]["param_groups"]
    assert (loaded["epoch_loss"], loaded["log"][0]["loss"]) == (0.5, 2.0)


def test_keeps_the_previous_one_and_nothing_else(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, _state(step))
    assert sorted(path.name for path in tmp_path.iterdir()) == [PREVIOUS, CHECKPOINT]
    assert load_checkpoint(tmp_path)["step"] == 3
    (tmp_path / CHECKPOINT).unlink()  # as after a kill between the two renames
    assert load_checkpoint(tmp_path)["step"] == 2


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "other", "one bit"])
def test_a_damaged_file_falls_back_to_the_previous(tmp_path: Path, damage: str) -> None:
    save_checkpoint(tmp_path, _state(1))
    save_checkpoint(tmp_path, _state(2))
    _damage(tmp_path / CHECKPOINT, damage)
    with pytest.warns(UserWarning, match=rf"{CHECKPOINT} \(.*\) is damaged; going on from .*{PREVIOUS}, step 1"):
        assert load_checkpoint(tmp_path)["step"] == 1


def test_a_damaged_file_never_takes_the_place_of_the_previous(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path, _state(1))
    save_checkpoint(tmp_path, _state(2))
    _damage(tmp_path / CHECKPOINT, "one bit")
    with pytest.warns(UserWarning, match=f"The damaged file is {DAMAGED} now"):
        load_checkpoint(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [DAMAGED, PREVIOUS]
    # Killed just before the new file gets its name, or after.
    save_checkpoint(tmp_path, _state(3))
    assert load_checkpoint(tmp_path)["step"] == 3
    (tmp_path / CHECKPOINT).unlink()
    assert load_checkpoint(tmp_path)["step"] == 1


@pytest.mark.parametrize(("place", "bit"), [(10, 8), (38, 0x10)], ids=["compression", "folder"])
def test_a_damaged_list_of_parts_is_noticed(tmp_path: Path, place: int, bit: int) -> None:
    path = save_checkpoint(tmp_path, _state(1))
    content = bytearray(path.read_bytes())
    # The entry of the first tensor ends in its name, and begins 46 bytes before it.
    entry = content.rindex(b"archive/data/0") - 46
    assert content[entry : entry + 4] == b"PK\x01\x02"
    content[entry + place] ^= bit
    path.write_bytes(content)
    with pytest.raises(DataError, match="list of parts is damaged"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("kind", ["cut", "one bit"])
def test_damage_anywhere_is_noticed_or_harmless(tmp_path: Path, kind: str) -> None:
    content = save_checkpoint(tmp_path, _state(1)).read_bytes()
    generator = np.random.default_rng(0)
    noticed = 0  # or seen to be harmless
    for place in generator.choice(len(content), 200, replace=False).tolist():
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(generator.integers(8))
        (tmp_path / CHECKPOINT).write_bytes(content[:place] if kind == "cut" else damaged)
        try:
            state = load_checkpoint(tmp_path)
        except DataError as error:
            noticed += f"{tmp_path}: no checkpoint can be read: {tmp_path / CHECKPOINT} (" in str(error)
        else:
            noticed += kind == "one bit"
            # A date in the archive, or what fills it up: all that counts is unchanged.
            assert torch.equal(state.pop("model")["weight"], torch.ones(3))
            assert torch.equal(state["optimizer"]["state"][0]["momentum_buffer"], torch.ones(3))
            assert (state["step"], state["epoch_loss"], state["log"][0]["loss"]) == (1, 0.5, 2.0)
    assert noticed == 200


def test_two_damaged_files_are_an_error_that_names_both(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, _state(1))
    save_checkpoint(tmp_path, _state(2))
    _damage(tmp_path / CHECKPOINT, "truncated")
    _damage(tmp_path / PREVIOUS, "text")
    with pytest.raises(DataError, match=rf"^{tmp_path}: no checkpoint can be read: .*{CHECKPOINT} .*{PREVIOUS} "):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("archive", [True, False])
def test_no_code_is_executed(tmp_path: Path, archive: bool) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    content = {**_state(1), "format": 1, "trap": Trap()}
    torch.save(content, tmp_path / CHECKPOINT, _use_new_zipfile_serialization=archive)
    with pytest.raises(DataError, match="never loaded: it could run code" if archive else "not a checkpoint at all"):
        load_checkpoint(tmp_path)
    assert not (tmp_path / "sprung").exists()
    # The trap works: read carelessly, the file does execute code.
    torch.load(tmp_path / CHECKPOINT, weights_only=False)
    assert (tmp_path / "sprung").exists()


def test_weights_that_are_not_finite_never_replace_good_ones(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, _state(1))
    for value in (float("nan"), float("inf")):
        with pytest.raises(DivergenceError, match=f"weight holds values that are not finite; .*{CHECKPOINT} was left"):
            save_checkpoint(tmp_path, _state(2, value))
    assert load_checkpoint(tmp_path)["step"] == 1
    assert not (tmp_path / PREVIOUS).exists()


def test_a_later_format_is_never_passed_over(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, _state(1))
    save_checkpoint(tmp_path, _state(2))
    torch.save({"format": 2, "everything": "else"}, tmp_path / CHECKPOINT)
    with pytest.raises(DataError, match=rf"{CHECKPOINT}: is of format 2, from a later version.* Update rfkit to go on"):
        load_checkpoint(tmp_path)
    assert (tmp_path / CHECKPOINT).exists()


def test_a_file_that_may_not_be_read_is_never_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path, _state(1))
    save_checkpoint(tmp_path, _state(2))

    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("zipfile.ZipFile", refuse)  # root may read everything, so it cannot be tried
    with pytest.raises(DataError, match=rf"{CHECKPOINT}: cannot be read \(Permission denied\); make it readable"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": nn.Conv2d(3, 3, 1)}, r"does not belong to this network and recipe: .*Missing key.*weight"),
        ({"optimizer": "adam"}, r"its optimizer has momentum 0\.9, that of the recipe None"),
        ({"weight_decay": 0.5}, r"its optimizer has weight_decay 0\.0005, that of the recipe 0\.5"),
        ({"decay_norms": False}, r"does not belong .*parameter group"),
        ({"ema_decay": 0.9}, "only one of the two has a moving average"),
    ],
    ids=["network", "optimizer", "decay", "groups", "average"],
)
def test_a_checkpoint_of_another_run_is_an_error(
    run: Any, tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    other = run(stop_after=1).out / CHECKPOINT
    out = run(out=tmp_path / "own", stop_after=1, **arguments).out
    (out / CHECKPOINT).write_bytes(other.read_bytes())
    with pytest.raises(DataError, match=message):
        run(out=out, **arguments)
    assert (out / CHECKPOINT).read_bytes() == other.read_bytes()


def _damage(path: Path, kind: str) -> None:
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_bytes(b"not a checkpoint at all")
    elif kind == "one bit":
        # In a number of a tensor, where torch.load itself sees nothing.
        content = bytearray(path.read_bytes())
        content[content.index(torch.ones(3).numpy().tobytes())] ^= 1
        path.write_bytes(content)
        torch.load(path, weights_only=True)
    else:
        path.write_bytes(pickle.dumps({"some": "dictionary"}, protocol=2))
