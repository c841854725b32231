"""Tables: every cell printed, aligned, inside its column; rules, spans and Markdown."""

from __future__ import annotations

from itertools import combinations

import pytest
from matplotlib import pyplot as plt

from rfkit.plots.styles import style
from rfkit.plots.tables import Sheet, markdown, plot_table, plot_table_figure

SHEET = Sheet(
    header=("Model", "mIoU (%)", "FPS"),
    rows=(("A | B", "71.3", "100.0"), ("a longer name *", "8.5", "–"), ("ours", "65.1", "–")),
    spans=(("scores of the test split, as printed", 1, 2),),
    rules=(2,),
    bold=((0, 1),),
    caption="Table 9. A caption that is long enough to need more than one line below the table's width.",
    notes=("A note that is also long enough to be broken into several lines, one below the other.",),
)


@pytest.fixture(scope="module")
def figure() -> plt.Figure:
    with style():
        figure = plot_table_figure(SHEET)
        figure.set_dpi(200)
        figure.canvas.draw()
    yield figure
    plt.close(figure)


def test_every_cell_is_printed(figure: plt.Figure) -> None:
    texts = {text.get_gid(): text.get_text() for text in figure.axes[0].texts}
    for index, row in enumerate(SHEET.rows):
        assert [texts[f"row {index} column {column}"] for column in range(3)] == list(row)
    assert [texts[f"header column {column}"] for column in range(3)] == list(SHEET.header)
    wrapped = " ".join(text.get_text() for text in figure.axes[0].texts if text.get_gid() == "caption")
    assert wrapped == SHEET.caption


def test_nothing_overlaps_or_leaves_the_page(figure: plt.Figure) -> None:
    renderer = figure.canvas.get_renderer()
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in figure.axes[0].texts]
    for (one, box), (other, second) in combinations(boxes, 2):
        wide = min(box.x1, second.x1) - max(box.x0, second.x0)
        high = min(box.y1, second.y1) - max(box.y0, second.y0)
        assert wide <= 0 or high <= 3, f"{one!r} overlaps {other!r}"
    for text, box in boxes:
        assert box.x0 >= 0, text
        assert box.x1 <= figure.bbox.x1, text
        assert box.y0 >= 0, text
        assert box.y1 <= figure.bbox.y1, text


def test_numbers_end_at_one_line(figure: plt.Figure) -> None:
    renderer = figure.canvas.get_renderer()
    texts = {text.get_gid(): text.get_window_extent(renderer) for text in figure.axes[0].texts}
    ends = [texts[f"row {row} column 1"].x1 for row in range(3)]
    starts = [texts[f"row {row} column 0"].x0 for row in range(3)]
    assert max(ends) - min(ends) < 2
    assert max(starts) - min(starts) < 2


def test_rules_and_bold(figure: plt.Figure) -> None:
    lines = {line.get_gid(): line.get_ydata()[0] for line in figure.axes[0].lines}
    texts = {text.get_gid(): text for text in figure.axes[0].texts}
    above, below = (texts[f"row {row} column 0"].get_position()[1] for row in (1, 2))
    assert above > lines["rule 2"] > below
    assert lines["rule top"] > lines["rule header"] > lines["rule bottom"]
    bold = [name for name, text in texts.items() if text.get_fontweight() == "bold"]
    assert bold == ["row 0 column 1"]


def test_markdown() -> None:
    page = markdown(SHEET).split("\n")
    assert (
        page[2]
        == "| Model | scores of the test split, as printed: mIoU (%) | scores of the test split, as printed: FPS |"
    )
    assert page[3:8] == [
        "| :--- | ---: | ---: |",
        "| A \\| B | **71.3** | 100.0 |",
        "| a longer name \\* | 8.5 | – |",
        "| ——— |  |  |",
        "| ours | 65.1 | – |",
    ]


def test_rows_must_fit_the_header() -> None:
    with pytest.raises(ValueError, match=r"rows\[1\] has 1 cells, header has 2; they must agree"):
        Sheet(("a", "b"), (("1", "2"), ("3",)))
    with pytest.raises(ValueError, match=r"align='lx' must hold one of l, c, r for each of 2 columns"):
        Sheet(("a", "b"), (), align="lx")


def test_a_table_goes_into_given_axes() -> None:
    figure, axes = plt.subplots(1, 2)
    assert plot_table(SHEET, ax=axes[1]) is axes[1]
    assert not axes[0].texts
    plt.close(figure)
