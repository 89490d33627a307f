"""The accessor `.gridgrad`: values, coordinates, names, attributes, encodings, libraries."""

import datetime
import subprocess
import sys

import array_api_strict
import cftime
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import gridgrad
import gridgrad.xarray

from .labelled import UNEVEN, line, winds

DAY = 86400.0


def snapshot(obj):
    """All that a call could change of a labelled object."""
    variables = obj.variables if isinstance(obj, xr.Dataset) else {**obj.coords, None: obj}
    return [
        (name, each.dims, each.values.tobytes(), str(each.attrs), str(each.encoding))
        for name, each in variables.items()
    ]


# Values: those of the functions, by the coordinates.

POSITIONS = st.lists(st.integers(-1000, 1000), min_size=6, max_size=9, unique=True).map(sorted)


@settings(max_examples=60)
@given(
    x=POSITIONS,
    dtype=st.sampled_from(["float32", "float64", "int16"]),
    kind=st.sampled_from(["int32", "float32", "float64"]),
    order=st.integers(1, 3),
    axis=st.integers(0, 2),
    turned=st.booleans(),
    data=st.data(),
)
def test_a_derivative_is_that_of_the_function(x, dtype, kind, order, axis, turned, data):
    shape = [2, 2]
    shape.insert(axis, len(x))
    elements = {"elements": st.integers(-100, 100)} if dtype == "int16" else {}
    if dtype != "int16":
        elements = {"elements": st.floats(-1e3, 1e3, width=32)}
    f = data.draw(hnp.arrays(dtype, tuple(shape), **elements))
    x = x[::-1] if turned else x
    dims = [f"d{k}" for k in range(3)]
    array = xr.DataArray(f, dims=dims, coords={dims[axis]: np.array(x, kind), "scalar": 3})
    before = snapshot(array)
    found = array.gridgrad.derivative(dims[axis], order=order)
    expected = gridgrad.derivative(f, order=order, dim=axis, spacing=[float(each) for each in x])
    assert snapshot(array) == before
    assert found.dtype == expected.dtype
    assert found.dims == array.dims
    np.testing.assert_array_equal(found.values, expected)
    xr.testing.assert_identical(found.coords.to_dataset(), array.coords.to_dataset())


def test_coordinates_do_not_widen_the_result():
    """float32 stays what it is by a float64 coordinate, as in xarray's `differentiate`."""
    array = line((UNEVEN**2).astype(np.float32))
    assert array.gridgrad.derivative("x").dtype == np.float32
    assert array.differentiate("x").dtype == np.float32
    (function,) = gridgrad.gradient(array.values, spacing=UNEVEN)
    assert function.dtype == np.float64


def test_a_gradient_is_a_dataset_with_a_variable_for_each_dim():
    u = winds().u
    found = u.gridgrad.gradient(["longitude", "latitude"], edge_order=2)
    assert list(found) == ["du_dlongitude", "du_dlatitude"]
    expected = gridgrad.gradient(
        u.values, dim=(2, 1), edge_order=2, spacing=[u.longitude.values.tolist(), u.latitude.values.tolist()]
    )  # fmt: skip
    for values, want in zip(found.values(), expected, strict=True):
        assert values.dims == u.dims
        np.testing.assert_array_equal(values.values, want)
    assert set(found.coords) == set(u.coords)
    assert list(u.gridgrad.gradient("latitude")) == ["du_dlatitude"]
    assert list(u.gridgrad.gradient()) == ["du_dtime", "du_dlatitude", "du_dlongitude"]
    assert not u.gridgrad.gradient([])


