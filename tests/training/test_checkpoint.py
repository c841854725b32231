from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from rfkit._checks import DataError
from rfkit.training.checkpoint import CHECKPOINT, PREVIOUS, DivergenceError, load_checkpoint, save_checkpoint


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


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "other"])
def test_a_damaged_file_falls_back_to_the_previous(tmp_path: Path, damage: str) -> None:
    save_checkpoint(tmp_path, _state(1))
    save_checkpoint(tmp_path, _state(2))
    _damage(tmp_path / CHECKPOINT, damage)
    with pytest.warns(UserWarning, match=rf"{CHECKPOINT}.* is damaged; going on from .*{PREVIOUS}, step 1"):
        assert load_checkpoint(tmp_path)["step"] == 1


def test_two_damaged_files_are_an_error_that_names_both(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, _state(1))
    save_checkpoint(tmp_path, _state(2))
    _damage(tmp_path / CHECKPOINT, "truncated")
    _damage(tmp_path / PREVIOUS, "text")
    with pytest.raises(DataError, match=rf"^{tmp_path}: no checkpoint can be read: .*{CHECKPOINT} .*{PREVIOUS} "):
        load_checkpoint(tmp_path)


def test_no_code_is_executed(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    torch.save({**_state(1), "format": 1, "trap": Trap()}, tmp_path / CHECKPOINT)
    with pytest.raises(DataError, match="no checkpoint can be read"):
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


def test_a_later_format_says_so(tmp_path: Path) -> None:
    torch.save({**_state(1), "format": 2}, tmp_path / CHECKPOINT)
    with pytest.raises(DataError, match="format 2, this version reads 1"):
        load_checkpoint(tmp_path)


def _damage(path: Path, kind: str) -> None:
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_bytes(b"not a checkpoint at all")
    else:
        path.write_bytes(pickle.dumps({"some": "dictionary"}, protocol=2))
