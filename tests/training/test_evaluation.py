from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from rfkit.data.dataset import Sample
from rfkit.data.transforms import denormalize
from rfkit.training.evaluation import class_scores, evaluate


class Brightest(nn.Module):
    """Scores are the colours themselves, at a resolution of its own choice, so the prediction is known by hand."""

    def __init__(self, stride: int = 1, classes: int = 3) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(1))
        self.stride, self.classes = stride, classes
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert not self.training
        self.sizes.append(tuple(images.shape))
        colours = denormalize(images).float()[:, :, :: self.stride, :: self.stride]
        return colours[:, : self.classes] * self.factor


@pytest.mark.parametrize("stride", [1, 4])
def test_a_perfect_network_scores_one(patches: type, stride: int) -> None:
    # Scores at a lower resolution are brought back to the size of the labels (the squares are 4 pixels wide).
    scores = evaluate(Brightest(stride), patches(count=5), progress=False)
    assert scores.images == 5
    assert scores.miou > (0.999 if stride == 1 else 0.6)
    labelled = sum(int((sample.label != 255).sum()) for sample in patches(count=5))
    assert scores.confusion.sum() == labelled
    assert (scores.data, scores.split, scores.size) == ("patches", "train", None)


def test_scores_are_of_the_whole_set_not_of_batches(patches: type) -> None:
    data = patches(count=7)
    noisy = nn.Conv2d(3, 3, 1)
    expected = evaluate(noisy, data, batch_size=1, progress=False)
    for batch_size in (2, 7, 20):
        found = evaluate(noisy, data, batch_size=batch_size, progress=False)
        assert (found.confusion == expected.confusion).all()
        assert found.miou == expected.miou


def test_images_of_different_sizes(patches: type) -> None:
    data = patches(count=4)
    data.__class__ = type(
        "Mixed",
        (patches,),
        {"__getitem__": lambda self, index: _cut(patches.__getitem__(self, index), 8 if index in (1, 2) else 16)},
    )
    model = Brightest()
    assert evaluate(model, data, batch_size=4, progress=False).miou > 0.99
    assert [size[0] for size in model.sizes] == [1, 2, 1]


def _cut(sample: Sample, height: int) -> Sample:
    return Sample(sample.image[:, :height], sample.label[:height], sample.name)


def test_size_is_what_the_network_sees_and_labels_stay_whole(patches: type) -> None:
    model = Brightest()
    scores = evaluate(model, patches(count=4), size=(32, 48), progress=False)
    assert model.sizes == [(4, 3, 32, 48)]
    assert scores.size == (32, 48)
    assert scores.confusion.sum() == 4 * 15 * 24
    assert scores.miou > 0.9


def test_frame_and_text_name_the_classes(patches: type) -> None:
    scores = evaluate(Brightest(), patches(count=2), progress=False)
    frame = scores.to_frame()
    assert frame["class"].tolist() == ["red", "green", "blue"]
    assert frame["iou"].tolist() == list(scores.class_iou.values())
    assert frame["pixels"].sum() == scores.confusion.sum()
    text = str(scores)
    assert "patches train, 2 images at own size: mIoU 100.0" in text
    assert "green  100.0" in text


def test_a_class_that_never_occurs_is_nan_and_left_out(patches: type) -> None:
    data = patches(count=2)
    data.classes = ("red", "green", "blue", "none")
    model = nn.Sequential(Brightest(), nn.ConstantPad3d((0, 0, 0, 0, 0, 1), -1.0))
    scores = evaluate(model, data, progress=False)
    assert math.isnan(scores.class_iou["none"])
    assert scores.miou == pytest.approx(np.nanmean(list(scores.class_iou.values())))


def test_the_network_is_left_as_it_was(patches: type) -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Dropout(0.5))
    model.train()
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    evaluate(model, patches(count=2), progress=False)
    assert [module.training for module in model.modules()] == [True, True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.is_grad_enabled()


def test_class_scores_have_the_size_of_the_images() -> None:
    images = torch.randint(0, 256, (2, 3, 9, 13), dtype=torch.uint8)
    scores = class_scores(Brightest(4).eval(), images)
    assert scores.shape == (2, 3, 9, 13)
    assert not scores.requires_grad
    assert class_scores(Brightest(), images, size=(18, 26)).shape == (2, 3, 9, 13)


def test_errors_name_what_is_wrong(patches: type) -> None:
    with pytest.raises(ValueError, match="model gives 2 class scores; dataset patches has 3"):
        evaluate(Brightest(classes=2), patches(), progress=False)
    unlabelled = patches(count=4)
    unlabelled.labelled = False
    with pytest.raises(ValueError, match="dataset patches train has no labels to train on or to score"):
        evaluate(Brightest(), unlabelled, progress=False)
    with pytest.raises(ValueError, match="dataset patches train has no samples"):
        evaluate(Brightest(), patches(count=0), progress=False)
    with pytest.raises(ValueError, match="precision='fp16' is not known"):
        evaluate(Brightest(), patches(), precision="fp16", progress=False)
    with pytest.raises(ValueError, match="batch_size=0 must be above 0"):
        evaluate(Brightest(), patches(), batch_size=0, progress=False)
