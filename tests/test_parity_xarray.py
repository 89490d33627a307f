"""Parity with xarray's `differentiate`: xarray's own tests, and deviations by name.

The tests run straight from the installed package, with the accessor swapped in for both methods.
"""

import inspect

import jax
import numpy as np
import pytest
import xarray as xr

import gridgrad.xarray  # it registers the accessor

with_x64 = jax.config.jax_enable_x64
from xarray.tests import test_dataset as xarrays_tests  # noqa: E402  # what JAX was told is read first: these change it
from xarray.tests import test_duck_array_wrapping as xarrays_duck_tests  # noqa: E402  # what JAX was told is read first: these change it
from xarray.tests import test_units as xarrays_unit_tests  # noqa: E402  # what JAX was told is read first: these change it

# They have xarray warn, in this process, of every file that is left to be closed by itself.
xr.set_options(warn_for_unclosed_files=False)

# Two of these modules switch 64-bit types on in JAX, for all that runs in the same process.
jax.config.update("jax_enable_x64", with_x64)

OWN = {kind: kind.differentiate for kind in (xr.DataArray, xr.Dataset)}
calls: list[str] = []


def differentiate(self, coord, edge_order=1, datetime_unit=None):
    """xarray's method by the accessor, with the deviations that are listed below asked away."""
    calls.append(str(coord))
    options = {}
    if coord not in self.coords and coord in self.dims:
        # Deviation 1: without a coordinate, samples are counted only if that is said.
        options["spacing"] = 1
    elif datetime_unit is None and self[coord].dtype.kind in "mM":
        # Deviation 2: times count in seconds, where xarray counts in the unit they are stored in.
        datetime_unit = np.datetime_data(self[coord].dtype)[0]
    return self.gridgrad.derivative(
        coord, edge_order=edge_order, time_unit=datetime_unit, **options
    )


def assert_equal(a, b):
    """Deviation 3: weights on coordinates are rounded once, NumPy's several times."""
    xr.testing.assert_allclose(a, b, rtol=1e-13)


@pytest.fixture
def swapped_in(monkeypatch):
    calls.clear()
    for kind in OWN:
        monkeypatch.setattr(kind, "differentiate", differentiate)
    monkeypatch.setattr(xarrays_tests, "assert_equal", assert_equal)
    yield
    assert calls


def needs_dask():
    """Why the tests on Dask arrays cannot run; None if they can."""
    import dask.array

    try:
        gridgrad.gradient(dask.array.ones((4, 4), chunks=2))
    except Exception as error:
        return f"gridgrad does not take Dask arrays yet: {type(error).__name__}"
    return None


@pytest.fixture(params=[False, True], ids=["numpy", "dask"])
def use_dask(request):
    if request.param and (reason := needs_dask()):
        pytest.skip(reason)
    return request.param


@pytest.mark.parametrize("edge_order", [1, 2])
def test_differentiate(swapped_in, use_dask, edge_order):
    xarrays_tests.test_differentiate(use_dask, edge_order)


def test_differentiate_datetime(swapped_in, use_dask):
    xarrays_tests.test_differentiate_datetime(use_dask)


def test_differentiate_cftime(swapped_in, use_dask):
    xarrays_tests.test_differentiate_cftime(use_dask)


@pytest.mark.parametrize("namespace", ["jax.numpy", "pint", "dask.array"])
def test_duck_arrays(swapped_in, namespace, request):
    if namespace == "dask.array" and (reason := needs_dask()):
        pytest.skip(reason)
    test = xarrays_duck_tests.TestDataArrayMethods()
    test.setup_for_test(request, namespace)
    test.x = test.get_test_dataarray()
    test.test_differentiate()


@pytest.mark.parametrize("dtype", [float, int])
def test_units_of_a_data_array(swapped_in, dtype):
    method = xarrays_unit_tests.method("differentiate", fallback_func=np.gradient)
    xarrays_unit_tests.TestDataArray().test_differentiate_integrate(method, "coords", dtype)


@pytest.mark.parametrize("dtype", [float, int])
@pytest.mark.parametrize("variant", ["data", "coords"])
def test_units_of_a_dataset(swapped_in, variant, dtype):
    method = xarrays_unit_tests.method("differentiate", coord="x")
    xarrays_unit_tests.TestDataset().test_computation(method, variant, dtype, None)


def test_no_test_of_differentiate_is_left_out():
    """The modules of xarray's own tests in which the method is named, and where each is run."""
    import importlib.resources

    naming = {
        path.name
        for path in importlib.resources.files("xarray.tests").iterdir()
        if path.name.startswith("test_") and "differentiate" in path.read_text(encoding="utf-8")
    }
    assert (
        naming
        == {
            "test_dataset.py",
            "test_duck_array_wrapping.py",
            "test_units.py",
            "test_sparse.py",  # which expects it to fail: there is no gradient of sparse arrays, nor here
        }
    )
    named = [name for name, each in inspect.getmembers(xarrays_tests) if "differentiate" in name]
    assert named == [
        "test_differentiate",
        "test_differentiate_cftime",
        "test_differentiate_datetime",
    ]


# Deviations, each still there in both.


def test_a_dim_without_a_coordinate_needs_a_spacing():
    array = xr.DataArray([1.0, 2.0, 4.0], dims="x")
    np.testing.assert_array_equal(array.differentiate("x"), [1, 1.5, 2])
    with pytest.raises(gridgrad.GridError, match="no coordinate to take positions from"):
        array.gridgrad.derivative("x")


def test_times_count_in_seconds():
    t = np.array(["2000-01-01", "2000-01-02", "2000-01-03"], "M8[ns]")
    array = xr.DataArray([1.0, 2.0, 3.0], coords={"t": t}, dims="t")
    np.testing.assert_allclose(array.differentiate("t"), 1 / 86400e9)
    np.testing.assert_allclose(array.gridgrad.derivative("t"), 1 / 86400)


def test_attributes_are_kept_by_gridgrad_and_given_units():
    x = ("x", [0.0, 1.0, 3.0], {"units": "m"})
    array = xr.DataArray([1.0, 2.0, 4.0], coords={"x": x}, dims="x", attrs={"units": "K", "a": 1})
    assert not array.differentiate("x").attrs
    assert array.gridgrad.derivative("x").attrs.items() >= {"units": "K m-1", "a": 1}.items()


def test_the_result_has_a_name_of_its_own():
    array = xr.DataArray([1.0, 2.0, 4.0], coords={"x": [0, 1, 2]}, dims="x", name="f")
    assert array.differentiate("x").name == "f"
    assert array.gridgrad.derivative("x").name == "df_dx"
    ds = xr.Dataset({"f": array})
    assert list(ds.differentiate("x")) == list(ds.gridgrad.derivative("x")) == ["f"]


def test_edges_are_as_accurate_as_the_interior():
    x = np.arange(5.0)
    array = xr.DataArray(x**2, coords={"x": x}, dims="x")
    np.testing.assert_array_equal(array.differentiate("x"), [1, 2, 4, 6, 7])
    np.testing.assert_array_equal(array.gridgrad.derivative("x"), [0, 2, 4, 6, 8])
    np.testing.assert_array_equal(array.gridgrad.derivative("x", edge_order=1), [1, 2, 4, 6, 7])


def test_duplicate_coordinates_are_refused():
    array = xr.DataArray([1.0, 2.0, 4.0], coords={"x": [0.0, 1.0, 1.0]}, dims="x")
    with np.errstate(all="ignore"):
        assert not np.isfinite(array.differentiate("x")).all()
    with pytest.raises(gridgrad.GridError, match="distinct"):
        array.gridgrad.derivative("x")
