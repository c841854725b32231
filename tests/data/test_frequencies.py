from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from rfkit.data.camvid import CamVid
from rfkit.data.dataset import InMemory
from rfkit.data.frequencies import ClassFrequencies, Tally, count_classes, label_counts

LABELS = ([[0, 0, 0, 1]], [[0, 0, 255, 255]], [[2, 2, 255, 255], [2, 2, 2, 2]])


def _counted() -> ClassFrequencies:
    tally = Tally(4)
    for label in LABELS:
        tally.add(label_counts(torch.tensor(label, dtype=torch.uint8)))
    return tally.result()


def test_pixels_and_images_are_counted() -> None:
    counts = _counted()
    assert counts.pixels.tolist() == [5, 1, 6, 0]
    assert counts.images.tolist() == [2, 1, 1, 0]
    assert counts.present.tolist() == [8, 4, 8, 0]
    assert counts.ignored == 4
    assert counts.share().tolist() == pytest.approx([5 / 12, 1 / 12, 1 / 2, 0])


def test_median_frequency_weights_by_hand() -> None:
    # Frequencies 5/8, 1/4 and 6/8; their median is 5/8. The class that does not occur has no say and no weight.
    assert _counted().median_frequency_weights().tolist() == pytest.approx([1, 2.5, 5 / 6, 0])


def test_logarithmic_weights_by_hand() -> None:
    weights = _counted().logarithmic_weights(offset=1.1)
    assert weights.tolist() == pytest.approx([1 / math.log(1.1 + share) for share in (5 / 12, 1 / 12, 1 / 2, 0)])
    assert _counted().logarithmic_weights().max() == pytest.approx(1 / math.log(1.02))
    with pytest.raises(ValueError, match=r"offset=1.0 must be above 1\."):
        _counted().logarithmic_weights(offset=1.0)


def test_nothing_labelled_has_no_shares() -> None:
    tally = Tally(2)
    tally.add(label_counts(torch.full((2, 2), 255, dtype=torch.uint8)))
    assert np.isnan(tally.result().share()).all()
    assert tally.result().median_frequency_weights().tolist() == [0, 0]


@pytest.mark.parametrize("split", ["val"])
def test_real_frames_have_the_published_frequencies(camvid_root: Path, split: str) -> None:
    stated = json.loads((camvid_root / "camvid.json").read_text())["stats"][split]
    counts = count_classes(InMemory(CamVid(camvid_root, split), progress=False))
    assert [*counts.pixels.tolist(), counts.ignored] == stated["pixels"]
    assert counts.images.tolist() == stated["images_with_class"][:11]
    assert (100 * counts.share()).tolist() == pytest.approx(stated["share_of_labelled_percent"], abs=6e-4)
    assert counts.median_frequency_weights().tolist() == pytest.approx(stated["median_freq_weights"], abs=6e-5)