def test_options_reach_the_functions():
    f = np.sin(np.arange(16) * np.pi / 8)
    array = line(f, np.arange(16) * np.pi / 8)
    for options in (
        {"accuracy": 6},
        {"accuracy": 4, "edge_order": 2, "order": 2},
        {"boundary": "periodic", "period": 2 * np.pi},
        {"boundary": ("reflect", 0.0)},
        {"side": "forward", "accuracy": 1},
        {"edge_order": 1},
    ):
        expected = gridgrad.derivative(f, spacing=(array.x.values,), **options)
        np.testing.assert_array_equal(array.gridgrad.derivative("x", **options), expected)
    two = array * xr.DataArray(f, coords={"y": array.x.values}, dims="y")
    step = array.x.values
    expected = gridgrad.laplacian(
        two.values, spacing=(step, step), boundary=("reflect", "replicate")
    )
    for boundary in (["reflect", "replicate"], {"y": "replicate", "x": "reflect"}):
        found = two.gridgrad.laplacian(["x", "y"], boundary=boundary)
        np.testing.assert_array_equal(found, expected)


def test_uneven_periodic_coordinates_take_a_period():
    x = np.array([0.0, 1, 3, 4, 6])
    f = np.array([1.0, 4, 2, 8, 5])
    expected = gridgrad.derivative(f, spacing=x, boundary="periodic", period=7)
    array = line(f, x)
    for period in (7, {"x": 7}, [7]):
        found = array.gridgrad.derivative("x", boundary="periodic", period=period)
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(gridgrad.GridError, match=r"period for dim .* is missing"):
        array.gridgrad.derivative("x", boundary="periodic")


@pytest.mark.parametrize(
    "attrs",
    [
        {"units": "degrees_east"},
        {"units": "degree_E"},
        {"units": "degrees", "standard_name": "longitude"},
    ],
)
def test_a_longitude_in_degrees_has_a_period_of_360(attrs):
    x = np.array([0.0, 50, 100, 180, 300])
    array = line(np.array([1.0, 4, 2, 8, 5]), x)
    array.x.attrs.update(attrs)
    found = array.gridgrad.derivative("x", boundary="periodic")
    expected = array.gridgrad.derivative("x", boundary="periodic", period=360)
    np.testing.assert_array_equal(found, expected)


def test_laplacian_hessian_and_directional_derivative_agree():
    rng = np.random.default_rng(1)
    array = xr.DataArray(
        rng.random((7, 6)), coords={"y": np.arange(7.0), "x": UNEVEN}, dims=("y", "x"), name="f"
    )
    second = array.gridgrad.hessian(["x", "y"])
    assert list(second) == ["d2f_dx2", "d2f_dxdy", "d2f_dy2"]
    np.testing.assert_allclose(
        array.gridgrad.laplacian(), second.d2f_dx2 + second.d2f_dy2, rtol=1e-12, atol=1e-12
    )
    slopes = array.gridgrad.gradient(["x", "y"], edge_order=2)
    along = array.gridgrad.directional_derivative({"y": 3, "x": -1})
    np.testing.assert_allclose(along, 3 * slopes.df_dy - slopes.df_dx, rtol=1e-12, atol=1e-12)
    assert along.name == "directional_derivative_of_f"


def test_a_coordinate_that_is_not_the_dims_own():
    array = line().assign_coords(height=("x", UNEVEN * 2, {"units": "m"}))
    found = array.gridgrad.derivative("height")
    np.testing.assert_array_equal(found.values * 2, array.gridgrad.derivative("x").values)
    assert found.name == "df_dheight"
    assert found.attrs["units"] == "K m-1"


def test_a_dim_without_a_coordinate_takes_a_spacing():
    f = np.array([[1.0, 4, 9], [1, 8, 27]])
    array = xr.DataArray(f, dims=("y", "x"), coords={"y": [0, 2]})
    expected = gridgrad.gradient(f, spacing=(2, [0, 1, 3]))
    for spacing in ({"x": [0, 1, 3]}, {"x": np.array([0, 1, 3])}, {"x": xr.DataArray([0.0, 1, 3])}):
        found = array.gridgrad.gradient(["y", "x"], spacing=spacing)
        for values, want in zip(found.values(), expected, strict=True):
            np.testing.assert_array_equal(values, want)
    np.testing.assert_array_equal(
        array.gridgrad.derivative("x", spacing=0.5), gridgrad.derivative(f, spacing=0.5)
    )


# Names, attributes, encodings.


