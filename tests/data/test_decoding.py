from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rfkit._checks import DataError
from rfkit.data.decoding import LabelCode, read_image, read_label, resize, verify

CODE = LabelCode(ids={0: 0, 1: 1, 2: 2, 11: None})
COLOURS = LabelCode(colours={(128, 0, 0): 0, (0, 64, 192): 1, (0, 0, 0): None})


def _noise(height: int = 6, width: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _png(values: np.ndarray, *, bits: int) -> bytes:
    """A gray PNG with few bits a pixel, which Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = values.shape
    low_bits = np.unpackbits(values[..., None], axis=2)[..., 8 - bits :].reshape(height, -1)
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in low_bits)
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp"])
def test_lossless_images_come_back_as_they_are(tmp_path: Path, suffix: str) -> None:
    pixels = _noise()
    Image.fromarray(pixels).save(tmp_path / f"a.{suffix}", lossless=True)
    assert np.array_equal(read_image(tmp_path / f"a.{suffix}"), pixels)


def test_a_jpeg_is_read_close_to_what_was_saved(tmp_path: Path) -> None:
    pixels = np.full((8, 8, 3), (200, 100, 50), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - pixels).max() <= 3


def test_gray_palette_and_opaque_images_become_rgb(tmp_path: Path) -> None:
    gray = _noise()[..., 0]
    Image.fromarray(gray).save(tmp_path / "gray.png")
    assert np.array_equal(read_image(tmp_path / "gray.png"), np.stack([gray] * 3, axis=-1))
    palette = Image.fromarray(np.array([[0, 1]], dtype=np.uint8)).convert("P")
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.putdata([0, 1])
    palette.save(tmp_path / "palette.png")
    assert read_image(tmp_path / "palette.png").tolist() == [[[255, 0, 0], [0, 255, 0]]]
    pixels = _noise()
    Image.fromarray(np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])).save(tmp_path / "opaque.png")
    assert np.array_equal(read_image(tmp_path / "opaque.png"), pixels)


def test_a_transparent_image_is_an_error(tmp_path: Path) -> None:
    Image.fromarray(np.dstack([_noise(), np.full((6, 8), 254, np.uint8)])).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: has transparent pixels; an image must be opaque"):
        read_image(tmp_path / "a.png")


def test_a_16_bit_image_is_an_error(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), dtype=np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: has mode I;16; an image must have 8 bits"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_truncated_file_is_an_error(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(_noise(60, 80)).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=rf"a\.{suffix}: cannot be decoded: .*(?i:truncated)"):
        read_image(path)


def test_a_file_that_is_no_image_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("not an image")
    with pytest.raises(DataError, match=r"a\.png: is not an image that Pillow knows"):
        read_image(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"b\.png: is empty \(0 bytes\)"):
        read_image(tmp_path / "b.png")
    with pytest.raises(FileNotFoundError, match=r"c\.png: no such file"):
        read_image(tmp_path / "c.png")
    (tmp_path / "d.png").mkdir()
    with pytest.raises(DataError, match=r"d\.png: cannot be read: Is a directory"):
        read_image(tmp_path / "d.png")


def test_a_flipped_bit_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(_noise(60, 80)).save(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"a\.png: cannot be decoded"):
        read_image(path)


def test_verify_finds_an_end_that_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(_noise()).save(path)
    verify(path)
    data = path.read_bytes()
    path.write_bytes(data[:-14])
    read_image(path)
    with pytest.raises(DataError, match=r"a\.png: cannot be decoded: .*checksum"):
        verify(path)


def test_ids_become_classes_and_void_is_ignored(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 1, 2], [11, 2, 0]], dtype=np.uint8)).save(tmp_path / "a.png")
    assert read_label(tmp_path / "a.png", CODE).tolist() == [[0, 1, 2], [255, 2, 0]]


def test_a_palette_label_is_read_by_its_values(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2, 11]], dtype=np.uint8)).convert("P")
    image.putdata([0, 1, 2, 11])
    image.putpalette([200, 100, 50] * 12)
    image.save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as saved:
        assert saved.mode == "P"
    assert read_label(tmp_path / "a.png", CODE).tolist() == [[0, 1, 2, 255]]


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_values_of_few_bits_are_not_stretched(tmp_path: Path, bits: int) -> None:
    values = np.arange(16, dtype=np.uint8).reshape(2, 8) % 2**bits
    (tmp_path / "a.png").write_bytes(_png(values, bits=bits))
    label = read_label(tmp_path / "a.png", LabelCode(ids={number: number for number in range(16)}))
    assert np.array_equal(label, values)


def test_an_id_outside_the_classes_is_an_error_with_its_place(tmp_path: Path) -> None:
    label = np.zeros((4, 5), dtype=np.uint8)
    label[2, 3] = 7
    Image.fromarray(label).save(tmp_path / "a.png")
    message = r"a\.png: label id 7 outside the classes \(first at row 2, column 3\); allowed: 0-2, ignored: 11"
    with pytest.raises(DataError, match=message):
        read_label(tmp_path / "a.png", CODE)
    label[0, 4] = 9
    Image.fromarray(label).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"label ids 7, 9 outside the classes"):
        read_label(tmp_path / "a.png", CODE)


@pytest.mark.parametrize(
    ("array", "mode"),
    [
        (np.zeros((2, 2, 4), np.uint8), "RGBA"),
        (np.zeros((2, 2), np.uint16), "I;16"),
        (np.zeros((2, 2, 3), np.uint8), "RGB"),
    ],
)
def test_a_label_of_a_wrong_mode_is_an_error(tmp_path: Path, array: np.ndarray, mode: str) -> None:
    Image.fromarray(array).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=rf"a\.png: has mode {mode}; labels are 8-bit single-channel \(L\) or palette"):
        read_label(tmp_path / "a.png", CODE)


def test_a_lossy_label_is_an_error(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=r"a\.jpg: is a JPEG file; labels are PNG"):
        read_label(tmp_path / "a.jpg", CODE)


def test_colours_become_classes(tmp_path: Path) -> None:
    pixels = np.array([[(128, 0, 0), (0, 64, 192), (0, 0, 0)]], dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert read_label(tmp_path / "a.png", COLOURS).tolist() == [[0, 1, 255]]
    Image.fromarray(pixels).quantize(4).save(tmp_path / "palette.png")
    assert read_label(tmp_path / "palette.png", COLOURS).tolist() == [[0, 1, 255]]


def test_a_colour_outside_the_table_is_an_error_with_its_place(tmp_path: Path) -> None:
    pixels = np.full((4, 5, 3), (128, 0, 0), dtype=np.uint8)
    pixels[1, 2] = pixels[3, 3] = (127, 1, 0)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    message = (
        r"a\.png: colour \(127, 1, 0\) at row 1, column 2 is not one of the 3 label colours; 2 pixels are affected$"
    )
    with pytest.raises(DataError, match=message):
        read_label(tmp_path / "a.png", COLOURS)
    pixels[3, 4] = (9, 9, 9)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"3 pixels are affected, and 1 more such colours"):
        read_label(tmp_path / "a.png", COLOURS)
    Image.fromarray(pixels[..., 0]).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"has mode L; these labels are colour-coded RGB PNG"):
        read_label(tmp_path / "a.png", COLOURS)


def test_resizing_averages_the_image_and_picks_from_the_label() -> None:
    rows, columns = np.indices((72, 96))
    image = np.stack([(rows + columns) % 2 * 255] * 3, axis=-1).astype(np.uint8)
    label = (columns // 48 * 200).astype(np.uint8)
    small, picked = resize(image, label, size=(36, 48))
    assert small.shape == (36, 48, 3)
    # A checkerboard of single pixels is gray once every pixel counts; without antialiasing it stays black or white.
    assert np.abs(small[2:-2, 2:-2].astype(int) - 128).max() <= 2
    assert np.array_equal(picked, np.indices((36, 48))[1] // 24 * 200)
    same, unchanged = resize(image, label, size=(72, 96))
    assert np.array_equal(same, image)
    assert np.array_equal(unchanged, label)
