from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from rfkit.plots.depth import stages
from rfkit.plots.growth import plot_growth


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def table(*layers: tuple[str, int, float], wider: int = 0, **changes: list) -> pd.DataFrame:
    """Rows of both axes from (name, size, output stride); `wider` is added to the widths."""
    frames = []
    for axis, more in (("row", 0), ("column", wider)):
        names, sizes, strides = zip(*layers, strict=True)
        frame = pd.DataFrame({"layer": names, "axis": axis, "operator": "conv2d", "output_stride": strides})
        for column in ("size_min", "size_max", "path_min", "path_max"):
            frame[column] = [size + more for size in sizes]
        frames.append(frame.assign(is_global=False, status="exact", reason="").assign(**changes))
    return pd.concat(frames, ignore_index=True)


SMALL = (("stem.conv", 3, 2), ("stage2.0", 7, 4), ("stage2.1", 15, 4), ("head.conv", 31, 4))


def labelled(ax: plt.Axes, label: str) -> list:
    return [artist for artist in (*ax.lines, *ax.collections, *ax.patches) if artist.get_label() == label]


def legend(ax: plt.Axes) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()] if ax.get_legend() else []


def test_the_line_has_the_sizes_in_the_order_of_layers() -> None:
    frame = table(*SMALL, wider=2)
    ax = plot_growth(frame)
    np.testing.assert_array_equal(labelled(ax, "receptive field")[0].get_xydata(), [(0, 3), (1, 7), (2, 15), (3, 31)])
    assert ax.get_ylabel() == "receptive field, height (px)"
    plt.figure()
    ax = plot_growth(frame, axis="column")
    np.testing.assert_array_equal(labelled(ax, "receptive field")[0].get_ydata(), [5, 9, 17, 33])
    assert ax.get_ylabel() == "receptive field, width (px)"


def test_both_axes_are_two_lines_unless_they_are_alike() -> None:
    ax = plot_growth(table(*SMALL, wider=2), axis="both")
    assert list(labelled(ax, "height")[0].get_ydata()) == [3, 7, 15, 31]
    assert list(labelled(ax, "width")[0].get_ydata()) == [5, 9, 17, 33]
    assert labelled(ax, "height")[0].get_linestyle() != labelled(ax, "width")[0].get_linestyle()
    plt.figure()
    ax = plot_growth(table(*SMALL), axis="both")
    assert len(ax.lines) == 1
    assert ax.get_ylabel() == "receptive field, height and width (px)"


def test_the_band_goes_from_the_shortest_path_to_the_longest() -> None:
    ax = plot_growth(table(*SMALL, path_min=[3, 5, 5, 9]))
    band = labelled(ax, "shortest to longest path")[0].get_paths()[0].vertices
    assert {tuple(point) for point in band} >= {(0, 3), (1, 5), (3, 9), (3, 31), (1, 7)}
    plt.figure()
    assert not labelled(plot_growth(table(*SMALL)), "shortest to longest path")


def test_a_bar_where_units_differ() -> None:
    ax = plot_growth(table(*SMALL, size_min=[3, 7, 11, 31]))
    bars = labelled(ax, "units that see least and most")[0].get_segments()
    np.testing.assert_array_equal(bars, [[(2, 11), (2, 15)]])


def test_output_strides_stand_above_their_layers() -> None:
    ax = plot_growth(table(*SMALL))
    strip = {patch.get_gid(): patch for patch in labelled(ax, "_output stride")}
    assert (strip["stride 2"].get_x(), strip["stride 2"].get_width()) == (-0.5, 1)
    assert (strip["stride 4"].get_x(), strip["stride 4"].get_width()) == (0.5, 3)
    assert {"2", "4", "output stride"} <= {text.get_text() for text in ax.texts}
    plt.figure()
    assert not labelled(plot_growth(table(*SMALL), strides=False), "_output stride")


def test_the_image_is_a_named_level_line() -> None:
    ax = plot_growth(table(*SMALL), image_size=(40, 80))
    assert list(ax.lines[-1].get_ydata()) == [40, 40]
    assert "image height 40 px" in [text.get_text() for text in ax.texts]
    assert ax.get_ylim()[1] > 40
    plt.figure()
    ax = plot_growth(table(*SMALL), axis="column", image_size=(40, 80), log=True)
    assert "image width 80 px" in [text.get_text() for text in ax.texts]
    assert ax.get_yscale() == "log"


def test_an_image_far_larger_than_all_fields_does_not_flatten_the_line() -> None:
    ax = plot_growth(table(*SMALL), image_size=1024)
    assert ax.get_ylim()[1] < 40
    assert any("1024 px" in text.get_text() and "above this scale" in text.get_text() for text in ax.texts)


