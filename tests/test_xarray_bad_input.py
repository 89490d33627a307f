"""Bad input to `.gridgrad`: one sentence each that names what there is; nothing is computed."""

import cftime
import numpy as np
import pytest
import xarray as xr

from gridgrad import GridError, GridTypeError, NonMonotonicWarning
from gridgrad.arrays.numpy import NumPy

from .labelled import UNEVEN, line, winds

COORDINATES = winds()
FLAT = xr.DataArray(np.ones((3, 4)), dims=("y", "x"), name="f")
ON_2D = FLAT.assign_coords(lon=(("y", "x"), np.arange(12.0).reshape(3, 4)))
TIMES = xr.date_range("2000-01-01", periods=3, use_cftime=True)
MIXED = np.array([TIMES[0], cftime.DatetimeNoLeap(2000, 1, 2), TIMES[2]])


def at(x) -> xr.DataArray:
    return line(np.arange(float(len(x))), x)


CASES = {
    "a missing dim": (
        lambda: COORDINATES.u.gridgrad.derivative("lon"),
        GridError,
        r"no dim or coordinate 'lon': the DataArray has the dims 'time', 'latitude', 'longitude' and the "
        r"coordinates .*, and the CF roles 'X', 'Y', 'latitude', 'longitude'\.",
    ),
    "a missing dim of a Dataset": (
        lambda: COORDINATES.gridgrad.derivative("lon"),
        GridError,
        "the Dataset has the dims 'time', 'latitude', 'longitude' and",
    ),
    "a variable that is no coordinate": (
        lambda: xr.Dataset({"p": ("x", [1.0, 2])}).gridgrad.derivative("p"),
        GridError,
        "'p' becomes a coordinate by set_coords",
    ),
    "a missing variable": (
        lambda: COORDINATES.gridgrad.divergence(w="longitude", v="latitude"),
        GridError,
        "no variable 'w': the Dataset has the variables 'u', 'v', 'crs' and the dims",
    ),
    "no components": (
        lambda: COORDINATES.gridgrad.curl(),
        GridError,
        "two or more components, .* but has none; the Dataset has the variables",
    ),
    "components that are no mapping": (
        lambda: COORDINATES.gridgrad.curl(["u", "v"]),
        GridTypeError,
        "components must be a mapping from variables to dims",
    ),
    "a component without the dim": (
        lambda: COORDINATES.gridgrad.divergence(u="longitude", crs="latitude"),
        GridError,
        "variable 'crs' has no dim 'longitude', 'latitude'; its dims are none",
    ),
    "four components of a curl": (
        lambda: xr.Dataset(
            {name: FLAT.expand_dims(z=2, t=2) for name in "abcd"}
        ).gridgrad.curl(a="x", b="y", c="z", d="t", spacing=1),
        GridError,
        "a curl needs 2 or 3 components, but is given 4",
    ),
    "two components along one dim": (
        lambda: COORDINATES.gridgrad.divergence(u="longitude", v="longitude"),
        GridError,
        "'longitude' and 'longitude' both lie along the dim 'longitude'",
    ),
    "two coordinates along one dim": (
        lambda: line().assign_coords(z=("x", UNEVEN)).gridgrad.gradient(["x", "z"]),
        GridError,
        "'z' and 'x' both lie along the dim 'x'",
    ),
    "an axis instead of a dim": (
        lambda: line().gridgrad.derivative(["x"]),
        GridTypeError,
        "a dim must be given by its name, but is list; the DataArray has the dims 'x'",
    ),
    "a missing coordinate": (
        lambda: FLAT.gridgrad.derivative("x"),
        GridError,
        r"dim 'x' has no coordinate to take positions from; .* assign_coords, .* spacing=\{'x': \.\.\.\}",
    ),
    "a two-dimensional coordinate": (
        lambda: ON_2D.gridgrad.derivative("lon"),
        GridError,
        "coordinate 'lon' must be 1-D, but has the dims 'y', 'x'",
    ),
    "a scalar coordinate": (
        lambda: FLAT.assign_coords(t=3).gridgrad.derivative("t"),
        GridError,
        "coordinate 't' must be 1-D, but has the dims none",
    ),
    "a NaN in a coordinate": (
        lambda: at([0.0, np.nan, 2.0]).gridgrad.derivative("x"),
        GridError,
        "coordinates for dim 'x' must be finite, but entry 1 is nan",
    ),
    "a not-a-time in a coordinate": (
        lambda: at(np.array(["2000-01-01", "NaT", "2000-01-03"], "M8[ns]")).gridgrad.derivative("x"),
        GridError,
        "coordinates for dim 'x' must be finite, but entry 1 is NaT",
    ),
    "duplicates in a coordinate": (
        lambda: at([0.0, 1.0, 1.0]).gridgrad.gradient(),
        GridError,
        "coordinates for dim 'x' must be distinct, but entry 2 is 1.0, as is entry 1",
    ),
    "duplicate times": (
        lambda: at(np.array([3, 4, 3], "M8[s]")).gridgrad.derivative("x", time_unit="D"),
        GridError,
        "coordinates for dim 'x' must be distinct",
    ),
    "a coordinate of words": (
        lambda: at(["a", "b", "c"]).gridgrad.derivative("x"),
        GridTypeError,
        "coordinate 'x' must hold numbers or times, but holds <U1",
    ),
    "cftime of two calendars": (
        lambda: FLAT.isel(x=slice(3)).assign_coords(t=("x", MIXED)).gridgrad.derivative("t"),
        GridTypeError,
        "coordinate 't' must hold times of one calendar",
    ),
    "spacing given twice": (
        lambda: line().gridgrad.derivative("x", spacing=0.5),
        GridError,
        "spacing is given twice for the dim 'x': by the argument and by the coordinate 'x'",
    ),
    "spacing given twice for one dim of two": (
        lambda: FLAT.assign_coords(x=[0, 1, 2, 4]).gridgrad.gradient(spacing=1),
        GridError,
        "spacing is given twice for the dim 'x'",
    ),
    "spacing for another dim": (
        lambda: FLAT.gridgrad.derivative("x", spacing={"x": 1, "y": 1}),
        GridError,
        "spacing is given for 'y', along which nothing is differentiated; that is 'x'",
    ),
    "a wrong number of spacings": (
        lambda: FLAT.gridgrad.gradient(spacing=[1, 1, 1]),
        GridError,
        "spacing must have an entry for each of the dims 'y', 'x', but has 3",
    ),
    "spacing of a wrong length": (
        lambda: FLAT.gridgrad.derivative("x", spacing=[0, 1, 2]),
        GridError,
        "coordinates for dim 'x' must have one entry a sample, 4, but have 3",
    ),
    "spacing of two dims": (
        lambda: FLAT.gridgrad.derivative("x", spacing=np.ones((4, 4))),
        GridError,
        "coordinates for dim 'x' must be scalars or 1d",
    ),
    "a boundary for another dim": (
        lambda: line().gridgrad.derivative("x", boundary={"y": "periodic"}),
        GridError,
        "no dim or coordinate 'y'",
    ),
    "a boundary for a dim that is not differentiated": (
        lambda: FLAT.gridgrad.derivative("x", spacing=1, boundary={"y": "periodic"}),
        GridError,
        "boundary is given for 'y'",
    ),
    "one periodic side": (
        lambda: line().gridgrad.derivative("x", boundary=("periodic", "reflect")),
        GridError,
        "boundary for dim 'x' is periodic on one side only",
    ),
    "a period without a periodic boundary": (
        lambda: line().gridgrad.derivative("x", period={"x": 3}),
        GridError,
        "period=3 is given for dim 'x', which is not periodic",
    ),
    "an unknown unit of time": (
        lambda: line().gridgrad.derivative("x", time_unit="fortnight"),
        GridError,
        "time_unit must be one of 'W', 'D', .* but is 'fortnight'",
    ),
    "an order that is not offered": (
        lambda: line().gridgrad.derivative("x", order=9),
        GridError,
        "order must be from 1 to 8, but is 9",
    ),
    "an accuracy that is no number": (
        lambda: line().gridgrad.derivative("x", accuracy="high"),
        GridTypeError,
        "accuracy must be an integer",
    ),
    "a direction that is no mapping": (
        lambda: line().gridgrad.directional_derivative((1, 2)),
        GridTypeError,
        "direction must be a mapping from dims to numbers",
    ),
    "the divergence of one array": (
        lambda: line().gridgrad.divergence(u="x"),
        GridError,
        "are of several fields; put them into a Dataset",
    ),
    "samples that are words": (
        lambda: line(list("abcdef")).gridgrad.derivative("x"),
        GridTypeError,
        "must hold integers, floats or complex numbers",
    ),
    "samples that are objects": (
        lambda: line(np.array([None] * 6)).gridgrad.derivative("x"),
        GridTypeError,
        "variable 'f' must hold numbers, or times in an array of NumPy, but holds object",
    ),
    "times of two units in one field": (
        lambda: xr.Dataset(
            {"u": FLAT.astype("m8[s]"), "v": FLAT.astype("m8[ms]")}
        ).gridgrad.divergence(u="x", v="y", spacing=1),
        GridError,
        "several fields of times must be in one unit of time",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_one_sentence(case, monkeypatch):
    call, kind, message = CASES[case]
    for how in ("run", "quick"):
        monkeypatch.setattr(NumPy, how, None)  # nothing is computed
    monkeypatch.setattr("gridgrad.calls._known", {})
    with pytest.raises(kind, match=message) as caught:
        call()
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text
    assert isinstance(caught.value, ValueError)


def test_the_numbers_of_dims_in_an_error_are_explained():
    """What the functions say of a number is beside the name that it has here."""
    with pytest.raises(GridError, match="dim 1 has 3 samples") as caught:
        FLAT.transpose("x", "y").gridgrad.derivative("y", spacing=1, accuracy=6)
    assert caught.value.__notes__ == ["Here 'f' is given, and dim 1 is 'y'."]


def test_roles_are_said_to_need_cf_xarray_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cf_xarray", None)
    with pytest.raises(
        GridError, match="CF roles such as 'X' or 'latitude' need the package cf-xarray"
    ):
        COORDINATES.u.gridgrad.derivative("X")


def test_a_role_of_several_coordinates_is_refused():
    two = line().assign_coords(a=("x", UNEVEN, {"axis": "Z"}), b=("x", UNEVEN * 2, {"axis": "Z"}))
    with pytest.raises(GridError, match="'Z' could be any of the coordinates 'a', 'b'"):
        two.gridgrad.derivative("Z")


def test_coordinates_that_turn_back_warn_where_they_are_used():
    with pytest.warns(NonMonotonicWarning, match="for dim 'x' are not monotonic") as caught:
        at([0.0, 2.0, 1.0]).gridgrad.derivative("x")
    assert caught[0].filename == __file__
