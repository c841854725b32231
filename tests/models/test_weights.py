"""Weights files: what goes in comes out, and what does not fit is named."""

from __future__ import annotations

import dataclasses
import errno
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from rfkit._checks import DataError
from rfkit.models.registry import create_model
from rfkit.models.weights import Card, load_weights, packaged_weights, read_card, save_weights

OPTIONS = {"blocks": (1, 1, 1)}


def _card(**changes: object) -> Card:
    fields = {"model": "dwrseg_b", "num_classes": 3, "options": OPTIONS, "class_names": ("a", "b", "c")}
    return Card(**{**fields, **changes})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    model = create_model("dwrseg_b", num_classes=3, seed=0, **OPTIONS)
    return save_weights(model, tmp_path / "dwrseg_b-test.safetensors", card=_card(steps=7, scores={"miou": 0.5}))


def test_a_model_comes_back_with_its_options_classes_and_card(file: Path) -> None:
    model = create_model("dwrseg_b", weights=file)
    assert model.num_classes == 3
    assert len(model.stage2) == 1
    assert model.card.steps == 7
    assert model.card.scores == {"miou": 0.5}
    original = create_model("dwrseg_b", num_classes=3, seed=0, **OPTIONS)
    for name, value in original.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-3, atol=1e-4)


def test_norms_stay_in_single_precision_and_convolutions_do_not(tmp_path: Path) -> None:
    model = create_model("dwrseg_b", num_classes=3, seed=0, **OPTIONS)
    # A variance that half precision rounds to zero.
    model.decoder.norm.running_var.fill_(1e-9)
    path = save_weights(model, tmp_path / "x.safetensors", card=_card())
    loaded = create_model("dwrseg_b", weights=path)
    assert torch.equal(loaded.decoder.norm.running_var, model.decoder.norm.running_var)
    assert torch.equal(loaded.stem.first.conv.weight, model.stem.first.conv.weight.half().float())
    assert not torch.equal(loaded.stem.first.conv.weight, model.stem.first.conv.weight)


def test_the_card_lies_beside_the_file_for_people(file: Path) -> None:
    assert json.loads(file.with_suffix(".json").read_text())["steps"] == 7
    assert read_card(file) == _card(steps=7, scores={"miou": 0.5}, options={"blocks": [1, 1, 1]})


def test_shipped_weights_load_by_the_name_of_their_data() -> None:
    for (name, data), path in packaged_weights().items():
        model = create_model(name, weights=data)
        assert model.card.data == data
        assert model.num_classes == len(model.card.class_names)
        assert path.stat().st_size < 24 * 2**20


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda file: create_model("dwrseg_l", weights=file), r"holds weights of 'dwrseg_b', not of 'dwrseg_l'"),
        (
            lambda file: load_weights(create_model("dwrseg_b", num_classes=4), file),
            r"with 3 classes, the network has 4",
        ),
        (
            lambda file: create_model("dwrseg_b", weights=file, blocks=(2, 1, 1)),
            r"does not fit the network: stage2\.1\.region\.conv\.weight is missing; .* and \d+ more",
        ),
        (
            lambda file: create_model("dwrseg_b", weights=file, beta=3.0),
            r"stage3\.0\.region\.conv\.weight has shape \(128, 64, 3, 3\), the network needs \(256, 64, 3, 3\)",
        ),
    ],
)
def test_weights_of_another_network_are_refused(file: Path, build: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        build(file)


def test_a_refused_file_changes_nothing(file: Path) -> None:
    model = create_model("dwrseg_b", num_classes=3, seed=5, beta=3.0, **OPTIONS)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(DataError):
        load_weights(model, file)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_the_number_of_classes_must_agree(file: Path) -> None:
    with pytest.raises(ValueError, match=r"num_classes=5 but .*dwrseg_b-test\.safetensors was trained with 3 classes"):
        create_model("dwrseg_b", weights=file, num_classes=5)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_named(file: Path, share: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"dwrseg_b-test\.safetensors: is truncated or not a safetensors file"):
        create_model("dwrseg_b", weights=file)


def test_a_file_without_a_card_or_of_a_later_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(DataError, match="has no rfkit card"):
        read_card(path)
    save_file({"x": torch.zeros(1)}, path, metadata={"rfkit-weights": '{"version": 2, "card": {}}'})
    with pytest.raises(DataError, match="format version 2; this rfkit reads version 1"):
        read_card(path)
    for damaged in ("{", '{"version": 1}', '{"version": 1, "card": {"model": "dwrseg_b"}}'):
        save_file({"x": torch.zeros(1)}, path, metadata={"rfkit-weights": damaged})
        with pytest.raises(DataError, match="has a damaged card"):
            read_card(path)


def test_a_file_that_may_not_be_read_is_not_called_missing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *arguments: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)  # root may read everything, so it cannot be tried
    with pytest.raises(PermissionError, match=r"Permission denied: .*dwrseg_b-test\.safetensors"):
        read_card(file)


