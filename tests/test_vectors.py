"""Operators of several terms: their meaning, their identities, their errors."""

import itertools

import dask.array as da
import jax
import numpy as np
import pytest
import torch

import gridgrad
from gridgrad import GridError

from .grids import BOUNDARIES, field, jittered


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
    # Along one dim a number beyond the edges of another has no slope: a test of its own looks at that.
    has_numbers = "2.5" in str(boundary) or any(
        isinstance(kind, float) for kind in np.ravel(boundary).tolist()
    )
    h = gridgrad.hessian(u, spacing=grid, dim=dims, **how)
    for i, j in itertools.product(range(3), repeat=2):
        assert h[i][j] is h[j][i]
        if i == j or not has_numbers:
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


@pytest.mark.parametrize("accuracy", [2, 4, 8])
@pytest.mark.parametrize("number", [0.0, 2.5])
def test_a_hessian_with_a_number_beyond_the_edges(number, accuracy):
    f = field((9, 10, 11), 3)
    found = gridgrad.hessian(f, boundary=number, accuracy=accuracy)
    whole = gridgrad.hessian(np.pad(f, 9, constant_values=number), accuracy=accuracy)
    for i, j in itertools.product(range(3), repeat=2):
        expected = whole[i][j][9:-9, 9:-9, 9:-9]
        np.testing.assert_allclose(found[i][j], expected, rtol=0, atol=1e-13)
    t = torch.from_numpy(f).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda t: gridgrad.hessian(t, boundary=number)[0][1],
        t[:3, :3, :3].detach().requires_grad_(),
    )
    in_chunks = gridgrad.hessian(
        da.from_array(f, chunks=(2, 3, 11)), boundary=number, accuracy=accuracy
    )
    for i, j in itertools.product(range(3), repeat=2):
        assert in_chunks[i][j].compute().tobytes() == found[i][j].tobytes()


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("shape", [(7, 9, 11), (6, 40, 50), (50, 40, 6), (5, 6, 7, 8), (2000, 6)])
def test_terms_were_added_in_the_order_of_memory(shape, library):
    """So bits depended on how an array lay, and with it on chunks, which may lie otherwise."""
    f = np.random.default_rng(0).normal(size=shape)
    uneven = tuple(np.cumsum(np.arange(1.0, n + 1)) for n in shape)
    calls = [
        gridgrad.laplacian,
        lambda g: gridgrad.laplacian(g, accuracy=4, edge_order=1, boundary="periodic"),
        lambda g: gridgrad.laplacian(g, spacing=uneven),
        lambda g: gridgrad.directional_derivative(g, range(1, len(shape) + 1)),
        lambda g: gridgrad.divergence([g] * len(shape)),
    ]
    expected = [call(f).tobytes() for call in calls]
    for order in itertools.permutations(range(len(shape))):
        g = np.ascontiguousarray(f.transpose(order)).transpose(np.argsort(order))
        if library == "torch":
            g = torch.from_numpy(g)
        for call, bits in zip(calls, expected, strict=True):
            assert np.asarray(call(g)).tobytes() == bits


def test_a_direction_may_be_an_array():
    f = np.random.default_rng(0).normal(size=(5, 6))
    found = gridgrad.directional_derivative(f, np.array([2.0, -1.0]))
    assert (found == gridgrad.directional_derivative(f, (2.0, -1.0))).all()
    with pytest.raises(GridError):
        gridgrad.directional_derivative(f, np.array([1.0, np.nan]))
