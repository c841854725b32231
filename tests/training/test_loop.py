from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from rfkit.models.weights import load_weights, read_card
from rfkit.training import run as run_module
from rfkit.training.checkpoint import CHECKPOINT, PREVIOUS, DivergenceError
from rfkit.training.evaluation import evaluate
from rfkit.training.recipe import get_recipe
from rfkit.training.run import RunResult

Run = Callable[..., RunResult]


class CrashError(Exception):
    """Stands for whatever ends a process."""


def _after(network: nn.Module, calls: int, action: Callable[[], object]) -> nn.Module:
    """The network, which does something in the middle of its forward pass number `calls` (from 1)."""
    seen = [0]

    def hook(module: nn.Module, inputs: Any) -> None:
        seen[0] += 1
        if seen[0] == calls:
            action()

    network[2].register_forward_pre_hook(hook)
    return network


def _raise() -> None:
    raise CrashError


def _bytes(result: RunResult) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in result.model.state_dict().items()}


def _losses(result: RunResult) -> list[float]:
    return result.log["loss"].tolist()


def test_learns(run: Run, patches: type) -> None:
    result = run(epochs=15, learning_rate=0.1, evaluation=patches(count=4, split="val"))
    assert _losses(result)[-1] < _losses(result)[0]
    assert result.scores.miou > 0.9
    assert (result.steps, result.epochs, result.horizon_epochs) == (45, 15, 15)


def test_each_step_is_told_also_after_an_interruption(run: Run, tmp_path: Path) -> None:
    told: list[int] = []
    run(epochs=3, stop_after=1, out=tmp_path, on_step=told.append)
    assert told == [1, 2, 3]
    run(epochs=3, out=tmp_path, on_step=told.append)
    assert told == list(range(1, 10))


def test_the_folder_holds_what_was_promised(run: Run, patches: type) -> None:
    result = run(evaluation=patches(count=4, split="val"), evaluate_every=2, clip_norm=1.0)
    out = result.out
    identity = json.loads((out / "recipe.json").read_text())
    assert identity["recipe"]["clip_norm"] == 1.0
    assert set(identity["recipe"]) == {field.name for field in dataclasses.fields(get_recipe("camvid-paper"))}
    session = json.loads((out / "environment.json").read_text())["sessions"][0]
    assert session["software"]["torch"] == torch.__version__
    assert session["threads"] == 1
    assert result.log.columns.tolist() == [
        "epoch", "step", "learning_rate", "loss", "miou", "images_per_second", "seconds", "total_seconds",
    ]  # fmt: skip
    assert result.log["step"].tolist() == [3, 6, 9]
    assert [math.isnan(miou) for miou in result.log["miou"]] == [True, False, True]
    # The learning rate of the last step of each epoch, of nine in all.
    assert result.log["learning_rate"].tolist() == pytest.approx([0.02 * (1 - step / 9) ** 0.9 for step in (2, 5, 8)])
    assert {CHECKPOINT, "weights.safetensors", "weights.json"} <= {path.name for path in out.iterdir()}


