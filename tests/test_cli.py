"""The command line: what it says, what it writes, how it fails."""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import rfkit
from rfkit import cli, cli_completion
from rfkit.cli_arguments import pair
from rfkit.cli_parser import subcommands
from rfkit.data import scenes

COMMANDS = [name for name, _ in subcommands(cli._parser())]
SCENES = ["train", "--data", "scenes", "--out", "{}"]
TINY = ["--set", "batch_size=2", "--set", "frame_size=[32,32]", "--set", "crop_size=[32,32]"]


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(arguments)
    captured = capsys.readouterr()
    # Nobody watches here: a pipe gets text, no bars and nothing that moves a cursor.
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", captured.out + captured.err)
    return code, captured.out, captured.err


def _exit(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    captured = capsys.readouterr()
    return caught.value.code, captured.out, captured.err


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit(capsys, "--version")[:2] == (0, f"rfkit {rfkit.__version__}\n")


def test_the_commands_are_all_there() -> None:
    assert {"models", "data check", "data prepare", "train", "sweep", "figures", "completion"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_examples_that_parse(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, out, _ = _exit(capsys, *command.split(), "--help")
    assert code == 0
    assert "--debug" in out
    examples = re.findall(r"^  (rfkit .+)$", out.split("examples:\n")[1].replace(" \\\n     ", ""), re.MULTILINE)
    assert examples
    for example in examples:
        arguments = shlex.split(example)
        assert arguments[: 1 + command.count(" ") + 1] == ["rfkit", *command.split()]
        assert cli._parser().parse_args(arguments[1:]).run


@pytest.mark.parametrize("command", ["", "data", *COMMANDS])
def test_help_fits_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    # argparse breaks the list of options, but not one option.
    text = _exit(capsys, *command.split(), "--help")[1].partition("\n\n")[2]
    assert max(map(len, text.splitlines())) <= 60


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_says_what_it_is_and_what_it_is_by_itself(command: str) -> None:
    """Not "default: 0" alone, and not "of the figure": a reader sees one line, not its neighbours."""
    for action in dict(subcommands(cli._parser()))[command]._actions:
        told = action.help or ""
        assert len(told.split()) >= 2, action.dest
        assert not re.match(r"default|of |instead of ", told), (action.dest, told)
        values_wanted = action.option_strings and action.nargs != 0 and not action.required
        if values_wanted and action.dest not in ("root", "minutes", "epochs", "images", "compare_to", "model", "data"):
            assert "default" in told or "may be repeated" in told, (action.dest, told)


def test_the_help_names_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    out = _exit(capsys, "--help")[1]
    assert re.findall(r"^  (\d+)  ", out.split("exit codes:")[1], re.MULTILINE) == ["0", "1", "2", "130"]
    assert max(map(len, out.split("exit codes:")[1].splitlines())) <= 80


@pytest.mark.parametrize(("given", "shown"), [((), "rfkit models"), (("data",), "prepare")])
def test_nothing_to_do_shows_what_there_is(
    capsys: pytest.CaptureFixture[str], given: tuple[str, ...], shown: str
) -> None:
    code, out, err = _exit(capsys, *given)
    assert (code, out) == (2, "")
    assert shown in err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("trian", "rfkit: error: argument COMMAND: 'trian' is not known; allowed: models, .* Did you mean train?"),
        ("data chekc", "rfkit data: error: argument ACTION: 'chekc' is not known; .* Did you mean check?"),
        # Not "--data is missing", which is only because it was misspelt.
        ("train --dta scenes", "rfkit train: error: --dta: no such option; did you mean --data"),
        ("train -m x", "rfkit train: error: -m: no such option; did you mean --model?"),
        ("--vresion", "rfkit: error: --vresion: no such option; did you mean --version?"),
        ("train --data camvidd", "--data: 'camvidd' is not known; .* Did you mean camvid?"),
        ("train --data scenes --split vall", "--split: 'vall' is not known; .* Did you mean val?"),
        ("train", "required: --data, --model; see `rfkit train --help`."),
        ("models all", "rfkit models: error: all: more than this command takes; see `rfkit models --help`."),
        ("train --data scenes --workers -2", "--workers: '-2' is not a whole number of at least 0"),
        ("train --data scenes --seed -1", "--seed: '-1' is not a whole number of at least 0"),
        ("rates --probe 3 -3", "--probe: '-3' is not a whole number above 0"),
        ("rates --starts 0.5", "--starts: '0.5' is neither a rate of at least 1 nor 'own'"),
        ("advise --dilations 1,-3", "--dilations: '1,-3' is not of the form 1,3,5: '-3' is not a whole number above 0"),
        ("advise --minutes -1", "--minutes: '-1' is not a number above 0"),
        ("sweep --seeds 1,x", "--seeds: '1,x' is not of the form 0,1,2"),
        ("benchmark --backend egaer", "--backend: 'egaer' is not known; .* Did you mean eager?"),
        ("erf --count 0", "--count: '0' is not a whole number above 0"),
        ("rf --unit=-1,0", "--unit: '-1,0' is not of the form I,J"),
    ],
)
def test_a_wrong_line_is_told_in_one_line(capsys: pytest.CaptureFixture[str], line: str, message: str) -> None:
    code, out, err = _exit(capsys, *line.split())
    assert (code, out, err.count("\n")) == (2, "", 1)
    before, _, after = message.partition(".* ")
    assert before in err
    assert after in err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train --out {file}", "is a file; a folder is wanted"),
        ("train --out {file}/run", "cannot be made"),
        ("data prepare --out {file}", "is a file; a folder is wanted"),
        ("predict --out {file}", "is a file; a folder is wanted"),
        ("figures --out {file}", "is a file; a folder is wanted"),
        ("rates --out {file}", "is a file; a folder is wanted"),
        ("advise --out {file}", "is a file; a folder is wanted"),
        ("sweep --out {file}", "is a file; a folder is wanted"),
        ("calibrate --out {file}", "is a file; a folder is wanted"),
        ("calibrate --table {folder}", "is a folder; the name of a file is wanted"),
        ("evaluate --out {folder}", "is a folder; the name of a file is wanted"),
        ("evaluate --out {file}/scores.csv", "cannot be made"),
        ("branches --out a.txt", "does not end in .csv or .png or .pdf or .svg"),
        ("removal --out {folder}", "is a folder; the name of a file is wanted"),
        ("removal --resume a.txt", "does not end in .npz"),
        ("rf --out {file}/a.csv", "cannot be made"),
        ("erf --out a", "does not end in .csv or .json"),
        ("benchmark --out {folder}", "is a folder; the name of a file is wanted"),
        ("export --out a.txt", "does not end in .onnx"),
    ],
)
def test_where_results_go_is_checked_before_anything_is_done(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, line: str, message: str
) -> None:
    (tmp_path / "there").touch()
    code, _, err = _exit(capsys, *line.format(file=tmp_path / "there", folder=tmp_path).split())
    assert code == 2
    assert message in err


