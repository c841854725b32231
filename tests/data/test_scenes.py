from __future__ import annotations

import torch

from rfkit.data.scenes import Scenes


def test_two_data_sets_of_one_seed_are_the_same() -> None:
    first, second = Scenes("train", size=(48, 64), length=2), Scenes("train", size=(48, 64), length=2)
    assert torch.equal(first[1].image, second[1].image)
    assert torch.equal(first[1].label, second[1].label)
