from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from rfkit.plots.style import DILATION_COLOURS, SIGNED, dilation_colour, dilation_line, signed_norm, style, wrapped


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
    with style("talk"):
        assert mpl.rcParams["font.size"] == 15.0
        assert mpl.rcParams["pdf.fonttype"] == 42
    with pytest.raises(RuntimeError), style():
        raise RuntimeError
    assert dict(mpl.rcParams) == before
    with (
        pytest.raises(ValueError, match=r"style='poster' is not known; allowed: paper, notebook, talk"),
        style("poster"),
    ):
        pass


def test_wrapped_lines_fit_and_none_is_left_with_a_single_word() -> None:
    text = "dwrseg_l, trained on CamVid trainval at 480x360: 20 of 60 epochs, 580 steps, seed 0"
    lines = wrapped(text, 80).splitlines()
    assert " ".join(lines) == text
    assert len(lines) == 2
    assert abs(len(lines[0]) - len(lines[1])) < 12
    assert wrapped("short", 80) == "short"
    assert wrapped("", 80) == ""
    assert wrapped("unbreakable", 3).replace("\n", "") == "unbreakable"