def test_the_card_has_the_scores_of_the_file_itself(
    run: Run, network: Callable[..., nn.Module], patches: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_out = patches(count=4, split="val")
    scored: list[nn.Module] = []

    def watched(model: nn.Module, *arguments: Any, **options: Any) -> Any:
        scored.append(model)
        return evaluate(model, *arguments, **options)

    monkeypatch.setattr("rfkit.training.run.evaluate", watched)
    result = run(evaluation=held_out)
    card = read_card(result.weights)
    assert (card.model, card.data, card.split, card.num_classes) == ("Sequential", "patches", "train", 3)
    assert (card.steps, card.epochs, card.horizon_epochs, card.size) == (9, 3, 3, (16, 16))
    assert card.recipe_name == "camvid-paper-half"
    assert card.licence == "none needed"
    reloaded = network(seed=1)
    load_weights(reloaded, result.weights)
    scores = evaluate(reloaded, held_out, size=(16, 24), progress=False)
    assert card.scores["miou"] == scores.miou == result.scores.miou
    assert card.scores["split"] == "val"
    # In half precision: what was scored is what lies in the file, not what was trained.
    assert torch.equal(scored[0][0].weight, reloaded[0].weight)
    assert not torch.equal(reloaded[0].weight, result.model[0].weight)


def test_same_seed_same_weights_and_no_global_generator(run: Run, tmp_path: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = run()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    again = run(out=tmp_path / "again", workers=0)
    other = run(out=tmp_path / "other", seed=1)
    assert _bytes(first) == _bytes(again)
    assert _losses(first) == _losses(again)
    assert _bytes(first) != _bytes(other)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_worker_processes_change_nothing(run: Run, tmp_path: Path) -> None:
    assert _bytes(run()) == _bytes(run(out=tmp_path / "workers", workers=2))


@pytest.mark.parametrize("options", [{}, {"precision": "bf16", "channels_last": True}, {"optimizer": "adam"}], ids=str)
@pytest.mark.parametrize("crash", [2, 4, 8])
def test_goes_on_as_if_nothing_had_happened(
    run: Run, network: Callable[..., nn.Module], tmp_path: Path, crash: int, options: dict[str, Any]
) -> None:
    whole = run(**options)
    arguments = {**options, "out": tmp_path / "broken", "checkpoint_minutes": 0}
    with pytest.raises(CrashError):
        run(_after(network(), crash, _raise), **arguments)
    # Other initial weights: what counts is what the folder holds.
    resumed = run(network(seed=9), **arguments)
    assert _bytes(resumed) == _bytes(whole)
    assert _losses(resumed) == _losses(whole)
    assert resumed.log["step"].tolist() == [3, 6, 9]
    steps = [session["step"] for session in json.loads((resumed.out / "environment.json").read_text())["sessions"]]
    assert steps == [0, crash - 1]


def test_rows_past_the_checkpoint_are_dropped(run: Run, network: Callable[..., nn.Module], tmp_path: Path) -> None:
    whole = run()
    # Only the checkpoint of the start is written, so the two rows in the log at the crash are of steps to be repeated.
    with pytest.raises(CrashError):
        run(_after(network(), 8, _raise), out=tmp_path / "broken", checkpoint_minutes=60)
    assert len((tmp_path / "broken" / "log.csv").read_text().splitlines()) == 3
    with pytest.raises(CrashError):
        run(_after(network(), 1, _raise), out=tmp_path / "broken", checkpoint_minutes=60)
    assert len((tmp_path / "broken" / "log.csv").read_text().splitlines()) == 1
    resumed = run(out=tmp_path / "broken")
    assert _losses(resumed) == _losses(whole)
    assert _bytes(resumed) == _bytes(whole)


def test_a_damaged_checkpoint_costs_steps_and_nothing_else(
    run: Run, network: Callable[..., nn.Module], tmp_path: Path
) -> None:
    whole = run()
    out = tmp_path / "broken"
    with pytest.raises(CrashError):
        run(_after(network(), 6, _raise), out=out, checkpoint_minutes=0)
    path = out / CHECKPOINT
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.warns(UserWarning, match=rf"{path} .*is damaged; going on from {out / PREVIOUS}, step 4"):
        resumed = run(out=out)
    assert _bytes(resumed) == _bytes(whole)


def test_what_a_killed_writer_left_is_removed(run: Run, tmp_path: Path) -> None:
    out = run(stop_after=1).out
    left = [out / name for name in (".checkpoint.x7f3.pt", ".log.x7f3.csv", ".weights.x7f3.json", ".curves.x7f3.png")]
    kept = out / "notes.txt"
    for path in (*left, kept):
        path.write_text("half of it")
    run(stop_after=1)
    assert not [path for path in left if path.exists()]
    assert kept.exists()


def test_a_part_now_and_the_rest_later(run: Run, tmp_path: Path) -> None:
    whole = run()
    part = run(out=tmp_path / "parts", stop_after=1)
    assert (part.steps, part.epochs, part.horizon_epochs) == (3, 1, 3)
    assert read_card(part.weights).epochs == 1
    rest = run(out=tmp_path / "parts")
    assert _bytes(rest) == _bytes(whole)
    # A run that is done stays as it is.
    assert _bytes(run(out=tmp_path / "parts")) == _bytes(whole)


def test_ctrl_c_waits_for_the_step_and_writes_a_checkpoint(
    run: Run, network: Callable[..., nn.Module], tmp_path: Path
) -> None:
    whole = run()
    arguments = {"out": tmp_path / "stopped", "checkpoint_minutes": 60}
    press = _after(network(), 5, lambda: os.kill(os.getpid(), signal.SIGINT))
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(
        KeyboardInterrupt, match=r"stopped after step 5 of 9.*stopped: make the same call again to go on"
    ):
        run(press, **arguments)
    assert signal.getsignal(signal.SIGINT) is handler
    assert _bytes(run(**arguments)) == _bytes(whole)


def test_a_loss_that_is_not_finite_stops_with_step_rate_and_checkpoint(
    run: Run, network: Callable[..., nn.Module], tmp_path: Path
) -> None:
    model = network()

    def poison() -> None:
        with torch.no_grad():
            model[4].bias.fill_(float("nan"))

    rate = 0.02 * (1 - 3 / 9) ** 0.9
    checkpoint = tmp_path / "run" / CHECKPOINT
    with pytest.raises(DivergenceError, match=rf"loss of step 3 is nan, at learning rate {rate:.6g}.*{checkpoint}"):
        run(_after(model, 4, poison), checkpoint_minutes=0)
    state = torch.load(checkpoint, weights_only=True)
    assert state["step"] == 3
    assert all(torch.isfinite(value).all() for value in state["model"].values())
    load_weights(network(), tmp_path / "run" / "weights.safetensors")


def test_weights_that_are_not_finite_stop_before_the_checkpoint(
    run: Run, network: Callable[..., nn.Module], tmp_path: Path
) -> None:
    model = network()

    def poison() -> None:
        model[1].running_var.data.fill_(float("inf"))  # changes no loss while training

    with pytest.raises(DivergenceError, match=r"after step 3, 1\.running_var holds values that are not finite"):
        run(_after(model, 4, poison), checkpoint_minutes=0)
    assert torch.load(tmp_path / "run" / CHECKPOINT, weights_only=True)["step"] == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 0.01}, "recipe.learning_rate is 0.02 in the folder and 0.01 now"),
        ({"epochs": 4}, "recipe.epochs is 3 in the folder and 4 now"),
        ({"seed": 1}, "seed is 0 in the folder and 1 now"),
        ({"recipe": "camvid-adam"}, "recipe.name is 'camvid-paper-half' in the folder and 'camvid-adam' now"),
        ({"resume": False}, "holds a run already; give resume=True"),
    ],
)
def test_a_folder_of_another_run_is_an_error(run: Run, changes: dict[str, Any], message: str) -> None:
    out = run(stop_after=1).out
    before = (out / CHECKPOINT).read_bytes()
    with pytest.raises(ValueError, match=message):
        run(**changes)
    assert (out / CHECKPOINT).read_bytes() == before


