"""Procedural street scenes: a data set that needs no files, with known object sizes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from rfkit._checks import check_choice
from rfkit.data.dataset import IGNORE, SPLITS, Dataset, Sample
from rfkit.data.scene_classes import class_table
from rfkit.data.scene_layout import Layout, Thing
from rfkit.data.scene_plan import draw_layout
from rfkit.data.scene_render import Picture, render

__all__ = ["SceneDescription", "SceneObject", "Scenes"]

_LENGTHS = {"train": 400, "val": 100, "test": 200, "trainval": 500}
_STREAMS = {"train": 1, "val": 2, "test": 3}
_SMALLEST = 16


@dataclass(frozen=True)
class SceneObject:
    """One object of a scene: what is of one class in one thing, so that a sign and its post are two.

    Attributes:
        name: what it is, such as ``"hatchback"`` or ``"lamp post"``.
        class_index: position in `Scenes.classes`.
        depth: distance from the camera along the street, in metres.
        height: physical height in metres. Unless something hides it, it is `focal * height / depth` pixels tall.
        box: first row, first column, last row, last column of its visible pixels, inclusive.
        visible: number of its visible pixels in the label map.
    """

    name: str
    class_index: int
    depth: float
    height: float
    box: tuple[int, int, int, int]
    visible: int


@dataclass(frozen=True)
class SceneDescription:
    """What a scene shows, with sizes in metres and pixels.

    Attributes:
        name: name of the sample.
        size: (height, width) in pixels.
        light: time of day and weather.
        focal: focal length in pixels.
        horizon: row of the horizon.
        vanishing: column where the street vanishes.
        eye: height of the camera in metres.
        objects: every object that is visible, from far to near.
    """

    name: str
    size: tuple[int, int]
    light: str
    focal: float
    horizon: float
    vanishing: float
    eye: float
    objects: tuple[SceneObject, ...]


class Scenes(Dataset):
    """Procedural street scenes with exact label maps.

    A scene follows from `seed`, `split` and its index alone: `size` and `num_classes` change how it is rendered, not
    what it shows. The splits never share a scene, and `trainval` is `train` followed by `val`.

    Args:
        split: "train", "val", "test" or "trainval".
        size: (height, width) in pixels, each at least 16.
        length: number of scenes; by default 400, 100, 200 and 500 for the four splits.
        num_classes: from 2 to 20; 11 are CamVid's. others merge or add as
            `rfkit.data.scene_classes.class_table` says.
        seed: any whole number from 0; another seed gives other scenes.
        void_border: leave out of the label (255) a line of one pixel where two classes meet, on the side of what is
            behind, as hand-made label maps do.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> scenes = Scenes("val", size=(96, 128), length=4)
        >>> tuple(scenes[0].image.shape)
        (3, 96, 128)
    """

    def __init__(
        self,
        split: str = "train",
        *,
        size: tuple[int, int] = (360, 480),
        length: int | None = None,
        num_classes: int = 11,
        seed: int = 0,
        void_border: bool = True,
    ) -> None:
        check_choice("split", split, SPLITS)
        _check_size(size)
        if length is not None and (isinstance(length, bool) or not isinstance(length, int) or length < 1):
            raise ValueError(f"length={length!r} must be a whole number above 0, or None for {_LENGTHS[split]}.")
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 1 << 63:
            raise ValueError(f"seed={seed!r} must be a whole number from 0 to 2**63 - 1.")
        table = class_table(num_classes)
        self.name = "scenes"
        self.split = split
        self.root: Path | None = None
        self.classes = table.names
        self.colours = table.colours
        self.licence = "drawn by rfkit, no third-party data"
        self.size = (int(size[0]), int(size[1]))
        self.seed = seed
        self.void_border = void_border
        self._of_fine = table.of_fine
        self._latest: tuple[int, Layout, Picture] | None = None
        count = _LENGTHS[split] if length is None else length
        self._sources = tuple(_source(split, index) for index in range(count))
        self.names = tuple(f"scenes-{seed}-{part}-{index:05d}" for part, index in self._sources)

    def __getitem__(self, index: int) -> Sample:
        """Image and label map of scene `index`; negative indices count from the end."""
        position = self._position(index)
        _, picture = self._render(position)
        image = torch.from_numpy(np.ascontiguousarray(picture.image.transpose(2, 0, 1)))
        return Sample(image=image, label=torch.from_numpy(self._label(picture)), name=self.names[position])

    def describe(self, index: int) -> SceneDescription:
        """Camera, light and visible objects of scene `index`; it renders the scene to see what hides what.

        Args:
            index: which scene; negative indices count from the end.

        Returns:
            The description, with a box and a count of pixels that agree with the label map of the same index.

        Raises:
            IndexError: if there is no such scene.
        """
        position = self._position(index)
        layout, picture = self._render(position)
        view = layout.view(self.size)
        return SceneDescription(
            name=self.names[position],
            size=self.size,
            light=layout.light.name,
            focal=view.focal,
            horizon=view.horizon,
            vanishing=view.vanishing,
            eye=view.eye,
            objects=self._objects(layout, picture),
        )

    def _position(self, index: int) -> int:
        position = index + len(self.names) if index < 0 else index
        if not 0 <= position < len(self.names):
            raise IndexError(f"index={index} is out of range; there are {len(self.names)} scenes.")
        return position

    def _render(self, position: int) -> tuple[Layout, Picture]:
        # The last scene is kept, so that its description costs no second rendering.
        latest = self._latest
        if latest is None or latest[0] != position:
            self._latest = latest = (position, *self._draw(position))
        return latest[1], latest[2]

    def _draw(self, position: int) -> tuple[Layout, Picture]:
        part, index = self._sources[position]
        key = [self.seed, (_STREAMS[part] << 48) | index]
        layout = draw_layout(np.random.Generator(np.random.Philox(key=key)))
        # The noise of the camera has a counter far beyond what the layout uses of the same key.
        noise = np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, 1]))
        return layout, render(layout, self.size, noise=noise)

    def _label(self, picture: Picture) -> np.ndarray:
        label = self._of_fine[picture.fine]
        if self.void_border:
            label[_border(label, picture.owner)] = IGNORE
        return label

    def _objects(self, layout: Layout, picture: Picture) -> tuple[SceneObject, ...]:
        label = self._label(picture)
        rows, columns = np.nonzero((picture.owner >= 0) & (label != IGNORE))
        # A sign and its post are one thing but two objects, unless they are of one class.
        keys = picture.owner[rows, columns].astype(np.int64) * 256 + label[rows, columns]
        order = np.argsort(keys, kind="stable")
        rows, columns, keys = rows[order], columns[order], keys[order]
        starts = np.flatnonzero(np.diff(keys, prepend=-1))
        found = []
        for start, stop in pairwise([*starts.tolist(), keys.size]):
            number, class_index = divmod(int(keys[start]), 256)
            thing = layout.things[number]
            y, x = rows[start:stop], columns[start:stop]
            found.append(
                SceneObject(
                    name=thing.kind,
                    class_index=class_index,
                    depth=thing.z,
                    height=self._height(thing, class_index),
                    box=(int(y.min()), int(x.min()), int(y.max()), int(x.max())),
                    visible=stop - start,
                )
            )
        return tuple(sorted(found, key=lambda item: -item.depth))

    def _height(self, thing: Thing, class_index: int) -> float:
        """Height of the part of a thing that is of a class, in metres."""
        ends = [(low, high) for fine, low, high in thing.parts if self._of_fine[fine] == class_index]
        if not ends:
            return thing.height
        return max(high for _, high in ends) - min(low for low, _ in ends)


def _source(split: str, index: int) -> tuple[str, int]:
    """Split and index that a scene is drawn for; those of trainval belong to train and val."""
    if split != "trainval":
        return split, index
    first = _LENGTHS["train"]
    return ("train", index) if index < first else ("val", index - first)


def _check_size(size: tuple[int, int]) -> None:
    try:
        height, width = size
        fits = int(height) == height >= _SMALLEST and int(width) == width >= _SMALLEST
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(f"size={size!r} must be (height, width), whole numbers of at least {_SMALLEST} pixels.")


def _border(label: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Pixels of no object, next to another class on the right or below."""
    differs = np.zeros(label.shape, dtype=bool)
    across = label[:, 1:] != label[:, :-1]
    down = label[1:] != label[:-1]
    differs[:, 1:] |= across
    differs[:, :-1] |= across
    differs[1:] |= down
    differs[:-1] |= down
    return differs & (owner < 0)
