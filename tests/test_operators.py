"""Orders, accuracies, boundaries, operators and matrices, against exact arithmetic and their identities."""

import itertools
import math
from fractions import Fraction

import jax
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import gridgrad
from gridgrad import GridError, GridTypeError

BOUNDARIES = [
    "one-sided",
    "periodic",
    "reflect",
    "replicate",
    0.0,
    ("reflect", "one-sided"),
    (2.5, "replicate"),
]


def polynomial(degree: int, seed: int):
    return np.polynomial.Polynomial(np.random.default_rng(seed).uniform(-1, 1, degree + 1))


def jittered(n: int, seed: int = 0) -> np.ndarray:
    return (np.arange(n) + np.random.default_rng(seed).uniform(-0.3, 0.3, n)) / n


# Weights


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


# Exactness and convergence


@settings(max_examples=200)
@given(
    st.integers(1, 6), st.integers(1, 8), st.booleans(), st.integers(0, 999),
    st.sampled_from(["center", "forward", "backward"]),
)  # fmt: skip
def test_polynomials_up_to_the_stated_degree_are_exact(order, accuracy, even, seed, side):
    assume(not even or side != "center" or accuracy % 2 == 0)
    n = order + accuracy + 12
    x = np.arange(n) / n if even else jittered(n, seed)
    p = polynomial(order + accuracy - 1, seed)
    expected = p.deriv(order)(x)
    spacing = 1 / n if even else x
    found = gridgrad.derivative(p(x), order=order, accuracy=accuracy, spacing=spacing, side=side)
    # What rounding the samples does, times the size of the weights.
    noise = 1e-14 * (4.0 * n) ** order * 4**accuracy
    np.testing.assert_allclose(found, expected, rtol=0, atol=noise)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("accuracy", [2, 4, 6])
@pytest.mark.parametrize("grid", ["even", "jittered", "stretched"])
@pytest.mark.parametrize("boundary", ["one-sided", "periodic"])
def test_the_stated_order_of_accuracy_holds(order, accuracy, grid, boundary):
    if boundary == "periodic" and grid == "stretched":
        pytest.skip("a stretched grid is not periodic")
    errors = []
    for n in (64, 128):
        x = np.arange(n + (boundary == "one-sided")) / n  # the edges stay where they are
        if grid == "jittered":  # the same shape of grid, twice as fine
            x = x + 0.04 * np.sin(2 * np.pi * x)
        elif grid == "stretched":
            x = (x**2 + x) / 2
        f = np.sin(2 * np.pi * x + 1)
        exact = (2 * np.pi) ** order * np.sin(2 * np.pi * x + 1 + order * np.pi / 2)
        how = {"boundary": boundary, "period": 1.0} if boundary == "periodic" else {}
        spacing = 1 / n if grid == "even" else x
        found = gridgrad.derivative(f, order=order, accuracy=accuracy, spacing=spacing, **how)
        errors.append(np.abs(found - exact).max())
    rate = math.log2(errors[0] / errors[1])
    # High orders on fine grids are limited by the rounding of the samples.
    assert rate > accuracy - 0.6 or errors[1] < 1e-6 * (2 * np.pi) ** order, (rate, errors)


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


# Boundaries


def padded(f: np.ndarray, reach: int, boundary) -> np.ndarray:
    lower, upper = boundary if isinstance(boundary, tuple) else (boundary, boundary)
    modes = {"periodic": "wrap", "reflect": "reflect", "replicate": "edge"}

    def side(kind, pad):
        if isinstance(kind, float):
            return np.pad(f, pad, constant_values=kind)
        return np.pad(f, pad, mode=modes[kind])

    return np.concatenate([side(lower, (reach, 0)), side(upper, (0, reach))[len(f) :]])


@pytest.mark.parametrize(
    "boundary", ["periodic", "reflect", "replicate", 0.0, 3.0, ("reflect", -1.0)], ids=str
)
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("accuracy", [2, 4, 8])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int32", "complex64"])
def test_a_boundary_is_what_padding_makes(boundary, order, accuracy, dtype):
    rng = np.random.default_rng(1)
    f = (rng.standard_normal(17) * 100).astype(dtype)
    wide = f.astype("c16" if dtype == "complex64" else "f8")
    found = gridgrad.derivative(f, order=order, accuracy=accuracy, spacing=0.5, boundary=boundary)
    reach = (order + accuracy - 1) // 2
    inner = gridgrad.derivative(
        padded(wide, reach, boundary), order=order, accuracy=accuracy, spacing=0.5
    )
    tolerance = 1e-3 if dtype in ("float32", "complex64") else 1e-10
    np.testing.assert_allclose(found, inner[reach:-reach], rtol=0, atol=tolerance * 4**order)
    assert found.dtype == (np.float64 if dtype == "int32" else dtype)