def test_a_folder_from_before_a_field_of_the_recipe_goes_on(run: Run, tmp_path: Path) -> None:
    whole = run(out=tmp_path / "whole")
    out = run(stop_after=1).out
    identity = json.loads((out / "recipe.json").read_text())
    for field in ("label_smoothing", "ema_decay", "accumulate", "deterministic", "sync_norms"):
        del identity["recipe"][field]
    assert identity["recipe"].pop("decay_norms") is True
    (out / "recipe.json").write_text(json.dumps(identity))
    with pytest.raises(ValueError, match=r"recipe\.decay_norms is True in the folder and False now"):
        run(decay_norms=False)
    assert _bytes(run()) == _bytes(whole)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_norms_can_be_spared_the_weight_decay(
    run: Run, network: Callable[..., nn.Module], tmp_path: Path, optimizer: str
) -> None:
    arguments = {"optimizer": optimizer, "epochs": 1, "batch_size": 12, "learning_rate": 0.01}
    plain = run(**arguments, weight_decay=0.0, out=tmp_path / "plain").model.state_dict()
    spared = run(**arguments, weight_decay=0.5, decay_norms=False, out=tmp_path / "spared").model.state_dict()
    decayed = run(**arguments, weight_decay=0.5, out=tmp_path / "decayed").model.state_dict()
    assert torch.equal(spared["1.weight"], plain["1.weight"])
    assert not torch.equal(decayed["1.weight"], plain["1.weight"])
    for name in ("0.weight", "4.weight", "4.bias"):
        assert torch.equal(spared[name], decayed[name])
        assert not torch.equal(spared[name], plain[name])


