"""Where figures take their networks and images from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rfkit.data.dataset import Dataset, Sample
from rfkit.data.scenes import Scenes
from rfkit.models.registry import create_model
from rfkit.models.weights import Card, save_weights
from rfkit.paper import context as context_module
from rfkit.paper import training_curves
from rfkit.paper.context import Context, MissingInput


def save(path: Path, *, data: str = "camvid", seed: int = 3, model: str = "dwrseg_b") -> Path:
    options = {"blocks": (1, 1, 1)}
    network = create_model(model, num_classes=11, seed=seed, **options)
    return save_weights(network, path, card=Card(model=model, num_classes=11, options=options, data=data, seed=seed))


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], Path]:
    """What ships, for these tests: nothing until a test adds to it."""
    files: dict[tuple[str, str], Path] = {}
    monkeypatch.setattr(context_module, "packaged_weights", lambda: files)
    return files


def test_missing_weights_are_a_reason_not_an_error(tmp_path: Path, shipped: dict) -> None:
    context = Context(out=tmp_path)
    assert context.weights_file("dwrseg_l") is None
    assert context.weights_hash("dwrseg_l") is None
    for ask in (context.model, context.initial_model, context.card):
        with pytest.raises(MissingInput, match="there are no trained weights of dwrseg_l"):
            ask("dwrseg_l")


@pytest.mark.parametrize("name", ["dwrseg_b-camvid.safetensors", "run/weights.safetensors", "weights.safetensors"])
def test_weights_are_found_in_a_folder_by_their_card(name: str, tmp_path: Path, shipped: dict) -> None:
    path = save(tmp_path / "given" / name)
    save(tmp_path / "other.safetensors")
    for weights in (tmp_path / "given", path):
        context = Context(out=tmp_path, weights=weights)
        assert context.weights_file("dwrseg_b") == path
        assert context.weights_file("dwrseg_l") is None


def test_a_name_that_lies_does_not_matter(tmp_path: Path, shipped: dict) -> None:
    path = save(tmp_path / "dwrseg_l-camvid.safetensors")
    assert Context(out=tmp_path, weights=tmp_path).weights_file("dwrseg_b") == path


def test_two_given_files_of_one_network_are_an_error(tmp_path: Path, shipped: dict) -> None:
    save(tmp_path / "one" / "weights.safetensors")
    save(tmp_path / "two" / "weights.safetensors")
    with pytest.raises(ValueError, match=r"holds 'dwrseg_b' more than once: .*one.*two.*; name one file"):
        Context(out=tmp_path, weights=tmp_path).weights_file("dwrseg_b")


def test_given_weights_come_before_those_that_ship(tmp_path: Path, shipped: dict) -> None:
    shipped["dwrseg_b", "camvid"] = save(tmp_path / "shipped" / "dwrseg_b-camvid.safetensors")
    given = save(tmp_path / "given" / "weights.safetensors", seed=4)
    assert Context(out=tmp_path, weights=given).weights_file("dwrseg_b") == given
    assert Context(out=tmp_path).weights_file("dwrseg_b") == shipped["dwrseg_b", "camvid"]


def test_of_those_that_ship_the_data_set_decides(tmp_path: Path, shipped: dict) -> None:
    for data in ("camvid", "bdd", "scenes"):
        shipped["dwrseg_b", data] = save(tmp_path / f"dwrseg_b-{data}.safetensors", data=data)
    assert Context(out=tmp_path).weights_file("dwrseg_b") == shipped["dwrseg_b", "camvid"]
    assert Context(out=tmp_path, data="scenes").weights_file("dwrseg_b") == shipped["dwrseg_b", "scenes"]


def test_model_and_its_beginning(tmp_path: Path, shipped: dict) -> None:
    shipped["dwrseg_b", "camvid"] = save(tmp_path / "dwrseg_b-camvid.safetensors")
    context = Context(out=tmp_path)
    model, card = context.model("dwrseg_b")
    begun = context.initial_model("dwrseg_b")
    assert (card.seed, model.num_classes, begun.num_classes) == (3, 11, 11)
    assert not model.training
    assert not begun.training
    # The file holds the untrained network in half precision: both must agree to that.
    for one, other in zip(model.parameters(), begun.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)


def test_weights_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"weights: .*nowhere: no such file or folder"):
        Context(out=tmp_path, weights=tmp_path / "nowhere")


class _Ten(Dataset):
    name, root, classes, names, licence = "camvid", None, ("sky",), tuple("abcdefghij"), ""

    def __init__(self, split: str) -> None:
        self.split = split

    def __getitem__(self, index: int) -> Sample:
        image = torch.zeros(3, 2, 2, dtype=torch.uint8)
        return Sample(image, image[0], f"{self.split} {self.names[index]}")


@pytest.mark.parametrize(("count", "expected"), [(1, "a"), (5, "acegi"), (20, "abcdefghij")])
def test_images_of_a_data_set_are_spread_over_its_test_split(
    count: int, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def opening(name: str, root: Path | None, *, split: str) -> Dataset:
        asked.append((name, root))
        return _Ten(split)

    monkeypatch.setattr(context_module, "open_data", opening)
    images = Context(out=tmp_path, data="camvid", root=tmp_path).images(count)
    assert [image.name for image in images] == [f"test {letter}" for letter in expected]
    assert asked == [("camvid", tmp_path)]


def test_without_a_data_set_the_images_are_scenes_of_the_seed(tmp_path: Path) -> None:
    images = Context(out=tmp_path, seed=3).images(1)
    assert images[0].image.shape[0] == 3
    assert torch.equal(images[0].image, Scenes("test", length=1, seed=3)[0].image)
    assert not torch.equal(images[0].image, Scenes("test", length=1, seed=4)[0].image)


@pytest.mark.parametrize(("data", "frames", "label"), [
    (None, False, "procedural scene"), ("scenes", False, "procedural scene"), ("camvid", True, "camvid, test split"),
])  # fmt: skip
def test_what_the_images_are(data: str | None, frames: bool, label: str, tmp_path: Path) -> None:
    context = Context(out=tmp_path, data=data)
    assert (context.shows_frames, context.data_label) == (frames, label)


def test_logs_lie_beside_their_weights(tmp_path: Path, shipped: dict) -> None:
    assert Context(out=tmp_path).logs() == ()
    shipped["dwrseg_b", "camvid"] = save(tmp_path / "dwrseg_b-camvid.safetensors", seed=1)
    beside = tmp_path / "dwrseg_b-camvid.csv"
    beside.write_text("epoch,step,learning_rate,loss,miou\n1,2,0.1,0.5,\n")
    ((path, card),) = Context(out=tmp_path).logs()
    assert (path, card.seed) == (beside, 1)
    save(tmp_path / "runs" / "b" / "weights.safetensors", seed=2)
    log = tmp_path / "runs" / "b" / "log.csv"
    log.write_text("epoch,step,learning_rate,loss,miou\n1,2,0.1,0.5,\n2,4,0.05,0.4,0.25\n")
    context = Context(out=tmp_path, weights=tmp_path / "runs")
    ((path, card),) = context.logs()
    assert (path, card.seed) == (log, 2)
    table = training_curves.compute(context)
    assert table.columns["miou"] == (None, 0.25)
    assert table.columns["run"] == ("dwrseg_b, camvid , seed 2",) * 2