@settings(max_examples=60)
@given(
    st.integers(9, 40), st.integers(1, 3), st.sampled_from([2, 4]), st.integers(0, 50),
    st.sampled_from(["f4", "f8", "i4", "f2"]), st.integers(0, 2),
)  # fmt: skip
def test_rolling_the_samples_rolls_the_result_bit_for_bit(n, order, accuracy, shift, dtype, dim):
    shape = [3, 4, 5]
    shape[dim] = n
    f = (np.random.default_rng(n).standard_normal(shape) * 50).astype(dtype)
    how = {"order": order, "accuracy": accuracy, "spacing": 0.3, "boundary": "periodic", "dim": dim}
    found = gridgrad.derivative(np.roll(f, shift, dim), **how)
    assert found.tobytes() == np.roll(gridgrad.derivative(f, **how), shift, dim).tobytes()


def test_periodic_coordinates_are_what_they_are_laid_twice():
    lon = np.cumsum(np.random.default_rng(2).uniform(5, 20, 24))
    f = np.sin(np.radians(lon))
    for x, period in ((lon, 360.0), (lon[::-1].copy(), 360.0)):
        g = f if x is lon else f[::-1].copy()
        found = gridgrad.derivative(g, spacing=x, accuracy=4, boundary="periodic", period=period)
        turn = period if x is lon else -period
        thrice = np.concatenate([x - turn, x, x + turn])
        inner = gridgrad.derivative(np.tile(g, 3), spacing=thrice, accuracy=4)[24:48]
        np.testing.assert_allclose(found, inner, rtol=1e-9)


def test_even_coordinates_close_with_a_period_that_fits_and_do_not_with_another():
    lon = np.arange(0, 360, 10.0)
    f = np.sin(np.radians(lon))
    step = gridgrad.derivative(f, spacing=10.0, boundary="periodic")
    assert np.array_equal(
        gridgrad.derivative(f, spacing=lon, boundary="periodic", period=360), step
    )
    other = gridgrad.derivative(f, spacing=lon, boundary="periodic", period=400)
    assert np.array_equal(other[1:-1], step[1:-1]) or np.allclose(
        other[1:-1], step[1:-1], rtol=1e-12
    )
    assert abs(other[0] - step[0]) > 1e-3
    with pytest.raises(GridError, match="longer than the coordinates reach"):
        gridgrad.derivative(f, spacing=lon, boundary="periodic", period=300)
    with pytest.raises(GridError, match="period for dim 0 is missing"):
        gridgrad.derivative(f, spacing=lon**1.1, boundary="periodic")


def test_nan_beyond_the_seam():
    f = np.ones(12)
    f[0] = np.nan
    found = gridgrad.derivative(f, boundary="periodic")
    assert np.flatnonzero(np.isnan(found)).tolist() == [1, 11]


@pytest.mark.parametrize("boundary", BOUNDARIES[:4], ids=str)
@pytest.mark.parametrize("even", [True, False])
def test_a_constant_has_derivative_zero(boundary, even):
    x = 0.1 if even else jittered(15)
    for dtype, order, accuracy in itertools.product(("f2", "f4", "f8"), (1, 2, 4), (2, 6)):
        f = np.full(15, 1000.1, dtype)
        found = gridgrad.derivative(
            f, order=order, accuracy=accuracy, spacing=x, boundary=boundary,
            period=None if even or boundary != "periodic" else 1.2,
        )  # fmt: skip
        assert not found.any()


# Operators


