"""Scores without branches: against evaluation one by one, a network made by hand, and resampling in a plain loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rfkit._checks import DataError
from rfkit.analysis.branch_removal import branch_means, without_branches
from rfkit.data.dataset import Dataset, Sample
from rfkit.data.opening import open_data
from rfkit.data.transforms import normalize, resample
from rfkit.metrics import ConfusionMatrix
from rfkit.models.registry import create_model
from rfkit.results.base import Result
from rfkit.results.removal import BranchRemoval, Removal
from rfkit.studies import removal as module
from rfkit.studies.prefixes import Prefixes
from rfkit.studies.removal import branch_removal
from rfkit.training.evaluation import evaluate

COLUMNS = ["stage", "block", "branch", "dilation", "class", "iou", "drop", "low", "high", "images"]


class Shifted(Dataset):
    """Black and white pixels; the class of a pixel is the colour of the one three columns to its left."""

    name, split, root, licence = "shifted", "val", None, "none needed"
    classes = ("dark", "bright")
    colours = np.array([(0, 0, 0), (255, 255, 255)], dtype=np.uint8)

    def __init__(self, count: int = 5, *, alike: bool = False) -> None:
        self.names, self.alike = tuple(map(str, range(count))), alike

    def __getitem__(self, index: int) -> Sample:
        if index >= len(self):
            raise IndexError(index)
        generator = torch.Generator().manual_seed(0 if self.alike else index)
        bright = torch.rand(8, 12, generator=generator) < 0.3
        label = bright.roll(3, 1).to(torch.uint8)
        label[:, :3] = 255
        return Sample((255 * bright).to(torch.uint8).expand(3, -1, -1).contiguous(), label, str(index))


class Looking(nn.Module):
    """Two branches; only the one with dilation rate 3 reads the pixel that decides."""

    def __init__(self) -> None:
        super().__init__()
        self.near = nn.Conv2d(3, 2, 3, padding=1, bias=False)
        self.far = nn.Conv2d(3, 2, 3, padding=3, dilation=3, bias=False)
        self.merge = nn.Conv2d(4, 2, 1, bias=False)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.zero_()
            self.near.weight[0, 0, 1, 1] = 1
            self.far.weight[0, 0, 1, 0] = 1
            self.merge.weight[1, 2] = 1

    def forward(self, x: Tensor) -> Tensor:
        return self.merge(torch.cat([self.near(x), self.far(x)], dim=1))


def small_probe(classes: int) -> nn.Module:
    model = create_model("probe_dwrseg_l", num_classes=classes, seed=0, blocks=(2, 1, 1))
    # Far from its beginnings, so that every branch matters.
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    return model


def scenes(length: int = 3) -> Dataset:
    return open_data("scenes", split="val", size=(32, 64), length=length)


@pytest.mark.parametrize(("level", "size"), [("stage", None), ("block", (24, 40))])
def test_the_counts_are_those_of_an_evaluation_without_the_branches(level: str, size: tuple[int, int] | None) -> None:
    data = scenes()
    model = small_probe(data.num_classes).train()
    result = branch_removal(model, data, level=level, size=size, batch_size=2, resamples=20, progress=False)
    images = [normalize(sample.image) for sample in data]
    means = branch_means(model, [image if size is None else resample(image, size) for image in images], batch_size=2)
    options: dict[str, Any] = {"size": size, "batch_size": 2, "progress": False}
    np.testing.assert_array_equal(result.confusion[0].sum(0), evaluate(model, data, **options).confusion)
    assert len(result.removals) == (9 if level == "stage" else 12)
    assert result.intact()[""] == evaluate(model, data, **options).miou
    for number, removal in enumerate(result.removals):
        taken = [
            (block.block, block.dilations.index(removal.dilation))
            for block in means.blocks
            if block.stage == removal.stage and removal.block in ("", block.block)
        ]
        assert removal.branches == len(taken)
        with without_branches(model, taken, means=means):
            scores = evaluate(model, data, **options)
        np.testing.assert_array_equal(result.confusion[1 + number].sum(0), scores.confusion)
        assert (scores.confusion != result.confusion[0].sum(0)).any()
    assert model.training
    assert all(not child._forward_hooks and not child._forward_pre_hooks for child in model.modules())


def test_a_decisive_branch_and_one_that_does_nothing() -> None:
    data = Shifted()
    result = branch_removal(Looking(), data, resamples=50, progress=False, stages={"only": "*"})
    frame = result.to_frame()
    assert list(frame.columns) == COLUMNS
    assert frame["branch"].tolist() == ["d1"] * 3 + ["d3"] * 3
    assert frame["class"].tolist() == ["", "dark", "bright"] * 2
    near, far = frame[frame["dilation"] == 1], frame[frame["dilation"] == 3]
    assert near["iou"].tolist() == [1, 1, 1]
    assert near[["drop", "low", "high"]].to_numpy().tolist() == [[0, 0, 0]] * 3
    # Held at its mean, which is below zero in normalised values, the decisive branch says dark everywhere.
    labels = torch.cat([sample.label[sample.label != 255] for sample in data])
    dark = float((labels == 0).float().mean())
    np.testing.assert_allclose(far["iou"], [dark / 2, dark, 0], rtol=1e-6)
    np.testing.assert_allclose(far["drop"], [1 - dark / 2, 1 - dark, 1], rtol=1e-6)
    assert (far["low"] <= far["drop"]).all()
    assert (far["drop"] <= far["high"]).all()
    assert far["low"].iloc[1] < far["high"].iloc[1]
    assert set(frame["images"]) == {5}


def test_images_that_are_all_alike_leave_no_doubt() -> None:
    frame = branch_removal(Looking(), Shifted(alike=True), resamples=50, progress=False).to_frame()
    np.testing.assert_allclose(frame["low"], frame["drop"], atol=1e-12)
    np.testing.assert_allclose(frame["high"], frame["drop"], atol=1e-12)


def test_the_interval_is_that_of_a_loop_over_resamples() -> None:
    generator = np.random.default_rng(3)
    counts = generator.integers(0, 9, (3, 6, 3, 3))
    counts[:, 1:, 2] = counts[:, 1:, :, 2] = 0  # A class that one image alone holds.
    steps = tuple(Removal("s", "", f"d{rate}", rate, 1) for rate in (1, 3))
    result = BranchRemoval("stage", steps, ("s",), ("a", "b", "c"), counts, "x", "val", None, "fp32", "x", 200, 7)
    again = np.random.default_rng(7)
    drawn = again.multinomial(6, np.full(6, 1 / 6), size=200)

    def ious(network: int, weights: np.ndarray) -> list[float]:
        confusion = ConfusionMatrix(3)
        for image, times in enumerate(weights):
            for _ in range(times):
                other = ConfusionMatrix(3)
                other._counts = torch.from_numpy(counts[network, image])
                confusion = confusion + other
        return [confusion.miou(), *confusion.class_iou()]

    drops = [[np.subtract(ious(0, row), ious(1 + step, row)) for row in drawn] for step in range(2)]
    frame = result.to_frame()
    with np.errstate(invalid="ignore"):
        low, high = np.nanpercentile(np.array(drops), (2.5, 97.5), axis=1)
    np.testing.assert_allclose(frame["low"], low.ravel())
    np.testing.assert_allclose(frame["high"], high.ravel())
    assert np.isnan(np.array(drops)).any()


def test_means_may_come_from_other_images() -> None:
    data = Shifted()
    own = branch_removal(Looking(), data, resamples=2, progress=False)
    assert own.calibration == "shifted val, 5 images"
    # Bright images: held at that mean, the branch says bright everywhere.
    bright = torch.full((2, 3, 8, 12), 255, dtype=torch.uint8)
    other = branch_removal(Looking(), data, calibration=bright, resamples=2, progress=False)
    assert other.calibration == "images given, 2 images"
    frame = other.to_frame()
    assert frame[(frame["branch"] == "d3") & (frame["class"] == "dark")]["iou"].item() == 0
    again = branch_removal(Looking(), data, calibration=Shifted(2), resamples=2, progress=False)
    assert again.calibration == "shifted val, 2 images"


def test_an_interruption_leaves_the_model_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Looking().train()

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module._Run, "_matrices", stop)
    with pytest.raises(KeyboardInterrupt):
        branch_removal(model, Shifted(), progress=False)
    assert model.training
    assert all(not child._forward_hooks and not child._forward_pre_hooks for child in model.modules())


def test_a_result_can_be_stored(tmp_path: Any) -> None:
    result = branch_removal(Looking(), Shifted(), level="block", resamples=5, progress=False, size=(8, 12))
    assert [removal.block for removal in result.removals] == ["merge", "merge"]
    assert Result.load(result.save(tmp_path / "removal.npz")) == result


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"level='layer' is not known; allowed: stage, block"):
        branch_removal(Looking(), Shifted(), level="layer")
    with pytest.raises(ValueError, match=r"precision='fp16' is not known; allowed: fp32, bf16"):
        branch_removal(Looking(), Shifted(), precision="fp16")
    with pytest.raises(ValueError, match=r"resamples=0 must be above 0"):
        branch_removal(Looking(), Shifted(), resamples=0)
    with pytest.raises(ValueError, match=r"shifted val has no samples"):
        branch_removal(Looking(), Shifted(0))
    with pytest.raises(ValueError, match=r"no parallel dilated branches"):
        branch_removal(nn.Conv2d(3, 2, 3), Shifted(), progress=False)
    with pytest.raises(ValueError, match=r"model gives 2 class scores; dataset scenes has"):
        branch_removal(Looking(), scenes(1), progress=False)


class Careless(nn.Module):
    """Overwrites its input, and what a later layer reads is the overwritten one."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 3, 1)
        self.second = nn.ReLU(inplace=True)
        self.third = Looking()

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        self.second(x)
        return self.third(x)


