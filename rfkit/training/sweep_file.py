"""The file of a sweep: variants x grid x seeds, read into runs, each with a name that says what it is."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import itertools
import json
import re
import tomllib
import types
import typing
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from rfkit._checks import data_error, unknown_name
from rfkit.training.loop import train
from rfkit.training.recipe import Recipe

__all__ = ["SweepFile", "SweepRun", "find_sweep", "list_sweeps", "read_sweep", "run_settings"]

_KEYS = ("name", "seeds", "run", "grid", "variants")
_OPTIONS = "model_options"
# Arguments of `train` that the sweep gives each run itself.
_OURS = {"out", "resume", "seed", "progress", "on_checkpoint", "overrides"}
_LONGEST_NAME = 150


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep, before anything is known of its folder.

    Attributes:
        name: of its folder: label, values of the grid, seed.
        label: of its variant; without variants, the name of its network.
        seed: of initial weights, order and augmentation.
        settings: arguments of `train`.
        varied: those of them, but for the network and its options, that the grid or a variant sets.
    """

    name: str
    label: str
    seed: int
    settings: Mapping[str, Any]
    varied: Mapping[str, Any]


@dataclass(frozen=True)
class SweepFile:
    """What a sweep is: its name, where that was read, and its runs."""

    name: str
    path: Path
    runs: tuple[SweepRun, ...]


def list_sweeps() -> tuple[str, ...]:
    """The names of the sweeps that ship with the package."""
    return tuple(sorted(path.stem for path in _shipped().glob("*.toml")))


def find_sweep(file: str | Path) -> Path:
    """The sweep file that a path, or the name of a shipped sweep, means.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: There is no shipped sweep of that name.
    """
    path = Path(file)
    if path.is_file():
        return path
    shipped = list_sweeps()
    # A sweep's own folder may have its name.
    if str(file) in shipped:
        return _shipped() / f"{file}.toml"
    if path.is_dir():
        raise FileNotFoundError(f"{path}: a folder; give a sweep file, or one of {', '.join(shipped)}.")
    if path.suffix or len(path.parts) > 1:
        raise FileNotFoundError(f"{path}: no such sweep file.")
    raise unknown_name("sweep", str(file), shipped)


def run_settings() -> tuple[str, ...]:
    """What `[run]` may hold: arguments of `rfkit.train` and fields of `Recipe`."""
    arguments = [name for name in inspect.signature(train).parameters if name not in _OURS]
    fields = [field.name for field in dataclasses.fields(Recipe) if field.name != "name"]
    return tuple(dict.fromkeys([*arguments, *fields]))


def read_sweep(
    file: str | Path, *, overrides: Mapping[str, Any] | None = None, seeds: Sequence[int] | None = None
) -> SweepFile:
    """The runs that a sweep file means.

    ::

        name = "activations"
        seeds = [0, 1, 2]                # [0] if left out

        [run]                            # arguments of rfkit.train and fields of its recipe
        model = "dwrseg_l"
        data = "camvid"
        root = "~/CamVid"                # seen from the folder in which the command runs
        recipe = "camvid-paper-half"
        evaluation = "test"
        model_options = { stem = "narrow" }

        [grid]                           # optional: every combination of these values
        learning_rate = [0.01, 0.02]
        "model_options.expansion" = [1, 2]

        [[variants]]                     # optional: each has a label, and any of the keys of [run]
        label = "no activation"
        model_options = { activation = "none" }

    Args:
        file: Path of a TOML file, or the name of a shipped sweep.
        overrides: Settings of `[run]` that take another value; a name may have dots, as in "model_options.stem".
        seeds: Instead of the file's.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: There is no shipped sweep of that name.
        rfkit._checks.DataError: The file says what it must not; the message names the file, the key and what is
            allowed.
    """
    path = find_sweep(file)
    content = _read(path)
    try:
        for key in content:
            _check_key("key", key, _KEYS)
        name = _text(content, "name", path.stem)
        base, grid, variants = _run(content), _grid(content), _variants(content)
        _override(base, overrides or {}, grid, variants)
        chosen = _seeds(content.get("seeds", [0]) if seeds is None else list(seeds))
        runs = list(_expand(base, grid, variants, chosen))
        _check_names(runs)
    except (ValueError, TypeError) as error:
        raise data_error(path, str(error)) from error
    return SweepFile(name, path, tuple(runs))


