"""Label maps and overlays of images."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import nn

from rfkit._files import write_bytes
from rfkit._progress import Bar
from rfkit.data.cityscapes_labels import CITYSCAPES_CLASSES, CITYSCAPES_COLOURS
from rfkit.data.classes import CAMVID_CLASSES, CAMVID_COLOURS, default_colours
from rfkit.data.dataset import Dataset
from rfkit.data.decoding import IMAGE_SUFFIXES, read_image
from rfkit.training.evaluation import class_scores
from rfkit.training.submission import check_submitted_classes, submission_name, submission_picture

__all__ = ["Predictions", "predict"]

_LABELS, _OVERLAYS = "labels", "overlays"
# The value 255 means unlabelled everywhere.
_MOST_CLASSES = 255

_COLOURS = {CAMVID_CLASSES: CAMVID_COLOURS, CITYSCAPES_CLASSES: CITYSCAPES_COLOURS}


@dataclass(frozen=True)
class Predictions:
    """The files that `predict` wrote.

    Attributes:
        images: The images read; of a data set, their names.
        labels: The label map of each, or the file to submit.
        overlays: The overlay of each; empty if none were wanted.
        classes: Names of the classes, in the order of the label values; numbers where the network knows none.
        shares: Share of each image's pixels that is predicted as each class, (images, classes).
    """

    images: tuple[Path, ...]
    labels: tuple[Path, ...]
    overlays: tuple[Path, ...]
    classes: tuple[str, ...]
    shares: np.ndarray

    def to_frame(self) -> pd.DataFrame:
        """One row for an image and class: image, label, class, share."""
        count = len(self.classes)
        return pd.DataFrame(
            {
                "image": np.repeat([str(path) for path in self.images], count),
                "label": np.repeat([str(path) for path in self.labels], count),
                "class": np.tile(self.classes, len(self.images)),
                "share": self.shares.reshape(-1),
            }
        )


def predict(
    model: nn.Module,
    source: str | Path | Dataset,
    *,
    out: str | Path,
    submission: bool = False,
    overlay: bool = True,
    opacity: float = 0.5,
    size: tuple[int, int] | None = None,
    colours: Sequence[Sequence[int]] | UInt8[np.ndarray, "classes 3"] | None = None,
    device: str | torch.device | None = None,
    progress: bool = True,
) -> Predictions:
    """Label maps, and overlays on the images, of a file, of every image in a folder or of a data set.

    `out/labels/NAME.png` is a palette PNG: its values are class ids, its colours those of the classes.
    `out/overlays/NAME.png` is the image with these colours laid over it. Both have the size of the image.

    With `submission`, `out/CITY_123456_123456.png` is written instead, and no overlay: one channel of 8 bits, the
    official label ids (road is 7) of Cityscapes, at the size of the image. The evaluation server and cityscapesScripts
    take the files as they are; for the server, pack them into a zip archive.

    Args:
        model: Takes normalised images, gives class scores. Left in the mode it was in.
        source: An image file, a folder of them (jpg, png, webp, bmp; folders inside it are not searched), or a data
            set, such as ``Cityscapes(root, "test")``.
        out: Folder for the results.
        submission: Whether to write what Cityscapes' evaluation server takes.
        overlay: Whether to write overlays.
        opacity: Of the colours in the overlays, from 0 to 1.
        size: (height, width) the network sees; None: that of each image. As the paper has it: (512, 1024).
        colours: RGB colours of the classes, 0 to 255; None: those of CamVid and of Cityscapes for their classes, else a
            fixed palette.
        device: Where to run; None: where the model is. The model is moved there and stays there.
        progress: Whether to show a bar.

    Returns:
        The files written.

    Raises:
        FileNotFoundError: There is no `source`, or no image in it.
        rfkit._checks.DataError: An image cannot be read; those before it have been written.
        ValueError: Two images would write one file, or an argument is not allowed. With `submission`: the network's
            classes are not the 19 of Cityscapes, or an image has not the name or the size of its frames.
    """
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity={opacity!r} must be in [0, 1].")
    frames = _frames(source)
    if submission:
        check_submitted_classes(_class_names(model))
        frames = [replace(frame, name=submission_name(frame.name)) for frame in frames]
    _check_names(frames)
    device = torch.device(device) if device is not None else next(model.parameters()).device
    model.to(device)
    labels: list[Path] = []
    overlays: list[Path] = []
    shares: list[np.ndarray] = []
    for frame in Bar(frames, desc="Predicting", unit="image", disable=not progress):
        image, name = frame.read(), f"{frame.name}.png"
        label, count = _label_map(model, image, size=size, device=device)
        if submission:
            check_submitted_classes(_class_names(model), count)
            labels.append(_write_png(Path(out) / name, submission_picture(label, name=frame.name)))
        else:
            table = _colour_table(model, colours, count)
            labels.append(_write_label(Path(out) / _LABELS / name, label, table))
            if overlay:
                overlays.append(_write_overlay(Path(out) / _OVERLAYS / name, image, table[label], opacity))
        shares.append(np.bincount(label.ravel(), minlength=count) / label.size)
    classes = _class_names(model) or (CITYSCAPES_CLASSES if submission else tuple(map(str, range(count))))
    images = tuple(frame.path for frame in frames)
    return Predictions(images, tuple(labels), tuple(overlays), classes, np.stack(shares))


@dataclass(frozen=True)
class _Frame:
    """An image: the name of its results, where it is, and what reads its pixels."""

    name: str
    path: Path
    read: Callable[[], UInt8[np.ndarray, "height width 3"]]


def _frames(source: str | Path | Dataset) -> list[_Frame]:
    """The images that `source` means."""
    if isinstance(source, Dataset):
        if not len(source):
            raise ValueError(f"dataset {source.name} {source.split} has no samples; at least 1 is needed.")
        return [_Frame(name, Path(name), partial(_pixels, source, index)) for index, name in enumerate(source.names)]
    source = Path(source)
    if not source.exists():
        raise FileNotFoundError(f"{source}: no such file or folder of images.")
    paths = [source]
    if source.is_dir():
        paths = sorted(path for path in source.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise FileNotFoundError(f"{source}: no image in this folder; known are {', '.join(IMAGE_SUFFIXES)}.")
    return [_Frame(path.stem, path, partial(read_image, path)) for path in paths]


def _pixels(dataset: Dataset, index: int) -> UInt8[np.ndarray, "height width 3"]:
    return dataset[index].image.permute(1, 2, 0).cpu().numpy()


def _check_names(frames: Sequence[_Frame]) -> None:
    """Raise `ValueError` if the results of one image would take the place of another's."""
    seen: dict[str, Path] = {}
    for frame in frames:
        if frame.name in seen:
            raise ValueError(
                f"{seen[frame.name]} and {frame.path} would both write {frame.name}.png; rename one of them."
            )
        seen[frame.name] = frame.path


