"""The report: one file, complete, honest, and readable by a machine that checks it."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from rfkit.results.advice import Advice
from rfkit.studies.adviser.report import report_html, write_report

_VOID = {"meta", "br"}


class _Page(HTMLParser):
    """The text and tags of a page; a tag that is not closed where it should be is an error."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def test_nothing_is_loaded_from_elsewhere(advice: Advice) -> None:
    page = report_html(advice)
    tags = _Page(page).tags
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in tags}
    references = [value for _, attrs in tags for name, value in attrs.items() if name in {"src", "href", "xlink:href"}]
    assert all(str(value).startswith("#") for value in references)
    assert not re.search(r"url\((?!#)", page)
    assert "@import" not in page


def test_names_that_look_like_tags_are_shown_as_they_are(advice: Advice) -> None:
    assert "my_nets.py:make<script>" in _Page(report_html(advice)).text


def test_it_says_what_is_suggested_how_surely_and_at_what_budget(advice: Advice) -> None:
    text = " ".join(_Page(report_html(advice)).text.split())
    for words in (
        "scenes, 8 images of its split train at 96x64; 2 trainings of 12 epochs each, seeds 0, 1.",
        "Weak evidence for every stage.",
        "Rates 1 and 3 with channels 3:1; leave out 5",
        "1, 3 and 5 undecided and therefore kept",
        "epochs (not met): 12 epochs, 300 are needed",
        "Removing all rates that are left out at once costs the trained probes 0.1, 0.2 points of mIoU.",
        "Neither your network nor the suggested one was trained here",
        "refine was left as it is: reads maps that were enlarged: the decoder",
        "rate 3 keeps the bound k / s (at least 3.75 here); it leaves no pixel out along an axis",
        advice.code.splitlines()[0],
        "with batch_size=4",
    ):
        assert words in text, words


def test_there_is_a_figure_a_stage_in_the_colour_of_the_text(advice: Advice) -> None:
    before = plt.get_fignums()
    page = report_html(advice)
    pictures = [attrs for tag, attrs in _Page(page).tags if tag == "svg"]
    assert [attrs["role"] for attrs in pictures] == ["img"] * 2
    assert "stride8" in str(pictures[1]["aria-label"])
    assert all("width" not in attrs and "viewbox" in attrs for attrs in pictures)
    assert "currentColor" in page
    assert "#123456" not in page
    assert plt.get_fignums() == before


def test_branches_that_stand_in_for_each_other_are_told(advice: Advice) -> None:
    text = _Page(report_html(dataclasses.replace(advice, together=(0.02, 0.01)))).text
    assert "costs the trained probes 2.0, 1.0 points of mIoU, more than half a point: they stand in for each" in text


def test_strong_evidence_has_no_warning(advice: Advice) -> None:
    stages = tuple(dataclasses.replace(stage, strength="strong") for stage in advice.stages)
    assert "Weak evidence" not in report_html(dataclasses.replace(advice, stages=stages))


def test_what_is_not_known_and_what_fails_is_said(advice: Advice) -> None:
    nan = float("nan")
    unknown = dataclasses.replace(advice.stages[0], bound=nan, bound_kept=None, contiguous=None, field_after=nan)
    broken = dataclasses.replace(advice.stages[1], bound=2.5, bound_kept=False, contiguous=False, coverage=0.9)
    text = _Page(report_html(dataclasses.replace(advice, stages=(unknown, broken)))).text
    assert "the bound k / s on its rates is not known; whether it leaves holes is not known" in text
    assert "39 → ?" in text
    assert "a rate breaks the bound k / s, which is 2.5 where it is least" in text
    assert "it leaves 10 % of the pixels out along an axis (gridding)" in text


def test_the_same_advice_gives_the_same_files(advice: Advice, tmp_path: Path) -> None:
    write_report(advice, tmp_path / "one")
    write_report(advice, tmp_path / "two")
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name
    assert pd.read_csv(tmp_path / "one" / "advice.csv")["suggested"].sum() == 5
    assert Advice.load(tmp_path / "one" / "advice.npz") == advice
