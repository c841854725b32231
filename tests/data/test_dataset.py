from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from rfkit._checks import DataError, data_error
from rfkit.data.camvid import CamVid
from rfkit.data.dataset import Dataset, InMemory, Sample


class _Drawn(Dataset):
    """Samples of given sizes; each is filled with its own number."""

    def __init__(self, sizes: list[tuple[int, int]], *, broken: int | None = None) -> None:
        self.name, self.split, self.root = "drawn", "train", None
        self.classes = ("even", "odd")
        self.colours = np.array([(1, 2, 3), (4, 5, 6)], dtype=np.uint8)
        self.names = tuple(f"number {index}" for index in range(len(sizes)))
        self.licence, self.note = "free", "drawn"
        self.sizes, self.broken, self.read = sizes, broken, 0

    def __getitem__(self, index: int) -> Sample:
        if index == self.broken:
            raise data_error("two.png", "is damaged")
        self.read += 1
        height, width = self.sizes[index]
        return Sample(
            image=torch.full((3, height, width), index, dtype=torch.uint8),
            label=torch.full((height, width), index % 2, dtype=torch.uint8),
            name=self.names[index],
        )


def test_a_data_set_has_length_classes_and_an_order() -> None:
    data = _Drawn([(2, 3)] * 3)
    assert (len(data), data.num_classes) == (3, 2)
    assert [sample.name for sample in data] == list(data.names)
    assert repr(data) == "<_Drawn drawn train: 3 samples, 2 classes>"


def test_samples_of_one_size_are_stacked_and_decoded_once() -> None:
    data = _Drawn([(2, 3)] * 4)
    memory = InMemory(data, progress=False)
    assert isinstance(memory.images, Tensor)
    assert isinstance(memory.labels, Tensor)
    assert memory.images.shape == (4, 3, 2, 3)
    assert memory.images.dtype == memory.labels.dtype == torch.uint8
    assert memory.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    assert memory.labels[:, 0, 0].tolist() == [0, 1, 0, 1]
    assert memory.nbytes == 4 * 4 * 6
    assert [sample.name for sample in memory] == list(data.names)
    assert data.read == 4


def test_samples_of_several_sizes_are_a_list() -> None:
    sizes = [(2, 3), (2, 3), (3, 2), (2, 3)]
    memory = InMemory(_Drawn(sizes), progress=False)
    assert isinstance(memory.images, list)
    assert [tuple(image.shape[1:]) for image in memory.images] == sizes
    assert [tuple(label.shape) for label in memory.labels] == sizes
    assert [int(sample.image.max()) for sample in memory] == [0, 1, 2, 3]
    assert memory.nbytes == 4 * 4 * 6


def test_in_memory_says_what_the_data_set_says() -> None:
    data = _Drawn([(2, 3)])
    memory = InMemory(data, progress=False)
    for attribute in ("name", "split", "root", "classes", "names", "licence", "note"):
        assert getattr(memory, attribute) == getattr(data, attribute)
    assert np.array_equal(memory.colours, data.colours)


def test_in_memory_is_past_the_end_where_the_data_set_is() -> None:
    memory = InMemory(_Drawn([(2, 3)] * 2), progress=False)
    assert memory[-1].name == "number 1"
    with pytest.raises(IndexError):
        memory[2]


def test_a_damaged_file_is_an_error_while_decoding() -> None:
    with pytest.raises(DataError, match=r"^two\.png: is damaged"):
        InMemory(_Drawn([(2, 3)] * 4, broken=2), progress=False)


def test_the_bar_names_the_data_set(notebook: pytest.CaptureFixture[str]) -> None:
    InMemory(_Drawn([(2, 3)] * 2), progress=True)
    assert "Decoding drawn train" in notebook.readouterr().err
    InMemory(_Drawn([(2, 3)] * 2), progress=False)
    assert notebook.readouterr().err == ""


@pytest.mark.gpu
def test_pixels_live_on_the_device() -> None:
    memory = InMemory(_Drawn([(2, 3)] * 2), device="cuda", progress=False)
    assert memory[0].image.device.type == memory[0].label.device.type == "cuda"


def test_real_frames_in_memory(camvid_root: Path) -> None:
    data = CamVid(camvid_root, "val")
    memory = InMemory(data, progress=False)
    assert isinstance(memory.images, Tensor)
    assert memory.images.shape == (101, 3, 360, 480)
    assert memory.nbytes == 101 * 4 * 360 * 480
    assert torch.equal(memory[50].image, data[50].image)
    assert torch.equal(memory[50].label, data[50].label)
