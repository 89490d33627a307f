"""Units: those that attributes write, and those that pint knows."""

import numpy as np
import pint
import pint_xarray  # noqa: F401  # it registers .pint
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import gridgrad
from gridgrad.labelled.units import quotient, same_unit

from .labelled import UNEVEN, line, winds

UNITS = pint.UnitRegistry(force_ndarray_like=True)  # as pint-xarray needs it


@pytest.mark.parametrize(
    ("unit", "per", "expected"),
    [
        ("K", [("m", 1)], "K m-1"),
        ("K", [("m", 2)], "K m-2"),
        ("m", [("m", 1)], "1"),
        ("1", [("m", 1)], "m-1"),
        ("", [("m", 1)], "m-1"),
        ("1", [("1", 1)], "1"),
        ("m s-1", [("m", 1)], "s-1"),
        ("m/s", [("metres", 1)], "s-1"),
        ("m s**-1", [("km", 1)], "m s-1 km-1"),
        ("m.s-1", [("s", 1)], "m s-2"),
        ("kg m^-2 s^-1", [("kg", 1)], "m-2 s-1"),
        ("W m-2", [("m", 1), ("s", 1)], "W m-3 s-1"),
        ("J/kg/K", [("K", 1)], "J kg-1 K-2"),
        ("m per s", [("m", 1)], "s-1"),
        ("%", [("Pa", 1)], "% Pa-1"),
        ("Pa s-1", [("hPa", 1)], "Pa s-1 hPa-1"),
        ("hPa", [("millibars", 1)], "1"),
        ("m", [("m-1", 1)], "m2"),
        # What differences are in.
        ("degC", [("m", 1)], "K m-1"),
        ("degrees_Celsius", [("degC", 1)], "1"),
        ("°F", [("s", 1)], "degR s-1"),
        ("C", [("s", 1)], "C s-1"),
        ("K", [("days since 1900-01-01", 1)], "K days-1"),
        ("K @ 273.15", [("m", 1)], "K m-1"),
        # Degrees of any name.
        ("K", [("degrees_north", 1)], "K degree-1"),
        ("K", [("degrees_east", 1), ("degreesN", 1)], "K degree-2"),
        ("degrees", [("m", 1)], "degree m-1"),
        # What is no plain product is kept as it is.
        ("lg(re 1 mW)", [("m", 1)], "(lg(re 1 mW)) m-1"),
        ("1e-3 kg", [("m", 2)], "(1e-3 kg) m-2"),
        ("10^6 m3", [("0.1 m", 1)], "(10^6 m3) (0.1 m)-1"),
        ("m2 s-", [("m", 1)], "(m2 s-) m-1"),
        ("m /", [("m", 1)], "(m /) m-1"),
        ("dBZ", [("km", 1)], "dBZ km-1"),
        ("psu", [("H2O", 1)], "psu (H2O)-1"),
    ],
)
def test_quotients(unit, per, expected):
    assert quotient(unit, tuple(per)).text == expected


NAMES = st.sampled_from(["m", "km", "s", "kg", "K", "Pa", "mol", "degree", "hour", "J"])
FACTORS = st.lists(st.tuples(NAMES, st.integers(-3, 3).filter(bool)), max_size=4)


def text_of(factors, joint=" ", power="{}{}") -> str:
    return joint.join(power.format(name, n) for name, n in factors) or "1"


@given(of=FACTORS, per=FACTORS, power=st.integers(1, 3), style=st.sampled_from([
    (" ", "{}{}"), (".", "{}{}"), (" * ", "{}**{}"), (" ", "{}^{}"), ("·", "{}{}"),
]))  # fmt: skip
def test_quotients_are_those_of_pint(of, per, power, style):
    found = quotient(text_of(of, *style), ((text_of(per, *style), power),)).text
    assert _pints(found) == _pints(text_of(of)) / _pints(text_of(per)) ** power


def _pints(text: str):
    """The unit as pint reads it, which writes powers with stars."""
    parts = [part if part in ("1", "*") else _with_stars(part) for part in text.split()]
    return UNITS.Unit(" * ".join(parts))


def _with_stars(factor: str) -> str:
    name = factor.rstrip("-0123456789")
    return f"{name}**{factor[len(name) :] or 1}"


def test_a_sum_has_the_unit_that_its_terms_share():
    slope = quotient("m s-1", (("m", 1),))
    assert same_unit([slope, quotient("1", (("sec", 1),))]) == "s-1"
    assert same_unit([slope, None]) is None
    assert same_unit([]) is None
    with pytest.raises(ValueError, match="'s-1' and 'm s-2'"):
        same_unit([slope, quotient("m s-2", (("1", 1),))])


