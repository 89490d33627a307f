"""How the error of a derivative falls: measured in float64, and exactly.

The samples are of waves exp(i θ x) on a grid whose gaps are near 1. To refine a grid and to lengthen the wave
are the same thing: only the samples per wave count. So one grid serves, its rows stay what they are, and the
slope of log(error) against log(θ), row by row, is the order of accuracy of each row. The error of such a wave
is a complex number that does not pass through zero, unlike that of a sine, so that a slope at two
lengths close together means something.
"""

import functools
import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, NamedTuple

import mpmath
import numpy as np

import gridgrad

GRIDS = ("even", "jittered", "stretched")
ORDERS, EDGE_ORDERS, SIDES = range(1, 9), range(1, 21), ("center", "forward", "backward")
_RATIO = 1.25
# From more than half a wave between two samples down to thousands of samples a wave.
WAVES = 1.2 * _RATIO ** -np.arange(36.0)
# A measured slope differs from the order of accuracy, since waves are not infinitely long. For waves of
# which θ**2 times a stencil's variance is below _LONG, it is less than SLACK lower. An order lost costs 1.
_LONG, SLACK = 0.3, 0.5
# An error this many times the bound on its rounding is one of truncation.
_CLEAR = 30


class Cell(NamedTuple):
    """One of all the derivatives that are offered."""

    order: int
    accuracy: int
    edge_order: int
    grid: str = "even"
    side: str = "center"

    @property
    def n(self) -> int:
        """Enough samples for every stencil of this order."""
        return 2 * (self.order + 20) + 2

    @property
    def options(self) -> dict[str, Any]:
        return {key: getattr(self, key) for key in ("order", "accuracy", "edge_order", "side")}

    @property
    def reaches(self) -> tuple[int, int]:
        """How many samples at each edge the interior's stencil does not fit."""
        around = (self.order + self.accuracy - (self.grid == "even")) // 2
        along = self.order + self.accuracy - 1
        return {"center": (around, around), "forward": (0, along), "backward": (along, 0)}[
            self.side
        ]

    @property
    def promise(self) -> np.ndarray:
        """The order of accuracy that the documentation promises for each sample."""
        below, above = self.reaches
        promised = np.full(self.n, self.accuracy)
        promised[:below] = promised[self.n - above :] = self.edge_order
        return promised


def accuracies(grid: str, side: str = "center") -> range:
    """Those that are offered."""
    if grid != "even":
        return range(1, 13)
    return range(2, 21, 2) if side == "center" else range(1, 21)


def cells(order: int, grid: str, side: str) -> Iterable[Cell]:
    """Every cell of these; three edge orders for one-sided interiors, whose edge rows are no others."""
    for accuracy in accuracies(grid, side):
        edges = EDGE_ORDERS if side == "center" else sorted({1, accuracy, 20})
        yield from (Cell(order, accuracy, edge_order, grid, side) for edge_order in edges)


def positions(grid: str, n: int) -> np.ndarray:
    """Coordinates that floats hold exactly: apart by 1, by 1/2 to 3/2 at random, or by 1 to 2.6 in turn."""
    i = np.arange(n)
    if grid == "jittered":
        return i + np.random.default_rng(0).integers(-4, 5, 256)[:n] / 16
    return i * (1 + i / 64) if grid == "stretched" else i * 1.0


def matrix_of(cell: Cell) -> Any:
    of = cell.n if cell.grid == "even" else positions(cell.grid, cell.n)
    return gridgrad.derivative_matrix(of, **cell.options)


# In float64


def measured(cell: Cell, matrix: Any = None) -> np.ndarray:
    """The slope of each sample's error in float64; NaN where rounding hides it from all long waves."""
    x = positions(cell.grid, cell.n)
    matrix = matrix_of(cell) if matrix is None else matrix

    def derivative(f: np.ndarray) -> np.ndarray:
        return gridgrad.derivative(f, spacing=1 if cell.grid == "even" else x, **cell.options)

    error = relative_error(derivative, x, cell.order, WAVES)
    rounding = rounding_bound(matrix, cell.order, WAVES)
    return slopes(error, rounding, variance(matrix, x), WAVES)