def test_a_run_that_spares_norms_goes_on_as_if_nothing_had_happened(run: Run, tmp_path: Path) -> None:
    whole = run(decay_norms=False, weight_decay=0.1, out=tmp_path / "whole")
    run(decay_norms=False, weight_decay=0.1, stop_after=1)
    assert _bytes(run(decay_norms=False, weight_decay=0.1)) == _bytes(whole)


def test_another_network_or_data_set_is_an_error(run: Run, patches: type) -> None:
    run(stop_after=1)
    with pytest.raises(ValueError, match=r"model\.name is 'Sequential' in the folder and 'Conv2d' now"):
        run(nn.Conv2d(3, 3, 1))
    with pytest.raises(ValueError, match=r"data.samples is 12 in the folder and 8 now.*steps_per_epoch is 3"):
        run(data=patches(count=8))
    with pytest.raises(ValueError, match=r"data\.split is 'train' in the folder and 'val' now"):
        run(data=patches(split="val"))


def test_arguments_are_checked_before_anything_is_written(run: Run, patches: type, tmp_path: Path) -> None:
    other = patches()
    other.classes = ("a", "b", "c")
    with pytest.raises(ValueError, match=r"evaluation has the classes a, b, c; data has red, green, blue"):
        run(evaluation=other)
    with pytest.raises(ValueError, match="evaluation='val' names a split, but data is a data set"):
        run(evaluation="val")
    with pytest.raises(
        ValueError, match=r"batch_size=16 is more than the 12 frames of patches train; allowed: 1 to 12"
    ):
        run(batch_size=16)
    with pytest.raises(ValueError, match="stop_after=0 must be above 0"):
        run(stop_after=0)
    with pytest.raises(ValueError, match="recipe field='learning_rat' is not known"):
        run(learning_rat=1)
    with pytest.raises(ValueError, match=r"model_options=.* goes with the name of a model only"):
        run(model_options={"stem": "narrow"})
    model = nn.Conv2d(3, 5, 1)
    model.num_classes = 5
    with pytest.raises(ValueError, match="model has num_classes=5; patches has 3 classes"):
        run(model)
    assert not (tmp_path / "run").exists()


def test_a_network_by_name_is_built_from_the_seed(run: Run, tmp_path: Path) -> None:
    result = run("dwrseg_b", epochs=1, model_options={"stem": "narrow"})
    assert (result.model.name, result.model.num_classes) == ("dwrseg_b", 3)
    assert read_card(result.weights).options == {"stem": "narrow"}
    again = run("dwrseg_b", epochs=1, model_options={"stem": "narrow"}, out=tmp_path / "again")
    assert _bytes(result) == _bytes(again)


