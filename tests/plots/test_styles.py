"""Colours that anyone can tell apart, sizes of columns, embedded fonts, and settings that stay as they were."""

from __future__ import annotations

import io
import itertools
import pickle
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

import rfkit
from rfkit.plots.styles import DILATION_COLOURS, SIGNED, dilation_colour, dilation_line, signed_norm, style, wrapped

# Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency", IEEE TVCG
# 15(6), 2009: the matrices of severity 1.0, for linear RGB.
VISION: Mapping[str, object] = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
# IEC 61966-2-1: linear sRGB to XYZ, white D65.
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def _lab(colour: str, vision: str) -> np.ndarray:
    """CIELAB of a colour as someone with that vision sees it."""
    encoded = np.array(to_rgb(colour))
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(VISION[vision]) @ linear, 0, 1)
    ratio = (TO_XYZ @ seen) / TO_XYZ.sum(axis=1)
    x, y, z = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def _distance(first: str, second: str, vision: str) -> float:
    return float(np.linalg.norm(_lab(first, vision) - _lab(second, vision)))


def _hue_order(colour: str) -> list[int]:
    return list(np.argsort(to_rgb(colour)))


def test_gray_blue_and_red_are_what_the_paper_uses() -> None:
    red, green, blue = to_rgb(dilation_colour(1))
    assert red == green == blue
    assert _hue_order(dilation_colour(3))[-1] == 2
    assert _hue_order(dilation_colour(5))[-1] == 0


def test_every_rate_of_the_table_has_its_own_colour() -> None:
    assert len(set(DILATION_COLOURS.values())) == len(DILATION_COLOURS)
    assert all(dilation_colour(rate) == colour for rate, colour in DILATION_COLOURS.items())
    assert dilation_colour(5.0) == dilation_colour(5)


def test_the_simulation_is_the_published_one() -> None:
    # Known values: CIELAB of sRGB red; and gray looks the same to everybody.
    np.testing.assert_allclose(_lab("#ff0000", "normal"), [53.24, 80.09, 67.20], atol=0.05)
    for vision in VISION:
        assert _distance("#808080", "#ffffff", vision) == pytest.approx(46.4, abs=0.1)
    # What red and green are known for.
    assert _distance("#cc3311", "#667700", "deuteranopia") < _distance("#cc3311", "#667700", "normal") / 3


@pytest.mark.parametrize("vision", VISION)
def test_dilation_colours_stay_apart_for_every_vision(vision: str) -> None:
    for first, second in itertools.combinations(DILATION_COLOURS, 2):
        assert _distance(dilation_colour(first), dilation_colour(second), vision) > 21, (first, second)
    for first, second in itertools.combinations((1, 3, 5), 2):
        assert _distance(dilation_colour(first), dilation_colour(second), vision) > 30, (first, second)
    # And from the paper.
    assert all(_distance(colour, "#ffffff", vision) > 25 for colour in DILATION_COLOURS.values())


def test_real_rates_lie_between_their_neighbours() -> None:
    middle = np.array(to_rgb(dilation_colour(2.5)))
    ends = np.array([to_rgb(dilation_colour(2)), to_rgb(dilation_colour(3))])
    np.testing.assert_allclose(middle, ends.mean(axis=0), atol=1 / 255)
    assert dilation_colour(0.5) == dilation_colour(1)
    assert dilation_colour(1000) == dilation_colour(max(DILATION_COLOURS))


def test_line_styles_differ_too() -> None:
    assert len({str(dilation_line(rate)) for rate in (1, 2, 3, 4, 5, 7, 9)}) == 7
    assert dilation_line(1) == "-"
    assert dilation_line(3.2) == dilation_line(3)


@pytest.mark.parametrize("function", [dilation_colour, dilation_line])
def test_a_rate_of_zero_is_an_error(function: object) -> None:
    with pytest.raises(ValueError, match=r"rate=0.0 must be above 0"):
        function(0)  # type: ignore[operator]


def test_signed_maps_are_white_at_zero_red_above_blue_below() -> None:
    norm = signed_norm(np.array([[-1.0, 4.0]]), 2)
    assert (norm.vmin, norm.vmax) == (-4.0, 4.0)
    np.testing.assert_allclose(SIGNED(norm(0.0))[:3], 1.0, atol=0.02)
    assert SIGNED(norm(3.0))[0] > SIGNED(norm(3.0))[2]
    assert SIGNED(norm(-3.0))[2] > SIGNED(norm(-3.0))[0]
    assert signed_norm(np.zeros(3)).vmax == 1.0
    with pytest.raises(ValueError, match="NaN"):
        signed_norm(np.array([np.nan]))


def test_style_leaves_matplotlib_as_it_was() -> None:
    before = dict(mpl.rcParams)
    with rfkit.style("talk", columns=2):
        assert mpl.rcParams["font.size"] == 15.0
        assert mpl.rcParams["pdf.fonttype"] == 42
    with pytest.raises(RuntimeError), style():
        raise RuntimeError
    assert dict(mpl.rcParams) == before


