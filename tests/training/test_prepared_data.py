"""Training from a prepared folder is training from the data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rfkit.data.prepared import Prepared
from rfkit.data.preparing import prepare_data
from rfkit.training.run import RunResult


@pytest.mark.parametrize("workers", [0, 1])
def test_the_weights_are_the_same(
    run: Callable[..., RunResult],
    patches: type,
    tmp_path: Path,
    workers: int,
) -> None:
    expected = run(out=tmp_path / "source").model.state_dict()
    data = prepare_data(patches(), out=tmp_path / "prepared", progress=False)["train"]
    found = run(data=data, out=tmp_path / "run", workers=workers).model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert Prepared(tmp_path / "prepared")[0].image.float().mean() > 0


def test_a_run_goes_on_from_the_prepared_folder(run: Callable[..., RunResult], patches: type, tmp_path: Path) -> None:
    data = prepare_data(patches(), out=tmp_path / "prepared", progress=False)["train"]
    run(stop_after=1)
    assert run(data=data).epochs == 3
