"""JAX: under grad, jit and vmap, with and without float64; and the strict standard beside it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gridgrad

from .calling import STRICT, check, dtype_name, gradient, numpy
from .exact import derivative

UNEVEN = [0.0, 0.5, 1.0, 2.5, 3.0]
F = [1.0, 2.0, 4.0, 7.0, 5.0]


@pytest.fixture(params=[False, True], ids=["float32", "float64"])
def x64(request):
    """Both of JAX's worlds: float64 switched off, as it is by default, and on."""
    with jax.enable_x64(request.param):
        yield request.param


def truth(edge_order=1, x=UNEVEN):
    return [float(v) for v in derivative(F, x, edge_order)[0]]


@pytest.mark.parametrize("edge_order", [1, 2])
def test_jit_of_values(x64, edge_order):
    f = jnp.asarray(F)
    name, eps = ("float64", 1e-15) if x64 else ("float32", 5e-7)
    for spacing in (1, 0.5, (UNEVEN,), (jnp.asarray(UNEVEN),), jnp.asarray(0.5)):

        def call(f, spacing=spacing):
            return gridgrad.gradient(f, spacing=spacing, edge_order=edge_order)

        (expected,) = gradient(f, spacing=spacing, edge_order=edge_order)
        (result,) = jax.jit(call)(f)
        assert dtype_name(result) == dtype_name(expected) == name
        assert result.devices() == f.devices()
        np.testing.assert_allclose(result, expected, rtol=eps)


@pytest.mark.parametrize("edge_order", [1, 2])
def test_jit_of_coordinates_and_steps(x64, edge_order):
    f, eps = jnp.asarray(F), 2e-15 if x64 else 1e-6

    @jax.jit
    def at_coordinates(f, x):
        return gridgrad.gradient(f, spacing=(x,), edge_order=edge_order)

    @jax.jit
    def at_step(f, h):
        return gridgrad.gradient(f, spacing=h, edge_order=edge_order)

    (result,) = at_coordinates(f, jnp.asarray(UNEVEN))
    assert result.dtype == f.dtype
    np.testing.assert_allclose(result, truth(edge_order), rtol=eps)
    (integers,) = at_coordinates(f, jnp.asarray([0, 1, 2, 5, 6]))
    np.testing.assert_allclose(integers, np.array(truth(edge_order)) / 2, rtol=eps)
    for h in (jnp.asarray(0.5), jnp.asarray(2)):
        (result,) = at_step(f, h)
        (expected,) = gradient(f, spacing=float(h), edge_order=edge_order)
        assert result.dtype == expected.dtype
        np.testing.assert_allclose(result, expected, rtol=eps)


def at_coordinates(f, x, edge_order=1):
    return (gridgrad.gradient(f, spacing=(x,), edge_order=edge_order)[0] ** 2).sum()


def at_step(f, h, edge_order=1):
    return (gridgrad.gradient(f, spacing=h, edge_order=edge_order)[0] ** 2).sum()


def by_differences(function, at, edge_order) -> np.ndarray:
    """The derivative by the second argument: central differences of the same on NumPy."""
    at, step = np.asarray(at, float), 1e-5
    found = np.empty(at.shape)
    for k in np.ndindex(at.shape):
        there, back = at.copy(), at.copy()
        there[k] += step
        back[k] -= step
        f = np.array(F)
        found[k] = (function(f, there, edge_order) - function(f, back, edge_order)) / (2 * step)
    return found


@pytest.mark.parametrize(
    ("function", "other", "edge_order"),
    [
        (at_coordinates, UNEVEN, 1),
        pytest.param(at_coordinates, UNEVEN, 2, marks=pytest.mark.exhaustive),
        (at_coordinates, [0.0, 1.0, 2.0, 3.0, 4.0], 1),
        (at_step, 0.7, 2),
    ],
    ids=["uneven", "uneven-edge-2", "even", "step-edge-2"],
)
def test_grad_and_jvp(x64, function, other, edge_order):
    """Backwards against differences, and forwards against backwards; on even coordinates too,
    where a weight is zero, but its derivative is not NaN.
    """
    given = jnp.asarray(F), jnp.asarray(other)
    by_f, by_other = jax.grad(function, argnums=(0, 1))(*given, edge_order)
    assert by_f.dtype == by_other.dtype == given[0].dtype
    expected = by_differences(function, other, edge_order)
    np.testing.assert_allclose(by_other, expected, rtol=1e-6 if x64 else 2e-4, atol=1e-5)
    tangents = jnp.cos(given[0]), jnp.sin(given[1] + 1)
    _, forward = jax.jvp(lambda f, x: function(f, x, edge_order), given, tangents)
    backward = (by_f * tangents[0]).sum() + (by_other * tangents[1]).sum()
    np.testing.assert_allclose(forward, backward, rtol=1e-4)