def _panels(count: int, width: float, look: str | None = None) -> plt.Figure:
    """What figure-level functions do: a size of their own, laid out inside a look."""
    with style(look):
        return plt.subplots(1, count, figsize=(width * mpl.rcParams["font.size"] / 8, 3.0), layout="constrained")[0]


def test_figures_of_rfkit_take_the_look_around_them_unless_they_are_given_one() -> None:
    with style("talk"):
        assert _panels(1, 4.0).get_figwidth() == 4.0 * 15 / 8
        assert _panels(1, 4.0, "notebook").get_figwidth() == 5.0
        with style("paper"):
            assert mpl.rcParams["font.size"] == 8.0
        assert mpl.rcParams["font.size"] == 15.0
    assert _panels(1, 4.0).get_figwidth() == 4.0


@pytest.mark.parametrize(
    ("columns", "natural", "width", "height"),
    [
        (1, 4.0, 3.5, 3.0 * 3.5 / 4.0),
        (1, 3.0, 3.5, 3.0),
        # Panels that one column has no room for get two.
        (1, 8.4, 7.16, 3.0 * 7.16 / 8.4),
        (2, 8.4, 7.16, 3.0 * 7.16 / 8.4),
        (2, 14.0, 14.0, 3.0),
    ],
)
def test_figures_of_rfkit_get_the_width_of_the_columns_around_them(
    columns: int, natural: float, width: float, height: float
) -> None:
    with style(columns=columns):
        figure = _panels(2, natural)
    assert figure.get_size_inches() == pytest.approx((width, height))
    with style("talk", columns=columns):
        assert _panels(2, natural).get_figwidth() == pytest.approx(width * 15 / 8)


def test_fonts_are_embedded_also_when_a_figure_is_saved_later() -> None:
    with style():
        figure, ax = plt.subplots()
    ax.set_title("saved outside")
    before = dict(mpl.rcParams)
    for name, wanted, unwanted in (("pdf", b"/CIDFontType2", b"/Type3"), ("svg", b">saved outside<", b"<use")):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=name, metadata={"Date": None} if name == "svg" else None)
        assert wanted in buffer.getvalue()
        assert name == "svg" or unwanted not in buffer.getvalue()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    with Image.open(buffer) as picture:
        assert picture.width == pytest.approx(200 * figure.get_figwidth(), abs=1)
    assert dict(mpl.rcParams) == before
    copy = pickle.loads(pickle.dumps(figure))
    assert copy.axes[0].get_title() == "saved outside"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"look": "poster"}, r"look='poster' is not known; allowed: paper, notebook, talk"),
        ({"columns": 3}, r"columns=3 is not allowed; allowed: 1, 2, or None"),
    ],
)
def test_another_look_or_size_is_an_error(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message), style(**options):
        pass


@pytest.mark.parametrize(
    ("look", "columns", "width"), [("paper", 1, 3.5), ("paper", 2, 7.16), ("notebook", 1, 4.375), ("talk", 2, 13.425)]
)
def test_a_figure_fills_its_columns_and_its_labels_fit(look: str, columns: int, width: float) -> None:
    with style(look, columns=columns):
        figure, ax = plt.subplots()
        ax.plot([0, 1], [0, 1e5])
        ax.set(xlabel="distance to the unit (px)", ylabel="share of the mass", title="stage4")
        figure.canvas.draw()
    assert figure.get_figwidth() == pytest.approx(width)
    box = figure.get_tightbbox()
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= figure.get_figwidth()
    assert box.y1 <= figure.get_figheight()
    plt.close(figure)


def test_without_columns_sizes_are_left_alone() -> None:
    with mpl.rc_context({"figure.figsize": (5.0, 2.0)}), style("talk"):
        assert mpl.rcParams["figure.figsize"] == [5.0, 2.0]


def test_a_pdf_embeds_its_fonts_as_truetype() -> None:
    buffer = io.BytesIO()
    with style():
        figure, ax = plt.subplots()
        ax.set_title("γ")
        figure.savefig(buffer, format="pdf")
    plt.close(figure)
    assert b"/FontFile2" in buffer.getvalue()
    assert b"/Type3" not in buffer.getvalue()


def test_importing_changes_no_setting() -> None:
    folder = Path(rfkit.__file__).parent
    plots = ", ".join(f"rfkit.plots.{path.stem}" for path in sorted((folder / "plots").glob("[a-z]*.py")))
    code = (
        "import matplotlib as mpl; before = dict(mpl.rcParams); "
        f"import rfkit, rfkit.api, rfkit.api_fields, {plots}; "
        "print([key for key in before if key != 'backend' and before[key] != mpl.rcParams[key]])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder.parent)
    assert done.stdout == "[]\n"


def test_wrapped_lines_fit_and_none_is_left_with_a_single_word() -> None:
    text = "dwrseg_l, trained on CamVid trainval at 480x360: 20 of 60 epochs, 580 steps, seed 0"
    lines = wrapped(text, 80).splitlines()
    assert " ".join(lines) == text
    assert len(lines) == 2
    assert abs(len(lines[0]) - len(lines[1])) < 12
    assert wrapped("short", 80) == "short"
    assert wrapped("", 80) == ""
    assert wrapped("unbreakable", 3).replace("\n", "") == "unbreakable"