# ---- parts of the file ----------------------------------------------------------------------------------------------


def _shipped() -> Path:
    return Path(str(resources.files("rfkit"))) / "sweeps"


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise data_error(path, f"is not TOML ({error}).") from error


def _check_key(argument: str, got: str, allowed: Sequence[str]) -> None:
    if got not in allowed:
        raise unknown_name(argument, got, allowed)


def _text(table: Mapping[str, Any], key: str, default: str | None = None) -> str:
    value = table.get(key, default)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{key}={value!r} must be text.")
    return value


def _table(content: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = content.get(key, {})
    if not isinstance(value, dict):
        raise ValueError(f"{key}={value!r} must be a table, [{key}].")
    return value


def _run(content: Mapping[str, Any]) -> dict[str, Any]:
    run = dict(_table(content, "run"))
    for key, value in run.items():
        _check_setting("[run]", key, value)
    return run


def _grid(content: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Dotted name -> its values, in the order of the names."""
    grid = dict(_flat(_table(content, "grid")))
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            raise ValueError(f"[grid] {key}={values!r} must be a list of one value or more.")
        for value in values:
            _check_setting("[grid]", key, value)
    return dict(sorted(grid.items()))


def _variants(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    variants = content.get("variants", [])
    if not isinstance(variants, list) or not all(isinstance(variant, dict) for variant in variants):
        raise ValueError(f"variants={variants!r} must be tables, [[variants]].")
    if "variants" in content and not variants:
        raise ValueError("variants=[] must hold one variant or more, or be left out.")
    labels = [_text(variant, "label") for variant in variants]
    for label, count in Counter(labels).items():
        if count > 1:
            raise ValueError(f"[[variants]] label={label!r} is there {count} times; each variant needs its own label.")
    for variant in variants:
        for key, value in variant.items():
            if key != "label":
                _check_setting(f"[[variants]] {variant['label']!r}", key, value, "label")
    return variants


def _seeds(seeds: Any) -> list[int]:
    whole = isinstance(seeds, list) and all(isinstance(seed, int) and not isinstance(seed, bool) for seed in seeds)
    if not whole or not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds={seeds!r} must be a list of different whole numbers from 0.")
    return seeds


def _check_setting(place: str, key: str, value: Any, *more: str) -> None:
    head, *rest = key.split(".")
    if key == "seed":
        raise ValueError(f"{place} seed={value!r}: the seeds of a sweep are its seeds = [...].")
    _check_key(f"{place} setting", head, [*more, *run_settings()])
    if head == _OPTIONS:
        if not rest and not isinstance(value, dict):
            raise ValueError(f"{place} {key}={value!r} must be a table.")
    elif rest:
        raise ValueError(f"{place} {key}={value!r}: {head} has no parts; only {_OPTIONS} has.")
    elif head in inspect.signature(train).parameters:
        _check_type(place, key, value)


def _check_type(place: str, key: str, value: Any) -> None:
    """Raise unless `value` is what the annotation of `train` says; a sweep holds no objects, only what TOML has."""
    hint = typing.get_type_hints(train)[key]
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    plain = [kind for kind in kinds if kind in (str, int, float, bool)]
    if type(value) not in plain and not (float in plain and type(value) is int):
        raise TypeError(f"{place} {key}={value!r} must be {' or '.join(kind.__name__ for kind in plain)}.")


def _override(
    base: dict[str, Any], overrides: Mapping[str, Any], grid: Mapping[str, Any], variants: Sequence[Mapping[str, Any]]
) -> None:
    """Put the values of a command line into `base`, where no grid or variant would take them back."""
    places = [("[grid]", set(grid)), *((f"[[variants]] {variant['label']!r}", _names(variant)) for variant in variants)]
    if "data" in overrides:
        # The folder in the file is that of the other data.
        base.pop("root", None)
    for key, value in overrides.items():
        _check_setting("override", key, value)
        for place, names in places:
            if key in names:
                raise ValueError(f"override {key}={value!r}: {place} sets it too, and would win; leave it out.")
        _put(base, key, value)


# ---- from parts to runs ---------------------------------------------------------------------------------------------


def _expand(
    base: Mapping[str, Any], grid: Mapping[str, list[Any]], variants: Sequence[Mapping[str, Any]], seeds: Sequence[int]
) -> Iterator[SweepRun]:
    for variant in variants or [{}]:
        twice = sorted(_names(variant) & set(grid))
        if twice:
            raise ValueError(f"[grid] {twice[0]} is set by [[variants]] {variant['label']!r} too; leave out one.")
        for values in itertools.product(*grid.values()):
            point = dict(zip(grid, values, strict=True))
            settings = _merged(base, variant, point)
            label = variant.get("label") or settings["model"]
            shown = {key: value for key, value in point.items() if variants or key != "model"}
            varied = {key: settings[key] for key in settings if key in _varied_names(variants, grid)}
            for seed in seeds:
                yield SweepRun(_run_name(label, shown, seed), label, seed, settings, varied)


def _merged(base: Mapping[str, Any], variant: Mapping[str, Any], point: Mapping[str, Any]) -> dict[str, Any]:
    settings = {key: value for key, value in base.items() if key != _OPTIONS}
    settings[_OPTIONS] = {}
    for source in (base, variant):
        for key, value in source.items():
            if key == _OPTIONS:
                settings[_OPTIONS] |= value
            elif key != "label":
                settings[key] = value
    for key, value in point.items():
        _put(settings, key, value)
    for key in ("model", "data"):
        if key not in settings:
            raise ValueError(f"[run] has no {key}; it is needed.")
    if "root" in settings:
        settings["root"] = str(Path(settings["root"]).expanduser().absolute())
    return settings


def _put(settings: dict[str, Any], key: str, value: Any) -> None:
    """Set "model_options.stem" without touching a table that is shared with another run."""
    head, _, rest = key.partition(".")
    if rest:
        inner = dict(settings.get(head, {}))
        _put(inner, rest, value)
        settings[head] = inner
    else:
        settings[head] = value


def _flat(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _names(variant: Mapping[str, Any]) -> set[str]:
    """What a variant sets, options of the network by dotted names."""
    options = {f"{_OPTIONS}.{key}" for key in variant.get(_OPTIONS, {})}
    return {key for key in variant if key not in ("label", _OPTIONS)} | options


def _varied_names(variants: Sequence[Mapping[str, Any]], grid: Mapping[str, Any]) -> set[str]:
    names = set(grid).union(*(_names(variant) for variant in variants))
    return {name for name in names if name != "model" and not name.startswith(_OPTIONS)}


def _run_name(label: str, point: Mapping[str, Any], seed: int) -> str:
    """Label, values of the grid and seed, in characters that every file system takes."""
    ends = Counter(key.rpartition(".")[2] for key in point)
    parts = [_safe(label)]
    for key, value in point.items():
        end = key.rpartition(".")[2]
        text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), sort_keys=True)
        parts.append(f"{end if ends[end] == 1 else key}={_safe(text)}")
    name = "-".join([*parts, f"seed{seed}"])
    if len(name) > _LONGEST_NAME:
        name = f"{name[:100]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}-seed{seed}"
    return name


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.,+=-]+", "_", text).strip("_.") or "_"


def _check_names(runs: Sequence[SweepRun]) -> None:
    # Some file systems do not tell A from a.
    first: dict[str, SweepRun] = {}
    for run in runs:
        other = first.setdefault(run.name.lower(), run)
        if other is not run:
            raise ValueError(
                f"two runs would share the folder {run.name!r}: {_described(other)}, and {_described(run)}; give them "
                "labels or values that differ."
            )


def _described(run: SweepRun) -> str:
    return f"{run.label!r} with {json.dumps({**run.varied, _OPTIONS: run.settings[_OPTIONS]})}"
