from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest

from rfkit.plots.regions import plot_region_map, plot_region_maps
from rfkit.plots.styles import SIGNED
from rfkit.results.regions import RegionMap, RegionMaps


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def entry(*, semantic: bool = True, dilation: int = 5) -> RegionMap:
    generator = np.random.default_rng(0)
    return RegionMap(
        stage="stage4",
        block="stage4.1",
        branch=2 if dilation else -1,
        dilation=dilation,
        channel=17,
        semantic_channel=3 if semantic else -1,
        region=np.maximum(generator.standard_normal((3, 4)), 0),
        semantic=generator.standard_normal((3, 4)) - 1 if semantic else np.zeros((0, 0)),
        stride=(32.0, 32.0),
    )


def maps(*entries: RegionMap) -> RegionMaps:
    image = np.random.default_rng(1).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    return RegionMaps(image, entries, "the largest", "procedural scene, weights trained on CamVid")


def test_image_above_region_map_above_semantic_map() -> None:
    result = maps(entry(), entry(dilation=0, semantic=False))
    figure = plot_region_maps(result)
    axes = np.array(figure.axes[:6]).reshape(3, 2)
    assert [ax.get_title() for ax in axes[0]] == ["stage4.1\nd5 · ch 17", "stage4.1\nch 17"]
    np.testing.assert_array_equal(axes[0, 0].images[0].get_array(), result.image)
    for row, values in ((1, result.maps[0].region), (2, result.maps[0].semantic)):
        picture = axes[row, 0].images[0]
        np.testing.assert_array_equal(picture.get_array(), values)
        assert picture.get_cmap() is SIGNED
        limit = np.abs(values).max()
        assert picture.get_clim() == (-limit, limit)
        assert f"±{limit:.2g}" in [text.get_text() for text in axes[row, 0].texts]
        # Maps lie over the image: the same place in both has the same coordinates.
        assert picture.get_extent() == [0, 128, 96, 0]
    assert not axes[2, 1].images
    assert "no dilated" in axes[2, 1].texts[0].get_text()
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["image", "RR: region map", "SR: after the\ndilated\nconvolution"]
    assert figure._suptitle.get_text() == result.note
    assert "the largest" in figure._supxlabel.get_text()
    assert figure.axes[-1].get_ylabel() == "value / largest |value| of its map"


def test_without_any_semantic_map_there_are_two_rows() -> None:
    figure = plot_region_maps(maps(entry(dilation=0, semantic=False)), title="other", caption=False)
    assert len(figure.axes) == 3
    assert figure._suptitle.get_text() == "other"
    assert figure._supxlabel is None


def test_titles_and_maps_do_not_overlap() -> None:
    figure = plot_region_maps(maps(*[entry()] * 6))
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    boxes = [ax.get_tightbbox(renderer).padded(-1) for ax in figure.axes]
    boxes += [figure._suptitle.get_window_extent(renderer), figure._supxlabel.get_window_extent(renderer)]
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])


def test_one_map_into_the_current_axes() -> None:
    _, ax = plt.subplots()
    assert plot_region_map(entry(), kind="SR") is ax
    assert ax.images[0].get_extent() == [-0.5, 3.5, 2.5, -0.5]
    with pytest.raises(ValueError, match=r"kind='XR' is not known; allowed: RR, SR"):
        plot_region_map(entry(), kind="XR")