def test_no_unit_is_invented():
    """Only where both units are known is that of the derivative."""
    for sample, coordinate in ((None, "m"), ("K", None), (None, None)):
        array = line()
        array.attrs = {} if sample is None else {"units": sample}
        array.x.attrs = {} if coordinate is None else {"units": coordinate}
        assert "units" not in array.gridgrad.derivative("x").attrs
    with_time = xr.DataArray([1.0, 2, 4], coords={"t": np.array([0, 1, 2], "m8[s]")}, dims="t")
    assert "units" not in with_time.gridgrad.derivative("t").attrs
    plain = xr.DataArray([1.0, 2, 4], dims="x", attrs={"units": "K"})
    assert "units" not in plain.gridgrad.derivative("x", spacing=2.0).attrs
    minute = np.timedelta64(1, "m")
    for step in (minute, xr.DataArray(minute.astype("m8[s]"))):
        timed = plain.gridgrad.derivative("x", spacing=step, time_unit="h")
        assert timed.attrs["units"] == "K h-1"
        np.testing.assert_allclose(timed, gridgrad.derivative(plain.values, spacing=1 / 60))


def test_terms_in_different_units_are_refused_before_anything_is_computed(monkeypatch):
    ds = winds().assign_coords(time=("time", [0.0, 1, 3], {"units": "m"}))
    monkeypatch.setattr("gridgrad.labelled.fields.Fields.run", None)
    for call in (
        lambda: ds.gridgrad.divergence(u="longitude", v="time"),
        lambda: ds.gridgrad.curl(u="longitude", v="time"),
        lambda: ds.u.gridgrad.laplacian(["time", "latitude"]),
        lambda: ds.u.gridgrad.directional_derivative({"time": 1, "latitude": 1}),
    ):
        with pytest.raises(gridgrad.GridError, match="must have one unit, but are in '"):
            call()


# pint.


def quantity(array: xr.DataArray, unit: str) -> xr.DataArray:
    return array.copy(data=UNITS.Quantity(array.values, unit))


def test_quantities_have_units_of_pint():
    array = quantity(line(comment="kept"), "degC").assign_coords(x=("x", UNEVEN, {"units": "m"}))
    found = array.gridgrad.derivative("x", order=2)
    assert found.data.units == UNITS.Unit("delta_degC / m**2")
    assert found.attrs == {
        "comment": "kept",
        "long_name": "second derivative of f with respect to x",
    }
    np.testing.assert_array_equal(found.data.magnitude, line().gridgrad.derivative("x", order=2))


def test_coordinates_that_are_quantities():
    array = line().assign_coords(height=("x", UNITS.Quantity(UNEVEN, "km")))
    found = array.gridgrad.derivative("height")
    assert found.data.units == UNITS.Unit("K / km")
    unknown = array.drop_attrs().assign_coords(height=array.height)
    assert unknown.gridgrad.derivative("height").data.units == UNITS.Unit("1 / km")


def test_pint_xarray_quantifies_samples_and_indexes():
    ds = winds().drop_vars("crs")
    ds.v.attrs["units"] = "km / hour"
    ds.latitude.attrs["units"] = ds.longitude.attrs["units"] = "degrees"
    ds.u.attrs["units"] = "m / s"
    quantified = ds.pint.quantify(unit_registry=UNITS)
    found = quantified.u.gridgrad.gradient(["longitude", "latitude"])
    assert found.du_dlatitude.pint.units == UNITS.Unit("m / s / degree")
    periodic = quantified.u.gridgrad.derivative("longitude", boundary="periodic", accuracy=4)
    want = ds.u.gridgrad.derivative("longitude", boundary="periodic", accuracy=4)
    np.testing.assert_array_equal(periodic.pint.magnitude, want.values)
    with pytest.raises(gridgrad.GridError, match="must have one unit"):
        quantified.gridgrad.divergence(u="longitude", v="latitude")
    quantified["v"] = quantified.v.pint.to("m/s")
    divergence = quantified.gridgrad.divergence(u="longitude", v="latitude")
    assert divergence.pint.units == UNITS.Unit("m / s / degree")
    by_time = quantified.u.gridgrad.derivative("time", time_unit="h")
    assert by_time.pint.units == UNITS.Unit("m / s / hour")


def test_a_step_may_be_a_quantity():
    array = quantity(xr.DataArray([1.0, 2, 4], dims="x"), "K")
    found = array.gridgrad.derivative("x", spacing=UNITS.Quantity(2.0, "m"))
    assert found.data.units == UNITS.Unit("K / m")
    np.testing.assert_array_equal(found.data.magnitude, [0.25, 0.75, 1.25])


def test_texts_of_udunits_are_understood_by_any_registry():
    plain = pint.UnitRegistry()
    array = line().copy(data=plain.Quantity(UNEVEN, "K"))
    for text, unit in (("degrees_north", "degree"), ("m s-1", "m/s"), ("degC", "K")):
        array.x.attrs["units"] = text
        assert array.gridgrad.derivative("x").data.units == plain.Unit("K") / plain.Unit(unit)


def test_texts_that_pint_does_not_know_are_refused_beside_quantities():
    array = quantity(line(), "K").assign_coords(x=("x", UNEVEN, {"units": "furry"}))
    with pytest.raises(gridgrad.GridError, match="'furry' are not understood"):
        array.gridgrad.derivative("x")
