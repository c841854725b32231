"""Flat shapes with antialiased edges and exact labels: what vehicles, people and street furniture are drawn with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, UInt8
from PIL import Image, ImageDraw

from rfkit.data.scene_canvas import Canvas, Colour, View
from rfkit.data.scene_classes import Fine
from rfkit.data.scene_noise import sample_grid

__all__ = ["Frame", "Point", "Sketch"]

Point = tuple[float, float, float]
"""A point or a direction: (s, t, y) in local axes, (x, y, z) in the world."""

# Steps of brightness from black to white, and the most that 16 samples can have without overflow of 16 bits.
_UNIT = 2040
_BRIGHTEST = 65535 // 16


class Frame:
    """Local axes of a thing: s forward, t to its right, y up; heading 0 looks along the street, away from us."""

    def __init__(self, x: float, z: float, heading: float = 0.0, *, scale: float = 1.0, stretch: float = 1.0) -> None:
        self.x, self.z = x, z
        self.sine, self.cosine = math.sin(heading), math.cos(heading)
        self.scale, self.stretch = scale, stretch

    def world(self, points: Float64[np.ndarray, "points 3"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x, y and z of local points (s, t, y), which are scaled, and stretched upwards, on the way."""
        s, t, y = points.T * self.scale
        return self.x + s * self.sine + t * self.cosine, y * self.stretch, self.z + s * self.cosine - t * self.sine

    def camera(self) -> tuple[float, float]:
        """Where the camera is: (s, t)."""
        return (-self.x * self.sine - self.z * self.cosine, -self.x * self.cosine + self.z * self.sine)

    def normal(self, s: float, t: float, y: float) -> Point:
        """A local direction in the world."""
        return (s * self.sine + t * self.cosine, y, s * self.cosine - t * self.sine)


@dataclass(frozen=True)
class _Shape:
    """Points [start, stop) of a sketch, what to make of them, and in which ink."""

    kind: str
    start: int
    stop: int
    size: tuple[float, float]
    ink: int