def test_gradient_clipping_bounds_the_step(run: Run, network: Callable[..., nn.Module], tmp_path: Path) -> None:
    arguments = {"momentum": 0.0, "weight_decay": 0.0, "epochs": 1, "batch_size": 12}

    def moved(result: RunResult) -> float:
        pairs = zip(result.model.parameters(), network().parameters(), strict=True)
        return math.sqrt(sum(float((after - before).detach().pow(2).sum()) for after, before in pairs))

    # One step of plain SGD moves the weights by the learning rate times the norm of the gradient.
    assert moved(run(**arguments, clip_norm=0.1)) == pytest.approx(0.02 * 0.1, rel=1e-3)
    assert moved(run(**arguments, out=tmp_path / "free")) > 0.02 * 0.2


def test_every_step_has_the_learning_rate_of_the_schedule(run: Run, tmp_path: Path) -> None:
    arguments = {"momentum": 0.0, "weight_decay": 0.0, "batch_size": 12, "clip_norm": 0.1, "poly_power": 2.0}
    models = [run(**arguments, stop_after=steps, out=tmp_path / str(steps)).model for steps in (1, 2, 3)]
    for step, (before, after) in enumerate(pairwise(models), start=1):
        pairs = zip(after.parameters(), before.parameters(), strict=True)
        moved = math.sqrt(sum(float((new - old).detach().pow(2).sum()) for new, old in pairs))
        assert moved == pytest.approx(0.02 * (1 - step / 3) ** 2 * 0.1, rel=1e-2)


@pytest.mark.parametrize("installed", [True, False])
def test_tensorboard_events_where_installed(run: Run, monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    if installed:
        pytest.importorskip("tensorboard")
    else:
        monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    out = run(tensorboard=True, epochs=1).out
    events = list(out.glob("tensorboard/events*"))
    assert bool(events) == installed
    if installed:
        assert b"learning_rate" in events[0].read_bytes()


def test_the_bar_says_what_a_person_wants_to_know(
    run: Run, notebook: pytest.CaptureFixture[str], patches: type
) -> None:
    run(progress=True, evaluation=patches(count=4, split="val"), evaluate_every=1)
    shown = notebook.readouterr().err
    assert "Training: 100%" in shown
    for part in ("9/9", "epoch 3/3", "images/s", "loss ", "mIoU "):
        assert part in shown


def test_threads_are_given_back(run: Run) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        run(epochs=1, threads=1)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.gpu
def test_trains_on_a_gpu_without_waiting_for_it(run: Run) -> None:
    torch.cuda.set_sync_debug_mode("warn")
    try:
        result = run(epochs=10, device="cuda", precision="bf16", channels_last=True)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert _losses(result)[-1] < _losses(result)[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": -2}, "workers=-2 must be at least 0"),
        ({"evaluate_every": -1}, "evaluate_every=-1 must be at least 0"),
        ({"out": __file__}, r"out='.*test_loop\.py' is a file; give a folder"),
    ],
)
def test_arguments_are_checked_before_frames_are_read(
    run: Run, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr(run_module, "held_in_memory", lambda *given, **named: pytest.fail("frames are read"))
    with pytest.raises(ValueError, match=message):
        run(**options)


def test_a_split_without_labels_is_found_before_the_training_not_after_it(run: Run, patches: type) -> None:
    unlabelled = patches(count=4)
    unlabelled.labelled = False
    told: list[int] = []
    with pytest.raises(ValueError, match="has no labels to train on or to score"):
        run(evaluation=unlabelled, on_step=told.append)
    assert told == []


def test_two_runs_are_never_in_one_folder(run: Run, network: Callable[..., nn.Module]) -> None:
    def second() -> None:
        with pytest.raises(ValueError, match=rf"a run is under way there \(process {os.getpid()} on "):
            run()

    result = run(_after(network(), 2, second))
    assert result.steps == 9
