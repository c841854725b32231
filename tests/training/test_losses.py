from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from rfkit.training.losses import _hard_bound, cross_entropy, ohem_cross_entropy, weigh_classes


def _logits(probabilities: list[float]) -> torch.Tensor:
    """Two-class scores of one row of pixels whose class 0 has these probabilities."""
    first = torch.tensor(probabilities).log()
    second = (1 - torch.tensor(probabilities)).log()
    return torch.stack([first, second])[None, :, None].requires_grad_()


def _labels(values: list[int]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.uint8)[None, None]


def _mean_loss(probabilities: list[float]) -> float:
    return -sum(map(math.log, probabilities)) / len(probabilities)


def test_cross_entropy_by_hand_without_unlabelled_pixels() -> None:
    loss = cross_entropy(_logits([0.9, 0.5, 0.2, 0.1]), _labels([0, 0, 1, 255]))
    assert loss.item() == pytest.approx(_mean_loss([0.9, 0.5, 0.8]), rel=1e-6)


def test_class_weights_are_those_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 5, 6, generator=generator)
    labels = torch.randint(0, 4, (2, 5, 6), generator=generator)
    labels[0, 0] = 255
    weights = torch.tensor([0.5, 1.0, 2.0, 0.0])
    expected = F.cross_entropy(logits, labels, weight=weights, ignore_index=255)
    assert cross_entropy(logits, labels, class_weights=weights).item() == pytest.approx(expected.item(), rel=1e-6)


def test_ohem_keeps_the_pixels_below_the_threshold() -> None:
    probabilities = [0.95, 0.71, 0.69, 0.3, 0.99, 0.01]
    loss = ohem_cross_entropy(_logits(probabilities), _labels([0] * 5 + [255]))
    assert loss.item() == pytest.approx(_mean_loss([0.69, 0.3]), rel=1e-6)


def test_ohem_keeps_a_share_where_everything_is_easy() -> None:
    probabilities = [0.9 + 0.003 * place for place in range(32)]
    # A sixteenth of the 32 labelled pixels are the two hardest; the unlabelled ones count nowhere.
    loss = ohem_cross_entropy(_logits([*probabilities, 0.1, 0.2]), _labels([0] * 32 + [255, 255]))
    assert loss.item() == pytest.approx(_mean_loss(probabilities[:2]), rel=1e-5)
    half = ohem_cross_entropy(_logits(probabilities), _labels([0] * 32), min_kept=0.5)
    assert half.item() == pytest.approx(_mean_loss(probabilities[:16]), rel=1e-5)


def test_ohem_keeps_at_least_one_labelled_pixel() -> None:
    loss = ohem_cross_entropy(_logits([0.9, 0.95, 0.1]), _labels([0, 0, 255]))
    assert loss.item() == pytest.approx(_mean_loss([0.9]), rel=1e-5)


def test_ohem_with_threshold_one_is_the_cross_entropy() -> None:
    logits, labels = _logits([0.9, 0.5, 0.2, 0.4]), _labels([0, 0, 1, 255])
    assert ohem_cross_entropy(logits, labels, threshold=1.0).item() == pytest.approx(
        cross_entropy(logits, labels).item(), rel=1e-6
    )


def test_gradient_flows_through_kept_pixels_only() -> None:
    logits = _logits([0.95, 0.3, 0.2])
    ohem_cross_entropy(logits, _labels([0, 0, 255])).backward()
    moved = logits.grad.abs().sum((0, 1, 2)) > 0
    assert moved.tolist() == [False, True, False]


@pytest.mark.parametrize("loss", [cross_entropy, ohem_cross_entropy])
def test_no_labelled_pixel_is_a_loss_of_zero(loss: object) -> None:
    logits = _logits([0.9, 0.1])
    value = loss(logits, _labels([255, 255]))
    assert value.item() == 0
    value.backward()
    assert (logits.grad == 0).all()


def test_the_sort_and_the_glance_agree() -> None:
    # On a CPU the sort is left out where enough pixels are hard; a GPU always sorts and must find the same bound.
    losses = torch.rand(1, 1, 64, generator=torch.Generator().manual_seed(0))
    labelled = torch.ones_like(losses, dtype=torch.bool)
    for threshold in (0.9, 0.6, 0.4):
        bound = _hard_bound(losses, labelled, threshold, 1 / 4)
        kept = int((losses > bound).sum())
        assert kept == max(16, int((losses > -math.log(threshold)).sum()))


def test_bfloat16_scores_are_summed_in_float32() -> None:
    logits = torch.zeros(1, 2, 64, 64, dtype=torch.bfloat16)
    loss = ohem_cross_entropy(logits, torch.zeros(1, 64, 64, dtype=torch.uint8))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(math.log(2), rel=1e-6)


def test_class_weights_by_hand(patches: type) -> None:
    data = patches(count=6)
    assert weigh_classes(data, None) is None
    labels = torch.stack([sample.label for sample in data])
    share = torch.bincount(labels[labels != 255].long(), minlength=3) / (labels != 255).sum()
    assert torch.allclose(weigh_classes(data, "inverse-log"), 1 / torch.log(1.10 + share))
    median = weigh_classes(data, "median-frequency")
    # Every frame holds every class, so the frequencies stand to each other as the shares do.
    assert torch.allclose(median, share.median() / share, rtol=1e-5)
    with pytest.raises(ValueError, match="kind='median' is not known"):
        weigh_classes(data, "median")
