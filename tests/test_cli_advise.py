"""`rfkit advise` from its command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rfkit import cli
from rfkit.data import opening
from rfkit.data.scenes import Scenes

STREET_NET = f"{Path(__file__).parent / 'studies/adviser/street_net.py'}:make"


@pytest.fixture(autouse=True)
def _small_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenes by name are four small ones here."""

    def small(split: str = "train", **options: Any) -> Scenes:
        return Scenes(split, size=(32, 48), length=4)

    monkeypatch.setitem(opening.DATASETS, "scenes", (__name__, "small"))
    monkeypatch.setitem(globals(), "small", small)


def _run(*arguments: str) -> int:
    small = ("--data", "scenes", "--size", "32", "48", "--set", "batch_size=2")
    return cli.main(["advise", STREET_NET, *small, *arguments])


def test_a_dry_run_says_what_would_be_probed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert _run("--dry-run", "--dilations", "1,2", "--out", str(tmp_path)) == 0
    printed = capsys.readouterr().out
    assert "stride8: 2 blocks at 1/8, 16 channels: layer2.0, layer2.1" in printed
    assert "skipped refine: reads maps that were enlarged: the decoder" in printed
    assert "would train 3 probes with dilation rates 1, 2" in printed
    assert list(tmp_path.iterdir()) == []


def test_it_prints_the_advice_and_where_the_report_is(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ("--epochs", "1", "--seeds", "1", "--option", "width=4", "--device", "cpu",
                 "--stage", "low=layer1.0", "--stage", "low=layer1.1", "--stage", "high=layer2.0,layer2.1")  # fmt: skip
    assert _run(*arguments, "--out", str(tmp_path)) == 0
    printed = capsys.readouterr().out
    assert "stages given" in printed
    assert "low: 2 blocks at 1/4" in printed
    assert "high (1/8), evidence " in printed
    assert f"{tmp_path / 'report.html'} has the figures" in printed
    assert (tmp_path / "report.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give a budget: --epochs N for each training, or --minutes N for all of them"),
        (("--epochs", "1", "--option", "size=1"), "option='size' is not known; allowed: num_classes, width"),
    ],
)
def test_mistakes_are_told_in_a_line(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert _run(*arguments, "--out", str(tmp_path)) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--epochs", "1", "--minutes", "2"), "not allowed with"),
        (("--stage", "low"), "'low' is not of the form NAME=PATTERN"),
        (("--dilations", "one"), "'one' is not of the form 1,3,5"),
    ],
)
def test_wrong_arguments_end_with_the_usage(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        _run(*arguments)
    assert message in capsys.readouterr().err
