from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from rfkit.models.registry import create_model
from rfkit.training.contrastive import _drawn, find_classifier, pixel_contrast
from rfkit.training.run import RunResult

Run = Callable[..., RunResult]


def _by_hand(vectors: torch.Tensor, owners: list[int], temperature: float) -> float:
    """The definition, pair by pair."""
    units = [vector / vector.norm() for vector in vectors.double()]
    anchors = []
    for i, own in enumerate(owners):
        score = [float(units[i] @ other) / temperature for other in units]
        others = sum(math.exp(score[n]) for n, owner in enumerate(owners) if owner != own)
        losses = [
            -math.log(math.exp(score[p]) / (math.exp(score[p]) + others))
            for p, owner in enumerate(owners)
            if owner == own and p != i
        ]
        if losses:
            anchors.append(sum(losses) / len(losses))
    return sum(anchors) / len(anchors)


def _scores(classes: torch.Tensor, count: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(classes, count).permute(0, 3, 1, 2).float()


def test_the_loss_is_its_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([[[0, 0, 1], [1, 2, 255]]])
    embeddings = torch.randn(1, 5, 2, 3, generator=generator)
    vectors = embeddings[0].flatten(1).T
    expected = _by_hand(vectors[:5], [0, 0, 1, 1, 2], 0.5)
    guessed = _scores(torch.tensor([[[0, 1, 1], [2, 2, 2]]]), 3)
    # Many more anchors than positions: all of them are drawn.
    loss = pixel_contrast(embeddings, labels, logits=guessed, anchors=20, temperature=0.5, generator=generator)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_labels_and_predictions_are_read_at_the_nearest_position() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([[[0, 0], [1, 2]]])
    embeddings = torch.randn(1, 5, 2, 2, generator=generator)
    small = pixel_contrast(embeddings, labels, logits=_scores(labels, 3), anchors=8)
    large = labels.repeat_interleave(4, 1).repeat_interleave(4, 2)
    assert pixel_contrast(embeddings, large, logits=_scores(large, 3), anchors=8) == small


def test_half_are_hard_where_there_are_enough() -> None:
    truth = torch.zeros(40, dtype=torch.long)
    wrong = torch.arange(40) < 3
    chosen, valid = _drawn(truth, wrong, classes=2, anchors=4, generator=torch.Generator().manual_seed(0))
    assert valid.tolist() == [True] * 4 + [False] * 4
    assert (chosen[:2] < 3).all()
    assert (chosen[2:4] >= 3).all()
    again, _ = _drawn(truth, wrong, classes=2, anchors=4, generator=torch.Generator().manual_seed(1))
    assert chosen[:4].tolist() != again[:4].tolist()


@pytest.mark.parametrize(
    "labels", [torch.full((1, 2, 2), 255), torch.tensor([[[0, 1], [255, 255]]])], ids=["none", "ones"]
)
def test_without_a_pair_the_loss_is_zero_and_its_gradient_finite(labels: torch.Tensor) -> None:
    embeddings = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = pixel_contrast(embeddings, labels, logits=torch.zeros(1, 2, 2, 2))
    loss.backward()
    assert loss.item() == 0
    assert embeddings.grad.isfinite().all()


def test_one_class_alone_has_nothing_to_be_told_from() -> None:
    embeddings = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = pixel_contrast(embeddings, torch.zeros(1, 2, 2, dtype=torch.long), logits=torch.zeros(1, 2, 2, 2))
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert embeddings.grad.isfinite().all()


def test_similarities_are_as_many_as_anchors_whatever_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    softplus = torch.nn.functional.softplus
    monkeypatch.setattr("torch.nn.functional.softplus", lambda values: seen.append(values.shape) or softplus(values))
    for side in (16, 64):
        labels = torch.arange(side * side).reshape(1, side, side) % 3
        pixel_contrast(torch.randn(1, 4, side, side), labels, logits=_scores(labels, 3), anchors=6)
    assert seen == [(18, 18)] * 2


def test_errors() -> None:
    labels = torch.zeros(1, 2, 2, dtype=torch.long)
    with pytest.raises(ValueError, match="anchors=1 must be at least 2"):
        pixel_contrast(torch.zeros(1, 3, 2, 2), labels, logits=torch.zeros(1, 2, 2, 2), anchors=1)
    with pytest.raises(ValueError, match="temperature=0 must be above 0"):
        pixel_contrast(torch.zeros(1, 3, 2, 2), labels, logits=torch.zeros(1, 2, 2, 2), temperature=0)
    with pytest.raises(ValueError, match="Sequential has num_classes=None and no convolution"):
        find_classifier(nn.Sequential(nn.Conv2d(3, 3, 1)))


@pytest.mark.parametrize(("name", "layer"), [("frmnet", "decoder.classifier"), ("dwrseg_b", "decoder.head.classifier")])
def test_the_classifier_of_a_network(name: str, layer: str) -> None:
    assert find_classifier(create_model(name, num_classes=7)) == layer


def test_a_run_with_it_learns_other_weights_and_goes_on_as_if_not_stopped(
    run: Run, network: Callable[..., nn.Module], tmp_path: Path
) -> None:
    def named() -> nn.Module:
        model = network()
        model.num_classes = 3
        return model

    options = {"contrastive_weight": 0.5, "contrastive_anchors": 8}
    plain, whole = run(named(), out=tmp_path / "plain"), run(named(), **options, out=tmp_path / "whole")
    assert not torch.equal(plain.model[0].weight, whole.model[0].weight)
    assert whole.log["loss"].iloc[0] > plain.log["loss"].iloc[0]
    run(named(), **options, stop_after=1)
    resumed = run(named(), **options)
    assert torch.equal(resumed.model[0].weight, whole.model[0].weight)
