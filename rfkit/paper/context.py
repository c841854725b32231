"""What a figure or table is made from: where the weights are, whose images, which seed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from rfkit.data.dataset import Sample
from rfkit.data.opening import open_data
from rfkit.data.scenes import Scenes
from rfkit.models.registry import create_model
from rfkit.models.weights import Card, packaged_weights, read_card

__all__ = ["Context", "MissingInput"]

# Where several shipped files fit a network and the caller names no data set, this one is meant.
_PREFERRED_DATA = "camvid"
_PROCEDURAL = (None, "scenes")


class MissingInput(Exception):  # noqa: N818 (not an error: the entry is skipped, and the manifest says why)
    """A figure cannot be made here because an input, usually trained weights, is not there; the message says which."""


@dataclass(frozen=True)
class Context:
    """Inputs of a figure or table, and where it goes.

    Attributes:
        out: folder that the files are written to.
        weights: a weights file, a run folder, or a folder of weights files or run folders. A network that is not
            found there takes the weights that ship with the package.
        data: name of a data set whose test images are shown ("camvid", ...); procedural scenes if None.
        root: folder of the data set.
        seed: draws scenes and everything else that is random.
    """

    out: Path
    weights: Path | None = None
    data: str | None = None
    root: Path | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("out", "weights", "root"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, Path(value))
        if self.weights is not None and not self.weights.exists():
            raise FileNotFoundError(f"weights: {self.weights}: no such file or folder.")

    @property
    def shows_frames(self) -> bool:
        """Whether the images are frames of a data set, which are never committed."""
        return self.data not in _PROCEDURAL

    @property
    def data_label(self) -> str:
        """What the images are, for a caption."""
        return f"{self.data}, test split" if self.shows_frames else "procedural scene"

    def weights_files(self) -> tuple[tuple[Path, Card], ...]:
        """Every weights file that may be used, with its card: the given ones first, then those that ship."""
        given = [(path, read_card(path)) for path in _candidates(self.weights)]
        shipped = [(path, read_card(path)) for path in packaged_weights().values()]
        return (*given, *sorted(shipped, key=self._preference))

    def weights_file(self, name: str) -> Path | None:
        """The weights file of the network called `name`, by the card in it; None if there is none.

        Raises:
            ValueError: several of the given files hold that network.
        """
        given = [path for path in _candidates(self.weights) if read_card(path).model == name]
        if len(given) > 1:
            files = ", ".join(str(path) for path in given)
            raise ValueError(f"weights={str(self.weights)!r} holds {name!r} more than once: {files}; name one file.")
        if given:
            return given[0]
        shipped = [(path, card) for path, card in self.weights_files() if card.model == name]
        return shipped[0][0] if shipped else None

    def weights_hash(self, name: str) -> str | None:
        """SHA-256 of the weights file of the network called `name`; None if there is none."""
        path = self.weights_file(name)
        return None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()

    def logs(self) -> tuple[tuple[Path, Card], ...]:
        """The logs of the trainings whose weights were given, else of those that ship, each with its card.

        A log lies beside its weights, as log.csv in a run folder or under the name of the weights file.
        """
        found = []
        for path in _candidates(self.weights) or packaged_weights().values():
            for log in (path.with_suffix(".csv"), path.with_name("log.csv")):
                if log.is_file():
                    found.append((log, read_card(path)))
                    break
        return tuple(found)

    def card(self, name: str) -> Card:
        """The card of the weights of the network called `name`.

        Raises:
            MissingInput: there are no such weights.
        """
        return read_card(self._require(name))

    def model(self, name: str) -> tuple[nn.Module, Card]:
        """The trained network called `name`, in evaluation mode, and its card.

        Raises:
            MissingInput: there are no weights for it.
        """
        path = self._require(name)
        return create_model(name, weights=path).eval(), read_card(path)

    def initial_model(self, name: str) -> nn.Module:
        """The network called `name` as its training began: options, classes and seed of its card, in evaluation mode.

        Raises:
            MissingInput: there are no weights for it.
        """
        card = self.card(name)
        return create_model(name, num_classes=card.num_classes, seed=card.seed, **card.options).eval()

    def images(self, count: int, *, num_classes: int = 11) -> Sequence[Sample]:
        """`count` images with labels: spread evenly over the test split of the data set, or procedural scenes.

        Args:
            count: how many; all of them if the split holds fewer.
            num_classes: classes of the procedural scenes (a data set has its own).
        """
        if not self.shows_frames:
            scenes = Scenes("test", length=count, num_classes=num_classes, seed=self.seed)
            return [scenes[index] for index in range(count)]
        dataset = open_data(str(self.data), self.root, split="test")
        count = min(count, len(dataset))
        return [dataset[index * len(dataset) // count] for index in range(count)]

    def _require(self, name: str) -> Path:
        path = self.weights_file(name)
        if path is None:
            raise MissingInput(f"there are no trained weights of {name}: none ship with rfkit, none were given.")
        return path

    def _preference(self, entry: tuple[Path, Card]) -> tuple[str, int, str]:
        path, card = entry
        order = [self.data, _PREFERRED_DATA]
        return card.model, order.index(card.data) if card.data in order else len(order), path.name


def _candidates(weights: Path | None) -> list[Path]:
    if weights is None:
        return []
    if weights.is_file():
        return [weights]
    run = weights / "weights.safetensors"
    if run.is_file():
        return [run]
    return sorted([*weights.glob("*-*.safetensors"), *weights.glob("*/weights.safetensors")])
