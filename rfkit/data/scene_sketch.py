"""Flat shapes with antialiased edges and exact labels: what vehicles, people and street furniture are drawn with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from rfkit.data.scene_canvas import Canvas, Colour, View
from rfkit.data.scene_classes import Fine
from rfkit.data.scene_noise import sample_grid

__all__ = ["Frame", "Sketch"]

Point = tuple[float, float, float]


class Frame:
    """Local axes of a thing: s forward, t to its right, y up; heading 0 looks along the street, away from us."""

    def __init__(self, x: float, z: float, heading: float) -> None:
        self.x, self.z = x, z
        self.sine, self.cosine = float(np.sin(heading)), float(np.cos(heading))

    def world(self, s: float, t: float, y: float) -> Point:
        """A local point in the world."""
        return (self.x + s * self.sine + t * self.cosine, y, self.z + s * self.cosine - t * self.sine)

    def camera(self) -> tuple[float, float]:
        """Where the camera is: (s, t)."""
        return (-self.x * self.sine - self.z * self.cosine, -self.x * self.cosine + self.z * self.sine)

    def normal(self, s: float, t: float, y: float) -> Point:
        """A local direction in the world."""
        return (s * self.sine + t * self.cosine, y, s * self.cosine - t * self.sine)


class Sketch:
    """Shapes of one thing, in painting order; each has a colour and a fine class."""

    def __init__(self, view: View, *, fine: Fine) -> None:
        self.view = view
        self.fine = fine
        self._shapes: list[tuple[str, list[tuple[float, float]], float, int]] = []
        self._palette: dict[tuple[Colour, int], int] = {}

    def project(self, point: Point) -> tuple[float, float]:
        """(column, row) of a point; what is behind the camera is taken to be just before it."""
        scale = self.view.focal / max(point[2], 0.25)
        return (self.view.vanishing + point[0] * scale, self.view.horizon + (self.view.eye - point[1]) * scale)

    def polygon(self, points: Sequence[Point], colour: Colour, *, fine: Fine | None = None) -> None:
        """A filled polygon."""
        self._shapes.append(("polygon", [self.project(p) for p in points], 0.0, self._ink(colour, fine)))

    def limb(self, points: Sequence[Point], width: float, colour: Colour, *, fine: Fine | None = None) -> None:
        """A line through points, `width` metres wide, with round joints."""
        scale = self.view.focal / max(points[0][2], 0.25)
        self._shapes.append(("limb", [self.project(p) for p in points], width * scale, self._ink(colour, fine)))

    def blob(self, centre: Point, size: tuple[float, float], colour: Colour, *, fine: Fine | None = None) -> None:
        """An ellipse that faces the camera; `size` is half its width and half its height in metres."""
        scale = self.view.focal / max(centre[2], 0.25)
        column, row = self.project(centre)
        a, b = size[0] * scale, size[1] * scale
        self._shapes.append(("blob", [(column - a, row - b), (column + a, row + b)], 0.0, self._ink(colour, fine)))

    def paint(
        self, canvas: Canvas, *, depth: float, owner: int, shading: Colour | None = None, grain: float = 0.06
    ) -> None:
        """Paint the shapes; all edges between them are averaged, while labels stay whole.

        Args:
            canvas: what is painted on.
            depth: metres, for the haze.
            owner: number of the object.
            shading: how much brighter the left edge, the right edge and the top are than the middle.
            grain: strength of the surface texture.
        """
        box = self._box()
        if box is None:
            return
        row, column, height, width = box
        factor = 4 if max(height, width) < 70 else 2
        index = self._rasterise(row, column, height, width, factor)
        colour, alpha, fine = self._resolve(index, factor)
        colour *= self._shade(row, column, alpha, depth, shading, grain)
        canvas.blend((row, column), colour, alpha=alpha, depth=depth, fine=fine, owner=owner)

    def _ink(self, colour: Colour, fine: Fine | None) -> int:
        key = (colour, int(self.fine if fine is None else fine))
        return self._palette.setdefault(key, len(self._palette) + 1)

    def _box(self) -> tuple[int, int, int, int] | None:
        if not self._shapes:
            return None
        columns = [c + d for _, points, width, _ in self._shapes for c, _ in points for d in (-width / 2, width / 2)]
        rows = [r + d for _, points, width, _ in self._shapes for _, r in points for d in (-width / 2, width / 2)]
        left, right = max(0, int(min(columns)) - 1), min(self.view.width, int(max(columns)) + 2)
        top, bottom = max(0, int(min(rows)) - 1), min(self.view.height, int(max(rows)) + 2)
        if left >= right or top >= bottom:
            return None
        return top, left, bottom - top, right - left

    def _rasterise(self, row: int, column: int, height: int, width: int, factor: int) -> np.ndarray:
        image = Image.new("L", (width * factor, height * factor))
        pen = ImageDraw.Draw(image)
        for kind, points, thick, ink in self._shapes:
            # Pillow counts from pixel centres.
            moved = [((c - column) * factor - 0.5, (r - row) * factor - 0.5) for c, r in points]
            if kind == "polygon":
                pen.polygon(moved, fill=ink)
            elif kind == "blob":
                pen.ellipse([*moved[0], *moved[1]], fill=ink)
            else:
                self._draw_limb(pen, moved, thick * factor, ink)
        return np.asarray(image)

    @staticmethod
    def _draw_limb(pen: ImageDraw.ImageDraw, points: list[tuple[float, float]], thick: float, ink: int) -> None:
        pen.line(points, fill=ink, width=max(1, round(thick)))
        radius = thick / 2
        if radius > 1.5:
            for column, row in points:
                pen.ellipse([column - radius, row - radius, column + radius, row + radius], fill=ink)

    def _resolve(self, index: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean colour of the covered part of each pixel, share covered, and fine class."""
        inks = np.zeros((4, len(self._palette) + 1), dtype=np.float32)
        classes = np.zeros(len(self._palette) + 1, dtype=np.uint8)
        for (colour, fine), ink in self._palette.items():
            inks[:3, ink] = colour
            inks[3, ink] = 1
            classes[ink] = fine
        total = np.zeros((4, index.shape[0] // factor, index.shape[1] // factor), dtype=np.float32)
        top = np.zeros(total.shape[1:], dtype=np.uint8)
        for i in range(factor):
            for j in range(factor):
                part = index[i::factor, j::factor]
                total += inks[:, part]
                np.maximum(top, part, out=top)
        alpha = total[3] / np.float32(factor * factor)
        colour = total[:3] / np.maximum(total[3], 1)
        return colour, alpha, classes[top]

    def _shade(
        self, row: int, column: int, alpha: np.ndarray, depth: float, shading: Colour | None, grain: float
    ) -> np.ndarray:
        height, width = alpha.shape
        pitch = np.float32(depth / self.view.focal)
        fade = np.float32(grain) / (1 + (pitch * 40) ** 2)
        rows = (np.arange(height, dtype=np.float32) + row) * pitch * 90 + len(self._shapes) * 31
        columns = (np.arange(width, dtype=np.float32) + column) * pitch * 90
        shade = 1 + fade * sample_grid(rows, columns)
        if shading is not None:
            left, right, top = (np.float32(value) for value in shading)
            across = (np.arange(width, dtype=np.float32) + np.float32(0.5)) / width * 2 - 1
            down = (np.arange(height, dtype=np.float32)[:, None] + np.float32(0.5)) / height * 2 - 1
            shade += np.maximum(-across, 0) * left + np.maximum(across, 0) * right - down * top
        return shade