def test_names_and_attributes_follow_cf():
    ds = winds()
    found = ds.u.gridgrad.derivative("latitude", order=2)
    assert found.name == "d2u_dlatitude2"
    assert found.attrs == {
        "units": "m s-1 degree-2",
        "long_name": "second derivative of eastward wind with respect to latitude",
        "cell_methods": "time: mean",
        "grid_mapping": "crs",
        "comment": "kept",
    }
    assert "cell_methods" not in ds.u.gridgrad.derivative("time").attrs
    unnamed = xr.DataArray([1.0, 2, 4], dims="x").gridgrad.derivative("x", spacing=1)
    assert unnamed.name == "d_dx"
    assert unnamed.attrs == {"long_name": "derivative with respect to x"}


def test_attributes_of_the_values_are_dropped_by_name():
    wrong = (
        "standard_name", "valid_min", "valid_max", "valid_range", "actual_range", "scale_factor",
        "add_offset", "missing_value", "_FillValue", "flag_values", "flag_meanings", "positive", "axis",
        "bounds", "ancillary_variables", "least_significant_digit", "GRIB_paramId",
    )  # fmt: skip
    array = line(**dict.fromkeys(wrong, "x"), references="kept", grid_mapping="kept")
    found = array.gridgrad.derivative("x").attrs
    assert set(found) == {"references", "grid_mapping", "long_name"}


def test_what_packs_a_file_is_dropped_and_what_lays_it_out_is_kept(tmp_path):
    ds = winds()
    slope = ds.u.gridgrad.derivative("latitude")
    assert slope.encoding == {"zlib": True, "complevel": 4, "chunksizes": (1, 9, 12)}
    slope.to_netcdf(tmp_path / "slope.nc", engine="netcdf4")
    with xr.open_dataarray(tmp_path / "slope.nc", engine="netcdf4") as read:
        np.testing.assert_array_equal(read.values, slope.values)
        assert read.dtype == np.float32
        assert read.encoding["zlib"]
        assert read.encoding["chunksizes"] == (1, 9, 12)
        assert read.attrs == slope.attrs


def test_a_file_read_in_gives_the_same_as_what_was_written(tmp_path):
    """Lazily indexed variables of a file, big-endian and packed ones included."""
    ds = winds()
    ds.to_netcdf(tmp_path / "packed.nc", engine="netcdf4")
    with xr.open_dataset(tmp_path / "packed.nc", engine="netcdf4") as read:
        found = read.gridgrad.curl(u="longitude", v="latitude")
        loaded = read.load().gridgrad.curl(u="longitude", v="latitude")
    xr.testing.assert_identical(found, loaded)


# Datasets.


def test_a_derivative_of_a_dataset_keeps_names_and_what_has_no_such_dim():
    ds = winds()
    found = ds.gridgrad.derivative("time", time_unit="D")
    assert list(found.data_vars) == list(ds.data_vars)
    xr.testing.assert_identical(found.crs, ds.crs)
    assert found.attrs == ds.attrs
    xr.testing.assert_equal(found.u, ds.u.gridgrad.derivative("time", time_unit="D"))
    assert found.u.attrs["units"] == "m s-1 day-1"
    assert found.u.encoding["zlib"]


def test_a_gradient_of_a_dataset_is_of_the_dims_that_each_variable_has():
    ds = winds()
    ds["p"] = ("longitude", np.arange(12.0))
    found = ds.gridgrad.gradient(["longitude", "latitude"], boundary={"longitude": "periodic"})
    assert set(found.data_vars) == {
        "du_dlongitude", "du_dlatitude", "dv_dlongitude", "dv_dlatitude", "dp_dlongitude", "crs",
    }  # fmt: skip
    expected = ds.u.gridgrad.gradient("longitude", boundary="periodic")
    xr.testing.assert_identical(found.du_dlongitude, expected.du_dlongitude)


