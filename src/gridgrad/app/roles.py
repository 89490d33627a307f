"""What a dim stands for, by CF's attributes or else by its name: longitude, height, time."""

import re
from collections.abc import Hashable, Mapping
from typing import Any, Literal

import xarray as xr

from gridgrad.labelled.attributes import is_longitude
from gridgrad.labelled.times import is_time

Role = Literal["longitude", "latitude", "x", "y", "vertical", "time", "other"]

_LATITUDE_UNITS = frozenset(
    ("degrees_north", "degree_north", "degrees_N", "degree_N", "degreesN", "degreeN")
)
_PRESSURE = re.compile(r"(h|k|d)?pa|(milli|deci)?bars?|mb(ar)?|dbar|.*pascals?", re.IGNORECASE)
_STANDARD: dict[str, Role] = {
    "longitude": "longitude",
    "latitude": "latitude",
    "projection_x_coordinate": "x",
    "projection_y_coordinate": "y",
    "grid_longitude": "x",
    "grid_latitude": "y",
    "time": "time",
    "air_pressure": "vertical",
    "altitude": "vertical",
    "height": "vertical",
    "depth": "vertical",
}
_AXES: dict[str, Role] = {"X": "x", "Y": "y", "Z": "vertical", "T": "time"}
_NAMES: dict[str, Role] = {
    **dict.fromkeys(("lon", "longitude", "long", "nav_lon"), "longitude"),
    **dict.fromkeys(("lat", "latitude", "nav_lat"), "latitude"),
    **dict.fromkeys(("x", "xc", "easting", "west_east", "rlon"), "x"),
    **dict.fromkeys(("y", "yc", "northing", "south_north", "rlat"), "y"),
    **dict.fromkeys(
        ("z", "lev", "level", "plev", "pressure", "height", "depth", "altitude", "bottom_top"),
        "vertical",
    ),
    **dict.fromkeys(("time", "t", "date", "datetime", "valid_time"), "time"),
}  # fmt: skip


def coordinate_of(obj: xr.Dataset | xr.DataArray, dim: Hashable) -> Any:
    """The coordinate that tells where the samples along a dim stand: the one of its name, or else the
    only one that is 1-D along it; None where there is none."""
    if dim in obj.coords:
        return obj.coords[dim]
    along = [
        each
        for each in obj.coords.values()
        if each.dims == (dim,) and (each.dtype.kind in "iufmM" or is_time(each.variable.values))
    ]
    return along[0] if len(along) == 1 else None


def role_of(name: Hashable, coordinate: xr.DataArray | None) -> Role:
    """What the dim of that name stands for, with its coordinate if it has one.

    >>> role_of("lat", None), role_of("n", xr.DataArray([1.0], dims="n", attrs={"axis": "X"}))
    ('latitude', 'x')
    """
    if coordinate is not None:
        found = _by_attributes(coordinate)
        if found is not None:
            return found
        name = name if coordinate.name is None else coordinate.name
    return _NAMES.get(str(name).lower(), "other")


def _by_attributes(coordinate: xr.DataArray) -> Role | None:
    attrs = coordinate.attrs
    units = str(attrs.get("units", ""))
    # A date's units are in its encoding, once they were decoded.
    if coordinate.dtype.kind == "M" or (
        coordinate.dtype.kind == "O" and is_time(coordinate.variable.values)
    ):
        return "time"
    if is_longitude(attrs, units):
        return "longitude"
    if units in _LATITUDE_UNITS:
        return "latitude"
    standard = str(attrs.get("standard_name", ""))
    if standard in _STANDARD:
        return _STANDARD[standard]
    axis = _AXES.get(str(attrs.get("axis", "")).upper())
    if axis is not None:
        return axis
    return "vertical" if "positive" in attrs or is_pressure(attrs) else None


def is_pressure(attrs: Mapping[Any, Any]) -> bool:
    """Whether a coordinate is in a unit of pressure, as heights in the air and depths in the sea are."""
    return _PRESSURE.fullmatch(str(attrs.get("units", ""))) is not None


def roles(obj: xr.Dataset | xr.DataArray) -> dict[Hashable, Role]:
    """The role of every dim.

    >>> roles(xr.DataArray([[1.0]], dims=("time", "lon")))
    {'time': 'time', 'lon': 'longitude'}
    """
    return {dim: role_of(dim, coordinate_of(obj, dim)) for dim in obj.sizes}


def horizontal(roles: Mapping[Hashable, Role]) -> tuple[Hashable, Hashable] | None:
    """The two dims of a map, down and right, where roles tell which they are."""
    for down, right in (("latitude", "longitude"), ("y", "x")):
        found = [[dim for dim, role in roles.items() if role == each] for each in (down, right)]
        if all(len(each) == 1 for each in found):
            return found[0][0], found[1][0]
    return None
