"""Image and label files to arrays; a file that is damaged or of a wrong kind is an error that names it."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from rfkit._checks import data_error
from rfkit.data.dataset import IGNORE

__all__ = ["IMAGE_SUFFIXES", "LabelCode", "read_image", "read_label", "resize", "verify"]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")

# What Pillow raises for damaged files, by format and place of the damage.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, zlib.error, struct.error, Image.DecompressionBombError)

# Marks a value that means nothing, inside the lookup tables: neither a class nor ignored.
_UNKNOWN = 254


@dataclass(frozen=True)
class LabelCode:
    """What the pixels of a label file mean.

    Attributes:
        ids: Class of each value of a single-channel label; None is ignored. Values not listed are errors.
        colours: Class of each RGB colour of a colour-coded label; None is ignored. Empty: no colour-coded
            labels.
    """

    ids: Mapping[int, int | None] = field(default_factory=dict)
    colours: Mapping[tuple[int, int, int], int | None] = field(default_factory=dict)


def read_image(path: str | Path) -> UInt8[np.ndarray, "height width 3"]:
    """The RGB pixels of an image file, as stored (an EXIF rotation is not applied).

    Gray and palette images become RGB and an alpha channel that is opaque throughout is dropped.

    Raises:
        FileNotFoundError: If there is no such file.
        DataError: If it cannot be decoded, holds transparent pixels, or has more than 8 bits a channel.
    """
    path = Path(path)
    image = _load(path)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        if np.asarray(image.getchannel("A")).min() < 255:
            raise data_error(path, "has transparent pixels; an image must be opaque")
    elif image.mode not in ("RGB", "L", "P", "1", "CMYK", "YCbCr"):
        raise data_error(path, f"has mode {image.mode}; an image must have 8 bits a channel (RGB or gray)")
    return np.array(image.convert("RGB"))


def read_label(path: str | Path, code: LabelCode) -> UInt8[np.ndarray, "height width"]:
    """The classes of a label file's pixels, `IGNORE` where nothing is to be learned or scored.

    Raises:
        FileNotFoundError: If there is no such file.
        DataError: If it is not a PNG, cannot be decoded, has a mode that cannot hold labels, or holds a value
            or colour that `code` does not list.
    """
    path = Path(path)
    image = _load(path)
    if image.format != "PNG":
        raise data_error(path, f"is a {image.format} file; labels are PNG, because lossy formats change their values")
    if image.mode in ("L", "P", "1") and code.ids:
        return _classes_of_ids(path, _stored_values(image), code)
    if image.mode in ("RGB", "P") and code.colours:
        return _classes_of_colours(path, np.asarray(image.convert("RGB")), code)
    raise data_error(path, f"has mode {image.mode}; {_allowed_modes(code)}")


def resize(
    image: UInt8[np.ndarray, "height width 3"],
    label: UInt8[np.ndarray, "height width"],
    *,
    size: tuple[int, int],
) -> tuple[UInt8[np.ndarray, "new_height new_width 3"], UInt8[np.ndarray, "new_height new_width"]]:
    """Image and label at `size` (height, width): the image antialiased, the label by the nearest pixel."""
    height, width = size
    if image.shape[:2] == (height, width):
        return image, label
    # Pillow widens the bilinear filter when it makes an image smaller, so every input pixel counts.
    small = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    nearest = Image.fromarray(label).resize((width, height), Image.Resampling.NEAREST)
    return np.array(small), np.array(nearest)


def verify(path: str | Path) -> None:
    """Raise `DataError` if a file is cut short or a checksum does not fit, though its pixels can be decoded."""
    path = Path(path)
    try:
        Image.open(io.BytesIO(path.read_bytes())).verify()
    except _DAMAGE as error:
        raise data_error(path, f"cannot be decoded: {error}") from error


def _load(path: Path) -> Image.Image:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: no such file") from error
    except OSError as error:
        raise data_error(path, f"cannot be read: {error.strerror}") from error
    if not data:
        raise data_error(path, "is empty (0 bytes)")
    try:
        image = Image.open(io.BytesIO(data))
        # The raw mode says how many bits a value has on disk; loading the pixels forgets it.
        image.info["raw_mode"] = image.tile[0].args if image.tile else None
        image.load()
    except Image.UnidentifiedImageError as error:
        raise data_error(path, "is not an image that Pillow knows") from error
    except _DAMAGE as error:
        raise data_error(path, f"cannot be decoded: {error}") from error
    return image


def _stored_values(image: Image.Image) -> UInt8[np.ndarray, "height width"]:
    # Pillow stretches gray values of 2 and 4 bits to the range 0 to 255; here they are numbers, not
    # brightness.
    stretch = {"L;2": 85, "L;4": 17}.get(str(image.info["raw_mode"]), 1)
    return np.asarray(image, dtype=np.uint8) // stretch


def _classes_of_ids(
    path: Path, values: UInt8[np.ndarray, "height width"], code: LabelCode
) -> UInt8[np.ndarray, "height width"]:
    label = _id_table(tuple(code.ids.items()))[values]
    if (label == _UNKNOWN).any():
        wrong = sorted({int(value) for value in np.unique(values)} - set(code.ids))
        row, column = _first(values == wrong[0])
        listed = f"label ids {', '.join(map(str, wrong[:8]))}" if len(wrong) > 1 else f"label id {wrong[0]}"
        classes = [value for value, number in code.ids.items() if number is not None]
        ignored = [value for value, number in code.ids.items() if number is None]
        raise data_error(
            path,
            f"{listed} outside the classes (first at row {row}, column {column}); allowed: "
            f"{_ranges(classes)}, ignored: {_ranges(ignored) or 'none'}",
        )
    return label


def _classes_of_colours(
    path: Path, pixels: UInt8[np.ndarray, "height width 3"], code: LabelCode
) -> UInt8[np.ndarray, "height width"]:
    packed = _packed(pixels)
    label = _colour_table(tuple(code.colours.items()))[packed]
    wrong = label == _UNKNOWN
    if wrong.any():
        row, column = _first(wrong)
        red, green, blue = pixels[row, column].tolist()
        others = len(np.unique(packed[wrong])) - 1
        more = f", and {others} more such colours" if others else ""
        raise data_error(
            path,
            f"colour ({red}, {green}, {blue}) at row {row}, column {column} is not one of the "
            f"{len(code.colours)} label colours; {int(wrong.sum())} pixels are affected{more}",
        )
    return label


def _packed(pixels: UInt8[np.ndarray, "height width 3"]) -> Int[np.ndarray, "height width"]:
    wide = pixels.astype(np.int32)
    return (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]


@lru_cache(maxsize=8)
def _id_table(ids: tuple[tuple[int, int | None], ...]) -> UInt8[np.ndarray, " 256"]:
    table = np.full(256, _UNKNOWN, dtype=np.uint8)
    for value, number in ids:
        table[value] = IGNORE if number is None else number
    return table


# 16 MB a table, kept outside the data sets so that it is not sent to every worker process.
@lru_cache(maxsize=2)
def _colour_table(
    colours: tuple[tuple[tuple[int, int, int], int | None], ...],
) -> UInt8[np.ndarray, " 16777216"]:
    table = np.full(1 << 24, _UNKNOWN, dtype=np.uint8)
    for (red, green, blue), number in colours:
        table[(red << 16) | (green << 8) | blue] = IGNORE if number is None else number
    return table


def _first(mask: np.ndarray) -> tuple[int, int]:
    row, column = np.unravel_index(int(mask.argmax()), mask.shape)
    return int(row), int(column)


def _ranges(values: list[int]) -> str:
    """`0-10, 255` for 0 to 10 and 255."""
    pieces: list[list[int]] = []
    for value in sorted(values):
        if pieces and value == pieces[-1][1] + 1:
            pieces[-1][1] = value
        else:
            pieces.append([value, value])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in pieces)


def _allowed_modes(code: LabelCode) -> str:
    if code.ids and code.colours:
        return "labels are 8-bit single-channel (L), palette (P) or colour-coded RGB PNG"
    if code.colours:
        return "these labels are colour-coded RGB PNG"
    return "labels are 8-bit single-channel (L) or palette (P) PNG; colour-coded ones need the classes' colours"