@pytest.mark.parametrize("operator", ["laplacian", "hessian"])
def test_second_derivatives_of_a_dataset_are_those_of_its_variables(operator):
    ds = winds()
    ds["height"] = ds.u.isel(latitude=0, time=0, drop=True)
    dims, accuracy = ["latitude", "longitude"], 4
    boundary = {"longitude": "periodic"}
    found = getattr(ds.gridgrad, operator)(dims, accuracy=accuracy, boundary=boundary)
    assert "crs" in found
    assert "u" not in found
    for name, mine in (("u", dims), ("height", dims[1:])):
        wanted = getattr(ds[name].gridgrad, operator)(mine, accuracy=accuracy, boundary=boundary)
        for each in [wanted] if operator == "laplacian" else wanted.data_vars.values():
            xr.testing.assert_identical(found[each.name].variable, each.variable)


def test_divergence_and_curl_are_made_of_derivatives():
    ds = winds()
    named, how = {"u": "longitude", "v": "latitude"}, {"accuracy": 4}
    dx = {name: ds[name].gridgrad.derivative("longitude", **how) for name in "uv"}
    dy = {name: ds[name].gridgrad.derivative("latitude", **how) for name in "uv"}
    before = snapshot(ds)
    divergence = ds.gridgrad.divergence(**named, **how)
    curl = ds.gridgrad.curl(named, **how)
    assert snapshot(ds) == before
    tolerance = {"rtol": 1e-5, "atol": 1e-6}
    np.testing.assert_allclose(divergence, dx["u"] + dy["v"], **tolerance)
    np.testing.assert_allclose(curl, dx["v"] - dy["u"], **tolerance)
    assert (divergence.name, curl.name) == ("divergence", "curl")
    assert divergence.attrs["units"] == curl.attrs["units"] == "m s-1 degree-1"
    assert divergence.attrs["long_name"] == "divergence of eastward wind and northward wind"
    assert divergence.attrs["comment"] == "kept"
    table = ds.gridgrad.jacobian(["u", "v"], ["longitude", "latitude"], **how)
    assert list(table) == ["du_dlongitude", "du_dlatitude", "dv_dlongitude", "dv_dlatitude"]
    np.testing.assert_allclose(table.dv_dlongitude, dx["v"], **tolerance)


def test_the_curl_of_three_components():
    """That of a rotation about an axis is twice the axis; components in any order of dims."""
    grid = xr.Dataset(coords={name: np.arange(4.0) for name in "xyz"})
    axis = (1.0, 2.0, -3.0)
    x, y, z = xr.broadcast(grid.x, grid.y, grid.z)
    grid["u"] = axis[1] * z - axis[2] * y
    grid["v"] = (axis[2] * x - axis[0] * z).transpose("z", "x", "y")
    grid["w"] = axis[0] * y - axis[1] * x
    found = grid.gridgrad.curl(u="x", v="y", w="z")
    assert list(found) == ["curl_x", "curl_y", "curl_z"]
    for values, want in zip(found.values(), axis, strict=True):
        assert values.dims == ("x", "y", "z")
        np.testing.assert_allclose(values, 2 * want, rtol=1e-14)
    assert found.curl_x.attrs["long_name"] == "component along x of the curl of u, v and w"


def test_components_are_broadcast_and_transposed():
    grid = xr.Dataset(coords={"x": np.arange(4.0), "y": np.arange(3.0), "t": [0, 1]})
    grid["u"] = grid.x * grid.y
    grid["v"] = (grid.y + 0 * grid.x) * (1 + grid.t)
    grid["v"] = grid.v.transpose("y", "t", "x")
    found = grid.gridgrad.divergence(u="x", v="y")
    expected = grid.y + 1 + grid.t
    np.testing.assert_allclose(found, (expected + 0 * grid.x).transpose(*found.dims), rtol=1e-14)


# Times.


