"""Matrices against the derivatives that they write out."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gridgrad
from gridgrad import GridError, GridTypeError

from .grids import BOUNDARIES, field, jittered


@settings(max_examples=120)
@given(
    st.integers(12, 30), st.integers(1, 4), st.sampled_from([2, 4, 6]), st.sampled_from(BOUNDARIES[:6]),
    st.booleans(), st.sampled_from(["center", "forward", "backward"]),
)  # fmt: skip
def test_a_matrix_times_samples_is_the_derivative(n, order, accuracy, boundary, even, side):
    x = jittered(n, n)
    how = {"order": order, "accuracy": accuracy, "boundary": boundary, "side": side}
    if boundary == "periodic" and not even:
        how["period"] = 1.3
    f = field(n, n)
    matrix = gridgrad.derivative_matrix(*((n,) if even else (x,)), **how)
    found = gridgrad.derivative(f, spacing=1 if even else x, **how)
    assert (matrix.format, matrix.shape, matrix.dtype) == ("csr", (n, n), np.float64)
    bound = 1e-13 * float(abs(matrix).sum(axis=1).max())
    np.testing.assert_allclose(matrix @ f, found, rtol=0, atol=bound)


@pytest.mark.parametrize("boundary", ["one-sided", "periodic", 0.0])
def test_matrices_of_operators(boundary):
    shape, how = (8, 9, 10), {"boundary": boundary, "accuracy": 4, "spacing": (0.5, 1.0, 2.0)}
    f, g, h = (field(shape, k) for k in range(3))
    laplacian = gridgrad.operator_matrix("laplacian", shape, **how)
    np.testing.assert_allclose(
        laplacian @ f.ravel(), gridgrad.laplacian(f, **how).ravel(), atol=1e-11
    )
    gradient = gridgrad.operator_matrix("gradient", shape, **how)
    np.testing.assert_allclose(
        gradient @ f.ravel(), np.ravel(gridgrad.gradient(f, **how)), atol=1e-11
    )
    divergence = gridgrad.operator_matrix("divergence", shape, **how)
    found = divergence @ np.ravel((f, g, h))
    np.testing.assert_allclose(found, gridgrad.divergence((f, g, h), **how).ravel(), atol=1e-11)


@pytest.mark.parametrize("boundary", ["one-sided", "periodic", "replicate"])
@pytest.mark.parametrize("dims", [(0, 1), (2, 0), (0, 1, 2)])
def test_matrices_of_operators_with_several_results(boundary, dims):
    shape, how = (
        (7, 8, 9),
        {"boundary": boundary, "dim": dims, "spacing": (0.5, 1.0, 2.0)[: len(dims)]},
    )
    fields = [field(shape, k) for k in range(len(dims))]

    def check(operator, arrays, results):
        matrix = gridgrad.operator_matrix(operator, shape, **how)
        found = matrix @ np.ravel(arrays)
        np.testing.assert_allclose(found, np.ravel(results), rtol=0, atol=1e-12)
        assert (matrix.format, matrix.shape) == ("csr", (np.size(results), np.size(arrays)))

    check("curl", fields, gridgrad.curl(fields, **how))
    check("jacobian", fields, gridgrad.jacobian(fields, **how))
    check("hessian", fields[0], gridgrad.hessian(fields[0], **how))


@pytest.mark.parametrize("boundary", ["one-sided", 0.0])
def test_matrices_of_a_directional_derivative_and_of_numbers_beyond_the_edges(boundary):
    f, how = field((5, 6), 1), {"boundary": boundary, "spacing": (0.5, 2.0)}
    for direction in ([3, -1.5], np.array([3, -1.5])):
        matrix = gridgrad.operator_matrix(
            "directional_derivative", (5, 6), direction=direction, **how
        )
        found = gridgrad.directional_derivative(f, direction, **how)
        np.testing.assert_allclose(matrix @ f.ravel(), found.ravel(), rtol=0, atol=1e-12)
    hessian = gridgrad.operator_matrix("hessian", (5, 6), **how)
    found = np.ravel(gridgrad.hessian(f, **how))
    np.testing.assert_allclose(hessian @ f.ravel(), found, rtol=0, atol=1e-12)
    for operator, wrong in (("laplacian", [1, 2]), ("directional_derivative", None)):
        with pytest.raises(gridgrad.GridError, match="direction is for"):
            gridgrad.operator_matrix(operator, (5, 6), direction=wrong)
    for wrong in (2.0, ["x", "y"], [1.0, np.nan]):
        with pytest.raises(gridgrad.GridTypeError, match="must be a sequence of real numbers"):
            gridgrad.operator_matrix("directional_derivative", (5, 6), direction=wrong)
    with pytest.raises(gridgrad.GridError, match="a number for each of the 2"):
        gridgrad.operator_matrix("directional_derivative", (5, 6), direction=[1.0])


def test_a_poisson_problem_converges_at_the_stated_order():
    from scipy.sparse.linalg import spsolve

    errors = []
    for n in (15, 31):  # inner samples; zero stands beyond the edges
        x = np.arange(1, n + 1) / (n + 1)
        exact = np.outer(np.sin(np.pi * x), np.sin(2 * np.pi * x))
        matrix = gridgrad.operator_matrix("laplacian", (n, n), spacing=1 / (n + 1), boundary=0.0)
        found = spsolve(matrix.tocsc(), (-5 * np.pi**2 * exact).ravel())
        errors.append(np.abs(found - exact.ravel()).max())
    assert 1.9 < math.log2(errors[0] / errors[1]) < 2.1


def test_a_list_of_positions_is_taken_as_by_derivative():
    x, f = [0, 1, 3, 4, 6], field(5, 0)
    matrix = gridgrad.derivative_matrix(5, spacing=x)
    np.testing.assert_allclose(matrix @ f, gridgrad.derivative(f, spacing=x), rtol=1e-14)


def test_matrices_refuse_what_is_not_linear():
    with pytest.raises(GridError, match="boundary must not be 2 for a matrix"):
        gridgrad.derivative_matrix(9, boundary=2.0)
    with pytest.raises(GridError, match="given twice"):
        gridgrad.derivative_matrix(np.arange(9.0) ** 2, spacing=2)
    with pytest.raises(GridError, match="operator must be"):
        gridgrad.operator_matrix("grad", (4, 4))
    with pytest.raises(GridError, match="2 or 3 dims"):
        gridgrad.operator_matrix("curl", (4, 4, 4, 4))
    with pytest.raises(GridError, match="at least 1"):
        gridgrad.derivative_matrix(0)
    with pytest.raises(GridTypeError, match="1-D coordinates"):
        gridgrad.derivative_matrix(np.zeros((2, 2)))