def test_a_home_folder_is_found_behind_an_equals_sign(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    arguments = cli._parser().parse_args(["data", "check", "--data", "camvid", "--root=~/CamVid"])
    assert arguments.root == tmp_path / "CamVid"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("batch_size=8", ("batch_size", 8)),
        ("learning_rate = 1e-3", ("learning_rate", 1e-3)),
        ("crop_size=[180, 240]", ("crop_size", [180, 240])),
        ("depthwise=true", ("depthwise", True)),
        ("stem=narrow", ("stem", "narrow")),
        ('stem="narrow"', ("stem", "narrow")),
    ],
)
def test_values_are_toml_and_words_need_no_quotes(text: str, expected: tuple[str, object]) -> None:
    assert pair(text) == expected


@pytest.mark.parametrize("text", ["batch_size", "=8", ""])
def test_a_pair_without_key_or_value_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not of the form KEY=VALUE"):
        pair(text)


def test_models_lists_every_network(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _run(capsys, "models")
    assert code == 0
    for name in rfkit.list_models():
        assert name in out
    assert "2,535,315" in out
    assert "13.46 G" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*SCENES, "--model", "dwrseg_x"], "--model='dwrseg_x' is not known; allowed: dwrseg_b"),
        ([*SCENES, "--model", "dwrseg_b", "--set", "sizes=3"], "'sizes' is not known"),
        ([*SCENES, "--model", "dwrseg_b", "--option", "steam=1"], "'steam' is not known"),
        ([*SCENES, "--model", "dwrseg_b", "--recipe", "mine"], "--recipe='mine' is not known"),
        (["train", "--data", "camvid", "--model", "dwrseg_b", "--out", "{}"], "--root is needed, because camvid"),
        (["train", "--data", "camvid", "--root", "{}/none", "--model", "dwrseg_b", "--out", "{}"], "/none"),
        (["evaluate", "--data", "scenes", "--weights", "{}/w.safetensors"], "no such weights file"),
        (["evaluate", "--data", "scenes", "--weights", "camvid"], "--model is needed"),
        (["evaluate", "--data", "scenes", "--weights", "{}"], "the folder has no weights.safetensors; a run's has"),
        (["evaluate", "--data", "scenes", "--model", "dwrseg_b", "--weights", "moon"], "'moon' is not known"),
        (["branches"], "--model is needed"),
        (["figures", "fig99", "--out", "{}"], "'fig99' is not known"),
        (["figures", "--html", "--out", "{}"], "MANIFEST.json: there is none"),
        (["evaluate", "--data", "scenes", "--weights", "x", "--device", "moon"], "--device 'moon' is no device"),
        (["evaluate", "--data", "scenes", "--weights", "x", "--device", "meta"], "--device 'meta' is no device"),
        (["evaluate", "--data", "scenes", "--weights", "x", "--device", "cuda:99"], "--device 'cuda:99' is not here"),
        (["predict", "--weights", "x", "--out", "{}"], "one of them"),
        (["data", "check", "--data", "folder", "--root", "{}/none"], "/none"),
        (["sweep", "{}/none.toml"], "none.toml"),
        (["rf", "--model", "dwrseg_x", "--input", "32,32"], "'dwrseg_x' is not known"),
        (["rates", "--data", "scenes", "--model", "dwrseg_x", "--out", "{}"], "--model='dwrseg_x' is not known"),
    ],
)
def test_an_error_is_one_line_and_exit_code_two(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], message: str
) -> None:
    code, _, err = _run(capsys, *(argument.replace("{}", str(tmp_path)) for argument in arguments))
    lines = [line for line in err.splitlines() if line.startswith("rfkit")]
    assert code == 2
    assert len(lines) == 1
    assert lines[0].startswith("rfkit: error: ")
    assert message in lines[0]
    assert "Traceback" not in err