def test_derivatives_by_datetimes_are_per_second_unless_said_otherwise():
    array = winds().u.astype(float)
    count = np.array([0.0, 1, 3]) * DAY
    expected = gridgrad.derivative(array.values, dim=0, spacing=count.tolist())
    found = array.gridgrad.derivative("time")
    np.testing.assert_array_equal(found, expected)
    assert found.attrs["units"] == "m s-2"
    daily = gridgrad.derivative(array.values, dim=0, spacing=[0, 1, 3], order=1)
    found = array.gridgrad.derivative("time", time_unit="D")
    np.testing.assert_array_equal(found, daily)
    for unit, text in (("h", "h"), ("day", "day"), ("min", "min"), ("ms", "ms"), ("W", "week")):
        found = array.gridgrad.derivative("time", time_unit=unit)
        assert found.attrs["units"] == f"m s-1 {text}-1"
        length = float(gridgrad.labelled.times.resolve_time_unit(unit).seconds)
        np.testing.assert_allclose(found, expected * length, rtol=1e-12)


def test_nanoseconds_far_from_the_epoch_keep_their_differences():
    t = np.datetime64("2200-01-01", "ns") + np.array([0, 1, 3, 4], "m8[ns]")
    array = xr.DataArray([0.0, 1, 9, 16], coords={"t": t}, dims="t")
    found = array.gridgrad.derivative("t", time_unit="ns")
    expected = gridgrad.derivative(array.values, spacing=[0, 1, 3, 4])
    np.testing.assert_array_equal(found, expected)


def test_timedeltas_and_their_periods():
    t = np.array([0, 6, 12, 18], "m8[h]").astype("m8[ns]")
    f = np.array([1.0, 3, 2, 0])
    array = xr.DataArray(f, coords={"t": t}, dims="t", attrs={"units": "K"})
    expected = gridgrad.derivative(f, spacing=6, boundary="periodic")
    for period in (24, np.timedelta64(1, "D")):
        found = array.gridgrad.derivative("t", time_unit="h", boundary="periodic", period=period)
        np.testing.assert_array_equal(found, expected)
        assert found.attrs["units"] == "K h-1"


@pytest.mark.parametrize("calendar", ["noleap", "360_day", "standard", "julian"])
def test_cftime_differences_are_exact(calendar):
    times = xr.date_range("2000-02-27", periods=5, freq="D", calendar=calendar, use_cftime=True)
    assert isinstance(times[0], cftime.datetime)
    f = np.arange(5.0) ** 2
    array = xr.DataArray(f, coords={"time": times}, dims="time", attrs={"units": "K"})
    found = array.gridgrad.derivative("time", time_unit="D")
    np.testing.assert_array_equal(found, gridgrad.derivative(f))
    assert found.attrs["units"] == "K day-1"
    xr.testing.assert_identical(found.time, array.time)


def test_times_as_samples():
    """When something happened, by where: seconds per metre; not-a-time reaches what reads it."""
    t = np.array(["2000-01-01", "2000-01-02", "2000-01-05", "NaT", "2000-01-06"], "M8[ns]")
    array = xr.DataArray(t, coords={"x": ("x", np.arange(5.0), {"units": "m"})}, dims="x", name="t")
    found = array.gridgrad.derivative("x", edge_order=1)
    np.testing.assert_array_equal(found, np.array([1, 2, np.nan, 0.5, np.nan]) * DAY)
    assert found.attrs["units"] == "s m-1"
    hours = (array - array[0]).gridgrad.derivative("x", edge_order=1, time_unit="h")
    np.testing.assert_allclose(hours, np.array([24, 48, np.nan, 12, np.nan]), rtol=1e-15)


# CF roles.


def test_dims_are_found_by_their_cf_role():
    pytest.importorskip("cf_xarray")
    ds = winds()
    for role, name in (("X", "longitude"), ("Y", "latitude"), ("T", "time")):
        renamed = ds.rename({name: "n"})
        if role == "T":
            renamed.n.attrs["axis"] = "T"
        found = renamed.u.gridgrad.derivative(role)
        xr.testing.assert_identical(found, renamed.u.gridgrad.derivative("n"))
        xr.testing.assert_identical(
            renamed.gridgrad.derivative(role), renamed.gridgrad.derivative("n")
        )
    lonlat = ds.rename(longitude="lon", latitude="lat")
    found = lonlat.gridgrad.curl(u="longitude", v="latitude", boundary={"longitude": "periodic"})
    expected = ds.gridgrad.curl(u="longitude", v="latitude", boundary=["periodic", "one-sided"])
    np.testing.assert_array_equal(found, expected)
    assert list(lonlat.u.gridgrad.gradient(["X"])) == ["du_dlon"]