def _label_map(
    model: nn.Module, image: UInt8[np.ndarray, "height width 3"], *, size: tuple[int, int] | None, device: torch.device
) -> tuple[UInt8[np.ndarray, "height width"], int]:
    """The class of each pixel, and the number of classes."""
    batch = torch.from_numpy(image).permute(2, 0, 1)[None].contiguous().to(device)
    scores = class_scores(model, batch, size=size)
    count = scores.shape[1]
    if count > _MOST_CLASSES:
        raise ValueError(f"model gives {count} class scores; a label map holds at most {_MOST_CLASSES} classes.")
    return scores[0].argmax(0).to(torch.uint8).cpu().numpy(), count


def _class_names(model: nn.Module) -> tuple[str, ...]:
    card = getattr(model, "card", None)
    return tuple(card.class_names) if card is not None else ()


def _colour_table(
    model: nn.Module, colours: Sequence[Sequence[int]] | UInt8[np.ndarray, "classes 3"] | None, count: int
) -> UInt8[np.ndarray, "classes 3"]:
    if colours is None:
        return _COLOURS.get(_class_names(model), default_colours(count))
    table = np.asarray(colours)
    if table.shape != (count, 3) or table.min() < 0 or table.max() > 255:
        raise ValueError(
            f"colours has shape {table.shape}; {count} rows of red, green and blue from 0 to 255 are needed."
        )
    return table.astype(np.uint8)


def _write_label(path: Path, label: UInt8[np.ndarray, "height width"], table: UInt8[np.ndarray, "classes 3"]) -> Path:
    picture = Image.fromarray(label)
    picture.putpalette(table.tobytes())  # makes it a palette image; the values stay
    return _write_png(path, picture)


def _write_overlay(
    path: Path,
    image: UInt8[np.ndarray, "height width 3"],
    coloured: UInt8[np.ndarray, "height width 3"],
    opacity: float,
) -> Path:
    blended = (1 - opacity) * image + opacity * coloured
    return _write_png(path, Image.fromarray(blended.round().astype(np.uint8)))


def _write_png(path: Path, picture: Image.Image) -> Path:
    encoded = io.BytesIO()
    picture.save(encoded, format="PNG")
    write_bytes(path, encoded.getvalue())
    return path