def test_an_unknown_layer_is_a_hatched_gap_with_its_name() -> None:
    frame = table(
        *SMALL,
        status=["exact", "unknown", "unknown", "exact"],
        size_max=[3, np.nan, 99, 31],
        reason=["", "no rule for aten::grid_sampler_2d", "", ""],
    )
    ax = plot_growth(frame)
    assert np.isnan(labelled(ax, "receptive field")[0].get_ydata()).tolist() == [False, True, True, False]
    span = labelled(ax, "_unknown")
    assert len(span) == 1
    assert span[0].get_hatch() == "///"
    assert (span[0].get_x(), span[0].get_width()) == (0.5, 2)
    text = next(text.get_text() for text in ax.texts if "not known" in text.get_text()).replace("\n", " ")
    assert text == "not known from stage2.0 on no rule for aten::grid_sampler_2d"


def test_a_table_with_nothing_known_can_be_drawn() -> None:
    frame = table(*SMALL, status="unknown", size_max=None, path_max=np.nan, output_stride=None, is_global=None)
    ax = plot_growth(frame, image_size=64)
    assert labelled(ax, "_unknown")[0].get_width() == 4
    assert not labelled(ax, "a global path also reaches every pixel")
    assert not labelled(ax, "_output stride")


def test_bounds_and_global_paths_are_marked() -> None:
    ax = plot_growth(table(*SMALL, status=["exact", "bound", "bound", "exact"], is_global=[False, False, True, True]))
    known = labelled(ax, "not larger than this")[0].get_ydata()
    np.testing.assert_array_equal(known, [np.nan, 7, 15, np.nan])
    bar = labelled(ax, "a global path also reaches every pixel")[0]
    assert (bar.get_x(), bar.get_width()) == (1.5, 2)


def test_several_networks_in_one_axes() -> None:
    ax = plot_growth({"one": table(*SMALL), "two": table(*SMALL[:2])})
    assert list(labelled(ax, "two")[0].get_ydata()) == [3, 7]
    assert labelled(ax, "one")[0].get_color() != labelled(ax, "two")[0].get_color()
    assert legend(ax) == ["one", "two", "output stride changes"]
    np.testing.assert_array_equal(labelled(ax, "output stride changes")[0].get_xdata(), [0, 1])


def test_stages_by_the_beginning_of_names() -> None:
    assert stages(["stem.a", "stem.b", "stage2.0", "head"]) == [("stem", 0, 1), ("stage2", 2, 2), ("head", 3, 3)]
    names = ["backbone.stem.a", "backbone.layer1.0.a", "backbone.layer1.1.a", "head.0"]
    expected = [("backbone.stem", 0, 0), ("backbone.layer1", 1, 2), ("head", 3, 3)]
    assert stages(names) == expected
    # What all share tells nothing.
    assert stages(["net.a.0", "net.b.0", "net.c.0"]) == [("a", 0, 0), ("b", 1, 1), ("c", 2, 2)]
    assert stages(["conv"]) == [("conv", 0, 0)]


def test_tick_labels_of_two_hundred_layers_do_not_overlap() -> None:
    names = [f"{stage}.{index}.conv" for stage in ("stem", *(f"stage{n}" for n in range(2, 16))) for index in range(13)]
    figure, ax = plt.subplots(figsize=(4, 3))
    plot_growth(table(*[(name, 3 + index, 2) for index, name in enumerate(names)]), ax=ax)
    figure.canvas.draw()
    shown = [label.get_window_extent() for label in ax.get_xticklabels() if label.get_text()]
    assert len(shown) == 15
    # Rotated: neighbours are apart when their right ends are, by more than a line of text.
    ends = np.diff([extent.x1 for extent in shown])
    assert (ends > 8).all()


def test_a_network_of_two_hundred_numbered_layers_has_few_labels() -> None:
    _, ax = plt.subplots(figsize=(4, 3))
    plot_growth(table(*[(str(index), 3 + index, 1) for index in range(200)]), ax=ax)
    assert 5 < len(ax.get_xticklabels()) < 30


def test_what_cannot_be_drawn_is_named() -> None:
    with pytest.raises(ValueError, match=r"axis='rows' is not known; allowed: row, column, both"):
        plot_growth(table(*SMALL), axis="rows")
    with pytest.raises(ValueError, match=r"table='path_min' is not known"):
        plot_growth(table(*SMALL).drop(columns="path_min"))
    frame = table(*SMALL)
    with pytest.raises(ValueError, match=r"table of 'net' has no row whose axis is 'row'"):
        plot_growth({"net": frame[frame["axis"] == "column"]})
