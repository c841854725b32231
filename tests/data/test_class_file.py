from __future__ import annotations

from pathlib import Path

import pytest

from rfkit._checks import DataError
from rfkit.data.class_file import read_class_file
from rfkit.data.classes import default_colours


def _write(folder: Path, text: str) -> Path:
    path = folder / "classes.toml"
    path.write_text(text)
    return path


def test_names_alone_are_enough(tmp_path: Path) -> None:
    content = read_class_file(_write(tmp_path, '[[classes]]\nname = "road"\n[[classes]]\nname = "car"\n'))
    assert content.classes == ("road", "car")
    assert content.colours.tolist() == default_colours(2).tolist()
    assert content.licence is None
    assert content.code.ids == {0: 0, 1: 1, 255: None}
    assert content.code.colours == {}


def test_everything_that_can_be_said(tmp_path: Path) -> None:
    content = read_class_file(
        _write(
            tmp_path,
            """
            licence = "mine"
            ignore = [0, 9]
            ignore_colour = [0, 0, 0]
            [[classes]]
            name = "road"
            colour = [128, 64, 128]
            id = 4
            [[classes]]
            name = "car"
            colour = [64, 0, 128]
            id = 2
            """,
        )
    )
    assert content.licence == "mine"
    assert content.colours.tolist() == [[128, 64, 128], [64, 0, 128]]
    assert content.code.ids == {4: 0, 2: 1, 0: None, 9: None}
    assert content.code.colours == {(128, 64, 128): 0, (64, 0, 128): 1, (0, 0, 0): None}


ROAD = '[[classes]]\nname = "road"\n'
CAR = '[[classes]]\nname = "car"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes = [", "is not valid TOML"),
        ("", r"classes must be tables, one a class: \[\[classes\]\]"),
        ('classes = ["road", "car"]', "classes must be tables"),
        ("classes = []", "classes must be tables"),
        ("ignored = 3\n" + ROAD, r"key='ignored' is not known; allowed: .* Did you mean 'ignore'"),
        (ROAD + "color = [1, 2, 3]\n", r"classes\[0\]\.key='color' is not known; .* Did you mean 'colour'"),
        ("[[classes]]\nid = 0\n", r"classes\[0\]\.name is missing"),
        ("[[classes]]\nname = 3\n", r"classes\[0\]\.name is 3; it must be text in quotes"),
        ('[[classes]]\nname = " "\n', r"classes\[0\]\.name is ' '; it must be text"),
        (ROAD + ROAD, r"classes\[1\]\.name is 'road', as is classes\[0\]\.name"),
        (ROAD + "colour = [1, 2]\n", r"classes\[0\]\.colour is \[1, 2\]; it must be \[red, green, blue\]"),
        (ROAD + 'colour = "red"\n', r"classes\[0\]\.colour is 'red'; it must be \[red, green, blue\]"),
        (ROAD + "colour = [1, 2, 256]\n", r"classes\[0\]\.colour is 256; it must be an integer from 0 to 255"),
        (ROAD + "colour = [1, 2, true]\n", r"classes\[0\]\.colour is True; it must be an integer"),
        (ROAD + "colour = [1, 2, 3]\n" + CAR, r"classes\[1\]\.colour is missing; give a colour to all classes or to"),
        (
            ROAD + "colour = [1, 2, 3]\n" + CAR + "colour = [1, 2, 3]\n",
            r"classes\[1\]\.colour is \(1, 2, 3\), as is classes\[0\]\.colour",
        ),
        (ROAD + "id = -1\n", r"classes\[0\]\.id is -1; it must be an integer from 0 to 255"),
        (ROAD + "id = 1\n" + CAR, r"classes\[1\]\.id is 1, as is classes\[0\]\.id"),
        ("ignore = 0\n" + ROAD, r"classes\[0\]\.id is 0, which ignore names too"),
        (ROAD + "id = 255\n", r"classes\[0\]\.id is 255, which ignore names too"),
        ('ignore = "void"\n' + ROAD, r"ignore is 'void'; it must be an integer from 0 to 255"),
        ("ignore_colour = [0, 0, 0]\n" + ROAD, "ignore_colour is given, but no class has a colour"),
        (
            "ignore_colour = [1, 2, 3]\n" + ROAD + "colour = [1, 2, 3]\n",
            r"ignore_colour is \[1, 2, 3\], which is the colour of classes\[0\] too",
        ),
        ("licence = 1\n" + ROAD, "licence is 1; it must be text in quotes"),
        ("".join(f'[[classes]]\nname = "{number}"\n' for number in range(255)), "names 255 classes; at most 254 fit"),
    ],
)
def test_what_is_wrong_is_said_with_its_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"classes\.toml: (?s:.*){message}"):
        read_class_file(_write(tmp_path, text))


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"classes\.toml: no such file; it names the classes"):
        read_class_file(tmp_path / "classes.toml")


def test_a_file_that_is_not_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "classes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"classes\.toml: is not valid TOML"):
        read_class_file(tmp_path / "classes.toml")