def test_grad_twice(x64):
    """f / h has the second derivative 2 f / h**3."""
    h = jnp.asarray(0.5)
    second = jax.grad(jax.grad(lambda h: gridgrad.gradient(jnp.asarray(F), spacing=h)[0].sum()))(h)
    (first,) = gradient(jnp.asarray(F), spacing=1)
    assert second.dtype == h.dtype
    np.testing.assert_allclose(second, 2 * first.sum() / 0.5**3, rtol=1e-5)


def test_vmap(x64):
    rng = np.random.default_rng(0)
    f, x = jnp.asarray(rng.random((3, 5))), jnp.asarray(np.cumsum(rng.random((3, 5)) + 0.1, axis=1))
    h = jnp.asarray([0.5, 2.0, -3.0])
    for function, given in (
        (lambda f: gridgrad.gradient(f)[0], (f,)),
        (lambda f, h: gridgrad.gradient(f, spacing=h)[0], (f, h)),
        (lambda f, x: gridgrad.gradient(f, spacing=(x,), edge_order=2)[0], (f, x)),
    ):
        found = jax.vmap(function)(*given)
        each = jnp.stack([function(*row) for row in zip(*given, strict=True)])
        assert found.dtype == each.dtype == f.dtype
        np.testing.assert_allclose(found, each, rtol=1e-12 if x64 else 1e-4)


@pytest.mark.parametrize(
    "dtype", ["int8", "int32", "uint8", "uint32", "float16", "bfloat16", "float32", "complex64"]
)
def test_dtypes(x64, dtype):
    f = jnp.asarray([1, 2, 4, 8]).astype(dtype)
    integer = "int" in dtype
    expected = ("float64" if x64 else "float32") if integer else dtype
    check(gradient(f), [[1, 1.5, 3, 4]], expected)
    check(gradient(f, spacing=-2), [[-0.5, -0.75, -1.5, -2]], expected)
    check(jax.jit(gridgrad.gradient)(f), [[1, 1.5, 3, 4]], expected)
    for x in ([0, 1, 3, 5], jnp.asarray([0, 1, 3, 5]), jnp.asarray([0.0, 1, 3, 5], jnp.float32)):
        (result,) = gradient(f, spacing=(x,))
        own_floats = isinstance(x, jnp.ndarray) and x.dtype == jnp.float32
        promoted = "float32" if own_floats and dtype in ("float16", "bfloat16") else expected
        assert dtype_name(result) == promoted


@pytest.mark.parametrize("dtype", ["float16", "float32", "int32", "complex64"])
def test_complex_steps(x64, dtype):
    f = jnp.asarray([1, 2, 4, 8]).astype(dtype)
    wide = "complex128" if x64 and dtype == "int32" else "complex64"
    check(gradient(f, spacing=2j), [[-0.5j, -0.75j, -1.5j, -2j]], wide)


def test_int32_keeps_its_digits_without_float64():
    f = jnp.asarray([2**30, 2**30 + 1, 2**30 + 3, 2**30 + 4], jnp.int32)
    check(gradient(f), [[1, 1.5, 1.5, 1]], "float32")
    x = jnp.asarray([2**30, 2**30 + 1, 2**30 + 2, 2**30 + 4], jnp.int32)
    (result,) = jax.jit(lambda x: gridgrad.gradient(jnp.asarray([0.0, 1, 2, 4]), spacing=(x,)))(x)
    check([result], [1], "float32")


def test_a_tiny_step_without_float64():
    """A step below float32's range must not become 0."""
    f = jnp.asarray([0.0, 1e-38, 2e-38, 4e-38])
    (result,) = gradient(f, spacing=1e-50)
    assert not np.isnan(numpy(result)).any()
    (constant,) = gradient(f * 0 + 1, spacing=1e-50)
    assert (numpy(constant) == 0).all()


def test_strict_arrays():
    """In the standard's own strict implementation: nothing beyond the standard is used."""
    x = STRICT.asarray([0.0, 3.0, 6.0, 9.0], "float32")
    for dtype in ("float32", "float64", "complex128", "int16", "uint64"):
        f = STRICT.asarray([[1, 2, 4, 8], [10, 20, 40, 80]], dtype)
        expected = "float64" if "int" in dtype else dtype
        for spacing in (1, [2.0, 3.0], (STRICT.asarray(2.0), x), (0.5, [0, 3, 6, 9])):
            for options in ({}, {"dim": (1, 0)} if spacing == 1 else {}):
                results = gradient(f, spacing=spacing, **options)
                assert {dtype_name(result) for result in results} == {expected}
        for spacing in (1, x, (x,), ([0, 3, 6, 10],)):
            (result,) = gradient(f, spacing=spacing, dim=1, edge_order=2)
            assert dtype_name(result) == expected
    complex_step = gradient(STRICT.asarray([1.0, 2.0, 4.0]), spacing=1j)
    check(complex_step, [[-1j, -1.5j, -2j]], "complex128")