@pytest.mark.parametrize("place", [0, 8, 200, 5000])
def test_a_damaged_header_is_an_error_and_never_anything_else(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 0x40
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"dwrseg_b-test\.safetensors: "):
        create_model("dwrseg_b", weights=file)


@pytest.mark.parametrize("place", [0.01, 0.3, 0.6, 1.0])
def test_a_flipped_bit_among_the_weights_is_noticed(file: Path, place: float) -> None:
    content = bytearray(file.read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    content[header + int(place * (len(content) - header - 1))] ^= 0x01
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"dwrseg_b-test\.safetensors: is damaged: its weights are not those"):
        create_model("dwrseg_b", weights=file)
    assert read_card(file).steps == 7


def test_a_file_from_before_there_were_digests_is_read(file: Path) -> None:
    with safe_open(file, framework="pt") as handle:
        content = json.loads(handle.metadata()["rfkit-weights"])
        tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    del content["digest"]
    save_file(tensors, file, metadata={"rfkit-weights": json.dumps(content)})
    assert create_model("dwrseg_b", weights=file).card.steps == 7


def test_the_same_weights_give_the_same_file(tmp_path: Path) -> None:
    model = create_model("dwrseg_b", num_classes=3, seed=0, **OPTIONS)
    files = {save_weights(model, tmp_path / f"{turn}.safetensors", card=_card()).read_bytes() for turn in range(8)}
    assert len(files) == 1


def test_weights_that_do_not_exist_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.safetensors: no such weights file"):
        create_model("dwrseg_b", weights=tmp_path / "nothing.safetensors")
    with pytest.raises(ValueError, match=r"weights for 'dwrseg_b'='kitti' is not known"):
        create_model("dwrseg_b", weights="kitti")


def test_weights_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    model = create_model("dwrseg_b", num_classes=3, **OPTIONS)
    path = tmp_path / "x.safetensors"
    # Finite in single precision, infinite in half precision.
    model.stem.first.conv.weight.data[0, 0, 0, 0] = 1e6
    with pytest.raises(ValueError, match=r"stem\.first\.conv\.weight' holds values that are not finite"):
        save_weights(model, path, card=_card())
    assert not path.exists()
    assert save_weights(model, path, card=_card(), half=False).exists()


def test_the_name_of_a_file_must_end_as_its_format(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in '\.safetensors'"):
        save_weights(create_model("dwrseg_b", **OPTIONS), tmp_path / "x.pt", card=_card(num_classes=19, class_names=()))


def test_a_card_must_name_as_many_classes_as_there_are() -> None:
    with pytest.raises(ValueError, match="class_names has 3 names, num_classes=4"):
        _card(num_classes=4)


def test_a_card_says_what_was_trained_on_and_for_how_long() -> None:
    card = Card("dwrseg_l", 11, data="camvid", split="trainval", epochs=244.966, horizon_epochs=600)
    assert card.training == "camvid trainval, 245 of 600 epochs"
    assert dataclasses.replace(card, epochs=0.5).training == "camvid trainval, 0.5 of 600 epochs"
