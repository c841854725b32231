"""The arguments that several commands of `rfkit` take, and what their values may be.

Values are checked as they are read, so that no command finds out after an hour that it cannot write its result.
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = [
    "DATA_NAMES", "DATA_WORDS", "SPLITS", "count", "data_arguments", "device_arguments", "device_of", "file_to_write",
    "folder_to_write", "is_factory", "model_arguments", "model_of", "number", "pair", "pairs", "place", "positive",
    "root_argument", "several", "size_argument",
]  # fmt: skip

DATA_NAMES = ("camvid", "cityscapes", "bdd100k", "folder", "scenes")
SPLITS = ("train", "val", "test", "trainval")

DATA_WORDS = "camvid, cityscapes, bdd100k, folder (images and labels of your own) or scenes (drawn, without files)"


# ---- values ---------------------------------------------------------------------------------------------------------


def positive(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def count(text: str) -> int:
    """A whole number, 0 included."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def number(text: str) -> float:
    """A number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def several(each: Callable[[str], int], form: str) -> Callable[[str], tuple[int, ...]]:
    """Whole numbers with commas between them, each as `each` reads it; `form` shows how they look."""

    def read(text: str) -> tuple[int, ...]:
        try:
            return tuple(each(part.strip()) for part in text.split(","))
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is not of the form {form}: {error}") from None

    return read


def place(text: str) -> Path:
    """A file or folder; "~" is the home folder in the form --root=~/data too, where a shell leaves it as it is."""
    return Path(text).expanduser()


def folder_to_write(text: str) -> Path:
    """A folder that is there or can be made."""
    path = place(text)
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is a file; a folder is wanted")
    _check_above(path, text)
    return path


def file_to_write(*suffixes: str) -> Callable[[str], Path]:
    """A file that is there or can be made, whose name ends in one of `suffixes`."""

    def read(text: str) -> Path:
        path = place(text)
        if path.is_dir():
            raise argparse.ArgumentTypeError(f"{text!r} is a folder; the name of a file is wanted")
        if path.suffix.lower() not in suffixes:
            raise argparse.ArgumentTypeError(f"{text!r} does not end in {' or '.join(suffixes)}")
        _check_above(path, text)
        return path

    return read


def _check_above(path: Path, text: str) -> None:
    """Find a file where a folder would have to be."""
    above = next((parent for parent in path.parents if parent.exists()), Path())
    if not above.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} cannot be made: {str(above)!r} is a file, not a folder")


def pair(text: str) -> tuple[str, Any]:
    """The key and the value of "KEY=VALUE", the value read as TOML."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form KEY=VALUE")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        # A word needs no quotes on a command line.
        return key.strip(), value.strip()


# ---- arguments ------------------------------------------------------------------------------------------------------


def data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --data and --root."""
    group = parser.add_argument_group("data")
    group.add_argument("--data", required=True, metavar="NAME", choices=DATA_NAMES, help=f"data set: {DATA_WORDS}")
    root_argument(group)


def root_argument(parser: Any) -> None:
    """Add --root to a parser or a group of its arguments."""
    parser.add_argument(
        "--root", type=place, metavar="FOLDER", help="folder of the data set, as it came or prepared; scenes have none"
    )


def model_arguments(whole: argparse.ArgumentParser, *, weights_required: bool) -> None:
    """Add --model and --weights."""
    parser = whole.add_argument_group("network")
    parser.add_argument(
        "--model", metavar="NAME",
        help="network, one that `rfkit models` lists; default: the one that a weights file or run folder names",
    )  # fmt: skip
    parser.add_argument(
        "--weights", required=weights_required, metavar="FILE_OR_NAME",
        help="a .safetensors file, a run folder, or with --model the data set whose weights ship, such as camvid"
        + ("" if weights_required else "; default: untrained"),
    )  # fmt: skip


def size_argument(parser: Any, text: str, **options: Any) -> None:
    """Add --size HEIGHT WIDTH; `text` says of what."""
    parser.add_argument("--size", type=positive, nargs=2, metavar=("HEIGHT", "WIDTH"), help=text, **options)


def device_arguments(whole: argparse.ArgumentParser) -> None:
    """Add --device and --threads."""
    parser = whole.add_argument_group("computer")
    parser.add_argument(
        "--device", metavar="NAME", help="where to compute: cpu, cuda, cuda:1, ...; default: the GPU if there is one"
    )
    parser.add_argument(
        "--threads", type=positive, metavar="N", help="CPU threads to compute with; default: as many as torch takes"
    )


def pairs(parser: argparse.ArgumentParser, flag: str, name: str, text: str) -> None:
    """Add an option that takes KEY=VALUE and may be repeated."""
    parser.add_argument(
        flag, dest=name, action="append", default=[], type=pair, metavar="KEY=VALUE", help=f"{text}; may be repeated"
    )


# ---- what they mean -------------------------------------------------------------------------------------------------


def is_factory(name: str) -> bool:
    """Whether a name means a network in somebody's file, as MODULE:FACTORY."""
    return ":" in name or name.endswith(".py")


def model_of(arguments: argparse.Namespace) -> Any:
    """The network that --model and --weights mean; a weights file or run folder knows its network by itself."""
    from rfkit.models.registry import create_model
    from rfkit.models.weights import read_card

    weights = arguments.weights
    if weights is not None and Path(weights).is_dir():
        folder = Path(weights)
        weights = folder / "weights.safetensors"
        if not weights.is_file():
            raise FileNotFoundError(f"--weights {str(folder)!r}: the folder has no weights.safetensors; a run's has.")
    name = arguments.model
    if name is None:
        if weights is None or not (isinstance(weights, Path) or weights.endswith(".safetensors")):
            raise ValueError("--model is needed, unless --weights is a .safetensors file or a run folder.")
        name = read_card(weights).model
    return create_model(name, weights=weights).eval()


def device_of(arguments: argparse.Namespace) -> str:
    """The device that --device means; --threads is set on the way."""
    import torch

    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    return arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
