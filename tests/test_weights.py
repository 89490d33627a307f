"""Weights against exact rationals."""

from fractions import Fraction

import numpy as np
import pytest

import gridgrad
from gridgrad import GridError, GridTypeError

from .grids import jittered


@pytest.mark.parametrize("order", range(1, 9))
@pytest.mark.parametrize("accuracy", range(2, 21, 2))
def test_uniform_weights_are_right_to_the_last_place(order, accuracy):
    n = order + accuracy + 3
    matrix = gridgrad.derivative_matrix(n, order=order, accuracy=accuracy).toarray()
    reach = (order + accuracy - 1) // 2
    exact = gridgrad.weights(range(-reach, reach + 1), order)
    row = matrix[reach] if n >= 2 * reach + 1 else None
    for k, weight in enumerate(exact):
        found = Fraction(float(row[k]))
        assert abs(found - weight) <= Fraction(float(np.spacing(abs(float(weight)))))
    # At the edge too, where as accurate a row reads `order + accuracy` samples.
    for k, weight in enumerate(gridgrad.weights(range(order + accuracy), order)):
        unit = Fraction(float(np.spacing(abs(float(weight)))))
        # The sample itself has what the others leave.
        assert abs(Fraction(float(matrix[0, k])) - weight) <= unit


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("accuracy", [1, 2, 3, 4, 6, 8, 12])
def test_weights_on_coordinates_are_right(order, accuracy):
    x = jittered(order + accuracy + 12, accuracy)
    matrix = gridgrad.derivative_matrix(x, order=order, accuracy=accuracy).toarray()
    for i in (0, 1, len(x) // 2, len(x) - 1):
        used = np.flatnonzero(matrix[i])
        offsets = [Fraction(float(x[k])) - Fraction(float(x[i])) for k in used]
        exact = gridgrad.weights(offsets, order)
        for k, weight in zip(used, exact, strict=True):
            assert abs(Fraction(float(matrix[i, k])) - weight) <= 8e-16 * abs(float(weight))


def test_public_weights():
    assert gridgrad.weights([0, 1], 0) == (1, 0)
    assert gridgrad.weights([Fraction(-1, 2), Fraction(1, 2)], 1) == (-1, 1)
    assert all(type(w) is Fraction for w in gridgrad.weights(range(-10, 11), 8))
    for offsets, order in (([0, 0], 1), ([0, 1], 2), ([], 0), ([0, 1], -1)):
        with pytest.raises(GridError):
            gridgrad.weights(offsets, order)
    for offsets, order in ((["a"], 0), ([0, 1], 1.5), (3, 1)):
        with pytest.raises(GridTypeError):
            gridgrad.weights(offsets, order)
