"""`rfkit rf` and `rfkit erf` on networks in a file of the user's own."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from rfkit import cli
from rfkit.cli_tables import changed, field_lines
from rfkit.loading import load_network

NETS = """
import torch
from torch import nn

print("imported")

class Two(nn.Sequential):
    def __init__(self, dilation=2, width=4):
        super().__init__(
            nn.Conv2d(3, width, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(width, 2, 3, padding=dilation, dilation=dilation),
        )

def make(dilation=2):
    return Two(dilation)

def wants(width):
    return Two(width=width)

def number():
    return 3

def breaks():
    raise KeyError("weights")

class Fails(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(5, 4, 3)
    def forward(self, x):
        return self.second(self.first(x))

class Unknown(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
    def forward(self, x):
        return torch.fft.fft2(self.first(x)).real

net = Two()
"""


@pytest.fixture
def nets(tmp_path: Path) -> str:
    path = tmp_path / "nets.py"
    path.write_text(NETS, encoding="utf-8")
    return str(path)


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_line_for_each_layer_then_what_the_output_sees(capsys: pytest.CaptureFixture[str], nets: str) -> None:
    code, out, err = _run(capsys, "rf", f"{nets}:make", "--input", "3,32,48")
    assert code == 0, err
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[1] == "0 convolution 16 x 24 3 x 3 2 100 %"
    assert lines[3] == "2 convolution 16 x 24 11 x 11 2 81.8 %"
    assert "output, 16 x 24 units: field 11 x 11 px; stride 2; coverage 81.8 %; smaller than the image" in out
    assert "tiles: overlap 12 x 12 px, begin at multiples of 2 x 2 px" in out


def test_options_go_to_the_factory(capsys: pytest.CaptureFixture[str], nets: str) -> None:
    _, out, _ = _run(capsys, "rf", f"{nets}:make", "--input", "32,48", "--option", "dilation=3")
    assert "field 15 x 15 px" in out


@pytest.mark.parametrize("factory", ["make", "Two", "net"])
def test_functions_classes_and_networks_are_taken(capsys: pytest.CaptureFixture[str], nets: str, factory: str) -> None:
    assert "field 11 x 11 px" in _run(capsys, "rf", f"{nets}:{factory}", "--input", "32,48")[1]


def test_a_module_of_the_current_folder_is_found(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nets_of_a_folder.py").write_text(NETS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "field 11 x 11 px" in _run(capsys, "rf", "nets_of_a_folder:make", "--input", "32,48")[1]


def test_every_format_holds_the_same_numbers(capsys: pytest.CaptureFixture[str], nets: str) -> None:
    command = ["rf", f"{nets}:make", "--input", "32,48", "--format"]
    frame = pd.read_csv(io.StringIO(_run(capsys, *command, "csv")[1]))
    rows = json.loads(_run(capsys, *command, "json")[1])
    markdown = [line for line in _run(capsys, *command, "md")[1].splitlines() if line.startswith("|")]
    assert frame["size_max"].tolist() == [row["size_max"] for row in rows] == [3, 3, 3, 3, 11, 11]
    assert len(markdown) == 2 + len(rows) // 2
    assert "11 x 11" in markdown[-1]


def test_beside_csv_nothing_else_is_on_stdout(capsys: pytest.CaptureFixture[str], nets: str) -> None:
    _, out, err = _run(capsys, "rf", f"{nets}:make", "--input", "32,48", "--format", "csv")
    assert out.startswith("layer,call,operator,axis")
    assert "imported" in err
    assert "field 11 x 11 px" in err


def test_changes_leave_out_what_changes_nothing(capsys: pytest.CaptureFixture[str], nets: str) -> None:
    _, out, _ = _run(capsys, "rf", f"{nets}:make", "--input", "32,48", "--changes")
    assert "convolution" in out
    assert "relu" not in out


def test_a_layer_and_a_unit_can_be_named(capsys: pytest.CaptureFixture[str], nets: str) -> None:
    _, out, _ = _run(capsys, "rf", f"{nets}:make", "--input", "32,48", "--layer", "0", "--unit", "0,5")
    assert [line.split()[0] for line in out.split("\n\n")[0].splitlines()] == ["layer", "0"]
    assert "unit 0,5: rows 0 to 1, columns 9 to 11 (2 x 3); without borders rows -1 to 1" in out


@pytest.mark.parametrize("name", ["t.csv", "t.json", "t.md", "t.png", "t.svg"])
def test_the_table_or_the_growth_is_written(
    capsys: pytest.CaptureFixture[str], nets: str, tmp_path: Path, name: str
) -> None:
    code, _, err = _run(capsys, "rf", f"{nets}:make", "--input", "32,48", "--out", str(tmp_path / name))
    assert code == 0, err
    content = (tmp_path / name).read_bytes()
    assert len(content) > 200
    if name == "t.csv":
        assert len(pd.read_csv(tmp_path / name)) == 6


def test_a_network_that_fails_shows_what_ran_before(capsys: pytest.CaptureFixture[str], nets: str) -> None:
    code, out, err = _run(capsys, "rf", f"{nets}:Fails", "--input", "32,48")
    assert code == 2
    assert "first  convolution" in out
    assert "second  " not in out
    assert "fails on an input of 3 x 32 x 48 (channels, height, width) in second" in err.splitlines()[-1]


def test_what_is_unknown_is_marked(capsys: pytest.CaptureFixture[str], nets: str) -> None:
    code, out, _ = _run(capsys, "rf", f"{nets}:Unknown", "--input", "32,48")
    assert code == 0
    assert "UNKNOWN: aten::_fft" in out
    assert "output: unknown, because of aten::_fft" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rf", "{}:mak", "--input", "32,48"], "Did you mean 'make'?"),
        (["rf", "{}", "--input", "32,48"], "is not of the form MODULE:FACTORY"),
        (["rf", "{}x.py:make", "--input", "32,48"], "x.py: no such file"),
        (["rf", "no_such_module_1:make", "--input", "32,48"], "there is no module 'no_such_module_1'"),
        (["rf", "{}:wants", "--input", "32,48"], "needs width; give --option width=..."),
        (["rf", "{}:make", "--input", "32,48", "--option", "dilatoin=2"], "Did you mean 'dilation'?"),
        (["rf", "{}:net", "--input", "32,48", "--option", "a=2"], "is a network already and takes no options"),
        (["rf", "{}:number", "--input", "32,48"], "returned an object of type int"),
        (["rf", "{}:breaks", "--input", "32,48"], "failed: KeyError: 'weights'"),
        (["rf", "--input", "32,48"], "give either MODULE:FACTORY or --model NAME"),
        (["rf", "{}:make", "--input", "32,48", "--layer", "3"], "--layer='3' is not known"),
        (["rf", "{}:make", "--input", "32,48", "--unit", "99,0"], "(99, 0) is outside the map of 'output', 16 x 24"),
        (["erf", "{}:make", "--input", "32,48", "--unit", "99,0"], "99"),
        (["erf", "{}:make", "--input", "32,48", "--images", "no-folder"], "no-folder: no such folder"),
        (["erf", "{}:make", "--input", "32,48", "--weights", "camvid"], "--weights belongs to --model"),
        (["erf", "{}:Fails", "--input", "32,48"], "the network fails: Given groups=1"),
    ],
)  # fmt: skip
def test_an_error_is_one_line_and_exit_code_two(
    capsys: pytest.CaptureFixture[str], nets: str, arguments: list[str], message: str
) -> None:
    code, _, err = _run(capsys, *(argument.replace("{}", nets) for argument in arguments))
    lines = [line for line in err.splitlines() if line.startswith("rfkit")]
    assert (code, len(lines)) == (2, 1), err
    assert message in lines[0]


def test_a_file_that_cannot_be_imported_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import a_module_that_is_not_there\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"broken\.py cannot be imported: ModuleNotFoundError: No module named 'a_mod"):
        load_network(f"{tmp_path}/broken.py:make")


@pytest.mark.parametrize("place", [".", "some/folder", "a-name"])
def test_what_is_no_file_and_no_module_is_named(place: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{place!r} is neither a .py file nor the name of a module")):
        load_network(f"{place}:make")


def test_a_seed_draws_the_same_weights_and_leaves_the_global_generator_alone(nets: str) -> None:
    state = torch.get_rng_state()
    one, other = (load_network(f"{nets}:make", seed=3) for _ in range(2))
    assert torch.equal(one[0].weight, other[0].weight)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("text", ["3,32", "32", "a,b", "0,3,3", "1,2,3,4"])
def test_an_input_has_two_or_three_sides(capsys: pytest.CaptureFixture[str], text: str) -> None:
    if text == "3,32":
        assert cli._parser().parse_args(["rf", "a:b", "--input", text]).input == (3, 3, 32)
        return
    with pytest.raises(SystemExit):
        cli.main(["rf", "a:b", "--input", text])
    assert "is not of the form C,H,W or H,W" in capsys.readouterr().err


def test_effective_fields_are_measured(capsys: pytest.CaptureFixture[str], nets: str, tmp_path: Path) -> None:
    command = ["erf", f"{nets}:make", "--input", "32,48", "--layer", "0", "--layer", "output", "--count", "2"]
    code, out, err = _run(capsys, *command, "--out", str(tmp_path / "e.png"))
    assert code == 0, err
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["0", "output"]
    assert "11 x 11" in lines[2]
    assert "2 images of normal noise (seed 0)" in lines[3]
    with Image.open(tmp_path / "e.png") as picture:
        assert picture.size[0] > 300
    frame = pd.read_csv(io.StringIO(_run(capsys, *command, "--format", "csv")[1]))
    assert set(frame["layer"]) == {"0", "output"}
    largest = frame[(frame["measure"] == "square_side") & (frame["share"] == 0.99) & (frame["layer"] == "output")]
    assert 0 < largest["value"].item() <= 11


def test_effective_fields_over_a_folder_of_images(
    capsys: pytest.CaptureFixture[str], nets: str, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    values = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    for name in ("a", "b", "c"):
        Image.fromarray(values).save(tmp_path / "photos" / f"{name}.png")
    command = ["erf", f"{nets}:make", "--input", "32,48", "--images", str(tmp_path / "photos")]
    assert "3 images of" in _run(capsys, *command)[1]
    assert "2 images of" in _run(capsys, *command, "--count", "2")[1]


def test_ours_go_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = _run(capsys, "rf", "--model", "regseg", "--input", "3,64,128", "--layer", "stage4", "--changes")
    assert "field 3807 x 3807 px" in out
    assert "global paths reach every pixel" in out


def test_lines_of_a_table_without_rules_for_both_axes() -> None:
    from rfkit.analysis.theoretical import trace

    model = nn.Sequential(nn.Conv2d(3, 4, (3, 5), stride=(1, 2)), nn.ReLU())
    table = trace(model, (20, 30)).table()
    assert field_lines(table)[0]["field (px)"] == "3 x 5"
    assert field_lines(table)[0]["stride"] == "1 x 2"
    assert len(changed(table)) == 2