def test_names_come_before_roles():
    array = line().assign_coords(height=("x", UNEVEN * 2, {"axis": "X"}))
    assert array.gridgrad.derivative("X").name == "df_dheight"
    renamed = array.rename(x="X")
    np.testing.assert_array_equal(renamed.gridgrad.derivative("X"), array.gridgrad.derivative("x"))


# Libraries.


def test_jax_arrays_stay_jax_arrays_and_are_differentiable():
    f = jnp.asarray((UNEVEN**2).astype(np.float32))
    array = line(f)
    found = array.gridgrad.derivative("x")
    assert isinstance(found.data, jax.Array)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.values, gridgrad.derivative(f, spacing=UNEVEN.tolist()))

    def total(values):
        return line(values).gridgrad.derivative("x", order=2).data.sum()

    expected = jax.grad(lambda v: gridgrad.derivative(v, order=2, spacing=UNEVEN.tolist()).sum())(f)
    np.testing.assert_allclose(jax.grad(total)(f), expected, rtol=1e-6)


def test_any_library_of_the_array_api_stays():
    f = array_api_strict.asarray(UNEVEN**2)
    found = line(f).gridgrad.gradient("x")
    assert type(found.df_dx.data) is type(f)


def test_xarray_itself_makes_numpy_arrays_of_tensors():
    """torch.Tensor has neither `__array_function__` nor `__array_namespace__`, which xarray asks for."""
    assert type(line(torch.as_tensor(UNEVEN)).data) is np.ndarray
    with pytest.raises(RuntimeError, match="requires grad"):
        line(torch.as_tensor(UNEVEN).requires_grad_())


class Held(torch.Tensor):
    """A tensor that says which namespace it belongs to, so that xarray holds it."""

    def __array_namespace__(self, api_version=None):
        import array_api_compat.torch

        return array_api_compat.torch


def test_a_tensor_that_xarray_holds_stays_a_tensor_and_is_differentiable():
    f = torch.as_tensor(UNEVEN**3).as_subclass(Held).requires_grad_()
    found = line(f).gridgrad.derivative("x", order=2)
    assert isinstance(found.data, Held)
    (slopes,) = torch.autograd.grad(found.data.sum(), f)
    plain = torch.as_tensor(UNEVEN**3).requires_grad_()
    expected = gridgrad.derivative(plain, order=2, spacing=UNEVEN.tolist())
    (want,) = torch.autograd.grad(expected.sum(), plain)
    np.testing.assert_array_equal(slopes.numpy(), want.numpy())


# Importing.


def test_importing_registers_the_accessor_and_loads_no_optional_package():
    """Dask is not among them: xarray itself loads it, where it is installed."""
    program = (
        "import xarray, sys; before = set(sys.modules);"
        "assert not hasattr(xarray.Dataset, 'gridgrad');"
        "import gridgrad.xarray;"
        "xarray.DataArray([1.0, 2, 4], dims='x').gridgrad.derivative('x', spacing=1);"
        "print(*{'pint', 'cf_xarray', 'cftime', 'torch', 'jax'} & (set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True
    )
    assert not done.stdout.split()


def test_history_is_appended():
    noon = datetime.datetime(
        2026, 1, 2, 12, 30, tzinfo=datetime.timezone(datetime.timedelta(hours=2))
    )
    ds = winds()
    found = gridgrad.xarray.append_history(ds, "gridgrad curl", noon)
    assert found.attrs["history"] == "made\n2026-01-02T10:30:00Z gridgrad curl"
    assert ds.attrs["history"] == "made"
    now = gridgrad.xarray.append_history(xr.Dataset(), "x").attrs["history"]
    assert now.endswith("Z x")
