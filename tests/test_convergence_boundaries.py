"""The order of accuracy with something beyond the edges, on functions that continue as the boundary says.

A periodic dim wants waves that fit into the period, a mirrored one waves that are even about both ends. A
function that is constant near the edges continues as "replicate" or the number says. For others, the kink
at the edge is part of the samples, and no order can be promised there.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gridgrad

from .slopes import (
    ORDERS,
    SIDES,
    SLACK,
    Cell,
    accuracies,
    positions,
    relative_error,
    rounding_bound,
    slopes,
    variance,
    worst,
)

N = 96
GRIDS = ("even", "jittered", "swelling")
# How many waves, or half waves, a grid holds; the longest last.
COUNTS = np.array([24, 20, 16, 13, 10, 8, 6, 5, 4, 3, 2, 1])


def grid_of(kind: str) -> np.ndarray:
    """Positions whose gaps are near 1; swelling ones, from 1/2 to 3/2 and back, seven times.

    Not once: errors that follow the grid must not be in step with the waves.
    """
    if kind == "swelling":
        i = np.arange(N)
        return i - np.sin(14 * np.pi * i / N) * N / (28 * np.pi)
    return positions(kind, N)


def options(cell: Cell, boundary, x: np.ndarray | None = None, period: float | None = None) -> dict:
    how = {"order": cell.order, "accuracy": cell.accuracy, "side": cell.side, "boundary": boundary}
    if cell.grid == "even":
        return how
    return {**how, "spacing": x, "period": period}


def spread_beyond(cell: Cell, x: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The variance of what each sample reads, where the grid goes on on both sides."""
    whole = np.concatenate([before, x, after])
    how = {"order": cell.order, "accuracy": cell.accuracy, "side": cell.side}
    matrix = gridgrad.derivative_matrix(len(whole) if cell.grid == "even" else whole, **how)
    return variance(matrix, whole)[len(before) : len(before) + len(x)]


def periodic(cell: Cell) -> np.ndarray:
    """The slope for each sample of a periodic dim."""
    x, length = grid_of(cell.grid), float(N)
    waves = 2 * np.pi * COUNTS / length
    how = options(cell, "periodic", x, length)
    of = {"n_or_coordinates": x if cell.grid != "even" else N}
    matrix = gridgrad.derivative_matrix(**of, **{k: v for k, v in how.items() if k != "spacing"})
    error = relative_error(lambda f: gridgrad.derivative(f, **how), x, cell.order, waves)
    spread = spread_beyond(cell, x, x - length, x + length)
    return overall(error, rounding_bound(matrix, cell.order, waves), spread, waves)


def overall(error: np.ndarray, rounding: np.ndarray, spread: np.ndarray, waves) -> np.ndarray:
    """The slope of the error's root mean square.

    On an uneven grid the first term of a sample's error may happen to be small, and then the next counts.
    """
    square = np.sqrt((error**2).mean(axis=1, keepdims=True))
    return slopes(square, rounding.max(axis=1, keepdims=True), spread.max(keepdims=True), waves)


def mirrored(cell: Cell) -> np.ndarray:
    """The slopes on a dim that is mirrored at both ends."""
    x = grid_of(cell.grid)
    waves = np.pi * COUNTS / (x[-1] - x[0])
    wave = waves[:, None]
    phase = wave * (x - x[0])
    how = options(cell, "reflect", x)
    of = x if cell.grid != "even" else N
    matrix = gridgrad.derivative_matrix(of, **{k: v for k, v in how.items() if k != "spacing"})
    exact = np.cos(phase + cell.order * np.pi / 2)
    error = np.abs(gridgrad.derivative(np.cos(phase), **how) / wave**cell.order - exact)
    spread = spread_beyond(cell, x, 2 * x[0] - x[:0:-1], 2 * x[-1] - x[-2::-1])
    return overall(error, rounding_bound(matrix, cell.order, waves), spread, waves)