def relative_error(derivative: Any, x: np.ndarray, order: int, waves: np.ndarray) -> np.ndarray:
    """The error for each wave and sample, over θ**order: how large the derivative is."""
    wave = waves[:, None]
    f = np.exp(1j * wave * x)
    real, imaginary = derivative(np.stack([f.real, f.imag]))
    return np.abs(real + 1j * imaginary - (1j * wave) ** order * f) / wave**order


def rounding_bound(matrix: Any, order: int, waves: np.ndarray) -> np.ndarray:
    """What rounding the samples, near 1, can add to that."""
    return np.finfo(float).eps * abs(matrix).sum(axis=1) / waves[:, None] ** order


def slopes(
    error: np.ndarray, rounding: np.ndarray, spread: np.ndarray, waves: np.ndarray
) -> np.ndarray:
    """The slope of each column of `error` at the longest waves where it is clear of rounding, or NaN.

    `spread` is the variance of what each sample reads. `waves` fall.
    """
    wave = waves[:, None]
    clear = (error > _CLEAR * rounding) & (error < 0.5)
    usable = (wave[:-1] ** 2 * spread < _LONG) & clear[1:] & clear[:-1]
    with np.errstate(all="ignore"):
        slope = np.log(error[:-1] / error[1:]) / np.log(wave[:-1] / wave[1:])
    last = len(usable) - 1 - np.argmax(usable[::-1], axis=0)
    found = slope[last, np.arange(error.shape[1])]
    return np.where(usable.any(axis=0), found, np.nan)


def variance(matrix: Any, x: np.ndarray) -> np.ndarray:
    """How far a row's samples lie apart: the variance of the B-spline with knots there.

    The error of a divided difference is the next derivative averaged by that spline (Peano), which damps
    waves by about half their θ**2 times the variance.
    """
    reads = matrix.toarray() != 0
    count = np.maximum(reads.sum(axis=1), 1)
    mean = (reads * x).sum(axis=1) / count
    return (reads * (x - mean[:, None]) ** 2).sum(axis=1) / (count * (count + 1))


# Exactly


class Exact(NamedTuple):
    """What holds of a row in exact arithmetic."""

    slope: float  # of the error, with exact weights
    weights: float  # the largest error of its weights, relative to the largest weight


def exactly(cell: Cell, matrix: Any = None) -> list[Exact]:
    """Each row of a cell, with the samples that it reads, against exact arithmetic."""
    matrix = matrix_of(cell) if matrix is None else matrix
    x = [Fraction(float(each)) for each in positions(cell.grid, cell.n)]
    found = []
    for i in range(cell.n):
        inner = slice(*matrix.indptr[i : i + 2])
        used = sorted(zip(matrix.indices[inner].tolist(), matrix.data[inner].tolist(), strict=True))
        offsets = tuple(x[k] - x[i] for k, _ in used)
        exact = gridgrad.weights(offsets, cell.order)
        largest = float(max(map(abs, exact)))
        worst = max(abs(float(Fraction(w) - e)) for (_, w), e in zip(used, exact, strict=True))
        found.append(Exact(exact_slope(offsets, cell.order), worst / largest))
    return found


@functools.cache
def exact_slope(offsets: tuple[Fraction, ...], order: int) -> float:
    """The slope of the error with exact weights, in 150 digits, at hundreds of samples a wave."""
    errors = []
    with mpmath.workdps(150):
        weights = [_real(weight) for weight in gridgrad.weights(offsets, order)]
        for exponent in (-8, -9):
            wave = mpmath.ldexp(1, exponent)
            total = sum(w * _turned(o, exponent) for o, w in zip(offsets, weights, strict=True))
            errors.append(abs(total / (1j * wave) ** order - 1))
        return float(mpmath.log(errors[0] / errors[1], 2))


@functools.cache
def _turned(offset: Fraction, exponent: int) -> Any:
    return mpmath.expj(mpmath.ldexp(_real(offset), exponent))


def _real(value: Fraction) -> Any:
    return mpmath.mpf(value.numerator) / value.denominator


def worst(found: np.ndarray, promised: np.ndarray) -> float:
    """The most that a slope stays below the promise, as a number that is negative then."""
    seen = ~np.isnan(found)
    return float((found - promised)[seen].min()) if seen.any() else math.inf