def test_debug_shows_where_an_error_comes_from() -> None:
    wrong = ["evaluate", "--data", "scenes", "--model", "dwrseg_b", "--weights", "moon"]
    for line in (["--debug", *wrong], [*wrong, "--debug"]):
        with pytest.raises(ValueError, match="'moon' is not known"):
            cli.main(line)


def test_a_bug_is_not_dressed_up_as_an_error_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_models", lambda arguments: {}["nothing"])
    with pytest.raises(KeyError):
        cli.main(["models"])


def test_an_interrupt_exits_with_130_and_says_what_was_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "_models", lambda arguments: _raise(KeyboardInterrupt("Everything is in runs/try.")))
    code, _, err = _run(capsys, "models")
    assert code == 130
    assert err == "rfkit: interrupted. Everything is in runs/try.\n"


@pytest.mark.parametrize(
    ("line", "function", "said"),
    [
        ("data prepare --data scenes --out {}", "data.preparing.prepare_data", "in {}: the same command goes on."),
        ("removal --weights {} --data scenes", "api_removal.measure_branch_removal", "--resume FILE.npz"),
        ("removal --weights {} --data scenes --resume {}/a.npz", "api_removal.measure_branch_removal", "in {}/a.npz:"),
    ],
)
def test_an_interrupt_says_how_to_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, function: str,
    said: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("rfkit.cli_removal.model_of", lambda arguments: None)
    monkeypatch.setattr(f"rfkit.{function}", lambda *given, **options: _raise(KeyboardInterrupt()))
    code, _, err = _run(capsys, *line.replace("{}", str(tmp_path)).split())
    assert code == 130
    assert said.replace("{}", str(tmp_path)) in err


