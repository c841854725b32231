"""Bars: for eyes they move, a log gets a line now and then, a short pipe nothing."""

from __future__ import annotations

import io
import re
import sys
import types
from pathlib import Path

import pytest

import rfkit
from rfkit._progress import Bar

PACKAGE = Path(rfkit.__file__).parent


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)


def _work(**options: object) -> None:
    """A bar within a bar, with all that the package does to bars."""
    with Bar(range(3), desc="outer", mininterval=0, **options) as outer:
        for number in outer:
            outer.set_postfix_str(f"step {number}")
            for _ in Bar(range(2), desc="inner", leave=False, mininterval=0, **options):
                pass
            Bar.write(f"finished {number}", file=sys.stderr)


def test_a_terminal_gets_a_bar_that_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    _work()
    assert "\r" in terminal.getvalue()
    assert "outer: 100%" in terminal.getvalue()


def test_a_terminal_that_does_not_know_its_size_gets_a_bar_too(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr("tqdm.std._screen_shape_wrapper", lambda: lambda file: (-1, -1))
    _work()
    lines = re.split(r"[\r\n]", terminal.getvalue().replace("\x1b[A", ""))
    assert any(re.match(r"outer: 100%.*3/3 \[", line) for line in lines), lines
    assert max(map(len, lines)) <= 80


def test_what_is_done_soon_writes_nothing_into_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    _work()
    assert capsys.readouterr().err == "finished 0\nfinished 1\nfinished 2\n"


def test_what_takes_long_writes_plain_lines_into_a_log(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bar, "_SECONDS_BETWEEN_LINES", 0.0)
    bar = Bar(total=3, desc="Training", unit="step")
    for _ in range(3):
        bar.set_postfix_str("loss 0.5", refresh=False)
        bar.update()
    bar.close()
    text = capsys.readouterr().err
    assert text.splitlines()[-1].startswith("Training: 100%")
    assert "loss 0.5" in text.splitlines()[-1]
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", text)


def test_lines_keep_their_distance(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("rfkit._progress.time", types.SimpleNamespace(monotonic=lambda: now))
    bar = Bar(total=100, desc="Training")
    for _ in range(100):
        now += 1.0
        bar.n += 1
        bar.refresh()
    bar.close()
    lines = capsys.readouterr().err.splitlines()
    assert [line[:14] for line in lines] == ["Training:  30%", "Training:  60%", "Training:  90%"]


def test_a_notebook_is_watched_though_it_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    _work()
    assert "outer: 100%" in capsys.readouterr().err


def test_a_bar_that_is_off_is_off(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bar, "_SECONDS_BETWEEN_LINES", 0.0)
    for _ in Bar(range(3), disable=True):
        pass
    assert capsys.readouterr().err == ""


def test_every_bar_of_the_package_is_one_of_these() -> None:
    importing = re.compile(r"^\s*(import|from) tqdm", re.MULTILINE)
    users = [path.name for path in PACKAGE.rglob("*.py") if importing.search(path.read_text(encoding="utf-8"))]
    assert users == ["_progress.py"], "take Bar of rfkit/_progress.py in place of tqdm"