@pytest.mark.parametrize("careless", [False, True])
def test_what_comes_before_is_used_again_only_if_it_is_exact(careless: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    data = Shifted() if careless else scenes(2)
    model = Careless() if careless else small_probe(data.num_classes)
    once = branch_removal(model, data, batch_size=8, resamples=2, progress=False)
    monkeypatch.setattr(Prefixes, "before", lambda *_: {})
    assert branch_removal(model, data, batch_size=8, resamples=2, progress=False) == once


def test_layers_in_front_do_not_run_again() -> None:
    data = scenes(2)
    model = small_probe(data.num_classes)
    runs: list[str] = []
    for name in ("stage2.0", "stage3.0", "stage4.0"):
        merge = dict(model.named_modules())[f"{name}.merge.conv"]
        merge.register_forward_pre_hook(lambda *_, at=name: runs.append(at))
    branch_removal(model, data, resamples=2, progress=False)
    # Each sees the search, the means and the intact network; then trials and removals of its own stage and before.
    assert [runs.count(f"stage{number}.0") for number in (2, 3, 4)] == [3 + 4, 3 + 8, 3 + 12]


def test_a_measurement_goes_on_where_it_was_interrupted(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data, file = Shifted(), tmp_path / "part.npz"
    whole = branch_removal(Looking(), data, batch_size=2, resamples=2, progress=False)
    seen: list[str] = []

    class Watched(Shifted):
        def __getitem__(self, index: int) -> Sample:
            seen.append(str(index))
            return super().__getitem__(index)

    original = module._Run.counts

    def stop(self: Any, samples: Any) -> Any:
        if samples[0].name == "2":
            raise KeyboardInterrupt
        return original(self, samples)

    with monkeypatch.context() as patch:
        patch.setattr(module._Run, "counts", stop)
        with pytest.raises(KeyboardInterrupt):
            branch_removal(Looking(), Watched(), batch_size=2, resamples=2, progress=False, resume=file)
    assert file.exists()
    other = Looking()
    with torch.no_grad():
        other.merge.weight += 1
    with pytest.raises(DataError, match=r"part\.npz: holds another measurement"):
        branch_removal(other, data, batch_size=2, progress=False, resume=file)
    seen.clear()
    assert branch_removal(Looking(), Watched(), batch_size=2, resamples=2, progress=False, resume=file) == whole
    assert seen == ["2", "3", "4"]
    assert not file.exists()


def test_fewer_images_are_spread_evenly() -> None:
    result = branch_removal(Looking(), Shifted(7), limit=3, resamples=2, progress=False)
    whole = branch_removal(Looking(), Shifted(7), resamples=2, progress=False)
    np.testing.assert_array_equal(result.confusion[0], whole.confusion[0][[0, 2, 4]])
    assert result.calibration == "shifted val, 3 images"
    with pytest.raises(ValueError, match=r"limit=0 must be above 0"):
        branch_removal(Looking(), Shifted(), limit=0)