@pytest.mark.parametrize("error", [MemoryError("too much"), torch.OutOfMemoryError("too much")])
def test_no_memory_is_one_line_and_exit_code_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(cli, "_models", lambda arguments: _raise(error))
    assert _run(capsys, "models") == (1, "", "rfkit: error: too much\n")


def test_another_runtime_error_is_a_bug_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_models", lambda arguments: _raise(RuntimeError("shapes differ")))
    with pytest.raises(RuntimeError, match="shapes differ"):
        cli.main(["models"])


@pytest.mark.parametrize("number", ["0", "-1", "two"])
def test_numbers_above_zero_are_asked_for(capsys: pytest.CaptureFixture[str], number: str) -> None:
    for arguments, option in (
        ([*SCENES, "--model", "dwrseg_b", f"--threads={number}"], "--threads"),
        (["evaluate", "--weights", "x", "--data", "scenes", "--size", "8", number], "--size"),
    ):
        code, _, err = _exit(capsys, *arguments)
        assert code == 2
        assert f"{option}: '{number}' is not a whole number above 0" in err


def test_divergence_exits_with_one(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_models", lambda arguments: _raise(ArithmeticError("the loss of step 3 is nan")))
    assert _run(capsys, "models") == (1, "", "rfkit: error: the loss of step 3 is nan\n")


@pytest.mark.parametrize("line", ["--help", "train --help", "figures --list"])
def test_a_reader_that_stops_reading_is_no_error(line: str) -> None:
    # The reader is gone before the first word.
    done = subprocess.run(
        f"(sleep 0.5; exec {sys.executable} -m rfkit {line}) | true; exit ${{PIPESTATUS[0]}}",
        shell=True, executable="/bin/bash", capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_checking_sound_data_exits_with_zero_and_broken_data_with_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for part, mode in (("images", "RGB"), ("labels", "L")):
        (tmp_path / part).mkdir()
        for name in ("a", "b"):
            Image.new(mode, (8, 6), 1 if mode == "L" else (9, 9, 9)).save(tmp_path / part / f"{name}.png")
    (tmp_path / "classes.toml").write_text('[[classes]]\nname = "road"\n[[classes]]\nname = "car"\n', encoding="utf-8")
    code, out, err = _run(capsys, "data", "check", "--data", "folder", "--root", str(tmp_path))
    assert (code, "no problems" in out) == (0, True), out + err
    (tmp_path / "labels" / "b.png").write_bytes((tmp_path / "labels" / "b.png").read_bytes()[:40])
    code, out, _ = _run(capsys, "data", "check", "--data", "folder", "--root", str(tmp_path))
    assert code == 1
    assert "b.png" in out


def test_train_then_use_the_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(scenes._LENGTHS, "train", 4)
    monkeypatch.setitem(scenes._LENGTHS, "val", 2)
    run = tmp_path / "run"
    train = ["train", "--data", "scenes", "--model", "probe_dwrseg_l", "--out", str(run), "--split", "train", *TINY]
    train += ["--option", "blocks=[1,1,1]", "--epochs", "2", "--test-split", "val"]
    code, out, err = _run(capsys, *train, "--stop-after", "1")
    assert code == 0, err
    assert "1 of 2 epochs" in out
    code, out, err = _run(capsys, *train)
    assert code == 0, err
    assert "2 of 2 epochs" in out
    assert "mIoU" in out
    assert (run / "curves.png").stat().st_size > 1000
    code, _, err = _run(capsys, *train, "--no-resume")
    assert (code, "holds a run already" in err) == (2, True)

    evaluate = ["evaluate", "--weights", str(run), "--data", "scenes", "--split", "val"]
    code, out, err = _run(capsys, *evaluate, "--out", str(tmp_path / "s.csv"))
    assert code == 0, err
    assert "mIoU" in out
    assert (tmp_path / "s.csv").read_text(encoding="utf-8").startswith("class,iou")

    for name in ("branches.csv", "branches.png"):
        code, out, err = _run(capsys, "branches", "--weights", str(run), "--out", str(tmp_path / name))
        assert code == 0, err
        assert (tmp_path / name).stat().st_size > 1000
    assert "d1" in out

    source = tmp_path / "image.png"
    pixels = scenes.Scenes("test", size=(32, 48), length=1)[0].image
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(source)
    code, out, err = _run(capsys, "predict", "--weights", str(run), "--out", str(tmp_path / "p"), str(source))
    assert code == 0, err
    assert list((tmp_path / "p").iterdir())


def test_figures_can_be_listed_and_built(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = _run(capsys, "figures", "--list")
    assert code == 0
    assert "fig8" in out
    code, _, err = _run(capsys, "figures", "table3", "--out", str(tmp_path))
    assert code == 0, err
    assert (tmp_path / "table3.csv").exists()
    assert (tmp_path / "MANIFEST.json").exists()


@pytest.mark.parametrize("shell", cli_completion.SHELLS)
def test_completion_knows_every_command(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    code, out, err = cli.main(["completion", shell]), *capsys.readouterr()
    assert (code, err) == (0, "")
    for command in COMMANDS:
        assert command.split()[-1] in out
    assert "dwrseg_b" in out


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("rfkit tra", {"train"}),
        ("rfkit data pre", {"prepare"}),
        ("rfkit train --reci", {"--recipe"}),
        ("rfkit train --model probe_", {"probe_dwrseg_l"}),
        ("rfkit train --split tr", {"train", "trainval"}),
        ("rfkit train --recipe camvid-p", {"camvid-paper", "camvid-paper-half"}),
        ("rfkit train --data c", {"camvid", "cityscapes"}),
        ("rfkit benchmark dwrseg_b regseg_", {"regseg_l"}),
        ("rfkit figures fig1 table3", {"table3"}),
        ("rfkit evaluate --weights fou", {"found.safetensors"}),
        ("rfkit rf fou", {"found.safetensors"}),
        ("rfkit train --root fo", {"folder"}),
    ],
)
def test_bash_completes_what_was_begun(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, typed: str, offered: set[str]
) -> None:
    bash = shutil.which("bash")
    assert bash, "this test needs bash"
    (tmp_path / "found.safetensors").touch()
    (tmp_path / "folder").mkdir()
    cli.main(["completion", "bash"])
    script = capsys.readouterr().out
    function = re.search(r"^complete .*-F (\w+) rfkit$", script, re.MULTILINE)[1]
    words = typed.split()
    asked = f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; {function}; "
    asked += 'printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(
        [bash, "--norc", "-c", f"{script}\n{asked}"], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert {line.strip() for line in done.stdout.splitlines()} == offered


def test_completion_says_what_it_needs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rfkit._extras.find_spec", lambda name: None)
    code, _, err = _run(capsys, "completion", "bash")
    assert code == 2
    assert err == 'rfkit: error: shtab not installed; pip install "rfkit[completion]" installs it.\n'


def _raise(error: BaseException) -> None:
    raise error
