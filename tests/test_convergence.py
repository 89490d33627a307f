"""The order of accuracy of every derivative that is offered, measured and compared with the promise.

`slopes.py` says how. A selection runs always; everything, 70,000 rows an order, with `--all`.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gridgrad

from .slopes import (
    EDGE_ORDERS,
    GRIDS,
    ORDERS,
    SIDES,
    SLACK,
    Cell,
    accuracies,
    cells,
    exactly,
    matrix_of,
    measured,
    positions,
    worst,
)

# Of a slope in exact arithmetic: waves have a few hundred samples.
EXACT_SLACK = 0.01
# Of weights in float64, relative to the largest of the row. Nearly all rows are within half of it; edges of
# 28 points (order 8, edge order 20, stretched) lose 0.05 of a unit more.
UNIT = np.finfo(float).eps


@st.composite
def any_cell(draw) -> Cell:
    grid, side = draw(st.sampled_from(GRIDS)), draw(st.sampled_from(SIDES))
    accuracy = draw(st.sampled_from(accuracies(grid, side)))
    return Cell(
        draw(st.sampled_from(ORDERS)), accuracy, draw(st.sampled_from(EDGE_ORDERS)), grid, side
    )


def check_measured(cell: Cell) -> None:
    assert worst(measured(cell), cell.promise) > -SLACK, cell


def check_exactly(cell: Cell) -> None:
    """Every row, also those whose order rounding hides in float64; and that its weights are these."""
    rows = exactly(cell)
    assert worst(np.array([row.slope for row in rows]), cell.promise) > -EXACT_SLACK, cell
    assert max(row.weights for row in rows) <= UNIT, cell


@settings(max_examples=16)
@given(any_cell())
def test_errors_fall_as_promised(cell):
    check_measured(cell)


@settings(max_examples=6)
@given(any_cell())
def test_rows_have_the_promised_order_in_exact_arithmetic(cell):
    check_exactly(cell)


@pytest.mark.exhaustive
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("order", ORDERS)
def test_errors_of_every_derivative_fall_as_promised(order, grid, side):
    for cell in cells(order, grid, side):
        check_measured(cell)


@pytest.mark.exhaustive
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("order", ORDERS)
def test_every_row_has_the_promised_order_in_exact_arithmetic(order, grid, side):
    for cell in cells(order, grid, side):
        check_exactly(cell)


@pytest.mark.parametrize("grid", GRIDS)
def test_most_rows_are_measured_in_float64(grid):
    """Rounding hides those of high orders alone."""
    for order, accuracy, edge_order in ((1, 2, 1), (2, 4, 3), (4, 2, 2)):
        assert not np.isnan(measured(Cell(order, accuracy, edge_order, grid))).any()
    found = np.concatenate([measured(Cell(m, 8, 8, grid)) for m in (1, 4, 8)])
    assert np.isnan(found).mean() < 0.5


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(("order", "accuracy"), [(1, 3), (2, 4), (4, 2), (8, 2)])
def test_a_lost_order_is_seen(order, accuracy, grid):
    """The measure itself: rows of one order less are told from those promised, on every sample."""
    cell = Cell(order, accuracy, accuracy, grid, "forward")
    poor = cell._replace(accuracy=accuracy - 1, edge_order=accuracy - 1)
    found, inner = measured(poor), slice(-poor.reaches[1])
    assert worst(found[inner], cell.promise[inner]) < -SLACK
    assert worst(found[-1:], cell.promise[-1:]) < -SLACK
    exact = np.array([row.slope for row in exactly(poor)])
    assert (exact[inner] - accuracy < -0.9).all()
    assert exact[-1] - accuracy < -0.9


@settings(max_examples=10)
@given(any_cell())
def test_a_gradient_has_the_same_rows(cell):
    x = positions(cell.grid, cell.n)
    f = np.random.default_rng(0).standard_normal((3, cell.n))
    how = {**cell._replace(order=1).options, "spacing": x, "dim": 1}
    expected = gridgrad.derivative(f, **how)
    how.pop("order")
    assert np.array_equal(gridgrad.gradient(f, **how)[0], expected)


@settings(max_examples=12)
@given(any_cell())
def test_a_cell_differentiates_by_its_matrix(cell):
    """So that what is found of the rows of a matrix holds of the derivative."""
    x = positions(cell.grid, cell.n)
    f = np.random.default_rng(0).standard_normal(cell.n)
    matrix = matrix_of(cell)
    found = gridgrad.derivative(f, spacing=1 if cell.grid == "even" else x, **cell.options)
    bound = 16 * np.finfo(float).eps * (abs(matrix) @ abs(f))
    assert (np.abs(matrix @ f - found) <= bound).all()


def test_edges_of_a_gradient_are_as_accurate_as_asked():
    x = np.linspace(0, 1, 60)
    errors = [
        np.abs(
            gridgrad.gradient(np.exp(x), spacing=x[1], accuracy=8, edge_order=q)[0] - np.exp(x)
        ).max()
        for q in (1, 2, 4, 8)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[3] < 1e-12
    assert np.array_equal(
        gridgrad.gradient(np.exp(x), accuracy=4)[0], gridgrad.derivative(np.exp(x), accuracy=4)
    )
    assert np.array_equal(gridgrad.gradient(np.exp(x))[0], np.gradient(np.exp(x)))


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("accuracy", [1, 3, 5, 7, 9, 11])
def test_odd_accuracies_were_refused_where_coordinates_happened_to_stand_evenly(order, accuracy):
    x = np.arange(-12.0, 13) / 8
    degree = order + accuracy - 1  # of the polynomials whose derivative is exact everywhere
    expected = math.perm(degree, order) * x ** (degree - order)
    found = gridgrad.derivative(x**degree, spacing=x, order=order, accuracy=accuracy)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * abs(expected).max())
    with pytest.raises(gridgrad.GridError, match="must be even"):  # of a step the user sees it
        gridgrad.derivative(x**degree, spacing=0.125, order=order, accuracy=accuracy)
