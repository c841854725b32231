"""What a sweep file may say, and which runs it means."""

from __future__ import annotations

from pathlib import Path

import pytest

from rfkit._checks import DataError
from rfkit.training import sweep_file
from rfkit.training.sweep_file import list_sweeps, read_sweep

RUN = '[run]\nmodel = "dwrseg_b"\ndata = "scenes"\n'


def _file(folder: Path, text: str) -> Path:
    path = folder / "try.toml"
    path.write_text(text, encoding="utf-8")
    return path


def _names(path: Path, **options: object) -> list[str]:
    return [run.name for run in read_sweep(path, **options).runs]


def test_the_runs_are_variants_times_grid_times_seeds(tmp_path: Path) -> None:
    text = (
        "seeds = [0, 3]\n" + RUN + 'model_options = { stem = "narrow", beta = 2.0 }\n'
        '[grid]\n"model_options.beta" = [1.0, 3.0]\nlearning_rate = [0.01]\n'
        '[[variants]]\nlabel = "base"\n[[variants]]\nlabel = "I: MS"\nepochs = 5\nmodel_options = { multiple = true }\n'
    )
    sweep = read_sweep(_file(tmp_path, text))
    assert sweep.name == "try"
    assert len(sweep.runs) == 2 * 2 * 2
    last = sweep.runs[-1]
    assert last.name == "I_MS-learning_rate=0.01-beta=3.0-seed3"
    assert (last.label, last.seed) == ("I: MS", 3)
    assert last.settings["model_options"] == {"stem": "narrow", "beta": 3.0, "multiple": True}
    assert last.settings["epochs"] == 5
    assert last.varied == {"learning_rate": 0.01, "epochs": 5}
    assert sweep.runs[0].settings["model_options"] == {"stem": "narrow", "beta": 1.0}
    assert sweep.runs[0].varied == {"learning_rate": 0.01}


def test_without_variants_the_label_is_the_network(tmp_path: Path) -> None:
    path = _file(tmp_path, RUN + '[grid]\nmodel = ["dwrseg_b", "regseg"]\n')
    assert _names(path) == ["dwrseg_b-seed0", "regseg-seed0"]


def test_names_do_not_depend_on_the_order_of_the_file(tmp_path: Path) -> None:
    first = _names(_file(tmp_path, RUN + "[grid]\nmomentum = [0.8, 0.9]\nbatch_size = [4, 8]\n"))
    second = _names(_file(tmp_path, RUN + "[grid]\nbatch_size = [8, 4]\nmomentum = [0.9, 0.8]\n"))
    assert first[0] == "dwrseg_b-batch_size=4-momentum=0.8-seed0"
    assert first != second
    assert sorted(first) == sorted(second)


def test_dotted_names_need_no_quotes(tmp_path: Path) -> None:
    path = _file(tmp_path, RUN + "[grid]\nmodel_options.offset = [{ stage2 = -1 }, { stage3 = 1 }]\n")
    runs = read_sweep(path).runs
    assert runs[0].settings["model_options"] == {"offset": {"stage2": -1}}
    assert [run.name for run in runs] == ["dwrseg_b-offset=stage2_-1-seed0", "dwrseg_b-offset=stage3_1-seed0"]


def test_a_long_name_is_cut_and_still_its_own(tmp_path: Path) -> None:
    label = "x" * 200
    path = _file(tmp_path, RUN + f'[[variants]]\nlabel = "{label}a"\n[[variants]]\nlabel = "{label}b"\n')
    names = _names(path)
    assert len(set(names)) == 2
    assert max(map(len, names)) < 150
    assert all(name.endswith("-seed0") for name in names)


def test_a_command_line_replaces_settings(tmp_path: Path) -> None:
    path = _file(tmp_path, RUN.replace("scenes", "camvid") + 'root = "~/CamVid"\nmodel_options = { beta = 2.0 }\n')
    assert read_sweep(path).runs[0].settings["root"] == str(Path("~/CamVid").expanduser())
    changed = read_sweep(path, overrides={"data": "scenes", "model_options.stem": "narrow", "epochs": 3}, seeds=[7])
    run = changed.runs[0]
    assert run.settings == {
        "model": "dwrseg_b", "data": "scenes", "epochs": 3, "model_options": {"beta": 2.0, "stem": "narrow"},
    }  # fmt: skip
    assert run.name == "dwrseg_b-seed7"


