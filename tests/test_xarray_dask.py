"""Labelled arrays on Dask stay lazy: nothing is computed, and the values are those in memory, bit for bit."""

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr

import gridgrad
import gridgrad.xarray

from .labelled import winds


def refuse(*_, **__):
    raise AssertionError("something was computed")


WINDS = winds(14)
CHUNKS = {"time": 2, "latitude": (1, 4, 6), "longitude": 5}
PERIODIC = {"longitude": "periodic"}
CALLS = {
    "derivative": lambda ds: ds.u.gridgrad.derivative("latitude", accuracy=4),
    "second derivative": lambda ds: ds.u.gridgrad.derivative("longitude", order=2),
    "periodic": lambda ds: ds.u.gridgrad.derivative("longitude", boundary="periodic"),
    "by time": lambda ds: ds.u.gridgrad.derivative("time", time_unit="D"),
    "gradient": lambda ds: ds.u.gridgrad.gradient(["longitude", "latitude"]),
    "laplacian": lambda ds: ds.u.gridgrad.laplacian(["longitude", "latitude"], boundary=PERIODIC),
    "hessian": lambda ds: ds.u.gridgrad.hessian(["longitude", "latitude"]),
    "directional": lambda ds: ds.u.gridgrad.directional_derivative({"latitude": 1, "longitude": 2}),
    "derivatives": lambda ds: ds.gridgrad.derivative("latitude"),
    "gradients": lambda ds: ds.gridgrad.gradient(["latitude", "longitude"], boundary=PERIODIC),
    "divergence": lambda ds: ds.gridgrad.divergence(u="longitude", v="latitude"),
    "curl": lambda ds: ds.gridgrad.curl(u="longitude", v="latitude", boundary=PERIODIC),
    "jacobian": lambda ds: ds.gridgrad.jacobian(["u", "v"], ["longitude", "latitude"]),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_stays_lazy_and_gives_the_bits_of_the_arrays_in_memory(call):
    chunked = WINDS.chunk(CHUNKS)
    with dask.config.set(scheduler=refuse):
        lazy = call(chunked)
    arrays = lazy.data_vars.values() if isinstance(lazy, xr.Dataset) else [lazy]
    for array in arrays:
        if array.ndim:  # a number is kept as it is
            assert isinstance(array.data, dask.array.Array)
            assert array.chunks == chunked.u.chunks
    with dask.config.set(scheduler="synchronous"):
        xr.testing.assert_identical(lazy.compute(), call(WINDS))


def test_a_coordinate_on_dask_is_read_and_nothing_else_is():
    height = xr.DataArray(dask.array.from_array(np.arange(11.0) ** 2, chunks=4), dims="latitude")
    chunked = WINDS.u.chunk(CHUNKS).assign_coords(height=height)
    found = chunked.gridgrad.derivative("height")
    assert isinstance(found.data, dask.array.Array)
    expected = WINDS.u.assign_coords(height=height.compute()).gridgrad.derivative("height")
    np.testing.assert_array_equal(found.compute(scheduler="synchronous"), expected)


def test_times_on_dask_are_refused_as_samples():
    times = WINDS.time.expand_dims(longitude=14).chunk()
    with pytest.raises(
        gridgrad.GridTypeError, match="times in an array of NumPy, but holds datetime64"
    ):
        times.gridgrad.derivative("longitude", spacing=1)


def test_quantities_on_dask_stay_lazy():
    pint = pytest.importorskip("pint")
    units = pint.UnitRegistry(force_ndarray_like=True)
    chunked = WINDS.u.chunk(CHUNKS)
    quantity = chunked.copy(data=units.Quantity(chunked.data, "m / s"))
    with dask.config.set(scheduler=refuse):
        found = quantity.gridgrad.derivative("latitude")
    assert isinstance(found.data.magnitude, dask.array.Array)
    assert found.data.units == units.Unit("m / s / degree")


def test_unknown_chunk_sizes_are_refused():
    array = dask.array.from_array(np.arange(8.0), chunks=4)
    unknown = xr.DataArray(array[array > 2], dims="x")
    with pytest.raises(gridgrad.GridError, match="chunk"):
        unknown.gridgrad.derivative("x", spacing=1)