def field(shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("boundary", BOUNDARIES, ids=str)
@pytest.mark.parametrize("even", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_operators_are_sums_of_derivatives(boundary, even, dtype):
    shape, dims = (2, 9, 11, 10), (1, 2, 3)
    # Lists do not widen single precision.
    grid = [0.5, 2.0, 0.1] if even else [jittered(n, n).tolist() for n in shape[1:]]
    boundary = [boundary] * 3
    how = {
        "accuracy": 4, "boundary": boundary,
        "period": None if even else [1.3 if b == "periodic" else None for b in boundary],
    }  # fmt: skip
    u, v, w = (field(shape, k, dtype) for k in range(3))

    def d(f, k, order=1):
        one = {"accuracy": 4, "boundary": boundary[k], "period": how["period"] and how["period"][k]}
        return gridgrad.derivative(f, order=order, dim=dims[k], spacing=grid[k], **one)

    def close(found, expected):
        assert found.dtype == dtype
        scale = np.abs(expected).max() + 1
        np.testing.assert_allclose(found, expected, rtol=0, atol=60 * np.finfo(dtype).eps * scale)

    close(gridgrad.laplacian(u, spacing=grid, dim=dims, **how), sum(d(u, k, 2) for k in range(3)))
    close(
        gridgrad.divergence((u, v, w), spacing=grid, dim=dims, **how), d(u, 0) + d(v, 1) + d(w, 2)
    )
    expected = (d(w, 1) - d(v, 2), d(u, 2) - d(w, 0), d(v, 0) - d(u, 1))
    for found, one in zip(
        gridgrad.curl((u, v, w), spacing=grid, dim=dims, **how), expected, strict=True
    ):
        close(found, one)
    for row, f in zip(
        gridgrad.jacobian((u, v), spacing=grid, dim=dims, **how), (u, v), strict=True
    ):
        for k, found in enumerate(row):
            close(found, d(f, k))
    along = gridgrad.directional_derivative(u, (1.0, -2.0, 0.5), spacing=grid, dim=dims, **how)
    close(along, d(u, 0) - 2 * d(u, 1) + 0.5 * d(u, 2))
    if any(isinstance(kind, float) for kind in np.ravel(boundary).tolist()) or "2.5" in str(
        boundary
    ):
        with pytest.raises(GridError, match="number beyond an edge"):
            gridgrad.hessian(u, spacing=grid, dim=dims, **how)
        return
    h = gridgrad.hessian(u, spacing=grid, dim=dims, **how)
    for i, j in itertools.product(range(3), repeat=2):
        assert h[i][j] is h[j][i]
        close(h[i][j], d(u, i, 2) if i == j else d(d(u, max(i, j)), min(i, j)))


def test_curl_of_two_components():
    u, v = field((8, 9), 1), field((8, 9), 2)
    expected = np.gradient(v, axis=0, edge_order=2) - np.gradient(u, axis=1, edge_order=2)
    np.testing.assert_allclose(gridgrad.curl((u, v)), expected, atol=1e-12)
    np.testing.assert_array_equal(gridgrad.curl(np.stack([u, v])), gridgrad.curl((u, v)))


@pytest.mark.parametrize("accuracy", [2, 6])
def test_identities_on_a_periodic_grid(accuracy):
    how = {"accuracy": accuracy, "boundary": "periodic", "spacing": (0.3, 0.7, 1.1)}
    f, g = field((10, 12, 14), 1), field((10, 12, 14), 2)
    for part in gridgrad.curl(gridgrad.gradient(f, **how), **how):
        assert np.abs(part).max() < 1e-11
    assert np.abs(gridgrad.divergence(gridgrad.curl((f, g, f * g), **how), **how)).max() < 1e-10
    # Integration by parts: sum of g df = - sum of f dg.
    for a, b in zip(gridgrad.gradient(f, **how), gridgrad.gradient(g, **how), strict=True):
        assert abs((g * a).sum() + (f * b).sum()) < 1e-9
    inner = {"accuracy": accuracy, "edge_order": accuracy, "spacing": (0.3, 0.7, 1.1)}
    for part in gridgrad.curl(gridgrad.gradient(f, **inner), **inner):
        assert np.abs(part[4:-4, 4:-4, 4:-4]).max() < 1e-11


def test_operators_on_other_libraries():
    u, v = field((9, 10), 1), field((9, 10), 2)
    for boundary in ("one-sided", "periodic", 0.0):
        how = {"boundary": boundary, "accuracy": 4, "spacing": (0.5, 0.25)}
        tensors = torch.from_numpy(u), torch.from_numpy(v)
        arrays = jax.numpy.asarray(u), jax.numpy.asarray(v)
        for name in ("laplacian", "divergence", "curl"):
            call = getattr(gridgrad, name)
            expected = call(u if name == "laplacian" else (u, v), **how)
            for f, g in (tensors, arrays):
                found = call(f if name == "laplacian" else (f, g), **how)
                assert type(found) is not np.ndarray
                precise = "float64" in str(found.dtype)
                np.testing.assert_allclose(
                    np.asarray(found), expected, atol=1e-11 if precise else 1e-3
                )


@pytest.mark.parametrize("boundary", BOUNDARIES[:5], ids=str)
@pytest.mark.parametrize("even", [True, False])
def test_gradients_flow_through_operators(boundary, even):
    """The adjoint of every operator is exact: <A x, y> = <x, A^T y>."""
    n = 9
    grid = [0.5, 0.25] if even else [torch.from_numpy(jittered(n, k)) for k in range(2)]
    how = {
        "boundary": boundary, "accuracy": 4, "spacing": grid,
        "period": None if even or boundary != "periodic" else 1.4,
    }  # fmt: skip
    f = torch.randn(n, n, dtype=torch.float64, requires_grad=True)
    for call in (
        lambda x: gridgrad.laplacian(x, **how),
        lambda x: gridgrad.divergence((x, 2 * x), **how),
        lambda x: gridgrad.curl((x, x.T), **how),
        lambda x: gridgrad.gradient(x, **how)[1],
        lambda x: gridgrad.directional_derivative(x, (1.0, 2.0), **how),
    ):
        y = torch.randn(n, n, dtype=torch.float64)
        found = call(f)
        (back,) = torch.autograd.grad(found, f, y)
        offset = call(torch.zeros_like(f)).detach()  # of a number beyond the edge
        left, right = ((found.detach() - offset) * y).sum(), (f.detach() * back).sum()
        assert abs(float(left - right)) < 1e-9 * (1 + abs(float(left)))
    assert torch.autograd.gradcheck(lambda x: gridgrad.laplacian(x, **how), f)


def test_compiled_operators():
    def step(x):
        return gridgrad.laplacian(x, boundary="periodic", accuracy=4) + gridgrad.derivative(
            x, order=3
        )

    x = torch.randn(12, 13)
    compiled = torch.compile(step, fullgraph=True, backend="eager", dynamic=True)
    torch.testing.assert_close(compiled(x), step(x), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(compiled(x[:, :11]), step(x[:, :11]), rtol=1e-4, atol=1e-4)


def test_results_go_into_out():
    f = field((12, 13))
    out = np.empty_like(f)
    assert gridgrad.laplacian(f, out=out) is out
    np.testing.assert_array_equal(out, gridgrad.laplacian(f))
    assert gridgrad.derivative(f, order=2, out=out) is out
    three = tuple(np.empty((5, 6, 7)) for _ in range(3))
    u = field((3, 5, 6, 7))
    assert all(a is b for a, b in zip(gridgrad.curl(u, out=three), three, strict=True))


BAD = {
    "components": (lambda f: gridgrad.divergence((f,)), "a divergence needs a component for each"),
    "no components": (lambda f: gridgrad.divergence(()), "components must hold at least one"),
    "shapes": (lambda f: gridgrad.divergence((f, f[:-1])), r"components\[1\] must have the shape of"),
    "libraries": (lambda f: gridgrad.divergence((f, torch.zeros(8, 9))), r"components\[1\] must be an array"),
    "four": (lambda f: gridgrad.curl([np.ones((4,) * 4)] * 4), "2 or 3 components"),
    "no dims": (lambda f: gridgrad.laplacian(f, dim=()), "at least 1 of the dims"),
    "direction": (lambda f: gridgrad.directional_derivative(f, (1.0,)), "a number for each of the 2"),
    "zero": (lambda f: gridgrad.directional_derivative(f, (0.0, 0)), "must not be zero in every dim"),
    "order": (lambda f: gridgrad.derivative(f, order=9), "order must be from 1 to 8"),
    "samples": (lambda f: gridgrad.derivative(f, accuracy=8, dim=0), "8 samples, but edge_order=8 needs 9"),
    "reflect": (lambda f: gridgrad.derivative(f, accuracy=8, dim=0, boundary="reflect"), "needs 9"),
    "coordinates": (lambda f: gridgrad.derivative(f, accuracy=14, spacing=np.arange(9.0) ** 2), "at most 12"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, message = BAD[name]
    with pytest.raises(GridError, match=message) as error:
        call(field((8, 9)))
    assert str(error.value).endswith(".")


# Matrices


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


def test_matrices_refuse_what_is_not_linear():
    with pytest.raises(GridError, match="boundary must not be 2 for a matrix"):
        gridgrad.derivative_matrix(9, boundary=2.0)
    with pytest.raises(GridError, match="given twice"):
        gridgrad.derivative_matrix(np.arange(9.0) ** 2, spacing=2)
    with pytest.raises(GridError, match="operator must be"):
        gridgrad.operator_matrix("curl", (4, 4))
    with pytest.raises(GridError, match="at least 1"):
        gridgrad.derivative_matrix(0)
    with pytest.raises(GridTypeError, match="1-D coordinates"):
        gridgrad.derivative_matrix(np.zeros((2, 2)))