class Sketch:
    """Shapes of one thing in its local axes, in painting order; each has a colour and a fine class."""

    def __init__(self, view: View, frame: Frame, *, fine: Fine) -> None:
        self.view = view
        self.frame = frame
        self.fine = fine
        self._points: list[Point] = []
        self._shapes: list[_Shape] = []
        self._palette: dict[tuple[Colour, int], int] = {}

    def polygon(self, points: Sequence[Point], colour: Colour, *, fine: Fine | None = None) -> None:
        """A filled polygon through local points (s, t, y)."""
        self._add("polygon", points, (0.0, 0.0), colour, fine)

    def limb(self, points: Sequence[Point], width: float, colour: Colour, *, fine: Fine | None = None) -> None:
        """A line through local points, `width` wide, with round joints."""
        self._add("limb", points, (width, width), colour, fine)

    def blob(self, centre: Point, size: tuple[float, float], colour: Colour, *, fine: Fine | None = None) -> None:
        """An ellipse that faces the camera; `size` is half its width and half its height."""
        self._add("blob", [centre], size, colour, fine)

    def paint(self, canvas: Canvas, *, owner: int, shading: Colour | None = None, grain: float = 0.06) -> None:
        """Paint the shapes; all edges between them are averaged, while labels stay whole.

        Args:
            canvas: what is painted on.
            owner: number of the object.
            shading: how much brighter the left edge, the right edge and the top are than the middle.
            grain: strength of the surface texture.
        """
        shapes, box = self._project()
        if box is None:
            return
        row, column, height, width = box
        depth = self.frame.z
        factor = 4 if max(height, width) < 48 else 2
        index = self._rasterise(shapes, (row, column, height, width), factor)
        colour, alpha, fine = self._resolve(index, factor)
        colour *= self._shade(row, column, alpha, depth, shading, grain)
        canvas.blend((row, column), colour, alpha=alpha, depth=depth, fine=fine, owner=owner)

    def _add(
        self, kind: str, points: Sequence[Point], size: tuple[float, float], colour: Colour, fine: Fine | None
    ) -> None:
        key = (colour, int(self.fine if fine is None else fine))
        ink = self._palette.setdefault(key, len(self._palette) + 1)
        start = len(self._points)
        self._points.extend(points)
        self._shapes.append(_Shape(kind, start, len(self._points), size, ink))

    def _project(self) -> tuple[list[tuple[_Shape, list, float]], tuple[int, int, int, int] | None]:
        """Shapes with (column, row) of their points and pixels per metre, and the window of the picture they need."""
        view = self.view
        x, y, z = self.frame.world(np.array(self._points, dtype=np.float64).reshape(-1, 3))
        # What is behind the camera is taken to be just before it.
        scale = view.focal / np.maximum(z, 0.25)
        columns = view.vanishing + x * scale
        rows = view.horizon + (view.eye - y) * scale
        places = list(zip(columns.tolist(), rows.tolist(), strict=True))
        zoom = (scale * self.frame.scale).tolist()
        shapes = [(shape, places[shape.start : shape.stop], zoom[shape.start]) for shape in self._shapes]
        pad_x = max((shape.size[0] * zoom[shape.start] for shape in self._shapes), default=0.0)
        pad_y = max((shape.size[1] * zoom[shape.start] for shape in self._shapes), default=0.0)
        left, right = max(0, int(columns.min() - pad_x) - 1), min(view.width, int(columns.max() + pad_x) + 2)
        top, bottom = max(0, int(rows.min() - pad_y) - 1), min(view.height, int(rows.max() + pad_y) + 2)
        if left >= right or top >= bottom:
            return shapes, None
        return shapes, (top, left, bottom - top, right - left)

    @staticmethod
    def _rasterise(
        shapes: list[tuple[_Shape, list, float]], box: tuple[int, int, int, int], factor: int
    ) -> UInt8[np.ndarray, "height width"]:
        """Number of the ink of each point of a grid `factor` times as fine as the pixels."""
        row, column, height, width = box
        image = Image.new("L", (width * factor, height * factor))
        pen = ImageDraw.Draw(image)
        for shape, places, zoom in shapes:
            # Pillow counts from pixel centres.
            moved = [((c - column) * factor - 0.5, (r - row) * factor - 0.5) for c, r in places]
            if shape.kind == "polygon":
                pen.polygon(moved, fill=shape.ink)
                continue
            if shape.kind == "limb":
                thick = shape.size[0] * zoom * factor
                pen.line(moved, fill=shape.ink, width=max(1, round(thick)))
                a = b = thick / 2
                if a < 1.5:
                    continue
            else:
                a, b = (half * zoom * factor for half in shape.size)
            for c, r in moved:
                pen.ellipse([c - a, r - b, c + a, r + b], fill=shape.ink)
        return np.asarray(image)

    def _resolve(self, index: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean colour of the covered part of each pixel, share covered, and fine class."""
        # Red, green, blue and a count share one integer, 16 bits each, so that one sum adds up all four.
        inks = np.zeros(len(self._palette) + 1, dtype=np.uint64)
        classes = np.zeros(len(self._palette) + 1, dtype=np.uint8)
        for (colour, fine), ink in self._palette.items():
            levels = [min(max(round(c * _UNIT), 0), _BRIGHTEST) for c in colour]
            inks[ink] = levels[0] << 48 | levels[1] << 32 | levels[2] << 16 | 1
            classes[ink] = fine
        parts = [index[i::factor, j::factor] for i in range(factor) for j in range(factor)]
        total, top = inks.take(parts[0]), parts[0].copy()
        for part in parts[1:]:
            total += inks.take(part)
            np.maximum(top, part, out=top)
        red, green, blue, count = (
            (total >> np.uint64(s) & np.uint64(0xFFFF)).astype(np.float32) for s in (48, 32, 16, 0)
        )
        weight = 1 / (np.maximum(count, 1) * _UNIT)
        return np.stack([red * weight, green * weight, blue * weight]), count / factor**2, classes[top]

    def _shade(
        self, row: int, column: int, alpha: np.ndarray, depth: float, shading: Colour | None, grain: float
    ) -> np.ndarray:
        height, width = alpha.shape
        pitch = depth / self.view.focal
        fade = grain / (1 + (pitch * 40) ** 2)
        rows = (np.arange(height, dtype=np.float32) + row) * pitch * 90 + len(self._shapes) * 31
        columns = (np.arange(width, dtype=np.float32) + column) * pitch * 90
        shade = 1 + fade * sample_grid(rows, columns)
        if shading is not None:
            left, right, top = (value for value in shading)
            across = (np.arange(width, dtype=np.float32) + 0.5) / width * 2 - 1
            down = (np.arange(height, dtype=np.float32)[:, None] + 0.5) / height * 2 - 1
            shade += np.maximum(-across, 0) * left + np.maximum(across, 0) * right - down * top
        return shade
