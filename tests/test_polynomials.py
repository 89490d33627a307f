"""Exactness: polynomials of the stencil's degree, in exact arithmetic, and constants, in every dtype."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gridgrad

from .grids import jittered
from .slopes import (
    EDGE_ORDERS,
    GRIDS,
    ORDERS,
    SIDES,
    Cell,
    accuracies,
    cells,
    matrix_of,
    positions,
)

# Roundings, in units of the sum of a row's terms w_j (f_j - f_i).
ROUNDINGS = 4


class Exactly:
    """A polynomial of the degree that all rows of a cell are exact for, and its rows in exact arithmetic."""

    def __init__(self, cell: Cell, coefficients: list[int]) -> None:
        self.cell = cell
        self.x = [Fraction(float(each)) for each in positions(cell.grid, cell.n)]
        self.middle, self.reach = self.x[cell.n // 2], self.x[-1] - self.x[0]
        degree = cell.order + min(cell.accuracy, cell.edge_order) - 1
        self.coefficients = [Fraction(c) for c in coefficients[: degree + 1]]

    def values(self, order: int = 0) -> list[Fraction]:
        """Of the polynomial in t, which is x moved and scaled to within 1, or of a derivative by x."""
        coefficients = self.coefficients
        for _ in range(order):
            coefficients = [k * c / self.reach for k, c in enumerate(coefficients)][1:]
        places = [(each - self.middle) / self.reach for each in self.x]
        return [sum((c * t**k for k, c in enumerate(coefficients)), Fraction(0)) for t in places]

    def check(self, f: np.ndarray, found: np.ndarray) -> None:
        """Against the polynomial's own derivative, but for what rounding the samples and the terms does."""
        eps = Fraction(float(np.finfo(found.dtype).eps))
        matrix = matrix_of(self.cell)
        given_ = [Fraction(float(each)) for each in f]
        true, exact = self.values(), self.values(self.cell.order)
        for i in (0, 1, self.cell.n // 2, -2, -1):
            used = np.flatnonzero(matrix[[i]].toarray()[0]).tolist()
            offsets = tuple(self.x[k] - self.x[i] for k in used)
            weights = gridgrad.weights(offsets, self.cell.order)
            terms = sum(
                abs(w * (given_[k] - given_[i])) for k, w in zip(used, weights, strict=True)
            )
            rounded = sum(
                w * (given_[k] - true[k]) for k, w in zip(used, weights, strict=True)
            )  # what the polynomial's samples lost
            error = abs(Fraction(float(found[i])) - exact[i] - rounded)
            assert error <= ROUNDINGS * eps * terms, (self.cell, i, float(error / (eps * terms)))


@st.composite
def any_cell(draw) -> Cell:
    grid, side = draw(st.sampled_from(GRIDS)), draw(st.sampled_from(SIDES))
    order, edge_order = draw(st.sampled_from(ORDERS)), draw(st.sampled_from(EDGE_ORDERS))
    return Cell(order, draw(st.sampled_from(accuracies(grid, side))), edge_order, grid, side)


def differentiate(cell: Cell, f: np.ndarray) -> np.ndarray:
    # A list of coordinates does not widen single precision.
    spacing = 1 if cell.grid == "even" else positions(cell.grid, cell.n).tolist()
    return gridgrad.derivative(f, spacing=spacing, **cell.options)


@settings(max_examples=10)
@given(any_cell(), st.sampled_from(["float64", "float32", "complex128"]), st.data())
def test_polynomials_of_the_stencils_degree_are_exact(cell, dtype, data):
    coefficients = data.draw(st.lists(st.integers(-9, 9), min_size=28, max_size=28))
    check_polynomial(cell, dtype, coefficients)


def check_polynomial(cell: Cell, dtype: str, coefficients: list[int]) -> None:
    exactly = Exactly(cell, coefficients)
    f = np.array([float(each) for each in exactly.values()]).astype(dtype)
    found = differentiate(cell, f)
    assert found.dtype == dtype
    exactly.check(f.real, found.real)
    assert not found.imag.any()


@pytest.mark.exhaustive
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("order", ORDERS)
def test_polynomials_of_every_stencils_degree_are_exact(order, grid, side):
    coefficients = np.random.default_rng(order).integers(-9, 10, 28).tolist()
    for cell in cells(order, grid, side):
        if cell.edge_order in (1, 2, 5, cell.accuracy, 20):
            check_polynomial(cell, "float64", coefficients)


@settings(max_examples=30)
@given(st.integers(1, 4), st.sampled_from([2, 4, 6]), st.integers(-50, 50), st.data())
def test_integers_lose_nothing(order, accuracy, offset, data):
    """Samples beyond the digits of a float, whose differences are small: the derivative is exact."""
    c = data.draw(st.lists(st.integers(-3, 3), min_size=order + 1, max_size=order + 1))
    x = np.arange(-10, 11)
    f = sum(a * x**k for k, a in enumerate(c)) + 2**60 + offset
    found = gridgrad.derivative(f, order=order, accuracy=accuracy)
    factorial = np.prod(np.arange(1, order + 1))
    scale = np.abs(f - f[10]).max() * 4.0 ** (order + accuracy)
    np.testing.assert_allclose(found, c[order] * factorial, rtol=0, atol=1e-15 * scale)
    assert found.dtype == np.float64


# Constants

DTYPES = ["float16", "float32", "float64", "longdouble", "complex64", "complex128"]
INTEGERS = ["int8", "uint8", "int32", "int64", "uint64"]
CONSTANT_AT = ["one-sided", "periodic", "reflect", "replicate", ("reflect", "one-sided")]


def check_constant(order: int, accuracy: int, boundary, grid: str, edge_order=None) -> None:
    n = 50
    x = 0.1 if grid == "even" else jittered(n) if grid == "jittered" else np.arange(n) ** 1.3
    period = None if boundary != "periodic" or grid == "even" else 1e3
    for dtype in DTYPES + INTEGERS:
        value = 100.1 if dtype in DTYPES else 100
        f = np.full(n, value + 3.3j if "complex" in dtype else value, dtype)
        found = gridgrad.derivative(
            f, order=order, accuracy=accuracy, spacing=x, boundary=boundary, period=period,
            edge_order=edge_order,
        )  # fmt: skip
        assert (found == 0).all(), (dtype, accuracy)


@pytest.mark.parametrize("boundary", CONSTANT_AT, ids=str)
@pytest.mark.parametrize("grid", GRIDS)
def test_constants_have_derivative_zero(grid, boundary):
    for order, accuracy in ((1, 2), (2, 6), (3, 4), (8, 12)):
        check_constant(order, accuracy, boundary, grid)
    check_constant(1, 4, boundary, grid, edge_order=7)


@pytest.mark.exhaustive
@pytest.mark.parametrize("boundary", CONSTANT_AT, ids=str)
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("order", ORDERS)
def test_constants_have_every_derivative_zero(order, grid, boundary):
    for accuracy in accuracies(grid):
        check_constant(order, accuracy, boundary, grid)
