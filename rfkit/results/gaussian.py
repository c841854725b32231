"""A map described as a two-dimensional Gaussian: by its moments, and by least squares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rfkit.results.base import Result

__all__ = ["GaussianFit", "fit_gaussian"]

_STEPS, _DONE = 200, 1e-12


@dataclass(frozen=True, eq=False)
class GaussianFit(Result):
    """Width and place of a map, in two ways that agree where the map is a Gaussian.

    Moments take every pixel by its value, so a faint wide halo widens them; least squares follow the peak.

    Attributes:
        sigma_y, sigma_x: standard deviation of the least-squares Gaussian down and across, in pixels; 0 along an axis
            on which the map is a single pixel wide.
        centre: its (row, column).
        amplitude: its height, in the units of the map.
        r2: share of the map's variance over the image that it explains (1 for a perfect fit).
        moment_sigma_y, moment_sigma_x: standard deviation of the map itself, about its centroid, in pixels.
        moment_centre: the centroid, (row, column).
    """

    sigma_y: float
    sigma_x: float
    centre: tuple[float | int, float | int]
    amplitude: float
    r2: float
    moment_sigma_y: float
    moment_sigma_x: float
    moment_centre: tuple[float | int, float | int]

    def profile(self, axis: str, positions: np.ndarray) -> np.ndarray:
        """The least-squares Gaussian along the "row" or "column" axis through its centre, at `positions` in pixels.

        Raises:
            ValueError: `axis` is neither "row" nor "column", or the width along it is 0.
        """
        if axis not in ("row", "column"):
            raise ValueError(f"axis={axis!r} must be 'row' (down) or 'column' (across).")
        sigma, middle = (self.sigma_y, self.centre[0]) if axis == "row" else (self.sigma_x, self.centre[1])
        if not sigma > 0:
            raise ValueError(f"the Gaussian has no width along axis={axis!r}.")
        return self.amplitude * np.exp(-(((np.asarray(positions) - middle) / sigma) ** 2) / 2)


def fit_gaussian(mass: np.ndarray) -> GaussianFit:
    """The Gaussian, upright and without background, that is nearest to `mass`, and the moments of `mass`.

    Rescaling `mass` rescales the amplitude and nothing else.

    Args:
        mass: (height, width), nowhere negative.

    Returns:
        The fit; all NaN where `mass` is zero everywhere.
    """
    peak = float(mass.max(initial=0.0))
    if peak == 0:
        nan = float("nan")
        return GaussianFit(nan, nan, (nan, nan), nan, nan, nan, nan, (nan, nan))
    values = mass / peak
    centre, sigma = _moments(values)
    wide = [side > 0 for side in sigma]
    # Least squares follow the peak, which may be far narrower than the moments say: start from both.
    count = np.count_nonzero(values > 0.5)
    narrow = [max(np.sqrt(count / (2 * np.pi * np.log(2))), 0.3) if side else 0.0 for side in wide]
    top = [float(np.mean(found)) for found in np.nonzero(values > 0.99)]
    starts = [np.array([1.0, *centre, *sigma]), np.array([1.0, *top, *narrow])]
    best = min((_descend(values, start, wide) for start in starts), key=lambda found: found[1])
    (height, row, column, down, across), residual = best
    spread = float(np.square(values - values.mean()).sum())
    return GaussianFit(
        sigma_y=float(down),
        sigma_x=float(across),
        centre=(float(row), float(column)),
        amplitude=float(height * peak),
        r2=1 - residual / spread if spread > 0 else float("nan"),
        moment_sigma_y=sigma[0],
        moment_sigma_x=sigma[1],
        moment_centre=centre,
    )


def _moments(values: np.ndarray) -> tuple[tuple[float, float], tuple[float, float]]:
    centres, sigmas = [], []
    for axis in (1, 0):
        sums = values.sum(axis=axis)
        positions = np.arange(len(sums))
        centre = float((sums * positions).sum() / sums.sum())
        centres.append(centre)
        single = np.count_nonzero(sums) == 1
        sigmas.append(0.0 if single else float(np.sqrt((sums * (positions - centre) ** 2).sum() / sums.sum())))
    return (centres[0], centres[1]), (sigmas[0], sigmas[1])


def _descend(values: np.ndarray, start: np.ndarray, wide: list[bool]) -> tuple[np.ndarray, float]:
    """Levenberg and Marquardt's steps from `start` (height, row, column, sigma down, sigma across).

    Along an axis on which the map is one pixel wide nothing is fitted. Widths move by their logarithm, so they stay
    positive. Returns the parameters and the sum of squared residuals.
    """
    free = np.array([True, wide[0], wide[1], wide[0], wide[1]])
    found, damping = start.copy(), 1e-3
    residual, gradient, curvature = _normal_equations(values, found)
    for _ in range(_STEPS):
        system = curvature[np.ix_(free, free)]
        system = system + damping * np.diag(np.maximum(np.diag(system), 1e-12))
        step = np.zeros(5)
        step[free] = np.linalg.solve(system, gradient[free])
        trial = found.copy()
        trial[:3] += step[:3]
        trial[3:] *= np.exp(np.clip(step[3:], -1, 1))
        trial[3:] = np.where(free[3:], np.clip(trial[3:], 1e-2, 10 * max(values.shape)), trial[3:])
        after = _normal_equations(values, trial)
        if not after[0] < residual:
            damping *= 10
            if damping > 1e12:
                break
            continue
        done = residual - after[0] <= _DONE * residual
        found, (residual, gradient, curvature), damping = trial, after, max(damping / 10, 1e-12)
        if done:
            break
    return found, float(residual)


def _normal_equations(values: np.ndarray, parameters: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Residual, J'r and J'J. A Gaussian and its derivatives are products of a row and a column: no J is built."""
    height, row, column, down, across = parameters
    rows, columns = _factors(values.shape[0], row, down), _factors(values.shape[1], column, across)
    one, first, second = 0, 1, 2
    left = rows[[one, first, one, second, one]]
    right = columns[[one, one, first, one, second]]
    scale = np.array([1, height, height, height, height])
    inner = (left @ left.T) * (right @ right.T)
    along = np.einsum("ky,yx,kx->k", left, values, right, optimize=True)
    residual = float(np.square(values).sum() - 2 * height * along[0] + height**2 * inner[0, 0])
    return residual, scale * (along - height * inner[0]), inner * np.outer(scale, scale)


def _factors(length: int, middle: float, sigma: float) -> np.ndarray:
    """A Gaussian along one axis, its derivative by `middle` and by log sigma; one pixel if sigma is 0."""
    positions = np.arange(length)
    if sigma == 0:
        return np.stack([positions == round(middle), np.zeros(length), np.zeros(length)]).astype(float)
    scaled = (positions - middle) / sigma
    bell = np.exp(-(scaled**2) / 2)
    return np.stack([bell, bell * scaled / sigma, bell * scaled**2])
