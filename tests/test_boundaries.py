"""What stands beyond the edges."""

import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gridgrad
from gridgrad import GridError


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


def test_a_period_may_be_of_python_or_numpy():
    hours = np.array([0, 1, 4, 9, 16], "timedelta64[h]") + np.datetime64("2026-01-01")
    f = np.sin(np.arange(5.0))
    found = [
        gridgrad.derivative(f, spacing=hours, boundary="periodic", period=period)
        for period in (datetime.timedelta(days=1), np.timedelta64(1, "D"), 86400)
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


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