def test_a_name_is_a_sweep_that_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _file(tmp_path, RUN)
    monkeypatch.setattr(sweep_file, "_shipped", lambda: tmp_path)
    assert list_sweeps() == ("try",)
    assert read_sweep("try").name == "try"
    with pytest.raises(ValueError, match=r"sweep='tri' is not known; allowed: try\. Did you mean 'try'"):
        read_sweep("tri")
    with pytest.raises(FileNotFoundError, match=r"tri\.toml: no such sweep file"):
        read_sweep("tri.toml")
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileNotFoundError, match=r"folder: a folder; give a sweep file, or one of try\."):
        read_sweep(tmp_path / "folder")
    # The folder of a sweep may have its name.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "try").mkdir()
    assert read_sweep("try").name == "try"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[run", "is not TOML"),
        ("runs = 3\n" + RUN, "key='runs' is not known; allowed: name, seeds, run, grid, variants. Did you mean 'run'"),
        (RUN + "batch_sise = 3\n", "setting='batch_sise' is not known; allowed: .*batch_size"),
        (RUN + "seed = 3\n", r"\[run\] seed=3: the seeds of a sweep are its seeds"),
        (RUN + 'out = "here"\n', "setting='out' is not known"),
        (RUN + 'evaluate_every = "2"\n', "evaluate_every='2' must be int"),
        (RUN + "progress = false\n", "setting='progress' is not known"),
        (RUN + "model_options = 3\n", "model_options=3 must be a table"),
        ('[run]\nmodel = "dwrseg_b"\n', "has no data"),
        (RUN + "[grid]\nbatch_size = []\n", r"\[grid\] batch_size=\[\] must be a list of one value or more"),
        (RUN + "[grid]\nbatch_size = 3\n", "batch_size=3 must be a list of one value or more"),
        (RUN + "[grid]\nbatch_sise = [3]\n", r"\[grid\] setting='batch_sise' is not known"),
        (RUN + '[grid]\n"batch_size.x" = [3]\n', "batch_size has no parts"),
        (RUN + "[grid]\nepochs = [3, 3]\n", "two runs would share the folder 'dwrseg_b-epochs=3-seed0'"),
        ("seeds = [1, 1]\n" + RUN, r"seeds=\[1, 1\] must be a list of different whole numbers"),
        ("seeds = []\n" + RUN, "must be a list of different whole numbers"),
        ("seeds = 3\n" + RUN, "must be a list of different whole numbers"),
        ("variants = []\n" + RUN, "must hold one variant or more"),
        (RUN + "[[variants]]\nepochs = 3\n", "label=None must be text"),
        (RUN + '[[variants]]\nlabel = "a"\n[[variants]]\nlabel = "a"\n', "label='a' is there 2 times"),
        (RUN + '[[variants]]\nlabel = "a:b"\n[[variants]]\nlabel = "A b"\n', "two runs would share the folder"),
        (RUN + '[[variants]]\nlabel = "a"\nsteam = 1\n', r"\[\[variants\]\] 'a' setting='steam' is not known"),
        (
            RUN + '[grid]\nepochs = [3]\n[[variants]]\nlabel = "a"\nepochs = 2\n',
            r"\[grid\] epochs is set by .* 'a' too",
        ),
    ],
)
def test_a_file_that_is_wrong_is_named_with_the_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=f"try.toml: .*{message}"):
        read_sweep(_file(tmp_path, text))


def test_a_command_line_that_the_file_would_take_back_is_refused(tmp_path: Path) -> None:
    path = _file(tmp_path, RUN + '[[variants]]\nlabel = "a"\nmodel_options = { stem = "narrow" }\n')
    with pytest.raises(DataError, match=r"override model_options.stem='wide': \[\[variants\]\] 'a' sets it too"):
        read_sweep(path, overrides={"model_options.stem": "wide"})
    with pytest.raises(DataError, match="override setting='steam' is not known"):
        read_sweep(path, overrides={"steam": 1})