def bump(cell: Cell, boundary, far: float) -> np.ndarray:
    """The slope of the largest error of a bump on samples that are `far` well before the edges."""
    x = np.arange(241) - 120.0
    if cell.grid != "even":
        x = x + np.random.default_rng(0).uniform(-0.2, 0.2, len(x))
    waves = 1 / (2 * 1.15 ** np.arange(15))  # up to widths of 14
    t = waves[:, None] * x
    exact = np.polynomial.hermite_e.HermiteE.basis(cell.order)(-t) * np.exp(-(t**2) / 2)
    found = gridgrad.derivative(far + np.exp(-(t**2) / 2), **options(cell, boundary, x))
    # So many samples as a bump covers.
    error = (found / waves[:, None] ** cell.order - exact) * np.sqrt(waves[:, None] * len(x))
    how = {"order": cell.order, "accuracy": cell.accuracy, "side": cell.side}
    matrix = gridgrad.derivative_matrix(x if cell.grid != "even" else len(x), **how)
    rows, size = slice(60, 180), np.abs(exact).max()
    rounding = rounding_bound(matrix[rows], cell.order, waves) * (1 + abs(far))
    # The waves in a bump's derivative are shorter than it is wide.
    spread = variance(matrix, x)[rows] * (cell.order + cell.accuracy)
    return overall(error / size, rounding / size, spread, waves)


@st.composite
def any_cell(draw, sides=SIDES, grids=GRIDS) -> Cell:
    grid, side = draw(st.sampled_from(grids)), draw(st.sampled_from(sides))
    kind = "even" if grid == "even" else "jittered"
    accuracy = draw(st.sampled_from(accuracies(kind, side)))
    return Cell(draw(st.sampled_from(ORDERS)), accuracy, 1, grid, side)


def every(grid: str, order: int, sides=SIDES):
    kind = "even" if grid == "even" else "jittered"
    return [Cell(order, p, 1, grid, side) for side in sides for p in accuracies(kind, side)]


def check(boundary: str, cell: Cell) -> None:
    found = MEASURES[boundary](cell)
    # Waves that are mirrored stand still, so that where they are large on an uneven grid changes the slope.
    slack = 0.75 if boundary == "reflect" else SLACK
    assert worst(found, np.full(len(found), cell.accuracy)) > -slack, cell


def replicated(cell: Cell) -> np.ndarray:
    return bump(cell, ("replicate", "replicate"), 3.0)


def fixed(cell: Cell) -> np.ndarray:
    return bump(cell, (2.0, 2.0), 2.0)


MEASURES = {"periodic": periodic, "reflect": mirrored, "replicate": replicated, "number": fixed}


@pytest.mark.parametrize("boundary", MEASURES)
@settings(max_examples=8)
@given(st.data())
def test_errors_fall_as_promised(boundary, data):
    check(boundary, data.draw(any_cell()))


@pytest.mark.exhaustive
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("boundary", MEASURES)
def test_errors_of_every_derivative_fall_as_promised(boundary, grid, order):
    for cell in every(grid, order):
        check(boundary, cell)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("boundary", MEASURES)
def test_low_orders_are_measured_and_a_lost_one_is_seen(boundary, grid):
    for order, accuracy, side in ((1, 4, "center"), (2, 3, "forward"), (3, 2, "backward")):
        cell = Cell(order, accuracy, 1, grid, side)
        found = MEASURES[boundary](cell)
        assert not np.isnan(found).any()
        more = 2 if side == "center" else 1
        assert worst(found, np.full(len(found), accuracy + more)) < -SLACK


@settings(max_examples=25)
@given(any_cell(), st.permutations(["one-sided", "replicate", "reflect", 1.5]))
def test_each_side_has_the_rows_of_its_own_boundary(cell, kinds):
    x = grid_of(cell.grid)
    f = np.random.default_rng(0).standard_normal(N)
    lower, upper = kinds[:2]
    found = gridgrad.derivative(f, **options(cell, (lower, upper), x))
    for kind, half in ((lower, slice(N // 2)), (upper, slice(N // 2, N))):
        alone = gridgrad.derivative(f, **options(cell, kind, x))
        np.testing.assert_allclose(
            found[half], alone[half], rtol=0, atol=1e-13 * np.abs(alone).max()
        )


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("boundary", ["replicate", 0.0])
def test_walls_between_samples_have_order_two_at_accuracy_two(boundary, order):
    """What such stencils read beyond the edge is one sample, where these waves are as the boundary says."""
    waves = np.pi / (2.0 ** np.arange(5, 10))
    errors = []
    for wave in waves:
        n = round(np.pi / wave)
        if boundary == "replicate":  # even about half a step beyond the edge samples
            phase = wave * (np.arange(n) + 0.5) + np.pi / 2
        else:  # zero at the first positions beyond the edges
            n, phase = n - 1, wave * np.arange(1, n)
        exact = np.sin(phase + order * np.pi / 2)
        found = gridgrad.derivative(np.sin(phase), order=order, boundary=boundary)
        errors.append(np.abs(found / wave**order - exact).max())
    np.testing.assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 2, atol=0.02)
